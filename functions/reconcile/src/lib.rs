#![doc = include_str!("../README.md")]

mod comparison;
pub mod config;
mod listing;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use aws::{log, registry::Registries};
use domain::image::Registry;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use retry::chain;
use serde::Serialize;
use store::{Queue, ReconcileCounts, ReconcileRun, Table};
use tracing::{Instrument, warn};

use crate::listing::Listed;

/// The reconcile function: its clients and configuration.
#[derive(Debug)]
pub struct Reconcile {
    /// The table with lineage and the state of runs.
    pub table: Table,
    /// The registries, accessed with the role that reads.
    pub registries: Registries,
    /// Registries to list although none of their events was received yet.
    pub known: BTreeSet<Registry>,
    /// The interval between two runs through a registry.
    pub every: SignedDuration,
    /// The name of this process, as the holder of the lease.
    pub name: String,
}

/// The result of one invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileSummary {
    /// Registries whose run was completed.
    pub registries: usize,
    /// Repositories that were listed.
    pub repositories: usize,
    /// The counts of images and differences in those repositories.
    pub found: ReconcileCounts,
    /// Registries and repositories that could not be read or stored; they are due again.
    pub failures: usize,
    /// True if another invocation held the lease: nothing was done.
    pub idle: bool,
}

/// The progress of a run through a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The registry being listed.
    pub registry: Registry,
    /// The number of repositories that are done, and of all.
    pub repositories: (usize, usize),
    /// The counts of images and differences in the repositories that are done.
    pub found: ReconcileCounts,
}

/// The error that ended a run through a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be read or written.
    #[error(transparent)]
    Table(#[from] store::Error),
    /// The registry could not be read.
    #[error("cannot list {what}")]
    Registry {
        /// The registry, or one of its repositories.
        what: String,
        /// The error of the call to ECR.
        #[source]
        source: retry::CallError,
    },
}

/// Registries that are listed concurrently.
const REGISTRIES_AT_A_TIME: usize = 8;

/// How long the lease outlasts an invocation's deadline before another invocation may take over.
const CLAIM: SignedDuration = SignedDuration::from_mins(20);

/// Registers the units and descriptions of the metrics below with CloudWatch.
pub fn describe_metrics() {
    describe_counter!("ImagesListed", metrics::Unit::Count, "images that were listed");
    describe_counter!("ImagesDiscovered", metrics::Unit::Count, "images that were not in the table");
    describe_counter!(
        "ImagesRemoved",
        metrics::Unit::Count,
        "images that were in the table and are not in the registry"
    );
    describe_counter!("ImagesChanged", metrics::Unit::Count, "images with other tags or another storage class");
    describe_counter!("ReconcileFailures", metrics::Unit::Count, "registries and repositories that could not be read");
    describe_gauge!(
        "RegistriesOverdue",
        metrics::Unit::Count,
        "registries that were not listed to their end for twice the time"
    );
}

impl Reconcile {
    /// Lists every registry whose last run began long enough ago, and continues runs that are not complete. No further
    /// repository is started after `until`.
    ///
    /// # Errors
    /// When the table cannot list the registries and their runs.
    pub async fn run(&self, clock: impl Fn() -> Timestamp, until: Timestamp) -> Result<ReconcileSummary, store::Error> {
        let started = clock();
        if !self.take(started, until).await? {
            return Ok(ReconcileSummary { idle: true, ..ReconcileSummary::default() });
        }
        let summary = self.run_due(&clock, until).await;
        self.give_back(started).await;
        if let Ok(summary) = &summary {
            counter!("ImagesListed").increment(summary.found.images);
            counter!("ImagesDiscovered").increment(summary.found.added);
            counter!("ImagesRemoved").increment(summary.found.removed);
            counter!("ImagesChanged").increment(summary.found.updated);
            counter!("ReconcileFailures").increment(summary.failures as u64);
        }
        summary
    }

    async fn run_due(
        &self,
        clock: &impl Fn() -> Timestamp,
        until: Timestamp,
    ) -> Result<ReconcileSummary, store::Error> {
        let now = clock();
        let runs = self.table.runs().await?;
        let overdue = runs.values().filter(|run| self.is_overdue(run, now)).count();
        gauge!("RegistriesOverdue").set(u32::try_from(overdue).unwrap_or(u32::MAX));
        let mut all = self.table.registries().await?;
        all.extend(self.known.iter().cloned());
        all.retain(|registry| runs.get(registry).is_none_or(|run| run.ended_at.is_none() || self.is_old(run, now)));
        let (mut summary, mut done) = (ReconcileSummary::default(), Vec::new());
        let mut listed = stream::iter(all)
            .map(|registry| {
                let last = runs.get(&registry).cloned();
                async move {
                    let span = log::registry(&registry);
                    let listed = self.list(&registry, last, clock, until, |_| {}).instrument(span).await;
                    (registry, listed)
                }
            })
            .buffer_unordered(REGISTRIES_AT_A_TIME);
        while let Some((registry, Listed { run, repositories, found, failures })) = listed.next().await {
            summary.repositories += repositories;
            summary.found += found;
            summary.failures += failures;
            match run {
                Ok(run) => done.extend(run.map(|run| (registry, run))),
                Err(error) => {
                    summary.failures += 1;
                    warn!(registry = %registry, error = chain(&error), "a registry cannot be listed, it is due again");
                    let last = runs.get(&registry).filter(|last| self.is_overdue(last, now));
                    if let Some(last) = last {
                        self.alert_overdue(&registry, last.before, &error, now).await?;
                    }
                }
            }
        }
        // Only after all lists: otherwise a copy would count as missing in a registry that is listed later.
        for (registry, run) in done {
            self.end(&registry, run, clock()).await?;
            summary.registries += 1;
        }
        Ok(summary)
    }

