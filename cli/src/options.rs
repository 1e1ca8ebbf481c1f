//! The options and commands of the command line.

mod activity;
mod alerts;
mod costs;
mod deletions;
mod local;
mod output;
mod policy;
mod repository;
mod setup;
mod target;

use std::path::PathBuf;

use answers::{
    presence::Place,
    reference::{Reference, TagReference, repository},
    time::{self, Moment},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::image::{Registry, RepositoryName, RepositoryPattern};
use jiff::SignedDuration;

pub use activity::ActivityOptions;
pub use alerts::{AcknowledgeOptions, AlertsOptions, SnoozeOptions};
pub use costs::CostsOptions;
pub use deletions::{ActOptions, BreakerCommand, DeletionsOptions, HoldOptions};
pub use local::LocalOptions;
pub use output::{OutputOptions, TimeForm};
pub use policy::PolicyCommand;
use repository::repositories;
pub use setup::{DeployCommand, DoctorOptions, OpenOptions, ServeOptions};
pub use target::TargetOptions;

use crate::ingest::Assumed;

/// Where is this image, where did it come from, since when, and who deleted it?
#[derive(Debug, Parser)]
#[command(name = "ecr-lineage", version)]
pub struct Options {
    /// Output format: a table for people, JSON with snake_case keys and RFC 3339 times in UTC, or CSV for lists
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Where and how the answer is written.
    #[command(flatten)]
    pub output: OutputOptions,

    /// The table and the AWS configuration.
    #[command(flatten)]
    pub target: TargetOptions,

    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
    /// A list for spreadsheets, with the names of JSON (commands that have a list)
    Csv,
    /// Events of the Open Cybersecurity Schema Framework, one a line (`activity` only)
    Ocsf,
    /// A graph for Graphviz (`show` only)
    Dot,
    /// A graph for Mermaid (`show` only)
    Mermaid,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play a story on three simulated registries, and show it
    ///
    /// The story has replication, tags, a late copy and deletions. It needs no AWS account and no table.
    Demo,
    /// Run registries, functions, API and page on this machine
    ///
    /// Simulated registries, every function, the API and the page run in this process, on one port, for the AWS CLI and
    /// all SDKs.
    Local(LocalOptions),
    /// Open the page of an image, and print its address
    ///
    /// The page is that of `--page`; without it, that of `local`, if `--endpoint-url` or `AWS_ENDPOINT_URL` names it.
    Open(OpenOptions),
    /// Diagnose a deployment, with the fix for each finding
    ///
    /// Finds missing stacks, functions that do not run, and settings that are wrong.
    Doctor(DoctorOptions),
    /// Print the completions of a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON Schema of a command's JSON
    Schema {
        /// Command, such as `breaker status`; without one, the commands that have a schema
        #[arg(value_name = "COMMAND")]
        path: Vec<String>,
    },
    /// Print the manual page of a command, or write all of them
    Man {
        /// Command, such as `breaker reset`; without one, the page of the program
        #[arg(value_name = "COMMAND", conflicts_with = "all")]
        path: Vec<String>,

        /// Write the pages of all commands to this folder, which is created if it does not exist
        #[arg(long, value_name = "DIR")]
        all: Option<PathBuf>,
    },
    /// Prepare a deployment
    #[command(subcommand)]
    Deploy(DeployCommand),
    /// The commands that need a table.
    #[command(flatten)]
    Table(TableCommand),
}

impl Command {
    /// Whether the command only answers, and ends: it can be repeated.
    #[must_use]
    pub fn is_question(&self) -> bool {
        match self {
            Self::Doctor(_) => true,
            Self::Table(command) => matches!(
                command,
                TableCommand::Show { .. }
                    | TableCommand::Where { .. }
                    | TableCommand::History { .. }
                    | TableCommand::Images { .. }
                    | TableCommand::Activity(_)
                    | TableCommand::Costs(_)
                    | TableCommand::Orphans { .. }
                    | TableCommand::Alerts(_)
                    | TableCommand::Lag { .. }
                    | TableCommand::Drift { .. }
                    | TableCommand::Deletions(_)
                    | TableCommand::Holds
                    | TableCommand::Usage(UsageCommand::Lists)
                    | TableCommand::Breaker(BreakerCommand::Status { .. })
                    | TableCommand::Audit(_)
            ),
            _ => false,
        }
    }
}

/// The options of `ingest`.
#[derive(Debug, Args)]
pub struct IngestOptions {
    /// Files and folders to read; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Registry of the output of `aws ecr describe-images` and `list-images`, and of entries of `PutEvents`
    #[arg(long)]
    pub registry: Option<Registry>,

    /// Repository of the output of `aws ecr list-images`
    #[arg(long, value_name = "REPO", value_parser = repository, requires = "registry")]
    pub repository: Option<RepositoryName>,

    /// When `describe-images` or `list-images` was called, such as `2h` ago or `2026-11-01T06:00:00Z`; by default when the
    /// file was written
    #[arg(long, value_name = "TIME", requires = "registry")]
    pub listed_at: Option<Moment>,

    /// Show this image afterwards
    #[arg(long, value_name = "IMAGE")]
    pub show: Option<Reference>,
}

impl IngestOptions {
    /// What the options say about the files.
    #[must_use]
    pub fn assumed(&self) -> Assumed {
        let Self { registry, repository, listed_at, .. } = self;
        Assumed {
            registry: registry.clone(),
            repository: repository.clone(),
            listed_at: listed_at.map(|at| at.at(crate::now::now())),
        }
    }
}

impl TableCommand {
    /// Whether the command records something, so that it creates an embedded table that does not exist.
    #[must_use]
    pub fn records(&self) -> bool {
        matches!(self, Self::Ingest(_) | Self::Reconcile { .. } | Self::Backfill { .. })
    }

    /// Whether the answer is a list, which can be CSV.
    fn has_list(&self) -> bool {
        matches!(
            self,
            Self::Activity(_)
                | Self::Alerts(_)
                | Self::Deletions(_)
                | Self::Drift { .. }
                | Self::History { .. }
                | Self::Holds
                | Self::Images { .. }
                | Self::Lag { .. }
                | Self::Orphans { .. }
                | Self::Policy(PolicyCommand::Preview { .. })
                | Self::Where { .. }
        )
    }
}

impl Command {
    /// Whether the command's answer has a format.
    #[must_use]
    pub fn supports(&self, format: Format) -> bool {
        match format {
            Format::Table | Format::Json => true,
            Format::Dot | Format::Mermaid => matches!(self, Self::Table(TableCommand::Show { .. })),
            Format::Ocsf => matches!(self, Self::Table(TableCommand::Activity(_))),
            Format::Csv => match self {
                Self::Doctor(_) => true,
                Self::Table(command) => command.has_list(),
                _ => false,
            },
        }
    }
}

/// The options of `wait`.
#[derive(Debug, Args)]
pub struct WaitOptions {
    /// Image, written as for `show`. If it begins with the registry's host name, ECR is asked while nothing is recorded:
    /// with `--table memory`, no table is needed
    pub image: Reference,

    /// Only in this registry, such as `111122223333/eu-west-1`, or in this region; can be repeated. Without it, in every
    /// destination of the replication rules
    #[arg(long = "in", value_name = "REGISTRY")]
    pub places: Vec<Place>,

    /// How long to wait, such as `45m`
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = time::back)]
    pub timeout: SignedDuration,
}

