//! What ECR answered to the call for a deletion, and what is written after it.

use jiff::Timestamp;

use super::{ActionRecord, Check, CheckName, Deletion, DeletionStatus, MAX_REFERENCE_WAIT};
use crate::{
    alert::{Alert, AlertKind, Occurrence},
    controls::Controls,
    fact::{Cause, Fact, Subject, What, WorkItem},
    image::{Digest, Registry, Tag},
    observation::Observation,
    policy::Action,
    time::whole_seconds,
};

/// Consecutive failures after which an alert is raised.
const ALERT_AFTER_ATTEMPTS: u32 = 5;

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOrTag {
    /// An image with all its tags.
    Image(Digest),
    /// A tag, whichever image has it.
    Tag(Tag),
}

/// ECR's answer about one image or tag of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// ECR executed it. For a tag, the digest is that of the image that had it.
    Executed(Option<Digest>),
    /// ECR refused.
    Refused {
        /// ECR's failure code, such as `ImageReferencedByManifestList`.
        code: String,
        /// ECR's reason.
        reason: String,
    },
    /// The response does not mention it.
    Unmentioned,
}

/// What came of the call for one deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// ECR executed it, or there was nothing left to do.
    Done(String),
    /// ECR refused for now; a later run tries again.
    Retry(Check),
    /// ECR may have executed it; a later run reads the replica first.
    Unknown(String),
    /// ECR refused permanently.
    Failed(String),
}

/// What is written about one deletion, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionWrites {
    /// What was observed and the lineage lacks.
    pub correction: Option<Fact>,
    /// What ECR executed. It is written before the deletion, so that every deletion with status `done` is in the
    /// lineage.
    pub done: Option<Fact>,
    /// A work item of the image, due immediately.
    pub work_item: Option<WorkItem>,
    /// Alerts, at most one a day for each kind and subject.
    pub alerts: Vec<Alert>,
    /// The deletion, on condition that it did not change since it was read.
    pub deletion: Deletion,
    /// What is counted for the alerts that several deletions share.
    pub occurrence: Option<Occurrence>,
}

/// The meaning of a failure code of ECR for a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionRefusal {
    /// There is nothing to delete; the deletion is done.
    Gone,
    /// An index that is still there refers to the image, so the index must be deleted first.
    IndexFirst,
    /// The failure may be temporary: read again and retry.
    ForNow,
    /// A retry does not help, or the code is unknown: the replica is kept, and an alert is sent.
    ForGood,
}

/// The meaning of a `failureCode`.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html>
#[must_use]
pub fn refusal(code: &str) -> DeletionRefusal {
    match code {
        "ImageNotFound" => DeletionRefusal::Gone,
        "ImageReferencedByManifestList" => DeletionRefusal::IndexFirst,
        "KmsError" | "UpstreamTooManyRequests" | "UpstreamUnavailable" => DeletionRefusal::ForNow,
        _ => DeletionRefusal::ForGood,
    }
}

impl CallOutcome {
    /// The outcome for each deletion of a call that failed as a whole, from the error's code and its text.
    #[must_use]
    pub fn of_failed_call(code: Option<&str>, why: String) -> Self {
        match code {
            // ECR failed internally, or no response arrived: the call may have taken effect.
            None | Some("ServerException" | "InternalFailure" | "InternalServerError" | "ServiceUnavailable") => {
                Self::Unknown(format!("no answer: {why}"))
            }
            Some(
                "ImageStorageClassUpdateNotSupportedException" | "InvalidParameterException" | "ValidationException",
            ) => Self::Failed(why),
            Some("ImageNotFoundException" | "RepositoryNotFoundException") => {
                Self::Done("it was gone already".to_owned())
            }
            Some(_) => Self::Retry(Check::stopped(CheckName::Call, why)),
        }
    }

    /// The outcome for a claimed deletion that an operator paused or put on hold since it was planned, or of which that
    /// could not be read: ECR is not called for it. `None` if nothing stops it.
    #[must_use]
    pub fn of_controls(controls: &Result<Controls, String>, claim: &Deletion, now: Timestamp) -> Option<Self> {
        let (check, why) = match controls {
            Err(why) => (CheckName::Paused, format!("whether it is paused cannot be read: {why}")),
            Ok(controls) => match controls.paused(&claim.source, now) {
                Some(pause) => (CheckName::Paused, pause.summary()),
                None => (CheckName::Hold, controls.held(&claim.source, &claim.image, now)?.summary()),
            },
        };
        Some(Self::Retry(Check::stopped(check, why)))
    }

    /// The outcome for a referrer that is not deleted, because its subject was not.
    #[must_use]
    pub fn of_subject(subject: &Digest) -> Self {
        let why = format!("its subject {} is still there", subject.short());
        Self::Retry(Check::stopped(CheckName::Manifest, why))
    }
}

