//! What can be said on the command line.

use std::{collections::BTreeSet, path::PathBuf};

use answers::{
    deletions::DeletionFilter,
    reference::{Reference, TagReference},
    time,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::{
    deletion::DeletionStatus,
    image::{Registry, RepositoryName, Tag},
};
use jiff::{SignedDuration, Timestamp};
use simulator::{
    settings::{Lag, Unconfirmed},
    trouble::Trouble,
};

/// Where is this image, where did it come from, since when, and who deleted it?
#[derive(Debug, Parser)]
#[command(name = "ecr-lineage", version, disable_help_subcommand = true)]
pub struct Options {
    /// How to print the answer: a table for people, or JSON with snake_case keys and RFC 3339 UTC times
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// What to ask, and where.
    #[command(flatten)]
    pub target: TargetOptions,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which table to use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The table (`demo` and `local` bring their own)")]
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

    /// Where to reach AWS instead of its public endpoints, such as what `local` prints
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,

    /// The role to enter registries with, by its name in every account; without it the caller's own credentials
    #[arg(long, global = true, value_name = "NAME")]
    pub role: Option<String>,

    /// What that role wants to be told
    #[arg(long, global = true, value_name = "ID", requires = "role")]
    pub external_id: Option<String>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// As a graph, for Graphviz (`show` only).
    Dot,
    /// As a graph, for Mermaid (`show` only).
    Mermaid,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play a story of replication, tags and deletions on three registries, and show what was recorded
    Demo,
    /// Run registries, events, `record` and the table in this process, on one port for the AWS CLI and every SDK
    Local(LocalOptions),
    /// Look into a deployment: what is missing, what stands still, what is wrong, and how it is mended
    Doctor(DoctorOptions),
    /// Prepare a deployment
    #[command(subcommand)]
    Deploy(DeployCommand),
    /// Something about a table.
    #[command(flatten)]
    Table(TableCommand),
}

/// Which deployment is looked into.
#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// The hub's stack, in the region that `--region` names
    #[arg(long, default_value = "ecr-lineage")]
    pub stack: String,

    /// Registries that should send their events although no rule mentions them, as in `111122223333/eu-west-1`
    #[arg(value_name = "REGISTRY")]
    pub registries: Vec<Registry>,
}

/// What can be prepared.
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Read what registries replicate, and print which stacks are needed where, with which parameters
    Plan {
        /// Where the hub is to be, as in `999988887777/eu-central-1`
        #[arg(long, value_name = "ACCOUNT/REGION")]
        hub: Registry,

        /// The organization whose accounts may send events, such as `o-a1b2c3d4e5`; without it each account is named
        #[arg(long, value_name = "ID")]
        organization: Option<String>,

        /// Registries to begin with, as in `111122223333/eu-west-1`; where they copy to is found out
        #[arg(required = true, value_name = "REGISTRY")]
        registries: Vec<Registry>,
    },
}

