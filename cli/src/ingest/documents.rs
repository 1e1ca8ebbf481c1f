//! Text into entries: JSON documents one after the other, in lines, lists and envelopes, with what logs write before
//! them; and the rows of CSV.
//!
//! Nothing is held but the entry that is being read. A long list, such as CloudTrail's `Records`, is taken entry by
//! entry while it is read. After an error, reading goes on with the next document that is recognised, so that a damaged
//! entry loses itself only.

use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{
    forms::{self, Reading, begins_with_time},
    input::{Input, Position},
    rows,
};
use crate::ingest::InputError;

/// Lists whose entries are taken one by one, wherever they are.
const LISTS: [&str; 10] = [
    // CloudTrail's log files, and Lambda's events of SQS, SNS, Kinesis and S3.
    "Records",
    // Lambda's events of Firehose.
    "records",
    // `aws sqs receive-message`
    "Messages",
    // `aws cloudtrail lookup-events`
    "Events",
    // `aws logs filter-log-events` and `get-log-events`
    "events",
    // Subscriptions of CloudWatch Logs.
    "logEvents",
    // `aws events put-events`
    "Entries",
    // `aws cloudtrail get-query-results`
    "QueryResultRows",
    // `aws logs get-query-results`
    "results",
    // `aws ecr describe-images`
    "imageDetails",
];

/// `aws athena get-query-results`: its list is inside an object.
const NESTED_LISTS: [(&str, &str); 1] = [("ResultSet", "Rows")];

/// How a text of JSON begins.
const TEXTS: [&[u8]; 4] = [b"\"{\\", b"\"\\\"", b"\"[{\\", b"\"[\\"];

/// The entries are not taken any more.
#[derive(Debug)]
pub(super) struct Stopped;

/// Reads everything in a text.
pub(super) fn read(reading: &mut Reading<'_>, source: &mut dyn Read, buffer_bytes: usize) -> Result<(), Stopped> {
    let position = Position::new();
    let mut input = Input::new(source, &position, buffer_bytes);
    let columns = input.first_line().and_then(rows::columns);
    if let Some(columns) = columns {
        rows::read(reading, &mut input, &position, columns)?;
    } else {
        Documents { reading, position: &position, torn: false, recovering: false }.read(&mut input)?;
    }
    if let Some(failure) = input.failure.take() {
        reading.at(position.line.get());
        reading.reject(InputError::Unreadable(failure))?;
    }
    Ok(())
}

/// The documents of one text.
struct Documents<'r, 'o, 'p> {
    reading: &'r mut Reading<'o>,
    position: &'p Position,
    /// Whether something was damaged, so that the end of what was around it is still to come.
    torn: bool,
    /// Whether nothing was recognised since.
    recovering: bool,
}

