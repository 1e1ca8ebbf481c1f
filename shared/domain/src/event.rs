//! Reads the JSON that EventBridge delivers into facts, or rejects it and names the field that is wrong.
//!
//! Payloads: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>. Delivery is best effort, at
//! least once and unordered, and AWS documents the shape of the events only by example. So everything that AWS may omit
//! is optional here, unknown events are kept as they are, and the parser rejects an event only if it cannot determine
//! what happened, to what, where and when.

mod cloudtrail;
mod identity;
pub mod notification;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, MalformedError, Registry, RepositoryName, Tag},
};

pub use cloudtrail::read_record;

/// One event and its facts: one for almost every event, up to 100 for a batch deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// CloudTrail's `eventID` where there is one; otherwise made of the content of the event. So the same event has the
    /// same id, whether it arrived once, twice, by a replay, on another path or from a file.
    pub id: String,
    /// One fact per subject; none if the event says nothing about any image (a read, a dry run).
    pub facts: Vec<Fact>,
}

/// Why the input cannot be read as an ECR event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The input is not JSON.
    #[error("not a JSON document")]
    NotJson(#[source] serde_json::Error),
    /// A required field is missing.
    #[error("field `{field}` is missing")]
    Missing {
        /// The path of the field, from the top of the event.
        field: &'static str,
    },
    /// A field cannot be parsed.
    #[error("field `{field}` cannot be read")]
    Field {
        /// The path of the field, from the top of the event.
        field: &'static str,
        /// Why the value is malformed.
        #[source]
        source: MalformedError,
    },
}

/// Reads one event as EventBridge delivers it.
///
/// # Errors
/// When the input is not JSON, not from ECR, or a required field is missing or malformed.
pub fn read(json: &[u8]) -> Result<Event, EventError> {
    let event: Value = serde_json::from_slice(json).map_err(EventError::NotJson)?;
    read_value(&event)
}

/// Reads one event that is already parsed JSON.
///
/// # Errors
/// As [`read`].
pub fn read_value(event: &Value) -> Result<Event, EventError> {
    if notification::is_heartbeat(event) {
        let (registry, time) = (registry(event, "account", "region")?, time(event, "time")?);
        let id = identity::of(&registry, notification::HEARTBEAT_DETAIL_TYPE, time, &Value::Null);
        return Ok(Event { id, facts: Vec::new() });
    }
    let source = text(event, "source")?;
    if source != "aws.ecr" {
        return Err(malformed("source", source, "an ECR event", "expected `aws.ecr`"));
    }
    let detail_type = text(event, "detail-type")?;
    let detail = event.get("detail").ok_or(EventError::Missing { field: "detail" })?;
    if detail_type.ends_with(" via CloudTrail") {
        return read_record(detail);
    }
    let time = time(event, "time")?;
    let registry = registry(event, "account", "region")?;
    let id = identity::of(&registry, detail_type, time, detail);
    let (subject, what) = match (detail_type, optional(detail, "detail.action-type")?) {
        ("ECR Image Action" | "ECR Referrer Action", Some(action)) => image_action(action, detail)?,
        ("ECR Replication Action", Some("REPLICATE")) => replication(detail)?,
        _ => None,
    }
    .unwrap_or_else(|| other(detail_type, detail));
    let fact = Fact { time, registry, event_id: id.clone(), subject, what };
    Ok(Event { id, facts: vec![fact] })
}

