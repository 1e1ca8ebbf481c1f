//! Preview and explanation of what a policy would do with replicas. Nothing here changes a registry.

use std::collections::{BTreeMap, BTreeSet};

use decide::Planner;
use domain::{
    deletion::{Check, Deletion, DeletionIntent, DeletionStatus, Verdict},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement},
    observation::Candidate,
    plan::{Mode, Plan, Step},
    policy::Action,
    settings::{MirrorSettings, PolicyInUse},
};
use jiff::{SignedDuration, Timestamp};
use policy::Policy;
use serde::{Deserialize, Serialize};
use store::{ImageRecord, Table};
use utoipa::ToSchema;

use crate::{
    answer,
    cursor::Cursor,
    deletions,
    described::{DescribedDeletion, described},
    error::Error,
    paging::{self, PageRequest},
    reference::Reference,
};

/// What a policy would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    /// The replicas, in the order of their planned actions.
    pub replicas: Vec<PreviewEntry>,
    /// The number and size of replicas on this page, by planned action.
    pub totals: BTreeMap<PreviewAction, Total>,
    /// The cursor for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<PreviewPageToken>>,
}

/// The planned action for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreviewAction {
    /// The replica would be deleted.
    Delete,
    /// The replica would be moved to the archive storage class.
    Archive,
    /// The tag would be removed, and the image kept.
    Untag,
    /// The replica would be kept.
    Keep,
    /// The replica is already missing.
    Gone,
    /// Indeterminate: a registry could not be read, so the replica would be kept.
    Unknown,
}

impl PreviewAction {
    /// The planned action in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Archive => "archive",
            Self::Untag => "untag",
            Self::Keep => "keep",
            Self::Gone => "already gone",
            Self::Unknown => "indeterminate",
        }
    }
}

/// The number and size of replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Total {
    /// The number of replicas.
    pub images: usize,
    /// The sum of sizes that ECR reports, in bytes; replicas share layers, so deleting them may free less.
    pub bytes: u64,
}

/// The planned action for one replica.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewEntry {
    /// The planned action.
    pub planned_action: PreviewAction,
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The tag, if the action is for a tag and not for the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// True if a deletion is recorded, false if the replica is an orphan without one.
    pub recorded: bool,
    /// The size that ECR reports, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The policies that decided, by name.
    pub policies: BTreeSet<String>,
    /// The reason: the text of the deciding check.
    pub why: String,
}

/// The position at which the next page starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviewPageToken {
    /// Continue with the recorded deletions.
    Recorded(deletions::DeletionsPageToken),
    /// Continue with the orphans; without a token, from the first.
    Orphans(Option<paging::PageToken>),
}

/// Answers `policy preview`: what the policy of `planner` would do with deletions recorded in a period until now, and
/// with orphans, decided from fresh reads. A page has at most `most` replicas; the breaker's limits apply to each page
/// separately.
///
/// # Errors
/// When the table cannot be read. Replicas that depend on a registry that cannot be read are indeterminate.
pub async fn preview(
    planner: &Planner<'_>,
    since: SignedDuration,
    now: Timestamp,
    from: Option<PreviewPageToken>,
    most: usize,
) -> Result<Preview, Error> {
    let (candidates, recorded, next) = candidates(planner.table, since, now, from, most).await?;
    let replicas = entries(planner.plan(candidates, now).await?, &recorded);
    let mut totals = BTreeMap::new();
    for replica in &replicas {
        replica.add_to(&mut totals, replica.planned_action);
    }
    Ok(Preview { replicas, totals, next_cursor: next.map(Cursor) })
}

