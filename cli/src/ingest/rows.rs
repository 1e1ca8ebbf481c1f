//! Rows of tables: CSV, and what CloudTrail Lake, Athena and Logs Insights print.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    InputError,
    documents::Stopped,
    forms::Reading,
    input::{Input, Position},
};

/// The fields of CloudTrail's records by which a table's columns are known, as CloudTrail writes them. Athena writes
/// them in lower case: <https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table.html>.
const FIELDS: [&str; 24] = [
    "eventVersion",
    "userIdentity",
    "eventTime",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "errorMessage",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "requestID",
    "eventID",
    "resources",
    "eventType",
    "apiVersion",
    "readOnly",
    "recipientAccountId",
    "serviceEventDetails",
    "sharedEventID",
    "managementEvent",
    "eventCategory",
];

/// The fields in them.
const IDENTITY: [&str; 4] = ["principalId", "accountId", "invokedBy", "userName"];

/// Fields that are objects or lists, which a table writes as text.
const STRUCTURED: [&str; 5] =
    ["userIdentity", "requestParameters", "responseElements", "serviceEventDetails", "resources"];

/// The columns that the first line of a CSV file names; `None` if it is none of a table of events.
pub(super) fn columns(line: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(line).ok()?.trim_start_matches('\u{feff}').trim();
    if text.starts_with(['{', '[']) {
        return None;
    }
    let mut bytes = text.bytes();
    let columns: Vec<_> = row(&mut || bytes.next())?.iter().map(|column| column.replace(' ', "")).collect();
    let known = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    (known("eventName") || known("@message") || known("detail-type")).then_some(columns)
}

/// Reads the rows of a CSV file.
pub(super) fn read(
    reading: &mut Reading<'_>,
    input: &mut Input<'_>,
    position: &Position,
    columns: Vec<String>,
) -> Result<(), Stopped> {
    row(&mut || input.next());
    loop {
        let line = position.line.get();
        position.begin();
        let mut next = || input.next().filter(|_| !position.is_too_long());
        let Some(values) = row(&mut next) else { break };
        reading.begin(line, None, false);
        match values.len() {
            _ if position.is_too_long() => reading.reject(InputError::TooLong)?,
            1 if values.iter().all(String::is_empty) => {}
            count if count == columns.len() => reading.object(zip(&columns, values))?,
            _ => reading.reject(InputError::NoRow)?,
        }
    }
    Ok(())
}

/// The next row of a CSV file (<https://www.rfc-editor.org/rfc/rfc4180>); `None` at the end.
fn row(next: &mut dyn FnMut() -> Option<u8>) -> Option<Vec<String>> {
    let (mut values, mut value, mut quoted) = (Vec::new(), Vec::new(), false);
    let mut byte = next()?;
    loop {
        let mut following = None;
        match byte {
            b'"' if quoted => {
                following = Some(next());
                if following == Some(Some(b'"')) {
                    (following, _) = (None, value.push(b'"'));
                } else {
                    quoted = false;
                }
            }
            b'"' if value.is_empty() => quoted = true,
            b',' if !quoted => values.push(std::mem::take(&mut value)),
            b'\n' if !quoted => break,
            b'\r' if !quoted => {}
            byte => value.push(byte),
        }
        match following.unwrap_or_else(&mut *next) {
            Some(more) => byte = more,
            None => break,
        }
    }
    values.push(value);
    Some(values.into_iter().map(|value| String::from_utf8_lossy(&value).into_owned()).collect())
}

/// A row as an object.
pub(super) fn zip(columns: &[String], values: Vec<String>) -> Map<String, Value> {
    columns.iter().cloned().zip(values.into_iter().map(Value::String)).collect()
}

/// The values of a row of `aws athena get-query-results`, whose first row names the columns.
/// <https://docs.aws.amazon.com/athena/latest/APIReference/API_Row.html>
pub(super) fn athena(object: &Map<String, Value>) -> Option<Vec<String>> {
    let list = object.get("Data").filter(|_| object.len() == 1)?.as_array()?;
    let value = |datum: &Value| datum.get("VarCharValue").and_then(Value::as_str).unwrap_or_default().to_owned();
    list.iter().all(Value::is_object).then(|| list.iter().map(value).collect())
}

