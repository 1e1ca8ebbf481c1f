//! The texts about a deletion, for people. The API, the page and the command line share them.

use super::{ActionRecord, Deletion, DeletionStatus};
use crate::alert::{AlertKind, Occurrence};

impl DeletionStatus {
    /// The status in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "on hold",
            Self::AwaitingApproval => "awaiting approval",
            Self::Executing => "executing",
            Self::Done => "done",
            Self::Kept => "kept",
            Self::Failed => "failed",
        }
    }
}

impl ActionRecord {
    /// Who acted and why.
    #[must_use]
    pub fn by_and_reason(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{}{reason}", self.by)
    }
}

impl Deletion {
    /// Why the deletion has this status, or what is planned: one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let last = self.checks.last().map(|check| check.why.as_str()).unwrap_or_default();
        let policies: Vec<_> = self.policies.iter().map(String::as_str).collect();
        let by = if policies.is_empty() { String::new() } else { format!(" (policy {})", policies.join(", ")) };
        let approved = self.approved().map(ActionRecord::by_and_reason);
        let approved = approved.map(|approved| format!("; approved by {approved}")).unwrap_or_default();
        match (self.status, self.action) {
            (DeletionStatus::Pending, Some(action)) if last.is_empty() && self.will_ask() => {
                format!("will ask for approval when due: {action}{by}")
            }
            (DeletionStatus::Pending, Some(action)) if last.is_empty() => {
                format!("planned action when due: {action}{by}{approved}")
            }
            (DeletionStatus::Pending, None) if last.is_empty() => "no matching permit policy (provisional)".to_owned(),
            (DeletionStatus::Done, Some(action)) => format!("{action}: {last}{by}{approved}"),
            _ => last.to_owned(),
        }
    }

    /// What the alerts count when the deletion gets its status; `None` if no alert is about that status.
    pub(super) fn new_status(&self) -> Option<Occurrence> {
        let (kind, what) = match self.status {
            DeletionStatus::Held => (AlertKind::DeletionHeld, "is on hold: its deletion does not run"),
            DeletionStatus::AwaitingApproval => (AlertKind::ApprovalWanted, "awaits approval of its deletion"),
            DeletionStatus::Done => (AlertKind::DeletionDone, "was deleted, as its source deleted it"),
            DeletionStatus::Pending | DeletionStatus::Executing | DeletionStatus::Kept | DeletionStatus::Failed => {
                return None;
            }
        };
        Some(self.occurrence(kind, what))
    }

    /// Something that happened to the deletion, for the alerts that several deletions share.
    #[must_use]
    pub fn occurrence(&self, kind: AlertKind, what: &str) -> Occurrence {
        let Self { image, registry, source, tag, .. } = self;
        let name = match tag {
            Some(tag) => format!("{}:{tag}", image.repository),
            None => format!("{}@{}", image.repository, image.digest.short()),
        };
        let why = format!("{name} in {registry} {what}");
        Occurrence { kind, source: source.clone(), destination: registry.clone(), image: image.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        deletion::{DeletionIntent, OperatorAction},
        policy::Action,
    };

    fn deletion(status: DeletionStatus) -> Deletion {
        let image = format!("team/app@sha256:{}", "a".repeat(64)).parse().unwrap();
        let (registry, source) = ("111122223333/us-east-1".parse().unwrap(), "111122223333/eu-west-1".parse().unwrap());
        let intent = DeletionIntent { registry, tag: None, since: Timestamp::UNIX_EPOCH };
        let opened = Deletion::open(None, &image, &source, intent, Timestamp::UNIX_EPOCH).unwrap();
        Deletion { status, ..opened }
    }

    #[test]
    fn allowed_actions_are_exactly_those_that_succeed() {
        for status in DeletionStatus::ALL {
            let deletion = deletion(status);
            let possible: Vec<_> = OperatorAction::ALL
                .into_iter()
                .filter(|action| deletion.clone().act(*action, "operator", None, Timestamp::UNIX_EPOCH).is_ok())
                .collect();
            assert_eq!(deletion.allowed_actions(), possible, "{status:?}");
        }
    }

    #[test]
    fn an_approval_ends_when_the_deletion_is_retried() {
        let mut pending = Deletion { needs_approval: true, ..deletion(DeletionStatus::Pending) };
        assert!(pending.will_ask());
        pending.act(OperatorAction::Approve, "operator", None, Timestamp::UNIX_EPOCH).unwrap();
        assert!(!pending.will_ask());
        pending.status = DeletionStatus::Kept;
        assert!(pending.approved().is_some());
        pending.act(OperatorAction::Retry, "another", None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pending.approved(), None);
        assert!(pending.will_ask());
        pending.needs_approval = false;
        assert!(!pending.will_ask());
    }

    #[test]
    fn an_approved_deletion_cannot_be_approved_again() {
        let mut pending = deletion(DeletionStatus::Pending);
        assert_eq!(pending.allowed_actions(), [OperatorAction::Hold, OperatorAction::Approve, OperatorAction::Cancel]);
        pending.act(OperatorAction::Approve, "operator", None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pending.allowed_actions(), [OperatorAction::Hold, OperatorAction::Cancel]);
    }

    #[test]
    fn a_summary_names_the_planned_action_or_the_deciding_check() {
        let mut pending = deletion(DeletionStatus::Pending);
        assert_eq!(pending.summary(), "no matching permit policy (provisional)");
        pending.action = Some(Action::Delete);
        pending.policies = BTreeSet::from(["after-a-day".to_owned()]);
        assert_eq!(pending.summary(), "planned action when due: delete (policy after-a-day)");
        pending.act(OperatorAction::Hold, "operator", None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pending.summary(), pending.checks.last().unwrap().why);
    }
}
