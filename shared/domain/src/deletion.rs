//! Deletions: our intent to mirror one deletion to one replica, and the decision about it.
//!
//! When a source loses an image, or a tag of one, each of its replicas may have to lose it too ([`deletion_intents`]).
//! Each intent becomes one [`Deletion`]. [`judge`] and the actions of operators take it from status to status;
//! [`judge`] uses only what was just read. Any doubt keeps the replica, with the reason.

mod described;
mod judge;
#[cfg(test)]
mod judged;
mod life;
mod outcome;
mod question;
#[cfg(test)]
mod transitions;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use judge::{
    Ask, Checked, Decision, DeletionContext, Permission, Verdict, estimate, judge, permitted, registries_to_observe,
};
pub use life::{ActionRecord, InvalidTransition, OperatorAction};
pub use outcome::{CallAnswer, CallOutcome, DeletionRefusal, DeletionWrites, ImageOrTag, refusal};

use crate::{
    fact::Cause,
    image::{Image, Registry, Tag},
    lineage::{Lineage, PlacementStatus},
    named::named,
    policy::Action,
    time::whole_seconds,
};

/// A deletion that was reported later than this after it happened is not mirrored: replaying old events or recording
/// old log files must not delete anything. It equals the longest time that SQS retains a message.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const MAXIMUM_AGE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long a deletion waits for an index that contains the replica, or for the replica's subject, to be deleted. After
/// that, the replica is kept.
pub const MAX_REFERENCE_WAIT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long a claim of a work item or of a deletion is valid; afterwards another run may take it over.
pub const CLAIM: SignedDuration = SignedDuration::from_mins(20);

/// The intent to mirror one deletion at a source to one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deletion {
    /// The repository and the digest.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The tag to remove; absent if the image is to be deleted with all its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The source registry, which lost the image or the tag.
    pub source: Registry,
    /// When the source lost the image or the tag, or when the replica arrived if that was later. The grace period
    /// starts here.
    pub since: Timestamp,
    /// The current status.
    pub status: DeletionStatus,
    /// When the deletion is evaluated next; absent if nothing is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When the deletion last changed.
    pub changed_at: Timestamp,
    /// What the policy permits; absent if the policy was not evaluated yet or permits nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Whether the policy requires an operator's approval, as far as is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
    /// The policies that decided, by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// The checks of the last evaluation, in order. The last one decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The size of the replica in bytes; absent until the replica is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The actions of operators, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionRecord>,
    /// The number of consecutive retries.
    #[serde(default)]
    pub attempts: u32,
    /// When the circuit breaker last counted the deletion. It counts again when that is out of the window, or before a
    /// reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<Timestamp>,
    /// The number of times the deletion was stored. A writer must have read the newest version (optimistic locking).
    #[serde(default)]
    pub version: u64,
}

named! {
    /// The status of a deletion.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[cfg_attr(feature = "openapi", schema(as = DeletionStatus))]
    pub enum DeletionStatus {
        /// It waits until it is due.
        Pending = "pending",
        /// A hold of an operator or the circuit breaker stops it.
        Held = "held",
        /// The policy requires an operator's approval.
        AwaitingApproval = "awaiting_approval",
        /// The call to ECR is running. If this status remains, the process ended during the call.
        Executing = "executing",
        /// The deletion was mirrored to the replica.
        Done = "done",
        /// The replica is kept; the last check gives the reason.
        Kept = "kept",
        /// ECR refused for a reason that a retry does not fix; the replica is kept.
        Failed = "failed",
    }
}

impl DeletionStatus {
    /// Whether the deletion has ended. Only a new loss at the source, or an operator, starts it again.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Kept | Self::Failed)
    }
}

/// One check of a deletion, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// What was checked.
    pub check: CheckName,
    /// Whether the check permits the deletion.
    pub passed: bool,
    /// The facts that decided, in one line.
    pub why: String,
}