/// The recorded deletions of a period until now, and the orphans without one; the keys of those that are recorded; and
/// where the next page starts.
async fn candidates(
    table: &Table,
    since: SignedDuration,
    now: Timestamp,
    from: Option<PreviewPageToken>,
    most: usize,
) -> Result<(Vec<Candidate>, BTreeSet<Key>, Option<PreviewPageToken>), Error> {
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut candidates = Vec::new();
    let next = match from {
        None => recorded(table, since, None, most, &mut candidates).await?,
        Some(PreviewPageToken::Recorded(place)) => recorded(table, since, Some(place), most, &mut candidates).await?,
        Some(PreviewPageToken::Orphans(place)) => Some(PreviewPageToken::Orphans(place)),
    };
    let recorded: BTreeSet<_> = candidates.iter().map(|candidate: &Candidate| key(&candidate.deletion)).collect();
    let next = match next {
        Some(PreviewPageToken::Orphans(place)) if candidates.len() < most => {
            orphans(table, since, now, place, most - candidates.len(), &mut candidates).await?
        }
        next => next,
    };
    Ok((candidates, recorded, next))
}

/// The steps of a plan, in the order of the planned actions.
fn entries(plan: Plan, recorded: &BTreeSet<Key>) -> Vec<PreviewEntry> {
    let entry = |step: Step| {
        let recorded = recorded.contains(&key(&step.writes.deletion));
        PreviewEntry::of(step, recorded)
    };
    let mut replicas: Vec<_> = plan.steps.into_iter().map(entry).collect();
    replicas.sort_by_key(|entry| (entry.planned_action, entry.key()));
    replicas
}

/// What changes from one policy to another.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyDiff {
    /// The replicas for which another action is planned, or the same for another reason.
    pub changes: Vec<PolicyChange>,
    /// The number and size of the replicas that change, by the actions before and after.
    pub changed: Vec<ChangeTotal>,
    /// The number and size of the replicas for which nothing changes, by planned action.
    pub unchanged: BTreeMap<PreviewAction, Total>,
}

/// What changes for one replica.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyChange {
    /// The planned action under the old policy.
    pub before: PreviewAction,
    /// The policies that decided under the old policy.
    pub policies_before: BTreeSet<String>,
    /// The reason under the old policy.
    pub why_before: String,
    /// The planned action under the new policy.
    pub after: PreviewEntry,
}

/// The number and size of the replicas with the same change.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeTotal {
    /// The planned action under the old policy.
    pub before: PreviewAction,
    /// The planned action under the new policy.
    pub after: PreviewAction,
    /// The number and size.
    #[serde(flatten)]
    pub total: Total,
}

/// Answers `policy diff`: what the policy of `new` would do otherwise than that of `old` with deletions recorded in a
/// period until now, and with orphans. Both decide from the same reads.
///
/// # Errors
/// When the table cannot be read.
pub async fn diff(
    old: &Planner<'_>,
    new: &Planner<'_>,
    since: SignedDuration,
    now: Timestamp,
) -> Result<PolicyDiff, Error> {
    let (candidates, recorded, _) = candidates(old.table, since, now, None, usize::MAX).await?;
    let observations = old.observe(candidates, now).await?;
    let before = entries(old.plan_from(&observations, now), &recorded);
    let mut before: BTreeMap<_, _> = before.into_iter().map(|entry| (entry.key(), entry)).collect();
    let (mut changes, mut changed, mut unchanged) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for after in entries(new.plan_from(&observations, now), &recorded) {
        let Some(before) = before.remove(&after.key()) else { continue };
        let acts = |entry: &PreviewEntry| entry.planned_action < PreviewAction::Keep;
        // That a replica is kept for another reason is no change; that it is deleted at another time is one.
        if before.planned_action == after.planned_action && (!acts(&after) || before.why == after.why) {
            after.add_to(&mut unchanged, after.planned_action);
            continue;
        }
        after.add_to(&mut changed, (before.planned_action, after.planned_action));
        let PreviewEntry { planned_action, policies, why, .. } = before;
        changes.push(PolicyChange { before: planned_action, policies_before: policies, why_before: why, after });
    }
    changes.sort_by_key(|change| (change.before, change.after.planned_action));
    let total = |((before, after), total)| ChangeTotal { before, after, total };
    Ok(PolicyDiff { changes, changed: changed.into_iter().map(total).collect(), unchanged })
}

