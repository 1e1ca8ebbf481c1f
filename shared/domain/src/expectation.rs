//! Copies that a push should cause, and the problems when they do not arrive.
//!
//! A push, a restored image or a new tag is one [`ReplicationExpectation`], for all destinations together. When it is
//! due and the recorded evidence shows that every copy arrived, nothing else is read. Otherwise ECR is asked once about
//! all destinations of the image. Each copy that did not arrive is a [`ReplicationProblem`] until it arrives or is no
//! longer expected.

mod completion;
mod copy;
mod replicas;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use completion::{ArrivedCopy, Completion, PushKey, REPLICATION_COMPLETE, ReplicationComplete, push_concerned_by};
pub use replicas::{ExpectedReplica, ReplicaState, expected_replicas};

use copy::{CopyContext, CopyVerdict, EvaluatedCopy};

use crate::{
    alert::AlertKind,
    evidence::Evidence,
    fact::{Fact, Subject, What},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::Observation,
    replication::{CopyStatus, ReplicationSettings},
    time::whole_seconds,
};

/// How long a copy may take: "the majority of images replicate in less than 30 minutes".
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>
pub const EXPECTED_REPLICATION_TIME: SignedDuration = SignedDuration::from_mins(30);

/// How long a copy is expected: 14 days after the push.
pub const GIVE_UP: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Settings that were read longer than this before a push do not decide whether the push is replicated.
const OUTDATED_SETTINGS: SignedDuration = SignedDuration::from_hours(3);

/// The shortest and the longest time until an expectation is evaluated again; in between, it is an eighth of the time
/// since the push.
const RECHECK_PAUSE: (SignedDuration, SignedDuration) = (SignedDuration::from_mins(5), SignedDuration::from_hours(3));

/// The copies that one push, restored image or new tag should cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationExpectation {
    /// The repository and the digest.
    pub image: Image,
    /// The registry to which the image was pushed.
    pub source: Registry,
    /// The tag of the push, if it had one.
    pub tag: Option<Tag>,
    /// The newest push. If no event reported the push, the newest copy that failed.
    pub since: Timestamp,
    /// When the expectation is evaluated next; `None` when it is settled.
    pub due: Option<Timestamp>,
    /// The stored state.
    pub state: ExpectationState,
}

/// The stored state of an expectation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationState {
    /// The number of times it was stored, for optimistic locking.
    #[serde(default)]
    pub version: u64,
    /// Present and past problems, by destination.
    #[serde(default)]
    pub problems: BTreeMap<Registry, ReplicationProblem>,
    /// When all copies had arrived. Stored once for each push: the table's stream publishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Completion>,
}

/// A copy that did not arrive in time, or arrived without its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationProblem {
    /// The kind of problem.
    pub kind: AlertKind,
    /// When the problem was found.
    pub since: Timestamp,
    /// What is wrong, in one line.
    pub why: String,
    /// When the problem ended; `None` while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
}

/// The answer of ECR to the question about the copies of an image, asked at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The status of the copies, by destination.
    Copies(BTreeMap<Registry, CopyStatus>),
    /// The source does not have the image.
    Gone,
    /// ECR could not be read, for this reason.
    Unreadable(String),
}

/// The beginning or the end of a problem between two registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemChange {
    /// The kind of problem.
    pub kind: AlertKind,
    /// The destination of the copy.
    pub destination: Registry,
    /// How the problem ended; `None` if it begins.
    pub end: Option<ProblemEnd>,
    /// What is wrong, in one line.
    pub why: String,
}

/// How a problem ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemEnd {
    /// The copy arrived.
    Arrived,
    /// The tag moved on at the source, and a newer image has it at the destination.
    Superseded,
    /// The copy is no longer expected, or it has another problem now.
    Otherwise,
}

/// The result of evaluating an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectationOutcome {
    /// The expectation as it is to be stored.
    pub expectation: ReplicationExpectation,
    /// Observations that no event had reported.
    pub facts: Vec<Fact>,
    /// Problems that began or ended.
    pub changes: Vec<ProblemChange>,
    /// Destinations whose replica is gone although ECR reports the copy as complete.
    pub deleted: Vec<Registry>,
}

