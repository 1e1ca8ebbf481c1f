//! The options and commands of the command line.

mod deletions;
mod policy;

use std::path::PathBuf;

use answers::{
    presence::Place,
    reference::{Reference, TagReference, repository},
    time::{self, Moment},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::image::{Registry, RepositoryName};
use jiff::{SignedDuration, Timestamp};
use simulator::{
    settings::{Lag, Unconfirmed},
    trouble::Trouble,
};

use deletions::end;
pub use deletions::{ActOptions, BreakerCommand, DeletionsOptions, HoldOptions};
pub use policy::PolicyCommand;

use crate::ingest::Assumed;

/// Where is this image, where did it come from, since when, and who deleted it?
#[derive(Debug, Parser)]
#[command(name = "ecr-lineage", version, disable_help_subcommand = true)]
pub struct Options {
    /// Output format: a table for people, or JSON with snake_case keys and RFC 3339 times in UTC
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// The table and the AWS configuration.
    #[command(flatten)]
    pub target: TargetOptions,

    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Which table to use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Table and credentials (`demo` and `local` do not use them)")]
pub struct TargetOptions {
    /// Table to use: the file of an embedded table (a path with a slash, or a name ending in `.db`), `memory`, or the
    /// name of a DynamoDB table
    #[arg(long, global = true, env = "ECR_LINEAGE_TABLE", default_value_t = default_table())]
    pub table: String,

    /// AWS profile to take credentials from
    #[arg(long, global = true)]
    pub profile: Option<String>,

    /// AWS region of the DynamoDB table and of the hub's stack
    #[arg(long, global = true)]
    pub region: Option<String>,

    /// Endpoint to call instead of the public ones of AWS, such as the URL that `local` prints
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,

    /// Name of the role to assume in the account of each registry; without it, your own credentials are used
    #[arg(long, global = true, value_name = "NAME")]
    pub role: Option<String>,

    /// STS external ID that the trust policy of this role requires
    #[arg(long, global = true, value_name = "ID", requires = "role")]
    pub external_id: Option<String>,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
    /// A graph for Graphviz (`show` only)
    Dot,
    /// A graph for Mermaid (`show` only)
    Mermaid,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play a story of replication, tags and deletions on three simulated registries, and show what was recorded
    Demo,
    /// Run simulated registries, every function, the API and the page in this process, on one port, for the AWS CLI and
    /// all SDKs
    Local(LocalOptions),
    /// Diagnose a deployment: missing stacks, functions that do not run, misconfiguration, and the fix for each
    Doctor(DoctorOptions),
    /// Prepare a deployment
    #[command(subcommand)]
    Deploy(DeployCommand),
    /// The commands that need a table.
    #[command(flatten)]
    Table(TableCommand),
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
    /// Read the replication rules of registries, and print the stacks that are needed, with their parameters
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

    /// When `describe-images` or `list-images` was called, if not when the file was written
    #[arg(long, value_name = "TIME", requires = "registry")]
    pub listed_at: Option<Timestamp>,

    /// Show this image afterwards
    #[arg(long, value_name = "IMAGE")]
    pub show: Option<Reference>,
}

impl IngestOptions {
    /// What the options say about the files.
    #[must_use]
    pub fn assumed(&self) -> Assumed {
        let Self { registry, repository, listed_at, .. } = self;
        Assumed { registry: registry.clone(), repository: repository.clone(), listed_at: *listed_at }
    }
}

impl TableCommand {
    /// Whether the command records something, so that it creates an embedded table that does not exist.
    #[must_use]
    pub fn records(&self) -> bool {
        matches!(self, Self::Ingest(_) | Self::Reconcile { .. } | Self::Backfill { .. })
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
    /// Record events from files: EventBridge events and CloudTrail records, alone or in anything that AWS puts around
    /// them (messages, logs, lists, tables), compressed or not
    Ingest(IngestOptions),
    /// Show every registry that has or had an image: its origin, since when, who deleted it and when; then its timeline
    Show {
        /// `REPO:TAG`, `REPO@DIGEST` or `DIGEST`; a digest may be short, and the registry's host name may come first
        image: Reference,
    },
    /// Say whether an image is where it should be; fails unless it is in every registry of its replication rules, or in
    /// those of `--in`
    #[command(name = "where")]
    Where {
        /// Image, written as for `show`
        image: Reference,

        /// Only in this registry, such as `111122223333/eu-west-1`, or in this region; can be repeated
        #[arg(long = "in", value_name = "REGISTRY")]
        places: Vec<Place>,
    },
    /// Wait until an image is where it should be: 0 it is, 1 a copy will not arrive, 3 the time is over
    Wait(WaitOptions),
    /// Show which image a tag pointed to, from when to when, in each registry
    History {
        /// `REPO:TAG`; the registry's host name may come first
        #[arg(value_name = "REPO:TAG")]
        tag: TagReference,

        /// Only in this registry, such as `111122223333/eu-west-1`
        #[arg(long)]
        registry: Option<Registry>,
    },
    /// List the images of a repository, and the registries that have them
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
    },
    /// List the replicas whose source no longer has the image
    Orphans {
        /// Only in this registry, such as `111122223333/eu-west-1`
        #[arg(long)]
        registry: Option<Registry>,

        /// Only in this repository, such as `team/app`
        #[arg(long, value_name = "REPO", value_parser = repository)]
        repository: Option<RepositoryName>,
    },
    /// List the open replication incidents, and the alerts of a period
    Alerts {
        /// List open incidents only
        #[arg(long)]
        open: bool,

        /// Alerts of this period until now, such as `12h` or `30d`
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = time::back)]
        since: SignedDuration,
    },
    /// Show replication lag by source, destination and repository, and the replicas that are late
    Lag {
        /// Replicas that arrived since this time, such as `30d`, `2026-10-01` (UTC) or `2026-10-01T06:00:00Z`; the newest
        /// of each image and tag
        #[arg(long, value_name = "TIME", default_value = "30d")]
        since: Moment,

        /// Replicas that arrived until this time; now if it is left out
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,

        /// Only to this registry, such as `111122223333/us-east-1`
        #[arg(long, value_name = "REGISTRY")]
        destination: Option<Registry>,

        /// Only in this repository, such as `team/app`
        #[arg(long, value_name = "REPO", value_parser = repository)]
        repository: Option<RepositoryName>,
    },
    /// List missing replicas, tag mismatches and orphans
    Drift {
        /// Only in this repository, such as `team/app`
        #[arg(long, value_name = "REPO", value_parser = repository)]
        repository: Option<RepositoryName>,
    },
    /// List registries now, and record the differences that no event reported; the `reconcile` function does this daily
    Reconcile {
        /// Registries to list, such as `111122223333/eu-west-1`
        #[arg(required = true, value_name = "REGISTRY")]
        registries: Vec<Registry>,

        /// Limit of calls per second to each registry, from 1 to 1000; ECR publishes no limits for listing
        #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        calls_per_second: u32,
    },
    /// Start ECR's own backfill from a registry to a destination, wait for its end, and record what it copied
    Backfill {
        /// Registry to copy from, such as `111122223333/eu-west-1`
        source: Registry,

        /// Registry to copy to, a destination of the source's rules, such as `111122223333/us-east-1`
        destination: Registry,
    },
    /// List deletions of replicas with their reasons; without a status, those that are open and those that failed
    Deletions(DeletionsOptions),
    /// Stop all deletions, or those of one source: none begins until `resume`, or until a time
    Pause {
        /// Only the deletions of this source, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// End of the pause: `2027-01-31` (that day included), `2027-01-31T18:00:00Z`, or `12h` from now on
        #[arg(long, value_name = "TIME", value_parser = end)]
        until: Option<Timestamp>,

        /// Reason, shown to everybody
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a pause: what is due runs within five minutes
    Resume {
        /// The source of the pause; without one, the pause of every source
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,
    },
    /// Keep images, repositories or a source from being deleted, whether or not a deletion exists yet
    Hold(HoldOptions),
    /// List the pauses and holds
    Holds,
    /// End a hold; the deletions that it stopped are re-evaluated
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
    /// Approve deletions where the policy requires it; every other check still applies
    Approve(ActOptions),
    /// Cancel deletions for good: the replicas are kept, until a new deletion at the source
    Cancel(ActOptions),
    /// Re-evaluate deletions that were kept or that ECR refused; a cancelled one stays cancelled
    Retry(ActOptions),
    /// Show or reset circuit breakers, which stop mirroring when too many images are deleted at once
    #[command(subcommand)]
    Breaker(BreakerCommand),
    /// Change what the hub expects of a registry
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Restore an archived replica, or print the commands that bring a deleted one back; `--copy` copies it back,
    /// `--drill` only tries whether deleted ones could be brought back
    Restore(RestoreOptions),
    /// Serve the page and the API on this machine, with your own credentials
    Serve(ServeOptions),
    /// Audit replication settings for risks
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Write, check, test and compare policies, or show what one would do
    #[command(subcommand)]
    Policy(PolicyCommand),
}

/// The commands below `registry`.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Expect no heartbeat of a registry that has no stack, or has none any more; the next heartbeat or event ends it
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
    /// Show what ECR could delete if its native deletion replication were enabled today: tags that only replicas have,
    /// and replicas that are still pulled, rule by rule
    NativeDeletes {
        /// Only rules of this source, such as `111122223333/eu-west-1`
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// Period until now in which a pull counts, such as `30d`
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = time::back)]
        pulled: SignedDuration,
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

    /// Period of the deletions until now, such as `12h` or `30d`
    #[arg(long, value_name = "DURATION", default_value = "30d", requires = "drill", value_parser = time::back)]
    pub since: SignedDuration,
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