/// Adds the recorded deletions to the candidates.
async fn recorded(
    table: &Table,
    since: Timestamp,
    from: Option<deletions::DeletionsPageToken>,
    most: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<Option<PreviewPageToken>, Error> {
    let (deletions, next) = deletions::recorded_page(table, since, from, most).await?;
    for deletion in deletions {
        let lineage = table.image_record(&deletion.image).await?.lineage;
        candidates.push(Candidate { deletion, lineage });
    }
    Ok(Some(next.map_or(PreviewPageToken::Orphans(None), PreviewPageToken::Recorded)))
}

/// Adds the orphans without a recorded deletion to the candidates.
async fn orphans(
    table: &Table,
    since: Timestamp,
    now: Timestamp,
    from: Option<paging::PageToken>,
    most: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<Option<PreviewPageToken>, Error> {
    let mut pager = PageRequest { registry: None, repositories: None, from, most }.through(table.registries().await?);
    while let Some(page) = pager.next_page() {
        let (orphans, page_end) = table.orphans(&page.registry, page.bounds()).await?;
        for orphan in orphans {
            let ImageRecord { lineage, deletions, .. } = table.image_record(&orphan.image).await?;
            let Some(deletion) = hypothetical_deletion(&lineage, &page.registry, now) else { continue };
            let known = |known: &Deletion| known.replica_key() == deletion.replica_key() && known.changed_at >= since;
            if !deletions.iter().any(known) {
                candidates.push(Candidate { deletion, lineage });
            }
        }
        pager.end_page(page, page_end);
    }
    Ok(pager.token().map(|place| PreviewPageToken::Orphans(Some(place))))
}

impl PreviewEntry {
    pub(crate) fn of(Step { decision, writes }: Step, recorded: bool) -> Self {
        let deletion = writes.deletion;
        let planned_action = match (&decision.verdict, decision.action) {
            (Verdict::Retry, None) => PreviewAction::Unknown,
            (Verdict::AlreadyGone, _) => PreviewAction::Gone,
            (Verdict::Keep | Verdict::SourceHasImage | Verdict::Retry, _) | (_, None) => PreviewAction::Keep,
            (_, Some(Action::Delete)) => PreviewAction::Delete,
            (_, Some(Action::Archive)) => PreviewAction::Archive,
            (_, Some(Action::Untag)) => PreviewAction::Untag,
        };
        Self {
            planned_action,
            image: deletion.image,
            registry: deletion.registry,
            tag: deletion.tag,
            recorded,
            size_bytes: decision.size_bytes,
            policies: decision.policies,
            why: decision.checks.last().map(|check| check.why.clone()).unwrap_or_default(),
        }
    }

    fn key(&self) -> Key {
        (self.image.clone(), self.registry.clone(), self.tag.clone())
    }

    /// Counts the replica in the total of its kind.
    pub(crate) fn add_to<K: Ord>(&self, totals: &mut BTreeMap<K, Total>, kind: K) {
        let total = totals.entry(kind).or_default();
        total.images += 1;
        total.bytes += self.size_bytes.unwrap_or(0);
    }
}

type Key = (Image, Registry, Option<Tag>);

fn key(deletion: &Deletion) -> Key {
    (deletion.image.clone(), deletion.registry.clone(), deletion.tag.clone())
}

/// A deletion of an orphan for which none is recorded, from the source that deleted the image last.
fn hypothetical_deletion(lineage: &Lineage, registry: &Registry, now: Timestamp) -> Option<Deletion> {
    let replica = lineage.placements.get(registry)?;
    let lost = |source: &Registry| lineage.placements.get(source).and_then(Placement::gone_at);
    let (source, arrived) =
        replica.replicated().into_iter().max_by_key(|(source, arrived)| (lost(source), *arrived))?;
    let since = lost(source).unwrap_or(now).max(arrived);
    let intent = DeletionIntent { registry: registry.clone(), tag: None, since };
    let mut deletion = Deletion::open(None, &lineage.image, source, intent, now)?;
    // Pending regardless of the age of the loss: the operator asked for this evaluation.
    deletion.status = DeletionStatus::Pending;
    Some(deletion)
}

/// Why a replica was or would be kept or deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The policy that was evaluated now.
    pub policy: EvaluatedPolicy,
    /// The recorded deletions of the image and of its tags, with their reasons.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub recorded: Vec<Deletion>,
    /// The decisions from fresh reads now.
    pub now: Vec<JudgedDeletion>,
}

/// A policy that was evaluated.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvaluatedPolicy {
    /// The name of its file.
    pub name: String,
    /// The SHA-256 hash of its text, as `sha256sum FILE` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The mode in which it was evaluated.
    pub mode: Mode,
    /// Since when `mirror` runs with this policy and mode; absent if the caller named the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror_since: Option<Timestamp>,
}