/// The image and the tag that a fact pushed or restored, which ECR replicates if a rule applies: "only repository
/// content pushed or restored".
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>
#[must_use]
pub fn pushed_by(fact: &Fact) -> Option<(&Image, Option<&Tag>)> {
    match (&fact.subject, &fact.what) {
        (Subject::Image(image), What::Pushed { tag, .. }) => Some((image, tag.as_ref())),
        (Subject::Image(image), What::Restored) => Some((image, None)),
        _ => None,
    }
}

/// Whether copies of a push at a time are expected, according to the settings of all registries. They are not if the
/// known settings replicate nothing from the registry of the push, and nothing to it.
#[must_use]
pub fn is_replicated(
    settings: &BTreeMap<Registry, ReplicationSettings>,
    image: &Image,
    source: &Registry,
    pushed_at: Timestamp,
) -> bool {
    let replicates_to = |settings: &ReplicationSettings, destination: &Registry| {
        settings.destinations(&image.repository).contains_key(destination)
    };
    let own = settings.get(source).filter(|own| pushed_at.duration_since(own.read_at) < OUTDATED_SETTINGS);
    own.is_none_or(|own| !own.destinations(&image.repository).is_empty())
        || settings.values().any(|other| replicates_to(other, source))
}

/// When the expectation of a push is evaluated first.
#[must_use]
pub fn first_due(pushed_at: Timestamp) -> Timestamp {
    pushed_at.saturating_add(EXPECTED_REPLICATION_TIME).unwrap_or(Timestamp::MAX)
}

impl ReplicationExpectation {
    /// Whether copies are still expected: nothing recorded says that the source lost the image since the push, and the
    /// push is less than [`GIVE_UP`] ago.
    fn is_active(&self, lineage: &Lineage, now: Timestamp) -> bool {
        let source = lineage.placements.get(&self.source);
        let gone = |source: &Placement| {
            source.image.removed > Some(self.since)
                || matches!(source.status(), PlacementStatus::Absent | PlacementStatus::ProbablyAbsent)
        };
        !source.is_some_and(gone) && now.duration_since(self.since) < GIVE_UP
    }

    /// The tag that copies should have: that of the push, unless the source's image no longer has it. Then only the
    /// image is expected.
    fn expected_tag(&self, lineage: &Lineage) -> Option<&Tag> {
        let source = lineage.placements.get(&self.source);
        // If no push of the tag is recorded at the source, its absence there proves nothing.
        let lost = |tag: &Tag| {
            source.is_some_and(|source| source.tags.contains_key(tag) && !source.current_tags().contains(tag))
        };
        self.tag.as_ref().filter(|tag| !lost(tag))
    }

    /// The tag of the push and when it moved to another image at the source, if it did.
    #[must_use]
    pub fn moved_on(&self, lineage: &Lineage) -> Option<(&Tag, Timestamp)> {
        let tag = self.tag.as_ref()?;
        let moved = lineage.placements.get(&self.source)?.tags.get(tag)?.moved.as_ref()?;
        Some((tag, moved.at))
    }

    /// The newest push of the image to the source, with any tag.
    fn newest_push(&self, lineage: &Lineage) -> Timestamp {
        let source = lineage.placements.get(&self.source);
        source.and_then(Placement::pushed).map_or(self.since, |pushed| pushed.max(self.since))
    }

    /// Whether a copy has a problem now.
    #[must_use]
    pub fn has_problem(&self) -> bool {
        self.state.problems.values().any(|problem| problem.over.is_none())
    }

