//! The plan: what one run does about the deletions that are due, as data.
//!
//! [`plan`] makes every choice, from what was read. The function `mirror` stores its steps, makes its calls, and
//! stores what follows from ECR's answers ([`Deletion::after_call`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    breaker::{Breaker, BreakerLimits, CountKey, Planned},
    deletion::{
        Ask, CallOutcome, CheckName, Checked, Decision, Deletion, DeletionContext, DeletionStatus, DeletionWrites,
        ImageOrTag, Verdict, judge,
    },
    fact::{StorageClass, What, WorkItem},
    image::{Digest, Image, Registry, RepositoryName},
    lineage::{Placement, PlacementStatus},
    named::named,
    observation::{Candidate, Observation, Observations},
    policy::{Action, ManifestKind},
};

/// The maximum number of images in one call.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html>
pub const IDS_PER_CALL: usize = 100;

named! {
    /// Whether permitted deletions are executed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Mode {
        /// Decides and records what would be done, and changes nothing in any registry.
        #[default]
        Observe = "observe",
        /// Executes what the policy permits.
        Enforce = "enforce",
    }
}

/// What one run does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The breakers that count or open.
    pub breakers: Vec<BreakerStep>,
    /// One step for each deletion. A step whose deletion is called for is a claim.
    pub steps: Vec<Step>,
    /// The calls to ECR, in rounds: each round waits for the one before it.
    pub rounds: Vec<Vec<Call>>,
}

/// What is stored about the breaker of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStep {
    /// The source.
    pub source: Registry,
    /// The breaker, with the deletions of the plan counted.
    pub breaker: Breaker,
    /// The alert, if the breaker opens.
    pub opened: Option<Alert>,
    /// The counts that changed.
    pub counted: BTreeSet<CountKey>,
}

/// What is done about one deletion, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The reasons.
    pub decision: Decision,
    /// What is written.
    pub writes: DeletionWrites,
}

/// One call to ECR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The registry.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// What the call is about.
    pub targets: Vec<Target>,
}

/// An operation of ECR that changes a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `BatchDeleteImage`, for up to [`IDS_PER_CALL`] images or tags.
    Delete,
    /// `UpdateImageStorageClass`, for one image.
    Archive,
}

/// One image or tag of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The number of the step that claims the deletion. Without the claim, ECR is not called for it.
    pub step: usize,
    /// The image or the tag.
    pub id: ImageOrTag,
    /// The subject of a referrer, and the number of the step that deletes it: until that is done, ECR is not called for
    /// the referrer.
    pub after: Option<(usize, Digest)>,
}

/// A judged deletion.
struct Judged<'a> {
    candidate: &'a Candidate,
    replica: &'a Observation,
    decision: Decision,
    counted_at: Option<Timestamp>,
    after: Option<(usize, Digest)>,
}

/// Decides everything about the deletions that were read.
#[must_use]
pub fn plan(observations: &Observations, ask: Ask<'_>, mode: Mode, limits: &BreakerLimits, now: Timestamp) -> Plan {
    let mut judged = judge_all(observations, ask, now);
    let breakers = count(&mut judged, observations, limits, now);
    for one in judged.iter_mut().filter(|one| mode == Mode::Observe && one.decision.executes()) {
        let action = one.decision.action.map(Action::as_str).unwrap_or_default();
        let why = format!("observe: would {action} it now, nothing is touched");
        one.decision.note(CheckName::Mode, Checked::Stopped(Verdict::Keep, why));
    }
    let writes: Vec<_> = judged.iter().map(|one| one.writes(observations, now)).collect();
    let rounds = rounds(&judged, &writes);
    let steps = judged.into_iter().zip(writes).map(|(one, writes)| Step { decision: one.decision, writes });
    Plan { breakers, steps: steps.collect(), rounds }
}

