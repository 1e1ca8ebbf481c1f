use std::time::Duration;

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

/// The images that a policy takes of a repository with these images: a letter, tags, and hours since the push.
async fn taken(images: &[(char, &[&str], u64)], rules: Value) -> String {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let mut images = images.to_vec();
    images.sort_by_key(|(_, _, hours)| std::cmp::Reverse(*hours));
    let mut last = images[0].2;
    for (letter, tags, hours) in &images {
        sites.pass(Duration::from_secs(3_600 * (last - hours)));
        last = *hours;
        push(&ecr, &image(&letter.to_string()), tags.first().copied()).await;
        for tag in tags.iter().skip(1) {
            push(&ecr, &image(&letter.to_string()), Some(tag)).await;
        }
    }
    sites.pass(Duration::from_secs(3_600 * last));
    let text = json!({"rules": rules}).to_string();
    ecr.start_lifecycle_policy_preview().repository_name(APP).lifecycle_policy_text(text).send().await.unwrap();
    sites.pass(Duration::from_secs(10));
    let preview = ecr.get_lifecycle_policy_preview().repository_name(APP).send().await.unwrap();
    let results: Vec<_> = preview.preview_results().iter().filter_map(|result| result.image_digest()).collect();
    let letters = images.iter().map(|(letter, ..)| *letter);
    let mut taken: Vec<_> =
        letters.filter(|letter| results.contains(&digest(&image(&letter.to_string())).as_str())).collect();
    taken.sort_unstable();
    assert_eq!(preview.summary().unwrap().expiring_image_total_count(), i32::try_from(taken.len()).ok());
    taken.into_iter().collect()
}

const DAYS: u64 = 24;

fn by_pattern(priority: u32, patterns: &[&str], count: Value) -> Value {
    let mut selection = json!({"tagStatus": "tagged", "tagPatternList": patterns});
    selection.as_object_mut().unwrap().extend(count.as_object().unwrap().clone());
    json!({"rulePriority": priority, "description": "a rule", "selection": selection, "action": {"type": "expire"}})
}

fn one() -> Value {
    json!({"countType": "imageCountMoreThan", "countNumber": 1})
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_examples.html>
#[tokio::test]
async fn the_six_examples_of_awss_page_end_as_it_says() {
    let multiple: [(char, &[&str], u64); 3] =
        [('A', &["beta-1", "prod-1"], 10 * DAYS), ('B', &["beta-2", "prod-2"], 9 * DAYS), ('C', &["beta-3"], 8 * DAYS)];
    let prod_first = json!([by_pattern(1, &["prod*"], one()), by_pattern(2, &["beta*"], one())]);
    assert_eq!(taken(&multiple, prod_first).await, "A", "multiple rules, example A");
    let beta_first = json!([by_pattern(1, &["beta*"], one()), by_pattern(2, &["prod*"], one())]);
    assert_eq!(taken(&multiple, beta_first).await, "AB", "multiple rules, example B");

    let old = json!({"countType": "sinceImagePushed", "countUnit": "days", "countNumber": 5});
    let several: [(char, &[&str], u64); 6] = [
        ('A', &["alpha-1"], 12 * DAYS),
        ('B', &["beta-1"], 11 * DAYS),
        ('C', &["alpha-2", "beta-2"], 10 * DAYS),
        ('D', &["alpha-3"], 4 * DAYS),
        ('E', &["beta-3"], 3 * DAYS),
        ('F', &["alpha-4", "beta-4"], 2 * DAYS),
    ];
    let both = json!([by_pattern(1, &["alpha*", "beta*"], old)]);
    assert_eq!(taken(&several, both).await, "C", "multiple tags in a single rule, example A");
    let not_exclusive: [(char, &[&str], u64); 3] = [
        ('A', &["alpha-1", "beta-1", "gamma-1"], 10 * DAYS),
        ('B', &["alpha-2", "beta-2"], 9 * DAYS),
        ('C', &["alpha-3", "beta-3", "gamma-2"], 8 * DAYS),
    ];
    let both = json!([by_pattern(1, &["alpha*", "beta*"], one())]);
    assert_eq!(taken(&not_exclusive, both).await, "AB", "multiple tags in a single rule, example B");

    let all: [(char, &[&str], u64); 4] =
        [('A', &["alpha-1"], 4 * DAYS), ('B', &["beta-1"], 3 * DAYS), ('C', &[], 2 * DAYS), ('D', &["alpha-2"], DAYS)];
    assert_eq!(taken(&all, json!([keep(1, 1, &[])])).await, "ABC", "all images, example A");
    // "1 day ago" is not older than one day.
    let every_kind: [(char, &[&str], u64); 5] = [
        ('A', &["alpha-1"], 4 * DAYS),
        ('B', &[], 3 * DAYS),
        ('C', &["alpha-2"], 2 * DAYS),
        ('D', &["githash"], DAYS),
        ('E', &[], DAYS - 1),
    ];
    let untagged =
        json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1});
    let rules = json!([
        by_pattern(1, &["alpha*"], one()),
        {"rulePriority": 2, "selection": untagged, "action": {"type": "expire"}},
        keep(3, 1, &[]),
    ]);
    assert_eq!(taken(&every_kind, rules).await, ["A", "B", "D"].concat(), "all images, example B");
}

