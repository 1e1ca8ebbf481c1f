//! Copies that a push should cause, and the problems when they do not arrive.
//!
//! A push, a restored image or a new tag is one [`ReplicationExpectation`], for all destinations together. When it is
//! due and the recorded evidence shows that every copy arrived, nothing else is read. Otherwise ECR is asked once about
//! all destinations of the image. Each copy that did not arrive is a [`ReplicationProblem`] until it arrives or is no
//! longer expected.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    alert::AlertKind,
    evidence::Evidence,
    fact::{Fact, StorageClass, Subject, What},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::Observation,
    replication::{CopyStatus, ReplicationSettings, Route},
    time::whole_seconds,
};

/// How long a copy may take: "the majority of images replicate in less than 30 minutes".
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>
pub const EXPECTED_REPLICATION_TIME: SignedDuration = SignedDuration::from_mins(30);

/// How long a copy is expected: 14 days after the push.
pub const GIVE_UP: SignedDuration = SignedDuration::from_hours(14 * 24);

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
    /// arrived.
    #[must_use]
    pub fn evaluate(
        &self,
        lineage: &Lineage,
        settings: &ReplicationSettings,
        asked: Option<&Asked>,
        observations: &BTreeMap<Registry, Observation>,
        now: Timestamp,
    ) -> ExpectationOutcome {
        let mut next = ExpectationOutcome {
            expectation: self.clone(),
            facts: Vec::new(),
            changes: Vec::new(),
            deleted: Vec::new(),
        };
        let missing = self.missing(lineage, settings, now);
        let mut open: BTreeMap<Registry, (AlertKind, String)> = BTreeMap::new();
        let (mut waiting, mut there) = (false, BTreeSet::new());
        match asked {
            Some(Asked::Unreadable(_)) => {
                next.expectation.due = Some(self.again(now));
                return next;
            }
            Some(Asked::Copies(copies)) => {
                for (destination, known_since) in &missing {
                    let copy = copies.get(*destination);
                    let observation = (observations.get(*destination), observations.get(&self.source));
                    let route = settings.route(&self.image.repository, destination);
                    match self.evaluate_copy(
                        lineage,
                        (destination, *known_since),
                        route,
                        copy,
                        observation,
                        now,
                        &mut next,
                    ) {
                        CopyVerdict::There => _ = there.insert((*destination).clone()),
                        CopyVerdict::NotExpected => {}
                        CopyVerdict::Wait => waiting = true,
                        CopyVerdict::Wrong(kind, why) => _ = open.insert((*destination).clone(), (kind, why)),
                    }
                }
            }
            Some(Asked::Gone) => next.facts.push(self.fact(&self.source, now, What::FOUND_MISSING)),
            None => {}
        }
        next.settle(open, |to| there.contains(to) || self.arrived(lineage, to), now);
        next.expectation.due = (next.expectation.has_problem() || waiting).then(|| self.again(now));
        next
    }

    /// When the expectation is evaluated again.
    fn again(&self, now: Timestamp) -> Timestamp {
        let patience = self.since.saturating_add(EXPECTED_REPLICATION_TIME).unwrap_or(Timestamp::MAX);
        let (soonest, latest) = RECHECK_PAUSE;
        let pause = (now.duration_since(self.since) / 8).clamp(soonest, latest);
        if now < patience { patience } else { now.saturating_add(pause).unwrap_or(Timestamp::MAX) }
    }

    /// Evaluates one copy that no event reported.
    #[expect(clippy::too_many_arguments, reason = "all that is known of one copy")]
    fn evaluate_copy(
        &self,
        lineage: &Lineage,
        (destination, known_since): (&Registry, Timestamp),
        route: Option<&Route>,
        copy: Option<&CopyStatus>,
        (observation, at_source): (Option<&Observation>, Option<&Observation>),
        now: Timestamp,
        next: &mut ExpectationOutcome,
    ) -> CopyVerdict {
        let pushed = self.since;
        let impatient = now.duration_since(pushed) >= EXPECTED_REPLICATION_TIME;
        let name = match &self.tag {
            Some(tag) => format!("{}:{tag}", self.image.repository),
            None => format!("{}@{}", self.image.repository, self.image.digest.short()),
        };
        let since = pushed.strftime("%Y-%m-%d %H:%M:%S UTC");
        match copy {
            Some(CopyStatus::Failed(code)) => {
                let why = format!("{name} was not replicated from {} to {destination}", self.source);
                CopyVerdict::Wrong(AlertKind::ReplicationFailed, format!("{why}: {}", cause(code.as_deref())))
            }
            // ECR has one status for all pushes of an image: that of the newest.
            Some(CopyStatus::InProgress)
                if impatient && now.duration_since(self.newest_push(lineage)) >= EXPECTED_REPLICATION_TIME =>
            {
                let why = format!("{name} has been replicating from {} to {destination} since {since}", self.source);
                CopyVerdict::Wrong(AlertKind::ReplicationLate, why)
            }
            None if impatient && pushed >= known_since => {
                let which = match route.map(|route| route.prefix.as_str()) {
                    None | Some("") => "every repository".to_owned(),
                    Some(prefix) => format!("`{prefix}`"),
                };
                let why = format!(
                    "{name} was pushed to {} at {since}; the rule for {which} replicates it to {destination}, but ECR reports no copy",
                    self.source
                );
                CopyVerdict::Wrong(AlertKind::ReplicationMissing, why)
            }
            Some(CopyStatus::InProgress) => CopyVerdict::Wait,
            None if pushed >= known_since => CopyVerdict::Wait,
            None => CopyVerdict::NotExpected,
            Some(CopyStatus::Complete) => match observation {
                Some(Observation::Present(seen)) => {
                    let known = lineage.placements.get(destination);
                    let arrived = seen.pushed_at.filter(|at| pushed <= *at && *at <= now).unwrap_or(now);
                    let unknown = |tag: &&Tag| known.is_none_or(|here| !here.current_tags().contains(*tag));
                    let storage = if seen.archived { StorageClass::Archive } else { StorageClass::Standard };
                    let tags = seen.tags.iter().filter(unknown).cloned().collect();
                    let source = (!seen.archived).then(|| self.source.clone());
                    let what = What::Observed { storage: Some(storage), tags, without: [].into(), source };
                    let lost =
                        |tag: &Tag| matches!(at_source, Some(Observation::Present(there)) if !there.tags.contains(tag));
                    let has_tag = self.expected_tag(lineage).is_none_or(|tag| seen.tags.contains(tag) || lost(tag));
                    let has_new_facts = has_tag || known.is_none_or(|here| here.image.set() < Some(pushed));
                    if has_new_facts {
                        next.facts.push(self.fact(destination, arrived, what));
                    }
                    if has_tag {
                        return CopyVerdict::There;
                    }
                    let why = format!("{name} was replicated from {} to {destination} without its tag", self.source);
                    if impatient { CopyVerdict::Wrong(AlertKind::ReplicaUntagged, why) } else { CopyVerdict::Wait }
                }
                Some(Observation::Missing | Observation::NoRepository) => {
                    next.deleted.push(destination.clone());
                    if lineage.placements.get(destination).is_some_and(|here| here.status().may_be_there()) {
                        next.facts.push(self.fact(destination, now, What::FOUND_MISSING));
                    }
                    CopyVerdict::There
                }
                // ECR reports the copy as complete, and the destination could not be read.
                Some(Observation::Unreadable(_) | Observation::NotAsked) | None => {
                    if lineage.placements.get(destination).is_none_or(|here| here.image.set() < Some(pushed)) {
                        let (storage, source) = (Some(StorageClass::Standard), Some(self.source.clone()));
                        let what = What::Observed { storage, tags: [].into(), without: [].into(), source };
                        next.facts.push(self.fact(destination, now, what));
                    }
                    CopyVerdict::There
                }
            },
        }
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
        arrived: impl Fn(&Registry) -> bool,
        now: Timestamp,
    ) {
        let problems = &mut self.expectation.state.problems;
        for (destination, problem) in problems.iter_mut().filter(|(_, problem)| problem.over.is_none()) {
            if open.get(destination).is_some_and(|(kind, _)| *kind == problem.kind) {
                continue;
            }
            problem.over = Some(now);
            let there = !open.contains_key(destination) && arrived(destination);
            let end = Some(if there { ProblemEnd::Arrived } else { ProblemEnd::Otherwise });
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

/// The result for one copy.
enum CopyVerdict {
    /// The copy arrived, even if it was deleted afterwards.
    There,
    /// The image was pushed before the route was known.
    NotExpected,
    /// The copy may still arrive.
    Wait,
    /// The copy has a problem, with its description.
    Wrong(AlertKind, String),
}

/// The usual cause of a failure. AWS documents causes but no codes, so the words in the code are matched with the
/// causes.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-troubleshoot.html>
fn cause(code: Option<&str>) -> String {
    let Some(code) = code else { return "ECR gives no reason".to_owned() };
    let words = code.to_ascii_lowercase();
    let usual = if words.contains("denied") || words.contains("permission") || words.contains("authorized") {
        "the destination's registry policy does not allow `ecr:ReplicateImage` to the source"
    } else if words.contains("repository") {
        "the repository does not exist, and the destination's registry policy does not allow `ecr:CreateRepository`"
    } else if words.contains("kms") || words.contains("key") {
        "the KMS key of the destination's repository cannot be used"
    } else if words.contains("region") || words.contains("opt") {
        "the account is not opted in to the region of the destination"
    } else {
        "unknown failure code"
    };
    format!("ECR says {code}; {usual}")
}
