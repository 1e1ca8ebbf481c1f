//! Everything known about one image, and the answers that queries need.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    evidence::{Evidence, PlacementKey},
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, Registry, Tag},
};

/// How far apart, in seconds, an ECR event and the CloudTrail record that explains it may be. Both carry the time of
/// the deletion, but a lifecycle run sends one record for all its images; runs of one policy are hours apart.
const CAUSE_WINDOW_SECONDS: i64 = 15 * 60;

/// Everything known about one image: the evidence of every registry, and every fact, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The repository and the digest.
    pub image: Image,
    /// What is known of the image, by registry.
    pub placements: BTreeMap<Registry, Placement>,
    /// What happened, oldest first; deletions of the whole repository included.
    pub facts: Vec<Fact>,
}

/// One image in one registry, whether it is present or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Evidence about the digest itself.
    pub image: Evidence,
    /// Evidence about each tag that the image ever had in this registry.
    pub tags: BTreeMap<Tag, Evidence>,
}

/// Whether an image is in a registry, according to what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PlacementStatus {
    /// The image is there and can be pulled.
    Present,
    /// The image is there, in the archive storage class.
    Archived,
    /// The last recorded tag was removed, and ECR deletes an image together with its last tag. The image is deleted
    /// unless it has tags that no event reported; only a read of the registry confirms it.
    ProbablyAbsent,
    /// The image is not there.
    Absent,
}

impl PlacementStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Present, Self::Archived, Self::ProbablyAbsent, Self::Absent];

    /// The status in words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Archived => "archived",
            Self::ProbablyAbsent => "untagged, deletion not confirmed",
            Self::Absent => "gone",
        }
    }

    /// The status in one word, for narrow columns.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ProbablyAbsent => "untagged",
            other => other.words(),
        }
    }

    /// Whether the image may still be there. Anything less than certain absence counts as there.
    #[must_use]
    pub fn may_be_there(self) -> bool {
        self != Self::Absent
    }
}

impl Placement {
    /// Merges evidence about the same image in the same registry.
    #[must_use]
    pub fn of(evidence: impl IntoIterator<Item = (Option<Tag>, Evidence)>) -> Self {
        let mut placement = Self::default();
        for (tag, evidence) in evidence {
            match tag {
                None => placement.image.merge(&evidence),
                Some(tag) => placement.tags.entry(tag).or_default().merge(&evidence),
            }
        }
        placement
    }

    /// All evidence: that of the digest, then that of each tag.
    fn names(&self) -> impl Iterator<Item = &Evidence> {
        std::iter::once(&self.image).chain(self.tags.values())
    }

    /// Whether the image is in this registry.
    #[must_use]
    pub fn status(&self) -> PlacementStatus {
        let pullable = self.names().filter_map(Evidence::pullable).max();
        let there = pullable.max(self.image.archived);
        if self.image.removed > there {
            return PlacementStatus::Absent;
        }
        if self.last_tag_removed().is_some() {
            PlacementStatus::ProbablyAbsent
        } else if self.image.archived > pullable {
            PlacementStatus::Archived
        } else {
            PlacementStatus::Present
        }
    }

    /// When the last recorded tag was removed. `None` unless no tag is left, the last one was removed rather than moved
    /// to another image, and nothing newer proves that the image is there.
    fn last_tag_removed(&self) -> Option<Timestamp> {
        let (mut removed, mut moved) = (None, None);
        for tag in self.tags.values() {
            if self.is_set(tag) {
                return None;
            }
            let move_at = tag.moved.as_ref().map(|moved| moved.at);
            let first = [tag.removed, move_at].into_iter().flatten().filter(|at| Some(*at) > tag.set()).min();
            // The tag was deleted with the image, and the image came back without it.
            if self.image.removed > tag.set() && first.is_none_or(|first| self.image.removed < Some(first)) {
                continue;
            }
            // Only the first end counts: what happens to the tag later, on another image, is not a loss of this image.
            match tag.removed.filter(|at| Some(*at) > tag.set() && move_at.is_none_or(|moved| *at < moved)) {
                Some(at) => removed = removed.max(Some(at)),
                None => moved = moved.max(move_at),
            }
        }
        let proved = self.image.pullable().max(self.image.archived).max(moved);
        removed.filter(|at| Some(*at) > proved)
    }

