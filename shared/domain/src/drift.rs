//! The differences between registries and recorded evidence, and between a source and its replicas.
//!
//! ECR delivers events best effort, so listing a repository can show what no event reported. [`delta_from_observation`]
//! turns an observation of one image into the fact that it proves. A [`Comparison`] finds the images of a repository
//! that need a consistent read; it uses an index that may be behind and does not record which tags moved. When
//! registries and table agree, [`compare`] reports where a replica is missing or has other tags than its source.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    evidence::Evidence,
    fact::{Cause, StorageClass, What},
    image::{Digest, Image, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::ObservedImage,
    time::{time_text, whole_seconds},
};

/// The fact that an observation of one image proves and that is not recorded yet, if any. `seen` is the image as the
/// registry described it, or `None` if it was not there; the read began at `began`.
///
/// An image that was present may have been deleted during the read, so it counts as seen one second before `began`. An
/// image that was missing was missing at `began`; a push during the read is newer, because present wins.
#[must_use]
pub fn delta_from_observation(
    known: Option<&Placement>,
    seen: Option<&ObservedImage>,
    began: Timestamp,
) -> Option<(Timestamp, What)> {
    let began = whole_seconds(began);
    let nothing = Placement::default();
    let unknown = known.is_none();
    let known = known.unwrap_or(&nothing);
    let Some(seen) = seen else {
        let newer = known.tags.values().chain([&known.image]).any(|name| name.set() >= Some(began));
        let gone = unknown || !known.status().may_be_there() || newer;
        return (!gone).then_some((began, What::FOUND_MISSING));
    };
    let at = a_second_before(began);
    if known.image.removed > Some(at) {
        return None;
    }
    let current = known.current_tags();
    let of = |tag: &Tag| known.tags.get(tag);
    let older = |tag: &&Tag| of(tag).is_none_or(|name| name.removed <= Some(at));
    let tags: BTreeSet<Tag> = seen.tags.iter().filter(older).cloned().collect();
    let since = |tag: &&Tag| of(tag).is_none_or(|name| name.set() < Some(at));
    let lost = current.iter().copied().filter(|tag| !seen.tags.contains(*tag)).filter(since);
    let without: BTreeSet<Tag> = lost.cloned().collect();
    let same = !unknown
        && known.status() == observed_status(seen)
        && tags.iter().all(|tag| current.contains(tag))
        && without.is_empty();
    let complete = true;
    (!same).then_some((at, What::Observed { storage: Some(storage(seen)), tags, without, complete, source: None }))
}

/// Like [`delta_from_observation`], for a replica whose source ECR names.
#[must_use]
pub fn delta_from_copy(
    known: Option<&Placement>,
    seen: &ObservedImage,
    source: &Registry,
    began: Timestamp,
) -> Option<(Timestamp, What)> {
    let from = Some(source.clone());
    match delta_from_observation(known, Some(seen), began) {
        Some((at, What::Observed { storage, tags, without, complete, .. })) => {
            Some((at, What::Observed { storage, tags, without, complete, source: from }))
        }
        // Everything else is recorded already, only the source is not.
        _ if known.is_none_or(|known| !known.replicated().contains_key(source)) => {
            let (storage, tags, without) = (Some(storage(seen)), BTreeSet::new(), BTreeSet::new());
            let complete = false;
            Some((a_second_before(began), What::Observed { storage, tags, without, complete, source: from }))
        }
        _ => None,
    }
}