impl DeletionWrites {
    /// Only the deletion, whose status was another before.
    pub(crate) fn new(before: DeletionStatus, deletion: Deletion) -> Self {
        let occurrence = if deletion.status == before { None } else { deletion.new_status() };
        Self { correction: None, done: None, work_item: None, alerts: Vec::new(), deletion, occurrence }
    }
}

impl Deletion {
    /// What ECR's answer means for the deletion.
    #[must_use]
    pub fn outcome(&self, answer: CallAnswer) -> CallOutcome {
        match answer {
            CallAnswer::Executed(Some(digest)) if digest != self.image.digest => {
                CallOutcome::Failed(format!("the tag moved at the last moment: it was removed from {digest}"))
            }
            CallAnswer::Executed(_) => {
                let done = if self.action == Some(Action::Archive) { "archived" } else { "deleted" };
                CallOutcome::Done(format!("ECR {done} it"))
            }
            CallAnswer::Unmentioned => CallOutcome::Unknown("ECR's answer does not mention it".to_owned()),
            CallAnswer::Refused { code, reason } => {
                let why = format!("{code}: {reason}");
                match refusal(&code) {
                    DeletionRefusal::Gone => CallOutcome::Done("it was gone already".to_owned()),
                    DeletionRefusal::IndexFirst => CallOutcome::Retry(Check::stopped(CheckName::Manifest, why)),
                    DeletionRefusal::ForNow => CallOutcome::Retry(Check::stopped(CheckName::Call, why)),
                    DeletionRefusal::ForGood => CallOutcome::Failed(why),
                }
            }
        }
    }

    /// Whether an earlier call for this claimed deletion, whose response was lost, took effect.
    pub(crate) fn took_effect(&self, replica: &Observation) -> bool {
        match (replica, &self.tag) {
            (Observation::Missing | Observation::NoRepository, _) => true,
            (Observation::Present(seen), Some(tag)) => !seen.tags.contains(tag),
            (Observation::Present(seen), None) => self.action == Some(Action::Archive) && seen.archived,
            (Observation::Unreadable(_) | Observation::NotAsked, _) => false,
        }
    }

    /// What is written about a claimed deletion after its call.
    #[must_use]
    pub fn after_call(&self, outcome: CallOutcome, now: Timestamp) -> DeletionWrites {
        let mut after = self.clone();
        let (mut done, mut alerts) = (None, Vec::new());
        match outcome {
            CallOutcome::Done(why) => {
                done = Some(self.done_fact());
                after.settle(DeletionStatus::Done, Check::passed(CheckName::Call, why), now);
            }
            CallOutcome::Retry(check)
                if check.check == CheckName::Manifest && now.duration_since(self.since) > MAX_REFERENCE_WAIT =>
            {
                after.settle(DeletionStatus::Kept, check, now);
            }
            CallOutcome::Retry(check) => after.retry_later(check, now),
            CallOutcome::Unknown(why) => {
                after.retry_later(Check::stopped(CheckName::Call, why), now);
                // ECR may have executed the call: the next run must know that it was ours, so the claim stays.
                (after.status, after.changed_at) = (DeletionStatus::Executing, self.changed_at);
            }
            CallOutcome::Failed(why) => {
                alerts.push(self.failure(&why, now));
                after.settle(DeletionStatus::Failed, Check::stopped(CheckName::Call, why), now);
            }
        }
        if after.attempts == ALERT_AFTER_ATTEMPTS {
            alerts.extend(after.checks.last().map(|last| self.failure(&last.why, now)));
        }
        DeletionWrites { done, alerts, ..DeletionWrites::new(self.status, after) }
    }

    fn failure(&self, why: &str, now: Timestamp) -> Alert {
        let (repository, subject) = (&self.image.repository, format!("{}/{}", self.registry, self.image.repository));
        let alert = Alert::notice(AlertKind::DeletionFailed, &subject, format!("{}: {why}", self.image), now);
        alert.about(repository)
    }

    /// The executed deletion, with this product as its cause.
    fn done_fact(&self) -> Fact {
        let approval = self.approved().map(ActionRecord::by_and_reason);
        let cause = Cause::Mirror { source: self.source.clone(), policies: self.policies.clone(), approval };
        let what = match (self.action, &self.tag) {
            (Some(Action::Archive), _) => What::Archived { cause },
            (_, Some(tag)) => What::TagsDeleted { tags: [tag.clone()].into(), cause },
            (_, None) => What::ImageDeleted { cause },
        };
        let tag = self.tag.as_ref().map_or("image", Tag::as_str);
        self.fact(&self.registry, self.changed_at, format!("mirror-{tag}"), what)
    }

    /// A fact about the image.
    pub(crate) fn fact(&self, registry: &Registry, at: Timestamp, event_id: String, what: What) -> Fact {
        let subject = Subject::Image(self.image.clone());
        Fact { time: whole_seconds(at), registry: registry.clone(), event_id, subject, what }
    }
}
