//! The rows that are counts: calls, request units, bytes, and their price. They are the same on every machine and in
//! every build, so CI compares each with a file in the repository. A change that alters a cost must update that file.

use std::collections::BTreeSet;

use crate::{Error, cost, mirror, price, reconcile, report::Report};

/// The file of expected counts: name, unit and count, separated by tabs.
const KEPT: &str = "benchmarks/counts.tsv";

/// Images in the larger tables: enough for several pages, few enough for a debug build.
const IMAGES: u32 = 1_000;

/// Images that a lifecycle policy expires at their source.
const EXPIRED: u32 = 100;

/// Counts everything, and compares the counts with the file, or rewrites the file if `update` is set.
pub(crate) async fn measure(update: bool, report: &mut Report) -> Result<(), Error> {
    cost::measure(IMAGES, report).await?;
    price::measure(report).await?;
    mirror::measure(EXPIRED, report).await?;
    reconcile::watch(report).await?;
    let counted = report.counts();
    if update {
        std::fs::write(KEPT, counted)?;
        return Ok(());
    }
    let kept = std::fs::read_to_string(KEPT)?;
    let (kept, counted): (BTreeSet<_>, BTreeSet<_>) = (kept.lines().collect(), counted.lines().collect());
    for line in kept.difference(&counted) {
        eprintln!("- {line}");
    }
    for line in counted.difference(&kept) {
        eprintln!("+ {line}");
    }
    if kept == counted {
        return Ok(());
    }
    Err(format!("other counts than in {KEPT}: if that is meant, `benchmarks/run counts --update` writes them anew")
        .into())
}
