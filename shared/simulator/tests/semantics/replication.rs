use std::time::Duration;

use aws_sdk_ecr::types::ImageTagMutability;
use jiff::SignedDuration;
use simulator::settings::{Lag, Settings};

use crate::sites::{
    APP, COPIED, IRELAND, OREGON, Sites, TOKYO, VIRGINIA, allow, artifact, copies, delete, failed, image, images,
    index, named, push, replicate, rule, set, tagged, tags,
};

#[tokio::test]
async fn a_push_is_copied_to_every_destination_of_the_rules_that_cover_it() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    ecr.create_repository().repository_name("teamwork").send().await.unwrap();
    ecr.create_repository().repository_name("other").send().await.unwrap();
    replicate(&ecr, [rule(&[VIRGINIA], Some("team")), rule(&[OREGON], Some("team/"))]).await;
    push(&ecr, &image("a"), Some("v1")).await;
    for name in ["teamwork", "other"] {
        ecr.put_image().repository_name(name).image_manifest(image("b")).send().await.unwrap();
    }
    assert_eq!(copies(&ecr, &image("a")).await, ["us-east-1 IN_PROGRESS", "us-west-2 IN_PROGRESS"]);
    sites.pass(COPIED);
    assert_eq!(copies(&ecr, &image("a")).await, ["us-east-1 COMPLETE", "us-west-2 COMPLETE"]);
    let repositories = async |registry| {
        let answer = sites.ecr(registry).await.describe_repositories().send().await.unwrap();
        answer.repositories.unwrap().into_iter().map(|one| one.repository_name.unwrap()).collect::<Vec<_>>()
    };
    // A filter is a plain text prefix: `team` also matches `teamwork`.
    assert_eq!(repositories(VIRGINIA).await, ["team/app", "teamwork"]);
    assert_eq!(repositories(OREGON).await, ["team/app"]);
    assert_eq!(tags(&sites.ecr(OREGON).await, &image("a")).await, set(&["v1"]));
}

#[tokio::test]
async fn an_image_older_than_the_rule_is_copied_when_it_is_pushed_again() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    push(&ireland, &image("old"), Some("v1")).await;
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &image("new"), Some("v2")).await;
    sites.pass(COPIED);
    assert_eq!(tags(&virginia, &image("old")).await, None);
    assert_eq!(tags(&virginia, &image("new")).await, set(&["v2"]));
    assert!(copies(&ireland, &image("old")).await.is_empty());
    // A new tag is a push; the tag from before the rule is not replicated with it.
    push(&ireland, &image("old"), Some("again")).await;
    sites.pass(COPIED);
    assert_eq!(tags(&virginia, &image("old")).await, set(&["again"]));
}

#[tokio::test]
async fn a_copy_is_not_replicated_further() {
    let sites = Sites::new().await;
    let (ireland, virginia, oregon) =
        (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await, sites.ecr(OREGON).await);
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    replicate(&virginia, [rule(&[OREGON, IRELAND], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED * 10);
    assert_eq!(tags(&virginia, &image("a")).await, set(&["v1"]));
    assert!(images(&oregon).await.is_empty());
    assert!(copies(&virginia, &image("a")).await.is_empty());
}

#[tokio::test]
async fn another_account_must_allow_the_copy_and_the_creation_of_its_repository() {
    let sites = Sites::new().await;
    let (ireland, tokyo) = (sites.with_app(IRELAND).await, sites.ecr(TOKYO).await);
    replicate(&ireland, [rule(&[TOKYO], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED);
    assert_eq!(copies(&ireland, &image("a")).await, ["ap-northeast-1 FAILED AccessDenied"]);
    allow(&tokyo, "111122223333", &["ecr:ReplicateImage"]).await;
    push(&ireland, &image("b"), Some("v2")).await;
    sites.pass(COPIED);
    assert_eq!(copies(&ireland, &image("b")).await, ["ap-northeast-1 FAILED RepositoryNotFound"]);
    allow(&tokyo, "111122223333", &["ecr:ReplicateImage", "ecr:CreateRepository"]).await;
    push(&ireland, &image("c"), Some("v3")).await;
    // Deleting the registry policy does not stop copies that are in progress.
    tokyo.delete_registry_policy().send().await.unwrap();
    sites.pass(COPIED);
    assert_eq!(copies(&ireland, &image("c")).await, ["ap-northeast-1 COMPLETE"]);
    assert_eq!(images(&tokyo).await.len(), 1);
}

#[tokio::test]
async fn the_repository_of_a_copy_has_default_settings() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    let immutable = ImageTagMutability::Immutable;
    ireland.put_image_tag_mutability().repository_name(APP).image_tag_mutability(immutable).send().await.unwrap();
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED);
    let answer = virginia.describe_repositories().send().await.unwrap();
    assert_eq!(answer.repositories()[0].image_tag_mutability(), Some(&ImageTagMutability::Mutable));
}

#[tokio::test]
async fn a_tag_that_cannot_move_leaves_the_copy_untagged() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.with_app(VIRGINIA).await);
    let immutable = ImageTagMutability::Immutable;
    virginia.put_image_tag_mutability().repository_name(APP).image_tag_mutability(immutable).send().await.unwrap();
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &image("a"), Some("latest")).await;
    sites.pass(COPIED);
    push(&ireland, &image("b"), Some("latest")).await;
    sites.pass(COPIED);
    assert_eq!(tags(&virginia, &image("a")).await, set(&["latest"]));
    assert_eq!(tags(&virginia, &image("b")).await, set(&[]));
    assert_eq!(copies(&ireland, &image("b")).await, ["us-east-1 COMPLETE"]);
}

