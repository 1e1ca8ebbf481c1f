use answers::{
    breakers::{self, ResetTerms},
    deletions::{self, Act, ManyDeletions},
};
use domain::{
    breaker::BreakerLimit,
    deletion::{CheckName, DeletionStatus, OperatorAction},
    plan::Mode,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{FOLLOW, Site, index_of, manifest, signature_of};
use crate::events::{IRELAND, TOKYO, VIRGINIA};

#[tokio::test]
async fn a_replica_is_deleted_after_the_grace_period() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    assert!(site.has(VIRGINIA, &image) && site.has(TOKYO, &image));
    site.delete_image(IRELAND, &image);
    site.pass(60).await;
    let pending = site.deletion(TOKYO, &image, None).await;
    assert_eq!(pending.status, DeletionStatus::Pending);
    assert_eq!(pending.due.unwrap().duration_since(pending.since).as_hours(), 24);
    assert_eq!(pending.policies.iter().collect::<Vec<_>>(), ["follow"]);
    site.pass(23 * 3600).await;
    assert!(site.has(TOKYO, &image));
    let summary = site.pass(3600).await;
    assert_eq!(summary.by_status.get("done"), Some(&2), "{summary:?}");
    assert!(!site.has(VIRGINIA, &image) && !site.has(TOKYO, &image));
    let done = site.deletion(TOKYO, &image, None).await;
    let checks: Vec<_> = done.checks.iter().map(|check| (check.check, check.passed)).collect();
    let names = [
        CheckName::Origin,
        CheckName::Native,
        CheckName::Source,
        CheckName::Replica,
        CheckName::Manifest,
        CheckName::Policy,
        CheckName::Grace,
        CheckName::Breaker,
        CheckName::Call,
    ];
    assert_eq!(checks, names.map(|name| (name, true)));
    // The lineage names the actor and the reason; the events of ecr-lineage's own deletion start no further deletion.
    site.a_day().await;
    let lineage = site.local.table.lineage(&image).await.unwrap();
    let tokyo = lineage.whereabouts().into_iter().find(|place| place.registry.to_string() == TOKYO).unwrap();
    assert_eq!(
        tokyo.deleted.unwrap().cause.to_string(),
        "by ecr-lineage, following 111122223333/eu-west-1 (policy follow)"
    );
    assert_eq!(site.local.table.image_record(&image).await.unwrap().deletions.len(), 2);
}

#[tokio::test]
async fn a_deleted_tag_is_deleted_at_the_replica_and_the_image_is_kept() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("stable"));
    site.arrive().await;
    assert_eq!(site.tags(TOKYO, &image).len(), 2);
    site.untag(IRELAND, "stable");
    site.a_day().await;
    assert_eq!(site.tags(TOKYO, &image), ["v1".to_owned()].into());
    assert_eq!(site.deletion(TOKYO, &image, Some("stable")).await.status, DeletionStatus::Done);
}

#[tokio::test]
async fn the_status_of_a_breaker_counts_in_the_window_of_mirror() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.limits.window = SignedDuration::from_hours(48);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(!site.has(TOKYO, &image));
    // More than a day later the deletion counts, and after two days it does not.
    let mut details = Vec::new();
    for hours in [30, 24] {
        site.pass(hours * 3600).await;
        let now = site.local.simulator.clock().now();
        let breakers = breakers::breakers(&site.local.table, None, now).await.unwrap().breakers;
        details.push(breakers.values().flat_map(|status| status.details.clone()).collect::<Vec<_>>());
    }
    let counted = |registry: &str| format!("1 image deleted in {registry} in 48 h (principals)");
    assert_eq!(details, [vec![counted(VIRGINIA), counted(TOKYO)], vec![]]);
}