/// `ECR Image Action` and `ECR Referrer Action`, which have the same fields. `None` unless the action is known and
/// succeeded.
fn image_action(action: &str, detail: &Value) -> Result<Option<(Subject, What)>, EventError> {
    let what = match (action, text(detail, "detail.result")?) {
        ("PUSH", "SUCCESS") => What::Pushed {
            tag: tag(detail)?,
            artifact_media_type: optional(detail, "detail.artifact-media-type")?.map(str::to_owned),
        },
        ("DELETE", "SUCCESS") => match tag(detail)? {
            Some(tag) => What::TagsDeleted { tags: [tag].into(), cause: Cause::Unknown },
            None => What::ImageDeleted { cause: Cause::Unknown },
        },
        ("UPDATE_STORAGE_CLASS", "SUCCESS") => match text(detail, "detail.target-storage-class")? {
            "ARCHIVE" => What::Archived { cause: Cause::Unknown },
            "STANDARD" => What::Restored,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some((Subject::Image(image(detail)?), what)))
}

/// `ECR Replication Action`, which ECR emits in the destination. Any result but `SUCCESS` is a failure.
fn replication(detail: &Value) -> Result<Option<(Subject, What)>, EventError> {
    let source = registry(detail, "detail.source-account", "detail.source-region")?;
    let tag = tag(detail)?;
    let what = match text(detail, "detail.result")? {
        "SUCCESS" => What::Replicated { source, tag },
        _ => What::ReplicationFailed { source, tag },
    };
    Ok(Some((Subject::Image(image(detail)?), what)))
}

/// An event that changes nothing. It is kept under the narrowest subject that it names.
fn other(detail_type: &str, detail: &Value) -> (Subject, What) {
    let named = |field| optional(detail, field).ok().flatten();
    let digest = named("detail.image-digest").and_then(|text| text.parse().ok());
    let subject = match named("detail.repository-name").map(str::parse) {
        Some(Ok(repository)) => Subject::narrowest(repository, digest),
        _ => Subject::Registry,
    };
    let json = detail.to_string();
    let detail = (json.len() <= Fact::DETAIL_BYTES).then_some(json);
    (subject, What::Other { detail_type: detail_type.to_owned(), detail })
}

fn image(detail: &Value) -> Result<Image, EventError> {
    Ok(Image {
        repository: parse::<RepositoryName>(detail, "detail.repository-name")?,
        digest: parse::<Digest>(detail, "detail.image-digest")?,
    })
}

/// The tag: absent, `null` and `""` all mean that there is none.
fn tag(detail: &Value) -> Result<Option<Tag>, EventError> {
    parse_optional(detail, "detail.image-tag")
}

/// The value of a field, whose name in its object is the last part of its path.
fn value<'a>(object: &'a Value, field: &'static str) -> Option<&'a Value> {
    object.get(field.rsplit('.').next().unwrap_or(field))
}

/// A text field; absent, `null` and `""` are the same.
fn optional<'a>(object: &'a Value, field: &'static str) -> Result<Option<&'a str>, EventError> {
    match value(object, field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(malformed(field, &other.to_string(), "a text", "expected a JSON string")),
    }
}

fn text<'a>(object: &'a Value, field: &'static str) -> Result<&'a str, EventError> {
    optional(object, field)?.ok_or(EventError::Missing { field })
}

fn parse<T: std::str::FromStr<Err = MalformedError>>(object: &Value, field: &'static str) -> Result<T, EventError> {
    text(object, field)?.parse().map_err(|source| EventError::Field { field, source })
}

fn parse_optional<T>(object: &Value, field: &'static str) -> Result<Option<T>, EventError>
where
    T: std::str::FromStr<Err = MalformedError>,
{
    optional(object, field)?.map(str::parse).transpose().map_err(|source| EventError::Field { field, source })
}

fn registry(object: &Value, account: &'static str, region: &'static str) -> Result<Registry, EventError> {
    let account_text = text(object, account)?;
    let region_text = text(object, region)?;
    // If the account is malformed, the error names the account, whatever the region is.
    let field = if Registry::new(account_text, "eu-west-1").is_err() { account } else { region };
    Registry::new(account_text, region_text).map_err(|source| EventError::Field { field, source })
}

/// An event id is opaque (those in AWS's samples are not UUIDs), but it becomes part of a key.
fn id(object: &Value, field: &'static str) -> Result<String, EventError> {
    let id = text(object, field)?;
    if id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(id.to_owned())
    } else {
        Err(malformed(field, id, "an event id", "expected 1 to 128 printable ASCII characters"))
    }
}

/// A time in whole seconds, between 1970 and 9999, so that its text sorts chronologically.
fn time(object: &Value, field: &'static str) -> Result<Timestamp, EventError> {
    let time = text(object, field)?;
    let seconds = time.parse::<Timestamp>().map(Timestamp::as_second).unwrap_or(-1);
    match Timestamp::from_second(seconds) {
        Ok(time) if seconds >= 0 => Ok(time),
        _ => Err(malformed(
            field,
            time,
            "a time",
            "expected an existing date and time since 1970, as in `2026-11-16T01:54:34Z`",
        )),
    }
}

fn malformed(field: &'static str, value: &str, what: &'static str, rule: &'static str) -> EventError {
    EventError::Field { field, source: MalformedError::new(value, what, rule) }
}
