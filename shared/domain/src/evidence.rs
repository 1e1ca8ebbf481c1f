//! Evidence: what facts prove about placements, in a form that merges in any order.
//!
//! EventBridge delivers at least once and unordered. So the table stores not a state but the newest time each thing was
//! true and the newest time it was false. Merging two pieces of evidence keeps the newer time of each. That is
//! commutative, associative and idempotent, so any order, any repetition and any batching of the same events give the
//! same table. A later time wins; within the same second **present wins**.
//!
//! Evidence is kept per [`PlacementKey`]: the image itself in one registry, or one tag on it. ECR allows 1,000 tags on
//! an image, and a pipeline whose output never changes collects more over time; one item per tag keeps every write
//! small, however long the history is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    fact::{Fact, StorageClass, Subject, What},
    image::{Digest, Image, Registry, Tag},
};

/// The key of evidence: an image in a registry by its digest, or by one tag on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementKey {
    /// The repository and the digest.
    pub image: Image,
    /// The registry.
    pub registry: Registry,
    /// The tag, or `None` for the digest itself.
    pub tag: Option<Tag>,
}

/// The newest times of everything known about one [`PlacementKey`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Pushed to this registry, or brought by its pull through cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Timestamp>,
    /// Replicated to this registry, by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicated: BTreeMap<Registry, Timestamp>,
    /// Present and pullable by another proof: restored or observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Timestamp>,
    /// Deleted, or observed to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
    /// Deleted, as an event or a call reported it. An observation may make `removed` later: it proves that the image is
    /// gone, and not when it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Timestamp>,
    /// Present in the archive storage class. For a tag: observed on an image that is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<Timestamp>,
    /// The tag moved to another image in the same registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Move>,
    /// All tags of the image were observed. A tag that was set before, and was not seen then, was removed, whether or not
    /// the table knew the tag: an event may arrive after the observation that overrules it. Only in evidence about a
    /// digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Timestamp>,
}

/// A tag that moved to another image. ECR sends no event about the image that loses it; the push of the other one
/// proves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Move {
    /// When the tag was set on this image: the assignment that this move ended.
    pub since: Timestamp,
    /// The next time the tag was set on another image in this registry.
    pub at: Timestamp,
    /// The digest of that other image.
    pub to: Digest,
}

impl Evidence {
    /// Merges other evidence about the same key.
    pub fn merge(&mut self, other: &Self) {
        self.pushed = self.pushed.max(other.pushed);
        for (source, time) in &other.replicated {
            let known = self.replicated.entry(source.clone()).or_insert(*time);
            *known = (*known).max(*time);
        }
        self.seen = self.seen.max(other.seen);
        self.removed = self.removed.max(other.removed);
        self.reported = self.reported.max(other.reported);
        self.listed = self.listed.max(other.listed);
        self.archived = self.archived.max(other.archived);
        // Keep the move that ended the newest assignment; if there are several, the first of them.
        let ends = self.moved.take().into_iter().chain(other.moved.clone());
        self.moved = ends.min_by(|a, b| b.since.cmp(&a.since).then_with(|| a.cmp(b)));
        // If the tag came back after it moved away, the move no longer matters.
        let set = self.set();
        self.moved.take_if(|moved| set > Some(moved.since));
    }

    /// The evidence from before a time. What newer evidence replaced is not in it.
    #[must_use]
    pub fn before(&self, time: Timestamp) -> Self {
        let is_before = |at: &Timestamp| *at < time;
        let replicated = self.replicated.iter().filter(|(_, at)| is_before(at));
        Self {
            pushed: self.pushed.filter(is_before),
            replicated: replicated.map(|(source, at)| (source.clone(), *at)).collect(),
            seen: self.seen.filter(is_before),
            removed: self.removed.filter(is_before),
            reported: self.reported.filter(is_before),
            archived: self.archived.filter(is_before),
            moved: self.moved.clone().filter(|moved| is_before(&moved.at)),
            listed: self.listed.filter(is_before),
        }
    }

    /// The newest time that the digest or tag was proved to be here, pullable or archived.
    #[must_use]
    pub fn set(&self) -> Option<Timestamp> {
        self.pullable().max(self.archived)
    }

    /// The newest time that the digest or tag was proved to be here and pullable.
    #[must_use]
    pub fn pullable(&self) -> Option<Timestamp> {
        self.replicated.values().copied().max().max(self.pushed).max(self.seen)
    }

    /// When the digest or tag was removed, if nothing newer proves that it is here: as reported, or else as observed.
    #[must_use]
    pub fn removed_at(&self) -> Option<Timestamp> {
        let newer = |at: &Timestamp| Some(*at) > self.set();
        self.reported.filter(newer).or(self.removed.filter(newer))
    }

    /// The replication lag in seconds: from the newest push at the source to the newest replication. `None` if one of
    /// the two is not known, or the push is the newer one.
    #[must_use]
    pub fn lag_seconds(&self, source: &Registry, at_source: &Self) -> Option<i64> {
        let replicated = self.replicated.get(source)?.as_second();
        let pushed = at_source.pushed?.as_second();
        (replicated >= pushed).then(|| replicated - pushed)
    }
}