#[tokio::test]
async fn the_counts_of_a_breaker_start_at_zero_after_its_reset() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.limits.principals = BreakerLimit { images: 2, percent: 100 };
    let images = ["a", "b", "c"].map(|name| site.push(IRELAND, &manifest(name), Some(name)));
    site.arrive().await;
    site.delete_image(IRELAND, &images[0]);
    site.delete_image(IRELAND, &images[1]);
    site.pass(600).await;
    site.delete_image(IRELAND, &images[2]);
    site.pass(24 * 3600 - 300).await;
    assert!(images[..2].iter().all(|image| !site.has(TOKYO, image)) && site.has(TOKYO, &images[2]));
    site.pass(600).await;
    let (status, why) = site.by_status(TOKYO, &images[2]).await;
    assert_eq!(status, DeletionStatus::Held, "{why}");
    // All of it is in one hour, so that what was counted before the reset would still count.
    let (source, now) = (IRELAND.parse().unwrap(), site.local.simulator.clock().now());
    let (version, terms) = (site.local.table.breaker(&source).await.unwrap().version, ResetTerms::default());
    breakers::reset(&site.local.table, &source, version, terms, "dana", now).await.unwrap();
    site.pass(60).await;
    let (status, why) = site.by_status(TOKYO, &images[2]).await;
    assert_eq!(status, DeletionStatus::Done, "{why}");
    let counts = site.local.table.breaker(&source).await.unwrap().counts;
    assert!(counts.values().all(|count| count.hours.values().sum::<u32>() == 1), "{counts:?}");
}

#[tokio::test]
async fn what_was_counted_before_the_window_counts_again_when_it_is_retried() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.limits.principals = BreakerLimit { images: 2, percent: 100 };
    site.local.mirror.mode = Mode::Observe;
    let names: Vec<_> = (0..6).map(|number| number.to_string()).collect();
    let images: Vec<_> = names.iter().map(|name| site.push(IRELAND, &manifest(name), Some(name))).collect();
    site.arrive().await;
    for some in images.chunks(2) {
        some.iter().for_each(|image| site.delete_image(IRELAND, image));
        site.a_day().await;
        site.a_day().await;
    }
    // Two a day were within the limit, and were kept, because nothing is deleted in this mode.
    for image in &images {
        assert_eq!(site.by_status(TOKYO, image).await.0, DeletionStatus::Kept);
    }
    site.a_day().await;
    site.local.mirror.mode = Mode::Enforce;
    let (table, now) = (site.local.table.clone(), site.local.simulator.clock().now());
    let act = Act { action: OperatorAction::Retry, by: "dana", reason: None, now };
    let planned = deletions::planned(&table, &ManyDeletions::default(), OperatorAction::Retry, now).await.unwrap();
    let acted = deletions::act_on_many(&table, planned, &act).await.unwrap();
    assert_eq!(acted.deletions.len(), 12);
    site.pass(60).await;
    // All at once are too many.
    assert!(images.iter().all(|image| site.has(TOKYO, image) && site.has(VIRGINIA, image)));
    assert!(table.breaker(&IRELAND.parse().unwrap()).await.unwrap().opened.is_some());
}

