//! The forms of entries: what is an event, what is an envelope and which field of it holds more, and what is neither.

use base64::{Engine, prelude::BASE64_STANDARD};
use domain::event::{
    self, Event,
    notification::{self, Content, HEARTBEAT_SOURCE},
};
use jiff::Timestamp;
use serde::de::DeserializeSeed;
use serde_json::{Map, Value, json};

use super::{
    Assumed, Found, FoundEntry, InputError,
    documents::{self, Entry, Stopped},
    listing, rows,
};

/// Texts in texts that are read: a message of CloudWatch Logs in Firehose in SQS has three.
const DEPTH: usize = 8;

/// The most bytes to which one entry is unpacked.
pub(super) const UNPACKED_BYTES: usize = 64 << 20;

/// What a field of an envelope holds.
#[derive(Clone, Copy)]
enum Holds {
    /// More of it: as JSON, or as a text of JSON.
    Entries,
    /// A line of a log, which may contain more of it.
    LogText,
    /// More of it, in base64 and perhaps compressed.
    Base64,
}

/// The fields of envelopes. Of several in one object, the first counts.
const ENVELOPES: [(&str, Holds); 15] = [
    // `aws cloudtrail lookup-events`
    // <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Event.html>
    ("CloudTrailEvent", Holds::Entries),
    // Lambda's event of SNS. <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>
    ("Sns", Holds::Entries),
    // SQS, as Lambda and Pipes receive it and as `aws sqs receive-message` prints it.
    // <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
    ("body", Holds::Entries),
    ("Body", Holds::Entries),
    // SNS. <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
    ("Message", Holds::Entries),
    // Lambda's event of CloudWatch Logs. <https://docs.aws.amazon.com/lambda/latest/dg/services-cloudwatchlogs.html>
    ("awslogs", Holds::Entries),
    // Lambda's event of Kinesis. <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
    ("kinesis", Holds::Entries),
    // Records of Firehose and Kinesis, and CloudEvents.
    // <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesisfirehose.html>
    ("data", Holds::Base64),
    ("Data", Holds::Base64),
    ("data_base64", Holds::Base64),
    // Destinations of Lambda. <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
    ("requestPayload", Holds::Entries),
    // Logs of EventBridge Pipes.
    // <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-logs-execution-data.html>
    ("payload", Holds::Entries),
    // CloudWatch Logs: an event of a log, and a row of Logs Insights.
    // <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilteredLogEvent.html>
    ("message", Holds::LogText),
    ("@message", Holds::LogText),
    // Firehose's own transformations call it so.
    ("rawData", Holds::Base64),
];

/// Files and entries that AWS writes beside the events, by a field of them: ignored.
const NO_EVENTS: [&str; 7] = [
    // Digests of CloudTrail's log files.
    // <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>
    "digestS3Object",
    // Insights of CloudTrail.
    // <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-insight-details.html>
    "insightDetails",
    // CloudTrail's notifications of new log files.
    // <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-notifications-message-contents.html>
    "s3ObjectKey",
    // Lambda's events of S3 and DynamoDB.
    "s3",
    "dynamodb",
    // The files that AWS Config writes beside CloudTrail's.
    "configurationItems",
    "configSnapshotId",
];

/// Forms that are known and not read, by two fields of them, and why.
const NOT_READ: [([&str; 2], &str); 3] = [
    (
        ["metadata", "class_name"],
        "an event in the form of OCSF, as in Security Lake, which is not read: pass CloudTrail's own log files",
    ),
    (
        ["metadata", "class_uid"],
        "an event in the form of OCSF, as in Security Lake, which is not read: pass CloudTrail's own log files",
    ),
    (["imageIds", "failures"], "the output of batch-delete-image or batch-get-image, which does not say when"),
];

/// Why a log of an event bus is not read.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-bus-logs.html>
const BUS_LOG_WITHOUT_DETAIL: &str =
    "a log of an event bus without the events' details: set `IncludeDetail` of the bus's logs to `FULL`";
const BUS_LOG_TRUNCATED: &str = "a log of an event bus in which the event's detail is truncated";

