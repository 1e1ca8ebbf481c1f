//! Stores decisions, executes them, and stores the outcome.
//!
//! A deletion is claimed before it is executed: its plan and reasons are in the table before any call to ECR. A run
//! that finds a claim without an outcome reads the replica again; if the image is missing, the earlier call deleted it.

use std::collections::{BTreeMap, BTreeSet};

use aws::{
    log,
    registry::{DeleteResult, IDS_PER_CALL, ImageOrTag},
};
use domain::{
    alert::AlertKind,
    deletion::{Check, CheckName, Deletion, DeletionRefusal, DeletionStatus, MAX_REFERENCE_WAIT, Verdict, refusal},
    fact::{Cause, Fact, StorageClass, Subject, What, WorkItem},
    image::{Digest, Registry, RepositoryName, Tag},
    observation::Observation,
    policy::{Action, ManifestKind},
    time::whole_seconds,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use retry::{CallError, chain};
use store::Stored;
use tracing::{Instrument, error, info, warn};

use decide::{Decided, Decisions};

use crate::{AT_A_TIME, CLAIM, Mirror, MirrorSummary, Mode};

/// Consecutive failures after which the function raises an alert.
const ALERT_AFTER_ATTEMPTS: u32 = 5;

/// A claimed deletion, ready to execute.
#[derive(Debug)]
struct Claimed {
    deletion: Deletion,
    action: Action,
    kind: ManifestKind,
    subject: Option<Digest>,
}

impl Mirror {
    /// Stores the decisions and executes those that are permitted.
    pub(crate) async fn carry_out(
        &self,
        decisions: Decisions,
        now: Timestamp,
        summary: &mut MirrorSummary,
    ) -> Result<(), store::Error> {
        let Decisions { all, mut breakers, opened } = decisions;
        for (source, opened) in &opened {
            let source_text = source.to_string();
            self.raise_alert(
                AlertKind::BreakerOpened,
                &source_text,
                format!("the breaker of {source} opened: {}", opened.why),
                now,
            )
            .await?;
            error!(
                registry = source_text,
                why = opened.why,
                "breaker opened: pending deletions of this source are on hold"
            );
            let Some(breaker) = breakers.get_mut(source) else { continue };
            // If an operator resets the breaker at this moment, the next reset releases the deletions that this run
            // puts on hold.
            self.table.put_breaker(source, breaker).await?;
        }
        for (source, breaker) in &breakers {
            let going = all.iter().filter(|decided| {
                decided.deletion.source == *source && matches!(decided.decision.verdict, Verdict::Execute(_))
            });
            let places: BTreeSet<_> = going.map(|decided| decide::place(&decided.deletion, decided.class)).collect();
            self.table.put_counts(source, breaker, places.iter()).await?;
        }
        let mut stored = stream::iter(all)
            .map(|decided| {
                let before = decided.deletion.clone();
                let span = log::deletion(&before);
                let failed = |failure: &store::Error| {
                    warn!(error = chain(failure), "a decision cannot be stored, it is due again");
                };
                async move { (before, self.settle(decided, now).await.inspect_err(failed)) }.instrument(span)
            })
            .buffer_unordered(AT_A_TIME);
        let mut claims = Vec::new();
        while let Some((before, result)) = stored.next().await {
            match result {
                Ok((status, claimed)) => {
                    claims.extend(claimed);
                    if let Some(status) = status {
                        summary.count_status(&before, status);
                    }
                }
                Err(_) => summary.failures += 1,
            }
        }
        drop(stored);
        self.execute(claims, now, summary).await;
        Ok(())
    }

    /// Stores a decision and claims the deletion if it is to be executed. Returns no status if another process changed
    /// the deletion first.
    async fn settle(
        &self,
        decided: Decided,
        now: Timestamp,
    ) -> Result<(Option<DeletionStatus>, Option<Claimed>), store::Error> {
        let Decided { mut deletion, decision, replica, source, known_at_source, .. } = decided;
        if deletion.status == DeletionStatus::Executing {
            if took_effect(&deletion, &replica) {
                return self
                    .finish(&deletion, CallOutcome::Done("our call took effect".to_owned()), now)
                    .await
                    .map(taken);
            }
            if decision.verdict == Verdict::Retry {
                // The outcome of the earlier call is still unknown.
                let why = decision.checks.last().map(|check| check.why.clone()).unwrap_or_default();
                return self.finish(&deletion, CallOutcome::Unknown(why), now).await.map(taken);
            }
        }
        deletion.apply(&decision, now);
        match decision.verdict {
            Verdict::Execute(action) => return self.claim(deletion, action, replica, now).await,
            Verdict::AlreadyGone
                if matches!(replica, Observation::Missing | Observation::NoRepository) && deletion.tag.is_none() =>
            {
                self.observe(&deletion, &deletion.registry, What::FOUND_MISSING, now).await?;
            }
            // The table is wrong about the source: record what was observed, and re-evaluate the loss of the source.
            Verdict::SourceHasImage if !known_at_source => {
                let storage = match &source {
                    Observation::Present(seen) if seen.archived => StorageClass::Archive,
                    _ => StorageClass::Standard,
                };
                let what = What::Observed {
                    storage: Some(storage),
                    tags: BTreeSet::new(),
                    without: BTreeSet::new(),
                    complete: false,
                    source: None,
                };
                self.observe(&deletion, &deletion.source, what, now).await?;
                self.table.enqueue(&deletion.image, &WorkItem::SourceLost(deletion.source.clone())).await?;
            }
            _ => {}
        }
        match self.table.put_deletion(&mut deletion).await? {
            Stored::New => Ok((Some(deletion.status), None)),
            Stored::Known => Ok((None, None)),
        }
    }

    /// Claims a deletion, which sets its status to `executing`. In observe mode the replica is kept instead.
    async fn claim(
        &self,
        mut deletion: Deletion,
        action: Action,
        replica: Observation,
        now: Timestamp,
    ) -> Result<(Option<DeletionStatus>, Option<Claimed>), store::Error> {
        deletion.counted = true;
        if self.mode == Mode::Observe {
            let why = format!("observe: would {action} it now, nothing is touched");
            deletion.settle(DeletionStatus::Kept, Check::stopped(CheckName::Mode, why), now);
        } else {
            deletion.status = DeletionStatus::Executing;
            deletion.due = Some(now.saturating_add(CLAIM).unwrap_or(now));
        }
        if self.table.put_deletion(&mut deletion).await? == Stored::Known {
            return Ok((None, None));
        }
        if deletion.status != DeletionStatus::Executing {
            return Ok((Some(deletion.status), None));
        }
        let (kind, subject) = match replica {
            Observation::Present(seen) => (seen.kind, seen.subject),
            _ => (ManifestKind::Image, None),
        };
        Ok((None, Some(Claimed { deletion, action, kind, subject })))
    }

    /// Executes claimed deletions: indexes before their children, subjects before their referrers.
    async fn execute(&self, claims: Vec<Claimed>, now: Timestamp, summary: &mut MirrorSummary) {
        let mut still_there: BTreeSet<(Registry, Digest)> = BTreeSet::new();
        for kind in [ManifestKind::Index, ManifestKind::Image, ManifestKind::Referrer] {
            let mut repositories: BTreeMap<(&Registry, &RepositoryName), Vec<(ImageOrTag, &Claimed)>> = BTreeMap::new();
            let mut others = Vec::new();
            let mut outcomes: Vec<(&Claimed, CallOutcome)> = Vec::new();
            for claimed in claims.iter().filter(|claimed| claimed.kind == kind) {
                let Deletion { registry, image, tag, .. } = &claimed.deletion;
                let subject = claimed.subject.as_ref().map(|subject| (registry.clone(), subject.clone()));
                if let Some((_, subject)) = subject.filter(|subject| still_there.contains(subject)) {
                    let why = format!("its subject {} is still there", subject.short());
                    outcomes.push((claimed, CallOutcome::Retry(Check::stopped(CheckName::Manifest, why))));
                    continue;
                }
                let id = match (claimed.action, tag) {
                    (Action::Delete, _) => ImageOrTag::Image(image.digest.clone()),
                    (Action::Untag, Some(tag)) => ImageOrTag::Tag(tag.clone()),
                    (Action::Archive, _) | (Action::Untag, None) => {
                        others.push(claimed);
                        continue;
                    }
                };
                repositories.entry((registry, &image.repository)).or_default().push((id, claimed));
            }
            let batches = repositories
                .iter()
                .flat_map(|(repository_key, ids)| ids.chunks(IDS_PER_CALL).map(move |ids| (*repository_key, ids)));
            let mut deleted = stream::iter(batches)
                .map(|(repository_key, ids)| self.delete(repository_key, ids))
                .buffer_unordered(AT_A_TIME);
            while let Some(some) = deleted.next().await {
                outcomes.extend(some);
            }
            drop(deleted);
            let mut archived = stream::iter(others).map(|claimed| self.archive(claimed)).buffer_unordered(AT_A_TIME);
            while let Some(one) = archived.next().await {
                outcomes.push(one);
            }
            drop(archived);
            for (claimed, outcome) in &outcomes {
                let Deletion { registry, image, tag: None, .. } = &claimed.deletion else { continue };
                if !matches!(outcome, CallOutcome::Done(_)) {
                    still_there.insert((registry.clone(), image.digest.clone()));
                }
            }
            let mut stored = stream::iter(outcomes)
                .map(|(claimed, outcome)| {
                    let deletion = &claimed.deletion;
                    let failed = |failure: &store::Error| {
                        warn!(error = chain(failure), "an outcome cannot be stored, the next run finds it");
                    };
                    let finished =
                        async move { (deletion, self.finish(deletion, outcome, now).await.inspect_err(failed)) };
                    finished.instrument(log::deletion(deletion))
                })
                .buffer_unordered(AT_A_TIME);
            while let Some((deletion, result)) = stored.next().await {
                match result {
                    Ok(status) => summary.count_status(deletion, status),
                    Err(_) => summary.failures += 1,
                }
            }
        }
    }

    /// Deletes one batch of images or tags in one repository.
    async fn delete<'a>(
        &self,
        (registry, repository): (&Registry, &RepositoryName),
        claims: &[(ImageOrTag, &'a Claimed)],
    ) -> Vec<(&'a Claimed, CallOutcome)> {
        let ids: Vec<_> = claims.iter().map(|(id, _)| id.clone()).collect();
        match self.registries.delete(registry, repository, &ids).await {
            Ok(deleted) => claims
                .iter()
                .zip(deleted)
                .map(|((_, claimed), deleted)| (*claimed, outcome(claimed, deleted)))
                .collect(),
            Err(failure) => claims.iter().map(|(_, claimed)| (*claimed, CallOutcome::of(&failure))).collect(),
        }
    }

    async fn archive<'a>(&self, claimed: &'a Claimed) -> (&'a Claimed, CallOutcome) {
        let Deletion { registry, image, .. } = &claimed.deletion;
        let outcome = match self.registries.archive(registry, image).await {
            Ok(()) => CallOutcome::Done("ECR archived it".to_owned()),
            Err(failure) => CallOutcome::of(&failure),
        };
        (claimed, outcome)
    }

    /// Stores the outcome of a claimed deletion.
    async fn finish(
        &self,
        claimed: &Deletion,
        outcome: CallOutcome,
        now: Timestamp,
    ) -> Result<DeletionStatus, store::Error> {
        let mut deletion = claimed.clone();
        match outcome {
            CallOutcome::Done(why) => {
                // Record the fact first, so that every deletion with status `done` is in the lineage.
                self.record_done(&deletion, claimed.changed_at).await?;
                deletion.settle(DeletionStatus::Done, Check::passed(CheckName::Call, why), now);
                info!(
                    action = deletion.action.map(Action::as_str),
                    policies = deletion.policies.iter().cloned().collect::<Vec<_>>().join(", "),
                    "replica deleted"
                );
            }
            CallOutcome::Retry(check)
                if check.check == CheckName::Manifest && now.duration_since(deletion.since) > MAX_REFERENCE_WAIT =>
            {
                deletion.settle(DeletionStatus::Kept, check, now);
            }
            CallOutcome::Retry(check) => deletion.retry_later(check, now),
            CallOutcome::Unknown(why) => {
                deletion.retry_later(Check::stopped(CheckName::Call, why), now);
                // ECR may have executed the call: the next run must know that it was ours, so the claim stays.
                deletion.status = DeletionStatus::Executing;
                deletion.changed_at = claimed.changed_at;
            }
            CallOutcome::Failed(why) => {
                self.alert_failure(&deletion, &why, now).await?;
                deletion.settle(DeletionStatus::Failed, Check::stopped(CheckName::Call, why), now);
            }
        }
        if deletion.attempts == ALERT_AFTER_ATTEMPTS {
            let why = deletion.checks.last().map(|check| check.why.clone()).unwrap_or_default();
            self.alert_failure(&deletion, &why, now).await?;
        }
        self.table.put_deletion(&mut deletion).await?;
        Ok(deletion.status)
    }

    async fn alert_failure(&self, deletion: &Deletion, why: &str, now: Timestamp) -> Result<(), store::Error> {
        let subject = format!("{}/{}", deletion.registry, deletion.image.repository);
        error!(error = why, "replica not deleted: ECR refused");
        self.raise_alert(AlertKind::DeletionFailed, &subject, format!("{}: {why}", deletion.image), now).await
    }

    /// Records the executed deletion in the lineage, with this product as its cause.
    async fn record_done(&self, deletion: &Deletion, at: Timestamp) -> Result<(), store::Error> {
        let cause = Cause::Mirror { source: deletion.source.clone(), policies: deletion.policies.clone() };
        let what = match (deletion.action, &deletion.tag) {
            (Some(Action::Archive), _) => What::Archived { cause },
            (_, Some(tag)) => What::TagsDeleted { tags: [tag.clone()].into(), cause },
            (_, None) => What::ImageDeleted { cause },
        };
        let tag = deletion.tag.as_ref().map_or("image", Tag::as_str);
        self.record(deletion, &deletion.registry, at, format!("mirror-{tag}"), what).await
    }

    /// Records an observation in the lineage.
    async fn observe(
        &self,
        deletion: &Deletion,
        registry: &Registry,
        what: What,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        self.record(deletion, registry, now, "mirror-looked".to_owned(), what).await
    }

    async fn record(
        &self,
        deletion: &Deletion,
        registry: &Registry,
        at: Timestamp,
        event_id: String,
        what: What,
    ) -> Result<(), store::Error> {
        let time = whole_seconds(at);
        let subject = Subject::Image(deletion.image.clone());
        self.table.record(&[&Fact { time, registry: registry.clone(), event_id, subject, what }]).await.map(drop)
    }
}

fn taken(status: DeletionStatus) -> (Option<DeletionStatus>, Option<Claimed>) {
    (Some(status), None)
}

/// Whether an earlier call of this function, whose response was lost, took effect.
fn took_effect(claimed: &Deletion, replica: &Observation) -> bool {
    match (replica, &claimed.tag) {
        (Observation::Missing | Observation::NoRepository, _) => true,
        (Observation::Present(seen), Some(tag)) => !seen.tags.contains(tag),
        (Observation::Present(seen), None) => claimed.action == Some(Action::Archive) && seen.archived,
        (Observation::Unreadable(_) | Observation::NotAsked, _) => false,
    }
}

/// The outcome of a call to ECR for one claim.
#[derive(Debug)]
enum CallOutcome {
    /// ECR executed it, or the image was already missing.
    Done(String),
    /// ECR refused for now; a later run tries again.
    Retry(Check),
    /// ECR may have executed it; a later run reads the replica first.
    Unknown(String),
    /// ECR refused permanently.
    Failed(String),
}

impl CallOutcome {
    /// The outcome for each claim of a call that failed as a whole.
    fn of(failure: &CallError) -> Self {
        let why = chain(failure);
        match failure.code.as_deref() {
            // ECR failed internally, or no response arrived: the call may have taken effect.
            None | Some("ServerException" | "InternalFailure" | "InternalServerError" | "ServiceUnavailable") => {
                Self::Unknown(format!("no answer: {why}"))
            }
            Some(
                "ImageStorageClassUpdateNotSupportedException" | "InvalidParameterException" | "ValidationException",
            ) => Self::Failed(why),
            Some("ImageNotFoundException" | "RepositoryNotFoundException") => {
                Self::Done("it was gone already".to_owned())
            }
            Some(_) => Self::Retry(Check::stopped(CheckName::Call, why)),
        }
    }
}

/// The outcome for one id in the response of a call.
fn outcome(claimed: &Claimed, deleted: DeleteResult) -> CallOutcome {
    match deleted {
        DeleteResult::Gone(Some(digest)) if digest != claimed.deletion.image.digest => {
            CallOutcome::Failed(format!("the tag moved at the last moment: it was removed from {digest}"))
        }
        DeleteResult::Gone(_) => CallOutcome::Done("ECR deleted it".to_owned()),
        DeleteResult::Unmentioned => CallOutcome::Unknown("ECR's answer does not mention it".to_owned()),
        DeleteResult::Refused { code, reason } => match refusal(&code) {
            DeletionRefusal::Gone => CallOutcome::Done("it was gone already".to_owned()),
            DeletionRefusal::IndexFirst => {
                CallOutcome::Retry(Check::stopped(CheckName::Manifest, format!("{code}: {reason}")))
            }
            DeletionRefusal::ForNow => CallOutcome::Retry(Check::stopped(CheckName::Call, format!("{code}: {reason}"))),
            DeletionRefusal::ForGood => CallOutcome::Failed(format!("{code}: {reason}")),
        },
    }
}
