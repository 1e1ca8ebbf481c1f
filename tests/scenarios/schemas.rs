//! Published events match the schemas of `infra/schemas`, and its README.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use domain::alert::{AlertKind, AlertState, Severity};
use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

use crate::alerts::{INCIDENTS, complete, every_alert, published, published_events};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/schemas");

fn schema(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{FOLDER}/{name}.json")).unwrap()).unwrap()
}

/// The schema of each kind, read from the files only.
fn validators() -> BTreeMap<AlertKind, Validator> {
    AlertKind::ALL.into_iter().map(|kind| (kind, validator(kind.as_str()))).collect()
}

fn validator(name: &str) -> Validator {
    let registry = Registry::new().add("https://schemas.invalid/alert.json", schema("alert")).unwrap();
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().offline().should_validate_formats(true).with_registry(&registry);
    let options = options.with_base_uri(format!("https://schemas.invalid/{name}.json"));
    options.build(&schema(name)).unwrap()
}

fn states(kind: AlertKind) -> &'static [AlertState] {
    if INCIDENTS.contains(&kind) {
        &[AlertState::Opened, AlertState::Open, AlertState::Resolved]
    } else {
        &[AlertState::Notice]
    }
}

/// The severities that a kind can have while it lasts: where it is about repositories, rules can give it another one.
fn severities(kind: AlertKind) -> BTreeSet<&'static str> {
    let of_repositories = kind.is_one_shot()
        || kind.is_ongoing()
        || matches!(kind, AlertKind::RepositoryDiffers | AlertKind::DeletionFailed);
    let any = of_repositories && kind.severity() != Severity::Info;
    let all = Severity::ALL.into_iter().filter(|severity| any || *severity == kind.severity());
    all.map(Severity::as_str).collect()
}

#[test]
fn every_kind_has_a_schema_and_there_is_no_other() {
    let files = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let kinds = AlertKind::ALL.map(|kind| format!("{}.json", kind.as_str()));
    let others = ["README.md", "alert.json", "replication_complete.json"].map(str::to_owned);
    let expected = kinds.into_iter().chain(others);
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
        let words = |of: &'_ Value| -> BTreeSet<String> {
            of["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let severities: BTreeSet<_> = severities(kind).into_iter().map(str::to_owned).collect();
        assert_eq!(words(&of["channel_text"]["properties"]["severity"]), severities, "{kind:?}");
        let states = states(kind);
        assert_eq!(words(&of["state"]), states.iter().map(|state| state.as_str().to_owned()).collect());
        let over = states.contains(&AlertState::Resolved).then(|| Severity::Info.as_str().to_owned());
        assert_eq!(words(&of["severity"]), severities.into_iter().chain(over).collect(), "{kind:?}");
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
            if !["source", "destination", "repository", "digest", "count", "severity_before"]
                .iter()
                .any(|name| field.ends_with(name))
            {
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

#[tokio::test]
async fn the_event_of_a_complete_push_is_valid_and_garbage_is_not() {
    let (schema, validator) = (schema("replication_complete"), validator("replication_complete"));
    for tag in [None, Some("v1.2.0")] {
        let [event] = &*published_events(&[complete(tag)]).await else { panic!("one event") };
        let errors: Vec<_> = validator.iter_errors(event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} {event}");
        assert_eq!(event["detail-type"], schema["title"]);
        let required = schema["properties"]["detail"]["required"].as_array().unwrap();
        for field in required.iter().map(|field| field.as_str().unwrap()) {
            let mut without = event.clone();
            without["detail"].as_object_mut().unwrap().remove(field).unwrap();
            assert!(!validator.is_valid(&without), "without {field}");
            let mut garbage = event.clone();
            garbage["detail"][field] = json!({"garbage": true});
            assert!(!validator.is_valid(&garbage), "{field}");
        }
    }
    assert!(validator.is_valid(&schema["examples"][0]));
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
