//! The transitions of a deletion from one status to the next.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CLAIM, Check, CheckName, Decision, Deletion, DeletionStatus, Verdict};
use crate::{
    controls::{Hold, Instruction},
    named::named,
};

/// An action of an operator on a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActionRecord {
    /// What the operator did.
    pub action: OperatorAction,
    /// The operator: the caller's ARN, or else the most specific name that is known.
    pub by: String,
    /// When the operator did it.
    pub at: Timestamp,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

named! {
    /// An action that an operator can take on a deletion.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum OperatorAction {
        // In the order in which the page offers them.
        /// Put the image on hold: the deletion does not run.
        Hold = "hold",
        /// End a hold, or what the breaker holds: the deletion is evaluated again.
        Release = "release",
        /// Evaluate again a deletion that was kept or that ECR refused.
        Retry = "retry",
        /// Approve the deletion.
        Approve = "approve",
        /// Cancel the deletion for good: the replica is kept.
        Cancel = "cancel",
    }
}

impl OperatorAction {
    /// What was done by the action, in words: for lines such as `put on hold by dana`.
    #[must_use]
    pub fn past_tense(self) -> &'static str {
        match self {
            Self::Hold => "put on hold",
            Self::Release => "released",
            Self::Retry => "re-evaluated",
            Self::Approve => "approved",
            Self::Cancel => "cancelled",
        }
    }
}

/// An action that the status of a deletion does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {} a deletion that is {}: {why}", action.as_str(), status.as_str())]
pub struct InvalidTransition {
    action: OperatorAction,
    status: DeletionStatus,
    why: &'static str,
}

/// The longest pause before a retry.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(6);

