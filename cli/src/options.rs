//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::image::{Registry, RepositoryName};

use crate::reference::{Reference, TagReference};

/// Where is this image, where did it come from, since when, and who deleted it?
#[derive(Debug, Parser)]
#[command(name = "ecr-lineage", version, disable_help_subcommand = true)]
pub struct Options {
    /// What to ask, and where.
    #[command(flatten)]
    pub target: TargetOptions,

    /// How to print the answer: a table for people, or JSON with snake_case keys and RFC 3339 UTC times
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which table to use.
#[derive(Debug, Args)]
pub struct TargetOptions {
    /// The table: with a slash or ending in `.db` an embedded file, `memory`, or the name of a DynamoDB table
    #[arg(long, global = true, env = "ECR_LINEAGE_TABLE", default_value_t = default_table())]
    pub table: String,

    /// The profile in the AWS configuration (DynamoDB tables only)
    #[arg(long, global = true)]
    pub profile: Option<String>,

    /// The region of the DynamoDB table
    #[arg(long, global = true)]
    pub region: Option<String>,

    /// Where to reach DynamoDB instead of its public endpoint
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record events from files: EventBridge events, SQS messages holding them, CloudTrail log files (also gzipped)
    Ingest {
        /// Files to read, `-` for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,

        /// Then show this image
        #[arg(long, value_name = "IMAGE")]
        show: Option<Reference>,
    },
    /// Show every registry that has or had an image: from where, since when, deleted when and why; then its timeline
    Show {
        /// `REPO@sha256:…` (also short), `REPO:TAG`, a short digest, or any of these with the registry's host name
        image: Reference,
    },
    /// Show which image a tag meant, from when to when, in each registry
    History {
        /// `REPO:TAG`, also with the registry's host name
        #[arg(value_name = "REPO:TAG")]
        tag: TagReference,

        /// Only this registry, as in `111122223333/eu-west-1`
        #[arg(long)]
        registry: Option<Registry>,
    },
    /// List the images of a repository, and where they are
    Images {
        /// The repository, such as `team/app`
        #[arg(value_name = "REPO")]
        repository: RepositoryName,
    },
    /// List the replicas whose source no longer has the image
    Orphans {
        /// Only in this registry, as in `111122223333/eu-west-1`
        #[arg(long)]
        registry: Option<Registry>,
    },
}

/// The embedded table of this user; in the working directory for a user without a home.
fn default_table() -> String {
    directories::ProjectDirs::from("", "", "ecr-lineage")
        .map_or_else(|| PathBuf::from("./lineage.db"), |folders| folders.data_dir().join("lineage.db"))
        .display()
        .to_string()
}
