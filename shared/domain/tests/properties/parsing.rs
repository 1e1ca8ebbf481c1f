use domain::event::{self, EventError};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every sample event that AWS documents or that was captured.
#[expect(clippy::disallowed_methods, reason = "the samples are files; the domain itself touches none")]
fn samples() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/events");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "{paths:?}");
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("SUCCESS")),
        Just(json!("aws.ecr")),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z-]{1,12}", inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Adds the JSON pointers of all values in a document to `found`.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                places(value, &format!("{here}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(entries) => {
            entries.iter().enumerate().for_each(|(index, value)| places(value, &format!("{here}/{index}"), found));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(event::read(&bytes).is_err());
    }

    #[test]
    fn arbitrary_json_never_panics(json in any_json()) {
        _ = event::read_value(&json);
        _ = event::read_record(&json);
    }

    #[test]
    fn a_sample_with_one_value_replaced_is_read_or_rejected_for_a_reason(
        sample in prop::sample::select(samples()),
        place in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let mut found = Vec::new();
        places(&sample, "", &mut found);
        let mut changed = sample;
        *changed.pointer_mut(&found[place.index(found.len())]).unwrap() = value;
        match event::read_value(&changed) {
            Ok(event) => prop_assert!(!event.id.is_empty()),
            Err(EventError::Missing { field } | EventError::Field { field, .. }) => prop_assert!(!field.is_empty()),
            Err(EventError::NotJson(_)) => prop_assert!(false, "it was JSON"),
        }
    }
}