/// What a listing saw of an image, if events that are older than the listing arrive only now and say otherwise.
/// `known` is the placement as recorded before these events are merged, `late` what they prove, and `began` when the
/// listing began.
///
/// A listing records wherever it differs from the table, so the table then says what the listing saw, also of an image
/// that neither has. Where newer evidence replaced what the table said then, nothing is known of the listing.
#[must_use]
pub fn delta_from_listing(known: Option<&Placement>, late: &Placement, began: Timestamp) -> Option<(Timestamp, What)> {
    let nothing = Placement::default();
    let (unknown, known) = (known.is_none(), known.unwrap_or(&nothing));
    let mut all = known.clone();
    all.merge(late);
    if !unknown && all.status() == known.status() && all.current_tags() == known.current_tags() {
        return None;
    }
    let began = whole_seconds(began);
    let then = known.before(began);
    let seen = match then.status() {
        _ if known.was_there(began) => {
            let tags = then.current_tags().into_iter().cloned().collect();
            Some(ObservedImage {
                tags,
                archived: then.status() == PlacementStatus::Archived,
                ..ObservedImage::default()
            })
        }
        PlacementStatus::ProbablyAbsent => return None,
        _ if known.set() >= Some(began) => return None,
        _ => None,
    };
    delta_from_observation(Some(&all), seen.as_ref(), began)
}

/// Whether a fact of this time is older than a listing: it happened before the second in which the listing counts as
/// seen what it saw.
#[must_use]
pub fn is_before_listing(time: Timestamp, began: Timestamp) -> bool {
    time < a_second_before(whole_seconds(began))
}

fn a_second_before(began: Timestamp) -> Timestamp {
    Timestamp::from_second(began.as_second().saturating_sub(1)).unwrap_or(began)
}

fn storage(seen: &ObservedImage) -> StorageClass {
    if seen.archived { StorageClass::Archive } else { StorageClass::Standard }
}

/// Compares what a repository contains with what an index records of it.
#[derive(Debug)]
pub struct Comparison<'a> {
    listed: &'a BTreeMap<Digest, ObservedImage>,
    /// The listed images that the index has not named yet.
    unnamed: BTreeSet<&'a Digest>,
    /// For each tag, the images that got it last. The index does not record moves, so no other image has the tag now.
    newest: BTreeMap<Tag, Newest>,
    different: BTreeSet<Digest>,
}

/// The images that got a tag last; several images can get it in the same second. `lasts`: one of them still has the
/// tag.
#[derive(Debug, Default)]
struct Newest {
    set: Option<Timestamp>,
    digests: BTreeSet<Digest>,
    lasts: bool,
}

impl<'a> Comparison<'a> {
    /// Starts a comparison with a listing, before any entry of the index is added.
    #[must_use]
    pub fn of(listed: &'a BTreeMap<Digest, ObservedImage>) -> Self {
        let (newest, different) = (BTreeMap::new(), BTreeSet::new());
        Self { listed, unnamed: listed.keys().collect(), newest, different }
    }

    /// Adds what the index records of one image.
    pub fn add(&mut self, digest: &Digest, placement: &Placement) {
        self.unnamed.remove(digest);
        let (status, current) = (placement.status(), placement.current_tags());
        for (tag, evidence) in placement.tags.iter().filter(|(_, evidence)| evidence.set().is_some()) {
            let newest = self.newest.entry(tag.clone()).or_default();
            if evidence.set() > newest.set {
                *newest = Newest { set: evidence.set(), ..Newest::default() };
            }
            if evidence.set() == newest.set {
                newest.digests.insert(digest.clone());
                newest.lasts |= current.contains(tag);
            }
        }
        let expected = match self.listed.get(digest) {
            None => !status.may_be_there(),
            // Its last tag may have been removed before the other tags moved: only a read of the whole partition
            // decides that.
            Some(seen) if seen.tags.is_empty() && placement.tags.values().any(|tag| tag.removed.is_some()) => {
                current.is_empty() && status == observed_status(seen)
            }
            Some(seen) => status == observed_status(seen),
        };
        if !expected {
            self.different.insert(digest.clone());
        }
    }

