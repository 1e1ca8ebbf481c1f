//! Times in the resolution of ECR's events.

use jiff::Timestamp;

/// Rounds a time down to whole seconds, the resolution of ECR's events.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
