//! The listing of one registry, repository by repository.

use std::collections::{BTreeMap, btree_set};

use aws::log;
use domain::{
    image::{Registry, RepositoryName},
    replication::ReplicationSettings,
};
use jiff::Timestamp;
use retry::chain;
use store::{ReconcileCounts, ReconcileRun, RepositoryTask};
use tracing::{Instrument, warn};

use crate::{Error, Progress, Reconcile};

/// The result of listing a registry.
pub(crate) struct Listed {
    /// The run, if every repository is done; `None` if the time was over first.
    pub(crate) run: Result<Option<ReconcileRun>, Error>,
    /// Repositories that were listed now.
    pub(crate) repositories: usize,
    /// The counts of images and differences in those repositories.
    pub(crate) found: ReconcileCounts,
    /// Repositories that could not be listed.
    pub(crate) failures: usize,
}

impl Reconcile {
    /// Starts a run through a registry, or continues the last, and lists every repository. No further repository is
    /// started after `until`. Calls `on_progress` after each repository.
    pub(crate) async fn list(
        &self,
        registry: &Registry,
        last: Option<ReconcileRun>,
        clock: &impl Fn() -> Timestamp,
        until: Timestamp,
        mut on_progress: impl FnMut(Progress),
    ) -> Listed {
        let mut listing = match Listing::begin(self, registry, last, clock).await {
            Ok(listing) => listing,
            Err(error) => {
                let (repositories, found, failures) = (0, ReconcileCounts::default(), 0);
                return Listed { run: Err(error), repositories, found, failures };
            }
        };
        while let Some(progress) = listing.next_repository(until).await {
            on_progress(progress);
        }
        listing.end()
    }

    /// The registries that replicate to a registry, and their replication settings.
    async fn sources_of(&self, registry: &Registry) -> Result<BTreeMap<Registry, ReplicationSettings>, store::Error> {
        let known = self.table.known_registries().await?.into_iter();
        let settings = known.filter_map(|known| Some((known.registry, known.settings?)));
        let copies =
            |settings: &ReplicationSettings| settings.routes.iter().any(|route| route.destination == *registry);
        Ok(settings.filter(|(_, settings)| copies(settings)).collect())
    }
}

/// A run through one registry, as far as it came.
struct Listing<'a, C> {
    reconcile: &'a Reconcile,
    registry: &'a Registry,
    clock: &'a C,
    /// The registries that replicate to this one.
    sources: BTreeMap<Registry, ReplicationSettings>,
    /// The last result for each repository.
    tasks: BTreeMap<RepositoryName, RepositoryTask>,
    /// The repositories that are left.
    left: btree_set::IntoIter<RepositoryName>,
    run: ReconcileRun,
    progress: Progress,
    /// Whether the time was over before every repository was listed.
    interrupted: bool,
    /// The last error of a repository; the others are listed nevertheless.
    failed: Option<Error>,
    // The counts of `Listed`.
    repositories: usize,
    found: ReconcileCounts,
    failures: usize,
}

impl<'a, C: Fn() -> Timestamp> Listing<'a, C> {
    async fn begin(
        reconcile: &'a Reconcile,
        registry: &'a Registry,
        last: Option<ReconcileRun>,
        clock: &'a C,
    ) -> Result<Self, Error> {
        let run = reconcile.current_run(last, clock());
        reconcile.table.put_run(registry, &run).await?;
        let there = reconcile.registries.repositories(registry).await;
        let mut all = there.map_err(|source| Error::Registry { what: registry.to_string(), source })?;
        reconcile.table.register_registry(registry).await?;
        all.extend(reconcile.table.repositories(registry, "", None, usize::MAX).await?);
        let tasks = reconcile.table.tasks(registry).await?;
        let sources = reconcile.sources_of(registry).await?;
        let (repositories, found) = ((0, all.len()), ReconcileCounts::default());
        let progress = Progress { registry: registry.clone(), repositories, found };
        Ok(Self {
            reconcile,
            registry,
            clock,
            sources,
            tasks,
            left: all.into_iter(),
            run,
            progress,
            interrupted: false,
            failed: None,
            repositories: 0,
            found: ReconcileCounts::default(),
            failures: 0,
        })
    }

    /// Lists repositories until one more is done. Returns nothing if none is left, or the time is over.
    async fn next_repository(&mut self, until: Timestamp) -> Option<Progress> {
        while let Some(repository) = self.left.next() {
            let known = self.tasks.remove(&repository).unwrap_or_default();
            let done = if known.run == self.run.began_at {
                // An earlier invocation listed it, in the same run.
                Some(known)
            } else if (self.clock)() >= until {
                self.interrupted = true;
                return None;
            } else {
                let task = RepositoryTask { run: self.run.began_at, ..known };
                self.list_repository(&repository, task).await
            };
            if let Some(task) = done {
                self.run.found += task.found;
                self.progress.found += task.found;
                self.progress.repositories.0 += 1;
                return Some(self.progress.clone());
            }
        }
        None
    }

    /// Lists a repository, and notes its counts or its error.
    async fn list_repository(&mut self, repository: &RepositoryName, task: RepositoryTask) -> Option<RepositoryTask> {
        let span = log::repository(repository);
        match self.record_repository(repository, task).instrument(span.clone()).await {
            Ok(task) => {
                self.repositories += 1;
                self.found += task.found;
                Some(task)
            }
            Err(error) => {
                let why = chain(&error);
                span.in_scope(|| warn!(error = why, "a repository cannot be listed, it is due again"));
                self.failures += 1;
                self.failed = Some(error);
                None
            }
        }
    }

    /// Compares a repository with the table, records the differences, and stores that it is done.
    async fn record_repository(
        &self,
        repository: &RepositoryName,
        mut task: RepositoryTask,
    ) -> Result<RepositoryTask, Error> {
        let (reconcile, registry) = (self.reconcile, self.registry);
        task.found = reconcile.compare(registry, repository, self.clock).await?;
        if !task.compared {
            let settings = reconcile.compare_repository_settings(registry, repository, &self.sources, (self.clock)());
            task.compared = settings.await?;
        }
        reconcile.table.put_task(registry, repository, &task).await?;
        Ok(task)
    }

    fn end(self) -> Listed {
        let Self { run, interrupted, failed, repositories, found, failures, .. } = self;
        let run = match failed {
            _ if interrupted => Ok(None),
            Some(error) => Err(error),
            None => Ok(Some(run)),
        };
        Listed { run, repositories, found, failures }
    }
}
