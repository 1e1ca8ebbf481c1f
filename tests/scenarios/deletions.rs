use domain::{
    fact::Cause,
    lineage::{PlacementStatus, Whereabouts},
};
use serde_json::{Value, json};
use store::PageBounds;

use crate::{
    events::{DANA, IRELAND, TOKYO, VIRGINIA, call, delete, digest, image, lifecycle, push, replicate, storage_class},
    test_table::Store,
};

async fn place(events: &[Value], letter: char, registry: &str) -> Whereabouts {
    let store = Store::new().await;
    assert_eq!(store.deliver(events).await, Vec::<String>::new());
    store.whereabouts(&image(letter)).await.remove(registry).unwrap()
}

fn batch_delete(registry: &str, second: u32, ids: Value, deleted: Value, failures: Value) -> Value {
    let request = json!({"repositoryName": "team/app", "imageIds": ids});
    call(registry, "BatchDeleteImage", second, request, json!({"imageIds": deleted, "failures": failures}))
}

#[tokio::test]
async fn a_principal_that_deletes_by_digest_is_named() {
    let ids = json!([{"imageDigest": digest('a')}]);
    let deleted =
        json!([{"imageDigest": digest('a'), "imageTag": "v1"}, {"imageDigest": digest('a'), "imageTag": "v2"}]);
    let events = [
        push(IRELAND, 'a', Some("v1"), 0),
        delete(IRELAND, 'a', Some("v1"), 60),
        batch_delete(IRELAND, 60, ids, deleted, json!([])),
    ];
    let place = place(&events, 'a', IRELAND).await;
    assert_eq!(place.status, PlacementStatus::Absent);
    assert_eq!(place.deleted.unwrap().cause, Cause::Principal { by: DANA.into() });
}

#[tokio::test]
async fn a_call_for_another_accounts_registry_is_recorded_there_if_its_own_topic_reports_it() {
    let mut event = batch_delete(
        IRELAND,
        60,
        json!([{"imageDigest": digest('a')}]),
        json!([{"imageDigest": digest('a')}]),
        json!([]),
    );
    event["detail"]["requestParameters"]["registryId"] = "444455556666".into();
    let push = push("444455556666/eu-west-1", 'a', None, 0);
    // The trail of the caller's account has the record, too, and its topic cannot speak for another account.
    let of_caller = place(&[push.clone(), event.clone()], 'a', "444455556666/eu-west-1").await;
    assert_eq!(of_caller.status, PlacementStatus::Present);
    event["account"] = "444455556666".into();
    let of_owner = place(&[push, event], 'a', "444455556666/eu-west-1").await;
    assert_eq!(of_owner.status, PlacementStatus::Absent);
}

#[tokio::test]
async fn removing_one_of_two_tags_leaves_the_image() {
    let ids = json!([{"imageTag": "v1"}]);
    let events = [
        push(IRELAND, 'a', Some("v1"), 0),
        push(IRELAND, 'a', Some("v2"), 1),
        batch_delete(IRELAND, 60, ids, json!([{"imageDigest": digest('a'), "imageTag": "v1"}]), json!([])),
    ];
    let place = place(&events, 'a', IRELAND).await;
    assert_eq!(place.status, PlacementStatus::Present);
    assert_eq!(place.tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["v2"]);
}

#[tokio::test]
async fn removing_the_last_known_tag_does_not_confirm_the_deletion() {
    let events = [push(IRELAND, 'a', Some("v1"), 0), delete(IRELAND, 'a', Some("v1"), 60)];
    let place = place(&events, 'a', IRELAND).await;
    assert_eq!(place.status, PlacementStatus::ProbablyAbsent);
    assert_eq!(place.deleted.unwrap().cause, Cause::Unknown);
}

#[tokio::test]
async fn a_deletion_that_failed_deletes_nothing() {
    let ids = json!([{"imageDigest": digest('a')}]);
    let failure = json!([{"imageId": {"imageDigest": digest('a')}, "failureCode": "ImageReferencedByManifestList"}]);
    let events = [push(IRELAND, 'a', None, 0), batch_delete(IRELAND, 60, ids.clone(), json!([]), failure)];
    assert_eq!(place(&events, 'a', IRELAND).await.status, PlacementStatus::Present);

    let mut denied = batch_delete(IRELAND, 61, ids.clone(), json!([]), json!([]));
    denied["detail"]["errorCode"] = "AccessDenied".into();
    denied["detail"]["responseElements"] = Value::Null;
    assert_eq!(place(&[push(IRELAND, 'a', None, 0), denied], 'a', IRELAND).await.status, PlacementStatus::Present);

    // A CloudTrail record without a response: it does not prove that an image was deleted.
    let silent =
        call(IRELAND, "BatchDeleteImage", 62, json!({"repositoryName": "team/app", "imageIds": ids}), Value::Null);
    assert_eq!(place(&[push(IRELAND, 'a', None, 0), silent], 'a', IRELAND).await.status, PlacementStatus::Present);
}

