//! Everything known about one image, and the answers people want from it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    evidence::{Evidence, PlacementKey},
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, Registry, Tag},
};

/// How far apart, in seconds, an ECR event and the CloudTrail record that explains it may be. Both carry the time of the
/// act, but a lifecycle run reports once for all its images; runs of one policy are hours apart.
const CAUSE_WINDOW_SECONDS: i64 = 15 * 60;

/// Everything known about one image: the evidence of every registry, and every fact, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The image.
    pub image: Image,
    /// By registry, what is known of the image there.
    pub placements: BTreeMap<Registry, Placement>,
    /// What happened, oldest first; deletions of the whole repository included.
    pub facts: Vec<Fact>,
}

/// One image in one registry, present or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Evidence about the digest itself.
    pub image: Evidence,
    /// Evidence about each tag it ever had here.
    pub tags: BTreeMap<Tag, Evidence>,
}

/// Whether an image is in a registry, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PlacementStatus {
    /// There, and pullable.
    Present,
    /// There, in the archive storage class.
    Archived,
    /// Its last known tag was removed, and ECR deletes an image with its last tag: gone, unless it has tags that no
    /// event told. Only a look at the registry makes it certain.
    ProbablyAbsent,
    /// Not there.
    Absent,
}

impl PlacementStatus {
    /// It in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Archived => "archived",
            Self::ProbablyAbsent => "probably gone",
            Self::Absent => "gone",
        }
    }

    /// Whether the image may still be there: the careful reading.
    #[must_use]
    pub fn may_be_there(self) -> bool {
        self != Self::Absent
    }
}

impl Placement {
    /// Puts evidence about the same image in the same registry together.
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

    /// All evidence, that of the digest first.
    fn names(&self) -> impl Iterator<Item = &Evidence> {
        std::iter::once(&self.image).chain(self.tags.values())
    }

    /// Whether the image is here.
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

    /// When the last known tag was removed, if no tag is left, the last to go was removed rather than moved to another
    /// image, and nothing has proved the image since.
    fn last_tag_removed(&self) -> Option<Timestamp> {
        let (mut removed, mut moved) = (None, None);
        for tag in self.tags.values() {
            if self.is_set(tag) {
                return None;
            }
            let move_at = tag.moved.as_ref().map(|moved| moved.at);
            let first = [tag.removed, move_at].into_iter().flatten().filter(|at| Some(*at) > tag.set()).min();
            // It went with the image, which came back without it.
            if self.image.removed > tag.set() && first.is_none_or(|first| self.image.removed < Some(first)) {
                continue;
            }
            // A tag goes once: what happens to it later on another image is not this image's loss.
            match tag.removed.filter(|at| Some(*at) > tag.set() && move_at.is_none_or(|moved| *at < moved)) {
                Some(at) => removed = removed.max(Some(at)),
                None => moved = moved.max(move_at),
            }
        }
        let proved = self.image.pullable().max(self.image.archived).max(moved);
        removed.filter(|at| Some(*at) > proved)
    }

    /// Whether a tag is on the image, given that the image is here.
    fn is_set(&self, tag: &Evidence) -> bool {
        tag.set().is_some() && tag.set() >= tag.removed.max(self.image.removed) && tag.moved.is_none()
    }

    /// The tags the image has here now, as far as is known.
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

    /// The tags that other images took from it, unless they were removed before.
    fn moved_tags(&self) -> Vec<MovedTag> {
        let moved = self.tags.iter().filter_map(|(tag, evidence)| {
            let moved = evidence.moved.as_ref()?;
            let removed = evidence.removed.max(self.image.removed);
            let lost_before = removed.is_some_and(|at| moved.since < at && at < moved.at);
            (!lost_before).then(|| MovedTag { tag: tag.clone(), at: moved.at, to: moved.to.clone() })
        });
        moved.collect()
    }

    /// When it went, if it is not here.
    #[must_use]
    pub fn gone_at(&self) -> Option<Timestamp> {
        match self.status() {
            PlacementStatus::Absent => self.image.removed,
            PlacementStatus::ProbablyAbsent => self.last_tag_removed(),
            PlacementStatus::Present | PlacementStatus::Archived => None,
        }
    }

    /// The newest push by somebody into this registry.
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

/// A replica whose source no longer has the image.
#[must_use]
pub fn is_orphan(replica: &Placement, sources: &BTreeMap<Registry, Placement>) -> bool {
    let replicated = replica.replicated();
    replica.status().may_be_there()
        && replica.pushed().is_none()
        && !replicated.is_empty()
        // A source that is only probably without it is doubt, and doubt makes no orphan.
        && replicated.keys().all(|source| {
            sources.get(*source).is_some_and(|source| source.status() == PlacementStatus::Absent)
        })
}

/// The answer to "where is it, where did it come from, since when, who deleted it?" for one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whereabouts {
    /// Where.
    pub registry: Registry,
    /// Whether it is there.
    pub status: PlacementStatus,
    /// Whether its source no longer has it.
    pub orphan: bool,
    /// The newest push by somebody into this registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// The newest replication into this registry.
    pub replicated_from: Vec<ReplicatedFrom>,
    /// The tags it has there.
    pub tags: BTreeSet<Tag>,
    /// The tags that other images took from it there: the newest time of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved_tags: Vec<MovedTag>,
    /// The start of its present stay, or of its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When and why it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Loss>,
}

/// One source of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplicatedFrom {
    /// The source.
    pub registry: Registry,
    /// The newest replication from it.
    pub at: Timestamp,
    /// Seconds from the newest push at the source until the replica had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
}

/// A tag that another image took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MovedTag {
    /// The tag.
    pub tag: Tag,
    /// When.
    pub at: Timestamp,
    /// The image that has it since.
    pub to: Digest,
}

/// When and why an image went from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Loss {
    /// When.
    pub at: Timestamp,
    /// Who or what.
    #[serde(flatten)]
    pub cause: Cause,
}

impl Lineage {
    /// Puts together what is stored about one image, and the deletions of its whole repository.
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

    /// Whether nothing at all is known about the image.
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
            orphan: is_orphan(placement, &self.placements),
            pushed_at: placement.pushed(),
            replicated_from: replicated_from.collect(),
            tags: placement.current_tags().into_iter().cloned().collect(),
            moved_tags: placement.moved_tags(),
            since: self.since(registry),
            deleted: self.loss(registry),
        }
    }

    /// The lag of the newest arrival from a source.
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

    /// When and why it went, if it is not there. Whoever sees that it is gone does not know why; whoever removed the last
    /// tag before that may.
    fn loss(&self, registry: &Registry) -> Option<Loss> {
        let placement = self.placements.get(registry)?;
        let deleted = |at| Loss { at, cause: self.cause(registry, at) };
        let gone = deleted(placement.gone_at()?);
        if gone.cause != Cause::Unknown {
            return Some(gone);
        }
        let with_last_tag = placement.last_tag_removed().map(deleted);
        Some(with_last_tag.filter(|earlier| earlier.cause != Cause::Unknown).unwrap_or(gone))
    }

    /// Who or what deleted the image, or tags of it, from a registry at a time: the nearest fact that knows. Where we did
    /// it ourselves, CloudTrail tells only the role that we did it with.
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

/// The order of a timeline: by time; on the same second what was lost before what was found, as present wins.
fn order(fact: &Fact) -> impl Ord + '_ {
    (
        fact.time,
        presence(&fact.what) == Some(true),
        &fact.registry,
        matches!(fact.subject, Subject::Image(_)),
        &fact.event_id,
    )
}

/// Whether a fact proves the image to be there, or not.
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
