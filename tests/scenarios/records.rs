//! Records as CloudTrail and EventBridge really write them: denied and refused calls, impossible names, omitted
//! responses, who did what; and lineage that several of them tell.

use std::{fmt::Write, path::Path};

use answers::answer;
use domain::{
    event::{self, Event, EventError},
    fact::{Cause, Subject},
    lineage::{PlacementStatus, Whereabouts},
    tag::{AssignmentEnd, TagInterval, TagName},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::PageBounds;

use crate::{
    events::{DANA, IRELAND, TOKYO, at, call, delete, digest, image, lifecycle, push, replicate},
    test_table::{Store, deliver},
};

/// The record or event of a fixture.
fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/records/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn read(document: &Value) -> Result<Event, EventError> {
    if document.get("eventSource").is_some() { event::read_record(document) } else { event::read_value(document) }
}

/// An event as EventBridge delivers it: a record gets its envelope.
fn delivered(document: Value) -> Value {
    if document.get("eventSource").is_none() {
        return document;
    }
    json!({
        "version": "0", "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38", "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.ecr", "account": document["recipientAccountId"], "time": document["eventTime"],
        "region": document["awsRegion"], "resources": [], "detail": document,
    })
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/records");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// What each record says, one line for each fact.
#[test]
fn every_record_is_read() {
    let mut report = String::new();
    for name in names() {
        writeln!(report, "{name}").unwrap();
        let event = read(&fixture(&name)).unwrap_or_else(|error| panic!("{name}: {}", retry::chain(&error)));
        if event.facts.is_empty() {
            report.push_str("  nothing about an image\n");
        }
        for fact in &event.facts {
            let subject = match &fact.subject {
                Subject::Image(image) => format!("{}@{}", image.repository, image.digest.short()),
                Subject::Repository(repository) => repository.to_string(),
                Subject::Registry => "registry".to_owned(),
            };
            let (kind, summary) = (fact.what.kind(), fact.summary());
            writeln!(report, "  {} {} {subject}: {kind}: {summary}", fact.time, fact.registry).unwrap();
        }
    }
    insta::assert_snapshot!(report);
}

#[tokio::test]
async fn no_record_becomes_a_dead_letter() {
    for name in names() {
        let store = Store::new().await;
        let event = delivered(fixture(&name));
        assert_eq!(store.deliver(std::slice::from_ref(&event)).await, Vec::<String>::new(), "{name}");
        // A second delivery changes nothing.
        let once = store.dump().await;
        assert_eq!(store.deliver(&[event]).await, Vec::<String>::new(), "{name}");
        assert_eq!(store.dump().await, once, "{name}");
    }
}

#[tokio::test]
async fn a_refused_call_changes_no_placement() {
    for name in names().iter().filter(|name| name.starts_with("denied") || name.starts_with("refused")) {
        let store = Store::new().await;
        assert!(store.deliver(&[push(IRELAND, 'a', Some("a"), 0)]).await.is_empty());
        let before = store.whereabouts(&image('a')).await;
        assert!(store.deliver(&[delivered(fixture(name))]).await.is_empty());
        assert_eq!(store.whereabouts(&image('a')).await, before, "{name}");
    }
}

/// The only registry of an image, and the summaries of its timeline.
async fn shown(store: &Store, letter: char) -> (Whereabouts, Vec<(String, String)>) {
    let shown = answer::show(&store.table, &image(letter).parse().unwrap(), 100, Timestamp::now()).await.unwrap();
    let shown = shown.images.into_iter().next().unwrap();
    let timeline = shown.timeline.iter().map(|fact| (fact.time.to_string(), fact.summary())).collect();
    (shown.registries.into_iter().find(|place| place.registry.to_string() == IRELAND).unwrap(), timeline)
}

async fn history(store: &Store) -> Vec<TagInterval> {
    let name = TagName { repository: "team/app".parse().unwrap(), tag: "v1".parse().unwrap() };
    store.table.tag_history(&name).await.unwrap()
}

async fn store_of(events: impl IntoIterator<Item = Value>) -> Store {
    let store = Store::new().await;
    for event in events {
        assert_eq!(store.deliver(&[event]).await, Vec::<String>::new());
    }
    store
}

/// The manifest is of the form that BuildKit writes; its attestation is no platform.
/// <https://docs.docker.com/build/metadata/attestations/attestation-storage/>
#[tokio::test]
async fn the_platforms_of_an_index_are_read_from_its_push() {
    for (record, platforms) in [("put-image-index", &["linux/amd64", "linux/arm/v7"][..]), ("put-image", &[])] {
        let store = store_of([push(IRELAND, 'a', Some("v10"), 0), delivered(fixture(record))]).await;
        let asked = image('a').parse().unwrap();
        let shown = answer::show(&store.table, &asked, 100, Timestamp::now()).await.unwrap();
        assert_eq!(Vec::from_iter(&shown.images[0].platforms), platforms, "{record}");
    }
}

#[tokio::test]
async fn one_bad_id_in_a_batch_deletion_loses_only_itself() {
    for name in ["batch-delete-bad-digest", "batch-delete-digest-as-tag", "batch-delete-bad-tag"] {
        let pushes = ['a', 'b'].map(|letter| push(IRELAND, letter, Some(&letter.to_string()), 0));
        let store = store_of(pushes.into_iter().chain([delivered(fixture(name))])).await;
        let (place, _) = shown(&store, 'a').await;
        assert!(matches!(place.status, PlacementStatus::Absent | PlacementStatus::ProbablyAbsent), "{name}");
        let deleted = place.deleted.unwrap();
        assert_eq!(deleted.at.to_string(), "2026-11-21T09:00:00Z", "{name}");
        assert_eq!(deleted.cause, Cause::Principal { by: DANA.to_owned() }, "{name}");
        assert_eq!(shown(&store, 'b').await.0.status, PlacementStatus::Present, "{name}");
    }
}

fn delete_repository(force: bool, second: u32) -> Value {
    let mut event =
        call(IRELAND, "DeleteRepository", second, json!({"repositoryName": "team/app", "force": force}), Value::Null);
    event["detail"]["userIdentity"]["arn"] = "arn:aws:sts::111122223333:assumed-role/terraform/bob".into();
    event
}

fn delete_digest(letter: char, second: u32) -> Value {
    let ids = json!([{"imageDigest": digest(letter)}]);
    let answer = json!({"imageIds": [{"imageDigest": digest(letter), "imageTag": "v1"}], "failures": []});
    call(IRELAND, "BatchDeleteImage", second, json!({"repositoryName": "team/app", "imageIds": ids}), answer)
}

#[tokio::test]
async fn a_repository_that_is_deleted_later_does_not_overwrite_how_its_images_went() {
    let start = || [push(IRELAND, 'a', Some("v1"), 0)];
    let expired = || lifecycle(IRELAND, "PolicyExecutionEvent", "expire", &['a'], 100);
    let rule = Cause::Lifecycle { rule: 7, description: Some("keep three".to_owned()) };
    let dana = Cause::Principal { by: DANA.to_owned() };
    let bob = "arn:aws:sts::111122223333:assumed-role/terraform/bob";
    // By whom, and when; long before the repository and just before it, with and without force.
    for (how, cause, at_second) in [
        (vec![delete_digest('a', 100), delete(IRELAND, 'a', Some("v1"), 101)], dana.clone(), 101),
        (vec![expired()], rule, 100),
    ] {
        for (force, second) in [(false, 3_000), (true, 3_000), (false, 400)] {
            let events = start().into_iter().chain(how.clone()).chain([delete_repository(force, second)]);
            let store = store_of(events).await;
            let (place, _) = shown(&store, 'a').await;
            assert_eq!(place.status, PlacementStatus::Absent);
            let deleted = place.deleted.unwrap();
            assert_eq!((deleted.at.to_string(), &deleted.cause), (at(at_second), &cause), "{force} {second}");
            let ended = history(&store).await.into_iter().next().unwrap().ended.unwrap();
            assert_eq!((ended.at.to_string(), ended.why), (at(at_second), AssignmentEnd::ImageDeleted));
        }
    }
    // With force, the images that are there are deleted with it.
    let store = store_of(start().into_iter().chain([delete_repository(true, 3_000)])).await;
    let deleted = shown(&store, 'a').await.0.deleted.unwrap();
    assert_eq!((deleted.at.to_string(), deleted.cause), (at(3_000), Cause::Repository { by: bob.to_owned() }));
    // Without force, it was empty: the image was deleted before, and nothing says when and by whom.
    let store = store_of(start().into_iter().chain([delete_repository(false, 3_000)])).await;
    let place = shown(&store, 'a').await.0;
    assert_eq!((place.status, place.deleted.unwrap().cause), (PlacementStatus::Absent, Cause::Unknown));
    // The first of two deletions counts for an image that was not pushed again.
    let store =
        store_of(start().into_iter().chain([delete_repository(true, 3_000), delete_repository(false, 3_400)])).await;
    assert_eq!(shown(&store, 'a').await.0.deleted.unwrap().at.to_string(), at(3_000));
}

/// A read at a time that did not find the image.
async fn look(store: &Store, second: u32) {
    use domain::fact::{Fact, What};
    let (time, registry) = (at(second).parse().unwrap(), IRELAND.parse().unwrap());
    let subject = Subject::Image(image('a').parse().unwrap());
    let fact = Fact { time, registry, event_id: "reconcile".to_owned(), subject, what: What::FOUND_MISSING };
    store.table.record(&[&fact]).await.unwrap();
}

#[tokio::test]
async fn a_later_look_makes_a_deletion_certain_and_never_replaces_its_time() {
    let start = || [push(IRELAND, 'a', Some("v1"), 0), replicate(IRELAND, TOKYO, 'a', Some("v1"), 10)];
    for (how, at_second, known) in [
        (vec![delete(IRELAND, 'a', Some("v1"), 100)], 100, false),
        (vec![delete_digest('a', 100)], 100, true),
        (vec![delete_digest('a', 100), delete(IRELAND, 'a', Some("v1"), 101)], 101, true),
    ] {
        for look_at in [400, 3_500] {
            let store = store_of(start().into_iter().chain(how.clone())).await;
            look(&store, look_at).await;
            let (place, _) = shown(&store, 'a').await;
            let deleted = place.deleted.unwrap();
            assert_eq!((place.status, deleted.at.to_string()), (PlacementStatus::Absent, at(at_second)));
            assert_eq!(deleted.cause != Cause::Unknown, known);
            let (orphans, _) = store.table.orphans(&TOKYO.parse().unwrap(), PageBounds::ALL).await.unwrap();
            let orphan = answer::Orphan::of(&orphans[0], &TOKYO.parse().unwrap()).unwrap();
            assert_eq!(orphan.sources[&IRELAND.parse().unwrap()].unwrap().to_string(), at(at_second));
            let history = history(&store).await;
            let here = history.iter().find(|interval| interval.registry.to_string() == IRELAND).unwrap();
            assert!([at(100), at(at_second)].contains(&here.ended.as_ref().unwrap().at.to_string()), "{here:?}");
        }
    }
}

#[tokio::test]
async fn one_deletion_that_several_records_report_is_one_line_by_the_readable_arn() {
    let mut pushed = push(IRELAND, 'a', Some("a"), 0);
    pushed["time"] = "2026-11-21T08:00:00Z".into();
    let mut deleted = delete(IRELAND, 'a', Some("a"), 0);
    deleted["time"] = "2026-11-21T09:00:01Z".into();
    // As `ingest` reads them: a topic speaks for its own registry only.
    let read = |name: &str| read(&fixture(name)).unwrap();
    let events = ["batch-delete-cross-account-owner", "batch-delete-cross-account-caller"].map(read);
    for order in [[0, 1], [1, 0]] {
        let store = store_of([pushed.clone(), deleted.clone()]).await;
        for index in order {
            for result in record::record(&store.table, &events[index..=index]).await {
                result.unwrap();
            }
        }
        let (place, timeline) = shown(&store, 'a').await;
        let dana = "arn:aws:sts::444455556666:assumed-role/platform/dana";
        assert_eq!(
            timeline,
            [
                ("2026-11-21T08:00:00Z".to_owned(), "pushed as a".to_owned()),
                ("2026-11-21T09:00:01Z".to_owned(), format!("deleted by {dana}")),
            ]
        );
        let loss = place.deleted.unwrap();
        assert_eq!(
            (loss.at.to_string(), loss.cause),
            ("2026-11-21T09:00:01Z".to_owned(), Cause::Principal { by: dana.to_owned() })
        );
    }
}

#[tokio::test]
async fn show_says_who_pushed_archived_changed_and_what_was_refused() {
    let names = [
        "put-image",
        "archive",
        "put-lifecycle-policy",
        "put-replication-configuration",
        "denied-delete-repository",
        "refused-not-empty",
    ];
    let mut records = names.map(|name| delivered(fixture(name)));
    records[1]["detail"]["eventTime"] = "2026-11-21T09:00:10Z".into();
    let store = store_of(records).await;
    let (place, timeline) = shown(&store, 'a').await;
    assert_eq!((place.status, place.pushed_by.as_deref()), (PlacementStatus::Archived, Some(DANA)));
    let mut lines: Vec<_> = timeline.into_iter().map(|(_, summary)| summary).collect();
    lines.sort();
    insta::assert_debug_snapshot!(lines);
}

#[tokio::test]
async fn a_push_that_two_events_report_is_one_line_and_one_push() {
    let mut event = push(IRELAND, 'a', Some("v9"), 0);
    event["time"] = "2026-11-21T09:00:01Z".into();
    event["detail"]["artifact-media-type"] = "text/sbom+json".into();
    for order in [[0, 1], [1, 0]] {
        let both = [event.clone(), delivered(fixture("put-image"))];
        let store = store_of(order.map(|index| both[index].clone())).await;
        let (place, timeline) = shown(&store, 'a').await;
        assert_eq!(timeline, [("2026-11-21T09:00:01Z".to_owned(), format!("pushed as v9 by {DANA}"))]);
        assert_eq!(place.pushed_at.unwrap().to_string(), "2026-11-21T09:00:01Z");
        assert_eq!(place.pushed_by.as_deref(), Some(DANA));
    }
}

#[tokio::test]
async fn a_cached_image_is_an_image_from_its_upstream() {
    let store = store_of([fixture("event-cache")]).await;
    let image = format!("docker-hub/alpine@{}", digest('a'));
    let place = store.whereabouts(&image).await.remove(IRELAND).unwrap();
    assert_eq!((place.status, place.cached_from.as_deref()), (PlacementStatus::Present, Some("public.ecr.aws")));
    assert!(place.tags.contains(&"3.17.2".parse().unwrap()));
}

#[tokio::test]
async fn what_cannot_be_read_is_alerted_with_the_field_and_whose_it_is() {
    let alerts = async |event: &Value| {
        let store = Store::new().await;
        assert_eq!(deliver(&store.table, [event.to_string()]).await, ["0"]);
        store
            .table
            .alerts(at(0).parse().unwrap())
            .await
            .unwrap()
            .into_iter()
            .map(|alert| alert.message)
            .collect::<Vec<_>>()
    };
    let mut broken = push(IRELAND, 'a', None, 0);
    broken["detail"]["repository-name"] = "Team/App".into();
    let [message] = &alerts(&broken).await[..] else { panic!("one alert") };
    assert!(
        message.contains("field `detail.repository-name` cannot be read: `Team/App` is not a repository name"),
        "{message}"
    );
    assert!(
        message.ends_with("it looks like an event of AWS, so this is a bug of ecr-lineage: report it"),
        "{message}"
    );
    broken["source"] = Value::Null;
    let [message] = &alerts(&broken).await[..] else { panic!("one alert") };
    assert!(message.contains("field `source` is missing"), "{message}");
    assert!(message.contains("does not look like an event of AWS"), "{message}");
}
