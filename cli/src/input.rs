//! Files of events, in every form in which people have them.
//!
//! - EventBridge events: one document, one a line, or a JSON array;
//! - SQS messages that hold them: what a queue gives (`Messages`, `Body`) and what Lambda gets (`Records`, `body`);
//! - CloudTrail log files (`Records`) and single CloudTrail records;
//! - any of these compressed with gzip.
//!
//! What cannot be read is rejected with its line; everything around it is kept.

use std::io::Read;

use domain::event::{self, Event, EventError};
use flate2::read::MultiGzDecoder;
use serde_json::{Deserializer, Value};

/// One thing found in a file, and the line it starts on.
#[derive(Debug)]
pub struct Entry {
    /// Counted from 1.
    pub line: usize,
    /// The event, or why it is none.
    pub event: Result<Event, InputError>,
}

/// Why something in a file is not an event.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Broken or cut off JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but none of the known forms.
    #[error("neither an EventBridge event nor a CloudTrail record nor an SQS message")]
    UnknownForm,
    /// One of the known forms, with something wrong in it.
    #[error(transparent)]
    Rejected(#[from] EventError),
}

/// The text of a file, unpacked if it is compressed.
///
/// # Errors
/// When it is compressed and damaged.
pub fn unpack(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads everything in a text.
///
/// Brackets and commas between documents are passed over, so that an array reads as its elements do: a file that was
/// cut off still gives all that is whole. After something broken, reading goes on at the next line or element.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry> {
    let mut rest = text;
    let mut line = 1;
    let mut pending = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(event) = pending.next() {
                return Some(event);
            }
            line += advance(&mut rest, |byte| byte.is_ascii_whitespace() || b"[],\x1e\xef\xbb\xbf".contains(&byte));
            if rest.is_empty() {
                return None;
            }
            let mut documents = Deserializer::from_slice(rest).into_iter::<Value>();
            let found = match documents.next()? {
                Ok(document) => {
                    let mut found = Vec::new();
                    events(document, &mut found);
                    let end = documents.byte_offset();
                    let here = line;
                    line += skip(&mut rest, end);
                    found.into_iter().map(|event| Entry { line: here, event }).collect()
                }
                Err(error) => {
                    let entry = Entry { line, event: Err(not_json(&error)) };
                    line += advance(&mut rest, |byte| byte != b'\n');
                    vec![entry]
                }
            };
            pending = found.into_iter();
        }
    })
}

/// Passes over the bytes that are wanted, and counts their lines.
fn advance(rest: &mut &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let end = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
    skip(rest, end)
}

/// Passes over some bytes, and counts their lines.
fn skip(rest: &mut &[u8], bytes: usize) -> usize {
    let (passed, left) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
    *rest = left;
    passed.iter().filter(|byte| **byte == b'\n').count()
}

/// The events in one document.
fn events(document: Value, found: &mut Vec<Result<Event, InputError>>) {
    let has = |name| document.get(name).is_some();
    if has("detail-type") {
        found.push(event::read_value(&document).map_err(InputError::from));
    } else if has("eventSource") && has("eventName") {
        found.push(event::read_record(&document).map_err(InputError::from));
    } else if let Some(list) = document.get("Records").or_else(|| document.get("Messages")).and_then(Value::as_array) {
        list.iter().for_each(|entry| events(entry.clone(), found));
    } else if let Some(body) = document.get("body").or_else(|| document.get("Body")).and_then(Value::as_str) {
        match serde_json::from_str(body) {
            Ok(document) => events(document, found),
            Err(error) => found.push(Err(not_json(&error))),
        }
    } else {
        found.push(Err(InputError::UnknownForm));
    }
}

/// What is wrong with a text, without the place, which is counted from where reading went on.
fn not_json(error: &serde_json::Error) -> InputError {
    if error.is_eof() {
        return InputError::NotJson("truncated".to_owned());
    }
    let text = error.to_string();
    let reason = text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    InputError::NotJson(reason.to_owned())
}