impl Documents<'_, '_, '_> {
    fn read(&mut self, input: &mut Input<'_>) -> Result<(), Stopped> {
        while let Some(byte) = input.peek() {
            let before = input.previous();
            if self.torn && before == b'\n' && !b" \t\r\n]},\"".contains(&byte) {
                (self.torn, self.recovering) = (false, false);
            }
            match byte {
                b'{' => self.document(input, None)?,
                b'[' | b'"' if !self.torn => self.document(input, None)?,
                // After an error, only a text that begins like one of JSON, and where a value can begin.
                b'"' if !before.is_ascii_alphanumeric()
                    && before != b'\\'
                    && TEXTS.iter().any(|text| input.continues_with(text)) =>
                {
                    self.document(input, None)?;
                }
                // Between documents: separators (RFC 7464 has 0x1e), byte order marks, and the ends of lists.
                _ if self.torn || byte.is_ascii_whitespace() || b",]}\x1e\xef\xbb\xbf\0".contains(&byte) => {
                    input.next();
                }
                _ => self.after_text(input)?,
            }
        }
        Ok(())
    }

    /// Reads a document, up to an error.
    fn document(&mut self, input: &mut Input<'_>, before: Option<&str>) -> Result<(), Stopped> {
        let braces = input.peek() == Some(b'{');
        self.position.begin();
        self.reading.begin(self.position.line.get(), before, self.torn);
        let before_it = self.reading.recognised;
        let mut json = serde_json::Deserializer::from_reader(&mut *input);
        let done = Entry { reading: self.reading, position: Some(self.position) }.deserialize(&mut json);
        if self.reading.stopped {
            return Err(Stopped);
        }
        let Err(error) = done else {
            self.recovering &= self.reading.recognised == before_it;
            return Ok(());
        };
        input.put_back();
        let why = match () {
            () if self.position.is_too_long() => Some(InputError::TooLong),
            // The source's own error is reported at the end.
            () if input.failure.is_some() => None,
            // The text of a log may contain a bracket or a brace.
            () if (before.is_some() || self.reading.log) && !(braces && is_object(&error)) => Some(InputError::Text),
            () => Some(InputError::not_json(&error)),
        };
        if let Some(why) = why.filter(|_| !self.recovering) {
            self.reading.reject(why)?;
        }
        self.position.begin();
        (self.torn, self.recovering) = (true, true);
        Ok(())
    }

    /// Reads what logs write before a document, and the document if there is one on the line.
    fn after_text(&mut self, input: &mut Input<'_>) -> Result<(), Stopped> {
        const KEPT: usize = 256;
        let (line, mut text) = (self.position.line.get(), Vec::new());
        loop {
            match input.peek() {
                Some(b'{') => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    return self.document(input, Some(&text));
                }
                // `aws logs tail --format json` writes the document below.
                Some(b'\n') if begins_with_time(&String::from_utf8_lossy(&text)) => {
                    input.next();
                    if input.peek() != Some(b'{') {
                        break;
                    }
                }
                None | Some(b'\n') => break,
                Some(byte) => {
                    input.next();
                    text.extend(Some(byte).filter(|_| text.len() < KEPT));
                }
            }
        }
        self.position.begin();
        self.reading.begin(line, Some(&String::from_utf8_lossy(&text)), false);
        self.reading.reject(InputError::Text)
    }
}

/// Whether an error is in an object that began like one of JSON.
fn is_object(error: &serde_json::Error) -> bool {
    !error.to_string().starts_with("key must be a string")
}

/// One entry, or a list of them: a document, an entry of a list, or what an envelope holds.
pub(super) struct Entry<'r, 'o, 'p> {
    pub(super) reading: &'r mut Reading<'o>,
    /// The place in the text; `None` for a value that is read already.
    pub(super) position: Option<&'p Position>,
}

impl<'de> DeserializeSeed<'de> for Entry<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.begin();
        let mut object = Map::new();
        let taken = self.fields(&mut map, &mut object);
        if taken.is_err() {
            object.values().for_each(|value| self.reading.salvage(value));
        }
        if taken? {
            return Ok(());
        }
        self.reading.object(object).map_err(stopped)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(ListEntry { reading: &mut *self.reading, position: self.position })?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.begin();
        self.reading.text(text).map_err(stopped)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }
}

impl Entry<'_, '_, '_> {
    /// Notes that an entry begins here.
    fn begin(&mut self) {
        if let Some(position) = self.position {
            position.begin();
            self.reading.at(position.line.get());
        }
    }

    fn scalar<E: Error>(mut self) -> Result<(), E> {
        self.begin();
        self.reading.reject(InputError::UnknownForm).map_err(stopped)
    }

    /// Reads the fields of an object, and the entries of its lists; returns whether it was only an envelope of those.
    fn fields<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        object: &mut Map<String, Value>,
    ) -> Result<bool, A::Error> {
        let mut envelope = false;
        while let Some(name) = map.next_key::<String>()? {
            let nested = NESTED_LISTS.iter().any(|(outer, inner)| *outer == name || *inner == name);
            let value = if nested || LISTS.contains(&&*name) {
                map.next_value_seed(List { reading: &mut *self.reading, position: self.position })?
            } else {
                Some(map.next_value_seed(Whole { reading: &mut *self.reading })?)
            };
            match value {
                None => envelope = true,
                // A torn file can join the halves of two records: one of both would be wrong.
                Some(value) => unique(object, name, value)?,
            }
        }
        Ok(envelope)
    }
}

