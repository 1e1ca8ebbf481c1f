#![doc = include_str!("../README.md")]

pub mod config;
pub mod execute;

use std::collections::{BTreeMap, BTreeSet};

use aws::{log, registry::Registries};
use domain::{
    alert::{Alert, AlertKind, Occurrence, Occurrences},
    breaker::BreakerLimits,
    deletion::{self, Deletion, DeletionStatus, deletion_intents},
    drift,
    fact::WorkItem,
    image::{Image, Registry},
};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use policy::{InvalidPolicyError, Policy};
use retry::chain;
use serde::{Deserialize, Serialize};
use store::{Due, Queue, Stored, Table};
use tracing::{Instrument, error, warn};

use decide::{Candidate, Decider};

/// Whether permitted deletions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decides and records what would be done, and changes nothing in any registry.
    #[default]
    Observe,
    /// Executes what the policy permits.
    Enforce,
}

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
    /// The name of this process, as the holder of the lease.
    pub name: String,
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

/// How long a claim of a work item or of a deletion is valid; afterwards another run may take it over.
const CLAIM: SignedDuration = SignedDuration::from_mins(20);

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
    /// Decides deletions; only reads.
    fn decider(&self) -> Decider<'_> {
        Decider {
            table: &self.table,
            registries: &self.registries,
            policy: self.policy.as_ref(),
            limits: self.limits,
            known: &self.known,
        }
    }

    /// Processes everything that is due, until no work is left or the time is over. No further batch is started after
    /// `until`.
    ///
    /// # Errors
    /// When the table cannot list what is due.
    pub async fn run(&self, clock: impl Fn() -> Timestamp, until: Timestamp) -> Result<MirrorSummary, store::Error> {
        let mut summary = MirrorSummary::default();
        let started = clock();
        if let Err(invalid) = &self.policy {
            self.raise_alert(AlertKind::PolicyInvalid, "policy", invalid.to_string(), started).await?;
            error!(policy = invalid.name, error = %invalid, "nothing is mirrored: the policy cannot be used");
            return Ok(MirrorSummary { idle: true, ..summary });
        }
        if !self
            .table
            .take_lease(Queue::Mirror, &self.name, started, until.saturating_add(CLAIM).unwrap_or(until))
            .await?
        {
            return Ok(MirrorSummary { idle: true, ..summary });
        }
        let mut taken = BTreeSet::new();
        let done = loop {
            let now = clock();
            let mut due = match self.table.due(now, IMAGES_AT_A_TIME).await {
                Ok(due) => due,
                Err(error) => break Err(error),
            };
            due.retain(|image, _| taken.insert(image.clone()));
            if due.is_empty() {
                break Ok(());
            }
            if let Err(error) = self.take(due, now, &mut summary).await {
                break Err(error);
            }
            if clock() >= until {
                break Ok(());
            }
        };
        // The lease ends now; if this write fails, the lease expires on its own.
        if let Err(error) = self.table.give_back_lease(Queue::Mirror, &self.name, started).await {
            warn!(lease = Queue::Mirror.as_str(), error = chain(&error), "the lease cannot be given back, it expires");
        }
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
        done.map(|()| summary)
    }

    async fn open_breakers(&self) -> Result<u32, store::Error> {
        let mut open = 0;
        for source in self.table.registries().await? {
            open += u32::from(self.table.breaker(&source).await?.opened.is_some());
        }
        Ok(open)
    }

    /// Processes images whose losses or deletions are due.
    async fn take(
        &self,
        due: BTreeMap<Image, Due>,
        now: Timestamp,
        summary: &mut MirrorSummary,
    ) -> Result<(), store::Error> {
        let mut opened = stream::iter(due)
            .map(|(image, due)| {
                let span = log::image(&image);
                let failed = |failure: &store::Error| {
                    warn!(error = chain(failure), "a loss cannot be examined, it is due again");
                };
                async move { self.open(image, due, now).await.inspect_err(failed) }.instrument(span)
            })
            .buffer_unordered(AT_A_TIME);
        let mut candidates = Vec::new();
        while let Some(result) = opened.next().await {
            match result {
                Ok((new, mut some)) => {
                    summary.opened += new.len();
                    new.iter().filter(|opened| self.is_planned(opened)).for_each(|planned| {
                        let due = planned.due.unwrap_or(now).strftime("%Y-%m-%d %H:%M:%S UTC");
                        summary.note_occurrence(
                            AlertKind::DeletionPlanned,
                            planned,
                            &format!("will be deleted, as its source deleted it, after {due}"),
                        );
                    });
                    candidates.append(&mut some);
                }
                Err(_) => summary.failures += 1,
            }
        }
        drop(opened);
        if !candidates.is_empty() {
            let decider = self.decider();
            let decided = decider.decide(candidates, now).await?;
            self.carry_out(decided, now, summary).await?;
        }
        for (occurrence, count) in summary.occurrences.take() {
            self.table.count_occurrence(&occurrence, count, now).await?;
        }
        Ok(())
    }

    /// Whether a new deletion is expected to be executed, from what the table knows so far.
    fn is_planned(&self, opened: &Deletion) -> bool {
        self.mode == Mode::Enforce && opened.status == DeletionStatus::Pending && opened.action.is_some()
    }

    /// Opens the deletions that the losses of an image require, and returns the new ones and those that are due.
    async fn open(
        &self,
        image: Image,
        due: Due,
        now: Timestamp,
    ) -> Result<(Vec<Deletion>, Vec<Candidate>), store::Error> {
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        for source in &due.losses {
            self.table.claim(&image, &WorkItem::SourceLost(source.clone()), until).await?;
        }
        let image_record = self.table.image_record(&image).await?;
        let mut deletions: BTreeMap<_, Deletion> =
            image_record.deletions.into_iter().map(|known| (key(&known), known)).collect();
        let mut new = Vec::new();
        for source in &due.losses {
            if drift::unexpected_deletion(&image_record.lineage, source).is_some() {
                self.table.enqueue(&image, &WorkItem::ReplicaDeleted(source.clone())).await?;
            }
            for intent in deletion_intents(&image_record.lineage, source) {
                let place = (intent.registry.clone(), intent.tag.clone());
                let Some(mut opened) = Deletion::open(deletions.get(&place), &image, source, intent, now) else {
                    continue;
                };
                if let Ok(policy) = &self.policy {
                    deletion::estimate(&mut opened, &image_record.lineage, |action, question| {
                        policy.ask(action, question)
                    });
                }
                // If an operator changed the deletion first, the operator's version is kept.
                if self.table.put_deletion(&mut opened).await? == Stored::New {
                    new.push(opened.clone());
                    deletions.insert(place, opened);
                }
            }
            self.table.complete(&image, &WorkItem::SourceLost(source.clone()), until).await?;
        }
        let is_due = |deletion: &Deletion| {
            matches!(deletion.status, DeletionStatus::Pending | DeletionStatus::Executing)
                && deletion.due.is_some_and(|due| due <= now)
        };
        let due = deletions.into_values().filter(is_due);
        Ok((new, due.map(|deletion| Candidate { deletion, lineage: image_record.lineage.clone() }).collect()))
    }

    /// Stores an alert; at most one a day for each kind and subject.
    async fn raise_alert(
        &self,
        kind: AlertKind,
        subject: &str,
        message: String,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let alert = Alert::notice(kind, subject, message, now);
        self.table.put_alert(&alert).await.map(drop)
    }
}