/// The options of `local`.
#[derive(Debug, Args)]
pub struct LocalOptions {
    /// Port on the loopback interface; 0 picks a free one
    #[arg(long, default_value_t = 4567)]
    pub port: u16,

    /// Keep all state in this folder across restarts; without it, state is in memory only
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Policy that says which replicas may be deleted; without one, every replica is kept
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Execute what the policy permits; without this, decisions are only recorded (observe mode)
    #[arg(long)]
    pub enforce: bool,

    /// Also send each alert to this URL, like an EventBridge API destination: a POST with the whole event as JSON
    #[arg(long, value_name = "URL", value_parser = url)]
    pub webhook: Option<String>,

    /// Faults to simulate, in percent, such as `lost=2,delayed=10,throttled` (5 % if no number is given). Events: lost,
    /// repeated, delayed, reordered, hop; copies: slow, stuck, failed, missing; calls: throttled, request-lost,
    /// response-lost
    #[arg(long, value_name = "KIND=PERCENT,…", default_value = "", hide_default_value = true, value_parser = trouble)]
    pub trouble: Trouble,

    /// Random seed: the same seed and the same calls give the same faults
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Speed of the clock, as a multiple of real time; with 0 it moves only by `POST /_simulator/step`
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_negative_numbers = true, value_parser = speed)]
    pub speed: f64,

    /// Duration of a copy: `30s`, a range `5s..1m`, or for one destination `111122223333/us-east-1=20m`; can be
    /// repeated
    #[arg(long, value_name = "[REGISTRY=]DURATION", value_parser = lag)]
    pub lag: Vec<(Option<Registry>, Lag)>,

    /// Require that `PutImage`'s layers were uploaded, as ECR does; a push by a registry client always needs them
    #[arg(long)]
    pub require_layers: bool,

    /// Another choice where AWS documents no behaviour, such as `delete-per-tag=false`; can be repeated
    #[arg(long, value_name = "NAME=BOOLEAN", value_parser = unconfirmed)]
    pub unconfirmed: Vec<(String, bool)>,
}

