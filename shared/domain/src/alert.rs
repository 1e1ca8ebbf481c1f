//! What a person should know.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that a person should know. Stored in the same step as what caused it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// When.
    pub time: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// To what: a registry, or a registry and a repository. One alert of a kind and subject is kept for a day.
    pub subject: String,
    /// What happened, in one line.
    pub message: String,
    /// What to do next.
    pub next: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The policy cannot be used: nothing is mirrored.
    PolicyInvalid,
    /// More was deleted at a source than its breaker lets through.
    BreakerOpened,
    /// A person closed a breaker.
    BreakerReset,
    /// A deletion waits for a person.
    ApprovalWanted,
    /// ECR refused a deletion for a reason that will not pass.
    DeletionFailed,
}

impl Kind {
    /// The word for it, as in its JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PolicyInvalid => "policy_invalid",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerReset => "breaker_reset",
            Self::ApprovalWanted => "approval_wanted",
            Self::DeletionFailed => "deletion_failed",
        }
    }
}