/// The evidence that one fact proves, by key. A deletion of a repository is about images that the event does not name;
/// it is stored with the repository and merged when an image is read (see [`crate::lineage`]).
#[must_use]
pub fn of(fact: &Fact) -> Vec<(PlacementKey, Evidence)> {
    let Subject::Image(image) = &fact.subject else { return Vec::new() };
    let at = Some(fact.time);
    let none = Evidence::default();
    let name =
        |tag: Option<&Tag>| PlacementKey { image: image.clone(), registry: fact.registry.clone(), tag: tag.cloned() };
    let (tags, evidence): (Vec<Option<&Tag>>, _) = match &fact.what {
        What::Observed { storage: Some(class), tags, without, complete, source } => {
            let seen = match class {
                StorageClass::Standard => Evidence { seen: at, ..none },
                StorageClass::Archive => Evidence { archived: at, ..none },
            };
            // ECR reports the source of the image, but not of its tags, which may have been pushed to this registry.
            let mut image = seen.clone();
            image.replicated.extend(source.iter().map(|source| (source.clone(), fact.time)));
            image.listed = at.filter(|_| *complete);
            let there = tags.iter().map(|tag| (name(Some(tag)), seen.clone()));
            let gone = without.iter().map(|tag| (name(Some(tag)), Evidence { removed: at, ..Evidence::default() }));
            return std::iter::once((name(None), image)).chain(there).chain(gone).collect();
        }
        // A cached image is as original here as a pushed one: no source's deletion may delete it.
        What::Pushed { tag, .. } | What::Cached { tag, .. } => (vec![tag.as_ref()], Evidence { pushed: at, ..none }),
        What::Replicated { source, tag } => {
            (vec![tag.as_ref()], Evidence { replicated: [(source.clone(), fact.time)].into(), ..none })
        }
        What::Observed { storage: None, .. } => (vec![None], Evidence { removed: at, ..none }),
        What::ImageDeleted { .. } => (vec![None], Evidence { removed: at, reported: at, ..none }),
        What::TagsDeleted { tags, .. } => {
            (tags.iter().map(Some).collect(), Evidence { removed: at, reported: at, ..none })
        }
        What::Archived { .. } => (vec![None], Evidence { archived: at, ..none }),
        What::Restored => (vec![None], Evidence { seen: at, ..none }),
        What::ReplicationFailed { .. }
        | What::Attempted { .. }
        | What::RepositoryDeleted { .. }
        | What::Changed { .. }
        | What::Other { .. } => (Vec::new(), none),
    };
    tags.into_iter().map(|tag| (name(tag), evidence.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_before_a_time_has_only_older_times() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let [ireland, tokyo] = ["111122223333/eu-west-1", "444455556666/ap-northeast-1"]
            .map(|registry| registry.parse::<Registry>().unwrap());
        let moved = Move { since: at(1), at: at(5), to: format!("sha256:{}", "a".repeat(64)).parse().unwrap() };
        let at_five = Evidence {
            pushed: Some(at(5)),
            replicated: [(ireland.clone(), at(4)), (tokyo, at(5))].into(),
            seen: Some(at(5)),
            removed: Some(at(5)),
            reported: Some(at(5)),
            archived: Some(at(5)),
            moved: Some(moved),
            listed: Some(at(5)),
        };
        assert_eq!(at_five.before(at(6)), at_five);
        assert_eq!(at_five.before(at(5)), Evidence { replicated: [(ireland, at(4))].into(), ..Evidence::default() });
        assert_eq!(at_five.before(at(4)), Evidence::default());
    }
    #[test]
    fn a_removal_counts_if_nothing_at_the_same_time_or_later_proves_presence() {
        let at = |second| Timestamp::from_second(second).ok();
        let removed =
            |removed, reported, seen| Evidence { removed, reported, seen, ..Evidence::default() }.removed_at();
        assert_eq!(removed(at(6), None, at(5)), at(6));
        assert_eq!(removed(at(5), at(5), at(5)), None, "present wins");
        assert_eq!(removed(at(5), None, None), at(5));
        assert_eq!(removed(at(8), at(6), at(5)), at(6), "as reported");
        assert_eq!(removed(at(8), at(4), at(5)), at(8), "the report is older than the proof");
    }

    #[test]
    fn the_lag_is_the_time_from_the_newest_push_to_the_newest_replication() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let source: Registry = "111122223333/eu-west-1".parse().unwrap();
        let other: Registry = "111122223333/eu-west-2".parse().unwrap();
        let lag = |pushed: Option<i64>, replicated| {
            let replica = Evidence { replicated: [(source.clone(), at(replicated))].into(), ..Evidence::default() };
            let at_source = Evidence { pushed: pushed.map(at), ..Evidence::default() };
            assert_eq!(replica.lag_seconds(&other, &at_source), None);
            replica.lag_seconds(&source, &at_source)
        };
        assert_eq!(lag(Some(10), 14), Some(4));
        assert_eq!(lag(Some(10), 10), Some(0));
        assert_eq!(lag(Some(11), 10), None, "the push is newer");
        assert_eq!(lag(None, 10), None);
    }
    #[test]
    fn a_deletion_is_reported_and_what_is_found_missing_is_not() {
        let subject = Subject::Image(format!("team/app@sha256:{}", "a".repeat(64)).parse().unwrap());
        let registry: Registry = "111122223333/eu-west-1".parse().unwrap();
        let (time, cause) = (Timestamp::from_second(5).unwrap(), crate::fact::Cause::Unknown);
        let of = |what| {
            let (subject, registry) = (subject.clone(), registry.clone());
            let evidence = of(&Fact { time, registry, event_id: "event".to_owned(), subject, what });
            let each = evidence.into_iter().map(|(key, evidence)| (key.tag, evidence.removed, evidence.reported));
            each.collect::<Vec<_>>()
        };
        let (at, tag) = (Some(time), "v1".parse::<Tag>().unwrap());
        assert_eq!(of(What::ImageDeleted { cause: cause.clone() }), [(None, at, at)]);
        assert_eq!(of(What::TagsDeleted { tags: [tag.clone()].into(), cause }), [(Some(tag), at, at)]);
        assert_eq!(of(What::FOUND_MISSING), [(None, at, None)]);
    }
}
