//! Cursors: opaque texts with which a caller requests the next page.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

/// A position in a list. Its parts are names and times, each validated when parsed: a forged cursor is another position
/// or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<T>(pub T);

/// The error of a text that is not a cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected what `next_cursor` said, of the same list")]
pub struct CursorError;

impl<T: Serialize> fmt::Display for Cursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(json))
    }
}

impl<T: DeserializeOwned> FromStr for Cursor<T> {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let json = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        serde_json::from_slice(&json).map(Self).map_err(|_| CursorError)
    }
}

impl<T: Serialize> Serialize for Cursor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Cursor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