/// Evaluates each deletion, in the order of their images. Referrers come last, because they depend on their subjects.
fn judge_all<'a>(observations: &'a Observations, ask: Ask<'_>, now: Timestamp) -> Vec<Judged<'a>> {
    let mut candidates: Vec<_> = observations.candidates.iter().collect();
    candidates.sort_by_key(|Candidate { deletion, .. }| {
        let replica = observations.image(&deletion.registry, &deletion.image);
        (kind(replica) == ManifestKind::Referrer, &deletion.image, deletion.replica_key())
    });
    let mut going: BTreeMap<Image, BTreeMap<Registry, usize>> = BTreeMap::new();
    let mut judged = Vec::new();
    for (step, candidate) in candidates.into_iter().enumerate() {
        let Candidate { deletion, lineage } = candidate;
        let context = DeletionContext { deletion, lineage, now, observations, going: &going };
        let decision = judge(&context, ask);
        let replica = observations.image(&deletion.registry, &deletion.image);
        let after = replica.seen().and_then(|seen| seen.subject.as_ref()).and_then(|digest| {
            let subject = Image { repository: deletion.image.repository.clone(), digest: digest.clone() };
            Some((context.goes_first(&subject)?, subject.digest))
        });
        if decision.executes() && deletion.tag.is_none() {
            going.entry(deletion.image.clone()).or_default().insert(deletion.registry.clone(), step);
        }
        judged.push(Judged { candidate, replica, decision, counted_at: deletion.counted_at, after });
    }
    judged
}

fn kind(replica: &Observation) -> ManifestKind {
    replica.seen().map(|seen| seen.kind).unwrap_or_default()
}