    /// Whether the image has the tag, provided that the image is there.
    fn is_set(&self, tag: &Evidence) -> bool {
        tag.set().is_some() && tag.set() >= tag.removed.max(self.image.removed) && tag.moved.is_none()
    }

    /// The tags that the image has here now, according to what is recorded.
    #[must_use]
    pub fn current_tags(&self) -> BTreeSet<&Tag> {
        match self.status() {
            PlacementStatus::Present | PlacementStatus::Archived => {
                self.tags.iter().filter(|(_, evidence)| self.is_set(evidence)).map(|(tag, _)| tag).collect()
            }
            PlacementStatus::ProbablyAbsent | PlacementStatus::Absent => BTreeSet::new(),
        }
    }

    /// The tags that were removed from the image rather than moved to another one, and when.
    pub fn removed_tags(&self) -> impl Iterator<Item = (&Tag, Timestamp)> {
        self.tags.iter().filter_map(|(tag, evidence)| {
            let removed = evidence.removed.max(self.image.removed).filter(|at| Some(*at) > evidence.set())?;
            let moved = evidence.moved.as_ref().is_some_and(|moved| moved.at <= removed);
            (evidence.set().is_some() && !moved).then_some((tag, removed))
        })
    }

    /// The tags that moved to other images, unless they were removed before.
    fn moved_tags(&self) -> Vec<MovedTag> {
        let moved = self.tags.iter().filter_map(|(tag, evidence)| {
            let moved = evidence.moved.as_ref()?;
            let removed = evidence.removed.max(self.image.removed);
            let lost_before = removed.is_some_and(|at| moved.since < at && at < moved.at);
            let summary = format!("tag {tag} moved to {}", moved.to.short());
            (!lost_before).then(|| MovedTag { tag: tag.clone(), at: moved.at, to: moved.to.clone(), summary })
        });
        moved.collect()
    }

    /// When the image was deleted, if it is not here.
    #[must_use]
    pub fn gone_at(&self) -> Option<Timestamp> {
        match self.status() {
            PlacementStatus::Absent => self.image.removed,
            PlacementStatus::ProbablyAbsent => self.last_tag_removed(),
            PlacementStatus::Present | PlacementStatus::Archived => None,
        }
    }

    /// The newest push to this registry. Replication does not count as a push.
    #[must_use]
    pub fn pushed(&self) -> Option<Timestamp> {
        self.names().filter_map(|evidence| evidence.pushed).max()
    }

    /// The newest replication into this registry, by source.
    #[must_use]
    pub fn replicated(&self) -> BTreeMap<&Registry, Timestamp> {
        let mut newest = BTreeMap::new();
        for (source, time) in self.names().flat_map(|evidence| &evidence.replicated) {
            let known = newest.entry(source).or_insert(*time);
            *known = (*time).max(*known);
        }
        newest
    }
}

/// Whether a replica is an orphan: none of its sources has the image any more, and no push to its own registry is
/// recorded.
#[must_use]
pub fn is_orphan(replica: &Placement, sources: &BTreeMap<Registry, Placement>) -> bool {
    let replicated = replica.replicated();
    replica.status().may_be_there()
        && replica.pushed().is_none()
        && !replicated.is_empty()
        // A source that is only probably without the image is in doubt, and a replica with such a source is no orphan.
        && replicated.keys().all(|source| {
            sources.get(*source).is_some_and(|source| source.status() == PlacementStatus::Absent)
        })
}

