//! Durations and times as the caller writes them.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};

/// A time, or a duration back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As in `12h` or `30d`.
    Ago(SignedDuration),
    /// As in `2026-11-01` (midnight in UTC) or `2026-11-01T06:00:00Z`.
    At(Timestamp),
}

impl Moment {
    /// The time, if it is `now`.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::UNIX_EPOCH),
            Self::At(at) => at,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
        // A text with a time of day and an offset is also a date.
        let at = text.parse::<Timestamp>().ok().or_else(|| midnight().filter(|_| !text.contains(['T', ' '])));
        at.map(Self::At)
            .or_else(|| back(text).ok().map(Self::Ago))
            .ok_or_else(|| format!("`{text}` is not a time: write `30d`, `2026-11-01` (UTC) or `2026-11-01T06:00:00Z`"))
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
}
