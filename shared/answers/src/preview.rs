//! What a policy would do with replicas. Nothing here touches anything.

use std::collections::{BTreeMap, BTreeSet};

use decide::{Candidate, Decided, Decider};
use domain::{
    deletion::{Check, Deletion, Status, Verdict, Wanted},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement},
    policy::Action,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Dossier, Table};
use utoipa::ToSchema;

use crate::{
    answer,
    cursor::Cursor,
    deletions,
    error::Error,
    reference::Reference,
    walk::{self, Stretch},
};

/// What a policy would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    /// Each replica, by what would become of it.
    pub replicas: Vec<Previewed>,
    /// The sums.
    pub totals: BTreeMap<Would, Total>,
    /// Where the preview goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<Cursor<Place>>,
}

/// What would become of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// Deleted.
    Delete,
    /// Moved to the archive storage class.
    Archive,
    /// Left without a tag.
    Untag,
    /// Kept.
    Keep,
    /// Gone already.
    Gone,
    /// Nobody can tell: a registry could not be read. That keeps it.
    Unknown,
}

/// How many and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Total {
    /// Replicas.
    pub images: usize,
    /// Their sizes as ECR tells them; replicas share layers, so less may be freed.
    pub bytes: u64,
}

/// What would become of one replica.
#[derive(Debug, Serialize, ToSchema)]
pub struct Previewed {
    /// What.
    pub would: Would,
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// The tag, if only a tag is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Whether the loss was recorded as a deletion, or the replica is an orphan without one.
    pub recorded: bool,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The policies that decided.
    pub policies: BTreeSet<String>,
    /// The check that decided.
    pub why: String,
}

/// Where a preview goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Among the recorded deletions.
    Recorded(deletions::Place),
    /// Among the orphans, from the first on if there is no place.
    Orphans(Option<walk::Place>),
}

/// Answers `policy preview`: what the policy of `decider` would do with deletions that were recorded in a time until now, and
/// with orphans, judged now from fresh reads; of so many at most. What is too much at once is judged for each part by itself.
///
/// # Errors
/// When the table cannot be read. A registry that cannot be read leaves its replicas unknown.
pub async fn preview(
    decider: &Decider<'_>,
    since: SignedDuration,
    now: Timestamp,
    from: Option<Place>,
    most: usize,
) -> Result<Preview, Error> {
    let (table, since) = (decider.table, now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH));
    let mut candidates = Vec::new();
    let next = match from {
        None => recorded(table, since, None, most, &mut candidates).await?,
        Some(Place::Recorded(place)) => recorded(table, since, Some(place), most, &mut candidates).await?,
        Some(Place::Orphans(place)) => Some(Place::Orphans(place)),
    };
    let recorded: BTreeSet<_> = candidates.iter().map(|candidate: &Candidate| key(&candidate.deletion)).collect();
    let next = match next {
        Some(Place::Orphans(place)) if candidates.len() < most => {
            orphans(table, since, now, place, most - candidates.len(), &mut candidates).await?
        }
        next => next,
    };
    let decided = decider.decide(candidates, now).await?;
    let mut replicas: Vec<_> = decided
        .all
        .into_iter()
        .map(|decided| {
            let recorded = recorded.contains(&key(&decided.deletion));
            Previewed::of(decided, recorded)
        })
        .collect();
    replicas.sort_by(|a, b| (a.would, &a.image, &a.registry, &a.tag).cmp(&(b.would, &b.image, &b.registry, &b.tag)));
    let mut totals: BTreeMap<Would, Total> = BTreeMap::new();
    for replica in &replicas {
        let total = totals.entry(replica.would).or_default();
        total.images += 1;
        total.bytes += replica.size_bytes.unwrap_or(0);
    }
    Ok(Preview { replicas, totals, next: next.map(Cursor) })
}