#[tokio::test]
async fn an_allowance_is_the_number_of_images_in_all_and_frees_nothing_that_an_operator_holds() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.limits.principals = BreakerLimit { images: 2, percent: 100 };
    let names: Vec<_> = (0..8).map(|number| number.to_string()).collect();
    let images: Vec<_> = names.iter().map(|name| site.push(IRELAND, &manifest(name), Some(name))).collect();
    site.arrive().await;
    for image in &images {
        site.delete_image(IRELAND, image);
    }
    site.pass(60).await;
    // One deletion is on hold by an operator, and the breaker puts the others on hold: 7 images in 2 registries.
    let (table, source) = (site.local.table.clone(), IRELAND.parse().unwrap());
    site.hold(&images[0].to_string(), None).await;
    site.a_day().await;
    let left = |site: &Site| {
        let has = |registry| images.iter().filter(|image| site.has(registry, image)).count();
        has(TOKYO) + has(VIRGINIA)
    };
    assert_eq!(left(&site), 16);
    let terms = ResetTerms { allow: Some(5), ignore_share: false };
    let preview = breakers::preview_reset(&table, &source, terms).await.unwrap();
    let held = preview.held.unwrap();
    assert_eq!((held.deletions, held.images, held.registries.len()), (14, 7, 2));
    assert_eq!(
        preview.held_by.iter().map(|held| held.deleted_by.as_str()).collect::<Vec<_>>(),
        ["by arn:aws:sts::111122223333:assumed-role/platform/dana"]
    );
    assert!(preview.consequences.contains(&"9 deletions stay on hold.".to_owned()), "{:?}", preview.consequences);
    // Another version of the breaker than the operator saw is not reset.
    let now = site.local.simulator.clock().now();
    let stale = breakers::reset(&table, &source, preview.version - 1, terms, "dana", now).await;
    assert!(matches!(stale, Err(answers::error::Error::Changed { .. })), "{stale:?}");
    let reset = breakers::reset(&table, &source, preview.version, terms, "dana", now).await.unwrap();
    assert_eq!(reset.released, 14);
    for seconds in [60, 60, 3_600, 22 * 3_600] {
        site.pass(seconds).await;
        assert_eq!(left(&site), 11, "5 images of 16, in all");
    }
    let breaker = table.breaker(&source).await.unwrap();
    assert!(breaker.opened.unwrap().why.starts_with("all 5 images that dana allowed"));
    let (status, why) = site.by_status(TOKYO, &images[0]).await;
    assert_eq!(status, DeletionStatus::Held);
    assert!(why.contains("is on hold by dana"), "{why}");
    // Open it stays, also when the window is over.
    site.a_day().await;
    assert_eq!(left(&site), 11);
}

#[tokio::test]
async fn an_allowance_is_spent_over_several_runs_and_ends_with_its_window() {
    let site = Site::new(FOLLOW).await;
    let names: Vec<_> = (0..13).map(|number| number.to_string()).collect();
    let images: Vec<_> = names.iter().map(|name| site.push(IRELAND, &manifest(name), Some(name))).collect();
    site.arrive().await;
    let gone = |site: &Site| {
        let gone = |registry| images.iter().filter(|image| !site.has(registry, image)).count();
        gone(TOKYO) + gone(VIRGINIA)
    };
    let (table, source) = (site.local.table.clone(), IRELAND.parse().unwrap());
    let reset = async |allow| {
        let (now, version) = (site.local.simulator.clock().now(), table.breaker(&source).await.unwrap().version);
        let terms = ResetTerms { allow: Some(allow), ignore_share: true };
        breakers::reset(&table, &source, version, terms, "dana", now).await.unwrap();
    };
    // Two images are due in one hour, and two in the next: 4 deletions each, in two registries.
    for some in [&images[..2], &images[2..4]] {
        some.iter().for_each(|image| site.delete_image(IRELAND, image));
        site.pass(3_600).await;
    }
    site.pass(20 * 3_600).await;
    reset(5).await;
    let mut after = Vec::new();
    for _ in 0..6 {
        site.pass(3_600).await;
        after.push(gone(&site));
    }
    after.dedup();
    assert_eq!(after, [0, 4, 5]);
    // What is due after the window is limited again.
    reset(50).await;
    images[4..].iter().for_each(|image| site.delete_image(IRELAND, image));
    site.a_day().await;
    assert_eq!(gone(&site), 8, "the three that were on hold went in the window");
    let why = table.breaker(&source).await.unwrap().opened.unwrap().why;
    assert!(why.contains("% of the repository; limit 10 %") || why.contains("repository size unknown"), "{why}");
}

