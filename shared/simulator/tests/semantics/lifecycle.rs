use aws_sdk_ecr::types::TargetStorageClass;
use serde_json::{Value, json};

use crate::sites::{
    APP, COPIED, DAY, IRELAND, Sites, VIRGINIA, artifact, digest, failed, image, images, index, named, push, replicate,
    rule, set, tags,
};

async fn put(ecr: &aws_sdk_ecr::Client, rules: Value) {
    let text = json!({"rules": rules}).to_string();
    ecr.put_lifecycle_policy().repository_name(APP).lifecycle_policy_text(text).send().await.unwrap();
}

fn keep(priority: u32, count: u32, prefixes: &[&str]) -> Value {
    let status = if prefixes.is_empty() { "any" } else { "tagged" };
    let mut selection = json!({"tagStatus": status, "countType": "imageCountMoreThan", "countNumber": count});
    if !prefixes.is_empty() {
        selection["tagPrefixList"] = json!(prefixes);
    }
    json!({"rulePriority": priority, "description": "keep few", "selection": selection, "action": {"type": "expire"}})
}

#[tokio::test]
async fn a_policy_is_returned_as_it_was_put_and_an_invalid_one_is_refused() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let get = || ecr.get_lifecycle_policy().repository_name(APP).send();
    assert!(get().await.unwrap_err().into_service_error().is_lifecycle_policy_not_found_exception());
    let text = json!({"rules": [keep(1, 3, &[])]}).to_string();
    ecr.put_lifecycle_policy().repository_name(APP).lifecycle_policy_text(&text).send().await.unwrap();
    assert_eq!(get().await.unwrap().lifecycle_policy_text(), Some(text.as_str()));
    let odd = json!({"rules": [keep(1, 3, &[]), keep(1, 4, &[])]}).to_string();
    let refused = ecr.put_lifecycle_policy().repository_name(APP).lifecycle_policy_text(odd).send().await;
    assert_eq!(failed(refused), "InvalidParameterException");
}

#[tokio::test]
async fn the_newest_images_are_kept_and_one_rule_selects_each_image() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    for (name, tag) in [("a", "v1"), ("b", "v2"), ("c", "dev-1"), ("d", "v3"), ("e", "dev-2")] {
        push(&ecr, &image(name), Some(tag)).await;
        sites.pass(COPIED);
    }
    put(&ecr, json!([keep(1, 2, &["v"]), keep(2, 1, &["dev-"])])).await;
    sites.pass(DAY);
    let mut left: Vec<_> = images(&ecr).await.into_iter().flat_map(|image| image.image_tags.unwrap()).collect();
    left.sort();
    assert_eq!(left, ["dev-2", "v2", "v3"]);
}

#[tokio::test]
async fn old_images_expire_again_every_day() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let old = json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 3});
    put(&ecr, json!([{"rulePriority": 1, "selection": old, "action": {"type": "expire"}}])).await;
    push(&ecr, &image("untagged"), None).await;
    push(&ecr, &image("tagged"), Some("v1")).await;
    sites.pass(DAY * 2);
    assert_eq!(images(&ecr).await.len(), 2);
    sites.pass(DAY);
    assert_eq!(tags(&ecr, &image("untagged")).await, None);
    push(&ecr, &image("later"), None).await;
    sites.pass(DAY * 3);
    assert_eq!(images(&ecr).await.len(), 1);
}

#[tokio::test]
async fn an_index_expires_before_its_children_and_artifacts_after_their_subject() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let children = [image("amd64"), image("arm64")];
    let index = index(&[&children[0], &children[1]]);
    for child in &children {
        push(&ecr, child, None).await;
    }
    push(&ecr, &index, Some("v1")).await;
    push(&ecr, &artifact(&index, "text/sbom+json"), None).await;
    sites.pass(COPIED);
    push(&ecr, &image("newest"), Some("v2")).await;
    let untagged = json!({"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1});
    put(&ecr, json!([{"rulePriority": 1, "selection": untagged, "action": {"type": "expire"}}])).await;
    let mut seen = sites.simulator.emitted(0).last().unwrap().number;
    sites.pass(DAY);
    // An index refers to the children; the artifact is untagged as well, and the policy keeps one untagged image.
    assert!(tags(&ecr, &children[0]).await.is_some() && tags(&ecr, &children[1]).await.is_some());
    let record = sites
        .simulator
        .emitted(seen)
        .into_iter()
        .find(|one| one.event["detail"]["eventName"] == "PolicyExecutionEvent");
    let actions = record.unwrap().event["detail"]["serviceEventDetails"]["lifecycleEventImageActions"].clone();
    let codes: Vec<_> = actions.as_array().unwrap().iter().filter_map(|entry| entry["failureCode"].as_str()).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == "ImageReferencedByManifestList"), "{actions}");

    put(&ecr, json!([keep(1, 1, &[])])).await;
    sites.events(&mut seen);
    sites.pass(DAY);
    assert_eq!(images(&ecr).await.len(), 1);
    assert_eq!(tags(&ecr, &image("newest")).await, set(&["v2"]));
}

