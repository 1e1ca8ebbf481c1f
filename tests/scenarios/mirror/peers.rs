//! Mistakes that other tools make when they delete, one test each: the tool, and the issue or file that shows it.

use std::time::Duration;

use domain::deletion::DeletionStatus;
use serde_json::json;
use simulator::settings::{Settings, Unconfirmed};
use store::PageBounds;

use super::{FOLLOW, Site, index_of, interruptions::impatient, manifest, signature_of};
use crate::events::{IRELAND, TOKYO, VIRGINIA};

/// Harbor, `transfer/image/transfer.go`: the remote deletion checks that the tag exists, not which digest it points at.
#[tokio::test]
async fn harbor_deletes_a_tag_that_points_to_another_image_at_the_replica() {
    let site = Site::new(FOLLOW).await;
    let old = site.push(IRELAND, &manifest("old"), Some("v1"));
    site.push(IRELAND, &manifest("old"), Some("keep"));
    site.arrive().await;
    // In Tokyo, the tag is moved to another image.
    let other = site.push(TOKYO, &manifest("other"), Some("v1"));
    site.untag(IRELAND, "v1");
    site.a_day().await;
    assert_eq!(site.tags(TOKYO, &other), ["v1".to_owned()].into());
    assert_eq!(site.tags(TOKYO, &old), ["keep".to_owned()].into());
    assert_eq!(site.tags(VIRGINIA, &old), ["keep".to_owned()].into());
}

/// Harbor, `adapter/awsecr/adapter.go`: ignores the failures in a successful response of `BatchDeleteImage`, and passes
/// every reference as a tag. jogold/cloudstructs#276 has the same mistake.
#[tokio::test]
async fn harbor_treats_a_refused_deletion_as_done() {
    let site = Site::new(FOLLOW).await;
    let child = manifest("child");
    let image = site.push(IRELAND, &child, None);
    site.arrive().await;
    // In Tokyo, the image becomes part of an index, which is kept.
    site.push(TOKYO, &index_of(&[&child]), Some("theirs"));
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
    let refused = site.deletion(TOKYO, &image, None).await;
    assert_eq!(refused.status, DeletionStatus::Pending);
    assert!(refused.checks.last().unwrap().why.contains("ImageReferencedByManifestList"));
    // It is retried until it is kept for good, with the reason.
    for _ in 0..130 {
        site.pass(6 * 3600).await;
    }
    site.keeps(TOKYO, &image, "ImageReferencedByManifestList").await;
}

/// Harbor #21218: a tag deletion that failed once is never retried, even after the image is deleted.
#[tokio::test]
async fn harbor_never_retries_a_tag_deletion_that_failed() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.registries = impatient(&site.local.endpoint).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("stable"));
    site.arrive().await;
    site.untag(IRELAND, "stable");
    site.pass(60).await;
    site.local.simulator.set(|settings| settings.trouble.throttled = 1.0);
    site.pass(24 * 3600).await;
    assert_eq!(site.tags(TOKYO, &image).len(), 2);
    site.local.simulator.set(|settings| settings.trouble.throttled = 0.0);
    site.pass(3600).await;
    assert_eq!(site.tags(TOKYO, &image), ["v1".to_owned()].into());
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(!site.has(TOKYO, &image));
}

/// Harbor #9757: images that a retention policy deletes at the source are not deleted at the replicas.
#[tokio::test]
async fn harbor_does_not_mirror_deletions_by_retention_policies() {
    for emits_delete in [true, false] {
        let unconfirmed = Unconfirmed { lifecycle_emits_delete: emits_delete, ..Unconfirmed::default() };
        let policy = r#"@id("expiries") permit (principal, action == Action::"delete", resource)
            when { context.cause == "lifecycle" };"#;
        let site = Site::with(policy, Settings { unconfirmed, ..Settings::default() }).await;
        let old = site.push(IRELAND, &manifest("old"), Some("v1"));
        site.arrive().await;
        let new = site.push(IRELAND, &manifest("new"), Some("v2"));
        let selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1});
        let rules = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
        site.call(IRELAND, "PutLifecyclePolicy", json!({"lifecyclePolicyText": rules.to_string()}));
        for _ in 0..3 {
            site.a_day().await;
        }
        assert!(!site.has(IRELAND, &old));
        assert!(!site.has(TOKYO, &old) && !site.has(VIRGINIA, &old), "{emits_delete}");
        assert!(site.has(TOKYO, &new));
    }
}

/// Harbor #14812 requests that deletions of whole repositories are propagated. ecr-lineage never does that: the
/// replicas are kept, listed as orphans, and the reason is recorded, also if ECR sends an event for each image.
#[tokio::test]
async fn harbor_users_would_lose_a_repository_everywhere() {
    for emits_delete in [true, false] {
        let unconfirmed = Unconfirmed { repository_deletion_emits_delete: emits_delete, ..Unconfirmed::default() };
        let site = Site::with(FOLLOW, Settings { unconfirmed, ..Settings::default() }).await;
        let image = site.push(IRELAND, &manifest("a"), Some("v1"));
        site.arrive().await;
        site.call(IRELAND, "DeleteRepository", json!({"force": true}));
        site.a_day().await;
        assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
        let orphans = site.local.table.orphans(&TOKYO.parse().unwrap(), PageBounds::ALL).await.unwrap().0;
        assert_eq!(orphans.len(), 1);
        if emits_delete {
            site.keeps(TOKYO, &image, "repository").await;
        }
    }
}

