//! Random files: events in AWS's envelopes, nested and damaged at random. Whatever the file, reading it does not panic,
//! each event that is found is one that was put in, and a damaged entry loses itself only.

use std::{fmt, io::Write, ops::Range};

use base64::{Engine, prelude::BASE64_STANDARD};
use domain::event::{self, Event};
use flate2::{Compression, write::GzEncoder};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{Assumed, Found, FoundEntry, documents, files, forms::Reading};

/// An event, and what is around it.
#[derive(Debug, Clone)]
enum Node {
    Event(u32),
    Record(u32),
    Ignored,
    Around(Wrap, Box<Node>),
    Many(Wrap, Vec<Node>),
}

#[derive(Debug, Clone, Copy)]
enum Wrap {
    Text,
    Body,
    Sns,
    Message,
    CloudTrailEvent,
    RequestPayload,
    CloudEvent,
    Base64,
    Packed,
    Records,
    Messages,
    LogEvents,
    Array,
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        4 => (0..1_000_u32).prop_map(Node::Event),
        4 => (0..1_000_u32).prop_map(Node::Record),
        1 => Just(Node::Ignored),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let one = prop::sample::select(vec![
            Wrap::Text,
            Wrap::Body,
            Wrap::Sns,
            Wrap::Message,
            Wrap::CloudTrailEvent,
            Wrap::RequestPayload,
            Wrap::CloudEvent,
            Wrap::Base64,
            Wrap::Packed,
        ]);
        let many = prop::sample::select(vec![Wrap::Records, Wrap::Messages, Wrap::LogEvents, Wrap::Array]);
        prop_oneof![
            (one, inner.clone()).prop_map(|(wrap, node)| Node::Around(wrap, Box::new(node))),
            (many, vec(inner, 0..4)).prop_map(|(wrap, nodes)| Node::Many(wrap, nodes)),
        ]
    })
}

fn digest(number: u32) -> String {
    format!("sha256:{number:064x}")
}

fn push(number: u32) -> Value {
    json!({
        "version": "0", "id": "x", "detail-type": "ECR Image Action", "source": "aws.ecr", "account": "111122223333",
        "time": "2026-11-20T10:00:00Z", "region": "eu-west-1", "resources": [], "detail": {"result": "SUCCESS",
            "repository-name": "team/app", "image-digest": digest(number), "action-type": "PUSH", "image-tag": "v1"},
    })
}

fn record(number: u32) -> Value {
    let id = json!({"imageDigest": digest(number)});
    json!({
        "eventVersion": "1.11", "userIdentity": {"arn": "arn:aws:iam::111122223333:user/dana"},
        "eventTime": "2026-11-20T10:00:00Z", "eventSource": "ecr.amazonaws.com", "eventName": "BatchDeleteImage",
        "awsRegion": "eu-west-1", "requestParameters": {"repositoryName": "team/app", "imageIds": [id]},
        "responseElements": {"imageIds": [id], "failures": []}, "eventID": format!("e-{number}"),
        "recipientAccountId": "111122223333",
    })
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

impl Node {
    fn value(&self) -> Value {
        match self {
            Self::Event(number) => push(*number),
            Self::Record(number) => record(*number),
            Self::Ignored => json!({"detail-type": "Object Created", "source": "aws.s3", "detail": {}}),
            Self::Around(wrap, inner) => {
                let value = inner.value();
                let text = value.to_string();
                match wrap {
                    Wrap::Text => json!(text),
                    Wrap::Body => json!({"messageId": "1", "eventSource": "aws:sqs", "body": text}),
                    Wrap::Sns => json!({"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": text}}),
                    Wrap::Message => json!({"timestamp": 1, "message": text}),
                    Wrap::CloudTrailEvent => json!({"EventId": "1", "EventName": "x", "CloudTrailEvent": text}),
                    Wrap::RequestPayload => json!({"version": "1.0", "requestPayload": value}),
                    Wrap::CloudEvent => json!({"specversion": "1.0", "type": "x", "data": value}),
                    Wrap::Base64 => json!({"kinesis": {"data": BASE64_STANDARD.encode(text)}}),
                    _ => json!({"awslogs": {"data": BASE64_STANDARD.encode(packed(text.as_bytes()))}}),
                }
            }
            Self::Many(wrap, inner) => {
                let values: Vec<_> = inner.iter().map(Self::value).collect();
                let messages = |name: &str| -> Value {
                    values.iter().map(|value| json!({name: value.to_string()})).collect::<Vec<_>>().into()
                };
                match wrap {
                    Wrap::Records => json!({"Records": values}),
                    Wrap::Messages => json!({"Messages": messages("Body")}),
                    Wrap::LogEvents => json!({"logEvents": messages("message")}),
                    _ => values.into(),
                }
            }
        }
    }

    /// The events in it, in their order.
    fn events(&self, events: &mut Vec<Event>) {
        match self {
            Self::Event(number) => events.push(event::read_value(&push(*number)).unwrap()),
            Self::Record(number) => events.push(event::read_record(&record(*number)).unwrap()),
            Self::Ignored => {}
            Self::Around(_, inner) => inner.events(events),
            Self::Many(_, inner) => inner.iter().for_each(|one| one.events(events)),
        }
    }
}