/// Where one image is: its status in one registry, how it came there, and who deleted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whereabouts {
    /// The registry.
    pub registry: Registry,
    /// Whether the image is there.
    pub status: PlacementStatus,
    /// The status in words, such as `untagged, deletion not confirmed`.
    pub status_text: &'static str,
    /// Whether this is a replica that no source has any more.
    pub orphan: bool,
    /// The newest push to this registry; absent if none is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// The newest replication into this registry, one entry per source.
    pub replicated_from: Vec<ReplicatedFrom>,
    /// The tags that the image has there now.
    pub tags: BTreeSet<Tag>,
    /// Tags that moved from this image to another one in this registry, with the newest move of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved_tags: Vec<MovedTag>,
    /// The start of the present stay, or of the last one if the image is not there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When and why the image was deleted; absent if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Loss>,
}

/// One source of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplicatedFrom {
    /// The source registry.
    pub registry: Registry,
    /// The newest replication from this source.
    pub at: Timestamp,
    /// The replication lag in seconds: from the newest push at the source to the replication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
}

/// A tag that moved to another image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MovedTag {
    /// The tag that moved.
    pub tag: Tag,
    /// When the tag was set on the other image.
    pub at: Timestamp,
    /// The digest of the image that got the tag.
    pub to: Digest,
    /// The move, in one line.
    pub summary: String,
}

/// When and why an image was deleted from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Loss {
    /// When the image was deleted.
    pub at: Timestamp,
    /// Who or what deleted it.
    #[serde(flatten)]
    pub cause: Cause,
    /// The cause in words, such as `by lifecycle rule 10`; `cause unknown` if it is not known.
    pub cause_text: String,
}

impl Loss {
    fn new(at: Timestamp, cause: Cause) -> Self {
        Self { at, cause_text: cause.to_string(), cause }
    }
}

impl Lineage {
    /// Combines what is stored about one image with the deletions of its whole repository.
    #[must_use]
    pub fn new(
        image: Image,
        evidence: impl IntoIterator<Item = (PlacementKey, Evidence)>,
        mut facts: Vec<Fact>,
        repository_deletions: Vec<Fact>,
    ) -> Self {
        let mut by_registry: BTreeMap<Registry, Vec<(Option<Tag>, Evidence)>> = BTreeMap::new();
        for (name, evidence) in evidence {
            by_registry.entry(name.registry).or_default().push((name.tag, evidence));
        }
        for deletion in &repository_deletions {
            // Only where the image was: the deletion of an empty repository proves nothing about this image.
            if let Some(known) = by_registry.get_mut(&deletion.registry) {
                known.push((None, Evidence { removed: Some(deletion.time), ..Evidence::default() }));
            }
        }
        let placements: BTreeMap<_, _> =
            by_registry.into_iter().map(|(registry, evidence)| (registry, Placement::of(evidence))).collect();
        facts.extend(repository_deletions.into_iter().filter(|fact| placements.contains_key(&fact.registry)));
        facts.sort_by(|a, b| order(a).cmp(&order(b)));
        Self { image, placements, facts }
    }