    /// The destinations whose copy is not recorded as arrived, with the time since when the route is known.
    #[must_use]
    pub fn missing<'a>(
        &self,
        lineage: &Lineage,
        settings: &'a ReplicationSettings,
        now: Timestamp,
    ) -> BTreeMap<&'a Registry, Timestamp> {
        if !self.is_active(lineage, now) {
            return BTreeMap::new();
        }
        let mut destinations = settings.destinations(&self.image.repository);
        destinations.retain(|to, _| !self.arrived(lineage, to));
        destinations
    }

    /// Whether a copy arrived in a destination since the push, even if it was deleted afterwards.
    fn arrived(&self, lineage: &Lineage, destination: &Registry) -> bool {
        let Some(placement) = lineage.placements.get(destination) else { return false };
        let proof = |name: &Evidence| name.replicated.get(&self.source).copied().max(name.set());
        let wanted = self.expected_tag(lineage);
        if wanted != self.tag.as_ref()
            && matches!(placement.status(), PlacementStatus::Present | PlacementStatus::Archived)
        {
            return true;
        }
        let newest = match wanted {
            Some(tag) => placement.tags.get(tag).and_then(|name| proof(name).max(name.removed)),
            None => placement.tags.values().filter_map(proof).max().max(proof(&placement.image)),
        };
        newest >= Some(self.since)
    }

    /// Evaluates the expectation.
    ///
    /// `asked` is ECR's answer about the copies. `observations` are reads of the destinations whose copy is complete
    /// and that no event reported, and of the source where one of them lacks a tag. Neither is needed when every copy
    /// arrived. `superseded` are the destinations where a newer image has the tag.
    #[must_use]
    pub fn evaluate(
        &self,
        lineage: &Lineage,
        settings: &ReplicationSettings,
        asked: Option<&Asked>,
        observations: &BTreeMap<Registry, Observation>,
        superseded: &BTreeSet<Registry>,
        now: Timestamp,
    ) -> ExpectationOutcome {
        let mut next = ExpectationOutcome {
            expectation: self.clone(),
            facts: Vec::new(),
            changes: Vec::new(),
            deleted: Vec::new(),
        };
        let mut open: BTreeMap<Registry, (AlertKind, String)> = BTreeMap::new();
        let (mut waiting, mut there) = (false, BTreeMap::new());
        match asked {
            Some(Asked::Unreadable(_)) => {
                next.expectation.due = Some(self.again(now));
                return next;
            }
            Some(Asked::Copies(copies)) => {
                for (destination, known_since) in self.missing(lineage, settings, now) {
                    let copy = CopyContext {
                        expectation: self,
                        lineage,
                        destination,
                        known_since,
                        route: settings.route(&self.image.repository, destination),
                        at_destination: observations.get(destination),
                        at_source: observations.get(&self.source),
                        now,
                    };
                    let EvaluatedCopy { verdict, fact, deleted } = copy.evaluate(copies.get(destination));
                    let arrived_at = if deleted { None } else { Some(fact.as_ref().map_or(now, |fact| fact.time)) };
                    next.facts.extend(fact);
                    next.deleted.extend(deleted.then(|| destination.clone()));
                    match verdict {
                        CopyVerdict::There => _ = there.insert(destination.clone(), arrived_at),
                        CopyVerdict::NotExpected => {}
                        CopyVerdict::Wait => waiting = true,
                        // A newer image has the tag: what ECR says is recorded, and is no problem.
                        CopyVerdict::Wrong(..) if superseded.contains(destination) => {}
                        CopyVerdict::Wrong(kind, why) => _ = open.insert(destination.clone(), (kind, why)),
                    }
                }
            }
            Some(Asked::Gone) => next.facts.push(self.fact(&self.source, now, What::FOUND_MISSING)),
            None => {}
        }
        let ended = |to: &Registry| match to {
            to if there.contains_key(to) || self.arrived(lineage, to) => ProblemEnd::Arrived,
            to if superseded.contains(to) => ProblemEnd::Superseded,
            _ => ProblemEnd::Otherwise,
        };
        next.settle(open, ended, now);
        next.expectation.due = (next.expectation.has_problem() || waiting).then(|| self.again(now));
        if next.expectation.due.is_none() {
            let recorded = |to: &Registry| self.arrived_at(lineage.placements.get(to));
            let arrived_at = |to: &Registry| recorded(to).or_else(|| there.get(to).copied().flatten());
            next.expectation.state.completion = self.completion(settings, arrived_at);
        }
        next
    }

    /// When the expectation is evaluated again.
    fn again(&self, now: Timestamp) -> Timestamp {
        let first = first_due(self.since);
        let (soonest, latest) = RECHECK_PAUSE;
        let pause = (now.duration_since(self.since) / 8).clamp(soonest, latest);
        if now < first { first } else { now.saturating_add(pause).unwrap_or(Timestamp::MAX) }
    }

    fn fact(&self, registry: &Registry, at: Timestamp, what: What) -> Fact {
        let tag = self.tag.as_ref().map_or("", |tag| tag.as_str());
        Fact {
            time: whole_seconds(at),
            registry: registry.clone(),
            event_id: format!("watch-{}-{}-{tag}", self.source.account(), self.source.region()),
            subject: Subject::Image(self.image.clone()),
            what,
        }
    }
}