#[tokio::test]
async fn a_policy_can_archive_and_later_delete_what_it_archived() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    let pulled = json!({"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 2});
    let archived = json!({"tagStatus": "any", "storageClass": "archive", "countType": "sinceImageTransitioned",
        "countUnit": "days", "countNumber": 91});
    put(
        &ecr,
        json!([
        {"rulePriority": 1, "selection": pulled, "action": {"type": "transition", "targetStorageClass": "archive"}},
        {"rulePriority": 2, "selection": archived, "action": {"type": "expire"}}]),
    )
    .await;
    sites.pass(DAY * 2);
    assert_eq!(images(&ecr).await[0].image_status().unwrap().as_str(), "ARCHIVED");
    sites.pass(DAY * 90);
    assert_eq!(images(&ecr).await.len(), 1);
    sites.pass(DAY);
    assert!(images(&ecr).await.is_empty());
}

#[tokio::test]
async fn the_age_of_an_image_counts_from_its_restore() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    let class = |class| {
        ecr.update_image_storage_class().repository_name(APP).image_id(named(&image("a"))).target_storage_class(class)
    };
    class(TargetStorageClass::Archive).send().await.unwrap();
    sites.pass(DAY * 10);
    class(TargetStorageClass::Standard).send().await.unwrap();
    sites.pass(DAY);
    let old = json!({"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 5});
    put(&ecr, json!([{"rulePriority": 1, "selection": old, "action": {"type": "expire"}}])).await;
    sites.pass(DAY * 3);
    assert_eq!(images(&ecr).await.len(), 1);
    sites.pass(DAY * 3);
    assert!(images(&ecr).await.is_empty());
}

#[tokio::test]
async fn a_record_of_a_policy_run_has_at_most_ten_images() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    for number in 0..25 {
        push(&ecr, &image(&number.to_string()), Some(&format!("v{number}"))).await;
        sites.pass(std::time::Duration::from_secs(1));
    }
    put(&ecr, json!([keep(7, 2, &[])])).await;
    let seen = sites.simulator.emitted(0).last().unwrap().number;
    sites.pass(DAY);
    let emitted = sites.simulator.emitted(seen);
    let records: Vec<_> =
        emitted.iter().filter(|one| one.event["detail"]["eventName"] == "PolicyExecutionEvent").collect();
    assert_eq!(records.len(), 3);
    let first = &records[0].event;
    assert_eq!(first["detail-type"], "AWS Service Event via CloudTrail");
    assert_eq!(
        (&first["detail"]["readOnly"], &first["detail"]["eventType"]),
        (&json!(true), &json!("AwsServiceEvent"))
    );
    let details = &first["detail"]["serviceEventDetails"];
    assert_eq!(details["lifecycleEventPolicy"]["lifecycleEventRules"][0]["action"], "expire");
    let actions = details["lifecycleEventImageActions"].as_array().unwrap();
    assert_eq!((actions.len(), &actions[0]["rulePriority"]), (10, &json!(7)));
    assert_eq!(actions[0]["lifecycleEventImage"]["tagStatus"], "Tagged");
    let digests: std::collections::BTreeSet<_> = records
        .iter()
        .flat_map(|record| {
            record.event["detail"]["serviceEventDetails"]["lifecycleEventImageActions"].as_array().unwrap()
        })
        .map(|action| action["lifecycleEventImage"]["digest"].to_string())
        .collect();
    assert_eq!(digests.len(), 23);
    assert!(!digests.contains(&json!(digest(&image("24"))).to_string()));
}

#[tokio::test]
async fn an_expiry_is_replicated_only_by_delete_replication() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED);
    push(&ireland, &image("b"), Some("v2")).await;
    put(&ireland, json!([keep(1, 1, &[])])).await;
    sites.pass(DAY);
    assert_eq!((images(&ireland).await.len(), images(&virginia).await.len()), (1, 2));
    let switched = json!({"replicationConfiguration": {"rules": [
        {"destinations": [{"region": "us-east-1", "registryId": "111122223333"}], "deleteReplication": {"enabled": true}}]}});
    sites.raw(IRELAND, "PutReplicationConfiguration", &switched);
    push(&ireland, &image("c"), Some("v3")).await;
    sites.pass(DAY + COPIED);
    assert_eq!(tags(&virginia, &image("b")).await, None);
    assert_eq!(images(&virginia).await.len(), 2);
}