    fn is_overdue(&self, run: &ReconcileRun, now: Timestamp) -> bool {
        run.ended_at.is_none() && self.is_old(run, now)
    }

    fn is_old(&self, run: &ReconcileRun, now: Timestamp) -> bool {
        now.duration_since(run.began_at) >= self.every
    }

    /// The last run if it is neither complete nor old, or else a new one.
    fn current_run(&self, last: Option<ReconcileRun>, now: Timestamp) -> ReconcileRun {
        match last {
            Some(run) if run.ended_at.is_none() && !self.is_old(&run, now) => run,
            last => ReconcileRun {
                began_at: now,
                ended_at: None,
                found: ReconcileCounts::default(),
                before: last.as_ref().and_then(|run| run.ended_at.or(run.before)),
                listed_at: last.as_ref().and_then(|run| run.listed_at),
                // Until this run ends, the drift counts are those of the last run.
                drifts: last.map(|run| run.drifts).unwrap_or_default(),
            },
        }
    }

    /// Lists the given registries completely, regardless of their last run. Calls `on_progress` after each repository.
    /// Returns nothing if another invocation holds the lease.
    ///
    /// # Errors
    /// When anything cannot be read or stored. Completed repositories stay recorded.
    pub async fn all_of(
        &self,
        registries: &[Registry],
        clock: impl Fn() -> Timestamp,
        on_progress: impl FnMut(Progress),
    ) -> Result<Option<BTreeMap<Registry, ReconcileRun>>, Error> {
        let started = clock();
        let until = started.saturating_add(CLAIM).unwrap_or(Timestamp::MAX);
        if !self.take(started, until).await? {
            return Ok(None);
        }
        let done = self.list_all(registries, &clock, on_progress).await;
        self.give_back(started).await;
        done.map(Some)
    }

    async fn list_all(
        &self,
        registries: &[Registry],
        clock: &impl Fn() -> Timestamp,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<BTreeMap<Registry, ReconcileRun>, Error> {
        let mut last = self.table.runs().await?;
        let mut listed = BTreeMap::new();
        for registry in registries {
            // Marks the last run as ended, so that it is not continued.
            let over = |run: ReconcileRun| ReconcileRun {
                ended_at: run.ended_at.or(run.before).or(Some(run.began_at)),
                ..run
            };
            let last = last.remove(registry).map(over);
            let run = self.list(registry, last, clock, Timestamp::MAX, &mut on_progress).await.run?;
            if let Some(run) = run {
                listed.insert(registry.clone(), run);
            }
        }
        let mut ended = BTreeMap::new();
        for (registry, run) in listed {
            let run = self.end(&registry, run, clock()).await?;
            ended.insert(registry, run);
        }
        Ok(ended)
    }

    async fn take(&self, now: Timestamp, until: Timestamp) -> Result<bool, store::Error> {
        let until = until.saturating_add(CLAIM).unwrap_or(until);
        self.table.take_lease(Queue::Reconcile, &self.name, now, until).await
    }

    /// The lease ends now; if this write fails, the lease expires on its own.
    async fn give_back(&self, now: Timestamp) {
        if let Err(error) = self.table.give_back_lease(Queue::Reconcile, &self.name, now).await {
            warn!(
                lease = Queue::Reconcile.as_str(),
                error = chain(&error),
                "the lease cannot be given back, it expires"
            );
        }
    }

    /// Counts the drift of a listed registry, raises alerts for it, and ends the run.
    async fn end(
        &self,
        registry: &Registry,
        mut run: ReconcileRun,
        now: Timestamp,
    ) -> Result<ReconcileRun, store::Error> {
        let before = std::mem::take(&mut run.drifts);
        run.drifts = self.drifts(registry, now).await?;
        self.alert_drift(registry, &before, &run.drifts, now).await?;
        (run.ended_at, run.listed_at) = (Some(now), Some(run.began_at));
        self.table.put_run(registry, &run).await?;
        Ok(run)
    }
}