fn url(text: &str) -> Result<String, String> {
    let uri = text.parse::<ureq::http::Uri>().ok();
    let usable = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if usable { Ok(text.to_owned()) } else { Err("expected a URL, as in `https://example.com/alerts`".to_owned()) }
}

fn trouble(text: &str) -> Result<Trouble, String> {
    if text.is_empty() {
        return Ok(Trouble::default());
    }
    text.parse().map_err(|error: simulator::trouble::TroubleError| error.to_string())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1e6).contains(&speed) { Ok(speed) } else { Err("expected a number between 0 and 1000000".to_owned()) }
}

fn lag(text: &str) -> Result<(Option<Registry>, Lag), String> {
    let (registry, times) = match text.split_once('=') {
        Some((registry, times)) => {
            let registry = registry.parse().map_err(|error: domain::image::MalformedError| error.to_string())?;
            (Some(registry), times)
        }
        None => (None, text),
    };
    let time = |text: &str| match text.parse::<SignedDuration>() {
        Ok(time) if !time.is_negative() => Ok(time),
        _ => Err(format!("`{text}` is not a duration: write `30s`, `5m` or `1h 30m`")),
    };
    let (from, to) = times.split_once("..").unwrap_or((times, times));
    let lag = Lag { from: time(from)?, to: time(to)? };
    if lag.from > lag.to { Err(format!("`{times}` ends before it begins")) } else { Ok((registry, lag)) }
}

fn unconfirmed(text: &str) -> Result<(String, bool), String> {
    let (name, answer) = text.split_once('=').ok_or("expected NAME=true or NAME=false")?;
    let answer = answer.parse().map_err(|_| format!("`{answer}` is neither true nor false"))?;
    let one = serde_json::json!({name: answer});
    // Serde has the list of names, so that the error message lists all of them.
    serde_json::from_value::<Unconfirmed>(one).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), answer))
}

/// The user's embedded table; in the working directory if the user has no home directory.
fn default_table() -> String {
    directories::ProjectDirs::from("", "", "ecr-lineage")
        .map_or_else(|| PathBuf::from("./lineage.db"), |folders| folders.data_dir().join("lineage.db"))
        .display()
        .to_string()
}
