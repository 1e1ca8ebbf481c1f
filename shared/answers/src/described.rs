//! What answers contain of a stored type: its fields, and its texts for people. The texts come from `domain`, so that
//! command line, API and page show the same ones.

use domain::{
    alert::Alert,
    deletion::{ActionRecord, Deletion, OperatorAction},
    drift::Difference,
    fact::Fact,
    tag::TagInterval,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A type that answers contain together with its texts for people.
pub(crate) trait Describe {
    /// The fields and the texts.
    type Described: Serialize;

    fn describe(&self) -> Self::Described;
}

/// Serializes the items of a list together with their texts.
///
/// # Errors
/// When the serializer fails.
pub(crate) fn described<T: Describe, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(Describe::describe))
}

/// A deletion with its texts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedDeletion {
    /// The deletion without `actions`.
    #[serde(flatten)]
    deletion: Deletion,
    /// The actions of operators, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<DescribedAction>,
    /// The status in words, such as `awaiting approval`.
    status_text: &'static str,
    /// Why the deletion has this status, or what is planned: one line.
    summary: String,
    /// The actions that the status allows an operator to take now, in the order of `OperatorAction`. The caller's
    /// permissions are not considered.
    allowed_actions: Vec<OperatorAction>,
}

/// An action of an operator with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedAction {
    /// The action, the operator and the time.
    #[serde(flatten)]
    record: ActionRecord,
    /// What the operator did, in words, such as `put on hold`.
    action_text: &'static str,
}

impl Describe for Deletion {
    type Described = DescribedDeletion;

    fn describe(&self) -> DescribedDeletion {
        let mut deletion = self.clone();
        let actions = std::mem::take(&mut deletion.actions).into_iter();
        DescribedDeletion {
            status_text: self.status.words(),
            summary: self.summary(),
            allowed_actions: self.allowed_actions(),
            actions: actions
                .map(|record| DescribedAction { action_text: record.action.past_tense(), record })
                .collect(),
            deletion,
        }
    }
}

/// A fact with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedFact {
    /// The fact.
    #[serde(flatten)]
    fact: Fact,
    /// What happened, in one line.
    summary: String,
}

impl Describe for Fact {
    type Described = DescribedFact;

    fn describe(&self) -> DescribedFact {
        DescribedFact { fact: self.clone(), summary: self.summary() }
    }
}

/// An alert with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedAlert {
    /// The alert.
    #[serde(flatten)]
    alert: Alert,
    /// The kind in words, such as `replication late`.
    kind_text: String,
}

impl Describe for Alert {
    type Described = DescribedAlert;

    fn describe(&self) -> DescribedAlert {
        DescribedAlert { alert: self.clone(), kind_text: self.kind.words() }
    }
}

/// A replica that differs from its source, with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedDifference {
    /// The difference.
    #[serde(flatten)]
    difference: Difference,
    /// The difference, in one line.
    summary: String,
}

impl Describe for Difference {
    type Described = DescribedDifference;

    fn describe(&self) -> DescribedDifference {
        DescribedDifference { difference: self.clone(), summary: self.summary() }
    }
}

/// A time in which a tag was on one image, with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedInterval {
    /// The image, and when it had the tag.
    #[serde(flatten)]
    interval: TagInterval,
    /// How the interval ended, or that it lasts, in words.
    summary: &'static str,
}

impl Describe for TagInterval {
    type Described = DescribedInterval;

    fn describe(&self) -> DescribedInterval {
        DescribedInterval { interval: self.clone(), summary: self.summary() }
    }
}

#[cfg(test)]
mod tests {
    use domain::deletion::DeletionIntent;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_described_deletion_has_the_stored_fields_and_texts() {
        let image = format!("team/app@sha256:{}", "a".repeat(64)).parse().unwrap();
        let (registry, source) = ("111122223333/us-east-1".parse().unwrap(), "111122223333/eu-west-1".parse().unwrap());
        let intent = DeletionIntent { registry, tag: None, since: Timestamp::UNIX_EPOCH };
        let mut held = Deletion::open(None, &image, &source, intent, Timestamp::UNIX_EPOCH).unwrap();
        held.act(OperatorAction::Hold, "dana", Some("audit"), Timestamp::UNIX_EPOCH).unwrap();
        let answer = serde_json::to_value(held.describe()).unwrap();
        assert_eq!(answer["status"], "held");
        assert_eq!(answer["status_text"], "on hold");
        assert_eq!(answer["allowed_actions"], json!(["release", "approve", "cancel"]));
        assert_eq!(answer["actions"].as_array().unwrap().len(), 1);
        assert_eq!(answer["actions"][0]["action"], "hold");
        assert_eq!(answer["actions"][0]["action_text"], "put on hold");
        assert_eq!(serde_json::from_value::<Deletion>(answer).unwrap(), held);
    }
}
