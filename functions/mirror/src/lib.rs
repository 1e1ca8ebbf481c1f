#![doc = include_str!("../README.md")]

pub mod config;
mod execute;
mod losses;

use std::collections::{BTreeMap, BTreeSet};

use aws::{
    registry::Registries,
    usage::{UsageReader, UsageReads},
};
use decide::Planner;
use domain::{
    alert::{Alert, AlertKind, Occurrences},
    breaker::BreakerLimits,
    deletion::CLAIM,
    image::Registry,
    plan::Mode,
    settings::{MirrorSettings, PolicyInUse},
};
use jiff::Timestamp;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use policy::{InvalidPolicyError, Policy};
use retry::chain;
use serde::Serialize;
use store::{Queue, Table};
use tokio::sync::OnceCell;
use tracing::{error, warn};

/// The mirror function: its clients and configuration.
#[derive(Debug)]
pub struct Mirror {
    /// The table with lineage, deletions and breakers.
    pub table: Table,
    /// The registries, accessed by assuming a role in each account.
    pub registries: Registries,
    /// The policy, or the error that makes it unusable: then no deletion runs.
    pub policy: Result<Policy, InvalidPolicyError>,
    /// Whether permitted deletions are executed.
    pub mode: Mode,
    /// The circuit breaker's limits: deletions per window.
    pub limits: BreakerLimits,
    /// Registries that may replicate although none of their events was received yet.
    pub known: BTreeSet<Registry>,
    /// Reads what services run.
    pub usage: UsageReader,
    /// The name of this process, as the holder of the lease.
    pub name: String,
    /// Set when this process has stored with what it runs.
    pub settings_stored: OnceCell<()>,
}

/// The result of one run, counted in deletions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MirrorSummary {
    /// Deletions that this run opened.
    pub opened: usize,
    /// Evaluated deletions by their status after the run.
    pub by_status: BTreeMap<&'static str, usize>,
    /// Images of which something could not be read or stored; their work items are due again.
    pub failures: usize,
    /// True if another run held the lease or the policy is invalid: nothing was done.
    pub idle: bool,
    /// Occurrences of which alerts are counted.
    #[serde(skip)]
    occurrences: Occurrences,
}

/// Images for each read of due work: enough for full batches, few enough for 256 MB of memory.
const IMAGES_AT_A_TIME: usize = 1_000;

/// Concurrent reads or writes of table partitions, and calls to ECR.
const AT_A_TIME: usize = 16;

/// Registers the units and descriptions of the metrics below with CloudWatch.
pub fn describe_metrics() {
    describe_counter!("Deletions", metrics::Unit::Count, "deletions that were looked at, by where they stand now");
    describe_counter!("MirrorFailures", metrics::Unit::Count, "images of which something could not be read or stored");
    describe_gauge!(
        "BreakersOpen",
        metrics::Unit::Count,
        "sources whose deletions are all held, because there were too many"
    );
}

impl Mirror {
    /// Processes everything that is due, until no work is left or the time is over. No further batch is started after
    /// `until`.
    ///
    /// # Errors
    /// When the table cannot list what is due.
    pub async fn run(&self, clock: impl Fn() -> Timestamp, until: Timestamp) -> Result<MirrorSummary, store::Error> {
        let (started, mut summary) = (clock(), MirrorSummary { idle: true, ..MirrorSummary::default() });
        self.settings_stored.get_or_try_init(|| self.store_settings(started)).await?;
        let policy = match &self.policy {
            Ok(policy) => policy,
            Err(invalid) => return self.report_invalid(invalid, started).await.map(|()| summary),
        };
        let lease_until = until.saturating_add(CLAIM).unwrap_or(until);
        if !self.table.take_lease(Queue::Mirror, &self.name, started, lease_until).await? {
            return Ok(summary);
        }
        summary.idle = false;
        let done = self.take_all(policy, clock, until, &mut summary).await;
        // The lease ends now; if this write fails, the lease expires on its own.
        if let Err(error) = self.table.give_back_lease(Queue::Mirror, &self.name, started).await {
            warn!(lease = Queue::Mirror.as_str(), error = chain(&error), "the lease cannot be given back, it expires");
        }
        self.report(&summary).await;
        done.map(|()| summary)
    }

    /// Processes what is due, batch by batch. No image is processed twice in one run.
    async fn take_all(
        &self,
        policy: &Policy,
        clock: impl Fn() -> Timestamp,
        until: Timestamp,
        summary: &mut MirrorSummary,
    ) -> Result<(), store::Error> {
        let (mut taken, usage_reads) = (BTreeSet::new(), self.usage.begin());
        loop {
            let now = clock();
            let mut due = self.table.due(now, IMAGES_AT_A_TIME).await?;
            due.retain(|image, _| taken.insert(image.clone()));
            if due.is_empty() {
                return Ok(());
            }
            let candidates = self.open_all(policy, due, now, summary).await;
            if !candidates.is_empty() {
                let planner = self.planner(policy, &usage_reads);
                self.execute(planner.plan(candidates, now).await?, now, summary).await?;
            }
            for group in summary.occurrences.take() {
                self.table.count_occurrences(&group, now).await?;
            }
            if clock() >= until {
                return Ok(());
            }
        }
    }

    /// Stores with what this process runs, for those who ask why a replica is kept.
    async fn store_settings(&self, since: Timestamp) -> Result<(), store::Error> {
        let policy = match &self.policy {
            Ok(policy) => PolicyInUse::new(policy.name(), Ok(policy.text())),
            Err(invalid) => PolicyInUse::new(&invalid.name, Err(invalid.to_string())),
        };
        let Self { mode, limits, known, .. } = self;
        let (usage, revisions) = (self.usage.services().clone(), self.usage.revisions());
        let settings =
            MirrorSettings { since, mode: *mode, policy, limits: *limits, known: known.clone(), usage, revisions };
        self.table.put_mirror_settings(&settings).await
    }

    fn planner<'a>(&'a self, policy: &'a Policy, usage_reads: &'a UsageReads) -> Planner<'a> {
        let Self { table, registries, known, mode, limits, .. } = self;
        Planner { table, registries, policy, mode: *mode, limits: *limits, known, usage_reads: Some(usage_reads) }
    }

    async fn report_invalid(&self, policy: &InvalidPolicyError, now: Timestamp) -> Result<(), store::Error> {
        let alert = Alert::notice(AlertKind::PolicyInvalid, "policy", policy.to_string(), now);
        self.table.put_alert(&alert).await?;
        error!(policy = policy.name, error = %policy, "nothing is mirrored: the policy cannot be used");
        Ok(())
    }

    /// Reports a run in metrics.
    async fn report(&self, summary: &MirrorSummary) {
        for (status, count) in &summary.by_status {
            counter!("Deletions", "Status" => *status).increment(*count as u64);
        }
        counter!("MirrorFailures").increment(summary.failures as u64);
        match self.open_breakers().await {
            Ok(open) => gauge!("BreakersOpen").set(f64::from(open)),
            Err(error) => {
                warn!(
                    metric = "BreakersOpen",
                    error = chain(&error),
                    "breakers cannot be counted, will be tried again"
                );
            }
        }
    }

    async fn open_breakers(&self) -> Result<u32, store::Error> {
        let mut open = 0;
        for source in self.table.registries().await? {
            open += u32::from(self.table.breaker(&source).await?.opened.is_some());
        }
        Ok(open)
    }
}
