//! `audit lifecycle`, against simulated registries in this process.

use serde_json::{Value, json};

use crate::mirror::{IRELAND, Scene};

fn rule(priority: u32, pattern: &str) -> Value {
    let selection = json!({"tagStatus": "tagged", "tagPatternList": [pattern], "countType": "imageCountMoreThan",
        "countNumber": 1});
    json!({"rulePriority": priority, "description": "keep one", "selection": selection, "action": {"type": "expire"}})
}

#[test]
fn what_a_lifecycle_policy_would_take_from_the_replicas_is_shown() {
    let scene = Scene::new();
    for tag in ["build-8", "build-9", "v10", "v11"] {
        scene.push(tag);
        scene.pass(60);
    }
    let rules = json!({"rules": [rule(1, "build-*"), rule(2, "v*")]}).to_string();
    let lifecycle = scene.user.file("lifecycle.json", &rules);
    let audit = ["audit", "lifecycle", "--source", IRELAND, "--repository", "team/app"];
    let mut report = scene.shows_while_time_passes(&[&audit[..], &["--lifecycle", &lifecycle]].concat());
    let keep = scene.user.file("keep.cedar", "@id(\"keep-all\")\nforbid (principal, action, resource);\n");
    let with_policy = [&audit[..], &["--lifecycle", &lifecycle, "--policy", &keep]].concat();
    report += &scene.shows_while_time_passes(&with_policy);
    // The repository has no lifecycle policy, and this one is invalid.
    report += &scene.shows(&audit);
    let wrong = json!({"rules": [rule(1, "build-*"), rule(2, "build-*")]}).to_string();
    report += &scene.shows(&[&audit[..], &["--lifecycle", &scene.user.file("wrong.json", &wrong)]].concat());
    insta::assert_snapshot!(report);
    let held: usize = scene.local.simulator.held().len();
    assert_eq!(held, 13, "nothing was deleted");
}
