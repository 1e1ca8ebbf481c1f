//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::image::{Registry, RepositoryName};
use jiff::SignedDuration;
use simulator::{
    settings::{Lag, Unconfirmed},
    trouble::Trouble,
};

use crate::reference::{Reference, TagReference};

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
#[derive(Debug, Args)]
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
    /// Play a story of replication, tags and deletions on three registries, and show what was recorded
    Demo,
    /// Run registries, events, `record` and the table in this process, on one port for the AWS CLI and every SDK
    Local(LocalOptions),
    /// Something about a table.
    #[command(flatten)]
    Table(TableCommand),
}

/// The commands that work on a table.
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
    },
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

    /// What goes wrong, in percent, as in `lost=2,delayed=10,throttled`; without a number 5 %. Events: lost, repeated,
    /// delayed, reordered; copies: slow, stuck, failed; calls: throttled, unheard, unanswered
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

fn trouble(text: &str) -> Result<Trouble, String> {
    if text.is_empty() {
        return Ok(Trouble::default());
    }
    text.parse().map_err(|error: simulator::trouble::NoTrouble| error.to_string())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1e6).contains(&speed) { Ok(speed) } else { Err("expected a number between 0 and 1000000".to_owned()) }
}

fn lag(text: &str) -> Result<(Option<Registry>, Lag), String> {
    let (registry, times) = match text.split_once('=') {
        Some((registry, times)) => {
            let registry = registry.parse().map_err(|error: domain::image::Malformed| error.to_string())?;
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