impl MirrorSummary {
    /// Counts a deletion by its status after the run, and notes an alert if the status is new.
    fn count_status(&mut self, before: &Deletion, status: DeletionStatus) {
        *self.by_status.entry(status.as_str()).or_default() += 1;
        if before.status == status {
            return;
        }
        match status {
            DeletionStatus::Held => {
                self.note_occurrence(AlertKind::DeletionHeld, before, "is on hold: its deletion does not run");
            }
            DeletionStatus::AwaitingApproval => {
                self.note_occurrence(AlertKind::ApprovalWanted, before, "awaits approval of its deletion");
            }
            DeletionStatus::Done => {
                self.note_occurrence(AlertKind::DeletionDone, before, "was deleted, as its source deleted it");
            }
            DeletionStatus::Pending | DeletionStatus::Executing | DeletionStatus::Kept | DeletionStatus::Failed => {}
        }
    }

    /// Notes an occurrence of a deletion for the alerts.
    fn note_occurrence(&mut self, kind: AlertKind, deletion: &Deletion, what: &str) {
        let Deletion { image, registry, source, tag, .. } = deletion;
        let name = match tag {
            Some(tag) => format!("{}:{tag}", image.repository),
            None => format!("{}@{}", image.repository, image.digest.short()),
        };
        let why = format!("{name} in {registry} {what}");
        let (image, source, destination) = (image.clone(), source.clone(), registry.clone());
        self.occurrences.note(Occurrence { kind, source, destination, image, why });
    }
}

fn key(deletion: &Deletion) -> (Registry, Option<domain::image::Tag>) {
    (deletion.registry.clone(), deletion.tag.clone())
}