/// The commands that work on a table, and some on the registries.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
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

        /// Only of this repository, such as `team/app`
        #[arg(long, value_name = "REPO")]
        repository: Option<RepositoryName>,
    },
    /// Show what is wrong with replication now, and what was told of that and of everything else
    Alerts {
        /// Only what is wrong now
        #[arg(long)]
        open: bool,

        /// What was told in this time, as in `12h` or `30d`
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time::back)]
        since: SignedDuration,
    },
    /// Show how long replication takes between registries, repository by repository, and what is not there now
    Lag {
        /// Copies that arrived in this time, as in `12h` or `30d`; of each name the newest
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time::back)]
        since: SignedDuration,
    },
    /// Show what replicas lack beside their source, their other tags, and replicas that are left over
    Drift {
        /// Only of this repository, such as `team/app`
        #[arg(long, value_name = "REPO")]
        repository: Option<RepositoryName>,
    },
    /// List registries now, and record what no event told; `reconcile` does it daily by itself
    Reconcile {
        /// Registries, as in `111122223333/eu-west-1`
        #[arg(required = true, value_name = "REGISTRY")]
        registries: Vec<Registry>,

        /// How many calls a second to each at most, from 1 to 1000; ECR publishes no limits
        #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        calls_per_second: u32,
    },
    /// Let ECR copy to one destination what it lacks (ECR's own backfill), follow that, and record what was copied
    Backfill {
        /// The registry that copies, as in `111122223333/eu-west-1`
        source: Registry,

        /// The destination of one of its rules, as in `111122223333/us-east-1`
        destination: Registry,
    },
    /// List deletions to be mirrored, and why; without a status those that are not over, and those that failed
    Deletions(DeletionsOptions),
    /// Stop the deletion of a replica until it is released
    Hold(ActOptions),
    /// Let a deletion that is held, kept or failed be judged again
    Release(ActOptions),
    /// Approve a deletion, where the policy wants that; every other check is made all the same
    Approve(ActOptions),
    /// Stop a deletion for good: the replica stays
    Cancel(ActOptions),
    /// Show or close the breakers that stop everything when too much is deleted at once
    #[command(subcommand)]
    Breaker(BreakerCommand),
    /// Bring an archived replica back, or say how a deleted one comes back
    Restore {
        /// The image, as in `show`
        image: Reference,

        /// The registry of the replica, as in `111122223333/us-east-1`
        #[arg(long)]
        registry: Registry,
    },
    /// Serve a page and an API on this machine, with your own credentials
    Serve(ServeOptions),
    /// Look for what would go wrong
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check a policy, or ask what it would do
    #[command(subcommand)]
    Policy(PolicyCommand),
}

/// Which deletions are listed.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct DeletionsOptions {
    /// Those that wait until they are due
    #[arg(long)]
    pub pending: bool,
    /// Those that a person or the breaker stopped
    #[arg(long)]
    pub held: bool,
    /// Those that wait for approval
    #[arg(long)]
    pub waiting: bool,
    /// Those that were carried out
    #[arg(long)]
    pub done: bool,
    /// Those that were not, with the reason
    #[arg(long)]
    pub kept: bool,
    /// Those that ECR refused
    #[arg(long)]
    pub failed: bool,
    /// Only those that changed in this time, as in `12h` or `30d`
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time::back)]
    pub since: SignedDuration,
    /// Only from this source, as in `111122223333/eu-west-1`
    #[arg(long, value_name = "REGISTRY")]
    pub source: Option<Registry>,
}

impl DeletionsOptions {
    /// Which deletions are meant.
    #[must_use]
    pub fn filter(&self, now: Timestamp) -> DeletionFilter<'_> {
        let wanted = [
            (self.pending, &[DeletionStatus::Pending, DeletionStatus::Executing][..]),
            (self.held, &[DeletionStatus::Held]),
            (self.waiting, &[DeletionStatus::AwaitingApproval]),
            (self.done, &[DeletionStatus::Done]),
            (self.kept, &[DeletionStatus::Kept]),
            (self.failed, &[DeletionStatus::Failed]),
        ];
        let on = wanted.iter().filter(|(on, _)| *on).flat_map(|(_, statuses)| *statuses).copied();
        let mut statuses: BTreeSet<_> = on.collect();
        if statuses.is_empty() {
            statuses = DeletionFilter::not_over();
        }
        let since = now.checked_sub(self.since).unwrap_or(Timestamp::UNIX_EPOCH);
        DeletionFilter { statuses, source: self.source.as_ref(), since }
    }
}

/// Which deletions somebody does something about.
#[derive(Debug, Clone, Args)]
pub struct ActOptions {
    /// The image, as in `show`
    pub image: Reference,

    /// Only in this registry, as in `111122223333/us-east-1`
    #[arg(long)]
    pub registry: Option<Registry>,

    /// Only the deletion of this tag
    #[arg(long)]
    pub tag: Option<Tag>,
}

/// What can be done about breakers.
#[derive(Debug, Subcommand)]
pub enum BreakerCommand {
    /// Show which are open and what they counted
    Status {
        /// Only of this source
        source: Option<Registry>,
    },
    /// Close one, and let everything that it holds be judged again
    Reset {
        /// The source whose deletions it stops, as in `111122223333/eu-west-1`
        source: Registry,

        /// Let so many images go in the next window, whatever the limits say
        #[arg(long, value_name = "IMAGES")]
        allow: Option<u32>,
    },
}

