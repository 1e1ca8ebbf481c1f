//! Durations as the caller writes them.

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// A duration back from now, as in `12h` or `30d`; a day has 24 hours.
///
/// # Errors
/// When the text is not a positive duration.
pub fn back(text: &str) -> Result<SignedDuration, String> {
    let span = text.parse::<Span>().ok().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    span.filter(SignedDuration::is_positive).ok_or_else(|| format!("`{text}` is not a time: write `12h` or `30d`"))
}
