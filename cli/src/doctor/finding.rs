//! What a check returns.

use std::{error::Error, fmt::Display};

use retry::chain;
use serde::Serialize;
use utoipa::ToSchema;

/// The result of one check.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finding {
    /// The result's level.
    pub level: Level,
    /// The hub, or the registry that was checked.
    pub place: String,
    /// The result in one line, with its consequence.
    pub what: String,
    /// The fix, where possible as a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The level of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No fix is needed.
    Good,
    /// A setting that an operator may have chosen deliberately.
    Notice,
    /// The check could not be made.
    Unknown,
    /// A fix is needed.
    Wrong,
}

impl Finding {
    pub(super) fn new(level: Level, place: &str, what: impl Display, fix: Option<&str>) -> Self {
        Self { level, place: place.to_owned(), what: what.to_string(), fix: fix.map(str::to_owned) }
    }

    pub(super) fn good(place: &str, what: impl Display) -> Self {
        Self::new(Level::Good, place, what, None)
    }

    pub(super) fn wrong(place: &str, what: impl Display, fix: &str) -> Self {
        Self::new(Level::Wrong, place, what, Some(fix))
    }

    pub(super) fn notice(place: &str, what: impl Display, fix: &str) -> Self {
        Self::new(Level::Notice, place, what, Some(fix))
    }

    /// A check that could not be made because a read failed.
    pub(super) fn unknown(place: &str, what: impl Display, failure: &dyn Error, fix: &str) -> Self {
        Self::new(Level::Unknown, place, format!("{what}: {}", chain(failure)), Some(fix))
    }
}