/// The entries of one file, as they are found.
pub(super) struct Reading<'a> {
    /// What the caller said about the files.
    pub(super) assumed: &'a Assumed,
    /// When the file was written.
    pub(super) written: Timestamp,
    /// Takes each entry; returns whether it takes more.
    pub(super) found: &'a mut dyn FnMut(FoundEntry) -> bool,
    /// Whether the entries are not taken any more.
    pub(super) stopped: bool,
    /// The number of entries that were recognised, whether they are events or not.
    pub(super) recognised: usize,
    /// Whether the current document may be a part of something damaged.
    torn: bool,
    /// The same of the text around.
    around: bool,
    /// Whether the current text is a log, in which there is also other text.
    pub(super) log: bool,
    /// The line of the current entry, and whether it is that of the text around.
    line: usize,
    fixed: bool,
    depth: usize,
    entries: usize,
    /// The columns of Athena's rows.
    columns: Option<Vec<String>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(assumed: &'a Assumed, written: Timestamp, found: &'a mut dyn FnMut(FoundEntry) -> bool) -> Self {
        let (stopped, recognised, torn, around, log, fixed) = (false, 0, false, false, false, false);
        let (line, depth, entries, columns) = (1, 0, 0, None);
        Self { assumed, written, found, stopped, recognised, torn, around, log, line, fixed, depth, entries, columns }
    }

    /// A document begins on this line, perhaps after some text.
    pub(super) fn begin(&mut self, line: usize, before: Option<&str>, torn: bool) {
        self.at(line);
        (self.torn, self.columns) = (self.around || torn, None);
        if self.depth == 0 {
            self.log = before.is_some_and(begins_with_time);
        }
    }

    /// The current entry begins on this line.
    pub(super) fn at(&mut self, line: usize) {
        if !self.fixed {
            self.line = line;
        }
    }

    /// Hands over one entry.
    fn emit(&mut self, found: Found) -> Result<(), Stopped> {
        self.entries += 1;
        self.stopped |= !(self.found)(FoundEntry { line: self.line, entry: self.entries, found });
        if self.stopped { Err(Stopped) } else { Ok(()) }
    }

    fn ignore(&mut self) -> Result<(), Stopped> {
        self.recognised += 1;
        self.emit(Found::Ignored)
    }

    /// Rejects the current entry, unless it is a part of one that was rejected, or text between a log's events.
    pub(super) fn reject(&mut self, why: InputError) -> Result<(), Stopped> {
        match why {
            InputError::UnknownForm | InputError::Text if self.torn => Ok(()),
            InputError::UnknownForm | InputError::Text if self.log => self.ignore(),
            why => self.emit(Found::Rejected(why)),
        }
    }

    pub(super) fn event(&mut self, event: Result<Event, impl Into<InputError>>) -> Result<(), Stopped> {
        self.recognised += 1;
        self.emit(match event {
            Ok(event) => Found::Event(event),
            Err(why) => Found::Rejected(why.into()),
        })
    }

    /// Takes an entry that is read already.
    pub(super) fn value(&mut self, value: Value) -> Result<(), Stopped> {
        let read = Entry { reading: &mut *self, position: None }.deserialize(value);
        match read {
            _ if self.stopped => Err(Stopped),
            Ok(()) => Ok(()),
            Err(error) => self.reject(InputError::not_json(&error)),
        }
    }

    /// Takes a text that should contain JSON.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Stopped> {
        self.nested(text.as_bytes(), false)
    }

    fn nested(&mut self, bytes: &[u8], log: bool) -> Result<(), Stopped> {
        if self.depth >= DEPTH {
            return self.reject(InputError::TooDeep);
        }
        let before = (self.log, self.fixed, self.torn, self.around);
        (self.fixed, self.log, self.around) = (true, self.log || log, self.torn);
        self.depth += 1;
        let read = documents::nested(self, bytes);
        self.depth -= 1;
        (self.log, self.fixed, self.torn, self.around) = before;
        read
    }

    /// Keeps the events in a part of something that could not be read to its end.
    pub(super) fn salvage(&mut self, value: &Value) {
        match value {
            _ if self.stopped => {}
            Value::Object(object) if is_event(object) || is_record(object) => _ = self.object(object.clone()),
            Value::Object(object) => object.values().for_each(|value| self.salvage(value)),
            Value::Array(list) => list.iter().for_each(|value| self.salvage(value)),
            _ => {}
        }
    }

    /// Takes one object: an event, an envelope, or something else.
    pub(super) fn object(&mut self, object: Map<String, Value>) -> Result<(), Stopped> {
        let has = |name: &str| object.contains_key(name);
        if is_event(&object) {
            return self.bus_event(object);
        }
        if rows::is_of_other_service(&object) {
            return self.ignore();
        }
        if let Some(record) = rows::record(&object) {
            return self.event(event::read_record(&record).map_err(|error| InputError::of_record(error, &object)));
        }
        if has("TopicArn") && has("Type") {
            return self.topic_message(object);
        }
        if has("DetailType") && has("Detail") {
            return self.put_event(&object);
        }
        if has("message_type") && has("resource_arn") {
            return self.bus_log(object);
        }
        if let Some(values) = rows::athena(&object) {
            return match &self.columns {
                None => {
                    self.columns = Some(values);
                    Ok(())
                }
                Some(columns) => self.object(rows::zip(columns, values)),
            };
        }
        // A part of a damaged record can look like one of these.
        if !self.torn && (NO_EVENTS.iter().any(|name| has(name)) || is_of_category(&object)) {
            return self.ignore();
        }
        let whole = has("registryId") && has("repositoryName") && has("imageDigest");
        if self.torn && !whole {
            return self.envelope(object);
        }
        if let Some((_, why)) = NOT_READ.iter().find(|(names, _)| names.iter().all(|name| has(name))) {
            return self.not_read(why);
        }
        if has("imageDigest") || has("imageIds") {
            return match listing::read(&object, self.assumed, self.written) {
                Ok(events) => events.into_iter().try_for_each(|event| self.event(Ok::<_, InputError>(event))),
                Err(why) => self.event(Err(why)),
            };
        }
        self.envelope(object)
    }

    /// Takes what a field of an envelope holds.
    fn envelope(&mut self, mut object: Map<String, Value>) -> Result<(), Stopped> {
        let held = |value: &Value| !(value.is_null() || value.is_number() || value.is_boolean());
        let found = ENVELOPES.iter().find(|(name, _)| object.get(*name).is_some_and(held));
        let Some((value, holds)) = found.and_then(|(name, holds)| Some((object.remove(*name)?, *holds))) else {
            return self.reject(InputError::UnknownForm);
        };
        match (value, holds) {
            (Value::String(text), Holds::LogText) => self.nested(text.as_bytes(), true),
            (Value::String(text), Holds::Base64) => match BASE64_STANDARD.decode(text.trim()) {
                Ok(bytes) => self.nested(&bytes, false),
                Err(_) => self.text(&text),
            },
            (Value::String(text), Holds::Entries) => self.text(&text),
            (value, _) => self.value(value),
        }
    }

    /// Takes an event of EventBridge. Of other sources it may be an envelope, such as that of a destination of Lambda.
    fn bus_event(&mut self, mut object: Map<String, Value>) -> Result<(), Stopped> {
        let source = object.get("source").and_then(Value::as_str).unwrap_or_default();
        if source == "aws.ecr" || source == HEARTBEAT_SOURCE || source.is_empty() {
            return self.event(event::read_value(&Value::Object(object)));
        }
        let of_aws = source.starts_with("aws.");
        match object.remove("detail") {
            Some(Value::Object(detail)) if is_envelope(&detail) || (is_event(&detail) && !of_aws) => {
                self.object(detail)
            }
            _ => self.ignore(),
        }
    }

    /// Takes a message of an SNS topic. A topic that sends an event speaks only for its own registry.
    fn topic_message(&mut self, object: Map<String, Value>) -> Result<(), Stopped> {
        let text = object.get("Message").and_then(Value::as_str).unwrap_or_default();
        if object.get("Type").and_then(Value::as_str) != Some("Notification") {
            return self.ignore();
        }
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(event) if is_event(&event) => {
                let of_ecr = event.get("source").and_then(Value::as_str) == Some("aws.ecr");
                let message = Value::Object(object).to_string();
                match notification::read(message.as_bytes()).map(|notification| notification.content) {
                    Ok(Content::Event(event)) => self.event(Ok::<_, InputError>(event)),
                    Err(why) if of_ecr => self.event(Err::<Event, _>(why)),
                    _ => self.ignore(),
                }
            }
            _ => self.text(text),
        }
    }

    /// Takes a record of an event bus's log: one step in the processing of an event. Several records have the same event,
    /// which its content makes one. A target's input is the whole event, unless the rule transforms it; the other steps
    /// have only its parts, and not its account and region.
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-logs-schema.html>
    fn bus_log(&mut self, mut object: Map<String, Value>) -> Result<(), Stopped> {
        let mut details = match object.remove("details") {
            Some(Value::Object(details)) => details,
            _ => return self.ignore(),
        };
        let input = details.get("target_input").and_then(Value::as_str).unwrap_or_default();
        if let Ok(Value::Object(event)) = serde_json::from_str(input)
            && is_event(&event)
        {
            return self.bus_event(event);
        }
        let text = |name| details.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("source") != "aws.ecr" {
            return self.ignore();
        }
        let detail = match details.get("event_detail") {
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            Some(Value::Null) | None => return self.not_read(BUS_LOG_WITHOUT_DETAIL),
            Some(detail) => Some(detail.clone()),
        };
        let Some(Value::Object(detail)) = detail else { return self.not_read(BUS_LOG_TRUNCATED) };
        if is_record(&detail) {
            return self.object(detail);
        }
        let time = details.get("source_time_ms").and_then(Value::as_i64);
        let time = time.and_then(|time| Timestamp::from_second(time.div_euclid(1_000)).ok());
        let resource = details.get("resources").and_then(|resources| resources.get(0)?.as_str());
        let parts: Vec<_> = resource.unwrap_or_default().split(':').collect();
        let (account, region) = match (&*parts, &self.assumed.registry) {
            (&["arn", _, "ecr", region, account, ..], _) => (account.to_owned(), region.to_owned()),
            (_, Some(registry)) => (registry.account().to_owned(), registry.region().to_owned()),
            _ => return self.reject(InputError::NoRegistry("a log of an event bus")),
        };
        let event = json!({
            "detail-type": details.remove("detail_type"), "source": "aws.ecr", "account": account, "region": region,
            "time": time.map(|time| time.to_string()), "detail": detail,
        });
        self.event(event::read_value(&event))
    }

    /// Rejects an entry of a form that is known.
    fn not_read(&mut self, why: &'static str) -> Result<(), Stopped> {
        self.recognised += 1;
        self.reject(InputError::NotRead(why))
    }

    /// Takes an entry of `PutEvents`, which names neither account nor region.
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html>
    fn put_event(&mut self, entry: &Map<String, Value>) -> Result<(), Stopped> {
        let text = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let detail: Value = match entry.get("Detail") {
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(detail) => detail,
                Err(error) => return self.reject(InputError::not_json(&error)),
            },
            other => other.cloned().unwrap_or_default(),
        };
        if let Value::Object(detail) = &detail
            && (is_event(detail) || is_envelope(detail))
        {
            return self.object(detail.clone());
        }
        if text("Source") != "aws.ecr" {
            return self.ignore();
        }
        let parts: Vec<_> = text("EventBusName").split(':').collect();
        let (account, region) = match (&*parts, &self.assumed.registry) {
            (&["arn", _, "events", region, account, ..], _) => (account.to_owned(), region.to_owned()),
            (_, Some(registry)) => (registry.account().to_owned(), registry.region().to_owned()),
            _ => return self.reject(InputError::NoRegistry("an entry of PutEvents")),
        };
        let event = json!({
            "detail-type": text("DetailType"), "source": "aws.ecr", "account": account, "region": region,
            "time": rows::time(entry.get("Time")), "detail": detail,
        });
        self.event(event::read_value(&event))
    }
}

fn is_event(object: &Map<String, Value>) -> bool {
    object.contains_key("detail-type")
}

fn is_envelope(object: &Map<String, Value>) -> bool {
    object.contains_key("requestPayload")
}

/// Whether an object is a whole record of CloudTrail.
fn is_record(object: &Map<String, Value>) -> bool {
    ["eventName", "eventSource", "eventID"].iter().all(|name| object.contains_key(*name))
}

/// Whether CloudTrail says that its record is no call: an insight, or something newer.
fn is_of_category(object: &Map<String, Value>) -> bool {
    object.contains_key("eventCategory") && object.contains_key("eventVersion")
}

/// Whether a text begins like a line of a log: `2026-11-20T10:00:00.000Z …`.
pub(super) fn begins_with_time(text: &str) -> bool {
    let text = text.trim_start().as_bytes();
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let is = |at: usize, byte| text.get(at) == Some(&byte);
    (0..4).all(digit) && is(4, b'-') && digit(5) && digit(6) && is(7, b'-') && digit(8) && digit(9)
}
