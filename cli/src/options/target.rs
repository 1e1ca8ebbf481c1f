//! The table and the credentials.

use std::path::PathBuf;

use clap::Args;

/// Which table to use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Table and credentials (`demo` and `local` do not use them)")]
pub struct TargetOptions {
    /// Table to use: the file of an embedded table (a path with a slash, or a name ending in `.db`), `memory`, or the
    /// name of a DynamoDB table
    #[arg(long, global = true, hide_short_help = true, env = "ECR_LINEAGE_TABLE", default_value_t = default_table())]
    pub table: String,

    /// AWS profile to take credentials from
    #[arg(long, global = true, hide_short_help = true)]
    pub profile: Option<String>,

    /// AWS region of the DynamoDB table and of the hub's stack
    #[arg(long, global = true, hide_short_help = true)]
    pub region: Option<String>,

    /// Endpoint to call instead of the public ones of AWS, such as the URL that `local` prints
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    pub endpoint_url: Option<String>,

    /// Name of the role to assume in the account of each registry; without it, your own credentials are used
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub role: Option<String>,

    /// STS external ID that the trust policy of this role requires
    #[arg(long, global = true, hide_short_help = true, value_name = "ID", requires = "role")]
    pub external_id: Option<String>,
}

/// The user's embedded table; in the working directory if the user has no home directory.
fn default_table() -> String {
    directories::ProjectDirs::from("", "", "ecr-lineage")
        .map_or_else(|| PathBuf::from("./lineage.db"), |folders| folders.data_dir().join("lineage.db"))
        .display()
        .to_string()
}
