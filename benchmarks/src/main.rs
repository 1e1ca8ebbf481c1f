//! What `record` and `mirror` need, beside the same work in Python; what `reconcile` needs, beside what is unavoidable; what
//! each kind of event costs; what answers take; what the whole route on one machine takes. Run it with `benchmarks/run`, which builds and
//! installs everything; see `benchmarks/README.md` for what the rows mean.

mod cost;
mod counts;
mod events;
mod function;
mod mirror;
mod price;
mod query;
mod reconcile;
mod report;
mod route;
mod start;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use report::Report;

/// Any failure ends the run: half a benchmark is none.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures one part of the product.
#[derive(Debug, Parser)]
struct Options {
    /// Where to write the rows as JSON
    #[arg(long)]
    json: PathBuf,
    /// What to measure: each in a process of its own, for the sake of its memory
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The record function, beside its baseline
    Function {
        /// The release build of the record function
        #[arg(long)]
        function: PathBuf,
        /// A Python that has the baseline's requirements
        #[arg(long)]
        python: PathBuf,
    },
    /// The mirror function: a thousand expired images, and its cold start beside its baseline
    Mirror {
        /// The release build of the mirror function
        #[arg(long)]
        function: PathBuf,
        /// A Python that has the baseline's requirements
        #[arg(long)]
        python: PathBuf,
        /// How many images expire
        #[arg(long, default_value_t = 1_000)]
        images: u32,
    },
    /// The reconcile function: whole registries, and what watch asks of ECR
    Reconcile {
        /// The release build of the reconcile function
        #[arg(long)]
        function: PathBuf,
        /// How many images the three registries have
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
    /// What answers over HTTP take, and what the page loads
    Query {
        /// How many images the large table holds
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
    /// The request units of events and questions
    Cost {
        /// How many images the table holds for the last column
        #[arg(long, default_value_t = 100_000)]
        images: u32,
    },
    /// Every function: its package, its cold start
    Start {
        /// The folder of the release builds
        #[arg(long)]
        functions: PathBuf,
        /// A Python that has the baseline's requirements
        #[arg(long)]
        python: PathBuf,
    },
    /// Every row that is a count, held against the list that is kept of them
    Counts {
        /// Writes the list anew instead
        #[arg(long)]
        update: bool,
    },
    /// What a deployment costs, from measured units and list prices
    Price,
    /// Simulated registries, queue, function and table in one process
    Route {
        /// How many images the three registries have in the end
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
        Part::Start { functions, python } => start::measure(functions, python, &mut report).await?,
        Part::Counts { update } => counts::measure(*update, &mut report).await?,
        Part::Price => price::measure(&mut report).await?,
        Part::Route { images } => route::measure(*images, &mut report).await?,
    }
    println!("{}", report.table());
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&options.json, serde_json::to_string_pretty(&report)? + "\n")?;
    // What is counted is held against its list, and has no other limits.
    Ok(if report.all_met() || matches!(options.part, Part::Counts { .. }) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
