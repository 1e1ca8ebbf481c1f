//! Published events match the schemas of `infra/schemas`, and its README.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use domain::alert::{AlertKind, AlertState, Severity};
use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

use crate::alerts::{INCIDENTS, every_alert, published};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/schemas");

fn schema(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{FOLDER}/{name}.json")).unwrap()).unwrap()
}

/// The schema of each kind, read from the files only.
fn validators() -> BTreeMap<AlertKind, Validator> {
    let registry = Registry::new().add("https://schemas.invalid/alert.json", schema("alert")).unwrap();
    let registry = registry.prepare().unwrap();
    let validator = |kind: AlertKind| {
        let options = jsonschema::options().offline().should_validate_formats(true).with_registry(&registry);
        let options = options.with_base_uri(format!("https://schemas.invalid/{}.json", kind.as_str()));
        (kind, options.build(&schema(kind.as_str())).unwrap())
    };
    AlertKind::ALL.into_iter().map(validator).collect()
}

fn states(kind: AlertKind) -> &'static [AlertState] {
    if INCIDENTS.contains(&kind) {
        &[AlertState::Opened, AlertState::Open, AlertState::Resolved]
    } else {
        &[AlertState::Notice]
    }
}

fn severities(kind: AlertKind) -> BTreeSet<&'static str> {
    let over = states(kind).contains(&AlertState::Resolved).then_some(Severity::Info);
    over.into_iter().chain([kind.severity()]).map(Severity::as_str).collect()
}

#[test]
fn every_kind_has_a_schema_and_there_is_no_other() {
    let files = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let kinds = AlertKind::ALL.map(|kind| format!("{}.json", kind.as_str()));
    let expected = kinds.into_iter().chain(["README.md".to_owned(), "alert.json".to_owned()]);
    assert_eq!(files.collect::<BTreeSet<_>>(), expected.collect());
    let known: Vec<_> = AlertKind::ALL.map(|kind| json!(kind.as_str())).into();
    assert_eq!(schema("alert")["properties"]["kind"]["enum"], Value::Array(known));
}

#[test]
fn a_schema_matches_the_code() {
    for kind in AlertKind::ALL {
        let schema = schema(kind.as_str());
        assert_eq!(schema["title"], kind.detail_type());
        let of = &schema["properties"];
        assert_eq!(of["source"]["const"], "ecr-lineage");
        assert_eq!(of["detail-type"]["const"], kind.detail_type());
        let of = &of["detail"]["properties"];
        assert_eq!(of["kind"]["const"], kind.as_str());
        assert_eq!(of["channel_text"]["properties"]["severity"]["const"], kind.severity().as_str());
        let words = |name: &str| -> Vec<&str> {
            of[name]["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
        };
        assert_eq!(words("state"), states(kind).iter().map(|state| state.as_str()).collect::<Vec<_>>());
        assert_eq!(words("severity").into_iter().collect::<BTreeSet<_>>(), severities(kind), "{kind:?}");
    }
}

#[tokio::test]
async fn published_events_are_valid() {
    let validators = validators();
    let alerts = every_alert();
    for (alert, event) in alerts.iter().zip(published(&alerts).await) {
        for (kind, validator) in &validators {
            let notified: Vec<_> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
            assert_eq!(notified.is_empty(), *kind == alert.kind, "{kind:?}: {notified:?} {event}");
        }
    }
}

#[tokio::test]
async fn garbage_is_not_valid() {
    let validators = validators();
    let alerts = every_alert();
    for (alert, event) in alerts.iter().zip(published(&alerts).await) {
        let validator = &validators[&alert.kind];
        let mut fields: Vec<String> = ["source", "detail-type", "detail"].map(|name| format!("/{name}")).into();
        for of in ["/detail", "/detail/channel_text"] {
            let names = event.pointer(of).unwrap().as_object().unwrap().keys();
            fields.extend(names.map(|name| format!("{of}/{name}")));
        }
        assert!(fields.len() > 15, "{fields:?}");
        let texts = ["subject", "message", "remediation", "title", "text", "id", "incident", "key"];
        for field in fields {
            let garbage = [json!({"garbage": true}), json!(""), json!("garbage\n")];
            let is_text = texts.iter().any(|name| field.ends_with(&format!("/{name}")));
            for garbage in garbage.into_iter().take(if is_text { 1 } else { 3 }) {
                let mut event = event.clone();
                *event.pointer_mut(&field).unwrap() = garbage;
                assert!(!validator.is_valid(&event), "{field} {event}");
            }
            if !["source", "destination", "repository", "digest", "count"].iter().any(|name| field.ends_with(name)) {
                let (of, name) = field.rsplit_once('/').unwrap();
                let mut event = event.clone();
                event.pointer_mut(of).unwrap().as_object_mut().unwrap().remove(name);
                assert!(!validator.is_valid(&event), "without {field}");
            }
        }
    }
}

#[test]
fn the_examples_are_valid() {
    for (kind, validator) in validators() {
        let examples = schema(kind.as_str())["examples"].clone();
        for example in examples.as_array().unwrap() {
            assert!(validator.is_valid(example), "{example}");
        }
        assert!(!examples[0].is_null());
    }
}

#[test]
fn the_readme_matches_the_code() {
    let readme = fs::read_to_string(format!("{FOLDER}/README.md")).unwrap();
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("| `ECR Lineage"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let expected = AlertKind::ALL.map(|kind| {
        let states: Vec<_> = states(kind).iter().map(|state| state.as_str()).collect();
        [kind.detail_type(), kind.severity().as_str().to_owned(), states.join(", ")]
    });
    let said: Vec<_> = rows.iter().map(|row| [row[1], row[2], row[3]].map(str::to_owned)).collect();
    assert_eq!(said, expected);
    let items = readme.split("\n- ").skip(1).map(|item| item.split_whitespace().collect::<Vec<_>>().join(" "));
    let descriptions = AlertKind::ALL.map(|kind| {
        let description = schema(kind.as_str())["description"].clone();
        format!("`{}`: {}", kind.detail_type(), description.as_str().unwrap())
    });
    assert_eq!(items.collect::<Vec<_>>(), descriptions);
}
