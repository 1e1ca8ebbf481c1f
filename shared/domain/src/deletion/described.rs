//! The texts about a deletion, and the actions that an operator can take. The API, the page and the command line share
//! them.

use serde::{Serialize, Serializer};

use super::{Deletion, DeletionStatus, OperatorAction};

/// A deletion as the API returns it: the stored fields and their description for people.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DescribedDeletion))]
pub struct DescribedDeletion {
    /// The deletion.
    #[serde(flatten)]
    pub deletion: Deletion,
    /// The status in words, such as `awaiting approval`.
    pub status_text: &'static str,
    /// Why the deletion has this status, or what is planned: one line.
    pub summary: String,
    /// The actions that the status allows an operator to take now. The caller's permissions are not considered.
    pub allowed_actions: Vec<OperatorAction>,
}

impl From<&Deletion> for DescribedDeletion {
    fn from(deletion: &Deletion) -> Self {
        Self {
            status_text: deletion.status.words(),
            summary: deletion.summary(),
            allowed_actions: deletion.allowed_actions(),
            deletion: deletion.clone(),
        }
    }
}

/// Serializes deletions together with their description.
///
/// # Errors
/// When the serializer fails.
pub fn described<S: Serializer>(deletions: &[Deletion], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(deletions.iter().map(DescribedDeletion::from))
}

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

impl Deletion {
    /// Why the deletion has this status, or what is planned: one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let last = self.checks.last().map(|check| check.why.as_str()).unwrap_or_default();
        let policies: Vec<_> = self.policies.iter().map(String::as_str).collect();
        let by = if policies.is_empty() { String::new() } else { format!(" (policy {})", policies.join(", ")) };
        match (self.status, self.action) {
            (DeletionStatus::Pending, Some(action)) if last.is_empty() => {
                format!("planned action when due: {action}{by}")
            }
            (DeletionStatus::Pending, None) if last.is_empty() => "no matching permit policy (provisional)".to_owned(),
            (DeletionStatus::Done, Some(action)) => format!("{action}: {last}{by}"),
            _ => last.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::{deletion::DeletionIntent, policy::Action};

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
                .filter(|action| deletion.clone().act(*action, "operator", Timestamp::UNIX_EPOCH).is_ok())
                .collect();
            assert_eq!(deletion.allowed_actions(), possible, "{status:?}");
        }
    }

    #[test]
    fn an_approved_deletion_cannot_be_approved_again() {
        let mut pending = deletion(DeletionStatus::Pending);
        assert_eq!(pending.allowed_actions(), [OperatorAction::Hold, OperatorAction::Approve, OperatorAction::Cancel]);
        pending.act(OperatorAction::Approve, "operator", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pending.allowed_actions(), [OperatorAction::Hold, OperatorAction::Cancel]);
    }

    #[test]
    fn a_summary_names_the_planned_action_or_the_deciding_check() {
        let mut pending = deletion(DeletionStatus::Pending);
        assert_eq!(pending.summary(), "no matching permit policy (provisional)");
        pending.action = Some(Action::Delete);
        pending.policies = BTreeSet::from(["after-a-day".to_owned()]);
        assert_eq!(pending.summary(), "planned action when due: delete (policy after-a-day)");
        pending.act(OperatorAction::Hold, "operator", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pending.summary(), pending.checks.last().unwrap().why);
    }

    #[test]
    fn a_described_deletion_has_the_stored_fields_and_texts() {
        let held = deletion(DeletionStatus::Held);
        let answer = serde_json::to_value(DescribedDeletion::from(&held)).unwrap();
        assert_eq!(answer["status"], "held");
        assert_eq!(answer["status_text"], "on hold");
        assert_eq!(answer["allowed_actions"], serde_json::json!(["release", "approve", "cancel"]));
        assert_eq!(serde_json::from_value::<Deletion>(answer).unwrap(), held);
    }
}
