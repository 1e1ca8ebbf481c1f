//! The options of the commands that deploy, diagnose and serve.

use answers::reference::Reference;
use clap::{Args, Subcommand};
use domain::{alert::PageAddress, image::Registry};

/// The options of `open`.
#[derive(Debug, Args)]
pub struct OpenOptions {
    /// Image, written as for `show`; without one, the overview
    pub image: Option<Reference>,

    /// Address at which people open the page, such as `https://lineage.example.com/`
    #[arg(long, value_name = "URL", env = "ECR_LINEAGE_PAGE")]
    pub page: Option<PageAddress>,

    /// Print the address, and open nothing
    #[arg(long)]
    pub print: bool,
}

/// The options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// Name of the hub's stack, in the region of `--region`
    #[arg(long, default_value = "ecr-lineage")]
    pub stack: String,

    /// Registries to check besides those that the hub knows, such as `111122223333/eu-west-1`
    #[arg(value_name = "REGISTRY")]
    pub registries: Vec<Registry>,
}

/// The commands below `deploy`.
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Print the stacks that registries need, with their parameters
    ///
    /// Reads the replication rules of the registries and of their destinations.
    Plan {
        /// Account and region of the hub, such as `999988887777/eu-central-1`
        #[arg(long, value_name = "ACCOUNT/REGION")]
        hub: Registry,

        /// AWS Organization whose accounts may send events, such as `o-a1b2c3d4e5`; without it, the plan lists each
        /// account
        #[arg(long, value_name = "ID")]
        organization: Option<String>,

        /// Registries to start from, such as `111122223333/eu-west-1`; the plan adds those that they replicate to
        #[arg(required = true, value_name = "REGISTRY")]
        registries: Vec<Registry>,
    },
}

/// The options of `serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Port on the loopback interface; 0 picks a free one
    #[arg(long, default_value_t = 4568)]
    pub port: u16,

    /// Allow changes in your name: pause and resume, hold and release, approve, cancel and retry, and reset breakers
    #[arg(long)]
    pub allow_changes: bool,
}
