//! Heartbeats: whether events of a registry reach the hub at all.
//!
//! A path that drops events is silent. So each registry's stack sends a heartbeat through the same rule, topic and queue
//! as its events, and a heartbeat that is late means that events are missing, too.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::named::named;

/// The interval at which a registry's stack sends heartbeats, as in infra/registry.yaml.
pub const HEARTBEAT_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// The age of the last heartbeat from which it is late: three intervals.
pub const LATE: SignedDuration = SignedDuration::from_mins(15);

/// How long a registry may have no stack after it became known, so that no alert is sent while stacks are deployed.
pub const FIRST_HEARTBEAT: SignedDuration = SignedDuration::from_hours(1);

/// What is known of the path from one registry to the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// When the registry's stack sent the last heartbeat that arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_at: Option<Timestamp>,
    /// When the last event happened that arrived, rounded down to five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_at: Option<Timestamp>,
    /// Since when a heartbeat is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_since: Option<Timestamp>,
    /// The last time that an operator forgot the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Forgotten>,
    /// The open incident about missing heartbeats, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// An operator's decision that a registry has no stack, or has none any more: no heartbeat is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forgotten {
    /// When.
    pub at: Timestamp,
    /// The operator's name or ARN.
    pub by: String,
    /// Why, if the operator gave a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

named! {
    /// Whether heartbeats of a registry arrive.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum HeartbeatStatus {
        /// The last heartbeat is not late.
        Alive = "alive",
        /// None arrived for more than 15 minutes.
        Late = "late",
        /// None ever arrived, and the first one is overdue: the registry has no stack, or nothing of it arrives.
        Never = "never",
        /// None arrived yet; the registry became known less than an hour ago.
        Unknown = "unknown",
        /// None is expected: an operator forgot the registry, and nothing arrived since.
        Forgotten = "forgotten",
    }
}

impl HeartbeatStatus {
    /// The status in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Alive => "events arrive",
            Self::Late => "heartbeat late: events do not arrive",
            Self::Never => "no heartbeat ever arrived",
            Self::Unknown => "no heartbeat yet",
            Self::Forgotten => "forgotten: no heartbeat is expected",
        }
    }
}

impl Heartbeat {
    /// Whether something of the registry ever arrived.
    #[must_use]
    pub fn was_seen(&self) -> bool {
        self.heartbeat_at.is_some() || self.event_at.is_some()
    }

    /// The operator's decision that no heartbeat is expected. A heartbeat or an event that was sent later ends it.
    #[must_use]
    pub fn forgotten(&self) -> Option<&Forgotten> {
        let arrived = self.heartbeat_at.max(self.event_at);
        self.forgotten.as_ref().filter(|forgotten| arrived.is_none_or(|at| at <= forgotten.at))
    }

    /// The status at a time.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> HeartbeatStatus {
        if self.forgotten().is_some() {
            return HeartbeatStatus::Forgotten;
        }
        match (self.heartbeat_at, self.expected_since) {
            (Some(last), _) if now.duration_since(last) > LATE => HeartbeatStatus::Late,
            (Some(_), _) => HeartbeatStatus::Alive,
            (None, Some(since)) if now.duration_since(since) > FIRST_HEARTBEAT => HeartbeatStatus::Never,
            (None, _) => HeartbeatStatus::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_late_after_three_intervals_and_missing_after_an_hour() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let beat = |minute| Heartbeat { heartbeat_at: Some(at(minute)), ..Heartbeat::default() };
        assert_eq!(beat(100).status(at(115)), HeartbeatStatus::Alive);
        assert_eq!(beat(100).status(at(116)), HeartbeatStatus::Late);
        // A clock that is behind is no reason for an alert.
        assert_eq!(beat(100).status(at(90)), HeartbeatStatus::Alive);
        let expected = Heartbeat { expected_since: Some(at(100)), ..Heartbeat::default() };
        assert_eq!(expected.status(at(160)), HeartbeatStatus::Unknown);
        assert_eq!(expected.status(at(161)), HeartbeatStatus::Never);
        assert_eq!(Heartbeat::default().status(at(161)), HeartbeatStatus::Unknown);
    }

    #[test]
    fn a_forgotten_registry_is_back_with_its_next_heartbeat_or_event() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let forgotten = Some(Forgotten { at: at(200), by: "dana".to_owned(), reason: None });
        let gone = Heartbeat { heartbeat_at: Some(at(100)), event_at: Some(at(90)), forgotten, ..Heartbeat::default() };
        assert_eq!(gone.status(at(9_999)), HeartbeatStatus::Forgotten);
        let back = Heartbeat { heartbeat_at: Some(at(201)), ..gone.clone() };
        assert_eq!([back.status(at(210)), back.status(at(220))], [HeartbeatStatus::Alive, HeartbeatStatus::Late]);
        // An event without a heartbeat says that the registry is there, and that its heartbeats are missing.
        assert_eq!(Heartbeat { event_at: Some(at(201)), ..gone }.status(at(210)), HeartbeatStatus::Late);
    }
}
