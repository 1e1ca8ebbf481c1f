//! One copy that no event reported: whether it arrived, may still arrive, or has a problem.

use jiff::Timestamp;

use super::{EXPECTED_REPLICATION_TIME, ReplicationExpectation};
use crate::{
    alert::AlertKind,
    fact::{Fact, StorageClass, What},
    image::{Registry, Tag},
    lineage::{Lineage, Placement},
    observation::{Observation, ObservedImage},
    replication::{CopyStatus, Route},
};

/// Everything known about one copy that no event reported, besides its status.
pub(super) struct CopyContext<'a> {
    pub(super) expectation: &'a ReplicationExpectation,
    pub(super) lineage: &'a Lineage,
    pub(super) destination: &'a Registry,
    /// Since when it is known that the rules replicate to the destination.
    pub(super) known_since: Timestamp,
    /// The filter of a rule by which ECR replicates to the destination.
    pub(super) route: Option<&'a Route>,
    /// The observation of the image at the destination, if it was read.
    pub(super) at_destination: Option<&'a Observation>,
    /// The observation of the image at the source, if it was read.
    pub(super) at_source: Option<&'a Observation>,
    pub(super) now: Timestamp,
}

/// The result for one copy.
pub(super) struct EvaluatedCopy {
    pub(super) verdict: CopyVerdict,
    /// The observation to record, if it adds anything.
    pub(super) fact: Option<Fact>,
    /// Whether the replica is gone although ECR reports the copy as complete.
    pub(super) deleted: bool,
}

/// Whether a copy arrived.
pub(super) enum CopyVerdict {
    /// The copy arrived, even if it was deleted afterwards.
    There,
    /// The image was pushed before the route was known.
    NotExpected,
    /// The copy may still arrive.
    Wait,
    /// The copy has a problem, with its description.
    Wrong(AlertKind, String),
}

impl From<CopyVerdict> for EvaluatedCopy {
    fn from(verdict: CopyVerdict) -> Self {
        Self { verdict, fact: None, deleted: false }
    }
}

impl<'a> CopyContext<'a> {
    /// Evaluates the copy. `status` is what ECR reports about it at the source; `None` if ECR reports no copy.
    pub(super) fn evaluate(&self, status: Option<&CopyStatus>) -> EvaluatedCopy {
        match status {
            Some(CopyStatus::Failed(code)) => self.failed(code.as_deref()).into(),
            Some(CopyStatus::InProgress) => self.in_progress().into(),
            None => self.not_begun().into(),
            Some(CopyStatus::Complete) => match self.at_destination {
                Some(Observation::Present(seen)) => self.complete(seen),
                Some(Observation::Missing | Observation::NoRepository) => self.complete_and_gone(),
                Some(Observation::Unreadable(_) | Observation::NotAsked) | None => self.complete_and_not_read(),
            },
        }
    }

    /// ECR failed to copy the image.
    fn failed(&self, code: Option<&str>) -> CopyVerdict {
        let (name, source, destination) = self.names();
        let cause = self.refusal().unwrap_or_else(|| usual_cause(code.or_else(|| self.reported_code())));
        let why = format!("{name} was not replicated from {source} to {destination}: {cause}");
        CopyVerdict::Wrong(AlertKind::ReplicationFailed, why)
    }

