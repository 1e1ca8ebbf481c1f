#![doc = include_str!("../README.md")]

pub mod config;
mod copies;
mod dead_letters;
mod deleted_replicas;
mod heartbeats;
mod images;
mod incidents;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use aws::{queue::DeadLetters, registry::Registries};
use domain::{alert::Incident, image::Registry, replication::ReplicationSettings};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter, describe_gauge};
use retry::chain;
use serde::Serialize;
use store::{Queue, Table};
use tracing::warn;

pub use copies::CheckedCopies;

/// The watch function: its clients and configuration.
#[derive(Debug)]
pub struct Watch {
    /// The table with lineage, expectations and incidents.
    pub table: Table,
    /// The registries, accessed with the role that reads.
    pub registries: Registries,
    /// The dead-letter queue of `record`, if it is configured.
    pub dead_letters: Option<DeadLetters>,
    /// Registries that must have a stack, in addition to those that are known.
    pub known: BTreeSet<Registry>,
    /// The accounts whose topics the hub admits; `None` if it admits an organization, whose accounts are not known here.
    pub admitted: Option<BTreeSet<String>>,
    /// Whether each registry has a stack that sends heartbeats: `false` only where there are no stacks.
    pub heartbeats: bool,
    /// The name of this process, as the holder of the lease.
    pub name: String,
}

/// The result of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WatchSummary {
    /// Images that were checked.
    pub images: usize,
    /// What was found about their copies.
    #[serde(flatten)]
    pub checked: CheckedCopies,
    /// Incident alerts that were sent.
    pub alerts: usize,
    /// Images and registries of which something could not be read or stored; they are due again.
    pub failures: usize,
    /// True if another run held the lease: nothing was done.
    pub idle: bool,
}

/// Images for each read of due work.
const IMAGES_AT_A_TIME: usize = 1_000;

/// How long a claim of a work item is valid; afterwards another run may take it over.
const CLAIM: SignedDuration = SignedDuration::from_mins(20);

/// The delay after a failed read of a registry's settings, also for the expectations that need them.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Registers the units and descriptions of the metrics below with CloudWatch.
pub fn describe_metrics() {
    describe_counter!("ImagesChecked", metrics::Unit::Count, "images whose copies were looked at");
    describe_counter!("FactsRecovered", metrics::Unit::Count, "facts that no event had reported");
    describe_counter!(
        "ReplicationProblems",
        metrics::Unit::Count,
        "copies that are late, failed, missing or without their tag"
    );
    describe_counter!("WatchFailures", metrics::Unit::Count, "images and registries that could not be read or stored");
    describe_gauge!(
        "UnhealthyCopies",
        metrics::Unit::Count,
        "copies that something is wrong with now, by the kind of their alert"
    );
}

impl Watch {
    /// Checks everything that is due, until no work is left or the time is over, and sends the alerts that are due.
    ///
    /// # Errors
    /// When the table cannot list what is due.
    pub async fn run(&self, clock: impl Fn() -> Timestamp, until: Timestamp) -> Result<WatchSummary, store::Error> {
        let started = clock();
        let lease_until = until.saturating_add(CLAIM).unwrap_or(until);
        if !self.table.take_lease(Queue::Watch, &self.name, started, lease_until).await? {
            return Ok(WatchSummary { idle: true, ..WatchSummary::default() });
        }
        let mut summary = WatchSummary::default();
        let done = self.check_due(&clock, until, &mut summary).await;
        self.check_dead_letters(clock(), &mut summary).await;
        let alerted = self.alert(clock(), &mut summary).await;
        // The lease ends now; if this write fails, the lease expires on its own.
        if let Err(error) = self.table.give_back_lease(Queue::Watch, &self.name, started).await {
            warn!(lease = Queue::Watch.as_str(), error = chain(&error), "the lease cannot be given back, it expires");
        }
        counter!("ImagesChecked").increment(summary.images as u64);
        counter!("FactsRecovered").increment(summary.checked.facts_recovered as u64);
        counter!("ReplicationProblems").increment(summary.checked.problems as u64);
        counter!("WatchFailures").increment(summary.failures as u64);
        done.and(alerted).map(|()| summary)
    }

    /// Sends the alerts that are due: about heartbeats, and about incidents.
    async fn alert(&self, now: Timestamp, summary: &mut WatchSummary) -> Result<(), store::Error> {
        let read = self.table.incidents_and_responses().await;
        // If it is not known what operators said, everything is sent.
        let responses = read.as_ref().map(|(_, responses)| responses.clone()).unwrap_or_default();
        let mut open = if self.heartbeats {
            self.check_heartbeats(&responses, now).await.inspect_err(|error| {
                summary.failures += 1;
                warn!(error = chain(error), "heartbeats cannot be checked, will be tried again");
            })
        } else {
            Ok(BTreeSet::new())
        };
        let (incidents, responses) = read?;
        if let Ok(open) = &mut open {
            open.extend(incidents.iter().map(Incident::id));
        }
        self.send_due_alerts(incidents, &responses, now, summary).await?;
        match open {
            Ok(open) => self.forget_responses(responses, &open).await,
            Err(_) => Ok(()),
        }
    }

    async fn check_due(
        &self,
        clock: &impl Fn() -> Timestamp,
        until: Timestamp,
        summary: &mut WatchSummary,
    ) -> Result<(), store::Error> {
        let known = self.table.known_registries().await?;
        let known: BTreeMap<_, _> = known.into_iter().map(|known| (known.registry.clone(), known)).collect();
        let stored = known.iter().filter_map(|(registry, known)| Some((registry.clone(), known.settings.clone()?)));
        let mut settings: BTreeMap<Registry, ReplicationSettings> = stored.collect();
        let (mut seen, mut read) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let now = clock();
            let mut due = self.table.to_watch(now, IMAGES_AT_A_TIME).await?;
            due.images.retain(|image, _| seen.insert(image.clone()));
            due.registries.retain(|registry| read.insert(registry.clone()));
            if due.images.is_empty() && due.registries.is_empty() {
                return Ok(());
            }
            self.read_due_settings(due.registries, &known, &mut settings, now, summary).await;
            self.check_images(due.images, &settings, now, summary).await;
            if clock() >= until {
                return Ok(());
            }
        }
    }
}

fn fail(summary: &mut WatchSummary, error: &store::Error) {
    summary.failures += 1;
    log_failure(error);
}

fn log_failure(error: &store::Error) {
    warn!(error = chain(error), "not checked, it is due again");
}