/// A file: its text, and the places of its entries.
#[derive(Clone)]
struct Text {
    bytes: Vec<u8>,
    entries: Vec<(Range<usize>, Node)>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.bytes))
    }
}

/// Documents one after the other: entries alone, or long lists of them.
fn text() -> impl Strategy<Value = Text> {
    let document = (prop::option::of(0..3_usize), vec(node(), 1..5), any::<bool>());
    (vec(document, 1..4), prop::sample::select(vec!["", "\n", ",\r\n", "\u{feff}"])).prop_map(|(documents, between)| {
        let mut text = Text { bytes: Vec::new(), entries: Vec::new() };
        for (list, nodes, pretty) in documents {
            let (open, separator, close) = match list {
                None => ("", "\n", ""),
                Some(0) => ("{\"Records\":[", ",", "]}"),
                Some(1) => ("[\n", ",\n", "]"),
                Some(_) => ("{\"nextToken\": null, \"events\": [", ", ", "], \"searchedLogStreams\": []}"),
            };
            text.bytes.extend(open.bytes());
            for (index, node) in nodes.into_iter().enumerate() {
                if index > 0 {
                    text.bytes.extend(separator.bytes());
                }
                let value = node.value();
                let json = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
                let begins = text.bytes.len();
                text.bytes.extend(json.bytes());
                text.entries.push((begins..text.bytes.len(), node));
            }
            text.bytes.extend(close.bytes());
            text.bytes.extend(between.bytes());
        }
        text
    })
}

/// The events in a text, and the number of rejected entries.
fn read(bytes: &[u8]) -> (Vec<Event>, usize) {
    let (mut events, mut rejected, mut last) = (Vec::new(), 0, 0);
    let assumed = Assumed::default();
    let mut found = |entry: FoundEntry| {
        assert_eq!(entry.entry, last + 1, "each entry is counted once");
        last = entry.entry;
        match entry.found {
            Found::Event(event) => events.push(event),
            Found::Ignored => {}
            Found::Rejected(_) => rejected += 1,
        }
        true
    };
    let mut reading = Reading::new(&assumed, jiff::Timestamp::UNIX_EPOCH, &mut found);
    if let Ok(mut source) = files::unpacked(Box::new(bytes), 3) {
        documents::read(&mut reading, &mut source, usize::MAX).unwrap();
    }
    (events, rejected)
}

proptest! {
    #[test]
    fn all_events_are_found_in_their_order(text in text()) {
        let mut events = Vec::new();
        text.entries.iter().for_each(|(_, node)| node.events(&mut events));
        prop_assert_eq!(read(&text.bytes), (events.clone(), 0));
        prop_assert_eq!(read(&packed(&text.bytes)), (events, 0));
    }

    /// Bytes that are never JSON, as in a block that was not written, or the end is missing.
    #[test]
    fn a_damaged_entry_loses_itself_only(
        text in text(), at in any::<Index>(), length in 1..40_usize, byte in prop::option::of(prop::sample::select(vec![0, 0xff])),
    ) {
        let mut bytes = text.bytes.clone();
        let from = at.index(bytes.len());
        let damaged = match byte {
            Some(byte) => {
                let damaged = from..bytes.len().min(from + length);
                bytes[damaged.clone()].fill(byte);
                damaged
            }
            None => {
                bytes.truncate(from);
                from..text.bytes.len()
            }
        };
        let (found, _) = read(&bytes);
        let (mut all, mut whole) = (Vec::new(), Vec::new());
        for (place, node) in &text.entries {
            node.events(&mut all);
            if place.end <= damaged.start || place.start >= damaged.end {
                node.events(&mut whole);
            }
        }
        for event in &found {
            prop_assert!(all.contains(event), "found what was not put in: {event:?}");
        }
        for event in &whole {
            prop_assert!(found.contains(event), "lost beside the damage {damaged:?}: {event:?}");
        }
    }

    #[test]
    fn no_text_stops_the_reader(
        text in text(), damage in vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..8), packs in any::<bool>(),
    ) {
        let mut bytes = if packs { packed(&text.bytes) } else { text.bytes };
        for (at, byte, inserts) in damage {
            let at = at.index(bytes.len());
            if inserts { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        read(&bytes);
    }

    #[test]
    fn no_bytes_stop_the_reader(bytes in vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }
}
