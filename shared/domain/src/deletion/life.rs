//! How a deletion goes from one status to the next.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Check, CheckName, Decision, Deletion, Status, Verdict};

/// Something that a person did about a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Act {
    /// What.
    pub did: Did,
    /// Who: the caller's ARN, or the nearest thing there is.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What a person can do about a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Did {
    /// Stopped it until it is released.
    Hold,
    /// Let it be judged again.
    Release,
    /// Approved it.
    Approve,
    /// Stopped it for good: the replica stays.
    Cancel,
}

impl Did {
    /// Every action, in the order in which the page offers them.
    pub const ALL: [Self; 4] = [Self::Hold, Self::Release, Self::Approve, Self::Cancel];

    /// The word for it, as in its JSON and in commands.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Approve => "approve",
            Self::Cancel => "cancel",
        }
    }
}

/// Why a person cannot do that now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {} a deletion that is {}: {why}", did.word(), status.word())]
pub struct Impossible {
    did: Did,
    status: Status,
    why: &'static str,
}

/// The longest pause before something that was put off is tried again.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(6);

/// Why an action means nothing in a status, if it does not.
fn obstacle(did: Did, status: Status) -> Option<&'static str> {
    match (did, status) {
        (_, Status::Executing) => Some("the call to ECR is under way"),
        (Did::Hold | Did::Approve | Did::Cancel, Status::Done | Status::Kept | Status::Failed)
        | (Did::Release, Status::Done) => Some("it is over"),
        (Did::Hold, Status::Held) => Some("it is held already"),
        (Did::Release, Status::Pending | Status::AwaitingApproval) => Some("nothing holds it"),
        _ => None,
    }
}

impl Deletion {
    /// Whether a person approved it.
    #[must_use]
    pub fn approved(&self) -> Option<&Act> {
        self.acts.iter().rev().find(|act| act.did == Did::Approve)
    }

    /// Whether the breaker stopped it, and no person.
    #[must_use]
    pub fn held_by_breaker(&self) -> bool {
        self.status == Status::Held && self.checks.last().is_some_and(|check| check.check == CheckName::Breaker)
    }

    /// A person does something about it.
    ///
    /// # Errors
    /// When that means nothing in its status.
    pub fn act(&mut self, did: Did, by: &str, now: Timestamp) -> Result<(), Impossible> {
        if let Some(why) = obstacle(did, self.status) {
            return Err(Impossible { did, status: self.status, why });
        }
        match (did, self.status) {
            (Did::Release, _) => self.again(format!("released by {by}, to be judged again"), now),
            (Did::Approve, Status::AwaitingApproval) => {
                self.again(format!("approved by {by}, to be judged again"), now);
            }
            // The approval stands when the rest is judged again.
            (Did::Approve, _) => {}
            (Did::Hold, _) => {
                self.settle(Status::Held, Check::stopped(CheckName::Person, format!("held by {by}")), now);
            }
            (Did::Cancel, _) => {
                self.settle(Status::Kept, Check::stopped(CheckName::Person, format!("cancelled by {by}")), now);
            }
        }
        self.acts.push(Act { did, by: by.to_owned(), at: now });
        self.changed_at = now;
        Ok(())
    }

    /// The actions that an operator can take now. An approval that was given is not asked for again.
    #[must_use]
    pub fn allowed_actions(&self) -> Vec<Did> {
        let is_given = |did: Did| did == Did::Approve && self.approved().is_some();
        Did::ALL.into_iter().filter(|did| obstacle(*did, self.status).is_none() && !is_given(*did)).collect()
    }

    /// It is to be judged again, now.
    fn again(&mut self, why: String, now: Timestamp) {
        self.checks.push(Check::passed(CheckName::Person, why));
        self.status = Status::Pending;
        self.due = Some(now);
        self.attempts = 0;
    }

    /// It waits for a person, or for nothing: the check says why.
    pub fn settle(&mut self, status: Status, check: Check, now: Timestamp) {
        self.checks.push(check);
        self.status = status;
        self.due = None;
        self.attempts = 0;
        self.changed_at = now;
    }

    /// It is put off: tried again after a minute, then after two, four and so on, up to six hours.
    pub fn put_off(&mut self, check: Check, now: Timestamp) {
        let minutes = 1i64.checked_shl(self.attempts).unwrap_or(i64::MAX);
        let pause = SignedDuration::from_mins(minutes.min(LONGEST_PAUSE.as_mins()));
        self.checks.push(check);
        self.status = Status::Pending;
        self.due = Some(now.saturating_add(pause).unwrap_or(Timestamp::MAX));
        self.attempts = self.attempts.saturating_add(1).min(30);
        self.changed_at = now;
    }

    /// Takes what was decided. What may go is left to whoever carries it out.
    pub fn take(&mut self, decision: &Decision, now: Timestamp) {
        self.checks.clone_from(&decision.checks);
        self.action = decision.action;
        self.policies.clone_from(&decision.policies);
        self.size_bytes = decision.size_bytes.or(self.size_bytes);
        self.changed_at = now;
        let Some(last) = self.checks.pop() else { return };
        match decision.verdict {
            Verdict::Go(_) => self.checks.push(last),
            Verdict::Gone => self.settle(Status::Done, last, now),
            Verdict::Keep | Verdict::Present => self.settle(Status::Kept, last, now),
            Verdict::Hold => self.settle(Status::Held, last, now),
            Verdict::Ask => self.settle(Status::AwaitingApproval, last, now),
            Verdict::PutOff => self.put_off(last, now),
            Verdict::Wait(until) => {
                self.checks.push(last);
                self.status = Status::Pending;
                self.due = Some(until);
                self.attempts = 0;
            }
        }
    }
}