#[tokio::test]
async fn an_event_that_did_not_succeed_changes_no_placement() {
    for spelling in ["FAILURE", "FAILED", "success", "PARTIAL"] {
        let mut event = delete(IRELAND, 'a', None, 60);
        event["detail"]["result"] = spelling.into();
        assert_eq!(place(&[push(IRELAND, 'a', None, 0), event], 'a', IRELAND).await.status, PlacementStatus::Present);
        let mut event = replicate(IRELAND, TOKYO, 'a', None, 60);
        event["detail"]["result"] = spelling.into();
        let store = Store::new().await;
        assert!(store.deliver(&[push(IRELAND, 'a', None, 0), event]).await.is_empty());
        let lineage = store.lineage(&image('a')).await;
        assert_eq!(lineage.placements.len(), 1);
        assert_eq!(lineage.facts.len(), 2, "it is a fact all the same");
    }
}

#[tokio::test]
async fn a_missing_tag_may_be_null_empty_or_absent() {
    for tag in [Value::Null, "".into(), json!(null)] {
        let mut event = delete(IRELAND, 'a', None, 60);
        event["detail"]["image-tag"] = tag;
        assert_eq!(
            place(&[push(IRELAND, 'a', Some("v1"), 0), event], 'a', IRELAND).await.status,
            PlacementStatus::Absent
        );
    }
    let mut event = delete(IRELAND, 'a', None, 60);
    event["detail"].as_object_mut().unwrap().remove("image-tag");
    assert_eq!(place(&[push(IRELAND, 'a', Some("v1"), 0), event], 'a', IRELAND).await.status, PlacementStatus::Absent);
}

#[tokio::test]
async fn a_lifecycle_expiry_is_a_deletion_with_a_rule_and_a_dry_run_is_not() {
    let push = push(IRELAND, 'a', Some("v1"), 0);
    let expired =
        place(&[push.clone(), lifecycle(IRELAND, "PolicyExecutionEvent", "expire", &['a'], 60)], 'a', IRELAND).await;
    assert_eq!(expired.status, PlacementStatus::Absent);
    let cause = Cause::Lifecycle { rule: 7, description: Some("keep three".into()) };
    assert_eq!(expired.deleted.unwrap().cause, cause);

    let dry = place(&[push.clone(), lifecycle(IRELAND, "DryRunEvent", "expire", &['a'], 60)], 'a', IRELAND).await;
    assert_eq!(dry.status, PlacementStatus::Present);
    let archived = lifecycle(IRELAND, "PolicyExecutionEvent", "transition", &['a'], 60);
    assert_eq!(place(&[push.clone(), archived], 'a', IRELAND).await.status, PlacementStatus::Archived);
    let unknown_action = lifecycle(IRELAND, "PolicyExecutionEvent", "vaporize", &['a'], 60);
    assert_eq!(place(&[push, unknown_action], 'a', IRELAND).await.status, PlacementStatus::Present);
}

#[tokio::test]
async fn the_same_record_from_the_bus_and_from_a_log_file_is_one_fact() {
    let event = lifecycle(IRELAND, "PolicyExecutionEvent", "expire", &['a'], 60);
    let record = domain::event::read_record(&event["detail"]).unwrap();
    assert_eq!(domain::event::read_value(&event).unwrap(), record);
}

#[tokio::test]
async fn an_archived_image_is_not_deleted_and_a_push_restores_it() {
    let archived = [push(IRELAND, 'a', Some("v1"), 0), storage_class(IRELAND, 'a', "ARCHIVE", 60)];
    let place_then = place(&archived, 'a', IRELAND).await;
    assert_eq!(place_then.status, PlacementStatus::Archived);
    assert_eq!(place_then.tags.len(), 1);
    for back in [storage_class(IRELAND, 'a', "STANDARD", 90), push(IRELAND, 'a', Some("v1"), 90)] {
        let events = [archived.as_slice(), &[back]].concat();
        assert_eq!(place(&events, 'a', IRELAND).await.status, PlacementStatus::Present);
    }
}

#[tokio::test]
async fn deleting_a_repository_deletes_its_images_in_every_view() {
    let store = Store::new().await;
    let gone = call(IRELAND, "DeleteRepository", 60, json!({"repositoryName": "team/app", "force": true}), Value::Null);
    let events = [
        push(IRELAND, 'a', Some("v1"), 0),
        replicate(IRELAND, VIRGINIA, 'a', Some("v1"), 5),
        gone,
        push(IRELAND, 'b', Some("v2"), 90),
    ];
    assert!(store.deliver(&events).await.is_empty());
    let places = store.whereabouts(&image('a')).await;
    assert_eq!(places[IRELAND].status, PlacementStatus::Absent);
    assert_eq!(places[IRELAND].deleted.clone().unwrap().cause, Cause::Repository { by: DANA.into() });
    assert!(places[VIRGINIA].orphan);
    assert_eq!(store.whereabouts(&image('b')).await[IRELAND].status, PlacementStatus::Present, "pushed after it");
    let orphans = store.table.orphans(&VIRGINIA.parse().unwrap(), PageBounds::ALL).await.unwrap().0;
    assert_eq!(orphans.len(), 1);
    let history = store.table.tag_history(&crate::lists::tag("v1")).await.unwrap();
    assert_eq!(
        history.iter().filter(|interval| interval.ended.is_some()).count(),
        1,
        "ended in Ireland only: {history:?}"
    );
}