/// A decision from fresh reads now.
#[derive(Debug, Serialize, ToSchema)]
pub struct JudgedDeletion {
    /// The tag, if the decision is for a tag and not for the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The planned action.
    pub planned_action: PreviewAction,
    /// The checks, in order; the last one decided.
    pub checks: Vec<Check>,
}

/// With what `mirror` runs, and its policy.
///
/// # Errors
/// When `mirror` has not run yet, its policy is invalid, or the table cannot be read.
pub async fn deployed(table: &Table) -> Result<(MirrorSettings, Policy), Error> {
    let settings = table.mirror_settings().await?.ok_or(Error::NoMirror)?;
    let PolicyInUse { name, text, problem, .. } = &settings.policy;
    let invalid = |problem: &str| Error::MirrorsPolicyInvalid { problem: problem.to_owned() };
    let text = text.as_ref().ok_or_else(|| invalid(problem.as_deref().unwrap_or(name)))?;
    let policy = Policy::load(name, text).map_err(|error| invalid(&error.to_string()))?;
    Ok((settings, policy))
}

/// Answers `policy explain`, with the policy and the mode of `planner`. `mirror_since` is when `mirror` began to run with
/// them; `None` if the caller named the policy.
///
/// # Errors
/// When the image is not a replica in the registry, or the table cannot be read.
pub async fn explain(
    planner: &Planner<'_>,
    reference: &Reference,
    registry: &Registry,
    mirror_since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Explained, Error> {
    let table = planner.table;
    // A tag may point to different images in different registries: use the one that is a replica in this registry.
    let mut last = None;
    for image in answer::resolve(table, reference).await? {
        let image_record = table.image_record(&image).await?;
        let mut recorded = image_record.deletions;
        recorded.retain(|deletion| deletion.registry == *registry);
        let mut deletions = recorded.clone();
        if deletions.iter().all(|deletion| deletion.tag.is_some()) {
            deletions.extend(hypothetical_deletion(&image_record.lineage, registry, now));
        }
        if deletions.is_empty() {
            last = Some(image);
            continue;
        }
        let candidate = |deletion| Candidate { deletion, lineage: image_record.lineage.clone() };
        let plan = planner.plan(deletions.into_iter().map(candidate).collect(), now).await?;
        let judged = plan.steps.into_iter().map(|step| {
            let (tag, checks) = (step.writes.deletion.tag.clone(), step.decision.checks.clone());
            JudgedDeletion { tag, planned_action: PreviewEntry::of(step, true).planned_action, checks }
        });
        let PolicyInUse { name, sha256, .. } = PolicyInUse::new(planner.policy.name(), Ok(planner.policy.text()));
        let policy = EvaluatedPolicy { name, sha256, mode: planner.mode, mirror_since };
        return Ok(Explained { image, registry: registry.clone(), policy, recorded, now: judged.collect() });
    }
    match last {
        Some(image) => Err(Error::NoReplica { image, registry: registry.clone() }),
        None => Err(Error::UnknownImage { asked: reference.to_string(), repository: None }),
    }
}