    /// Whether nothing at all is recorded about the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.placements.is_empty() && self.facts.is_empty()
    }

    /// The answer for every registry that has or had the image: those where it was pushed first, then its replicas.
    #[must_use]
    pub fn whereabouts(&self) -> Vec<Whereabouts> {
        let mut all: Vec<_> =
            self.placements.iter().map(|(registry, placement)| self.whereabouts_in(registry, placement)).collect();
        all.sort_by_key(|answer| (answer.pushed_at.is_none(), answer.registry.clone()));
        all
    }

    fn whereabouts_in(&self, registry: &Registry, placement: &Placement) -> Whereabouts {
        let replicated_from = placement.replicated().into_iter().map(|(source, at)| ReplicatedFrom {
            registry: source.clone(),
            at,
            lag_seconds: self.lag_seconds(placement, source),
        });
        Whereabouts {
            registry: registry.clone(),
            status: placement.status(),
            status_text: placement.status().words(),
            orphan: is_orphan(placement, &self.placements),
            pushed_at: placement.pushed(),
            replicated_from: replicated_from.collect(),
            tags: placement.current_tags().into_iter().cloned().collect(),
            moved_tags: placement.moved_tags(),
            since: self.since(registry),
            deleted: self.loss(registry),
        }
    }

    /// The lag of the newest replication from a source, in seconds.
    fn lag_seconds(&self, replica: &Placement, source: &Registry) -> Option<i64> {
        let at_source = self.placements.get(source)?;
        let tagged = replica.tags.iter().filter_map(|(tag, evidence)| Some((evidence, at_source.tags.get(tag)?)));
        let (_, lag) = std::iter::once((&replica.image, &at_source.image))
            .chain(tagged)
            .filter_map(|(here, there)| Some((here.replicated.get(source)?, here.lag_seconds(source, there)?)))
            .max()?;
        Some(lag)
    }

    /// The start of the newest stay: the first proof of presence after the deletion before it.
    fn since(&self, registry: &Registry) -> Option<Timestamp> {
        let mut since = None;
        let mut ended = false;
        for fact in self.facts.iter().filter(|fact| fact.registry == *registry) {
            match presence(&fact.what) {
                Some(true) if ended || since.is_none() => (since, ended) = (Some(fact.time), false),
                Some(false) => ended = true,
                _ => {}
            }
        }
        since
    }

    /// Who or what deleted the image from a registry, if it is not there.
    #[must_use]
    pub fn cause_of_loss(&self, registry: &Registry) -> Cause {
        self.loss(registry).map_or(Cause::Unknown, |deleted| deleted.cause)
    }

    /// When and why the image was deleted, if it is not there. A fact that only found the image missing has no cause;
    /// the removal of its last tag before that may have one.
    fn loss(&self, registry: &Registry) -> Option<Loss> {
        let placement = self.placements.get(registry)?;
        let deleted = |at| Loss::new(at, self.cause(registry, at));
        let gone = deleted(placement.gone_at()?);
        if gone.cause != Cause::Unknown {
            return Some(gone);
        }
        let with_last_tag = placement.last_tag_removed().map(deleted);
        Some(with_last_tag.filter(|earlier| earlier.cause != Cause::Unknown).unwrap_or(gone))
    }

    /// Who or what deleted the image, or tags of it, from a registry at a time: the nearest fact with a known cause. A
    /// deletion by ecr-lineage itself takes precedence, because CloudTrail names only the role that it used.
    #[must_use]
    pub fn cause(&self, registry: &Registry, at: Timestamp) -> Cause {
        let knows = |fact: &&Fact| fact.registry == *registry && distance(fact, at) <= CAUSE_WINDOW_SECONDS;
        self.facts
            .iter()
            .filter(knows)
            .filter_map(|fact| match &fact.what {
                What::ImageDeleted { cause } | What::TagsDeleted { cause, .. } | What::RepositoryDeleted { cause } => {
                    let ours = matches!(cause, Cause::Mirror { .. });
                    (*cause != Cause::Unknown).then_some((!ours, distance(fact, at), cause))
                }
                _ => None,
            })
            .min_by_key(|(others, distance, _)| (*others, *distance))
            .map_or(Cause::Unknown, |(.., cause)| cause.clone())
    }
}

fn distance(fact: &Fact, at: Timestamp) -> i64 {
    (fact.time.as_second() - at.as_second()).abs()
}

/// The order of a timeline: by time; within a second, losses before proofs of presence, because present wins.
fn order(fact: &Fact) -> impl Ord + '_ {
    (
        fact.time,
        presence(&fact.what) == Some(true),
        &fact.registry,
        matches!(fact.subject, Subject::Image(_)),
        &fact.event_id,
    )
}

/// Whether a fact proves that the image is there (`true`), that it is not (`false`), or neither.
fn presence(what: &What) -> Option<bool> {
    match what {
        What::Pushed { .. } | What::Replicated { .. } | What::Archived { .. } | What::Restored => Some(true),
        What::Observed { storage, .. } => Some(storage.is_some()),
        What::ImageDeleted { .. } | What::RepositoryDeleted { .. } => Some(false),
        What::TagsDeleted { .. }
        | What::ReplicationFailed { .. }
        | What::DeletionFailed { .. }
        | What::ReplicationConfigured { .. }
        | What::Other { .. } => None,
    }
}
