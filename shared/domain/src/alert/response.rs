//! What operators said about an open incident: that someone works on it, and until when it is not repeated.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Severity;
use crate::time::time_text;

/// What operators said about an incident. It ends with the incident.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Response {
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// Until when it is not repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed: Option<Snooze>,
}

/// Someone works on an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Acknowledgement {
    /// The operator.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if the operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An incident is not repeated until a time, unless it becomes more severe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snooze {
    /// The operator.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// The severity of the incident at that time: a higher one is sent.
    pub severity: Severity,
}

impl Response {
    /// The snooze that lasts at a time.
    #[must_use]
    pub fn snoozed_at(&self, now: Timestamp) -> Option<&Snooze> {
        self.snoozed.as_ref().filter(|snooze| now < snooze.until)
    }

    /// Whether an alert of a severity that repeats the incident is not sent at a time.
    #[must_use]
    pub fn silences(&self, severity: Severity, now: Timestamp) -> bool {
        self.snoozed_at(now).is_some_and(|snooze| severity <= snooze.severity)
    }
}

impl fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "acknowledged by {} at {}", self.by, time_text(self.at))?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl fmt::Display for Snooze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, at, until, reason, .. } = self;
        write!(f, "snoozed by {by} at {} until {}: {reason}", time_text(*at), time_text(*until))
    }
}
