//! The benchmarks: `record` and `mirror` compared with the same work in Python, `reconcile` compared with the minimum
//! number of calls that paging allows, the cost of each kind of event, the latency of API responses, and the
//! end-to-end throughput on one machine. Run them with `benchmarks/run`, which builds and installs everything;
//! `docs/benchmarks.md` explains the rows.

mod cost;
mod counts;
mod events;
mod function;
mod load;
mod mirror;
mod price;
mod query;
mod questions;
mod reconcile;
mod report;
mod route;
mod start;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use report::Report;

/// Any failure ends the run: a partial benchmark is not reported.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures one part of the product.
#[derive(Debug, Parser)]
struct Options {
    /// Where to write the rows as JSON
    #[arg(long)]
    json: PathBuf,
    /// What to measure; each part runs in its own process, so that its memory use is its own
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The record function and its baseline
    Function {
        /// Path of the record function's release build
        #[arg(long)]
        function: PathBuf,
        /// Path of a Python interpreter that has the baseline's requirements
        #[arg(long)]
        python: PathBuf,
    },
    /// The mirror function: deletion of a thousand expired images, and its cold start compared with its baseline
    Mirror {
        /// Path of the mirror function's release build
        #[arg(long)]
        function: PathBuf,
        /// Path of a Python interpreter that has the baseline's requirements
        #[arg(long)]
        python: PathBuf,
        /// Number of images that expire
        #[arg(long, default_value_t = 1_000)]
        images: u32,
    },
    /// The reconcile function on whole registries, and the calls that watch makes to ECR
    Reconcile {
        /// Path of the reconcile function's release build
        #[arg(long)]
        function: PathBuf,
        /// Number of images in the three registries together
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
    /// Latency of API responses, and the size of the page's first load
    Query {
        /// Number of images in the large table
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
    /// DynamoDB request units of events and API requests
    Cost {
        /// Number of images in the large table
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
    /// Package size and cold start of every function
    Start {
        /// Folder with the files of a release
        #[arg(long)]
        artifacts: PathBuf,
        /// Path of a Python interpreter that has the baseline's requirements
        #[arg(long)]
        python: PathBuf,
    },
    /// Every row that is a count, compared with benchmarks/counts.tsv
    Counts {
        /// Rewrites benchmarks/counts.tsv instead of comparing with it
        #[arg(long)]
        update: bool,
    },
    /// Monthly cost of a deployment, from measured request units and list prices
    Price,
    /// What is recorded while many clients push to simulated registries
    Load,
    /// Simulated registries, queue, function and table in one process
    Route {
        /// Number of images in the three registries together at the end
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let options = Options::parse();
    let mut report = Report::default();
    match &options.part {
        Part::Function { function, python } => function::compare(function, python, &mut report).await?,
        Part::Mirror { function, python, images } => {
            mirror::compare(function, python, &mut report).await?;
            mirror::measure(*images, &mut report).await?;
        }
        Part::Reconcile { function, images } => reconcile::measure(function, *images, &mut report).await?,
        Part::Query { images } => query::measure(*images, &mut report).await?,
        Part::Cost { images } => cost::measure(*images, &mut report).await?,
        Part::Start { artifacts, python } => start::measure(artifacts, python, &mut report).await?,
        Part::Counts { update } => counts::measure(*update, &mut report).await?,
        Part::Price => price::measure(&mut report).await?,
        Part::Load => load::measure(&mut report).await?,
        Part::Route { images } => route::measure(*images, &mut report).await?,
    }
    println!("{}", report.table());
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&options.json, serde_json::to_string_pretty(&report)? + "\n")?;
    // Counts are compared with their file, so a missed limit does not fail this part.
    Ok(if report.all_met() || matches!(options.part, Part::Counts { .. }) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
