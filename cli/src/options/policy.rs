//! The commands below `policy`.

use std::path::PathBuf;

use answers::{reference::Reference, time::Moment};
use clap::{Subcommand, builder::PossibleValuesParser};
use domain::image::Registry;

use crate::policies;

/// The commands below `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print or write a shipped policy, to begin with
    ///
    /// Without a name, the shipped policies are listed. `--output FILE` writes the policy to a new file, and its cases
    /// beside it, as `policy test` expects.
    New {
        /// Policy; without one, all are listed
        #[arg(value_parser = PossibleValuesParser::new(policies::names()))]
        name: Option<String>,

        /// Overwrite the files of `--output` if they exist
        #[arg(long, requires = "name")]
        force: bool,
    },
    /// Find errors in policies, and what can never match
    ///
    /// Finds errors of syntax, schema and annotations. Each is one line FILE:LINE:COLUMN, as compilers print it.
    Check {
        /// Cedar files to check
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Decide the cases beside policies
    ///
    /// The cases of `mine.cedar` are in `mine.test.json`, a list of cases such as
    /// `{"name": "releases stay", "facts": {"tags": ["v1.4"]}, "action": "keep"}`. The action is `delete`, `archive`,
    /// `untag` or `keep`.
    Test {
        /// Cedar files whose cases to decide
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Prove that a policy never permits a kind of request
    ///
    /// Otherwise it shows a request that is permitted. Needs the solver cvc5, and a program built with `--features
    /// prove`.
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
    /// Show what changes from one policy to another
    ///
    /// Evaluates the recorded deletions and orphans with both, without changing anything.
    Diff {
        /// Cedar file
        old: PathBuf,

        /// Cedar file
        new: PathBuf,

        /// Deletions since this time, such as `30d` or `2026-11-01`; orphans of any age are included
        #[arg(long, value_name = "TIME", default_value = "30d")]
        since: Moment,
    },
    /// Show what a policy would do, without doing it
    ///
    /// Evaluates the recorded deletions and orphans.
    Preview {
        /// Cedar file
        file: PathBuf,

        /// Deletions since this time, such as `30d` or `2026-11-01`; orphans of any age are included
        #[arg(long, value_name = "TIME", default_value = "30d")]
        since: Moment,
    },
    /// Make a policy the hub's
    ///
    /// Shows what changes for the recorded deletions and orphans, and asks. Then it publishes the file as a version of a
    /// layer, and updates the hub's stack, which brings back what was before if the update fails.
    Deploy {
        /// Cedar file
        file: PathBuf,

        /// Name of the hub's stack, in the region of `--region`
        #[arg(long, default_value = "ecr-lineage")]
        stack: String,

        /// Deletions since this time, such as `30d` or `2026-11-01`; orphans of any age are included
        #[arg(long, value_name = "TIME", default_value = "30d")]
        since: Moment,

        /// Deploy without asking
        #[arg(long)]
        yes: bool,
    },
    /// Show check by check why a replica is kept or deleted
    ///
    /// Shows the recorded decisions, and evaluates it again now, without changing anything.
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
        matches!(self, Self::Preview { .. } | Self::Diff { .. } | Self::Deploy { .. } | Self::Explain { .. })
    }
}