/// What can be looked for.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// If ECR's own switch for deletions were turned on today: which tags that only replicas have, and which replicas that
    /// are still pulled, could vanish, rule by rule
    NativeDeletes {
        /// Only the rules of this source
        #[arg(long, value_name = "REGISTRY")]
        source: Option<Registry>,

        /// How recent a pull counts, as in `30d`
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time::back)]
        pulled: SignedDuration,
    },
}

/// What can be asked about a policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check syntax, schema and annotations
    Check {
        /// Cedar files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Ask what a policy would do with the recorded deletions and orphans; nothing is touched
    Preview {
        /// A Cedar file
        file: PathBuf,

        /// Deletions that happened in this time, as in `12h` or `30d`; orphans of any age
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time::back)]
        since: SignedDuration,
    },
    /// Show why a replica was or would be kept or deleted, check by check; nothing is touched
    Explain {
        /// The image, as in `show`
        image: Reference,

        /// The registry of the replica, as in `111122223333/us-east-1`
        #[arg(long)]
        registry: Registry,

        /// The policy to ask; without one everything is kept
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

/// How the page is served.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// The port on the loopback interface; 0 takes any that is free
    #[arg(long, default_value_t = 4568)]
    pub port: u16,

    /// Let deletions be held, released, approved and cancelled, and breakers be reset: as you
    #[arg(long)]
    pub allow_changes: bool,
}

/// How registries are simulated.
#[derive(Debug, Args)]
pub struct LocalOptions {
    /// The port on the loopback interface; 0 takes any that is free
    #[arg(long, default_value_t = 4567)]
    pub port: u16,

    /// Keep everything in this folder, across restarts; without it everything is forgotten in the end
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// The policy that says which replicas may follow their sources; without it all are kept
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Delete what the policy permits; without it, what would be done is decided and recorded, and nothing is touched
    #[arg(long)]
    pub enforce: bool,

    /// Send each alert there as well, as an EventBridge API destination does: a POST with the whole event as JSON
    #[arg(long, value_name = "URL", value_parser = url)]
    pub webhook: Option<String>,

    /// What goes wrong, in percent, as in `lost=2,delayed=10,throttled`; without a number 5 %. Events: lost, repeated,
    /// delayed, reordered; copies: slow, stuck, failed, missing; calls: throttled, unheard, unanswered
    #[arg(long, value_name = "KIND=PERCENT,…", default_value = "", hide_default_value = true, value_parser = trouble)]
    pub trouble: Trouble,

    /// Where all chance comes from: the same seed and the same calls give the same trouble
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// How many times faster than the wall's the clock runs; with 0 it stands until `POST /_simulator/step`
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_negative_numbers = true, value_parser = speed)]
    pub speed: f64,

    /// How long a copy takes: `30s`, or `5s..1m`, or for one destination `111122223333/us-east-1=20m`; again for more
    #[arg(long, value_name = "[REGISTRY=]TIME", value_parser = lag)]
    pub lag: Vec<(Option<Registry>, Lag)>,

    /// Another answer to what AWS does not document, as in `delete-per-tag=false`; again for more
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
        _ => Err(format!("`{text}` is not a time: write `30s`, `5m` or `1h 30m`")),
    };
    let (from, to) = times.split_once("..").unwrap_or((times, times));
    let lag = Lag { from: time(from)?, to: time(to)? };
    if lag.from > lag.to { Err(format!("`{times}` ends before it begins")) } else { Ok((registry, lag)) }
}

fn unconfirmed(text: &str) -> Result<(String, bool), String> {
    let (name, answer) = text.split_once('=').ok_or("expected NAME=true or NAME=false")?;
    let answer = answer.parse().map_err(|_| format!("`{answer}` is neither true nor false"))?;
    let one = serde_json::json!({name: answer});
    // The list of names is serde's, so that it is complete.
    serde_json::from_value::<Unconfirmed>(one).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), answer))
}

/// The embedded table of this user; in the working directory for a user without a home.
fn default_table() -> String {
    directories::ProjectDirs::from("", "", "ecr-lineage")
        .map_or_else(|| PathBuf::from("./lineage.db"), |folders| folders.data_dir().join("lineage.db"))
        .display()
        .to_string()
}
