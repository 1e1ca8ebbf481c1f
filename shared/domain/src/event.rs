//! Reads the JSON that EventBridge delivers into facts, or rejects it and names the field that is wrong.
//!
//! Payloads: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>. Delivery is best effort, at
//! least once and unordered, and AWS documents the shape of the events only by example. So everything that AWS may omit
//! is optional here, unknown events are kept as they are, and the parser rejects an event only if it cannot determine
//! what happened, to what, where and when.

mod cloudtrail;
mod identity;
pub mod notification;

use std::{borrow::Cow, collections::BTreeSet};

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
    /// CloudTrail's `eventID` where there is one, after its `sharedEventID` if it has one; otherwise made of the content
    /// of the event. So the same event has the same id, whether it arrived once, twice, by a replay, on another path or
    /// from a file.
    pub id: String,
    /// One fact per subject; none if the event says nothing about any image (another service, a read, a dry run).
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
/// When the input is not JSON, or a required field is missing or malformed.
pub fn read(json: &[u8]) -> Result<Event, EventError> {
    let event: Value = serde_json::from_slice(json).map_err(EventError::NotJson)?;
    read_value(&event)
}

/// Reads one event that is already parsed JSON. An event of another service has no facts.
///
/// # Errors
/// As [`read`].
pub fn read_value(event: &Value) -> Result<Event, EventError> {
    let source = text(event, "source")?;
    let detail_type = text(event, "detail-type")?;
    if source != "aws.ecr" && !detail_type.ends_with(VIA_CLOUDTRAIL) {
        let id = id(event, "id").unwrap_or_else(|_| source.to_owned());
        return Ok(Event { id, facts: Vec::new() });
    }
    let detail = detail_of(event)?;
    let detail = detail.as_ref();
    if detail_type.ends_with(VIA_CLOUDTRAIL) {
        return read_record(detail);
    }
    let time = time(event, "time")?;
    let registry = registry(event, "account", "region")?;
    let id = identity::of(&registry, detail_type, time, detail);
    let known = match (detail_type, optional(detail, "detail.action-type")?) {
        ("ECR Image Action" | "ECR Referrer Action", Some(action)) => image_action(action, detail)?,
        ("ECR Replication Action", Some("REPLICATE")) => replication(detail)?,
        ("ECR Pull Through Cache Action", _) => pull_through_cache(detail)?,
        _ => None,
    };
    let (subject, what) = known.unwrap_or_else(|| (narrowest(detail), other(detail_type, detail)));
    let fact = Fact { time, registry, event_id: id.clone(), subject, what };
    Ok(Event { id, facts: vec![fact] })
}

/// The end of the `detail-type` of events that carry a CloudTrail record.
const VIA_CLOUDTRAIL: &str = " via CloudTrail";

/// Whether an event that cannot be read looks like one of AWS: EventBridge refuses
/// such a `source` from everybody else. <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html>
#[must_use]
pub fn looks_like_aws(event: &Value) -> bool {
    let has = |field| event.get(field).and_then(Value::as_str).is_some();
    let source = event.get("source").and_then(Value::as_str).unwrap_or_default();
    source.starts_with("aws.") && ["id", "detail-type", "time", "account", "region"].into_iter().all(has)
}

/// The `detail` of an event. Some tools write it as JSON in a text, as the entries of `PutEvents` have it.
fn detail_of(event: &Value) -> Result<Cow<'_, Value>, EventError> {
    let detail = event.get("detail").ok_or(EventError::Missing { field: "detail" })?;
    let parsed = match detail {
        Value::String(text) => serde_json::from_str(text).map(Cow::Owned).ok(),
        _ => Some(Cow::Borrowed(detail)),
    };
    let wrong = || malformed("detail", &detail.to_string(), "the detail of an event", "expected a JSON object");
    parsed.filter(|detail| detail.is_object()).ok_or_else(wrong)
}