/// Counts the deletions to be executed, source by source. Those that a breaker does not let through are on hold.
fn count(
    judged: &mut [Judged<'_>],
    observations: &Observations,
    limits: &BreakerLimits,
    now: Timestamp,
) -> Vec<BreakerStep> {
    let mut by_source: BTreeMap<&Registry, Vec<&mut Judged<'_>>> = BTreeMap::new();
    for one in judged.iter_mut().filter(|one| one.decision.executes()) {
        by_source.entry(&one.candidate.deletion.source).or_default().push(one);
    }
    let mut steps = Vec::new();
    for (source, due) in by_source {
        let mut breaker = observations.breakers.get(source).cloned().unwrap_or_default();
        let planned: Vec<_> = due.iter().map(|one| one.planned(observations, &breaker, limits, now)).collect();
        let may = breaker.count(&planned, limits, now);
        let opened = breaker.opening(source);
        let mut counted = BTreeSet::new();
        for ((one, planned), may) in due.into_iter().zip(planned).zip(may) {
            if may {
                one.counted_at = one.counted_at.filter(|_| planned.images == 0).or(Some(now));
                counted.insert(planned.key);
            } else {
                let why = opened.as_ref().map(|alert| alert.message.clone()).unwrap_or_default();
                one.decision.note(CheckName::Breaker, Checked::Stopped(Verdict::Hold(None), why));
            }
        }
        steps.push(BreakerStep { source: source.clone(), breaker, opened, counted });
    }
    steps
}

impl Judged<'_> {
    /// What the breaker counts, if the deletion is executed.
    fn planned(
        &self,
        observations: &Observations,
        breaker: &Breaker,
        limits: &BreakerLimits,
        now: Timestamp,
    ) -> Planned {
        let Deletion { source, image, .. } = &self.candidate.deletion;
        let left = observations.repository(source, &image.repository).and_then(|found| found.listed);
        let counts = self.counted_at.is_some_and(|counted_at| breaker.still_counts(counted_at, limits, now));
        Planned { key: self.candidate.count_key(), images: u32::from(!counts), left }
    }

    /// What is written about the deletion before any call.
    fn writes(&self, observations: &Observations, now: Timestamp) -> DeletionWrites {
        let (deletion, decision) = (&self.candidate.deletion, &self.decision);
        if deletion.status == DeletionStatus::Executing {
            if deletion.took_effect(self.replica) {
                return deletion.after_call(CallOutcome::Done("our call took effect".to_owned()), now);
            }
            if decision.verdict == Verdict::Retry {
                // The outcome of the earlier call is still unknown.
                let why = decision.checks.last().map(|check| check.why.clone()).unwrap_or_default();
                return deletion.after_call(CallOutcome::Unknown(why), now);
            }
        }
        let mut after = deletion.clone();
        after.counted_at = self.counted_at;
        after.apply(decision, now);
        let mut writes = DeletionWrites::new(deletion.status, after);
        if let Some((registry, what)) = self.correction(observations) {
            writes.correction = Some(deletion.fact(registry, now, "mirror-looked".to_owned(), what));
            if decision.verdict == Verdict::SourceHasImage {
                writes.work_item = Some(WorkItem::SourceLost(deletion.source.clone()));
            }
        }
        writes
    }

    /// What the lineage lacks: that the replica is gone, or that the source has the image after all. Then the loss of
    /// the source is evaluated again.
    fn correction(&self, observations: &Observations) -> Option<(&Registry, What)> {
        let Candidate { deletion, lineage } = self.candidate;
        match self.decision.verdict {
            Verdict::AlreadyGone => {
                let is_gone = matches!(self.replica, Observation::Missing | Observation::NoRepository);
                (is_gone && deletion.tag.is_none()).then_some((&deletion.registry, What::FOUND_MISSING))
            }
            Verdict::SourceHasImage => {
                let at_source = lineage.placements.get(&deletion.source).map(Placement::status);
                if matches!(at_source, Some(PlacementStatus::Present | PlacementStatus::Archived)) {
                    return None;
                }
                let storage = match observations.image(&deletion.source, &deletion.image) {
                    Observation::Present(seen) if seen.archived => StorageClass::Archive,
                    _ => StorageClass::Standard,
                };
                let (tags, without) = (BTreeSet::new(), BTreeSet::new());
                let what = What::Observed { storage: Some(storage), tags, without, complete: false, source: None };
                Some((&deletion.source, what))
            }
            _ => None,
        }
    }

    /// The operation that executes the deletion, and on what; `None` if it does not run.
    fn operation(&self, writes: &DeletionWrites) -> Option<(Operation, ImageOrTag)> {
        let image = || ImageOrTag::Image(writes.deletion.image.digest.clone());
        match (&self.decision.verdict, writes.deletion.status, &writes.deletion.tag) {
            (Verdict::Execute(Action::Delete), DeletionStatus::Executing, None) => Some((Operation::Delete, image())),
            (Verdict::Execute(Action::Archive), DeletionStatus::Executing, None) => Some((Operation::Archive, image())),
            (Verdict::Execute(Action::Untag), DeletionStatus::Executing, Some(tag)) => {
                Some((Operation::Delete, ImageOrTag::Tag(tag.clone())))
            }
            _ => None,
        }
    }
}

/// The calls for all claims: indexes before their children, subjects before their referrers.
fn rounds(judged: &[Judged<'_>], writes: &[DeletionWrites]) -> Vec<Vec<Call>> {
    let mut targets: BTreeMap<(usize, &Registry, &RepositoryName, Operation), Vec<Target>> = BTreeMap::new();
    for (step, (one, writes)) in judged.iter().zip(writes).enumerate() {
        let Some((operation, id)) = one.operation(writes) else { continue };
        let Deletion { registry, image, .. } = &one.candidate.deletion;
        let round = match kind(one.replica) {
            ManifestKind::Index => 0,
            ManifestKind::Image => 1,
            ManifestKind::Referrer => 2,
        };
        let batch = targets.entry((round, registry, &image.repository, operation)).or_default();
        batch.push(Target { step, id, after: one.after.clone() });
    }
    let mut rounds: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
    for ((round, registry, repository, operation), targets) in targets {
        let at_once = if operation == Operation::Delete { IDS_PER_CALL } else { 1 };
        for targets in targets.chunks(at_once) {
            let (registry, repository, targets) = (registry.clone(), repository.clone(), targets.to_vec());
            rounds.entry(round).or_default().push(Call { operation, registry, repository, targets });
        }
    }
    rounds.into_values().collect()
}