#[tokio::test]
async fn an_index_arrives_with_its_children_and_artifacts_follow() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    let (amd64, arm64) = (image("amd64"), image("arm64"));
    let index = index(&[&amd64, &arm64]);
    for child in [&amd64, &arm64] {
        push(&ireland, child, None).await;
    }
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &index, Some("v1")).await;
    push(&ireland, &artifact(&index, "text/sbom+json"), None).await;
    sites.pass(COPIED);
    assert_eq!(images(&virginia).await.len(), 4);
    assert_eq!(tags(&virginia, &index).await, set(&["v1"]));
    assert_eq!(delete(&virginia, named(&amd64)).await.1, ["ImageReferencedByManifestList"]);
}

#[tokio::test]
async fn each_destination_has_a_lag_of_its_own() {
    let mut settings = Settings { lag: Lag::exactly(SignedDuration::from_secs(10)), ..Settings::default() };
    settings.lags.insert(OREGON.parse().unwrap(), Lag::exactly(SignedDuration::from_mins(45)));
    let sites = Sites::with(settings).await;
    let ireland = sites.with_app(IRELAND).await;
    replicate(&ireland, [rule(&[VIRGINIA, OREGON], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(Duration::from_secs(9));
    assert_eq!(copies(&ireland, &image("a")).await, ["us-east-1 IN_PROGRESS", "us-west-2 IN_PROGRESS"]);
    sites.pass(Duration::from_secs(1));
    assert_eq!(copies(&ireland, &image("a")).await, ["us-east-1 COMPLETE", "us-west-2 IN_PROGRESS"]);
    sites.pass(Duration::from_secs(45 * 60));
    assert_eq!(copies(&ireland, &image("a")).await, ["us-east-1 COMPLETE", "us-west-2 COMPLETE"]);
}

#[tokio::test]
async fn the_replication_status_is_deleted_with_the_image() {
    let sites = Sites::new().await;
    let ireland = sites.with_app(IRELAND).await;
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED);
    delete(&ireland, tagged("v1")).await;
    let asked = ireland.describe_image_replication_status().repository_name(APP).image_id(named(&image("a")));
    assert_eq!(failed(asked.send().await), "ImageNotFoundException");
    // Without native deletion replication, the replica is kept.
    sites.pass(COPIED);
    assert_eq!(tags(&sites.ecr(VIRGINIA).await, &image("a")).await, set(&["v1"]));
}

#[tokio::test]
async fn a_configuration_beyond_the_limits_is_refused() {
    let sites = Sites::new().await;
    let ecr = sites.ecr(IRELAND).await;
    let put = async |rules: Vec<_>| {
        let configuration =
            aws_sdk_ecr::types::ReplicationConfiguration::builder().set_rules(Some(rules)).build().unwrap();
        failed(ecr.put_replication_configuration().replication_configuration(configuration).send().await)
    };
    assert_eq!(put(vec![rule(&[IRELAND], None)]).await, "InvalidParameterException");
    assert_eq!(put(vec![rule(&["111122223333/cn-north-1"], None)]).await, "ValidationException");
    assert_eq!(put(vec![rule(&[VIRGINIA], None); 26]).await, "InvalidParameterException");
    let many: Vec<_> = (0..26).map(|number| format!("1111222233{number:02}/us-east-1")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(put(vec![rule(&many, None)]).await, "ValidationException");
    assert_eq!(put(vec![rule(&[VIRGINIA], Some("x"))]).await, "InvalidParameterException");
    let answer = ecr.describe_registry().send().await.unwrap();
    assert!(answer.replication_configuration().unwrap().rules().is_empty());
    replicate(&ecr, [rule(&many[..25], Some("team/"))]).await;
    let answer = ecr.describe_registry().send().await.unwrap();
    assert_eq!(answer.registry_id(), Some("111122223333"));
    assert_eq!(answer.replication_configuration().unwrap().rules(), [rule(&many[..25], Some("team/"))]);
}

#[tokio::test]
async fn delete_replication_deletes_tags_and_images_and_with_the_last_tag_all_tags() {
    let sites = Sites::new().await;
    let (ireland, virginia, oregon) =
        (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await, sites.ecr(OREGON).await);
    // The SDK does not support `deleteReplication` yet.
    let switched = serde_json::json!({"replicationConfiguration": {"rules": [
        {"destinations": [{"region": "us-east-1", "registryId": "111122223333"}], "deleteReplication": {"enabled": true}},
        {"destinations": [{"region": "us-west-2", "registryId": "111122223333"}], "deleteReplication": {"enabled": false}}]}});
    sites.raw(IRELAND, "PutReplicationConfiguration", &switched);
    let description = sites.raw(IRELAND, "DescribeRegistry", &serde_json::json!({}));
    assert_eq!(description["replicationConfiguration"], switched["replicationConfiguration"]);

    for tag in ["v1", "latest"] {
        push(&ireland, &image("a"), Some(tag)).await;
    }
    push(&ireland, &image("b"), Some("v2")).await;
    sites.pass(COPIED);
    push(&virginia, &image("a"), Some("only-here")).await;

    delete(&ireland, tagged("latest")).await;
    sites.pass(COPIED);
    assert_eq!(tags(&virginia, &image("a")).await, set(&["only-here", "v1"]));
    assert_eq!(tags(&oregon, &image("a")).await, set(&["latest", "v1"]));
    delete(&ireland, tagged("v1")).await;
    delete(&ireland, named(&image("b"))).await;
    sites.pass(COPIED);
    assert!(images(&virginia).await.is_empty());
    assert_eq!(images(&oregon).await.len(), 2);
}
