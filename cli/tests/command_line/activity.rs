//! What was done, across images, and lists as CSV.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    command::{Ran, User, sample},
    mirror::{IRELAND, Scene},
};

/// A user whose table contains the example's events and a deletion by a role.
fn user() -> User {
    let user = User::with_example();
    let file = user.file("events.json", sample("push.json") + &sample("delete.json") + &sample("archive.json"));
    assert_eq!(user.run(&["ingest", &file]).code, Some(0));
    user
}

#[test]
fn activity_is_printed_as_text_as_csv_and_as_ocsf() {
    let user = user();
    let mut answers = String::new();
    for arguments in [
        &["activity", "--since", "2015-01-01"][..],
        &["activity", "--since", "2015-01-01", "--kind", "image_deleted,tags_deleted", "--format", "csv"],
        &["activity", "--since", "2015-01-01", "--actor", "role/", "--repository", "shop/*"],
        &["activity", "--since", "2015-01-01", "--kind", "archived", "--format", "json"],
        &["activity", "--since", "2015-01-01", "--kind", "archived", "--format", "ocsf"],
        &["activity", "--since", "2015-01-01", "--actor", "role/other"],
    ] {
        let ran = user.run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        answers += &format!("$ ecr-lineage {}\n{}\n", arguments.join(" "), ran.out);
    }
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    insta::assert_snapshot!(answers.replace(&version, "\"version\":\"VERSION\""));
}

#[test]
fn what_cannot_be_answered_is_an_error() {
    let user = User::new();
    let ran = user.run(&["activity"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    let ran = user.run(&["--table", "memory", "activity"]);
    assert!(ran.code == Some(1) && ran.err.contains("nothing is recorded in table `memory`"), "{ran:?}");
    let user = User::with_example();
    for (arguments, code, says) in [
        (&["activity", "--repository", "no/such"][..], 1, "no image of repository `no/such` is known"),
        (&["activity", "--registry", "999999999999/eu-west-1"], 1, "registry `999999999999/eu-west-1` is not known"),
        (&["activity", "--kind", "deleted"], 2, "`deleted` is unknown: expected one of pushed, image_deleted"),
        (&["activity", "--since", "yesterday"], 2, "`yesterday` is not a time"),
    ] {
        let ran = user.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
}

/// The records of a CSV text, by column.
fn records(ran: &Ran) -> (Vec<String>, Vec<Vec<String>>) {
    let mut rows: Vec<Vec<String>> = vec![vec![String::new()]];
    let (mut quoted, mut characters) = (false, ran.out.chars().peekable());
    while let Some(character) = characters.next() {
        let cell = rows.last_mut().unwrap().last_mut().unwrap();
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.push(characters.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => rows.last_mut().unwrap().push(String::new()),
            '\r' if !quoted => assert_eq!(characters.next(), Some('\n'), "{ran:?}"),
            _ => cell.push(character),
        }
        if character == '\r' && !quoted {
            rows.push(vec![String::new()]);
        }
    }
    assert_eq!(rows.pop().unwrap(), [""], "the last line ends, too: {ran:?}");
    (rows.remove(0), rows)
}

/// Every name of a field, at any depth.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            names(value, found);
        }),
        Value::Array(entries) => entries.iter().for_each(|entry| names(entry, found)),
        _ => {}
    }
}

#[test]
fn each_list_is_csv_with_the_names_of_json() {
    let scene = Scene::new();
    scene.pass(48 * 3_600);
    assert_eq!(scene.run(&["hold", "prod/*", "--reason", "=HYPERLINK(\"x\"), audit"]).code, Some(0));
    let (mut headers, mut columns, mut found) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for (arguments, rows) in [
        (&["activity"][..], 9),
        (&["alerts"], 0),
        (&["deletions", "--done", "--kept", "--waiting"], 3),
        (&["deletions", "--until", "30d"], 0),
        (&["drift"], 0),
        (&["history", "team/app:v1"], 2),
        (&["holds"], 1),
        (&["images", "team/app"], 4),
        (&["lag"], 1),
        (&["orphans"], 0),
        (&["where", "team/app:archived"], 2),
    ] {
        let ran = scene.run(&[arguments, &["--format", "csv"]].concat());
        let (header, entries) = records(&ran);
        assert!(entries.len() >= rows, "{arguments:?}: {ran:?}");
        assert!(entries.iter().all(|entry| entry.len() == header.len()), "{ran:?}");
        let json = scene.run(&[arguments, &["--format", "json"]].concat());
        names(&serde_json::from_str(&json.out).unwrap(), &mut found);
        columns.extend(header.iter().flat_map(|column| column.split('.')).map(str::to_owned));
        headers += &format!("{}: {}\n", arguments.join(" "), header.join(","));
    }
    let others: Vec<_> = columns.difference(&found).map(String::as_str).collect();
    insta::assert_snapshot!(format!("{headers}\nin no answer of this scene: {}\n", others.join(", ")));
    let held = scene.run(&["holds", "--format", "csv"]);
    let (header, entries) = records(&held);
    let reason = header.iter().position(|column| column == "reason").unwrap();
    assert_eq!(entries[0][reason], "'=HYPERLINK(\"x\"), audit");
}

#[test]
fn a_format_that_a_command_does_not_have_is_refused_before_anything_is_done() {
    let scene = Scene::new();
    for (arguments, says) in [
        (
            &["show", "team/app:v1", "--format", "csv"][..],
            "this command has no list: it does not support the format `csv`",
        ),
        (&["pause", "--format", "csv"], "this command has no list"),
        (
            &["hold", "--source", IRELAND, "--reason", "audit", "--format", "dot"],
            "only `show` supports the format `dot`",
        ),
        (&["images", "team/app", "--format", "ocsf"], "only `activity` supports the format `ocsf`"),
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.err.contains(says) && ran.err.contains("next:  choose `--format table`"), "{ran:?}");
    }
    assert!(scene.run(&["holds"]).out.contains("Nothing is paused or on hold."));
}