#[tokio::test]
async fn a_reset_keeps_the_limit_of_the_share_unless_the_operator_says_otherwise() {
    for (ignore_share, done) in [(false, 0), (true, 12)] {
        let mut site = Site::new(FOLLOW).await;
        site.local.mirror.limits.principals = BreakerLimit { images: 100, percent: 50 };
        site.replicate(IRELAND, &[TOKYO], false);
        let names: Vec<_> = (0..13).map(|number| number.to_string()).collect();
        let images: Vec<_> = names.iter().map(|name| site.push(IRELAND, &manifest(name), Some(name))).collect();
        site.arrive().await;
        images[..12].iter().for_each(|image| site.delete_image(IRELAND, image));
        site.a_day().await;
        let (table, source) = (site.local.table.clone(), IRELAND.parse().unwrap());
        let breaker = table.breaker(&source).await.unwrap();
        let share = "team/app: 12 images in 24 h, 92 % of the repository; limit 50 % (deletions by principals)";
        assert_eq!(breaker.opened.unwrap().why, share);
        let (now, terms) = (site.local.simulator.clock().now(), ResetTerms { allow: Some(50), ignore_share });
        breakers::reset(&table, &source, breaker.version, terms, "dana", now).await.unwrap();
        site.pass(60).await;
        assert_eq!(images.iter().filter(|image| !site.has(TOKYO, image)).count(), done);
    }
}

#[tokio::test]
async fn nothing_is_deleted_in_observe_mode() {
    let mut site = Site::new(FOLLOW).await;
    site.local.mirror.mode = Mode::Observe;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    site.keeps(TOKYO, &image, "observe: would delete it now").await;
}

#[tokio::test]
async fn indexes_are_deleted_before_their_children_and_signatures_with_their_subject() {
    let site = Site::new(FOLLOW).await;
    let (amd64, arm64) = (manifest("amd64"), manifest("arm64"));
    let index = index_of(&[&amd64, &arm64]);
    let mut images = vec![site.push(IRELAND, &amd64, None), site.push(IRELAND, &arm64, None)];
    images.push(site.push(IRELAND, &index, Some("v1")));
    images.push(site.push(IRELAND, &signature_of(&index), None));
    site.arrive().await;
    assert!(images.iter().all(|image| site.has(TOKYO, image)));
    // ECR refuses to delete children before their index, so Ireland deletes in an order that works.
    for image in [2, 3, 0, 1] {
        site.delete(IRELAND, &[json!({"imageDigest": images[image].digest})]);
    }
    site.a_day().await;
    for image in &images {
        let (status, why) = site.by_status(TOKYO, image).await;
        assert!(!site.has(TOKYO, image), "{image}: {status:?} {why}");
    }
}

#[tokio::test]
async fn a_signature_stays_if_ecr_refuses_to_delete_its_subject() {
    let site = Site::new(FOLLOW).await;
    let child = manifest("child");
    let subject = site.push(IRELAND, &child, None);
    let signature = site.push(IRELAND, &signature_of(&child), None);
    site.arrive().await;
    // In Tokyo, the image becomes part of an index.
    site.push(TOKYO, &index_of(&[&child]), Some("theirs"));
    site.delete_image(IRELAND, &subject);
    site.delete_image(IRELAND, &signature);
    site.a_day().await;
    assert!(!site.has(VIRGINIA, &subject) && !site.has(VIRGINIA, &signature));
    assert!(site.has(TOKYO, &subject) && site.has(TOKYO, &signature));
    let (status, why) = site.by_status(TOKYO, &signature).await;
    assert_eq!(status, DeletionStatus::Pending, "{why}");
    assert!(why.starts_with("its subject ") && why.ends_with(" is still there"), "{why}");
}

#[tokio::test]
async fn a_policy_that_fails_to_evaluate_keeps_the_replica() {
    let policy = r#"
        @id("follow") permit (principal, action, resource);
        @id("overflows") forbid (principal, action, resource)
        when { (resource.sizeBytes + 9223372036854775807) * 2 > 0 };"#;
    let (site, image) = Site::with_loss(policy).await;
    site.a_day().await;
    site.keeps(TOKYO, &image, "a policy failed").await;
}

