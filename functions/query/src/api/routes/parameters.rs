//! The parameters that several operations have in common, and their limits.

use answers::time;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error as _};

/// Entries on a page of a list: the default, and the maximum.
const ENTRIES: (usize, usize) = (100, 1_000);

/// The longest accepted text, in characters: a host, a repository and a tag have at most 300 each, and none is that
/// long in practice.
const LONGEST_TEXT: usize = 512;

/// The furthest time back that a request may ask for: 366 days.
const FURTHEST: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The requested number of entries, from 1 to 1,000.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct PageSize(pub(super) usize);

impl TryFrom<usize> for PageSize {
    type Error = String;

    fn try_from(entries: usize) -> Result<Self, String> {
        let most = ENTRIES.1;
        if (1..=most).contains(&entries) {
            Ok(Self(entries))
        } else {
            Err(format!("expected a number from 1 to {most}"))
        }
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(ENTRIES.0)
    }
}

/// The requested time back from now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since(pub(super) SignedDuration);

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let since = time::back(&String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if since > FURTHEST { Err(D::Error::custom("expected 366 days at most")) } else { Ok(Self(since)) }
    }
}

pub(super) fn days(days: i64) -> Since {
    Since(SignedDuration::from_hours(24 * days))
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
