#![doc = include_str!("../README.md")]

pub mod config;

use std::collections::{BTreeMap, BTreeSet};

use aws::{log, queue::DeadLetters, registry::Registries};
use domain::{
    alert::{Alert, AlertKind, Occurrence},
    drift,
    expectation::{Asked, EXPECTED_REPLICATION_TIME, ExpectationState, ReplicationExpectation},
    fact::{Fact, Subject, What},
    image::{Image, Registry, Tag},
    lineage::Lineage,
    observation::Observation,
    replication::{CopyStatus, ReplicationSettings},
    time::whole_seconds,
};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use retry::chain;
use serde::Serialize;
use store::{ImageRecord, KnownRegistry, Queue, Stored, Table, WorkItem};
use tracing::{Instrument, error_span, warn};

/// The watch function: its clients and configuration.
#[derive(Debug)]
pub struct Watch {
    /// The table with lineage, expectations and incidents.
    pub table: Table,
    /// The registries, accessed with the role that reads.
    pub registries: Registries,
    /// The dead-letter queue of `record`, if it is configured.
    pub dead_letters: Option<DeadLetters>,
    /// The name of this process, as the holder of the lease.
    pub name: String,
}

/// The result of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WatchSummary {
    /// Images that were checked.
    pub images: usize,
    /// Facts recorded from observations, which no event had reported.
    pub facts_recovered: usize,
    /// Copies that became late, failed, missing or untagged in this run.
    pub problems: usize,
    /// Incident alerts that were sent.
    pub alerts: usize,
    /// Images and registries of which something could not be read or stored; they are due again.
    pub failures: usize,
    /// True if another run held the lease: nothing was done.
    pub idle: bool,
}

/// Images for each read of due work.
const IMAGES_AT_A_TIME: usize = 1_000;

/// Images that are checked concurrently. ECR publishes no rate limit for the calls that this needs.
const AT_A_TIME: usize = 8;

/// How long a claim of a work item is valid; afterwards another run may take it over.
const CLAIM: SignedDuration = SignedDuration::from_mins(20);