    /// The facts about the destination since the push, newest first.
    fn facts_here(&self) -> impl Iterator<Item = &'a What> {
        let here = |fact: &&Fact| fact.registry == *self.destination && fact.time >= self.expectation.since;
        let mut facts: Vec<_> = self.lineage.facts.iter().filter(here).collect();
        facts.sort_by_key(|fact| std::cmp::Reverse(fact.time));
        facts.into_iter().map(|fact| &fact.what)
    }

    /// Why the destination refused the copy: "Any failed CreateRepository or ReplicateImage API actions show up in
    /// CloudTrail". Only between accounts, the registry policy decides.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html>
    fn refusal(&self) -> Option<String> {
        let (_, source, destination) = self.names();
        self.facts_here().find_map(|what| match what {
            What::Attempted { call, code: Some(code), reason, .. }
                if matches!(call.as_str(), "ReplicateImage" | "CreateRepository") =>
            {
                let denied = code.contains("AccessDenied") && source.account() != destination.account();
                Some(match reason {
                    _ if denied => format!("{code}: the registry policy of {destination} does not allow ecr:{call}"),
                    Some(reason) => format!("ecr:{call} was refused there with {code}: {reason}"),
                    None => format!("ecr:{call} was refused there with {code}"),
                })
            }
            _ => None,
        })
    }

    /// The failure code that an event reported.
    fn reported_code(&self) -> Option<&'a str> {
        self.facts_here().find_map(|what| match what {
            What::ReplicationFailed { source, code, .. } if *source == self.expectation.source => code.as_deref(),
            _ => None,
        })
    }

    /// ECR still copies the image. It has one status for all pushes of an image: that of the newest.
    fn in_progress(&self) -> CopyVerdict {
        if !self.is_overdue(self.expectation.newest_push(self.lineage)) {
            return CopyVerdict::Wait;
        }
        let ((name, source, destination), since) = (self.names(), self.pushed_at());
        let why = format!("{name} has been replicating from {source} to {destination} since {since}");
        CopyVerdict::Wrong(AlertKind::ReplicationLate, why)
    }

    /// ECR reports no copy.
    fn not_begun(&self) -> CopyVerdict {
        if self.expectation.since < self.known_since {
            return CopyVerdict::NotExpected;
        }
        if !self.is_overdue(self.expectation.since) {
            return CopyVerdict::Wait;
        }
        let which = match self.route.map(|route| route.prefix.as_str()) {
            None | Some("") => "every repository".to_owned(),
            Some(prefix) => format!("`{prefix}`"),
        };
        let ((name, source, destination), since) = (self.names(), self.pushed_at());
        let why = format!(
            "{name} was pushed to {source} at {since}; the rule for {which} replicates it to {destination}, \
             but ECR reports no copy"
        );
        CopyVerdict::Wrong(AlertKind::ReplicationMissing, why)
    }

    /// ECR reports the copy as complete, and the destination has the image.
    fn complete(&self, seen: &ObservedImage) -> EvaluatedCopy {
        let has_tag = self.expectation.expected_tag(self.lineage).is_none_or(|tag| self.has_tag(seen, tag));
        let fact = (has_tag || self.is_unknown()).then(|| self.seen(seen));
        let verdict = if has_tag {
            CopyVerdict::There
        } else if self.is_overdue(self.expectation.since) {
            let (name, source, destination) = self.names();
            let why = format!("{name} was replicated from {source} to {destination} without its tag");
            CopyVerdict::Wrong(AlertKind::ReplicaUntagged, why)
        } else {
            CopyVerdict::Wait
        };
        EvaluatedCopy { verdict, fact, deleted: false }
    }

    /// ECR reports the copy as complete, and the destination does not have the image.
    fn complete_and_gone(&self) -> EvaluatedCopy {
        let may_be_there = self.recorded().is_some_and(|here| here.status().may_be_there());
        let fact = may_be_there.then(|| self.expectation.fact(self.destination, self.now, What::FOUND_MISSING));
        EvaluatedCopy { verdict: CopyVerdict::There, fact, deleted: true }
    }

    /// ECR reports the copy as complete, and the destination could not be read.
    fn complete_and_not_read(&self) -> EvaluatedCopy {
        let fact = self.is_unknown().then(|| {
            let (storage, source) = (Some(StorageClass::Standard), Some(self.expectation.source.clone()));
            let what = What::Observed { storage, tags: [].into(), without: [].into(), complete: false, source };
            self.expectation.fact(self.destination, self.now, what)
        });
        EvaluatedCopy { verdict: CopyVerdict::There, fact, deleted: false }
    }

    /// What is recorded of the image at the destination.
    fn recorded(&self) -> Option<&Placement> {
        self.lineage.placements.get(self.destination)
    }

    /// Whether nothing recorded says that the destination had the image since the push.
    fn is_unknown(&self) -> bool {
        self.recorded().is_none_or(|here| here.image.set() < Some(self.expectation.since))
    }

    fn is_overdue(&self, since: Timestamp) -> bool {
        self.now.duration_since(since) >= EXPECTED_REPLICATION_TIME
    }

    /// Whether the copy has its tag, or the source was read and has lost the tag.
    fn has_tag(&self, seen: &ObservedImage, tag: &Tag) -> bool {
        let lost = matches!(self.at_source, Some(Observation::Present(there)) if !there.tags.contains(tag));
        seen.tags.contains(tag) || lost
    }

    /// The fact that the copy was seen at the destination, with the tags that are not recorded there.
    fn seen(&self, seen: &ObservedImage) -> Fact {
        let known = self.recorded();
        let unknown = |tag: &&Tag| known.is_none_or(|here| !here.current_tags().contains(*tag));
        let arrived = seen.pushed_at.filter(|at| self.expectation.since <= *at && *at <= self.now).unwrap_or(self.now);
        let storage = if seen.archived { StorageClass::Archive } else { StorageClass::Standard };
        let tags = seen.tags.iter().filter(unknown).cloned().collect();
        let source = (!seen.archived).then(|| self.expectation.source.clone());
        // The tags are those of now, and the fact is about the arrival: it does not say which tags the image had then.
        let what = What::Observed { storage: Some(storage), tags, without: [].into(), complete: false, source };
        self.expectation.fact(self.destination, arrived, what)
    }

    // The parts of descriptions

    /// The name of the image, its source and the destination.
    fn names(&self) -> (String, &Registry, &Registry) {
        let ReplicationExpectation { image, source, tag, .. } = self.expectation;
        let name = match tag {
            Some(tag) => format!("{}:{tag}", image.repository),
            None => format!("{}@{}", image.repository, image.digest.short()),
        };
        (name, source, self.destination)
    }

    fn pushed_at(&self) -> String {
        self.expectation.since.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }
}

/// The usual cause of a failure. AWS documents causes but no codes, so the words in the code are matched with the
/// causes.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-troubleshoot.html>
fn usual_cause(code: Option<&str>) -> String {
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