impl ExpectationOutcome {
    /// Opens new problems and ends those that no longer exist.
    fn settle(
        &mut self,
        open: BTreeMap<Registry, (AlertKind, String)>,
        ended: impl Fn(&Registry) -> ProblemEnd,
        now: Timestamp,
    ) {
        let problems = &mut self.expectation.state.problems;
        for (destination, problem) in problems.iter_mut().filter(|(_, problem)| problem.over.is_none()) {
            if open.get(destination).is_some_and(|(kind, _)| *kind == problem.kind) {
                continue;
            }
            problem.over = Some(now);
            // A copy with another problem now has not ended well.
            let another = open.contains_key(destination);
            let end = Some(if another { ProblemEnd::Otherwise } else { ended(destination) });
            let (kind, destination, why) = (problem.kind, destination.clone(), problem.why.clone());
            self.changes.push(ProblemChange { kind, destination, end, why });
        }
        for (destination, (kind, why)) in open {
            if problems.get(&destination).is_some_and(|known| known.over.is_none()) {
                continue;
            }
            problems.insert(destination.clone(), ReplicationProblem { kind, since: now, why: why.clone(), over: None });
            self.changes.push(ProblemChange { kind, destination, end: None, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::Route;

    const IRELAND: &str = "111122223333/eu-west-1";
    const TOKYO: &str = "111122223333/ap-northeast-1";

    #[test]
    fn a_push_is_expected_to_be_replicated_unless_recent_settings_exclude_it() {
        let [ireland, tokyo] = [IRELAND, TOKYO].map(|registry| registry.parse::<Registry>().unwrap());
        let image: Image = format!("team/app@sha256:{}", "a".repeat(64)).parse().unwrap();
        let read_at = Timestamp::UNIX_EPOCH;
        let route = |to: &Registry, prefix: &str| Route {
            destination: to.clone(),
            prefix: prefix.to_owned(),
            deletes_natively: false,
            since: read_at,
        };
        let settings = |routes: &[Route]| ReplicationSettings { routes: routes.iter().cloned().collect(), read_at };
        let expected = |known: &[(&Registry, ReplicationSettings)], pushed_at| {
            let known = known.iter().map(|(registry, settings)| ((*registry).clone(), settings.clone())).collect();
            is_replicated(&known, &image, &ireland, pushed_at)
        };
        let soon = read_at + SignedDuration::from_hours(1);
        let nothing = settings(&[]);
        // The settings of the registry are unknown, or too old.
        assert!(expected(&[], soon));
        assert!(expected(&[(&ireland, nothing.clone())], read_at + OUTDATED_SETTINGS));
        // They copy the repository, another one, or nothing.
        assert!(expected(&[(&ireland, settings(&[route(&tokyo, "team/")]))], soon));
        assert!(!expected(&[(&ireland, settings(&[route(&tokyo, "other/")]))], soon));
        assert!(!expected(&[(&ireland, nothing.clone())], soon));
        // Another registry copies the repository to this one: this push may be a mistake.
        assert!(expected(&[(&ireland, nothing), (&tokyo, settings(&[route(&ireland, "")]))], soon));
    }
}
