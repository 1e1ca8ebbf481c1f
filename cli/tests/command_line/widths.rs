//! Every table of every command is readable at 80 columns, with the longest usual names.

use std::sync::Arc;

use clap::Command;
use jiff::SignedDuration;
use serde_json::json;

use crate::mirror::{IRELAND, Scene, TOKYO};

/// 60 characters.
const REPOSITORY: &str = "customer-facing/payments/europe/settlement-reconciliation-api";
const PERSON: &str = "AWSReservedSSO_AdministratorAccess_0123456789abcdef/dana.schneider@example.com";

/// Commands that print no table, do not end, or need what is not here, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    ("completions", "prints a script"),
    ("man", "prints pages"),
    ("local", "does not end"),
    ("serve", "does not end"),
    ("open", "prints an address, which stays whole"),
    ("doctor", "needs a deployment; `fitted` wraps its lines as all others"),
    ("policy deploy", "needs a deployment; its table is that of `policy diff`"),
    ("policy prove", "needs a solver"),
    ("help", "its own test has its width"),
];

/// Commands that change something.
const CHANGES: [&str; 16] = [
    "backfill",
    "reconcile",
    "ingest",
    "hold",
    "release",
    "pause",
    "resume",
    "approve",
    "retry",
    "cancel",
    "breaker reset",
    "usage import",
    "usage remove",
    "registry forget",
    "acknowledge",
    "snooze",
];

/// Commands that wait for ECR.
pub(crate) const WAITING: [&str; 2] = ["audit lifecycle", "backfill"];

/// A policy with a reason for each of the three images.
const POLICY: &str = r#"
@id("images-of-builds-follow-their-source-after-a-day-of-grace") @grace("24h")
permit (principal, action in [Action::"delete", Action::"untag"], resource)
when { !(resource.tagLine like "* v*") };

@id("never-stable")
forbid (principal, action, resource)
when { resource.tagLine like "* stable *" };
"#;

/// The names of all commands that do something.
pub(crate) fn leaves(command: &Command, above: &str) -> Vec<String> {
    let below = command.get_subcommands().flat_map(|below| {
        let path = format!("{above}{}", below.get_name());
        if below.has_subcommands() { leaves(below, &format!("{path} ")) } else { vec![path] }
    });
    below.collect()
}

/// Each command with arguments that make it print as much as it can, in an order in which each has something to print.
fn calls(policy: &str, keep: &str, incident: &str, used: &str) -> Vec<(&'static str, Vec<String>)> {
    let image = |tag: &str| format!("{REPOSITORY}:{tag}");
    let all = [
        ("demo", vec![]),
        ("show", vec![image("archived")]),
        ("where", vec![image("archived")]),
        ("wait", vec![image("archived"), "--timeout".into(), "1s".into()]),
        ("history", vec![image("build-7")]),
        ("images", vec![REPOSITORY.into()]),
        ("orphans", vec![]),
        ("costs", vec!["--since".into(), "2026-01-01".into()]),
        ("activity", vec!["--since".into(), "2026-01-01".into()]),
        ("lag", vec![]),
        ("alerts", vec!["--since".into(), "90d".into()]),
        ("acknowledge", vec![incident.into(), "--reason".into(), "the outage of the region, dana is on it".into()]),
        (
            "snooze",
            [incident, "--until", "12h", "--reason", "the outage of the region, dana is on it"].map(Into::into).into(),
        ),
        ("reconcile", vec![IRELAND.into(), TOKYO.into()]),
        ("drift", vec![]),
        ("deletions", vec!["--since".into(), "90d".into()]),
        ("audit native-deletes", vec![]),
        ("audit lifecycle", vec!["--source".into(), IRELAND.into(), "--repository".into(), REPOSITORY.into()]),
        ("schema", vec![]),
        ("policy new", vec![]),
        ("policy check", vec![policy.into(), "no/such.cedar".into()]),
        ("policy test", vec!["infra/policies/never-release-tags.cedar".into()]),
        ("policy preview", vec![policy.into()]),
        ("policy diff", vec![keep.into(), policy.into()]),
        ("policy explain", vec![image("stable"), "--registry".into(), TOKYO.into()]),
        ("deploy plan", vec!["--hub".into(), "999988887777/eu-central-1".into(), IRELAND.into()]),
        (
            "hold",
            vec![image("build-7"), "--reason".into(), "the audit of the fourth quarter needs it, ask dana".into()],
        ),
        ("pause", vec!["--source".into(), IRELAND.into(), "--reason".into(), "incident 7".into()]),
        ("holds", vec![]),
        ("resume", vec!["--source".into(), IRELAND.into()]),
        ("release", vec![image("build-7")]),
        ("approve", vec!["--repository".into(), "*".into(), "--yes".into()]),
        ("retry", vec!["--repository".into(), "*".into(), "--yes".into()]),
        ("cancel", vec!["--repository".into(), "*".into(), "--yes".into()]),
        ("breaker status", vec![]),
        ("breaker reset", vec![IRELAND.into(), "--allow".into(), "50".into(), "--yes".into()]),
        (
            "usage import",
            vec![
                used.into(),
                "--name".into(),
                "tills-of-the-shops-in-the-north".into(),
                "--until".into(),
                "12h".into(),
            ],
        ),
        ("usage lists", vec![]),
        ("usage remove", vec!["tills-of-the-shops-in-the-north".into()]),
        ("restore", vec![image("archived"), "--registry".into(), TOKYO.into()]),
        ("registry forget", vec![TOKYO.into(), "--reason".into(), "account closed".into()]),
        ("ingest", vec![crate::command::example().display().to_string()]),
        ("backfill", vec![IRELAND.into(), TOKYO.into(), "--yes".into()]),
    ];
    all.into()
}