    /// The images that need a consistent read: those that differ from the index, and those that the index does not
    /// know.
    #[must_use]
    pub fn end(mut self) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
        let unknown: BTreeSet<Digest> = self.unnamed.into_iter().cloned().collect();
        for (digest, seen) in self.listed.iter().filter(|(digest, _)| !unknown.contains(*digest)) {
            for tag in &seen.tags {
                let newest = self.newest.remove(tag).unwrap_or_default();
                if !newest.lasts || newest.digests.len() != 1 || !newest.digests.contains(digest) {
                    self.different.insert(digest.clone());
                    self.different.extend(newest.digests);
                }
            }
        }
        // Tags that the index records as set, but that no listed image has, or only an unknown one.
        let lasting = self.newest.into_values().filter(|newest| newest.lasts);
        self.different.extend(lasting.flat_map(|newest| newest.digests));
        (self.different, unknown)
    }
}

fn observed_status(seen: &ObservedImage) -> PlacementStatus {
    if seen.archived { PlacementStatus::Archived } else { PlacementStatus::Present }
}

/// When a replica was deleted, and its sources that are recorded as having the image. `None` if the deletion was
/// intended: by ecr-lineage, which mirrors a source's deletion, or by the lifecycle policy of the replica's repository.
#[must_use]
pub fn unexpected_deletion(lineage: &Lineage, registry: &Registry) -> Option<(Timestamp, BTreeSet<Registry>)> {
    let replica = lineage.placements.get(registry)?;
    let gone_at = replica.gone_at()?;
    let has_it = |source: &&Registry| {
        lineage.placements.get(*source).is_some_and(|source| source.status() == PlacementStatus::Present)
    };
    let sources: BTreeSet<_> = replica.replicated().into_keys().filter(has_it).cloned().collect();
    let wanted = matches!(lineage.cause_of_loss(registry), Cause::Mirror { .. } | Cause::Lifecycle { .. });
    (!wanted && !sources.is_empty()).then_some((gone_at, sources))
}

/// A replica that differs from its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// The repository and the digest.
    #[serde(flatten)]
    pub image: Image,
    /// The source registry.
    pub source: Registry,
    /// The destination registry, where the replica is or should be.
    pub destination: Registry,
    /// How the replica differs.
    #[serde(flatten)]
    pub drift: Drift,
}

/// How a replica differs from its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "drift", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Drift {
    /// The destination does not have the image.
    Missing {
        /// When the image was last pushed to the source; absent if no push is recorded.
        #[serde(skip_serializing_if = "Option::is_none")]
        pushed_at: Option<Timestamp>,
        /// Whether the push is known to be newer than the replication rule. ECR does not copy older images.
        expected: bool,
    },
    /// The replica has other tags than the source.
    Tags {
        /// Tags that only the source has, by name.
        #[serde(skip_serializing_if = "BTreeSet::is_empty")]
        only_at_source: BTreeSet<Tag>,
        /// Tags, by name, that only the replica has: removed at the source, which ECR does not replicate, or added at the
        /// replica.
        #[serde(skip_serializing_if = "BTreeSet::is_empty")]
        only_at_replica: BTreeSet<Tag>,
    },
}

impl Difference {
    /// The difference, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { source, destination, .. } = self;
        match &self.drift {
            Drift::Missing { pushed_at, expected: true } => {
                let pushed = pushed_at.map(|at| format!(", pushed at {}", time_text(at))).unwrap_or_default();
                format!("missing in {destination}: {source} has it{pushed}")
            }
            Drift::Missing { expected: false, .. } => {
                format!("never copied to {destination}: {source} may have had it before the rule")
            }
            Drift::Tags { only_at_source, only_at_replica } => {
                let only = |tags: &BTreeSet<Tag>, registry: &Registry| {
                    let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
                    (!tags.is_empty()).then(|| format!("{} only in {registry}", tags.join(", ")))
                };
                let parts = [only(only_at_source, source), only(only_at_replica, destination)];
                parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
        }
    }
}

