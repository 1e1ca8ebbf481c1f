//! The constraints of ECR's API model: every request is checked against them before an operation sees it (A1).
//!
//! `model.json` is made by `tests/conformance/model.py` from
//! <https://github.com/boto/botocore/blob/1.44.5/botocore/data/ecr/2015-09-21/service-2.json>.

use std::{collections::BTreeMap, sync::LazyLock};

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::api::ApiError;

#[derive(Default, Deserialize)]
struct Model {
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
struct Operation {
    input: String,
    /// The code of a request that breaks a constraint.
    invalid: String,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    members: BTreeMap<String, String>,
    member: Option<String>,
    #[serde(default, rename = "enum")]
    values: Vec<String>,
    min: Option<i64>,
    max: Option<i64>,
    pattern: Option<Pattern>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Blob,
    Boolean,
    Integer,
    List,
    Long,
    String,
    Structure,
}

/// A pattern that the whole text must match. Matching takes time in proportion to the text.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Pattern {
    text: String,
    regex: Regex,
}

impl TryFrom<String> for Pattern {
    type Error = regex_lite::Error;

    fn try_from(text: String) -> Result<Self, regex_lite::Error> {
        Ok(Self { regex: Regex::new(&format!("^(?:{text})$"))?, text })
    }
}

/// A test reads it, so that it cannot be empty.
static MODEL: LazyLock<Model> = LazyLock::new(|| read().unwrap_or_default());

fn read() -> Result<Model, serde_json::Error> {
    serde_json::from_str(include_str!("model.json"))
}

/// A request that was checked.
pub(crate) struct CheckedRequest {
    /// The parameters, for the record of the call.
    pub(crate) parameters: Value,
    /// The body with what the operation knows and nothing else, or why it is refused.
    pub(crate) body: Result<Vec<u8>, ApiError>,
}

/// Checks the request of an operation.
pub(crate) fn check(operation: &str, body: &[u8]) -> CheckedRequest {
    let parsed = serde_json::from_slice::<Value>(if body.is_empty() { b"{}" } else { body });
    let mut parameters = match parsed {
        Ok(parameters @ Value::Object(_)) => parameters,
        Ok(_) => return refused("expected an object"),
        Err(error) => return refused(&error.to_string()),
    };
    let Some(Operation { input, invalid }) = MODEL.operations.get(operation) else {
        return CheckedRequest { parameters, body: Ok(body.to_vec()) };
    };
    let broken = check_value(input, &mut parameters, "");
    let body = match broken {
        Ok(()) => Ok(parameters.to_string().into_bytes()),
        Err(Broken::Type(message)) => Err(ApiError::new("SerializationException", message)),
        Err(Broken::Constraint { at, rule }) => {
            let code =
                if invalid == "ValidationException" { "ValidationException" } else { "InvalidParameterException" };
            Err(ApiError::new(code, format!("Invalid parameter at '{at}' failed to satisfy constraint: '{rule}'")))
        }
    };
    CheckedRequest { parameters, body }
}

fn refused(message: &str) -> CheckedRequest {
    CheckedRequest { parameters: Value::Null, body: Err(ApiError::new("SerializationException", message)) }
}

/// What is wrong with a value.
enum Broken {
    /// It has another type (A2).
    Type(String),
    /// It breaks a constraint, in ECR's words.
    Constraint { at: String, rule: String },
}

impl Broken {
    fn constraint(at: &str, rule: impl Into<String>) -> Self {
        Self::Constraint { at: at.to_owned(), rule: rule.into() }
    }
}

/// Checks a value, and removes the members that its shape does not have, or that are null.
fn check_value(shape: &str, value: &mut Value, at: &str) -> Result<(), Broken> {
    let Some(shape) = MODEL.shapes.get(shape) else { return Ok(()) };
    match (shape.kind, value) {
        (Kind::Structure, Value::Object(members)) => {
            members.retain(|name, value| shape.members.contains_key(name) && !value.is_null());
            let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            if let Some(missing) = shape.required.iter().find(|name| !members.contains_key(*name)) {
                return Err(Broken::constraint(&path(missing), "Member must not be null"));
            }
            members.iter_mut().try_for_each(|(name, value)| {
                shape.members.get(name).map_or(Ok(()), |shape| check_value(shape, value, &path(name)))
            })
        }
        (Kind::List, Value::Array(items)) => {
            check_size("length", Some(items.len()), shape, at)?;
            let member = shape.member.as_deref().unwrap_or_default();
            items.iter_mut().enumerate().try_for_each(|(place, item)| {
                let at = format!("{at}.{}.member", place + 1);
                if item.is_null() {
                    return Err(Broken::constraint(&at, "Member must not be null"));
                }
                check_value(member, item, &at)
            })
        }
        (Kind::String, Value::String(text)) => check_text(shape, text, at),
        (Kind::Integer | Kind::Long, Value::Number(number)) => check_number(shape, number, at),
        (Kind::Blob, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => Ok(()),
        (kind, value) => Err(Broken::Type(format!("{at}: {} can not be converted to {}", name(value), kind.name()))),
    }
}

fn check_text(shape: &Shape, text: &str, at: &str) -> Result<(), Broken> {
    if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
        let values = shape.values.join(", ");
        return Err(Broken::constraint(at, format!("Member must satisfy enum value set: [{values}]")));
    }
    check_size("length", Some(text.chars().count()), shape, at)?;
    match &shape.pattern {
        Some(pattern) if !pattern.regex.is_match(text) => {
            Err(Broken::constraint(at, format!("must satisfy regular expression '{}'", pattern.text)))
        }
        _ => Ok(()),
    }
}