named! {
    /// The checks, in their order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum CheckName {
        /// The deletion was reported soon enough to be mirrored.
        Age = "age",
        /// The image came by replication from this source, no other source still has it, and it was never pushed to
        /// this registry.
        Origin = "origin",
        /// ECR does not replicate deletions to this registry itself.
        Native = "native",
        /// The source, read just now, does not have the image or the tag.
        Source = "source",
        /// The replica, read just now, has the image or the tag.
        Replica = "replica",
        /// No other manifest that stays needs the image.
        Manifest = "manifest",
        /// No service and no list uses the image or the tag.
        Usage = "usage",
        /// The policy permits the action.
        Policy = "policy",
        /// No operator paused the deletions of the source.
        Paused = "paused",
        /// No hold of an operator covers the image.
        Hold = "hold",
        /// The grace period is over.
        Grace = "grace",
        /// The circuit breaker of the source is closed.
        Breaker = "breaker",
        /// An operator approved the deletion, if the policy requires it.
        Approval = "approval",
        /// What an operator did: hold, release, retry, approve or cancel.
        Operator = "operator",
        /// ecr-lineage runs in enforce mode. In observe mode, it does not change registries.
        Mode = "mode",
        /// The result of the call to ECR.
        Call = "call",
    }
}

impl Check {
    /// A check that permits the deletion.
    #[must_use]
    pub fn passed(check: CheckName, why: impl Into<String>) -> Self {
        Self { check, passed: true, why: why.into() }
    }

    /// A check that stops the deletion, for now or for good.
    #[must_use]
    pub fn stopped(check: CheckName, why: impl Into<String>) -> Self {
        Self { check, passed: false, why: why.into() }
    }
}

/// The deletion of an image, or of a tag of it, that is to be mirrored to one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionIntent {
    /// The registry of the replica.
    pub registry: Registry,
    /// The tag to remove; `None` if the image is to be deleted.
    pub tag: Option<Tag>,
    /// When the source lost the image or the tag, or when the replica arrived if that was later.
    pub since: Timestamp,
}

/// The deletions that are to be mirrored after a source's loss, according to what is recorded.
///
/// If the source may have lost the whole image, each replica is to be deleted; otherwise, each replica loses the tags
/// that the source lost and the replica still has. Only replicas that came from this very source count: replication
/// goes one hop.
#[must_use]
pub fn deletion_intents(lineage: &Lineage, source: &Registry) -> Vec<DeletionIntent> {
    let Some(at_source) = lineage.placements.get(source) else { return Vec::new() };
    let mut all = Vec::new();
    for (registry, replica) in &lineage.placements {
        let Some(arrived) = replica.replicated().get(source).copied() else { continue };
        if registry == source || !replica.status().may_be_there() {
            continue;
        }
        let mut want = |tag: Option<&Tag>, lost: Timestamp| {
            all.push(DeletionIntent { registry: registry.clone(), tag: tag.cloned(), since: lost.max(arrived) });
        };
        match (at_source.status(), at_source.gone_at()) {
            (PlacementStatus::Absent | PlacementStatus::ProbablyAbsent, Some(lost)) => want(None, lost),
            _ => {
                let here = replica.current_tags();
                for (tag, lost) in at_source.removed_tags() {
                    if here.contains(tag) {
                        want(Some(tag), lost);
                    }
                }
            }
        }
    }
    all
}

impl Deletion {
    /// The deletion to store for an intent. `None` unless no deletion is known, or the known one had ended before the
    /// loss.
    ///
    /// A deletion that has not ended stays as it is, with its hold and its approval; it is evaluated from what is read
    /// then.
    #[must_use]
    pub fn open(
        known: Option<&Self>,
        image: &Image,
        source: &Registry,
        intent: DeletionIntent,
        now: Timestamp,
    ) -> Option<Self> {
        let version = match known {
            None => 0,
            Some(known) if known.status.is_final() && intent.since >= whole_seconds(known.changed_at) => known.version,
            Some(_) => return None,
        };
        let DeletionIntent { registry, tag, since } = intent;
        let mut opened = Self {
            image: image.clone(),
            registry,
            tag,
            source: source.clone(),
            since,
            status: DeletionStatus::Pending,
            due: Some(now),
            changed_at: now,
            action: None,
            needs_approval: false,
            policies: BTreeSet::new(),
            checks: Vec::new(),
            size_bytes: None,
            actions: Vec::new(),
            attempts: 0,
            counted_at: None,
            version,
        };
        let age = now.duration_since(since);
        if age > MAXIMUM_AGE {
            let days = age.as_hours() / 24;
            let why =
                format!("it was reported {days} days after it happened; only what is at most 14 days old is mirrored");
            opened.settle(DeletionStatus::Kept, Check::stopped(CheckName::Age, why), now);
        }
        Some(opened)
    }

    /// Whether it will ask for an operator's approval when it is due.
    #[must_use]
    pub fn will_ask(&self) -> bool {
        self.needs_approval && self.approved().is_none()
    }