/// The commands that need a table; some of them call registries too.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Record events from files
    ///
    /// Reads EventBridge events and CloudTrail records, alone or in anything that AWS puts around them (messages, logs,
    /// lists, tables), compressed or not. A file that is read twice is recorded once.
    Ingest(IngestOptions),
    /// Show where an image is and was, and who deleted it
    ///
    /// Shows every registry that has, had or should have the image: its origin, since when, who deleted it and when;
    /// then its timeline.
    Show {
        /// `REPO:TAG`, `REPO@DIGEST` or `DIGEST`; a digest may be short, and the registry's host name may come first
        image: Reference,
    },
    /// Say whether an image is where it should be
    ///
    /// It should be in every registry of its replication rules, or in those of `--in`.
    #[command(name = "where")]
    Where {
        /// Image, written as for `show`
        image: Reference,

        /// Only in this registry, such as `111122223333/eu-west-1`, or in this region; can be repeated
        #[arg(long = "in", value_name = "REGISTRY")]
        places: Vec<Place>,
    },
    /// Wait until an image is where it should be
    ///
    /// Prints each registry as the image arrives.
    Wait(WaitOptions),
    /// Show which image a tag pointed to, from when to when
    History {
        /// `REPO:TAG`; the registry's host name may come first
        #[arg(value_name = "REPO:TAG")]
        tag: TagReference,

        /// Only in this registry, such as `111122223333/eu-west-1`
        #[arg(long)]
        registry: Option<Registry>,
    },
    /// List the images of a repository, and who has them
    Images {
        /// Repository, such as `team/app`; also its URI or ARN
        #[arg(value_name = "REPO", value_parser = repository)]
        repository: RepositoryName,

        /// Only images that this registry has, and no other
        #[arg(long, value_name = "REGISTRY")]
        only_in: Option<Registry>,

        /// Only images that some registry has, and this one does not
        #[arg(long, value_name = "REGISTRY")]
        not_in: Option<Registry>,

        /// Only images with a copy that is older than this, such as `90d`, and of which ECR recorded no pull for as long
        #[arg(long, value_name = "DURATION", value_parser = time::back)]
        not_pulled: Option<SignedDuration>,
    },
    /// List the replicas whose source no longer has the image
    Orphans {
        /// Only in this registry, such as `111122223333/eu-west-1`
        #[arg(long)]
        registry: Option<Registry>,

        /// Only in these repositories, such as `prod/api` or `prod/*`
        #[arg(long, value_name = "PATTERN", value_parser = repositories)]
        repository: Option<RepositoryPattern>,

        /// Only replicas that are older than this, such as `90d`, and of which ECR recorded no pull for as long
        #[arg(long, value_name = "DURATION", value_parser = time::back)]
        not_pulled: Option<SignedDuration>,
    },
    /// Show what images cost
    ///
    /// Shows size and list price by registry, kind and repository, and what replication transferred.
    Costs(CostsOptions),
    /// List the open incidents, and the alerts of a period
    Alerts(AlertsOptions),
    /// List what was done, across images
    ///
    /// Lists what callers, lifecycle policies, ecr-lineage and operators did, newest first.
    Activity(ActivityOptions),
    /// Say that you work on an open incident
    ///
    /// Everybody sees it. The incident is repeated as before.
    Acknowledge(AcknowledgeOptions),
    /// Stop the repetitions of an open incident until a time
    ///
    /// If it becomes more severe, it is sent nevertheless; so is its end.
    Snooze(SnoozeOptions),
    /// Show how long replication takes, and what is late
    ///
    /// Shows the replication lag by source, destination and repository, and the replicas that are late.
    Lag {
        /// Replicas that arrived since this time, such as `30d`, `2026-10-01` (UTC) or `2026-10-01T06:00:00Z`; the newest
        /// of each image and tag
        #[arg(long, value_name = "TIME", default_value = "30d")]
        since: Moment,

        /// Replicas that arrived until this time; now if it is left out
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,

        /// Only from this registry, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// Only to this registry, such as `111122223333/us-east-1`
        #[arg(long, value_name = "REGISTRY")]
        destination: Option<Registry>,

        /// Only in these repositories, such as `prod/api` or `prod/*`
        #[arg(long, value_name = "PATTERN", value_parser = repositories)]
        repository: Option<RepositoryPattern>,
    },
    /// List missing replicas, tag mismatches and orphans
    Drift {
        /// Only in these repositories, such as `prod/api` or `prod/*`
        #[arg(long, value_name = "PATTERN", value_parser = repositories)]
        repository: Option<RepositoryPattern>,
    },
    /// List registries now, and record what no event reported
    ///
    /// The function `reconcile` does this daily. It changes no registry.
    Reconcile {
        /// Registries to list, such as `111122223333/eu-west-1`
        #[arg(required = true, value_name = "REGISTRY")]
        registries: Vec<Registry>,

        /// Limit of calls per second to each registry, from 1 to 1000; ECR publishes no limits for listing
        #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        calls_per_second: u32,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let ECR copy what a destination lacks, and record it
    ///
    /// Starts ECR's own backfill from a registry to a destination, waits for its end, and records what it copied.
    Backfill {
        /// Registry to copy from, such as `111122223333/eu-west-1`
        source: Registry,

        /// Registry to copy to, a destination of the source's rules, such as `111122223333/us-east-1`
        destination: Registry,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List deletions of replicas, with their reasons
    ///
    /// Without a status, it lists those that are not over and those that failed.
    Deletions(DeletionsOptions),
    /// Stop all deletions, or those of one source
    ///
    /// None begins until `resume`, or until a time.
    Pause {
        /// Only the deletions of this source, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// End of the pause: `2027-01-31` (that day included), `2027-01-31T18:00:00Z`, or `12h` from now on
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,

        /// Reason, shown to everybody
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a pause
    ///
    /// What is due runs within five minutes.
    Resume {
        /// The source of the pause; without one, the pause of every source
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,
    },
    /// Keep images, repositories or a source from being deleted
    ///
    /// It works whether or not a deletion exists yet.
    Hold(HoldOptions),
    /// List the pauses and holds
    Holds,
    /// End a hold
    ///
    /// The deletions that it stopped are re-evaluated.
    Release {
        /// ID of a hold, as `holds` lists it, its pattern, or an image
        #[arg(value_name = "ID_OR_PATTERN")]
        hold: String,

        /// Only holds of this source, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// End also the holds of others
        #[arg(long)]
        force: bool,

        /// Reason, recorded with each deletion
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Approve deletions where the policy requires it
    ///
    /// Every other check still applies.
    Approve(ActOptions),
    /// Cancel deletions for good: the replicas are kept
    ///
    /// A new deletion at the source begins anew.
    Cancel(ActOptions),
    /// Re-evaluate deletions that were kept or that ECR refused
    ///
    /// A cancelled one stays cancelled.
    Retry(ActOptions),
    /// Show or reset circuit breakers
    ///
    /// They stop mirroring when too many images are deleted at once.
    #[command(subcommand)]
    Breaker(BreakerCommand),
    /// Say what is in use where no service says it
    ///
    /// Replicas of these images are kept.
    #[command(subcommand)]
    Usage(UsageCommand),
    /// Change what the hub expects of a registry
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Bring a replica back, or show how
    ///
    /// Restores an archived replica, or prints the commands that bring a deleted one back; `--copy` copies it back.
    /// `--drill` only tries whether deleted ones could be brought back.
    Restore(RestoreOptions),
    /// Serve the page and the API on this machine
    ///
    /// They use your own credentials.
    Serve(ServeOptions),
    /// Audit replication settings for risks
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Write, check, test and compare policies, preview one
    #[command(subcommand)]
    Policy(PolicyCommand),
}

/// The commands below `usage`.
#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// Import a list of images in use
    ///
    /// Takes every reference to an image of ECR in a text of any form, such as the pods of a cluster as JSON. It replaces
    /// the list of the same name.
    Import {
        /// File to read; `-` is standard input
        path: PathBuf,

        /// Name of the list, such as the cluster's
        #[arg(long, value_name = "NAME", value_parser = crate::usage::list_name)]
        name: String,

        /// When the list is out of date: `2027-01-31`, `2027-01-31T18:00:00Z`, or `12h` from now on. From then on it keeps
        /// every replica, until it is imported again or removed
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,
    },
    /// List the lists
    Lists,
    /// Remove a list
    Remove {
        /// Name of the list
        name: String,
    },
}

/// The commands below `registry`.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Expect no heartbeat of a registry without a stack
    ///
    /// The next heartbeat or event of the registry ends it.
    Forget {
        /// Registry, such as `444455556666/eu-west-1`
        registry: Registry,

        /// Reason, shown to everybody
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// The commands below `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show what ECR's native deletion replication could delete
    ///
    /// Shows, rule by rule, what ECR could delete if it were enabled today: tags that only replicas have, and replicas
    /// that are still pulled.
    NativeDeletes {
        /// Only rules of this source, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// Period until now in which a pull counts, such as `30d`
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = time::back)]
        pulled: SignedDuration,
    },
    /// Show what a lifecycle policy would take, and what would follow
    ///
    /// Shows the images that ECR's own preview names, and what would then be deleted at the replicas.
    Lifecycle {
        /// Registry of the lifecycle policy, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Registry,

        /// Its repository, such as `team/app`
        #[arg(long, value_name = "REPO", value_parser = repository)]
        repository: RepositoryName,

        /// Lifecycle policy to preview; without one, the policy of the repository
        #[arg(long, value_name = "FILE")]
        lifecycle: Option<PathBuf>,

        /// Policy to evaluate for the replicas, in mode enforce; without one, the policy and the mode that `mirror` runs
        /// with
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

/// The options of `restore`.
#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// Image, written as for `show`
    #[arg(required_unless_present = "drill", conflicts_with = "drill", requires = "registry")]
    pub image: Option<Reference>,

    /// Registry of the replica, such as `111122223333/us-east-1`
    #[arg(long, conflicts_with = "drill")]
    pub registry: Option<Registry>,

    /// Also move tags back that another image has now
    #[arg(long, conflicts_with = "drill")]
    pub move_tag: bool,

    /// Copy a deleted image back through ECR's API, from a registry that has it. Says how much that is, and asks.
    /// Repeated, it goes on with what is missing
    #[arg(long, conflicts_with = "drill", requires = "image")]
    pub copy: bool,

    /// Do not ask before an image is copied
    #[arg(long, requires = "copy")]
    pub yes: bool,

    /// Pick deletions at random, and show by reads whether each image could be brought back now, and from where; the
    /// overview shows the result. ECR counts a read of a manifest as a pull
    #[arg(long)]
    pub drill: bool,

    /// Number of deletions that the drill tries
    #[arg(long, value_name = "NUMBER", default_value_t = 20, requires = "drill", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub count: u16,

    /// Deletions since this time, such as `30d` or `2026-11-01`
    #[arg(long, value_name = "TIME", default_value = "30d", requires = "drill")]
    pub since: Moment,
}
