//! The JSON of each command is as its schema says, and its times have one form.

use std::sync::Arc;

use cli::{
    doctor::{Diagnosis, Finding, Level},
    policies::deploy::{DeployedPolicy, PolicyParameters},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    mirror::{Scene, TOKYO},
    widths::{WAITING, leaves, prepared},
};

/// Commands without a schema, and why.
const WITHOUT: [(&str, &str); 5] = [
    ("completions", "prints a script"),
    ("man", "prints pages"),
    ("local", "does not end"),
    ("serve", "does not end"),
    ("policy prove", "is not built; its own tests need a solver"),
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

/// Checks what a command prints with `--format json`.
fn check(scene: &Scene, path: &str, printed: &str) {
    let words: Vec<_> = path.split(' ').collect();
    let schema = scene.user.run(&[&["schema"], &words[..]].concat());
    let schema: Value = serde_json::from_str(&schema.out).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let json: Value = serde_json::from_str(printed).unwrap();
    let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{path}: {errors:#?}\n{printed}");
    // A schema in which everything may be left out would be as good as none.
    assert!(validator.validate(&serde_json::json!({})).is_err(), "the schema of `{path}` accepts anything");
    let mut found = Vec::new();
    times(&json, &mut found);
    let other = found.iter().find(|time| time.len() != "2026-11-30T12:00:00Z".len());
    assert_eq!(other, None, "{path}");
}

#[test]
fn json_is_as_its_schema_says_and_has_times_in_one_form() {
    for path in leaves(&cli::help::command(&Arc::default()), "") {
        let has_one = cli::schema::SCHEMAS.iter().any(|(name, _)| *name == path);
        assert_ne!(has_one, WITHOUT.iter().any(|(name, _)| *name == path), "a schema of `{path}` in schema.rs?");
    }
    let (scene, calls) = prepared();
    let written = format!("{}/written.cedar", scene.user.path());
    let others: [(&str, &[&str]); 5] = [
        ("open", &["team/app:v1", "--page", "https://lineage.example.com/", "--print"]),
        ("drift", &["--repository", "customer-facing/*"]),
        ("deletions", &["--until", "2099-01-31"]),
        ("restore", &["--drill", "--count", "1"]),
        ("policy new", &["never-release-tags", "--output", &written]),
    ];
    let others = others.map(|(path, more)| (path, more.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()));
    let calls: Vec<_> = calls.into_iter().chain(others).collect();
    for (path, _) in cli::schema::SCHEMAS.iter().filter(|(path, _)| !["doctor", "policy deploy"].contains(path)) {
        assert!(calls.iter().any(|(call, _)| call == path), "add a call of `{path}` to `calls` of widths.rs");
    }
    for (path, arguments) in &calls {
        let words = path.split(' ').chain(arguments.iter().map(String::as_str)).chain(["--format", "json"]);
        let words: Vec<_> = words.collect();
        let run = || scene.run(&words);
        let ran = if WAITING.contains(path) { scene.while_time_passes(run) } else { run() };
        check(&scene, path, &ran.out);
    }
    // These need a deployment.
    let what = "no heartbeat arrives".to_owned();
    let finding = |fix| Finding { level: Level::Wrong, place: TOKYO.to_owned(), what: what.clone(), fix };
    let diagnosis = Diagnosis { findings: vec![finding(None), finding(Some("deploy it".to_owned()))] };
    check(&scene, "doctor", &serde_json::to_string(&diagnosis).unwrap());
    let before = PolicyParameters { policy_layer: String::new(), policy_file: "keep-everything.cedar".to_owned() };
    let layer = "arn:aws:lambda:eu-west-1:999988887777:layer:ecr-lineage-policy:2".to_owned();
    let deployed = DeployedPolicy { stack: "ecr-lineage".to_owned(), file: "mine.cedar".to_owned(), layer, before };
    check(&scene, "policy deploy", &serde_json::to_string(&deployed).unwrap());
}
