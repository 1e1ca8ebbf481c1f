//! Executes a plan: stores its steps, makes its calls, and stores what follows from ECR's answers.
//!
//! A deletion is claimed before ECR is called for it: its reasons are in the table by then. A run that finds a claim
//! without an outcome reads the replica again; if the image is missing, the earlier call deleted it.

use std::collections::{BTreeMap, BTreeSet};

use aws::log;
use domain::{
    deletion::{CallOutcome, Deletion, DeletionWrites},
    plan::{BreakerStep, Call, Plan, Target},
    policy::Action,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use retry::chain;
use store::Stored;
use tracing::{Instrument, error, info, warn};

use crate::{AT_A_TIME, Mirror, MirrorSummary};

/// What was stored, by the numbers of the steps.
type Written = BTreeMap<usize, (DeletionWrites, Stored)>;

impl Mirror {
    /// Executes a plan. If another process changed a deletion first, its step is left out, and so is its call. If an
    /// operator reset a breaker first, the next run makes another plan.
    ///
    /// # Errors
    /// When a breaker cannot be stored: then nothing was done. Other failures are counted, and found by the next run.
    pub(crate) async fn execute(
        &self,
        mut plan: Plan,
        now: Timestamp,
        summary: &mut MirrorSummary,
    ) -> Result<(), store::Error> {
        for breaker in &mut plan.breakers {
            if self.store_breaker(breaker).await? == Stored::Known {
                return Ok(());
            }
        }
        for BreakerStep { source, breaker, counted, .. } in &plan.breakers {
            self.table.put_counts(source, breaker, counted.iter()).await?;
        }
        let steps = plan.steps.into_iter().map(|step| step.writes).enumerate();
        let mut written = self.store(steps.collect(), summary).await;
        written.retain(|_, (_, stored)| *stored == Stored::New);
        let mut done = BTreeSet::new();
        for round in plan.rounds {
            let calls = stream::iter(round).map(|call| self.call(call, &written, &done, now));
            let after = calls.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await.concat();
            done.extend(after.iter().filter(|(_, writes)| writes.done.is_some()).map(|(step, _)| *step));
            written.append(&mut self.store(after, summary).await);
        }
        written.into_values().for_each(|(writes, _)| summary.count(writes));
        Ok(())
    }

    async fn store_breaker(&self, step: &mut BreakerStep) -> Result<Stored, store::Error> {
        if let Some(alert) = &step.opened {
            self.table.put_alert(alert).await?;
            error!(registry = %step.source, why = alert.message, "breaker opened: deletions of this source are on hold");
        }
        self.table.put_breaker(&step.source, &mut step.breaker).await
    }

    /// Stores what is written about some deletions. What fails is counted.
    async fn store(&self, all: Vec<(usize, DeletionWrites)>, summary: &mut MirrorSummary) -> Written {
        let write = |(step, writes): (usize, DeletionWrites)| {
            let span = log::deletion(&writes.deletion);
            async move { Some((step, self.write(writes).await?)) }.instrument(span)
        };
        let results: Vec<_> = stream::iter(all).map(write).buffer_unordered(AT_A_TIME).collect().await;
        summary.failures += results.iter().filter(|result| result.is_none()).count();
        results.into_iter().flatten().collect()
    }

    /// Stores what is written about one deletion; `None` if that failed.
    async fn write(&self, writes: DeletionWrites) -> Option<(DeletionWrites, Stored)> {
        let written = self.try_write(writes).await;
        let failed = |failure: &store::Error| {
            warn!(error = chain(failure), "a deletion cannot be stored, the next run finds it");
        };
        written.inspect_err(failed).ok()
    }

    async fn try_write(&self, mut writes: DeletionWrites) -> Result<(DeletionWrites, Stored), store::Error> {
        for fact in writes.correction.iter().chain(&writes.done) {
            self.table.record(&[fact]).await?;
        }
        if writes.done.is_some() {
            let Deletion { action, policies, .. } = &writes.deletion;
            let policies = policies.iter().cloned().collect::<Vec<_>>().join(", ");
            info!(action = action.map(Action::as_str), policies, "replica deleted");
        }
        if let Some(work_item) = &writes.work_item {
            self.table.enqueue(&writes.deletion.image, work_item).await?;
        }
        for alert in &writes.alerts {
            error!(error = alert.message, "replica not deleted: ECR refused");
            self.table.put_alert(alert).await?;
        }
        let stored = self.table.put_deletion(&mut writes.deletion).await?;
        Ok((writes, stored))
    }

    /// Makes a call for the claims that were stored, and returns what is written after it.
    async fn call(
        &self,
        call: Call,
        claims: &Written,
        done: &BTreeSet<usize>,
        now: Timestamp,
    ) -> Vec<(usize, DeletionWrites)> {
        let (mut ids, mut called, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        let controls = self.table.controls().await.map_err(|failure| chain(&failure));
        for Target { step, id, after } in &call.targets {
            let Some((DeletionWrites { deletion: claim, .. }, _)) = claims.get(step) else { continue };
            let waits = after.as_ref().filter(|(subject, _)| !done.contains(subject));
            let subject = waits.map(|(_, digest)| CallOutcome::of_subject(digest));
            match subject.or_else(|| CallOutcome::of_controls(&controls, claim, now)) {
                Some(outcome) => writes.push((*step, claim.after_call(outcome, now))),
                None => {
                    ids.push(id.clone());
                    called.push((*step, claim));
                }
            }
        }
        let outcomes = match self.registries.change(&call, &ids).await {
            Ok(answers) => called.iter().zip(answers).map(|((_, claim), answer)| claim.outcome(answer)).collect(),
            Err(failure) => {
                vec![CallOutcome::of_failed_call(failure.code.as_deref(), chain(&failure)); called.len()]
            }
        };
        let after = called.into_iter().zip(outcomes);
        writes.extend(after.map(|((step, claim), outcome)| (step, claim.after_call(outcome, now))));
        writes
    }
}

impl MirrorSummary {
    /// Counts a deletion by its status after the run.
    fn count(&mut self, writes: DeletionWrites) {
        *self.by_status.entry(writes.deletion.status.as_str()).or_default() += 1;
        writes.occurrence.into_iter().for_each(|occurrence| self.occurrences.note(occurrence));
    }
}