#[tokio::test]
async fn a_policy_protects_what_its_first_rule_matches() {
    let images: [(char, &[&str], u64); 4] =
        [('A', &["prod-1"], 90 * DAYS), ('B', &["b-1"], 80 * DAYS), ('C', &["b-2"], 2 * DAYS), ('D', &["b-3"], DAYS)];
    let never = json!({"countType": "imageCountMoreThan", "countNumber": 9_999});
    assert_eq!(taken(&images, json!([by_pattern(1, &["prod*"], never), keep(2, 1, &[])])).await, "BC");
}

#[tokio::test]
async fn a_preview_is_of_the_given_policy_or_of_the_stored_one_and_changes_nothing() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let start = |text: Option<&str>| {
        ecr.start_lifecycle_policy_preview()
            .repository_name(APP)
            .set_lifecycle_policy_text(text.map(str::to_owned))
            .send()
    };
    let get = || ecr.get_lifecycle_policy_preview().repository_name(APP);
    assert_eq!(failed(get().send().await), "LifecyclePolicyPreviewNotFoundException");
    assert_eq!(failed(start(None).await), "LifecyclePolicyNotFoundException");
    assert_eq!(failed(start(Some("{}")).await), "InvalidParameterException");
    for number in 0..5 {
        push(&ecr, &image(&number.to_string()), (number > 0).then(|| format!("v{number}")).as_deref()).await;
        sites.pass(Duration::from_secs(60));
    }
    let text = json!({"rules": [keep(7, 1, &[])]}).to_string();
    assert_eq!(start(Some(&text)).await.unwrap().status().unwrap().as_str(), "IN_PROGRESS");
    assert_eq!(failed(start(Some(&text)).await), "LifecyclePolicyPreviewInProgressException");
    let early = get().send().await.unwrap();
    assert_eq!((early.status().unwrap().as_str(), early.preview_results().len()), ("IN_PROGRESS", 0));
    sites.pass(Duration::from_secs(10));
    let first = get().max_results(3).send().await.unwrap();
    assert_eq!((first.status().unwrap().as_str(), first.preview_results().len()), ("COMPLETE", 3));
    let second = get().set_next_token(first.next_token.clone()).send().await.unwrap();
    assert_eq!((second.preview_results().len(), second.next_token()), (1, None));
    let result = &first.preview_results()[0];
    assert_eq!(
        (result.applied_rule_priority(), result.action().unwrap().r#type().unwrap().as_str()),
        (Some(7), "EXPIRE")
    );
    let untagged = aws_sdk_ecr::types::LifecyclePolicyPreviewFilter::builder().tag_status("UNTAGGED".into()).build();
    assert_eq!(get().filter(untagged).send().await.unwrap().preview_results().len(), 1);
    let named = aws_sdk_ecr::types::ImageIdentifier::builder().image_tag("v2").build();
    assert_eq!(get().image_ids(named.clone()).send().await.unwrap().preview_results().len(), 1);
    assert_eq!(failed(get().image_ids(named).max_results(1).send().await), "InvalidParameterException");
    assert_eq!(images(&ecr).await.len(), 5, "nothing is deleted");
    sites.pass(DAY);
    assert_eq!(get().send().await.unwrap().status().unwrap().as_str(), "EXPIRED");
    put(&ecr, json!([keep(1, 4, &[])])).await;
    start(None).await.unwrap();
    sites.pass(Duration::from_secs(10));
    assert_eq!(get().send().await.unwrap().preview_results().len(), 1);
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
        sites.pass(Duration::from_secs(1));
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
