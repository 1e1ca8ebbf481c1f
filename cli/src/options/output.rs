//! The options about the answer: where it is written, how it is shown, and how often.

use std::{path::PathBuf, time::Duration};

use answers::time;
use clap::{Args, ValueEnum};

/// Where and how the answer is written.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Write the answer to this file; it is replaced when the command has ended, or not at all
    #[arg(short, long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Print no answer, only errors: the exit code says it. A list of problems that is not empty is 1
    #[arg(short, long, global = true, conflicts_with = "output")]
    pub quiet: bool,

    /// Print on standard error which table is asked, and each call to AWS
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Ask again and again, every 5 seconds or after another time such as `--watch=1m`, until Ctrl-C
    #[arg(
        long, global = true, value_name = "DURATION", num_args = 0..=1, require_equals = true,
        default_missing_value = "5s", value_parser = interval, conflicts_with = "output"
    )]
    pub watch: Option<Duration>,

    /// Times in tables: in UTC, in this machine's time zone, or relative to now. JSON has UTC
    #[arg(long, global = true, hide_short_help = true, value_enum, default_value_t = TimeForm::Utc)]
    pub time: TimeForm,

    /// File with names for accounts, a line each: `111122223333 = "prod"`. Tables show `prod/eu-west-1`, and options take
    /// it. JSON has account IDs
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", env = "ECR_LINEAGE_ALIASES", default_value_os_t = crate::aliases::default_file())]
    pub aliases: PathBuf,
}

/// How a table shows times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TimeForm {
    /// In UTC
    #[default]
    Utc,
    /// In the time zone of this machine
    Local,
    /// As in `3 h ago`
    Relative,
}

/// The time between two answers.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = time::back(text)?.unsigned_abs();
    if interval < Duration::from_secs(1) { Err("expected at least a second: `1s`".to_owned()) } else { Ok(interval) }
}