fn stopped<E: Error>(_: Stopped) -> E {
    E::custom("stopped")
}

fn unique<E: Error>(object: &mut Map<String, Value>, name: String, value: Value) -> Result<(), E> {
    match object.contains_key(&name) {
        true => Err(E::custom(format_args!("field `{name}` is there twice"))),
        false => {
            object.insert(name, value);
            Ok(())
        }
    }
}

/// Implements the visits of values that contain no others: each becomes what `$own` makes of it.
macro_rules! scalars {
    ($own:expr) => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            $own(self, Value::Null)
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
            $own(self, value.into())
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
            $own(self, value.into())
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
            $own(self, value.into())
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
            $own(self, value.into())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            $own(self, text.into())
        }
    };
}

/// The value of a field that may be a list of entries: `None` if it is, and was taken.
struct List<'r, 'o, 'p> {
    reading: &'r mut Reading<'o>,
    position: Option<&'p Position>,
}

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = Option<Value>;

    scalars!(|_, value| Ok(Some(value)));

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Entry { reading: self.reading, position: self.position }.visit_seq(list).map(|()| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Entry { reading: self.reading, position: self.position }.visit_map(map).map(|()| None)
    }
}

/// An entry of a list: as any, but a list in it is a row of a table.
struct ListEntry<'r, 'o, 'p> {
    reading: &'r mut Reading<'o>,
    position: Option<&'p Position>,
}

impl<'de> DeserializeSeed<'de> for ListEntry<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ListEntry<'_, '_, '_> {
    type Value = ();

    scalars!(|entry: Self, value| {
        let mut entry = Entry { reading: entry.reading, position: entry.position };
        entry.begin();
        entry.reading.value(value).map_err(stopped)
    });

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Entry { reading: self.reading, position: self.position }.visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        let mut entry = Entry { reading: self.reading, position: self.position };
        entry.begin();
        let row = Whole { reading: &mut *entry.reading }.visit_seq(list)?;
        match rows::object(row) {
            Ok(object) => entry.reading.object(object),
            Err(list) => entry.reading.value(list),
        }
        .map_err(stopped)
    }
}

/// A whole value. If it cannot be read to its end, the events in it that could be are kept.
struct Whole<'r, 'o> {
    reading: &'r mut Reading<'o>,
}

impl<'de> DeserializeSeed<'de> for Whole<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_, '_> {
    type Value = Value;

    scalars!(|_, value| Ok(value));

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            match list.next_element_seed(Whole { reading: &mut *self.reading }) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => return Ok(Value::Array(values)),
                Err(error) => {
                    values.iter().for_each(|value| self.reading.salvage(value));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut fields = || -> Result<(), A::Error> {
            while let Some(name) = map.next_key::<String>()? {
                let value = map.next_value_seed(Whole { reading: &mut *self.reading })?;
                unique(&mut object, name, value)?;
            }
            Ok(())
        };
        let read = fields();
        if read.is_err() {
            object.values().for_each(|value| self.reading.salvage(value));
        }
        read.map(|()| Value::Object(object))
    }
}

/// Reads a text that an entry contains.
pub(super) fn nested(reading: &mut Reading<'_>, bytes: &[u8]) -> Result<(), Stopped> {
    let limit = u64::try_from(forms::UNPACKED_BYTES).unwrap_or(u64::MAX);
    match super::files::unpacked(Box::new(bytes), 1) {
        Ok(text) => read(reading, &mut text.take(limit), bytes.len().saturating_mul(2)),
        Err(error) => reading.reject(InputError::Unreadable(error)),
    }
}
