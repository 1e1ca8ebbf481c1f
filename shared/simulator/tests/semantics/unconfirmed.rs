//! Each test checks both answers to a question that AWS does not document; the default's answer is first.

use aws_sdk_ecr::types::{ImageIdentifier, ImageTagMutability, TargetStorageClass};
use serde_json::json;
use simulator::settings::{Settings, Unconfirmed};

use crate::sites::{
    APP, COPIED, DAY, IRELAND, Sites, TOKYO, VIRGINIA, allow, artifact, code, delete, digest, image, images, index,
    named, push, replicate, rule, set, tagged, tags,
};

async fn with(change: impl FnOnce(&mut Unconfirmed)) -> Sites {
    let mut unconfirmed = Unconfirmed::default();
    change(&mut unconfirmed);
    Sites::with(Settings { unconfirmed, ..Settings::default() }).await
}

/// The events of the deletion of one of two tags, and then of the digest.
async fn deletions(sites: &Sites) -> (Vec<String>, Vec<String>) {
    let ecr = sites.with_app(IRELAND).await;
    for tag in ["v1", "v2", "v3"] {
        push(&ecr, &image("a"), Some(tag)).await;
    }
    let mut seen = sites.simulator.emitted(0).last().unwrap().number;
    delete(&ecr, tagged("v1")).await;
    let of_tag = sites.description(&mut seen);
    delete(&ecr, named(&image("a"))).await;
    (of_tag, sites.description(&mut seen))
}

#[tokio::test]
async fn u1_u2_u3_which_events_a_deletion_emits() {
    let one = |tag: &str| format!("eu-west-1 DELETE {tag}");
    assert_eq!(deletions(&Sites::new().await).await, (vec![one("v1")], vec![one("v2"), one("v3")]));
    assert_eq!(deletions(&with(|u| u.tag_removal_emits_delete = false).await).await.0, Vec::<String>::new());
    assert_eq!(deletions(&with(|u| u.delete_per_tag = false).await).await.1, [one("")]);
    let absent = with(|u| (u.delete_per_tag, u.empty_tag_in_events) = (false, false)).await;
    assert_eq!(deletions(&absent).await.1, [one("-")]);
}