#[tokio::test]
async fn only_an_approved_deletion_is_executed() {
    let policy = r#"@id("ask") @approval("required") permit (principal, action, resource);"#;
    let (site, image) = Site::with_loss(policy).await;
    site.a_day().await;
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    let mut waiting = site.deletion(TOKYO, &image, None).await;
    assert_eq!(waiting.status, DeletionStatus::AwaitingApproval);
    let now = site.local.simulator.clock().now();
    waiting.act(OperatorAction::Approve, "dana", None, now).unwrap();
    site.local.table.put_deletion(&mut waiting).await.unwrap();
    site.pass(60).await;
    assert!(!site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    let done = site.deletion(TOKYO, &image, None).await;
    assert!(done.checks.iter().any(|check| check.check == CheckName::Approval && check.why.contains("dana")));
}

#[tokio::test]
async fn a_deletion_released_early_waits_for_its_grace_period() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    assert_eq!(site.hold("team/app", None).await.deletions, 2);
    assert_eq!(site.deletion(TOKYO, &image, None).await.status, DeletionStatus::Held);
    assert_eq!(site.release("team/app", "dana", false).await.unwrap().deletions, 2);
    site.pass(3600).await;
    assert!(site.has(TOKYO, &image));
    assert_eq!(site.deletion(TOKYO, &image, None).await.status, DeletionStatus::Pending);
    site.a_day().await;
    assert!(!site.has(TOKYO, &image));
}

#[tokio::test]
async fn the_last_tag_of_a_replica_is_kept() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("stable"));
    site.arrive().await;
    site.untag(TOKYO, "v1");
    site.untag(IRELAND, "stable");
    site.a_day().await;
    // Deleting the last tag would delete the replica, and Ireland still has the image.
    assert_eq!(site.tags(TOKYO, &image), ["stable".to_owned()].into());
    let kept = site.deletion(TOKYO, &image, Some("stable")).await;
    assert_eq!(kept.status, DeletionStatus::Kept);
    assert!(kept.checks.last().unwrap().why.contains("last tag"), "{kept:?}");
}

#[tokio::test]
async fn a_held_deletion_stays_on_hold_whatever_is_reported_later() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    site.hold(&image.to_string(), None).await;
    // Every event is delivered again, and the image is deleted again.
    let events: Vec<_> = site.local.simulator.emitted(0).iter().map(|emitted| emitted.event.to_string()).collect();
    assert!(crate::test_table::deliver(&site.local.table, events).await.is_empty());
    site.a_day().await;
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    assert_eq!(site.deletion(TOKYO, &image, None).await.status, DeletionStatus::Held);
}

#[tokio::test]
async fn the_last_copy_is_kept_if_the_policy_forbids_its_deletion() {
    let policy = r#"
        @id("follow") permit (principal, action, resource);
        @id("last-copy") forbid (principal, action, resource) when { context.otherCopies < 1 };"#;
    let (site, image) = Site::with_loss(policy).await;
    site.a_day().await;
    site.a_day().await;
    // Both were due in the same run, and each was the other one's last copy.
    assert!(site.has(TOKYO, &image) != site.has(VIRGINIA, &image));
}

#[tokio::test]
async fn an_archived_source_image_keeps_its_replicas() {
    let site = Site::new(r#"@id("at-once") @grace("0s") permit (principal, action, resource);"#).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("v2"));
    site.arrive().await;
    let archive = json!({"imageId": {"imageDigest": image.digest}, "targetStorageClass": "ARCHIVE"});
    site.call(IRELAND, "UpdateImageStorageClass", archive);
    // Events report both tags as deleted, but the image is still there.
    let event = |tag: &str| {
        let mut event = crate::events::delete(IRELAND, 'a', Some(tag), 0);
        event["time"] = json!("2026-11-02T09:02:00Z");
        event["detail"]["image-digest"] = json!(image.digest);
        event.to_string()
    };
    assert!(crate::test_table::deliver(&site.local.table, [event("v1"), event("v2")]).await.is_empty());
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
}
