//! What facts prove about placements, in a form that can be joined in any order.
//!
//! EventBridge delivers at least once and unordered. So what is stored is not a state but the newest time each thing
//! was true and the newest time it was false. Joining two pieces of evidence keeps the newer of each: commutative,
//! associative and idempotent, so any order, any repetition and any batching of the same events give the same table.
//! A later time wins; on the same second **present wins**.
//!
//! Evidence is kept per [`PlacementKey`]: the image itself in one registry, or one tag on it. A registry allows 1,000 tags on an
//! image, and a pipeline that never changes its output collects more over time; one item per tag keeps every write
//! small whatever the history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    fact::{Fact, StorageClass, Subject, What},
    image::{Digest, Image, Registry, Tag},
};

/// One name under which an image can be found in a registry: its digest, or a tag on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementKey {
    /// The image.
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// The tag, or none for the digest itself.
    pub tag: Option<Tag>,
}

/// The newest time of everything known about one [`PlacementKey`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Pushed here by somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Timestamp>,
    /// Brought here by replication, by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicated: BTreeMap<Registry, Timestamp>,
    /// Here and pullable by any other proof: restored, observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Timestamp>,
    /// Deleted, or observed to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
    /// Here, in the archive storage class: of a tag, seen on an image that is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<Timestamp>,
    /// The tag was put on another image in the same registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Move>,
}

/// A tag that went to another image. ECR sends no event to the image that loses it; the push of the other one proves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Move {
    /// The time the tag was set on this image, of which this is the end.
    pub since: Timestamp,
    /// The next time the tag was set on another image in this registry.
    pub at: Timestamp,
    /// That other image.
    pub to: Digest,
}

impl Evidence {
    /// Takes in other evidence about the same name.
    pub fn merge(&mut self, other: &Self) {
        self.pushed = self.pushed.max(other.pushed);
        for (source, time) in &other.replicated {
            let known = self.replicated.entry(source.clone()).or_insert(*time);
            *known = (*known).max(*time);
        }
        self.seen = self.seen.max(other.seen);
        self.removed = self.removed.max(other.removed);
        self.archived = self.archived.max(other.archived);
        // The end of the newest setting; of several ends, the first.
        let ends = self.moved.take().into_iter().chain(other.moved.clone());
        self.moved = ends.min_by(|a, b| b.since.cmp(&a.since).then_with(|| a.cmp(b)));
        // The tag came back after it had moved away: the move is history.
        let set = self.set();
        self.moved.take_if(|moved| set > Some(moved.since));
    }

    /// The newest time the name was put here or seen here, pullable or archived.
    #[must_use]
    pub fn set(&self) -> Option<Timestamp> {
        self.pullable().max(self.archived)
    }

    /// The newest time the name was here and pullable, by any proof.
    #[must_use]
    pub fn pullable(&self) -> Option<Timestamp> {
        self.replicated.values().copied().max().max(self.pushed).max(self.seen)
    }

    /// Seconds from the newest push at the source until this replica had it, if it has it.
    #[must_use]
    pub fn lag_seconds(&self, source: &Registry, at_source: &Self) -> Option<i64> {
        let replicated = self.replicated.get(source)?.as_second();
        let pushed = at_source.pushed?.as_second();
        (replicated >= pushed).then(|| replicated - pushed)
    }
}

/// What one fact proves, name by name. A deletion of a repository is about images that the event does not name; it is
/// kept with the repository and joined when an image is read (see [`crate::lineage`]).
#[must_use]
pub fn of(fact: &Fact) -> Vec<(PlacementKey, Evidence)> {
    let Subject::Image(image) = &fact.subject else { return Vec::new() };
    let at = Some(fact.time);
    let none = Evidence::default();
    let name =
        |tag: Option<&Tag>| PlacementKey { image: image.clone(), registry: fact.registry.clone(), tag: tag.cloned() };
    let (tags, evidence): (Vec<Option<&Tag>>, _) = match &fact.what {
        What::Observed { storage: Some(class), tags, without, source } => {
            let seen = match class {
                StorageClass::Standard => Evidence { seen: at, ..none },
                StorageClass::Archive => Evidence { archived: at, ..none },
            };
            // ECR says where the image came from, and of no tag: somebody may have put one on it here.
            let mut image = seen.clone();
            image.replicated.extend(source.iter().map(|source| (source.clone(), fact.time)));
            let there = tags.iter().map(|tag| (name(Some(tag)), seen.clone()));
            let gone = without.iter().map(|tag| (name(Some(tag)), Evidence { removed: at, ..Evidence::default() }));
            return std::iter::once((name(None), image)).chain(there).chain(gone).collect();
        }
        What::Pushed { tag, .. } => (vec![tag.as_ref()], Evidence { pushed: at, ..none }),
        What::Replicated { source, tag } => {
            (vec![tag.as_ref()], Evidence { replicated: [(source.clone(), fact.time)].into(), ..none })
        }
        What::ImageDeleted { .. } | What::Observed { storage: None, .. } => {
            (vec![None], Evidence { removed: at, ..none })
        }
        What::TagsDeleted { tags, .. } => (tags.iter().map(Some).collect(), Evidence { removed: at, ..none }),
        What::Archived { .. } => (vec![None], Evidence { archived: at, ..none }),
        What::Restored => (vec![None], Evidence { seen: at, ..none }),
        What::ReplicationFailed { .. }
        | What::DeletionFailed { .. }
        | What::RepositoryDeleted { .. }
        | What::ReplicationConfigured { .. }
        | What::Other { .. } => (Vec::new(), none),
    };
    tags.into_iter().map(|tag| (name(tag), evidence.clone())).collect()
}