/// Whether a line is a command, or the end of one: these stay whole.
fn is_command(line: &str, before: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    ["aws", "crane", "curl", "ecr-lineage", "export", "oras", "sam"].contains(&first) || before.ends_with('\\')
}

/// Whether a text has all words of another that fit into a line, each unbroken.
fn broken_word<'a>(whole: &'a str, wrapped: &str) -> Option<&'a str> {
    let fits = |word: &&str| word.chars().count() <= 64;
    whole.split_whitespace().filter(fits).find(|word| !wrapped.contains(*word))
}

/// A scene in which each command has something to print, and a call of each, in an order.
pub(crate) fn prepared() -> (Scene, Vec<(&'static str, Vec<String>)>) {
    let scene = Scene::of(REPOSITORY, PERSON, SignedDuration::from_hours(49));
    scene.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    scene.push("v4.0.0-rc.1.build.20261130");
    scene.pass(60);
    scene.local.simulator.set(|settings| settings.trouble.failed = 0.0);
    scene.push("v4.0.1-rc.1.build.20261130");
    scene.pass(31 * 60);
    let only = json!({"imageIds": [{"imageTag": "v4.0.1-rc.1.build.20261130"}]});
    scene.call(TOKYO, "BatchDeleteImage", only);
    let selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1});
    let rules = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
    scene.call(IRELAND, "PutLifecyclePolicy", json!({"lifecyclePolicyText": rules.to_string()}));
    scene.pass(60);
    let [policy, keep] = [("mine.cedar", POLICY), ("keep.cedar", policy::KEEP_EVERYTHING)]
        .map(|(name, text)| scene.user.file(name, text));
    let used = format!("444455556666.dkr.ecr.ap-northeast-1.amazonaws.com/{REPOSITORY}:till");
    let used = scene.user.file("used.txt", &used);
    let calls = calls(&policy, &keep, &scene.open_incident(), &used);
    (scene, calls)
}

#[test]
fn every_table_of_every_command_fits_into_its_width() {
    let (scene, calls) = prepared();
    for path in leaves(&cli::help::command(&Arc::default()), "") {
        let known = calls.iter().any(|(name, _)| *name == path) || LEFT_OUT.iter().any(|(name, _)| *name == path);
        assert!(
            known,
            "add a call of `{path}` to `calls` in cli/tests/command_line/widths.rs, or say why it prints no table"
        );
    }
    for (path, arguments) in calls {
        let words: Vec<_> = path.split(' ').chain(arguments.iter().map(String::as_str)).collect();
        let run = |environment: &[(&str, &str)]| {
            let run = || scene.run_with(&words, environment);
            if WAITING.contains(&path) { scene.while_time_passes(run) } else { run() }
        };
        // A change is made once, and what waits has other times each time: their words are compared with nothing.
        let once = CHANGES.contains(&path) || WAITING.contains(&path);
        let whole = if once { None } else { Some(run(&[])) };
        for width in if whole.is_none() { &[80][..] } else { &[80, 120] } {
            let columns = width.to_string();
            let ran = run(&[("COLUMNS", columns.as_str())]);
            assert!(ran.code != Some(2) && !ran.out.is_empty(), "{words:?}: {ran:?}");
            let mut before = "";
            for line in ran.out.lines() {
                let is_command = is_command(line, before);
                let fits = line.chars().count() <= *width || is_command;
                assert!(fits, "`{path}` prints a line of more than {width} columns:\n{}", ran.out);
                before = if is_command { line } else { "" };
            }
            let broken = whole.as_ref().and_then(|whole| broken_word(&whole.out, &ran.out));
            assert!(broken.is_none(), "`{path}` breaks {broken:?} at {width} columns:\n{}", ran.out);
        }
    }
}