impl Deletion {
    /// Why the deletion does not allow an action now; `None` if it does.
    fn obstacle(&self, action: OperatorAction) -> Option<&'static str> {
        match (action, self.status) {
            (_, DeletionStatus::Executing) => Some("the call to ECR is under way"),
            (OperatorAction::Retry, DeletionStatus::Kept) if self.cancelled().is_some() => {
                Some("it was cancelled, which is final; a new deletion at the source starts a new one")
            }
            (OperatorAction::Retry, DeletionStatus::Kept | DeletionStatus::Failed) => None,
            (OperatorAction::Retry, DeletionStatus::Done) => Some("the replica is deleted"),
            (OperatorAction::Retry, _) => Some("it is not over yet"),
            (_, status) if status.is_final() => Some("it is over"),
            (OperatorAction::Hold, _) if self.held_by(CheckName::Hold) => Some("it is already on hold"),
            (OperatorAction::Release, status) if status != DeletionStatus::Held => Some("nothing holds it"),
            _ => None,
        }
    }

    /// The cancellation of the deletion, if it ended by one.
    #[must_use]
    pub fn cancelled(&self) -> Option<&ActionRecord> {
        self.actions.last().filter(|act| act.action == OperatorAction::Cancel)
    }

    /// The newest approval by an operator, if there is one. An approval ends when the deletion was over and is retried.
    #[must_use]
    pub fn approved(&self) -> Option<&ActionRecord> {
        let mut since_retry = self.actions.iter().rev().take_while(|act| act.action != OperatorAction::Retry);
        since_retry.find(|act| act.action == OperatorAction::Approve)
    }

    /// Whether this check put the deletion on hold.
    fn held_by(&self, check: CheckName) -> bool {
        self.status == DeletionStatus::Held && self.checks.last().is_some_and(|last| last.check == check)
    }

    /// Whether the breaker, and not an operator, put the deletion on hold.
    #[must_use]
    pub fn held_by_breaker(&self) -> bool {
        self.held_by(CheckName::Breaker)
    }

    /// Whether a hold of an operator stops the deletion.
    #[must_use]
    pub fn held_by_operator(&self) -> bool {
        self.held_by(CheckName::Hold)
    }

    /// Applies an operator's action.
    ///
    /// # Errors
    /// When the status does not allow the action.
    pub fn act(
        &mut self,
        action: OperatorAction,
        by: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), InvalidTransition> {
        if let Some(why) = self.obstacle(action) {
            return Err(InvalidTransition { action, status: self.status, why });
        }
        let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let done = format!("{} by {by}{because}", action.past_tense());
        match (action, self.status) {
            (OperatorAction::Release | OperatorAction::Retry, _)
            | (OperatorAction::Approve, DeletionStatus::AwaitingApproval) => self.again(done, now),
            // The approval is kept for when the other checks are repeated.
            (OperatorAction::Approve, _) => {}
            (OperatorAction::Hold, _) => {
                self.settle(DeletionStatus::Held, Check::stopped(CheckName::Hold, done), now);
            }
            (OperatorAction::Cancel, _) => {
                self.settle(DeletionStatus::Kept, Check::stopped(CheckName::Operator, done), now);
            }
        }
        self.actions.push(ActionRecord { action, by: by.to_owned(), at: now, reason: reason.map(str::to_owned) });
        self.changed_at = now;
        Ok(())
    }

    /// Puts the deletion on hold, because this hold covers it.
    ///
    /// # Errors
    /// When the deletion is over, executing, or on hold already.
    pub fn hold(&mut self, hold: &Hold, now: Timestamp) -> Result<(), InvalidTransition> {
        let Instruction { by, reason, .. } = &hold.instruction;
        self.act(OperatorAction::Hold, by, reason.as_deref(), now)?;
        if let Some(last) = self.checks.last_mut() {
            last.why = hold.summary();
        }
        self.due = Some(hold.evaluated_at(now));
        Ok(())
    }

    /// The actions that an operator can take now. An approval that was given is not requested again.
    #[must_use]
    pub fn allowed_actions(&self) -> Vec<OperatorAction> {
        let is_given = |action: OperatorAction| action == OperatorAction::Approve && self.approved().is_some();
        OperatorAction::ALL
            .into_iter()
            .filter(|action| self.obstacle(*action).is_none() && !is_given(*action))
            .collect()
    }

    /// Schedules the deletion to be evaluated again now.
    fn again(&mut self, why: String, now: Timestamp) {
        self.checks.push(Check::passed(CheckName::Operator, why));
        self.status = DeletionStatus::Pending;
        self.due = Some(now);
        self.attempts = 0;
    }

    /// Sets a status in which nothing is scheduled, with the check that explains it.
    pub fn settle(&mut self, status: DeletionStatus, check: Check, now: Timestamp) {
        self.checks.push(check);
        self.status = status;
        self.due = None;
        self.attempts = 0;
        self.changed_at = now;
    }

    /// Schedules a retry: after 1 minute, then 2, 4 and so on, up to 6 hours.
    pub fn retry_later(&mut self, check: Check, now: Timestamp) {
        let minutes = 1i64.checked_shl(self.attempts).unwrap_or(i64::MAX);
        let pause = SignedDuration::from_mins(minutes.min(LONGEST_PAUSE.as_mins()));
        self.checks.push(check);
        self.status = DeletionStatus::Pending;
        self.due = Some(now.saturating_add(pause).unwrap_or(Timestamp::MAX));
        self.attempts = self.attempts.saturating_add(1).min(30);
        self.changed_at = now;
    }

    /// Applies a decision. A permitted action is claimed: the deletion is executing once that is stored.
    pub fn apply(&mut self, decision: &Decision, now: Timestamp) {
        self.checks.clone_from(&decision.checks);
        self.action = decision.action;
        self.policies.clone_from(&decision.policies);
        self.size_bytes = decision.size_bytes.or(self.size_bytes);
        self.changed_at = now;
        let Some(last) = self.checks.pop() else { return };
        match decision.verdict {
            Verdict::Execute(_) => {
                self.checks.push(last);
                self.status = DeletionStatus::Executing;
                self.due = Some(now.saturating_add(CLAIM).unwrap_or(now));
            }
            Verdict::AlreadyGone => self.settle(DeletionStatus::Done, last, now),
            Verdict::Keep | Verdict::SourceHasImage => self.settle(DeletionStatus::Kept, last, now),
            Verdict::Hold(until) => {
                self.settle(DeletionStatus::Held, last, now);
                self.due = until;
            }
            Verdict::NeedsApproval => self.settle(DeletionStatus::AwaitingApproval, last, now),
            Verdict::Retry => self.retry_later(last, now),
            Verdict::Wait(until) => {
                self.checks.push(last);
                self.status = DeletionStatus::Pending;
                self.due = Some(until);
                self.attempts = 0;
            }
        }
    }
}
