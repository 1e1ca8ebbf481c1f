use std::collections::BTreeSet;

use aws_sdk_ecr::types::TargetStorageClass;
use serde_json::{Map, Value, json};

use crate::sites::{
    APP, COPIED, IRELAND, Sites, TOKYO, VIRGINIA, allow, artifact, delete, digest, image, index, named, push,
    replicate, rule, tagged,
};

/// Asserts that one of our events has the same envelope fields as AWS's sample, and the same detail fields, apart from
/// additional ones in `besides`.
fn same_form(ours: &Value, sample: &str, besides: &[&str]) {
    let theirs: Value = serde_json::from_str(sample).unwrap();
    let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(ours), keys(&theirs));
    for field in ["version", "detail-type", "source"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    assert_eq!(ours["resources"].as_array().unwrap().len(), theirs["resources"].as_array().unwrap().len());
    assert_eq!(ours["time"].as_str().unwrap().len(), "2019-11-16T01:54:34Z".len());
    let mut detail: Map<String, Value> = ours["detail"].as_object().unwrap().clone();
    for field in besides {
        assert!(detail.remove(*field).is_some(), "{field}");
    }
    assert_eq!(keys(&detail.into()), keys(&theirs["detail"]));
    for field in ["result", "action-type", "target-storage-class"] {
        assert_eq!(ours["detail"].get(field), theirs["detail"].get(field), "{field}");
    }
}

/// AWS's samples, from the fixtures of the product's tests.
macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/fixtures/events/", $name, ".json"))
    };
}

/// The media type fields that real events have, but AWS's samples have not.
const MEDIA_TYPES: [&str; 2] = ["manifest-media-type", "artifact-media-type"];