    /// Who or what deleted the image, or the tag, at the source.
    #[must_use]
    pub fn cause(&self, lineage: &Lineage) -> Cause {
        match self.tag {
            None => lineage.cause_of_loss(&self.source),
            Some(_) => lineage.cause(&self.source, self.since),
        }
    }

    /// The key of the deletion within its image: registry and tag.
    #[must_use]
    pub fn replica_key(&self) -> (&Registry, Option<&Tag>) {
        (&self.registry, self.tag.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::ToSpan;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        evidence::{self, Evidence},
        fact::{Fact, Subject},
        observation::Candidate,
        replication::ReplicationRules,
    };

    pub(super) const IRELAND: &str = "111122223333/eu-west-1";
    pub(super) const TOKYO: &str = "444455556666/ap-northeast-1";
    pub(super) const VIRGINIA: &str = "111122223333/us-east-1";

    pub(super) fn image() -> Image {
        format!("team/app@sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    /// A time on the first day, by its minute.
    pub(super) fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// What follows from facts, each as minute, registry and what happened.
    pub(super) fn lineage(facts: &[(i64, &str, Value)]) -> Lineage {
        let fact = |(minute, registry, what): &(i64, &str, Value)| {
            let mut fact = what.clone();
            fact["time"] = json!(at(*minute));
            fact["registry"] = json!(registry);
            fact["event_id"] = json!(format!("{minute} {registry}"));
            Fact { subject: Subject::Image(image()), ..serde_json::from_value(fact).unwrap() }
        };
        let facts: Vec<_> = facts.iter().map(fact).collect();
        let mut all = BTreeMap::new();
        for (key, more) in facts.iter().flat_map(evidence::of) {
            all.entry(key).or_insert_with(Evidence::default).merge(&more);
        }
        Lineage::new(image(), all, facts, Vec::new())
    }

    pub(super) fn pushed(tag: &str) -> Value {
        json!({"what": "pushed", "tag": tag})
    }

    pub(super) fn replicated(tag: &str, source: &str) -> Value {
        json!({"what": "replicated", "tag": tag, "source": source})
    }

    pub(super) fn deleted() -> Value {
        json!({"what": "image_deleted", "cause": "unknown"})
    }

    fn intents(lineage: &Lineage, source: &str) -> Vec<(String, Option<String>, Timestamp)> {
        let intents = deletion_intents(lineage, &source.parse().unwrap()).into_iter();
        intents
            .map(|intent| (intent.registry.to_string(), intent.tag.map(|tag| tag.to_string()), intent.since))
            .collect()
    }

    #[test]
    fn a_source_that_lost_the_image_means_each_replica_of_its_own() {
        let facts = [
            (1, IRELAND, pushed("v1")),
            (2, TOKYO, replicated("v1", IRELAND)),
            // This replica has another source; it is not deleted with Ireland's image.
            (3, VIRGINIA, replicated("v1", TOKYO)),
        ];
        assert_eq!(intents(&lineage(&facts), IRELAND), [], "the source has it");
        let lost = [&facts[..], &[(10, IRELAND, deleted())]].concat();
        assert_eq!(intents(&lineage(&lost), IRELAND), [(TOKYO.to_owned(), None, at(10))]);
        assert_eq!(intents(&lineage(&lost), VIRGINIA), [], "nothing came from there");
        assert_eq!(intents(&lineage(&lost), "999999999999/eu-west-1"), [], "an unknown source");
        // A replica that is gone needs no deletion; one that arrived late is deleted from then on.
        let gone = [&lost[..], &[(11, TOKYO, deleted())]].concat();
        assert_eq!(intents(&lineage(&gone), IRELAND), []);
        let late = [(1, IRELAND, pushed("v1")), (10, IRELAND, deleted()), (12, TOKYO, replicated("v1", IRELAND))];
        assert_eq!(intents(&lineage(&late), IRELAND), [(TOKYO.to_owned(), None, at(12))]);
    }

    #[test]
    fn a_source_that_lost_a_tag_means_the_replicas_that_still_have_it() {
        let untagged = (10, IRELAND, json!({"what": "tags_deleted", "tags": ["stable"], "cause": "unknown"}));
        let facts = [
            (1, IRELAND, pushed("v1")),
            (2, IRELAND, pushed("stable")),
            (3, TOKYO, replicated("v1", IRELAND)),
            (4, TOKYO, replicated("stable", IRELAND)),
            (5, VIRGINIA, replicated("v1", IRELAND)),
            untagged,
        ];
        assert_eq!(intents(&lineage(&facts), IRELAND), [(TOKYO.to_owned(), Some("stable".to_owned()), at(10))]);
    }

    #[test]
    fn a_deletion_starts_again_only_when_it_was_over_before_the_loss() {
        let (source, now) = (IRELAND.parse().unwrap(), at(100));
        let intent = |minute| DeletionIntent { registry: TOKYO.parse().unwrap(), tag: None, since: at(minute) };
        let open = |known: Option<&Deletion>, minute| Deletion::open(known, &image(), &source, intent(minute), now);
        let first = open(None, 50).unwrap();
        assert_eq!((first.status, first.due, first.version), (DeletionStatus::Pending, Some(now), 0));
        for status in DeletionStatus::ALL {
            let over = matches!(status, DeletionStatus::Done | DeletionStatus::Kept | DeletionStatus::Failed);
            let known = Deletion { status, changed_at: at(60) + 900.milliseconds(), version: 7, ..first.clone() };
            assert_eq!(open(Some(&known), 59), None, "{status:?}: it knows of this loss");
            // Events have whole seconds: a loss in the second of the change may be a new one.
            let again = open(Some(&known), 60);
            assert_eq!(again.map(|again| (again.status, again.version)), over.then_some((DeletionStatus::Pending, 7)));
        }
    }

    #[test]
    fn every_registry_that_may_have_or_give_the_image_is_read() {
        let [ireland, tokyo, virginia] = [IRELAND, TOKYO, VIRGINIA].map(|name| name.parse::<Registry>().unwrap());
        let [london, frankfurt, paris] =
            ["eu-west-2", "eu-central-1", "eu-west-3"].map(|region| Registry::new("111122223333", region).unwrap());
        let lineage = lineage(&[
            (1, IRELAND, pushed("v1")),
            (2, TOKYO, replicated("v1", IRELAND)),
            (3, TOKYO, replicated("v1", london.as_str())),
            (4, VIRGINIA, pushed("v2")),
            (5, frankfurt.as_str(), pushed("v1")),
            (6, frankfurt.as_str(), deleted()),
            (10, IRELAND, deleted()),
        ]);
        let to = |destination: &Registry| {
            let to = json!({"registryId": destination.account(), "region": destination.region()});
            let answer = json!({"replicationConfiguration": {"rules": [{"destinations": [to]}]}});
            Ok(ReplicationRules::read(answer.to_string().as_bytes()).unwrap())
        };
        let rules = BTreeMap::from([
            (ireland.clone(), to(&virginia)),
            (tokyo.clone(), Err("no access".to_owned())),
            // It has a copy; it was the replica's source once; it had a copy and copies elsewhere; it copies there.
            (virginia.clone(), Err("no access".to_owned())),
            (london.clone(), Err("no access".to_owned())),
            (frankfurt, to(&virginia)),
            (paris.clone(), to(&tokyo)),
        ]);
        let intent = DeletionIntent { registry: tokyo.clone(), tag: None, since: at(10) };
        let deletion = Deletion::open(None, &image(), &ireland, intent, at(10)).unwrap();
        let candidate = Candidate { deletion, lineage };
        let read = judge::registries_to_observe(&candidate, &rules);
        assert_eq!(read, BTreeSet::from([&ireland, &tokyo, &virginia, &london, &paris]));
        // Without rules: the replica and the source.
        assert_eq!(judge::registries_to_observe(&candidate, &BTreeMap::new()), BTreeSet::from([&ireland, &tokyo]));
    }

    #[test]
    fn what_is_reported_after_two_weeks_is_kept() {
        let (source, lost) = (IRELAND.parse().unwrap(), at(0));
        let open = |now| {
            let intent = DeletionIntent { registry: TOKYO.parse().unwrap(), tag: None, since: lost };
            let opened = Deletion::open(None, &image(), &source, intent, now).unwrap();
            (opened.status, opened.due, opened.checks.last().map(|last| last.why.clone()))
        };
        let last = lost + (14 * 24).hours();
        assert_eq!(open(last), (DeletionStatus::Pending, Some(last), None));
        let why = "it was reported 16 days after it happened; only what is at most 14 days old is mirrored";
        assert_eq!(open(last + 1.second()).0, DeletionStatus::Kept);
        assert_eq!(open(last + 60.hours()), (DeletionStatus::Kept, None, Some(why.to_owned())));
    }
}
