//! The commands below `policy`.

use std::path::PathBuf;

use answers::{reference::Reference, time};
use clap::{Subcommand, builder::PossibleValuesParser};
use domain::image::Registry;
use jiff::SignedDuration;

use crate::policies;

/// The commands below `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the policies in this program, or print or write one of them, to begin with
    #[command(after_help = "Examples:
  ecr-lineage policy new
  ecr-lineage policy new never-release-tags --output mine.cedar")]
    New {
        /// Policy; without one, all are listed
        #[arg(value_parser = PossibleValuesParser::new(policies::names()))]
        name: Option<String>,

        /// Write the policy to this file, and its cases beside it, as `policy test` expects
        #[arg(long, value_name = "FILE", requires = "name")]
        output: Option<PathBuf>,

        /// Overwrite files that exist
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Find errors in policies: syntax, schema, annotations, and what can never match
    #[command(after_help = "Example:
  ecr-lineage policy check infra/policies/*.cedar

Each error is one line FILE:LINE:COLUMN, as compilers print it.")]
    Check {
        /// Cedar files to check
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Decide the cases beside policies, and compare with what is expected
    #[command(after_help = "Example:
  ecr-lineage policy test mine.cedar

The cases of `mine.cedar` are in `mine.test.json`, a list of cases such as
  {\"name\": \"releases stay\", \"facts\": {\"tags\": [\"v1.4\"]}, \"action\": \"keep\"}
The action is `delete`, `archive`, `untag` or `keep`.")]
    Test {
        /// Cedar files whose cases to decide
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Prove that a policy never permits a kind of request, or show a request that it permits
    #[command(after_help = "Example: no image with a tag that begins with `release-` is ever deleted
  ecr-lineage policy prove mine.cedar --never \\
    'action == Action::\"delete\" && resource.tagLine like \"* release-*\"'

Needs the solver cvc5, and a program built with `--features prove`.")]
    Prove {
        /// Cedar file
        file: PathBuf,

        /// Cedar expression that describes requests; none of them may be permitted
        #[arg(long, value_name = "EXPRESSION")]
        never: String,

        /// Solver; version 1.3.1 or newer
        #[arg(long, env = "CVC5", value_name = "PROGRAM", default_value = "cvc5")]
        solver: PathBuf,
    },
    /// Show what changes from one policy to another, for the recorded deletions and orphans, without changing anything
    #[command(after_help = "Example:
  ecr-lineage policy diff deployed.cedar mine.cedar --since 90d")]
    Diff {
        /// Cedar file
        old: PathBuf,

        /// Cedar file
        new: PathBuf,

        /// Deletions of this period until now, such as `12h` or `30d`; orphans of any age are included
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = time::back)]
        since: SignedDuration,
    },
    /// Show what a policy would do with the recorded deletions and orphans, without changing anything
    Preview {
        /// Cedar file
        file: PathBuf,

        /// Deletions of this period until now, such as `12h` or `30d`; orphans of any age are included
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = time::back)]
        since: SignedDuration,
    },
    /// Show check by check why a replica was or would be kept or deleted, without changing anything
    Explain {
        /// Image, written as for `show`
        image: Reference,

        /// Registry of the replica, such as `111122223333/us-east-1`
        #[arg(long)]
        registry: Registry,

        /// Policy to evaluate, in mode enforce; without one, the policy and the mode that `mirror` runs with
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

impl PolicyCommand {
    /// Whether the command reads the table and the registries, and not only files.
    #[must_use]
    pub fn needs_table(&self) -> bool {
        matches!(self, Self::Preview { .. } | Self::Diff { .. } | Self::Explain { .. })
    }
}