/// A row that is a list of its fields: objects with one field each (CloudTrail Lake), or with `field` and `value` (Logs
/// Insights). Any other list is returned.
pub(super) fn object(row: Value) -> Result<Map<String, Value>, Value> {
    let field = |field: &Value| {
        let object = field.as_object()?;
        if let (Some(Value::String(name)), Some(value)) = (object.get("field"), object.get("value")) {
            return Some((name.clone(), value.clone()));
        }
        let (name, value) = object.iter().next().filter(|(_, value)| object.len() == 1 && value.is_string())?;
        Some((name.clone(), value.clone()))
    };
    let list = row.as_array().filter(|list| !list.is_empty());
    let fields: Option<Map<_, _>> = list.and_then(|list| list.iter().map(field).collect());
    fields.ok_or(row)
}

/// Whether an object is CloudTrail's record of a call to another service than ECR.
pub(super) fn is_of_other_service(object: &Map<String, Value>) -> bool {
    let has = |name: &str| object.contains_key(name);
    let source = if has("eventName") { object.get("eventSource") } else { object.get("eventsource") };
    let source = source.and_then(Value::as_str).filter(|_| has("eventName") || has("eventname"));
    source.is_some_and(|source| !source.starts_with("aws:") && !source.contains("ecr"))
}

/// A record of CloudTrail as CloudTrail itself writes it; `None` if the object is none.
pub(super) fn record(object: &Map<String, Value>) -> Option<Value> {
    let lower = object.contains_key("eventname") && object.contains_key("eventsource");
    let exact = object.contains_key("eventName") && object.contains_key("eventSource");
    // Lambda's own events have an `eventSource`, too.
    let source = object.get(if lower { "eventsource" } else { "eventSource" }).and_then(Value::as_str)?;
    if !(lower || exact) || source.starts_with("aws:") {
        return None;
    }
    let mut record = if lower { renamed(object, &FIELDS) } else { object.clone() };
    for name in STRUCTURED {
        if let Some(Value::String(text)) = record.get(name) {
            let value = structure(text);
            record.insert(name.to_owned(), value);
        }
    }
    if let Some(Value::Object(identity)) = record.get("userIdentity") {
        let identity = renamed(identity, &IDENTITY);
        record.insert("userIdentity".to_owned(), identity.into());
    }
    if let Some(Value::String(text)) = record.get("errorCode")
        && text == "null"
    {
        record.remove("errorCode");
    }
    if let Some(Value::String(text)) = record.get("eventTime")
        && text.contains(' ')
    {
        let time = time(record.get("eventTime"));
        record.insert("eventTime".to_owned(), time);
    }
    Some(Value::Object(record))
}

fn renamed(object: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let proper = |name: &String| names.iter().find(|proper| proper.eq_ignore_ascii_case(name)).copied();
    object.iter().map(|(name, value)| (proper(name).unwrap_or(name).to_owned(), value.clone())).collect()
}

/// A time in the form of an event: as Lake and Athena print it (`2026-11-21 09:00:00.000`, in UTC), or in seconds since
/// 1970, as the AWS CLI takes it. Any other stays as it is.
pub(super) fn time(time: Option<&Value>) -> Value {
    let seconds = |seconds| Timestamp::from_second(seconds).ok();
    let read = match time {
        Some(Value::String(text)) => {
            let text = text.trim_end_matches(" UTC").replacen(' ', "T", 1);
            text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
        }
        #[expect(clippy::cast_possible_truncation, reason = "events have whole seconds")]
        Some(number) => number.as_f64().and_then(|number| seconds(number.floor() as i64)),
        None => None,
    };
    read.map_or_else(|| time.cloned().unwrap_or_default(), |time: Timestamp| time.to_string().into())
}

