//! Expected replicas: every destination that a replication rule names for an image, and the state of its copy.
//!
//! This is an answer for people and pipelines, from what is recorded. `watch` decides by [`super::ReplicationExpectation`]
//! when to ask ECR, and what to alert.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EXPECTED_REPLICATION_TIME, ReplicationExpectation, ReplicationProblem};
use crate::{
    alert::AlertKind,
    image::{Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    named::named,
    replication::ReplicationSettings,
    time::time_text,
};

named! {
    /// The state of an expected replica.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum ReplicaState {
        /// The destination has the image, with every tag that the source's image has.
        Arrived = "arrived",
        /// The image or a tag was pushed less than 30 minutes ago, and is not recorded at the destination yet.
        Replicating = "replicating",
        /// ECR has been copying it for longer than expected.
        Late = "late",
        /// ECR failed to copy it, and does not retry.
        Failed = "failed",
        /// ECR reports no copy.
        Missing = "missing",
        /// The destination has the image, but not every tag that the source's image has.
        Untagged = "untagged",
        /// The copy was there, and was deleted.
        Deleted = "deleted",
        /// The image was pushed before the rule was known: ECR copies only what is pushed after it.
        NotExpected = "not_expected",
        /// Nothing is recorded about the copy: no event, no answer of ECR, no listing.
        Unknown = "unknown",
    }
}

impl ReplicaState {
    /// The state in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotExpected => "not expected",
            Self::Untagged => "tag missing",
            other => other.as_str(),
        }
    }

    fn of(kind: AlertKind) -> Self {
        match kind {
            AlertKind::ReplicationLate => Self::Late,
            AlertKind::ReplicationFailed => Self::Failed,
            AlertKind::ReplicaUntagged => Self::Untagged,
            _ => Self::Missing,
        }
    }
}

/// One destination that a replication rule names for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExpectedReplica {
    /// The destination.
    pub registry: Registry,
    /// The registry from which ECR replicates.
    pub source: Registry,
    /// The state of the copy.
    pub state: ReplicaState,
    /// The state in words.
    pub state_text: &'static str,
    /// The push to the source that the copy follows.
    pub pushed_at: Timestamp,
    /// The tags that the source's image has and the replica lacks, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Tag>))]
    pub missing_tags: BTreeSet<Tag>,
    /// Why it is in this state, in one line; absent if it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The expected replicas of an image, by destination: of every registry to which it was pushed and that still has it, the
/// destinations of the rules that cover its repository.
#[must_use]
pub fn expected_replicas(
    lineage: &Lineage,
    settings: &BTreeMap<Registry, ReplicationSettings>,
    expectations: &[ReplicationExpectation],
    now: Timestamp,
) -> Vec<ExpectedReplica> {
    let mut replicas: BTreeMap<&Registry, ExpectedReplica> = BTreeMap::new();
    for (source, placement) in &lineage.placements {
        let has_it = matches!(placement.status(), PlacementStatus::Present | PlacementStatus::Archived);
        let (Some(own), Some(pushed_at), true) = (settings.get(source), placement.pushed(), has_it) else { continue };
        for (destination, known_since) in own.destinations(&lineage.image.repository) {
            let copy = ExpectedCopy { lineage, source, placement, pushed_at, destination, known_since, now };
            let problem = worst_problem(expectations, lineage, source, destination);
            let replica = copy.replica(problem);
            // If several sources replicate to it, the best copy counts: one is enough.
            match replicas.get(destination) {
                Some(known) if known.state <= replica.state => {}
                _ => _ = replicas.insert(destination, replica),
            }
        }
    }
    replicas.into_values().collect()
}

/// The newest problem of a copy that lasts, of a push whose tag the source's image still has.
fn worst_problem<'a>(
    expectations: &'a [ReplicationExpectation],
    lineage: &Lineage,
    source: &Registry,
    destination: &Registry,
) -> Option<&'a ReplicationProblem> {
    let of_source =
        expectations.iter().filter(|one| one.source == *source && one.expected_tag(lineage) == one.tag.as_ref());
    // A problem that is older than the push is one of an earlier push: `watch` has not looked again yet.
    let problems = of_source.filter_map(|one| {
        let problem = one.state.problems.get(destination)?;
        (problem.over.is_none() && problem.since >= one.since).then_some(problem)
    });
    problems.max_by_key(|problem| problem.since)
}

/// Everything that decides about one expected replica.
struct ExpectedCopy<'a> {
    lineage: &'a Lineage,
    source: &'a Registry,
    placement: &'a Placement,
    pushed_at: Timestamp,
    destination: &'a Registry,
    known_since: Timestamp,
    now: Timestamp,
}

impl ExpectedCopy<'_> {
    fn replica(&self, problem: Option<&ReplicationProblem>) -> ExpectedReplica {
        let here = self.lineage.placements.get(self.destination);
        let tags = here.map(Placement::current_tags).unwrap_or_default();
        let missing_tags: BTreeSet<Tag> = self.placement.current_tags().difference(&tags).copied().cloned().collect();
        let (state, why) = match (here.map(Placement::status), problem) {
            (Some(PlacementStatus::Present | PlacementStatus::Archived), _) if missing_tags.is_empty() => {
                (ReplicaState::Arrived, None)
            }
            (_, Some(problem)) => (ReplicaState::of(problem.kind), Some(problem.why.clone())),
            (Some(PlacementStatus::Present | PlacementStatus::Archived), None) => self.untagged(&missing_tags),
            (Some(PlacementStatus::ProbablyAbsent | PlacementStatus::Absent), None) if self.arrived(here) => {
                let at = here.and_then(Placement::gone_at).map(|at| format!(" at {}", time_text(at)));
                (ReplicaState::Deleted, Some(format!("deleted{}", at.unwrap_or_default())))
            }
            _ => self.not_there(self.pushed_at),
        };
        ExpectedReplica {
            registry: self.destination.clone(),
            source: self.source.clone(),
            state,
            state_text: state.words(),
            pushed_at: self.pushed_at,
            missing_tags,
            why,
        }
    }

    /// Whether the destination had the image since the push.
    fn arrived(&self, here: Option<&Placement>) -> bool {
        here.is_some_and(|here| here.replicated().values().any(|at| *at >= self.pushed_at))
            || here.and_then(Placement::gone_at) >= Some(self.pushed_at)
    }

    /// The image is there, and tags are not.
    fn untagged(&self, missing_tags: &BTreeSet<Tag>) -> (ReplicaState, Option<String>) {
        let set = |tag: &Tag| self.placement.tags.get(tag).and_then(crate::evidence::Evidence::set);
        let newest = missing_tags.iter().filter_map(set).max().unwrap_or(self.pushed_at);
        match self.not_there(newest) {
            (ReplicaState::Unknown, _) => {
                let tags: Vec<_> = missing_tags.iter().map(Tag::as_str).collect();
                (ReplicaState::Untagged, Some(format!("has the image without {}", tags.join(", "))))
            }
            other => other,
        }
    }

    /// Something that was pushed at a time is not recorded there.
    fn not_there(&self, pushed_at: Timestamp) -> (ReplicaState, Option<String>) {
        if pushed_at < self.known_since {
            let why = format!("pushed before the rule was known ({})", time_text(self.known_since));
            (ReplicaState::NotExpected, Some(why))
        } else if self.now.duration_since(pushed_at) < EXPECTED_REPLICATION_TIME {
            (ReplicaState::Replicating, Some(format!("since {}", time_text(pushed_at))))
        } else {
            (ReplicaState::Unknown, Some("no event, no answer of ECR and no listing says that it arrived".to_owned()))
        }
    }
}