/// `ECR Image Action` and `ECR Referrer Action`, which have the same fields. `None` unless the action is known and
/// succeeded, and its image is named: the schema of the event requires no digest.
fn image_action(action: &str, detail: &Value) -> Result<Option<(Subject, What)>, EventError> {
    if optional(detail, "detail.image-digest")?.is_none() {
        return Ok(None);
    }
    let what = match (action, optional(detail, "detail.result")?) {
        ("PUSH", Some("SUCCESS")) => What::Pushed {
            tag: tag(detail)?,
            artifact_media_type: optional(detail, "detail.artifact-media-type")?.map(str::to_owned),
            platforms: BTreeSet::new(),
            by: None,
        },
        ("DELETE", Some("SUCCESS")) => match tag(detail)? {
            Some(tag) => What::TagsDeleted { tags: [tag].into(), cause: Cause::Unknown },
            None => What::ImageDeleted { cause: Cause::Unknown },
        },
        ("UPDATE_STORAGE_CLASS", Some("SUCCESS")) => match optional(detail, "detail.target-storage-class")? {
            Some("ARCHIVE") => What::Archived { cause: Cause::Unknown },
            Some("STANDARD") => What::Restored,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some((Subject::Image(image(detail)?), what)))
}

/// `ECR Replication Action`, which ECR emits in the destination. "Additional error information may be included in the
/// event details" of a failure, in fields that AWS does not name.
fn replication(detail: &Value) -> Result<Option<(Subject, What)>, EventError> {
    let result = optional(detail, "detail.result")?;
    if optional(detail, "detail.image-digest")?.is_none() || !matches!(result, Some("SUCCESS" | "FAILED")) {
        return Ok(None);
    }
    let source = registry(detail, "detail.source-account", "detail.source-region")?;
    let tag = tag(detail)?;
    let what = match result {
        Some("SUCCESS") => What::Replicated { source, tag },
        _ => {
            let code = first_of(detail, &["failure-code", "failureCode", "error-code", "errorCode"]);
            let reason = first_of(detail, &["failure-reason", "failureReason", "error-message", "errorMessage"]);
            What::ReplicationFailed { source, tag, code, reason }
        }
    };
    Ok(Some((Subject::Image(image(detail)?), what)))
}

/// `ECR Pull Through Cache Action`: what the cache brought, or why it could not.
fn pull_through_cache(detail: &Value) -> Result<Option<(Subject, What)>, EventError> {
    let named = optional(detail, "detail.image-digest")?.is_some();
    match (optional(detail, "detail.sync-status")?, optional(detail, "detail.upstream-registry-url")?) {
        (Some("SUCCESS"), Some(upstream)) if named => {
            let what = What::Cached { upstream: upstream.to_owned(), tag: tag(detail)? };
            Ok(Some((Subject::Image(image(detail)?), what)))
        }
        (Some("SUCCESS"), _) | (None, _) => Ok(None),
        (Some(status), _) => {
            let code = first_of(detail, &["failure-code"]).unwrap_or_else(|| status.to_owned());
            let (call, cause) = ("PullThroughCache".to_owned(), Cause::Unknown);
            let what = What::Attempted { call, code: Some(code), reason: first_of(detail, &["failure-reason"]), cause };
            Ok(Some((narrowest(detail), what)))
        }
    }
}

/// The first of some fields that is a text, shortened.
fn first_of(detail: &Value, fields: &[&str]) -> Option<String> {
    let text = fields.iter().find_map(|field| detail.get(field)?.as_str().filter(|text| !text.is_empty()))?;
    Some(text.chars().take(Fact::REASON_CHARS).collect())
}

/// The narrowest subject that an event names.
fn narrowest(detail: &Value) -> Subject {
    let named = |field| optional(detail, field).ok().flatten();
    let digest = named("detail.image-digest").and_then(|text| text.parse().ok());
    match named("detail.repository-name").map(str::parse) {
        Some(Ok(repository)) => Subject::narrowest(repository, digest),
        _ => Subject::Registry,
    }
}

/// What changes nothing, and is kept as it is.
fn other(detail_type: &str, detail: &Value) -> What {
    let json = detail.to_string();
    let detail = (json.len() <= Fact::DETAIL_BYTES).then_some(json);
    What::Other { detail_type: detail_type.to_owned(), detail }
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