fn check_number(shape: &Shape, number: &Number, at: &str) -> Result<(), Broken> {
    let fits = |whole: &i64| matches!(shape.kind, Kind::Long) || i32::try_from(*whole).is_ok();
    let Some(whole) = number.as_i64().filter(fits) else {
        return Err(Broken::Type(format!("{at}: {number} can not be converted to {}", shape.kind.name())));
    };
    check_size("value", Some(whole), shape, at)
}

/// Checks a length or a value against the bounds; what does not fit into 64 bits is too large.
fn check_size(what: &str, size: Option<impl TryInto<i64>>, shape: &Shape, at: &str) -> Result<(), Broken> {
    let size = size.and_then(|size| size.try_into().ok()).unwrap_or(i64::MAX);
    let rule = match (shape.min, shape.max) {
        (Some(min), _) if size < min => format!("greater than or equal to {min}"),
        (_, Some(max)) if size > max => format!("less than or equal to {max}"),
        _ => return Ok(()),
    };
    Err(Broken::constraint(at, format!("Member must have {what} {rule}")))
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Blob => "Blob",
            Self::Boolean => "Boolean",
            Self::Integer => "Integer",
            Self::List => "List",
            Self::Long => "Long",
            Self::String => "String",
            Self::Structure => "Structure",
        }
    }
}

/// The name of a value's type, as in the messages of AWS's parsers.
fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_can_be_read() {
        assert_eq!(read().unwrap().operations.len(), 62);
    }

    fn refusal(operation: &str, body: &str) -> String {
        let error = check(operation, body.as_bytes()).body.unwrap_err();
        format!("{}: {}", error.code, error.message)
    }

    #[test]
    fn a_request_that_breaks_a_constraint_is_refused_in_ecrs_words() {
        let invalid = "InvalidParameterException: Invalid parameter at";
        for (operation, body, expected) in [
            ("CreateRepository", "{}", "'repositoryName' failed to satisfy constraint: 'Member must not be null'"),
            (
                "PutImageTagMutability",
                r#"{"repositoryName": "team/app", "imageTagMutability": "invalid"}"#,
                "'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]'",
            ),
            (
                "BatchDeleteImage",
                r#"{"repositoryName": "team/app", "imageIds": []}"#,
                "'imageIds' failed to satisfy constraint: 'Member must have length greater than or equal to 1'",
            ),
            (
                "BatchGetImage",
                r#"{"repositoryName": "team/app", "imageIds": [{"imageTag": "v1"}, {"imageTag": ""}]}"#,
                "'imageIds.2.member.imageTag' failed to satisfy constraint: 'Member must have length greater than or equal to 1'",
            ),
            (
                "ListImages",
                r#"{"repositoryName": "team/app", "maxResults": 1001}"#,
                "'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'",
            ),
            (
                "DescribeRepositories",
                r#"{"registryId": "123"}"#,
                "'registryId' failed to satisfy constraint: 'must satisfy regular expression '[0-9]{12}''",
            ),
        ] {
            assert_eq!(refusal(operation, body), format!("{invalid} {expected}"));
        }
        let wrong = refusal("CreateRepository", r#"{"repositoryName": ["team/app"]}"#);
        assert_eq!(wrong, "SerializationException: repositoryName: START_ARRAY can not be converted to String");
        assert!(refusal("DeleteSigningConfiguration", "[]").starts_with("SerializationException"));
        assert!(refusal("ListImages", "{").starts_with("SerializationException"));
    }

    #[test]
    fn what_the_model_does_not_know_is_ignored() {
        let body = br#"{"repositoryName": "team/app", "force": null, "more": [1, 2, 3]}"#;
        assert_eq!(check("DeleteRepository", body).body.unwrap(), br#"{"repositoryName":"team/app"}"#);
    }

    #[test]
    fn patterns_are_matched_in_a_time_that_grows_with_the_text() {
        // A backtracking matcher would not end with these.
        let names = format!("{}!", "a-".repeat(127));
        assert!(refusal("CreateRepository", &format!(r#"{{"repositoryName": "{names}"}}"#)).contains("regular"));
        let digest = "a".repeat(1 << 20);
        let body = format!(r#"{{"repositoryName": "team/app", "layerDigest": "{digest}"}}"#);
        assert!(refusal("GetDownloadUrlForLayer", &body).contains("regular expression"));
    }
}