/// How a replica differs from its source. The source has replicated to its registry since `copied_since`. Changes at or
/// after `still_on_its_way` are ignored, because ECR may still be replicating them.
#[must_use]
pub fn compare(
    source: &Placement,
    replica: Option<&Placement>,
    copied_since: Timestamp,
    still_on_its_way: Timestamp,
) -> Option<Drift> {
    if source.status() != PlacementStatus::Present {
        return None;
    }
    let Some(replica) = replica.filter(|replica| replica.status().may_be_there()) else {
        let pushed_at = source.pushed();
        // The image was observed at the source, and no event says when it was pushed.
        let known_since = source.tags.values().chain([&source.image]).filter_map(Evidence::set).min();
        let settled = pushed_at.or(known_since) < Some(still_on_its_way);
        let expected = pushed_at >= Some(copied_since);
        return settled.then_some(Drift::Missing { pushed_at, expected });
    };
    let (here, there) = (source.current_tags(), replica.current_tags());
    let settled =
        |tag: &&&Tag| source.tags.get(**tag).and_then(|name| name.set().max(name.removed)) < Some(still_on_its_way);
    let only = |these: &BTreeSet<&Tag>, those: &BTreeSet<&Tag>| -> BTreeSet<Tag> {
        these.difference(those).filter(settled).map(|tag| (*tag).clone()).collect()
    };
    let (only_at_source, only_at_replica) = (only(&here, &there), only(&there, &here));
    let same = only_at_source.is_empty() && only_at_replica.is_empty();
    (!same).then_some(Drift::Tags { only_at_source, only_at_replica })
}

/// Counts of the differences in one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drifts {
    /// Images that were pushed under a replication rule and are missing at the destination.
    pub missing: u64,
    /// Images that are missing at the destination and were pushed before its rule, or at an unknown time.
    pub never_copied: u64,
    /// Replicas whose tags differ from those of their source.
    pub tags: u64,
    /// Replicas in this registry whose source no longer has the image.
    pub orphans: u64,
}

