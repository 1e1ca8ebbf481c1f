//! The JSON of each command is as its schema says, and its times have one form.

use jiff::Timestamp;
use serde_json::Value;

use crate::mirror::{IRELAND, Scene, TOKYO};

/// Stands for the short ID of an open incident.
const INCIDENT: &str = "INCIDENT";

/// Arguments with which each command that has a schema prints something.
const CALLS: [(&str, &[&str]); 23] = [
    ("show", &["team/app:archived"]),
    ("history", &["team/app:build-7"]),
    ("images", &["team/app"]),
    ("orphans", &[]),
    ("activity", &["--since", "90d"]),
    ("costs", &[]),
    ("lag", &[]),
    ("alerts", &["--since", "90d"]),
    ("acknowledge", &[INCIDENT, "--reason", "on it"]),
    ("snooze", &[INCIDENT, "--until", "2099-01-31", "--reason", "a known outage"]),
    ("drift", &[]),
    ("deletions", &["--since", "2026-01-01"]),
    ("hold", &["team/app:build-7", "--reason", "audit"]),
    ("pause", &["--source", IRELAND, "--reason", "incident 7"]),
    ("holds", &[]),
    ("resume", &["--source", IRELAND]),
    ("release", &["team/app:build-7"]),
    ("approve", &["--repository", "*", "--yes"]),
    ("retry", &["--repository", "*", "--yes"]),
    ("cancel", &["team/app:stable"]),
    ("breaker status", &[]),
    ("breaker reset", &[IRELAND, "--allow", "50", "--yes"]),
    ("registry forget", &[TOKYO]),
];

/// Every text that is a time.
fn times(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() > 18 && text.parse::<Timestamp>().is_ok() => found.push(text.clone()),
        Value::Array(entries) => entries.iter().for_each(|entry| times(entry, found)),
        Value::Object(fields) => fields.values().for_each(|field| times(field, found)),
        _ => {}
    }
}

#[test]
fn json_is_as_its_schema_says_and_has_times_in_one_form() {
    for (command, _) in cli::schema::SCHEMAS {
        assert!(CALLS.iter().any(|(call, _)| *call == command), "add a call of `{command}` to CALLS of schemas.rs");
    }
    let scene = Scene::new();
    scene.pass(24 * 3600);
    scene.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    scene.push("v4.0.0");
    scene.pass(60);
    let incident = scene.open_incident();
    for (command, arguments) in CALLS {
        let words: Vec<_> = command.split(' ').collect();
        let arguments = arguments.iter().map(|word| if *word == INCIDENT { incident.as_str() } else { word });
        let arguments: Vec<_> = arguments.collect();
        let schema = scene.user.run(&[&["schema"], &words[..]].concat());
        let schema: Value = serde_json::from_str(&schema.out).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let ran = scene.run(&[&words[..], &arguments, &["--format", "json"]].concat());
        let Ok(json) = serde_json::from_str::<Value>(&ran.out) else { panic!("{command}: {ran:?}") };
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{command}: {errors:#?}\n{}", ran.out);
        let mut found = Vec::new();
        times(&json, &mut found);
        let other = found.iter().find(|time| time.len() != "2026-11-30T12:00:00Z".len());
        assert_eq!(other, None, "{command}");
    }
}