#[tokio::test]
async fn every_event_has_the_form_of_awss_samples() {
    let sites = Sites::new().await;
    let (ireland, _) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    let mut seen = 0;
    replicate(&ireland, [rule(&[VIRGINIA, TOKYO], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED);
    let class = |manifest: &str, class| {
        ireland.update_image_storage_class().repository_name(APP).image_id(named(manifest)).target_storage_class(class)
    };
    let sbom = artifact(&image("a"), "text/sbom+json");
    let [push_event, copied, refused] = &sites.events(&mut seen)[..] else { panic!("three events") };
    same_form(push_event, sample!("push"), &MEDIA_TYPES);
    let (copied, refused) = if copied["detail"]["result"] == "SUCCESS" { (copied, refused) } else { (refused, copied) };
    same_form(copied, sample!("replication-success"), &[]);
    same_form(refused, sample!("replication-failed"), &[]);
    // The event is sent in the destination, not in the source.
    assert_eq!((&copied["account"], &copied["region"]), (&json!("111122223333"), &json!("us-east-1")));
    assert_eq!((&refused["account"], &refused["region"]), (&json!("444455556666"), &json!("ap-northeast-1")));
    assert_eq!(copied["resources"], json!(["arn:aws:ecr:us-east-1:111122223333:repository/team/app"]));
    let detail = &copied["detail"];
    assert_eq!((&detail["source-account"], &detail["source-region"]), (&json!("111122223333"), &json!("eu-west-1")));
    assert_eq!((&detail["image-digest"], &detail["image-tag"]), (&json!(digest(&image("a"))), &json!("v1")));

    push(&ireland, &sbom, None).await;
    class(&image("a"), TargetStorageClass::Archive).send().await.unwrap();
    class(&sbom, TargetStorageClass::Archive).send().await.unwrap();
    let events = sites.events(&mut seen);
    let archived = events.iter().find(|event| event["detail"]["target-storage-class"] == "ARCHIVE").unwrap();
    same_form(archived, sample!("archive"), &[]);
    for manifest in [&image("a"), &sbom] {
        class(manifest, TargetStorageClass::Standard).send().await.unwrap();
    }
    sites.pass(std::time::Duration::from_secs(1200));
    let restored: Vec<_> = sites
        .events(&mut seen)
        .into_iter()
        .filter(|event| event["detail"]["action-type"] == "UPDATE_STORAGE_CLASS")
        .collect();
    same_form(&restored[0], sample!("restore"), &[]);
    same_form(&restored[1], sample!("referrer-restore"), &[]);
    sites.pass(COPIED);
    sites.events(&mut seen);
    delete(&ireland, tagged("v1")).await;
    let [deleted] = &sites.events(&mut seen)[..] else { panic!("one event") };
    same_form(deleted, sample!("delete"), &MEDIA_TYPES);
    assert_eq!((&deleted["account"], &deleted["region"]), (&json!("111122223333"), &json!("eu-west-1")));
}

#[tokio::test]
async fn events_report_each_change_in_its_registry() {
    let sites = Sites::new().await;
    let (ireland, tokyo) = (sites.with_app(IRELAND).await, sites.ecr(TOKYO).await);
    let mut seen = 0;
    allow(&tokyo, "111122223333", &["ecr:*"]).await;
    replicate(&ireland, [rule(&[TOKYO], None)]).await;
    push(&ireland, &image("amd64"), None).await;
    push(&ireland, &index(&[&image("amd64")]), Some("v1")).await;
    push(&ireland, &index(&[&image("amd64")]), Some("latest")).await;
    sites.pass(COPIED);
    let mut description = sites.description(&mut seen);
    description.sort();
    let expected = [
        "ap-northeast-1 REPLICATE ",
        "ap-northeast-1 REPLICATE latest",
        "ap-northeast-1 REPLICATE v1",
        "eu-west-1 PUSH ",
        "eu-west-1 PUSH latest",
        "eu-west-1 PUSH v1",
    ];
    assert!(description.len() >= expected.len(), "{description:?}");
    description.dedup();
    assert_eq!(description, expected);
    delete(&ireland, tagged("latest")).await;
    assert_eq!(sites.description(&mut seen), ["eu-west-1 DELETE latest"]);
    push(&ireland, &index(&[&image("amd64")]), Some("latest")).await;
    sites.description(&mut seen);
    delete(&ireland, named(&index(&[&image("amd64")]))).await;
    assert_eq!(sites.description(&mut seen), ["eu-west-1 DELETE latest", "eu-west-1 DELETE v1"]);
    delete(&ireland, named(&image("amd64"))).await;
    assert_eq!(sites.description(&mut seen), ["eu-west-1 DELETE "]);
    // A refused deletion changes nothing, so it has no event.
    delete(&ireland, tagged("v1")).await;
    assert!(sites.description(&mut seen).is_empty());
}

#[tokio::test]
async fn cloudtrail_records_caller_request_and_response() {
    let sites = Sites::new().await;
    let ireland = sites.with_app(IRELAND).await;
    push(&ireland, &image("a"), Some("v1")).await;
    delete(&ireland, tagged("v1")).await;
    delete(&ireland, tagged("v1")).await;
    ireland.delete_repository().repository_name(APP).force(true).send().await.unwrap();
    let records: Vec<_> = sites
        .simulator
        .emitted(0)
        .into_iter()
        .map(|emitted| emitted.event)
        .filter(|event| event["detail-type"] == "AWS API Call via CloudTrail")
        .collect();
    let names: Vec<_> = records.iter().map(|record| record["detail"]["eventName"].as_str().unwrap()).collect();
    assert_eq!(names, ["CreateRepository", "PutImage", "BatchDeleteImage", "BatchDeleteImage", "DeleteRepository"]);
    let detail = &records[2]["detail"];
    assert_eq!(detail["userIdentity"]["arn"], "arn:aws:iam::111122223333:root");
    assert_eq!(detail["requestParameters"], json!({"repositoryName": APP, "imageIds": [{"imageTag": "v1"}]}));
    let deleted = json!([{"imageDigest": digest(&image("a")), "imageTag": "v1"}]);
    assert_eq!(detail["responseElements"], json!({"imageIds": deleted, "failures": []}));
    assert_eq!(detail["eventTime"], records[2]["time"]);
    assert_eq!(records[3]["detail"]["responseElements"]["failures"][0]["failureCode"], "ImageNotFound");
    let ids: std::collections::BTreeSet<_> =
        records.iter().map(|record| record["detail"]["eventID"].to_string()).collect();
    assert_eq!(ids.len(), records.len());
}
