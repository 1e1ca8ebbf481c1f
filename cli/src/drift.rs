//! What registries lack beside each other, and the two commands that do something about it: `reconcile` and `backfill`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws::registry::{Backfill, Copied, Registries};
use domain::{
    drift::delta_from_copy,
    fact::{Fact, Subject},
    image::{Image, Registry, RepositoryName},
};
use jiff::Timestamp;
use serde::Serialize;
use store::{ReconcileRun, Stored, Table};

use answers::{
    answer::{self, Orphan},
    drift::{self as report, DriftReport},
    paging::PageRequest,
};

use crate::{failure::CliError, print::progress, target::Target};

/// Replicas that are not as their source, and those that are left over.
#[derive(Debug, Serialize)]
pub struct Drifted {
    /// The former.
    #[serde(flatten)]
    pub report: DriftReport,
    /// The latter: their source no longer has the image.
    pub orphans: Vec<Orphan>,
}

/// Answers `drift`, of one repository or of all.
///
/// # Errors
/// When the table cannot be read.
pub async fn drift(table: &Table, repository: Option<&RepositoryName>, now: Timestamp) -> Result<Drifted, CliError> {
    let all = PageRequest::all_of(None, repository);
    let report = report::drift(table, &all, now).await?;
    Ok(Drifted { report, orphans: answer::orphans(table, &all).await?.orphans })
}

/// What was found in some registries.
#[derive(Debug, Serialize)]
pub struct Reconciled {
    /// Each run, by registry.
    pub registries: BTreeMap<Registry, ReconcileRun>,
}

/// Answers `reconcile`: lists registries now, with at most `calls_per_second` calls to each.
///
/// # Errors
/// When a registry cannot be listed to its end, or somebody else lists registries just now. What was done stays done.
pub async fn reconcile(target: &Target, registries: &[Registry], per_second: u32) -> Result<Reconciled, CliError> {
    let reconcile = target.reconcile(per_second);
    let bar = progress(0, "{wide_bar} {pos}/{len} repositories  {elapsed}  {msg}");
    let on_progress = |progress: reconcile::Progress| {
        let (done, all) = progress.repositories;
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(format!("{}  {} images", progress.registry, progress.found.images));
    };
    let done = reconcile.all_of(registries, Timestamp::now, on_progress).await;
    bar.finish_and_clear();
    match done {
        Ok(Some(registries)) => Ok(Reconciled { registries }),
        Ok(None) => Err(CliError::Busy),
        Err(reconcile::Error::Table(error)) => Err(error.into()),
        Err(error @ reconcile::Error::Registry { .. }) => Err(CliError::Listing(error)),
    }
}

/// What became of a backfill.
#[derive(Debug, Serialize)]
pub struct Backfilled {
    /// The registry that copied.
    pub source: Registry,
    /// Where to.
    pub destination: Registry,
    /// ECR's id of it.
    pub id: String,
    /// ECR's word for how it ended, such as `COMPLETE`.
    pub status: String,
    /// Why it failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Copies that were made.
    pub completed: u64,
    /// Of these, the ones that no event had told yet, and that are recorded now.
    pub recorded: u64,
    /// Copies that failed.
    pub failed: Vec<FailedCopy>,
}

/// A copy that failed.
#[derive(Debug, Serialize)]
pub struct FailedCopy {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// ECR's code.
    pub code: Option<String>,
}

/// How often ECR is asked how a backfill stands.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Answers `backfill`: starts ECR's own, or joins the one that runs, follows it to its end, and records what it copied.
///
/// # Errors
/// When ECR refuses or does not say how it stands: it runs on all the same.
pub async fn backfill(target: &Target, source: &Registry, destination: &Registry) -> Result<Backfilled, CliError> {
    let registries = target.registries();
    let refused = |what| move |error| CliError::Registry { what, registry: source.clone(), source: error };
    let running = registries.running_backfill(source, destination).await;
    let id = match running.map_err(refused("list backfills"))? {
        Some(id) => id,
        None => registries.start_backfill(source, destination).await.map_err(refused("start a backfill"))?,
    };
    let bar = progress(0, "{wide_bar} {pos}/{len} copies  {elapsed}  {msg}");
    let backfill = loop {
        let backfill: Backfill = registries.backfill(source, &id).await.map_err(refused("follow the backfill"))?;
        bar.set_length(backfill.total.unwrap_or(0));
        bar.set_position(backfill.completed + backfill.failed);
        bar.set_message(backfill.status.clone());
        if backfill.over {
            break backfill;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    bar.finish_and_clear();
    let copies = registries.backfilled(source, &id).await.map_err(refused("read what was copied"))?;
    let (done, failed): (Vec<Copied>, Vec<Copied>) = copies.into_iter().partition(|copy| copy.failure.is_none());
    let recorded = record(&target.table, &registries, source, destination, &done).await?;
    let failed = failed.into_iter();
    let failed = failed.map(|copy| FailedCopy { image: copy.image, code: copy.failure.flatten() });
    Ok(Backfilled {
        source: source.clone(),
        destination: destination.clone(),
        id,
        status: backfill.status,
        failure: backfill.failure,
        completed: done.len() as u64,
        recorded,
        failed: failed.collect(),
    })
}

/// Records the copies that no event told, as they are at the destination now; how many.
async fn record(
    table: &Table,
    registries: &Registries,
    source: &Registry,
    destination: &Registry,
    copies: &[Copied],
) -> Result<u64, CliError> {
    let mut by_repository: BTreeMap<&RepositoryName, BTreeSet<&Image>> = BTreeMap::new();
    for copy in copies {
        by_repository.entry(&copy.image.repository).or_default().insert(&copy.image);
    }
    let mut recorded = 0;
    for (repository, images) in by_repository {
        let began = Timestamp::now();
        let unreadable =
            |error| CliError::Registry { what: "list images", registry: destination.clone(), source: error };
        let there = registries.contents(destination, repository).await.map_err(unreadable)?.unwrap_or_default();
        for image in images {
            let Some(seen) = there.get(&image.digest) else { continue };
            let lineage = table.placements(image).await?;
            let delta = delta_from_copy(lineage.placements.get(destination), seen, source, began);
            let Some((time, what)) = delta else { continue };
            let event_id = format!("backfill-{}-{}", source.account(), source.region());
            let subject = Subject::Image(image.clone());
            let fact = Fact { time, registry: destination.clone(), event_id, subject, what };
            recorded += u64::from(table.record(&[&fact]).await?.stored.contains(&Stored::New));
        }
    }
    Ok(recorded)
}
