//! Files of events, in these formats:
//!
//! - EventBridge events: one document, one a line, or a JSON array;
//! - messages of SNS topics that contain them (`Message`), alone and as Lambda receives them (`Records`, `Sns`);
//! - SQS messages that contain any of these, as `ReceiveMessage` returns them (`Messages`, `Body`) and as Lambda receives
//!   them (`Records`, `body`);
//! - CloudTrail log files (`Records`) and single CloudTrail records;
//! - any of these compressed with gzip.
//!
//! An entry that cannot be parsed is rejected with its line number; the entries around it are kept.

use std::io::Read;

use domain::event::{
    self, Event, EventError,
    notification::{self, Content, NotificationError},
};
use flate2::read::MultiGzDecoder;
use serde_json::{Deserializer, Value};

/// One entry of a file.
#[derive(Debug)]
pub struct Entry {
    /// The line on which the entry starts, counted from 1.
    pub line: usize,
    /// The event, or the reason why the entry is not one.
    pub event: Result<Event, InputError>,
}

/// The error of an entry that is not an event.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Malformed or truncated JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON in none of the known formats.
    #[error("neither an EventBridge event nor a CloudTrail record nor an SQS message")]
    UnknownForm,
    /// A known format with invalid content.
    #[error(transparent)]
    Rejected(#[from] EventError),
    /// A message of a topic that cannot be read, or that speaks for another registry.
    #[error(transparent)]
    Refused(#[from] NotificationError),
}

/// The content of a file, decompressed if it is gzip.
///
/// # Errors
/// When the file is gzip and damaged.
pub fn unpack(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text)?;
    Ok(text)
}

/// Parses all entries of a text.
///
/// Brackets and commas between documents are skipped, so that an array is read element by element: a truncated file
/// still yields all complete entries. After a syntax error, parsing continues on the next line.
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

/// Skips the leading bytes that satisfy `wanted`, and returns the number of lines among them.
fn advance(rest: &mut &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let end = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
    skip(rest, end)
}

/// Skips a number of bytes, and returns the number of lines among them.
fn skip(rest: &mut &[u8], bytes: usize) -> usize {
    let (passed, left) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
    *rest = left;
    passed.iter().filter(|byte| **byte == b'\n').count()
}

/// Collects the events of one document.
fn events(document: Value, found: &mut Vec<Result<Event, InputError>>) {
    let has = |name| document.get(name).is_some();
    if has("TopicArn") {
        found.push(of_topic(&document));
    } else if has("detail-type") {
        found.push(event::read_value(&document).map_err(InputError::from));
    } else if has("eventSource") && has("eventName") {
        found.push(event::read_record(&document).map_err(InputError::from));
    } else if let Some(list) = document.get("Records").or_else(|| document.get("Messages")).and_then(Value::as_array) {
        list.iter().for_each(|entry| events(entry.clone(), found));
    } else if let Some(message) = document.get("Sns") {
        events(message.clone(), found);
    } else if let Some(text) = ["body", "Body", "Message"].iter().find_map(|name| document.get(name)?.as_str()) {
        match serde_json::from_str(text) {
            Ok(document) => events(document, found),
            Err(error) => found.push(Err(not_json(&error))),
        }
    } else {
        found.push(Err(InputError::UnknownForm));
    }
}

/// The event in a message of an SNS topic; of other messages none. A topic speaks only for its own registry.
fn of_topic(message: &Value) -> Result<Event, InputError> {
    Ok(match notification::read(message.to_string().as_bytes())?.content {
        Content::Event(event) => event,
        _ => Event { id: String::new(), facts: Vec::new() },
    })
}

/// A syntax error without its position, which would count from where parsing continued.
fn not_json(error: &serde_json::Error) -> InputError {
    if error.is_eof() {
        return InputError::NotJson("truncated".to_owned());
    }
    let text = error.to_string();
    let reason = text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    InputError::NotJson(reason.to_owned())
}
