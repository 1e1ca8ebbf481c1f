//! The parameters that several operations have in common, and their limits.

use answers::{
    reference::Reference,
    registries::LONGEST_REASON,
    time::{Moment, Period},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::IntoParams;

use crate::api::problem::{Problem, ProblemCode};

/// Entries on a page of a list: the default, and the maximum.
const ENTRIES: (usize, usize) = (100, 1_000);

/// The longest accepted text, in characters: a host, a repository and a tag have at most 300 each, and none is that
/// long in practice.
const LONGEST_TEXT: usize = 512;

/// The longest time that a request may ask about: 366 days.
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The requested number of entries, from 1 to 1,000.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSize(pub(super) usize);

impl<'de> Deserialize<'de> for PageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, most) = (String::deserialize(deserializer)?, ENTRIES.1);
        let entries = text.parse().ok().filter(|entries| (1..=most).contains(entries));
        entries.map(Self).ok_or_else(|| D::Error::custom(format!("expected a number from 1 to {most}, not `{text}`")))
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(ENTRIES.0)
    }
}

/// The requested time range.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TimeRange {
    /// Only what happened at this time or later: a duration back from now (`12h`, `30d`), a day in UTC (`2026-11-01`), or
    /// a time (`2026-11-01T06:00:00Z`).
    #[param(value_type = Option<String>, example = "30d")]
    from: Option<Moment>,
    /// Only what happened before this time, which is written in the same way.
    #[param(value_type = Option<String>, example = "2030-01-01T00:00:00Z")]
    to: Option<Moment>,
}

impl TimeRange {
    /// The range from a time until now.
    pub(super) fn since(from: Option<Moment>) -> Self {
        Self { from, to: None }
    }

    /// The range, which begins some days before its end unless the caller says otherwise. At most 366 days.
    pub(super) fn of_days(self, days: i64, now: Timestamp) -> Result<Period, Problem> {
        let end = self.to.map_or(now, |to| to.at(now));
        let days = Moment::Away(SignedDuration::from_hours(24 * days));
        let period = Period { from: self.from.map_or_else(|| days.at(end), |from| from.at(now)), ..self.period(now)? };
        if end.duration_since(period.from) > LONGEST_PERIOD {
            return Err(Problem::new(ProblemCode::InvalidParameter, "from: expected 366 days at most"));
        }
        Ok(period)
    }

    /// The range, if the caller asks for one.
    pub(super) fn asked(self, now: Timestamp) -> Result<Option<Period>, Problem> {
        let is_asked = self.from.is_some() || self.to.is_some();
        is_asked.then(|| self.period(now)).transpose()
    }

    /// The range, which is open where the caller says nothing.
    pub(super) fn period(self, now: Timestamp) -> Result<Period, Problem> {
        let from = self.from.map_or(Period::ALL.from, |from| from.at(now));
        let to = self.to.map(|to| to.at(now));
        if to.is_some_and(|to| to <= from) {
            return Err(Problem::new(ProblemCode::InvalidParameter, "to: expected a time after `from`"));
        }
        Ok(Period { from, to })
    }
}

/// A reference to an image that can be resolved without reading a whole index: by its tag, or with its repository.
#[derive(Debug, Clone)]
pub(super) struct ImageReference(pub(super) Reference);

impl<'de> Deserialize<'de> for ImageReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match parsed(deserializer)? {
            Reference::Short { repository: None, digest } => Err(D::Error::custom(format!(
                "`{digest}` names no repository: write `REPO@sha256:…`; `GET /v1/search` finds the repository"
            ))),
            image => Ok(Self(image)),
        }
    }
}

/// Why an operator does something, in at most 1,000 characters.
#[derive(Debug, Clone)]
pub(super) struct Reason(pub(super) String);

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > LONGEST_REASON {
            return Err(D::Error::custom(format!("expected {LONGEST_REASON} characters at most")));
        }
        Ok(Self(text))
    }
}

/// Accepts a text up to the longest accepted length.
pub(super) fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.chars().count() > LONGEST_TEXT { Err(D::Error::custom("it is too long")) } else { Ok(text) }
}

/// Parses a text into its type.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Parses texts that are separated by commas.
pub(super) fn several<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let texts = String::deserialize(deserializer)?;
    texts.split(',').map(|text| text.trim().parse().map_err(D::Error::custom)).collect()
}

/// Parses a text into its type, if there is one.
pub(super) fn maybe_parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    parsed(deserializer).map(Some)
}
