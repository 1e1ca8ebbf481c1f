//! Times in the resolution of ECR's events.

use jiff::Timestamp;

/// Rounds a time down to whole seconds, the resolution of ECR's events.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A time in texts for people, such as `2026-11-16 01:54:34`: in UTC, without fractions of a second.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
