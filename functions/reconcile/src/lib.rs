#![doc = include_str!("../README.md")]

pub mod config;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use aws::{
    log,
    registry::{ExpectedPresence, Registries},
};
use domain::{
    drift::{self, Comparison},
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, Registry, RepositoryName},
    lineage::{Placement, PlacementStatus},
    replication::ReplicationSettings,
    time::whole_seconds,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use retry::chain;
use serde::Serialize;
use store::{Queue, ReconcileCounts, ReconcileRun, RepositoryTask, Table};
use tracing::{Instrument, warn};

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

/// Images that are read or recorded concurrently.
const AT_A_TIME: usize = 16;

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
                    let mut own = ReconcileSummary::default();
                    let span = log::registry(&registry);
                    let listed = self.list(&registry, last, clock, until, &mut own, |_| {}).instrument(span).await;
                    (registry, listed, own)
                }
            })
            .buffer_unordered(REGISTRIES_AT_A_TIME);
        while let Some((registry, result, own)) = listed.next().await {
            summary.repositories += own.repositories;
            summary.found += own.found;
            summary.failures += own.failures;
            match result {
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
        let (mut listed, mut summary) = (BTreeMap::new(), ReconcileSummary::default());
        for registry in registries {
            // Marks the last run as ended, so that it is not continued.
            let over = |run: ReconcileRun| ReconcileRun {
                ended_at: run.ended_at.or(run.before).or(Some(run.began_at)),
                ..run
            };
            let last = last.remove(registry).map(over);
            if let Some(run) = self.list(registry, last, clock, Timestamp::MAX, &mut summary, &mut on_progress).await? {
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
        if let Err(error) = self.table.take_lease(Queue::Reconcile, &self.name, now, Timestamp::UNIX_EPOCH).await {
            warn!(
                lease = Queue::Reconcile.as_str(),
                error = chain(&error),
                "the lease cannot be given back, it expires"
            );
        }
    }

    // One registry

    /// Starts a run through a registry, or continues the last, and lists every repository. Returns nothing if the time
    /// was over first.
    async fn list(
        &self,
        registry: &Registry,
        last: Option<ReconcileRun>,
        clock: &impl Fn() -> Timestamp,
        until: Timestamp,
        summary: &mut ReconcileSummary,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Option<ReconcileRun>, Error> {
        let now = clock();
        let open = last.clone().filter(|run| run.ended_at.is_none() && !self.is_old(run, now));
        let mut run = open.unwrap_or_else(|| ReconcileRun {
            began_at: now,
            ended_at: None,
            found: ReconcileCounts::default(),
            before: last.as_ref().and_then(|run| run.ended_at.or(run.before)),
            // Until this run ends, the drift counts are those of the last run.
            drifts: last.map(|run| run.drifts).unwrap_or_default(),
        });
        self.table.put_run(registry, &run).await?;
        let there = self.registries.repositories(registry).await;
        let mut all = there.map_err(|source| Error::Registry { what: registry.to_string(), source })?;
        self.table.register_registry(registry).await?;
        all.extend(self.table.repositories(registry, "", None, usize::MAX).await?);
        let mut tasks = self.table.tasks(registry).await?;
        tasks.retain(|repository, _| all.contains(repository));
        let sources = self.sources_of(registry).await?;
        let mut progress =
            Progress { registry: registry.clone(), repositories: (0, all.len()), found: ReconcileCounts::default() };
        let mut failed = None;
        for repository in &all {
            let known = tasks.get(repository).cloned().unwrap_or_default();
            let task = if known.run == run.began_at {
                known
            } else {
                if clock() >= until {
                    return Ok(None);
                }
                let known = RepositoryTask { run: run.began_at, ..known };
                let span = log::repository(repository);
                let listed = self.list_repository(registry, repository, known, &sources, clock);
                match listed.instrument(span.clone()).await {
                    Ok(task) => {
                        summary.repositories += 1;
                        summary.found += task.found;
                        task
                    }
                    Err(error) => {
                        summary.failures += 1;
                        let why = chain(&error);
                        span.in_scope(|| warn!(error = why, "a repository cannot be listed, it is due again"));
                        failed = Some(error);
                        continue;
                    }
                }
            };
            progress.repositories.0 += 1;
            progress.found += task.found;
            run.found += task.found;
            on_progress(progress.clone());
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(Some(run))
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
        run.ended_at = Some(now);
        self.table.put_run(registry, &run).await?;
        Ok(run)
    }

    /// The registries that replicate to a registry, and their replication settings.
    async fn sources_of(&self, registry: &Registry) -> Result<BTreeMap<Registry, ReplicationSettings>, store::Error> {
        let known = self.table.known_registries().await?.into_iter();
        let settings = known.filter_map(|known| Some((known.registry, known.settings?)));
        let copies =
            |settings: &ReplicationSettings| settings.routes.iter().any(|route| route.destination == *registry);
        Ok(settings.filter(|(_, settings)| copies(settings)).collect())
    }

    // One repository

    /// Lists a repository, records the differences, and stores that it is done.
    async fn list_repository(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        mut task: RepositoryTask,
        sources: &BTreeMap<Registry, ReplicationSettings>,
        clock: &impl Fn() -> Timestamp,
    ) -> Result<RepositoryTask, Error> {
        task.found = self.compare(registry, repository, clock).await?;
        if !task.compared {
            task.compared = self.compare_repository_settings(registry, repository, sources, clock()).await?;
        }
        self.table.put_task(registry, repository, &task).await?;
        Ok(task)
    }

    /// Compares a repository's content with the table, and records the differences.
    async fn compare(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        clock: &impl Fn() -> Timestamp,
    ) -> Result<ReconcileCounts, Error> {
        let unreadable = |source| Error::Registry { what: format!("{repository} in {registry}"), source };
        let began = clock();
        let Some(listed) = self.registries.contents(registry, repository).await.map_err(unreadable)? else {
            return Ok(self.gone(registry, repository, began).await?);
        };
        let mut comparison = Comparison::of(&listed);
        self.table.each_placement(registry, repository, |digest, placement| comparison.add(digest, placement)).await?;
        let (different, unknown) = comparison.end();
        let mut found =
            ReconcileCounts { images: listed.len() as u64, added: unknown.len() as u64, ..ReconcileCounts::default() };
        let about = |digest: &Digest| Image { repository: repository.clone(), digest: digest.clone() };

        // A list of several pages may miss an image that was there all the time: missing images are described again.
        let missing: BTreeSet<Digest> =
            different.iter().filter(|digest| !listed.contains_key(*digest)).cloned().collect();
        let (looked_again, mut there_after_all) = (clock(), BTreeMap::new());
        if !missing.is_empty() {
            let again = self.registries.describe(registry, repository, &missing, ExpectedPresence::Absent, None);
            there_after_all = again.await.map_err(unreadable)?.images;
        }
        // Images that are not in the table are recorded without a read first: merging the same evidence twice changes
        // nothing.
        let unknown = unknown
            .into_iter()
            .map(|digest| (drift::delta_from_observation(None, listed.get(&digest), began), about(&digest)));
        self.record(registry, stream::iter(unknown)).await?;
        let (listed, there_after_all) = (&listed, &there_after_all);
        let looked = stream::iter(different).map(async |digest| {
            let image = about(&digest);
            let lineage = self.table.placements(&image).await?;
            let (seen, at) = match listed.get(&digest) {
                Some(seen) => (Some(seen), began),
                None => (there_after_all.get(&digest), looked_again),
            };
            let known = lineage.placements.get(registry);
            Ok((known.map(Placement::status), (drift::delta_from_observation(known, seen, at), image)))
        });
        let looked: Vec<_> = looked.buffered(AT_A_TIME).try_collect().await.map_err(|error: store::Error| error)?;
        let gone =
            |delta: &Option<(Timestamp, What)>| delta.as_ref().is_some_and(|(_, what)| *what == What::FOUND_MISSING);
        let (gone, updated): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(_, (delta, _))| gone(delta));
        // An image whose status was already "probably absent" is not counted as removed.
        let (expected, removed): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|(known, _)| *known == Some(PlacementStatus::ProbablyAbsent));
        let delta = |looked: Vec<(_, _)>| stream::iter(looked).map(|(_, delta)| delta);
        self.record(registry, delta(expected)).await?;
        found.removed = self.record(registry, delta(removed)).await?;
        found.updated = self.record(registry, delta(updated)).await?;
        Ok(found)
    }

    /// Records a delta of each image, and counts the facts.
    async fn record(
        &self,
        registry: &Registry,
        delta: impl Stream<Item = (Option<(Timestamp, What)>, Image)>,
    ) -> Result<u64, store::Error> {
        let facts = delta.filter_map(async |(delta, image)| {
            let (time, what) = delta?;
            let (registry, event_id) = (registry.clone(), EVENT_ID.to_owned());
            Some(Fact { time, registry, event_id, subject: Subject::Image(image), what })
        });
        let recorded = facts.map(async |fact| self.table.record(&[&fact]).await).buffer_unordered(AT_A_TIME);
        recorded.try_fold(0, async |count, _| Ok(count + 1)).await
    }

    /// Records the deletion of a repository and of all its images, if the table lists any of them as present.
    async fn gone(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        began: Timestamp,
    ) -> Result<ReconcileCounts, store::Error> {
        let (mut removed, mut doubtful) = (0, false);
        self.table
            .each_placement(registry, repository, |_, placement| match placement.status() {
                PlacementStatus::Present | PlacementStatus::Archived => removed += 1,
                PlacementStatus::ProbablyAbsent => doubtful = true,
                PlacementStatus::Absent => {}
            })
            .await?;
        if removed > 0 || doubtful {
            let subject = Subject::Repository(repository.clone());
            let what = What::RepositoryDeleted { cause: Cause::Unknown };
            let fact = Fact {
                time: whole_seconds(began),
                registry: registry.clone(),
                event_id: EVENT_ID.to_owned(),
                subject,
                what,
            };
            self.table.record(&[&fact]).await?;
        }
        Ok(ReconcileCounts { removed, ..ReconcileCounts::default() })
    }
}

/// The event id of facts that come from an observation by this function.
const EVENT_ID: &str = "reconcile";
