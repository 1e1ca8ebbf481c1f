//! What `record` needs, beside the same work in Python, and what each kind of event costs.
//!
//! Both functions are driven by the same Lambda Runtime API and write to the same embedded DynamoDB in one run. Run it
//! with `benchmarks/run`, which builds and installs everything; see `benchmarks/README.md` for what the rows mean.

mod cost;
mod events;
mod function;
mod report;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use cli::embedded::Embedded;
use report::Report;

/// Any failure ends the run: half a benchmark is none.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures the record function and its baseline.
#[derive(Debug, Parser)]
struct Options {
    /// The release build of the record function
    #[arg(long)]
    function: PathBuf,
    /// A Python that has the baseline's requirements
    #[arg(long)]
    python: PathBuf,
    /// Where to write the rows as JSON
    #[arg(long)]
    json: PathBuf,
    /// How many images the table holds for the last cost column
    #[arg(long, default_value_t = 100_000)]
    images: u32,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let options = Options::parse();
    let mut report = Report::default();
    let embedded = Embedded::open(None).await?;
    function::compare(&options.function, &options.python, &embedded, &mut report).await?;
    cost::measure(options.images, &mut report).await?;
    println!("{}", report.table());
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&options.json, serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(if report.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