/// The value of a text that a table prints for an object or a list: JSON, or `{name=value, …}`.
fn structure(text: &str) -> Value {
    let text = text.trim();
    if text.is_empty() || text == "null" || text == "-" {
        return Value::Null;
    }
    let json = serde_json::from_str(text).ok();
    let printed = || Printed { rest: text }.whole();
    json.or_else(printed).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A value as Presto prints rows and maps: `{arn=arn:aws:…, attributes={mfa=false}}`, `[a, b]`, or JSON in between.
struct Printed<'a> {
    rest: &'a str,
}

impl Printed<'_> {
    fn whole(mut self) -> Option<Value> {
        self.value().filter(|_| self.rest.is_empty())
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Option<Value> {
        let mut json = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        if self.rest.starts_with(['{', '[', '"'])
            && let Some(Ok(value)) = json.next()
        {
            self.rest = self.rest.get(json.byte_offset()..)?;
            return Some(value);
        }
        if self.eat("{") {
            return self.fields().map(Value::Object);
        }
        if self.eat("[") {
            return self.list().map(Value::Array);
        }
        let end = self.rest.char_indices().map(|(at, _)| at).find(|at| self.ends(*at)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(if text == "null" { Value::Null } else { text.into() })
    }

    /// Whether a plain value ends here: at the end of what it is in, or before the next name.
    fn ends(&self, at: usize) -> bool {
        let rest = self.rest.get(at..).unwrap_or_default();
        let name = rest
            .strip_prefix(", ")
            .map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || "_-./:".contains(c))));
        let named = name.and_then(|mut parts| parts.next()).is_some_and(|name| {
            !name.is_empty() && rest.get(2 + name.len()..).is_some_and(|rest| rest.starts_with('='))
        });
        named || rest.starts_with(['}', ']']) || rest.starts_with(", {")
    }

    fn fields(&mut self) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        if self.eat("}") {
            return Some(fields);
        }
        loop {
            let (name, rest) = self.rest.split_once('=')?;
            self.rest = rest;
            fields.insert(name.to_owned(), self.value()?);
            if self.eat("}") {
                return Some(fields);
            }
            self.eat(", ").then_some(())?;
        }
    }

    fn list(&mut self) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        if self.eat("]") {
            return Some(values);
        }
        loop {
            values.push(self.value()?);
            if self.eat("]") {
                return Some(values);
            }
            self.eat(", ").then_some(())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The form of a `useridentity` that Athena printed, with other names.
    #[test]
    fn what_presto_prints_is_read() {
        let printed = "{type=AssumedRole, principalid=AROAEXAMPLE:dana, arn=arn:aws:sts::111122223333:assumed-role/p/dana, \
                       accountid=111122223333, invokedby=null, username=null, sessioncontext={attributes={\
                       mfaauthenticated=false, creationdate=2026-11-21T08:00:00Z}, sessionissuer={type=Role, \
                       username=platform}}}";
        let read = structure(printed);
        assert_eq!(read["arn"], "arn:aws:sts::111122223333:assumed-role/p/dana");
        assert_eq!(read["invokedby"], Value::Null);
        assert_eq!(read["sessioncontext"]["sessionissuer"]["username"], "platform");
        let lake = r#"{imageIds=[{"imageTag":"v1"}], repositoryName=team/app}"#;
        assert_eq!(structure(lake), json!({"imageIds": [{"imageTag": "v1"}], "repositoryName": "team/app"}));
        assert_eq!(structure("[{arn=a, type=b}, {arn=c}]"), json!([{"arn": "a", "type": "b"}, {"arn": "c"}]));
        assert_eq!(structure("{a=b"), json!("{a=b"));
    }

    #[test]
    fn times_of_tables_become_times_of_events() {
        for (printed, time_of_event) in [
            (json!("2026-11-21 09:00:00.000"), json!("2026-11-21T09:00:00Z")),
            (json!("2026-11-21 09:00:00.000 UTC"), json!("2026-11-21T09:00:00Z")),
            (json!("2026-11-21T09:00:00Z"), json!("2026-11-21T09:00:00Z")),
            (json!(1_795_251_600), json!("2026-11-21T09:00:00Z")),
            (json!("yesterday"), json!("yesterday")),
        ] {
            assert_eq!(time(Some(&printed)), time_of_event);
        }
    }
}
