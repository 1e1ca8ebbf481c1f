//! Durations and times as the caller writes them.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A duration from now, as in `12h` or `30d`: back in a question, and ahead in an order.
    Away(SignedDuration),
    /// A day in UTC, as in `2026-11-01`.
    Day(Date),
    /// A time, as in `2026-11-01T06:00:00Z`.
    At(Timestamp),
}

impl Moment {
    /// The time in a question: a duration goes back from now, and a day is its midnight.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Away(duration) => now.checked_sub(duration).unwrap_or(Timestamp::UNIX_EPOCH),
            Self::Day(day) => midnight(day),
            Self::At(at) => at,
        }
    }

    /// The end of what lasts from now on: a duration goes ahead, and a day is included.
    #[must_use]
    pub fn end(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Away(duration) => now.checked_add(duration).unwrap_or(Timestamp::MAX),
            Self::Day(day) => day.tomorrow().map_or(Timestamp::MAX, midnight),
            Self::At(at) => at,
        }
    }

    /// How long before `now` the time is; nothing if it is not before.
    #[must_use]
    pub fn before(self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.at(now)).max(SignedDuration::ZERO)
    }
}

fn midnight(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |day| day.timestamp())
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A text with a time of day and an offset is also a date.
        let day = || text.parse::<Date>().ok().filter(|_| !text.contains(['T', ' ']));
        let at = text.parse::<Timestamp>().ok().map(Self::At).or_else(|| day().map(Self::Day));
        at.or_else(|| back(text).ok().map(Self::Away))
            .ok_or_else(|| format!("`{text}` is not a time: write `30d`, `2026-11-01` (UTC) or `2026-11-01T06:00:00Z`"))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A time range: from a time on, until another one, which is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The beginning.
    pub from: Timestamp,
    /// The end; without one, the range is open.
    pub to: Option<Timestamp>,
}

impl Period {
    /// All time.
    pub const ALL: Self = Self { from: Timestamp::MIN, to: None };

    /// From a time on.
    #[must_use]
    pub fn since(from: Timestamp) -> Self {
        Self { from, to: None }
    }

    /// The last `duration` before now.
    #[must_use]
    pub fn last(duration: SignedDuration, now: Timestamp) -> Self {
        Self::since(Moment::Away(duration).at(now))
    }

    /// Whether a time is in the range.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// An answer as JSON, with every time in one form: RFC 3339 in UTC and whole seconds.
///
/// # Errors
/// When it cannot be JSON.
pub fn json(answer: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(answer)?;
    in_whole_seconds(&mut value);
    Ok(value)
}

fn in_whole_seconds(value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_time =
                text.ends_with('Z') && text.contains('.') && text.starts_with(|first: char| first.is_ascii_digit());
            if let Some(time) = text.parse::<Timestamp>().ok().filter(|_| is_time) {
                *text = domain::time::whole_seconds(time).to_string();
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(in_whole_seconds),
        Value::Object(fields) => fields.values_mut().for_each(in_whole_seconds),
        _ => {}
    }
}

/// A duration back from now, as in `12h` or `30d`; a day has 24 hours.
///
/// # Errors
/// When the text is not a positive duration.
pub fn back(text: &str) -> Result<SignedDuration, String> {
    let span = text.parse::<Span>().ok().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    span.filter(SignedDuration::is_positive).ok_or_else(|| format!("`{text}` is not a time: write `12h` or `30d`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_an_answer_have_whole_seconds_and_other_texts_stay() {
        let texts =
            ["2026-11-30T12:00:00.123456789Z", "2026-11-30T12:00:00Z", "1.2.Z", "v1.5", "at 2026-11-30T12:00:00.1Z"];
        let json = json(&[texts]).unwrap();
        let expected = ["2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z", "1.2.Z", "v1.5", "at 2026-11-30T12:00:00.1Z"];
        assert_eq!(json, serde_json::json!([expected]));
    }

    #[test]
    fn a_moment_is_a_date_a_time_or_a_duration_back() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T06:00:00Z", "2026-11-01T06:00:00Z"),
            ("2026-11-01T06:00:00+02:00", "2026-11-01T04:00:00Z"),
            ("36h", "2026-11-29T00:00:00Z"),
            ("1w", "2026-11-23T12:00:00Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().at(now), at.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "2026-11", "2026-13-01", "-3h", "2026-11-01T06:00:00"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_end_is_ahead_and_includes_its_day() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
            ("12h", "2026-12-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().end(now), at.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn the_end_of_a_period_is_not_in_it() {
        let at = |text: &str| text.parse::<Moment>().unwrap().at(Timestamp::MAX);
        let october = Period { from: at("2026-10-01"), to: Some(at("2026-11-01")) };
        assert!(october.contains(at("2026-10-01")) && october.contains(at("2026-10-31T23:59:59Z")));
        assert!(!october.contains(at("2026-09-30T23:59:59Z")) && !october.contains(at("2026-11-01")));
        assert!(Period::ALL.contains(Timestamp::MIN) && Period::ALL.contains(Timestamp::MAX));
    }
}