/// What `autoDeleteImages` of CDK and a script do: they delete each image, and then the empty repository. The image was
/// deleted, not its repository, so its replicas follow.
#[tokio::test]
async fn an_image_that_was_deleted_before_its_empty_repository_is_mirrored() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.local.simulator.step(Duration::from_secs(600));
    site.local.deliver_now().await;
    site.call(IRELAND, "DeleteRepository", json!({}));
    site.a_day().await;
    assert!(!site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
    let shown = site.local.table.lineage(&image).await.unwrap().whereabouts();
    let cause = shown.iter().find(|place| place.registry.to_string() == IRELAND).unwrap().deleted.as_ref().unwrap();
    assert_eq!(cause.cause_text, "by arn:aws:sts::111122223333:assumed-role/platform/dana");
}

/// Harbor #3959: if a digest has two tags, deleting one of them deletes both.
#[tokio::test]
async fn harbor_deletes_an_image_with_one_of_its_tags() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("v1-rc"));
    site.arrive().await;
    site.untag(IRELAND, "v1-rc");
    site.a_day().await;
    assert_eq!(site.tags(VIRGINIA, &image), ["v1".to_owned()].into());
    assert_eq!(site.tags(TOKYO, &image), ["v1".to_owned()].into());
}

/// Harbor #12568, #19495: a deletion by digest is refused because the manifest still has a tag.
#[tokio::test]
async fn harbor_cannot_delete_an_image_that_still_has_tags() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("v1.0"));
    site.push(IRELAND, &manifest("a"), Some("v1.0.0"));
    site.arrive().await;
    assert_eq!(site.tags(TOKYO, &image).len(), 3);
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(!site.has(TOKYO, &image));
}

/// Harbor #4256, awslabs/ecr-cleanup-lambda#11: a deletion of more than 100 images at once fails.
#[tokio::test]
async fn harbor_fails_to_delete_more_than_a_hundred_images() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.limits.principals.images = 1_000;
    site.local.mirror.limits.principals.percent = 100;
    let images: Vec<_> = (0..230)
        .map(|number| site.push(IRELAND, &manifest(&number.to_string()), Some(&format!("v{number}"))))
        .collect();
    site.arrive().await;
    let ids: Vec<_> = images.iter().map(|image| json!({"imageDigest": image.digest})).collect();
    site.delete(IRELAND, &ids);
    site.pass(60).await;
    let before = site.local.mirror.registries.calls();
    site.pass(24 * 3600).await;
    assert!(images.iter().all(|image| !site.has(TOKYO, image) && !site.has(VIRGINIA, image)));
    // Rules of 3 registries, 3 reads of each replica registry, 1 list of the source, 3 deletions at each replica
    // registry.
    assert_eq!(site.local.mirror.registries.calls() - before, 3 + 2 * 3 + 1 + 2 * 3);
}

/// Harbor #9168: an image that was cleaned up is not replicated when it is pushed again, or is deleted again.
#[tokio::test]
async fn harbor_deletes_an_image_that_was_pushed_again() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(12 * 3600).await;
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.a_day().await;
    site.keeps(TOKYO, &image, "has it").await;
    // A later deletion at the source is a new deletion.
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(!site.has(TOKYO, &image));
}

/// awslabs/ecr-cleanup-lambda: an image tagged `release-1.0` and `abc123` was deleted although `release` was ignored,
/// because each tag was evaluated alone.
#[tokio::test]
async fn ecr_cleanup_lambda_deletes_an_image_with_a_protected_and_another_tag() {
    let policy = r#"
        @id("follow") permit (principal, action, resource);
        @id("releases") forbid (principal, action in [Action::"delete", Action::"archive"], resource)
        when { resource.tagLine like "* release-*" };"#;
    let site = Site::new(policy).await;
    let release = site.push(IRELAND, &manifest("a"), Some("release-1.0"));
    site.push(IRELAND, &manifest("a"), Some("abc123"));
    let other = site.push(IRELAND, &manifest("b"), Some("not-a-release-1.0"));
    site.arrive().await;
    site.delete_image(IRELAND, &release);
    site.delete_image(IRELAND, &other);
    site.a_day().await;
    site.keeps(TOKYO, &release, "forbidden by releases").await;
    assert!(!site.has(TOKYO, &other));
}

/// awslabs/ecr-cleanup-lambda: every untagged image is deleted, including the children of multi-arch images.
#[tokio::test]
async fn ecr_cleanup_lambda_deletes_the_children_of_an_index_that_is_kept() {
    let policy = r#"
        @id("follow") permit (principal, action, resource);
        @id("releases") forbid (principal, action, resource) when { resource.tagLine like "* v*" };"#;
    let site = Site::new(policy).await;
    let child = manifest("child");
    let image = site.push(IRELAND, &child, None);
    let index = site.push(IRELAND, &index_of(&[&child]), Some("v1"));
    site.arrive().await;
    site.delete_image(IRELAND, &index);
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(site.has(TOKYO, &index) && site.has(TOKYO, &image));
}