impl Drifts {
    /// Adds one difference to the counts.
    pub fn count(&mut self, drift: &Drift) {
        let counted = match drift {
            Drift::Missing { expected: true, .. } => &mut self.missing,
            Drift::Missing { expected: false, .. } => &mut self.never_copied,
            Drift::Tags { .. } => &mut self.tags,
        };
        *counted = counted.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_793_610_000 + seconds).unwrap()
    }

    fn tag(name: &str) -> Tag {
        name.parse().unwrap()
    }

    fn digest(letter: char) -> Digest {
        format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
    }

    fn pushed(seconds: i64, tags: &[(&str, i64)]) -> Placement {
        let evidence = |seconds| Evidence { pushed: Some(at(seconds)), ..Evidence::default() };
        let tags = tags.iter().map(|(name, seconds)| (Some(tag(name)), evidence(*seconds)));
        Placement::of([(None, evidence(seconds))].into_iter().chain(tags))
    }

    fn seen(tags: &[&str]) -> ObservedImage {
        ObservedImage { tags: tags.iter().map(|name| tag(name)).collect(), ..ObservedImage::default() }
    }

    #[test]
    fn an_observation_that_matches_the_table_records_nothing() {
        assert_eq!(delta_from_observation(Some(&pushed(0, &[("v1", 0)])), Some(&seen(&["v1"])), at(100)), None);
        let gone = Placement { image: Evidence { removed: Some(at(5)), ..Evidence::default() }, ..pushed(0, &[]) };
        assert_eq!(delta_from_observation(Some(&gone), None, at(100)), None);
        assert_eq!(delta_from_observation(None, None, at(100)), None);
    }

    #[test]
    fn a_change_during_an_observation_is_newer_than_it() {
        // Pushed after the listing began, so it is not in the listing.
        assert_eq!(delta_from_observation(Some(&pushed(100, &[])), None, at(100)), None);
        assert_eq!(delta_from_observation(Some(&pushed(0, &[("v1", 100)])), Some(&seen(&[])), at(100)), None);
        // Deleted after it was listed.
        let mut gone = pushed(0, &[]);
        gone.image.removed = Some(at(100));
        assert_eq!(delta_from_observation(Some(&gone), Some(&seen(&[])), at(100)), None);
        gone.image.removed = Some(at(98));
        assert_eq!(delta_from_observation(Some(&gone), Some(&seen(&[])), at(100)).unwrap().0, at(99));
        assert_eq!(
            delta_from_observation(Some(&pushed(99, &[])), None, at(100)).unwrap(),
            (at(100), What::FOUND_MISSING)
        );
    }

    #[test]
    fn the_source_of_a_copy_is_recorded_once() {
        let source: Registry = "111122223333/eu-west-1".parse().unwrap();
        let look = |known: &Placement| delta_from_copy(Some(known), &seen(&["v1"]), &source, at(100));
        let mut known = pushed(0, &[("v1", 0)]);
        let (time, what) = look(&known).unwrap();
        let (storage, none) = (Some(StorageClass::Standard), BTreeSet::new());
        let observed = |tags, complete| {
            let (without, source) = (none.clone(), Some(source.clone()));
            What::Observed { storage, tags, without, complete, source }
        };
        assert_eq!((time, what), (at(99), observed(BTreeSet::new(), false)));
        known.image.replicated.insert(source.clone(), at(50));
        assert_eq!(look(&known), None);
        known.tags.clear();
        assert_eq!(look(&known), Some((at(99), observed([tag("v1")].into(), true))));
        assert_eq!(delta_from_copy(None, &seen(&["v1"]), &source, at(100)), look(&known));
    }

    #[test]
    fn a_moved_tag_that_the_index_does_not_record_is_no_difference() {
        let listed = BTreeMap::from([(digest('a'), seen(&[])), (digest('b'), seen(&["v1"]))]);
        let mut comparison = Comparison::of(&listed);
        comparison.add(&digest('a'), &pushed(0, &[("v1", 0)]));
        comparison.add(&digest('b'), &pushed(5, &[("v1", 5)]));
        assert_eq!(comparison.end(), (BTreeSet::new(), BTreeSet::new()));
        // The tag moved back without an event; also when the image that had it in between is deleted.
        let mut comparison = Comparison::of(&listed);
        comparison.add(&digest('a'), &pushed(10, &[]));
        comparison.add(&digest('b'), &pushed(0, &[("v1", 0)]));
        let gone = Evidence { removed: Some(at(7)), ..Evidence::default() };
        comparison.add(&digest('c'), &Placement { image: gone, ..pushed(5, &[("v1", 5)]) });
        assert_eq!(comparison.end().0, [digest('b'), digest('c')].into());
        let listed = BTreeMap::from([(digest('a'), seen(&["v1"])), (digest('b'), seen(&[])), (digest('c'), seen(&[]))]);
        let mut comparison = Comparison::of(&listed);
        comparison.add(&digest('a'), &pushed(0, &[("v1", 0)]));
        comparison.add(&digest('b'), &pushed(5, &[("v1", 5)]));
        assert_eq!(comparison.end(), ([digest('a'), digest('b')].into(), [digest('c')].into()));
    }

    #[test]
    fn a_replica_that_may_still_arrive_is_not_missing() {
        let source = pushed(100, &[("v1", 100)]);
        assert_eq!(compare(&source, None, at(0), at(100)), None);
        let missing = |expected| Some(Drift::Missing { pushed_at: Some(at(100)), expected });
        assert_eq!(compare(&source, None, at(0), at(101)), missing(true));
        assert_eq!(compare(&source, None, at(101), at(200)), missing(false));
        let replica = pushed(110, &[("old", 50)]);
        let tags = Drift::Tags { only_at_source: [tag("v1")].into(), only_at_replica: [tag("old")].into() };
        assert_eq!(compare(&source, Some(&replica), at(0), at(200)), Some(tags));
        assert_eq!(compare(&source, Some(&source), at(0), at(200)), None);
    }
}
