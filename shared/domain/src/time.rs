//! Times as ECR's events tell them.

use jiff::Timestamp;

/// The second in which a time lies: ECR's events know whole seconds only.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