/// The deletions that were recorded.
async fn recorded(
    table: &Table,
    since: Timestamp,
    from: Option<deletions::Place>,
    most: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<Option<Place>, Error> {
    let wanted = deletions::Wanted { statuses: Status::ALL.into(), source: None, since };
    let part = deletions::part(table, &wanted, from, most).await?;
    for deletion in part.deletions {
        let lineage = table.dossier(&deletion.image).await?.lineage;
        candidates.push(Candidate { deletion, lineage });
    }
    Ok(Some(part.next.map_or(Place::Orphans(None), |Cursor(place)| Place::Recorded(place))))
}

/// The orphans of which no deletion was recorded.
async fn orphans(
    table: &Table,
    since: Timestamp,
    now: Timestamp,
    from: Option<walk::Place>,
    most: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<Option<Place>, Error> {
    let mut walk = Stretch { registry: None, repository: None, from, most }.through(table.registries().await?);
    while let Some(step) = walk.step() {
        let (orphans, walked) = table.orphans(&step.registry, step.part()).await?;
        for orphan in orphans {
            let Dossier { lineage, deletions, .. } = table.dossier(&orphan.image).await?;
            let Some(deletion) = imagined(&lineage, &step.registry, now) else { continue };
            let known = |known: &Deletion| known.place() == deletion.place() && known.changed_at >= since;
            if !deletions.iter().any(known) {
                candidates.push(Candidate { deletion, lineage });
            }
        }
        walk.walked(step, walked);
    }
    Ok(walk.place().map(|place| Place::Orphans(Some(place))))
}

impl Previewed {
    fn of(decided: Decided, recorded: bool) -> Self {
        let Decided { deletion, decision, .. } = decided;
        let would = match (&decision.verdict, decision.action) {
            (Verdict::PutOff, None) => Would::Unknown,
            (Verdict::Gone, _) => Would::Gone,
            (Verdict::Keep | Verdict::Present | Verdict::PutOff, _) | (_, None) => Would::Keep,
            (_, Some(Action::Delete)) => Would::Delete,
            (_, Some(Action::Archive)) => Would::Archive,
            (_, Some(Action::Untag)) => Would::Untag,
        };
        Self {
            would,
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

/// The deletion of a replica that nobody asked for, from the source that lost it last.
fn imagined(lineage: &Lineage, registry: &Registry, now: Timestamp) -> Option<Deletion> {
    let replica = lineage.placements.get(registry)?;
    let lost = |source: &Registry| lineage.placements.get(source).and_then(Placement::gone_at);
    let (source, arrived) =
        replica.replicated().into_iter().max_by_key(|(source, arrived)| (lost(source), *arrived))?;
    let since = lost(source).unwrap_or(now).max(arrived);
    let wanted = Wanted { registry: registry.clone(), tag: None, since };
    let mut deletion = Deletion::open(None, &lineage.image, source, wanted, now)?;
    // However old: here somebody asks on purpose.
    deletion.status = Status::Pending;
    Some(deletion)
}

/// Why a replica was or would be kept or deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// What was decided before, of the image and of its tags.
    pub recorded: Vec<Deletion>,
    /// What would be decided now.
    pub now: Vec<Judged>,
}

/// What would be decided now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Judged {
    /// The tag, if only a tag is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// What would become of it.
    pub would: Would,
    /// What was checked, in order; the last one decided.
    pub checks: Vec<Check>,
}

/// Answers `policy explain`, by the policy of `decider`.
///
/// # Errors
/// When the image is no replica there, or the table cannot be read.
pub async fn explain(
    decider: &Decider<'_>,
    reference: &Reference,
    registry: &Registry,
    now: Timestamp,
) -> Result<Explained, Error> {
    let table = decider.table;
    // A tag may mean different images in different registries: the one that is meant is there.
    let mut last = None;
    for image in answer::resolve(table, reference).await? {
        let dossier = table.dossier(&image).await?;
        let mut recorded = dossier.deletions;
        recorded.retain(|deletion| deletion.registry == *registry);
        let mut deletions = recorded.clone();
        if deletions.iter().all(|deletion| deletion.tag.is_some()) {
            deletions.extend(imagined(&dossier.lineage, registry, now));
        }
        if deletions.is_empty() {
            last = Some(image);
            continue;
        }
        let candidate = |deletion| Candidate { deletion, lineage: dossier.lineage.clone() };
        let decided = decider.decide(deletions.into_iter().map(candidate).collect(), now).await?;
        let judged = decided.all.into_iter().map(|decided| {
            let (tag, checks) = (decided.deletion.tag.clone(), decided.decision.checks.clone());
            Judged { tag, would: Previewed::of(decided, true).would, checks }
        });
        return Ok(Explained { image, registry: registry.clone(), recorded, now: judged.collect() });
    }
    match last {
        Some(image) => Err(Error::NoReplica { image, registry: registry.clone() }),
        None => Err(Error::UnknownImage { asked: reference.to_string(), repository: None }),
    }
}
