//! Event patterns, evaluated as EventBridge and Lambda do:
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>

use domain::controls::wildcard;
use serde_json::{Map, Value};

/// Whether a pattern matches an event.
pub(crate) fn matches(pattern: &Value, event: &Value) -> bool {
    let fields = pattern.as_object().unwrap_or_else(|| panic!("not an object: {pattern}"));
    fields.iter().all(|(name, pattern)| match pattern {
        Value::Array(alternatives) if name == "$or" => alternatives.iter().any(|one| matches(one, event)),
        Value::Array(matchers) => matchers.iter().any(|matcher| leaf_matches(matcher, &event[name])),
        nested => matches(nested, &event[name]),
    })
}

/// Whether one matcher of a field matches its value: of a list, one of its values.
fn leaf_matches(matcher: &Value, value: &Value) -> bool {
    let values: &[Value] = match value {
        Value::Null => &[],
        Value::Array(values) => values,
        one => std::slice::from_ref(one),
    };
    let any = |matches: &dyn Fn(&str) -> bool| values.iter().any(|value| value.as_str().is_some_and(matches));
    let Some(operator) = matcher.as_object() else { return values.contains(matcher) };
    match one(operator) {
        ("prefix", prefix) => any(&|value| value.starts_with(prefix.as_str().unwrap())),
        ("wildcard", pattern) => any(&|value| wildcard(pattern.as_str().unwrap(), value)),
        // Only on leaf nodes.
        ("exists", exists) => {
            assert!(!value.is_object(), "`exists` on a node: {value}");
            exists.as_bool().unwrap() != values.is_empty()
        }
        (other, _) => panic!("unknown operator {other}"),
    }
}

fn one(operator: &Map<String, Value>) -> (&str, &Value) {
    assert_eq!(operator.len(), 1, "{operator:?}");
    operator.iter().next().map(|(name, of)| (name.as_str(), of)).unwrap()
}