/// The same for signatures: a kept image keeps its signatures.
#[tokio::test]
async fn ecr_lifecycle_policies_delete_the_signature_of_an_image_that_is_kept() {
    let policy = r#"
        @id("follow") permit (principal, action, resource);
        @id("releases") forbid (principal, action, resource) when { resource.tagLine like "* v*" };"#;
    let site = Site::new(policy).await;
    let subject = site.push(IRELAND, &manifest("a"), Some("v1"));
    let signature = site.push(IRELAND, &signature_of(&manifest("a")), None);
    site.arrive().await;
    site.delete_image(IRELAND, &subject);
    site.delete_image(IRELAND, &signature);
    site.a_day().await;
    assert!(site.has(TOKYO, &subject) && site.has(TOKYO, &signature));
    let waiting = site.deletion(TOKYO, &signature, None).await;
    assert!(waiting.checks.last().unwrap().why.contains("still there"), "{waiting:?}");
}

/// techservicesillinois/aws-partition-ecr-replicate, README: "fast changes may arrive out of order"; if an image is
/// deleted and pushed again a moment later, the deletion removes it for good.
#[tokio::test]
async fn aws_partition_ecr_replicate_deletes_an_image_that_was_pushed_again_at_once() {
    let policy = r#"@id("at-once") @grace("0s") permit (principal, action, resource);"#;
    let (site, image) = Site::with_loss(policy).await;
    site.push(IRELAND, &manifest("a"), Some("v1"));
    // The deletion's event arrives last.
    let events = site.local.simulator.emitted(0);
    site.pass(120).await;
    let deletion = events.iter().find(|emitted| emitted.event["detail"]["action-type"] == "DELETE").unwrap();
    assert!(crate::test_table::deliver(&site.local.table, [deletion.event.to_string()]).await.is_empty());
    site.pass(60).await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
}

/// ECR's native deletion replication: if the source loses its last tag, all tags of the replica are deleted, also those
/// that the source never had.
#[tokio::test]
async fn ecr_itself_deletes_tags_that_the_source_never_had() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    // Not a push of the image: a tag that only Tokyo has, put on it before the replication event was recorded.
    site.push(TOKYO, &manifest("a"), Some("deployed"));
    site.untag(IRELAND, "v1");
    site.a_day().await;
    assert_eq!(site.tags(TOKYO, &image), ["deployed".to_owned(), "v1".to_owned()].into());
    assert!(!site.has(VIRGINIA, &image));
}

/// ECR's native deletion replication cannot be restricted by a policy. Where it is enabled, ecr-lineage deletes nothing
/// in addition.
#[tokio::test]
async fn ecr_itself_deletes_replicas_and_we_delete_nothing_in_addition() {
    let site = Site::new(FOLLOW).await;
    site.replicate(IRELAND, &[VIRGINIA], true);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    // ECR's replication of the deletion takes longer than the grace period.
    let slow = simulator::settings::Lag::exactly(jiff::SignedDuration::from_hours(48));
    site.local.simulator.set(|settings| settings.lag = slow);
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    site.keeps(VIRGINIA, &image, "rule 1 of 111122223333/eu-west-1 has ECR replicate deletions itself").await;
    site.a_day().await;
    assert!(!site.has(VIRGINIA, &image));
}

/// It also forwards deletions: one in Tokyo, whose own rule has the setting enabled, would be repeated in Virginia.
#[tokio::test]
async fn ecr_itself_would_forward_our_deletion() {
    let site = Site::new(FOLLOW).await;
    site.replicate(TOKYO, &[VIRGINIA], true);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    site.keeps(TOKYO, &image, "rule 1 of 444455556666/ap-northeast-1 would make ECR delete it in other registries")
        .await;
}

/// Cloud Custodian stops a run that would affect too many resources before any action (`max-resources`); of the tools
/// compared here, it is the only one.
#[tokio::test]
async fn most_tools_mirror_a_script_that_deletes_everything() {
    let site = Site::new(FOLLOW).await;
    let images: Vec<_> = (0..101).map(|number| site.push(IRELAND, &manifest(&number.to_string()), None)).collect();
    site.arrive().await;
    let ids: Vec<_> = images.iter().map(|image| json!({"imageDigest": image.digest})).collect();
    site.delete(IRELAND, &ids);
    site.a_day().await;
    assert!(images.iter().all(|image| site.has(TOKYO, image) && site.has(VIRGINIA, image)));
    let (status, why) = site.by_status(TOKYO, &images[0]).await;
    assert_eq!(status, DeletionStatus::Held);
    assert!(why.contains("the breaker of 111122223333/eu-west-1"), "{why}");
    let now = site.local.simulator.clock().now();
    let alerts = site.local.table.alerts(now).await.unwrap();
    assert_eq!(alerts.iter().filter(|alert| alert.kind == domain::alert::AlertKind::BreakerOpened).count(), 1);
}
