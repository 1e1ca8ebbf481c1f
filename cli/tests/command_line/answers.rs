use serde_json::Value;

use crate::command::{User, example};

#[test]
fn the_readme_shows_what_the_example_prints() {
    let ran =
        User::new().run(&["--table", "memory", "ingest", example().to_str().unwrap(), "--show", "shop/api:v1.4.1"]);
    assert_eq!(ran.code, Some(0));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn commands_print_text() {
    let user = User::with_example();
    let mut answers = String::new();
    for arguments in [
        &["show", "shop/api:v1.4.2"][..],
        &["show", "shop/api@e98d"],
        &["history", "shop/api:latest"],
        &["history", "shop/api:latest", "--registry", "111122223333/us-east-1"],
        &["history", "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/api:v1.4.1"],
        &["images", "shop/api"],
        &["orphans"],
        &["orphans", "--registry", "111122223333/us-east-1"],
    ] {
        let ran = user.run(arguments);
        // Without a listing, that nothing is recorded does not mean that there is nothing.
        let doubt = ran.out.contains("? None is recorded");
        assert_eq!((ran.code, ran.err.as_str()), (Some(i32::from(doubt)), ""));
        answers += &format!("$ ecr-lineage {}\n{}\n", arguments.join(" "), ran.out);
    }
    assert!(!answers.contains('\u{1b}'), "no colour where no terminal is");
    insta::assert_snapshot!(answers);
}

#[test]
fn commands_print_json() {
    let user = User::with_example();
    let mut answers = String::new();
    for arguments in [
        &["show", "shop/api:v1.4.1"][..],
        &["history", "shop/api:latest", "--registry", "111122223333/us-east-1"],
        &["images", "shop/api"],
        &["orphans"],
        &["ingest", example().to_str().unwrap()],
    ] {
        let ran = user.run(&[arguments, &["--format", "json"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        assert_snake_case(&json);
        answers += &format!("$ {}\n{}\n", arguments.first().unwrap(), ran.out);
    }
    insta::assert_snapshot!(answers);
}

/// Asserts that keys are snake_case. Keys with a slash are registry names, which are data.
fn assert_snake_case(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let word = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                assert!(word || name.contains('/'), "{name}");
                assert_snake_case(value);
            }
        }
        Value::Array(entries) => entries.iter().for_each(assert_snake_case),
        _ => {}
    }
}

#[test]
fn a_tag_that_points_to_two_images_shows_both() {
    let user = User::new();
    let push =
        crate::command::sample("push-untagged-captured.json").replace("\"image-tag\": \"\"", "\"image-tag\": \"v1\"");
    let other = push.replace("us-east-1", "eu-west-1").replace("sha256:7786", "sha256:1234").replace("fcf0", "fcf1");
    let file = user.file("events.json", push + &other);
    assert_eq!(user.run(&["ingest", &file]).code, Some(0));
    let ran = user.run(&["show", "nudgebee_runbook_sidecar_agent:v1"]);
    assert!(ran.out.contains("Registries disagree: the tag points to 2 different images."), "{}", ran.out);
    let one = user.run(&["show", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/nudgebee_runbook_sidecar_agent:v1"]);
    assert!(one.out.contains("sha256:1234") && !one.out.contains("disagree"), "{}", one.out);
}

#[test]
fn help_names_the_default_table() {
    let ran = User::new().run_with(&["--help"], &[("XDG_DATA_HOME", "/data")], "");
    assert!(ran.out.contains("/data/ecr-lineage/lineage.db"), "{}", ran.out);
}