#[tokio::test]
async fn u4_u5_u20_which_events_an_indirect_deletion_emits() {
    let description = async |sites: Sites, by_lifecycle: bool| {
        let ecr = sites.with_app(IRELAND).await;
        push(&ecr, &image("a"), Some("v1")).await;
        push(&ecr, &artifact(&image("a"), "text/sbom+json"), None).await;
        let mut seen = sites.simulator.emitted(0).last().unwrap().number;
        if by_lifecycle {
            let selection = json!({"tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1});
            let policy = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
            ecr.put_lifecycle_policy()
                .repository_name(APP)
                .lifecycle_policy_text(policy.to_string())
                .send()
                .await
                .unwrap();
            sites.pass(DAY);
        } else {
            ecr.delete_repository().repository_name(APP).force(true).send().await.unwrap();
        }
        assert!(images(&ecr).await.is_empty());
        sites.description(&mut seen)
    };
    assert_eq!(description(Sites::new().await, true).await, ["eu-west-1 DELETE v1", "eu-west-1 DELETE "]);
    assert_eq!(description(with(|u| u.lifecycle_emits_delete = false).await, true).await, ["eu-west-1 DELETE "]);
    assert_eq!(
        description(with(|u| u.referrer_cleanup_emits_delete = false).await, true).await,
        ["eu-west-1 DELETE v1"]
    );
    assert!(description(Sites::new().await, false).await.is_empty());
    assert_eq!(description(with(|u| u.repository_deletion_emits_delete = true).await, false).await.len(), 2);
}

#[tokio::test]
async fn u6_what_a_tag_with_a_digest_deletes() {
    let left = async |sites: Sites| {
        let ecr = sites.with_app(IRELAND).await;
        for tag in ["v1", "v2"] {
            push(&ecr, &image("a"), Some(tag)).await;
        }
        delete(&ecr, ImageIdentifier::builder().image_tag("v1").image_digest(digest(&image("a"))).build()).await;
        tags(&ecr, &image("a")).await
    };
    assert_eq!(left(Sites::new().await).await, set(&["v2"]));
    assert_eq!(left(with(|u| u.tag_with_digest_removes_tag = false).await).await, None);
}

#[tokio::test]
async fn u7_u14_how_an_archived_image_is_found() {
    let found = async |sites: Sites| {
        let ecr = sites.with_app(IRELAND).await;
        push(&ecr, &image("a"), Some("v1")).await;
        let archive = ecr.update_image_storage_class().repository_name(APP).image_id(tagged("v1"));
        archive.target_storage_class(TargetStorageClass::Archive).send().await.unwrap();
        let described = ecr.describe_images().repository_name(APP).image_ids(tagged("v1")).send().await.is_ok();
        let pulled = ecr.batch_get_image().repository_name(APP).image_ids(tagged("v1")).send().await.unwrap();
        (described, code(&pulled.failures()[0]))
    };
    assert_eq!(found(Sites::new().await).await, (false, "ImageInaccessible".to_owned()));
    assert!(found(with(|u| u.active_default_applies_to_ids = false).await).await.0);
    assert_eq!(found(with(|u| u.archived_is_inaccessible = false).await).await.1, "ImageNotFound");
}

#[tokio::test]
async fn u8_u9_u12_which_events_a_copy_emits_and_where() {
    let description = async |sites: Sites| {
        let (ireland, tokyo) = (sites.with_app(IRELAND).await, sites.ecr(TOKYO).await);
        allow(&tokyo, "111122223333", &["ecr:*"]).await;
        push(&ireland, &image("amd64"), None).await;
        replicate(&ireland, [rule(&[TOKYO], None)]).await;
        push(&ireland, &index(&[&image("amd64")]), Some("v1")).await;
        let mut seen = sites.simulator.emitted(0).last().unwrap().number;
        sites.pass(COPIED);
        let events = sites.events(&mut seen);
        events
            .iter()
            .map(|event| {
                format!("{} {} {}", event["account"], event["detail"]["action-type"], event["detail"]["image-tag"])
                    .replace('"', "")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(description(Sites::new().await).await, ["444455556666 REPLICATE ", "444455556666 REPLICATE v1"]);
    assert_eq!(description(with(|u| u.children_emit_replicate = false).await).await, ["444455556666 REPLICATE v1"]);
    assert_eq!(description(with(|u| u.replica_emits_push = true).await).await.last().unwrap(), "444455556666 PUSH v1");
    assert_eq!(
        description(with(|u| u.replicate_in_destination_account = false).await).await[1],
        "111122223333 REPLICATE v1"
    );
}

#[tokio::test]
async fn u10_which_events_a_replicated_deletion_emits() {
    let description = async |sites: Sites| {
        let ireland = sites.with_app(IRELAND).await;
        let rules = json!({"replicationConfiguration": {"rules": [
            {"destinations": [{"region": "us-east-1", "registryId": "111122223333"}], "deleteReplication": {"enabled": true}}]}});
        sites.raw(IRELAND, "PutReplicationConfiguration", &rules);
        push(&ireland, &image("a"), Some("v1")).await;
        sites.pass(COPIED);
        delete(&ireland, tagged("v1")).await;
        let mut seen = sites.simulator.emitted(0).last().unwrap().number;
        sites.pass(COPIED);
        assert!(images(&sites.ecr(VIRGINIA).await).await.is_empty());
        sites.description(&mut seen)
    };
    assert_eq!(description(Sites::new().await).await, ["us-east-1 DELETE v1"]);
    assert!(description(with(|u| u.replicated_delete_emits_delete = false).await).await.is_empty());
}

#[tokio::test]
async fn u11_u13_type_and_fields_of_the_events_of_artifacts() {
    let description = async |sites: Sites| {
        let ecr = sites.with_app(IRELAND).await;
        push(&ecr, &artifact(&image("a"), "text/sbom+json"), None).await;
        let event = sites.events(&mut 0).remove(0);
        (event["detail-type"].as_str().unwrap().to_owned(), event["detail"].get("manifest-media-type").is_some())
    };
    assert_eq!(description(Sites::new().await).await, ("ECR Image Action".to_owned(), true));
    assert_eq!(description(with(|u| u.referrer_actions = true).await).await.0, "ECR Referrer Action");
    assert!(!description(with(|u| u.media_types_in_events = false).await).await.1);
}

#[tokio::test]
async fn u15_u23_whether_a_copy_without_permission_emits_an_event_with_a_code() {
    let description = async |sites: Sites| {
        let ireland = sites.with_app(IRELAND).await;
        replicate(&ireland, [rule(&[TOKYO], None)]).await;
        push(&ireland, &image("a"), Some("v1")).await;
        let mut seen = sites.simulator.emitted(0).last().unwrap().number;
        sites.pass(COPIED);
        let events = sites.events(&mut seen);
        events
            .iter()
            .map(|event| format!("{} {}", event["detail"]["result"], event["detail"]["failure-code"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(description(Sites::new().await).await, ["\"FAILED\" null"]);
    assert_eq!(
        description(with(|u| u.failed_replication_has_code = true).await).await,
        ["\"FAILED\" \"AccessDenied\""]
    );
    assert!(description(with(|u| u.denied_replication_emits_failed = false).await).await.is_empty());
}

#[tokio::test]
async fn u16_whether_a_copy_arrives_after_its_source_was_deleted() {
    let arrived = async |sites: Sites| {
        let ireland = sites.with_app(IRELAND).await;
        replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
        push(&ireland, &image("a"), Some("v1")).await;
        delete(&ireland, tagged("v1")).await;
        sites.pass(COPIED);
        tags(&sites.ecr(VIRGINIA).await, &image("a")).await
    };
    assert_eq!(arrived(with(|u| u.late_replica_takes_tag = true).await).await, set(&["v1"]));
    assert_eq!(arrived(with(|u| u.replication_survives_deletion = false).await).await, None);
}

#[tokio::test]
async fn u17_whether_the_event_of_an_untagged_copy_has_the_tag() {
    let description = async |sites: Sites| {
        let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.with_app(VIRGINIA).await);
        let immutable = ImageTagMutability::Immutable;
        virginia.put_image_tag_mutability().repository_name(APP).image_tag_mutability(immutable).send().await.unwrap();
        push(&virginia, &image("theirs"), Some("v1")).await;
        replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
        push(&ireland, &image("ours"), Some("v1")).await;
        let mut seen = sites.simulator.emitted(0).last().unwrap().number;
        sites.pass(COPIED);
        sites.description(&mut seen)
    };
    assert_eq!(description(Sites::new().await).await, ["us-east-1 REPLICATE v1"]);
    assert_eq!(description(with(|u| u.untagged_replica_event_has_tag = false).await).await, ["us-east-1 REPLICATE "]);
}

#[tokio::test]
async fn u18_whether_a_late_copy_takes_its_tag() {
    let late = async |sites: Sites| {
        let ireland = sites.with_app(IRELAND).await;
        replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
        push(&ireland, &image("old"), Some("latest")).await;
        push(&ireland, &image("new"), Some("latest")).await;
        sites.pass(COPIED);
        tags(&sites.ecr(VIRGINIA).await, &image("old")).await.is_some_and(|tags| tags.contains("latest"))
    };
    // The order in which the two copies arrive is random. Over many seeds both orders occur, and the setting decides.
    let mut stale = 0;
    for seed in 0..8 {
        let never = Unconfirmed { late_replica_takes_tag: false, ..Unconfirmed::default() };
        assert!(!late(Sites::with(Settings { seed, unconfirmed: never, ..Settings::default() }).await).await);
        stale += usize::from(late(Sites::with(Settings { seed, ..Settings::default() }).await).await);
    }
    assert!((1..8).contains(&stale), "{stale}");
}

#[tokio::test]
async fn u19_how_the_record_names_the_action_that_archives() {
    let description = async |sites: Sites| {
        let ecr = sites.with_app(IRELAND).await;
        push(&ecr, &image("a"), Some("v1")).await;
        let selection =
            json!({"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1});
        let action = json!({"type": "transition", "targetStorageClass": "archive"});
        let policy = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": action}]});
        ecr.put_lifecycle_policy().repository_name(APP).lifecycle_policy_text(policy.to_string()).send().await.unwrap();
        sites.pass(DAY);
        let event = sites.simulator.emitted(0).pop().unwrap().event;
        event["detail"]["serviceEventDetails"]["lifecycleEventPolicy"]["lifecycleEventRules"][0]["action"].clone()
    };
    assert_eq!(description(Sites::new().await).await, "transition");
    assert_eq!(description(with(|u| u.transition_in_policy_record = false).await).await, "archive");
}

#[tokio::test]
async fn u22_u24_what_a_rule_covers_and_when() {
    let copied = async |sites: Sites, prefix| {
        let ireland = sites.with_app(IRELAND).await;
        push(&ireland, &image("old"), Some("v1")).await;
        replicate(&ireland, [rule(&[VIRGINIA], Some(prefix))]).await;
        push(&ireland, &image("new"), Some("v2")).await;
        push(&ireland, &image("old"), Some("v3")).await;
        sites.pass(COPIED);
        images(&sites.ecr(VIRGINIA).await).await.len()
    };
    assert_eq!(copied(Sites::new().await, "tea").await, 2);
    assert_eq!(copied(with(|u| u.filters_are_text_prefixes = false).await, "tea").await, 0);
    assert_eq!(copied(with(|u| u.filters_are_text_prefixes = false).await, "team").await, 2);
    assert_eq!(copied(with(|u| u.new_tag_replicates = false).await, "team/").await, 1);
}
