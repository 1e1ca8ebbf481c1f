//! Preview and explanation of what a policy would do with replicas. Nothing here changes a registry.

use std::collections::{BTreeMap, BTreeSet};

use decide::Planner;
use domain::{
    deletion::{Check, Deletion, DeletionIntent, DeletionStatus, Verdict},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement},
    observation::Candidate,
    plan::Step,
    policy::Action,
};
use jiff::{SignedDuration, Timestamp};
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
    /// The ids of the policies that decided.
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
    let (table, since) = (planner.table, now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH));
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
    let plan = planner.plan(candidates, now).await?;
    let entry = |step: Step| {
        let recorded = recorded.contains(&key(&step.writes.deletion));
        PreviewEntry::of(step, recorded)
    };
    let mut replicas: Vec<_> = plan.steps.into_iter().map(entry).collect();
    replicas.sort_by(|a, b| {
        (a.planned_action, &a.image, &a.registry, &a.tag).cmp(&(b.planned_action, &b.image, &b.registry, &b.tag))
    });
    let mut totals: BTreeMap<PreviewAction, Total> = BTreeMap::new();
    for replica in &replicas {
        let total = totals.entry(replica.planned_action).or_default();
        total.images += 1;
        total.bytes += replica.size_bytes.unwrap_or(0);
    }
    Ok(Preview { replicas, totals, next_cursor: next.map(Cursor) })
}

/// Adds the recorded deletions to the candidates.
async fn recorded(
    table: &Table,
    since: Timestamp,
    from: Option<deletions::DeletionsPageToken>,
    most: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<Option<PreviewPageToken>, Error> {
    let filter = deletions::DeletionFilter { statuses: DeletionStatus::ALL.into(), source: None, since };
    let page = deletions::read_page(table, &filter, from, most).await?;
    for deletion in page.deletions {
        let lineage = table.image_record(&deletion.image).await?.lineage;
        candidates.push(Candidate { deletion, lineage });
    }
    Ok(Some(
        page.next_cursor.map_or(PreviewPageToken::Orphans(None), |Cursor(place)| PreviewPageToken::Recorded(place)),
    ))
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
    let mut pager = PageRequest { registry: None, repository: None, from, most }.through(table.registries().await?);
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
    fn of(Step { decision, writes }: Step, recorded: bool) -> Self {
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
    /// The recorded deletions of the image and of its tags, with their reasons.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub recorded: Vec<Deletion>,
    /// The decisions from fresh reads now.
    pub now: Vec<JudgedDeletion>,
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

/// Answers `policy explain`, with the policy of `planner`.
///
/// # Errors
/// When the image is not a replica in the registry, or the table cannot be read.
pub async fn explain(
    planner: &Planner<'_>,
    reference: &Reference,
    registry: &Registry,
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
        return Ok(Explained { image, registry: registry.clone(), recorded, now: judged.collect() });
    }
    match last {
        Some(image) => Err(Error::NoReplica { image, registry: registry.clone() }),
        None => Err(Error::UnknownImage { asked: reference.to_string(), repository: None }),
    }
}