/// The interval between two reads of a registry's settings, and the delay after a failed read.
const READ_AGAIN: SignedDuration = SignedDuration::from_hours(1);
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// The age of a registry's settings after which a failed read raises an alert.
const TOO_OLD: SignedDuration = SignedDuration::from_hours(2);

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
        let alerted = self.send_due_alerts(clock(), &mut summary).await;
        // The lease ends now; if this write fails, the lease expires on its own.
        if let Err(error) = self.table.take_lease(Queue::Watch, &self.name, started, Timestamp::UNIX_EPOCH).await {
            warn!(lease = Queue::Watch.as_str(), error = chain(&error), "the lease cannot be given back, it expires");
        }
        counter!("ImagesChecked").increment(summary.images as u64);
        counter!("FactsRecovered").increment(summary.facts_recovered as u64);
        counter!("ReplicationProblems").increment(summary.problems as u64);
        counter!("WatchFailures").increment(summary.failures as u64);
        done.and(alerted).map(|()| summary)
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
            for registry in due.registries {
                let span = log::registry(&registry);
                let read = self.read_settings(known.get(&registry), &registry, now, summary);
                match read.instrument(span.clone()).await {
                    Ok(Some(fresh)) => _ = settings.insert(registry, fresh),
                    Ok(None) => {}
                    Err(error) => span.in_scope(|| fail(summary, &error)),
                }
            }
            let (watch, settings) = (&self, &settings);
            let mut looked = stream::iter(due.images)
                .map(|(image, work_items)| {
                    let span = log::image(&image);
                    async move { watch.check_image(&image, &work_items, settings, now).await.inspect_err(log_failure) }
                        .instrument(span)
                })
                .buffer_unordered(AT_A_TIME);
            while let Some(result) = looked.next().await {
                summary.images += 1;
                match result {
                    Ok((facts_recovered, problems)) => {
                        summary.facts_recovered += facts_recovered;
                        summary.problems += problems;
                    }
                    Err(_) => summary.failures += 1,
                }
            }
            if clock() >= until {
                return Ok(());
            }
        }
    }

    // Settings

    /// Reads the replication settings of a registry, and raises an alert if ECR's native deletion replication was
    /// switched on or off.
    async fn read_settings(
        &self,
        known: Option<&KnownRegistry>,
        registry: &Registry,
        now: Timestamp,
        summary: &mut WatchSummary,
    ) -> Result<Option<ReplicationSettings>, store::Error> {
        let Some(known) = known else { return Ok(None) };
        let after = |pause| now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let before = known.settings.as_ref();
        let rules = match self.registries.rules(registry).await {
            Ok(rules) => rules,
            Err(failure) => {
                summary.failures += 1;
                let old = before.is_none_or(|settings| now.duration_since(settings.read_at) > TOO_OLD);
                if old && !known.is_new() {
                    let message = format!("the settings of {registry} cannot be read: {}", chain(&failure));
                    let alert = Alert::notice(AlertKind::PipelineUnhealthy, &registry.to_string(), message, now);
                    self.table.put_alert(&alert).await?;
                }
                warn!(error = chain(&failure), "replication settings cannot be read, will be tried again");
                self.table.put_settings(known, None, after(TRY_AGAIN)).await?;
                return Ok(None);
            }
        };
        let settings = ReplicationSettings::after(before, &rules, now);
        if let Some(before) = before {
            self.alert_switched(registry, before, &settings, now).await?;
        }
        self.table.put_settings(known, Some(&settings), after(READ_AGAIN)).await?;
        Ok(Some(settings))
    }

    async fn alert_switched(
        &self,
        registry: &Registry,
        before: &ReplicationSettings,
        after: &ReplicationSettings,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let (was, is) = (before.native_deletes(), after.native_deletes());
        for (changed, word) in [(is.difference(&was), "on"), (was.difference(&is), "off")] {
            for (destination, prefix) in changed {
                let repositories = if prefix.is_empty() {
                    "every repository".to_owned()
                } else {
                    format!("repositories `{prefix}…`")
                };
                let message = format!(
                    "ECR's own replication of deletions from {registry} to {destination} was switched {word} for {repositories}"
                );
                let subject = format!("{registry} to {destination} {word}");
                self.table.put_alert(&Alert::notice(AlertKind::NativeDeletesSwitched, &subject, message, now)).await?;
            }
        }
        Ok(())
    }

    // Copies

    /// Checks one image. Returns the number of new facts, and of copies with a new problem.
    async fn check_image(
        &self,
        image: &Image,
        work_items: &BTreeSet<WorkItem>,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<(usize, usize), store::Error> {
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        for work_item in work_items {
            self.table.claim(image, work_item, until).await?;
        }
        let mut later = BTreeMap::new();
        for work_item in work_items {
            let WorkItem::ReplicaDeleted(registry) = work_item else { continue };
            later.extend(self.check_deleted_replica(image, registry, now).await?.map(|again| (work_item, again)));
        }
        let ImageRecord { lineage, expectations, .. } = self.table.expectations(image).await?;
        let mut due: BTreeMap<Registry, Vec<ReplicationExpectation>> = BTreeMap::new();
        let failed = |work_item: &&WorkItem| matches!(work_item, WorkItem::ReplicationFailed(..));
        let mut failed: BTreeSet<WorkItem> = work_items.iter().filter(failed).cloned().collect();
        for expectation in expectations {
            let alerted =
                failed.remove(&WorkItem::ReplicationFailed(expectation.source.clone(), expectation.tag.clone()));
            if alerted || expectation.due.is_some_and(|due| due <= now) {
                due.entry(expectation.source.clone()).or_default().push(expectation);
            }
        }
        if !failed.is_empty() {
            let facts = self.table.lineage(image).await?.facts;
            for work_item in failed {
                let WorkItem::ReplicationFailed(source, tag) = work_item else { continue };
                let expectation = unexpected(image, &source, tag.as_ref(), &facts);
                due.entry(source).or_default().extend(expectation);
            }
        }
        let (mut facts_recovered, mut problems) = (0, 0);
        for (source, expectations) in due {
            let (facts, wrong) = self.check_copies(&source, expectations, &lineage, settings, now).await?;
            facts_recovered += facts;
            problems += wrong;
        }
        for work_item in work_items {
            match later.get(work_item) {
                Some(again) => self.table.claim(image, work_item, *again).await?,
                None => self.table.complete(image, work_item, until).await?,
            }
        }
        Ok((facts_recovered, problems))
    }

    /// Checks whether a replica was deleted while its source has the image, and raises an alert. Returns when to check
    /// again, if it is too early or a registry cannot be read. ECR's native deletion replication emits the same event,
    /// and the source's event may arrive later.
    async fn check_deleted_replica(
        &self,
        image: &Image,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, store::Error> {
        let lineage = self.table.lineage(image).await?;
        let Some((gone_at, sources)) = drift::unexpected_deletion(&lineage, registry) else { return Ok(None) };
        let patient = gone_at.saturating_add(EXPECTED_REPLICATION_TIME).unwrap_or(now);
        if now < patient {
            return Ok(Some(patient));
        }
        let again = now.saturating_add(EXPECTED_REPLICATION_TIME).ok();
        match self.observe(registry, image).await {
            Observation::Missing | Observation::NoRepository => {}
            // The image was pushed or replicated again. `reconcile` records since when.
            Observation::Present(_) => return Ok(None),
            Observation::Unreadable(_) | Observation::NotAsked => return Ok(again),
        }
        for source in sources {
            match self.observe(&source, image).await {
                Observation::Present(_) => self.replica_deleted(image, &source, registry, now).await?,
                Observation::Missing | Observation::NoRepository => {
                    let time = whole_seconds(now);
                    let (event_id, subject) = ("watch-looked".to_owned(), Subject::Image(image.clone()));
                    let fact = Fact { time, registry: source, event_id, subject, what: What::FOUND_MISSING };
                    self.table.record(&[&fact]).await?;
                }
                Observation::Unreadable(_) | Observation::NotAsked => return Ok(again),
            }
        }
        Ok(None)
    }

    async fn replica_deleted(
        &self,
        image: &Image,
        source: &Registry,
        destination: &Registry,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let name = format!("{}@{}", image.repository, image.digest.short());
        let why = format!("{name} was deleted from {destination} while {source} still has it");
        let (image, source, destination) = (image.clone(), source.clone(), destination.clone());
        let occurrence = Occurrence { kind: AlertKind::ReplicaDeleted, source, destination, image, why };
        self.table.count_occurrence(&occurrence, 1, now).await
    }

    /// Checks the replicas of pushes to one source.
    async fn check_copies(
        &self,
        source: &Registry,
        expectations: Vec<ReplicationExpectation>,
        lineage: &Lineage,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<(usize, usize), store::Error> {
        let Some(own) = settings.get(source) else {
            // The settings of the source were not read yet.
            for mut expectation in expectations {
                expectation.due = now.saturating_add(TRY_AGAIN).ok();
                self.table.put_expectation(&expectation, &[], now).await?;
            }
            return Ok((0, 0));
        };
        let missing: BTreeSet<&Registry> =
            expectations.iter().flat_map(|expectation| expectation.missing(lineage, own, now).into_keys()).collect();
        let asked = if missing.is_empty() { None } else { Some(self.ask(source, &lineage.image).await) };
        let mut observations = BTreeMap::new();
        if let Some(Asked::Copies(copies)) = &asked {
            for destination in missing {
                if copies.get(destination) == Some(&CopyStatus::Complete) {
                    observations.insert(destination.clone(), self.observe(destination, &lineage.image).await);
                }
            }
        }
        let lacks_tag = |observation: &Observation| {
            let mut tags = expectations.iter().filter_map(|expectation| expectation.tag.as_ref());
            matches!(observation, Observation::Present(seen) if tags.any(|tag| !seen.tags.contains(tag)))
        };
        if observations.values().any(lacks_tag) {
            // Another image may have taken the tag at the source, and its event may not have arrived yet.
            observations.insert(source.clone(), self.observe(source, &lineage.image).await);
        }
        let (mut facts_recovered, mut problems) = (0, 0);
        for expectation in expectations {
            let outcome = expectation.evaluate(lineage, own, asked.as_ref(), &observations, now);
            let facts: Vec<&Fact> = outcome.facts.iter().collect();
            if !facts.is_empty() {
                let recorded = self.table.record(&facts).await?;
                facts_recovered += recorded.stored.iter().filter(|stored| **stored == Stored::New).count();
            }
            if self.table.put_expectation(&outcome.expectation, &outcome.changes, now).await? == Stored::New {
                problems += outcome.changes.iter().filter(|change| change.end.is_none()).count();
            }
            for destination in &outcome.deleted {
                self.replica_deleted(&lineage.image, source, destination, now).await?;
            }
        }
        self.alert_pushed_to_replica(source, lineage, settings, now).await?;
        Ok((facts_recovered, problems))
    }

    async fn ask(&self, source: &Registry, image: &Image) -> Asked {
        match self.registries.copies(source, image).await {
            Ok(Some(copies)) => Asked::Copies(copies),
            // One response is not enough to conclude that an image is missing.
            Ok(None) => match self.observe(source, image).await {
                Observation::Missing | Observation::NoRepository => Asked::Gone,
                Observation::Present(_) => {
                    Asked::Unreadable("ECR answered that it has the image, and that it does not".to_owned())
                }
                Observation::Unreadable(why) => Asked::Unreadable(why),
                Observation::NotAsked => Asked::Unreadable("not read".to_owned()),
            },
            Err(failure) => {
                warn!(registry = %source, error = chain(&failure), "copies cannot be read, will be tried again");
                Asked::Unreadable(chain(&failure))
            }
        }
    }

    async fn observe(&self, registry: &Registry, image: &Image) -> Observation {
        self.registries
            .observe(registry, image)
            .await
            .unwrap_or_else(|failure| Observation::Unreadable(chain(&failure)))
    }

    /// Raises an alert for an image that was pushed directly to a replication destination and that no source has.
    async fn alert_pushed_to_replica(
        &self,
        registry: &Registry,
        lineage: &Lineage,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let repository = &lineage.image.repository;
        let Some(here) = lineage.placements.get(registry) else { return Ok(()) };
        let copies_here = |settings: &ReplicationSettings| settings.destinations(repository).contains_key(registry);
        let mut sources = settings.iter().filter(|(_, settings)| copies_here(settings)).map(|(source, _)| source);
        let nowhere_else = sources.clone().all(|source| !lineage.placements.contains_key(source));
        let Some(source) = sources.next() else { return Ok(()) };
        if here.pushed().is_none() || !here.replicated().is_empty() || !nowhere_else {
            return Ok(());
        }
        let message = format!(
            "{} was pushed to {registry}, where {source} replicates {repository}, and {source} never had it",
            lineage.image
        );
        let alert = Alert::notice(AlertKind::PushedToReplica, &format!("{registry} {repository}"), message, now);
        self.table.put_alert(&alert).await.map(drop)
    }

    // Dead letters

    async fn check_dead_letters(&self, now: Timestamp, summary: &mut WatchSummary) {
        let Some(dead_letters) = &self.dead_letters else { return };
        let queue = error_span!("queue", queue = dead_letters.url());
        match dead_letters.count().await {
            Ok(count) => {
                if let Err(error) = self.alert_dead_letters(count, now).await {
                    queue.in_scope(|| fail(summary, &error));
                }
            }
            Err(failure) => {
                summary.failures += 1;
                queue
                    .in_scope(|| warn!(error = chain(&failure), "dead letters cannot be counted, will be tried again"));
            }
        }
    }

    /// Raises an alert if the dead-letter queue is not empty; at most once a day.
    ///
    /// # Errors
    /// When the alert cannot be stored.
    pub async fn alert_dead_letters(&self, count: u64, now: Timestamp) -> Result<(), store::Error> {
        if count == 0 {
            return Ok(());
        }
        let (events, what) = if count == 1 { ("1 event is", "it") } else { (&*format!("{count} events are"), "them") };
        let message = format!("{events} among the dead letters: `record` could not record {what} in five tries");
        let alert = Alert::notice(AlertKind::PipelineUnhealthy, "dead letters", message, now);
        self.table.put_alert(&alert).await.map(drop)
    }

    // Incidents

    /// Sends the alerts of incidents that are due.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 copies")]
    async fn send_due_alerts(&self, now: Timestamp, summary: &mut WatchSummary) -> Result<(), store::Error> {
        let incidents = self.table.incidents().await?;
        for kind in AlertKind::ALL.into_iter().filter(|kind| kind.is_ongoing()) {
            let open: u64 =
                incidents.iter().filter(|incident| incident.kind == kind).map(|incident| incident.open).sum();
            gauge!("UnhealthyCopies", "Kind" => kind.as_str()).set(open as f64);
        }
        for incident in incidents {
            let Some(alert) = incident.due(now) else { continue };
            // If the incident changed meanwhile, the next run sends the alert.
            match self.table.put_incident_alert(&incident, &alert).await {
                Ok(Stored::New) => summary.alerts += 1,
                Ok(Stored::Known) => {}
                Err(error) => error_span!("alert", alert.id = alert.id).in_scope(|| fail(summary, &error)),
            }
        }
        Ok(())
    }
}

/// The expectation that a failed replication implies, for a push that no event reported.
fn unexpected(image: &Image, source: &Registry, tag: Option<&Tag>, facts: &[Fact]) -> Option<ReplicationExpectation> {
    let failed = |fact: &&Fact| matches!(&fact.what, What::ReplicationFailed { source: from, tag: with } if from == source && with.as_ref() == tag);
    let since = facts.iter().filter(failed).map(|fact| fact.time).max()?;
    let (image, source, tag) = (image.clone(), source.clone(), tag.cloned());
    Some(ReplicationExpectation { image, source, tag, since, due: None, state: ExpectationState::default() })
}

fn fail(summary: &mut WatchSummary, error: &store::Error) {
    summary.failures += 1;
    log_failure(error);
}

fn log_failure(error: &store::Error) {
    warn!(error = chain(error), "not checked, it is due again");
}
