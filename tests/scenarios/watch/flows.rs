use domain::{
    alert::{Alert, AlertState},
    expectation::ReplicationExpectation,
    fact::{StorageClass, What},
    lineage::PlacementStatus,
};
use serde_json::json;

use simulator::settings::{Settings, Unconfirmed};

use super::site;
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    mirror::manifest,
};

#[tokio::test]
async fn copies_that_arrive_cost_no_call_and_no_alert() {
    let site = site(Settings::default()).await;
    // Waits until the settings have been read again.
    site.minutes(30).await;
    let calls = site.ecr_calls();
    let (reads, writes) = site.local.watch.table.units();
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("b"), None);
    site.minutes(32).await;
    let after = site.local.watch.table.units();
    assert!(site.expectations(&image).await.iter().all(|expectation| expectation.due.is_none()));
    assert_eq!(site.ecr_calls(), calls);
    assert_eq!(site.alerts().await, []);
    // Of 32 runs, each takes and releases its lease: `record` learned that the copies arrived.
    assert_eq!(after.1 - writes, 32.0 * 2.0);
    assert!(after.0 - reads <= 32.0 * 11.0, "{}", after.0 - reads);
}

#[tokio::test]
async fn a_late_copy_is_alerted_once_and_resolved_when_it_arrives() {
    let site = site(Settings::default()).await;
    site.lag(TOKYO, 47);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(29).await;
    assert_eq!(site.alerts().await, []);
    site.minutes(2).await;
    assert_eq!(site.notified().await, [("replication_late", AlertState::Opened, 1, TOKYO.to_owned())]);
    site.minutes(40).await;
    let late = |state| ("replication_late", state, 1, TOKYO.to_owned());
    assert_eq!(site.notified().await, [late(AlertState::Opened), late(AlertState::Resolved)]);
    let resolved = site.alerts().await.pop().unwrap();
    assert!(resolved.message.contains("all have arrived"), "{}", resolved.message);
    assert!(site.expectations(&image).await.iter().all(|expectation| expectation.due.is_none()));
    assert_eq!(site.local.table.incidents().await.unwrap(), []);
}

#[tokio::test]
async fn an_incident_names_the_repositories_of_its_images() {
    let site = site(Settings::default()).await;
    site.call_for("team/web", IRELAND, "CreateRepository", json!({}));
    site.lag(TOKYO, 47);
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(31).await;
    site.call_for("team/web", IRELAND, "PutImage", json!({"imageManifest": manifest("b"), "imageTag": "v1"}));
    // The second alert repeats the incident after an hour; the copies of the first image arrive before.
    site.lag(TOKYO, 300);
    site.push(IRELAND, &manifest("c"), Some("v2"));
    site.minutes(120).await;
    let named = |alert: &Alert| alert.repositories.iter().map(ToString::to_string).collect::<Vec<_>>();
    let alerts: Vec<_> = site.alerts().await.iter().filter(|alert| alert.kind.is_ongoing()).map(named).collect();
    assert_eq!(alerts.first().unwrap(), &["team/app"]);
    assert_eq!(alerts.last().unwrap(), &["team/app", "team/web"]);
}

#[tokio::test]
async fn a_failed_copy_is_alerted_at_once_with_its_usual_cause_and_one_call_reads_all_destinations() {
    let site = site(Settings::default()).await;
    let deny =
        json!({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "ecr:ReplicateImage", "Resource": "*"}]});
    site.call(TOKYO, "PutRegistryPolicy", json!({"policyText": deny.to_string()}));
    let calls = site.ecr_calls();
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(2).await;
    assert_eq!(site.notified().await, [("replication_failed", AlertState::Opened, 1, TOKYO.to_owned())]);
    let alert = site.alerts().await.pop().unwrap();
    let refusal = "AccessDenied: the registry policy of 444455556666/ap-northeast-1 does not allow ecr:ReplicateImage";
    assert!(alert.message.ends_with(refusal), "{}", alert.message);
    assert_eq!(site.ecr_calls(), calls + 1);
    // An operator fixes the cause, and ECR's backfill replicates the missing image.
    let allow = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
    site.call(TOKYO, "PutRegistryPolicy", json!({"policyText": allow.to_string()}));
    let (account, region) = TOKYO.split_once('/').unwrap();
    let destination = json!({"region": region, "registryId": account});
    site.call(IRELAND, "StartReplicationBackfill", json!({"destination": destination}));
    site.minutes(60).await;
    let failed = |state| ("replication_failed", state, 1, TOKYO.to_owned());
    assert_eq!(site.notified().await, [failed(AlertState::Opened), failed(AlertState::Resolved)]);
}

#[tokio::test]
async fn alerts_of_a_stuck_copy_become_rarer_and_end_after_two_weeks() {
    let site = site(Settings::default()).await;
    site.trouble("stuck=100");
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(40).await;
    let calls = site.ecr_calls();
    for _ in 0..24 * 16 {
        site.watch(3600).await;
    }
    let notified = site.notified().await;
    let to_tokyo: Vec<_> = notified.iter().filter(|(.., to)| to == TOKYO).map(|(_, state, ..)| *state).collect();
    let reminders = to_tokyo.iter().filter(|state| **state == AlertState::Open).count();
    assert_eq!((to_tokyo.first(), to_tokyo.last()), (Some(&AlertState::Opened), Some(&AlertState::Resolved)));
    assert!((10..=20).contains(&reminders), "{reminders}");
    assert_eq!(to_tokyo.len(), reminders + 2);
    // The settings of three registries are read every hour; the copy is checked again after an eighth of its age.
    let questions = site.ecr_calls() - calls - 3 * 24 * 16;
    assert!((40..=150).contains(&questions), "{questions}");
    assert!(site.alerts().await.pop().unwrap().message.contains("none is expected any more"));
}

#[tokio::test]
async fn a_copy_whose_event_was_lost_is_recorded_without_an_alert() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.watch(1).await;
    site.trouble("lost=100");
    site.minutes(1).await;
    site.trouble("lost=0");
    let before = site.local.table.lineage(&image).await.unwrap();
    assert_eq!(before.placements.len(), 1);
    site.minutes(31).await;
    let lineage = site.local.table.lineage(&image).await.unwrap();
    for registry in [VIRGINIA, TOKYO] {
        let placement = &lineage.placements[&registry.parse().unwrap()];
        assert_eq!(placement.status(), PlacementStatus::Present);
        assert_eq!(placement.current_tags().into_iter().map(ToString::to_string).collect::<Vec<_>>(), ["v1"]);
        let (source, at) = placement.replicated().into_iter().next().unwrap();
        assert_eq!(source.to_string(), IRELAND);
        // The arrival time, not the time at which `watch` found the image.
        assert!(site.now().duration_since(at).as_mins() >= 30, "{at}");
    }
    let seen = lineage.facts.iter().filter(|fact| {
        matches!(&fact.what, What::Observed { storage: Some(StorageClass::Standard), source: Some(_), .. })
    });
    assert_eq!(seen.count(), 2);
    assert_eq!(site.alerts().await, []);
}

#[tokio::test]
async fn a_tag_that_was_pushed_to_a_replica_is_not_attributed_to_its_source() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.watch(1).await;
    site.trouble("lost=100");
    site.minutes(1).await;
    site.push(TOKYO, &manifest("a"), Some("mine"));
    site.minutes(1).await;
    site.trouble("lost=0");
    // The lineage now has its registries and tags.
    site.minutes(31).await;
    let lineage = site.local.table.lineage(&image).await.unwrap();
    assert_eq!(lineage.placements[&TOKYO.parse().unwrap()].current_tags().len(), 2);
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(!site.has(VIRGINIA, &image));
    site.keeps(TOKYO, &image, "has tags that its source never had (mine)").await;
}

#[tokio::test]
async fn a_copy_that_never_began_is_alerted() {
    let site = site(Settings::default()).await;
    site.trouble("missing=100");
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(31).await;
    let notified: Vec<_> =
        site.notified().await.into_iter().map(|(kind, state, count, _)| (kind, state, count)).collect();
    assert_eq!(
        notified,
        [("replication_missing", AlertState::Opened, 1), ("replication_missing", AlertState::Opened, 1)]
    );
    let alert = site.alerts().await.pop().unwrap();
    assert!(alert.message.contains("the rule for every repository replicates it to"), "{}", alert.message);
}

#[tokio::test]
async fn a_copy_of_an_image_pushed_before_its_rule_is_not_expected() {
    let site = site(Settings::default()).await;
    site.call(IRELAND, "PutReplicationConfiguration", json!({"replicationConfiguration": {"rules": []}}));
    site.minutes(1).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(1).await;
    // No rule replicates from there, so no item is written.
    assert_eq!(site.expectations(&image).await, []);
    // This image may be replicated, because the rule may be older than its recorded push.
    site.push(IRELAND, &manifest("b"), Some("v2"));
    site.replicate(IRELAND, &[VIRGINIA], false);
    site.minutes(70).await;
    assert_eq!(site.alerts().await, []);
}

#[tokio::test]
async fn the_same_problem_with_many_images_is_one_alert() {
    let site = site(Settings::default()).await;
    site.trouble("failed=100");
    for number in 0..30 {
        site.push(IRELAND, &manifest(&format!("image {number}")), Some(&format!("v{number}")));
    }
    site.trouble("failed=0");
    site.minutes(5).await;
    let notified = site.notified().await;
    let failed = |to: &str| ("replication_failed", AlertState::Opened, 30, to.to_owned());
    assert_eq!(notified, [failed(VIRGINIA), failed(TOKYO)]);
    assert!(site.alerts().await[0].message.contains("29 more"), "{:?}", site.alerts().await);
}

#[tokio::test]
async fn a_late_copy_of_an_image_that_was_deleted_is_not_expected_any_more() {
    let site = site(Settings::default()).await;
    site.lag(TOKYO, 300);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(32).await;
    site.delete_image(IRELAND, &image);
    site.minutes(20).await;
    let late = |state| ("replication_late", state, 1, TOKYO.to_owned());
    assert_eq!(site.notified().await, [late(AlertState::Opened), late(AlertState::Resolved)]);
}

#[tokio::test]
async fn a_replica_that_arrived_without_its_tag_is_alerted() {
    let unconfirmed = Unconfirmed { untagged_replica_event_has_tag: false, ..Unconfirmed::default() };
    let site = site(Settings { unconfirmed, ..Settings::default() }).await;
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(2).await;
    site.call(TOKYO, "PutImageTagMutability", json!({"imageTagMutability": "IMMUTABLE"}));
    let image = site.push(IRELAND, &manifest("b"), Some("v1"));
    site.minutes(31).await;
    assert_eq!(site.notified().await, [("replica_untagged", AlertState::Opened, 1, TOKYO.to_owned())]);
    assert!(site.has(TOKYO, &image) && site.tags(TOKYO, &image).is_empty());
}

#[tokio::test]
async fn a_replica_without_a_tag_that_moved_at_its_source_is_not_alerted() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.watch(1).await;
    // No event reports the copies, the push that takes the tag, or the copies of that push.
    site.trouble("lost=100");
    site.minutes(2).await;
    site.push(IRELAND, &manifest("b"), Some("v1"));
    site.minutes(40).await;
    assert!(site.has(TOKYO, &image) && site.tags(TOKYO, &image).is_empty());
    assert_eq!(site.alerts().await, []);
}

#[tokio::test]
async fn a_replica_that_was_deleted_after_it_arrived_is_alerted() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.watch(1).await;
    site.trouble("lost=100");
    site.minutes(1).await;
    site.delete_image(TOKYO, &image);
    site.minutes(1).await;
    site.trouble("lost=0");
    site.minutes(31 + 15).await;
    assert_eq!(site.notified().await, [("replica_deleted", AlertState::Notice, 1, TOKYO.to_owned())]);
}

#[tokio::test]
async fn replicas_that_are_deleted_while_their_source_has_them_are_alerted_once_with_their_number() {
    let site = site(Settings::default()).await;
    let images: Vec<_> = (0..3).map(|number| site.push(IRELAND, &manifest(&format!("image {number}")), None)).collect();
    let other = site.push(IRELAND, &manifest("other"), Some("v1"));
    site.minutes(31).await;
    for image in &images {
        site.delete_image(TOKYO, image);
    }
    // The source deleted this image as well, so its missing replica causes no alert, whichever event arrives first.
    site.delete_image(TOKYO, &other);
    site.trouble("lost=100");
    site.delete_image(IRELAND, &other);
    site.trouble("lost=0");
    for _ in 0..50 {
        site.watch(60).await;
        site.local.mirror_now().await.unwrap();
    }
    // `mirror` plans the deletion in Virginia.
    let planned = ("deletion_planned", AlertState::Notice, 1, VIRGINIA.to_owned());
    assert_eq!(site.notified().await, [("replica_deleted", AlertState::Notice, 3, TOKYO.to_owned()), planned]);
    let alert = site.alerts().await.remove(0);
    assert!(alert.message.contains("while 111122223333/eu-west-1 still has it; so were 2 more"), "{}", alert.message);
    assert_eq!(site.local.table.incidents().await.unwrap(), []);
}

#[tokio::test]
async fn replicas_that_ecr_or_their_lifecycle_policy_deletes_are_not_alerted() {
    let site = site(Settings::default()).await;
    site.replicate(IRELAND, &[VIRGINIA, TOKYO], true);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("b"), Some("v2"));
    site.minutes(31).await;
    site.delete_image(IRELAND, &image);
    let selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1});
    let rules = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
    site.call(TOKYO, "PutLifecyclePolicy", json!({"lifecyclePolicyText": rules.to_string()}));
    for _ in 0..30 {
        site.watch(3_600).await;
        site.local.mirror_now().await.unwrap();
    }
    assert!(!site.has(TOKYO, &image));
    assert_eq!(site.local.simulator.held().keys().filter(|(registry, _)| registry.to_string() == TOKYO).count(), 1);
    let notified =
        site.alerts().await.into_iter().map(|alert| alert.kind.as_str()).filter(|kind| *kind == "replica_deleted");
    assert_eq!(notified.count(), 0);
}

#[tokio::test]
async fn planned_and_done_deletions_are_alerted_once_with_their_number() {
    let site = site(Settings::default()).await;
    let images: Vec<_> = (0..3).map(|number| site.push(IRELAND, &manifest(&format!("image {number}")), None)).collect();
    site.minutes(31).await;
    for image in &images {
        site.delete_image(IRELAND, image);
    }
    for hour in 0..30 {
        site.watch(if hour == 0 { 60 } else { 3_600 }).await;
        site.local.mirror_now().await.unwrap();
    }
    let notified = |kind, to: &str| (kind, AlertState::Notice, 3, to.to_owned());
    let (planned, done) = ("deletion_planned", "deletion_done");
    assert_eq!(
        site.notified().await,
        [notified(planned, VIRGINIA), notified(planned, TOKYO), notified(done, VIRGINIA), notified(done, TOKYO)]
    );
}

#[tokio::test]
async fn a_push_to_a_repository_with_replicas_is_alerted() {
    let site = site(Settings::default()).await;
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(2).await;
    site.push(TOKYO, &manifest("b"), Some("mine"));
    site.minutes(33).await;
    let notified: Vec<_> = site.alerts().await.into_iter().map(|alert| (alert.kind.as_str(), alert.subject)).collect();
    assert_eq!(notified, [("pushed_to_replica", format!("{TOKYO} team/app"))]);
}

#[tokio::test]
async fn a_change_of_native_deletion_replication_is_alerted() {
    let site = site(Settings::default()).await;
    site.replicate(IRELAND, &[VIRGINIA, TOKYO], true);
    site.minutes(2).await;
    site.replicate(IRELAND, &[VIRGINIA], true);
    site.minutes(2).await;
    let notified: Vec<_> = site.alerts().await.into_iter().map(|alert| alert.subject).collect();
    let switched = |to: &str, word: &str| format!("{IRELAND} to {to} {word}");
    assert_eq!(notified, [switched(VIRGINIA, "on"), switched(TOKYO, "on"), switched(TOKYO, "off")]);
}

#[tokio::test]
async fn settings_are_read_every_hour_without_a_cloudtrail_event() {
    let site = site(Settings::default()).await;
    site.trouble("lost=100");
    site.replicate(IRELAND, &[VIRGINIA], false);
    site.minutes(1).await;
    site.trouble("lost=0");
    let copied =
        |settings: &domain::replication::ReplicationSettings| settings.destinations(&"team/app".parse().unwrap()).len();
    let read = async || {
        let known = site.local.table.known_registries().await.unwrap();
        let ireland = known.into_iter().find(|known| known.registry.to_string() == IRELAND).unwrap();
        ireland.settings.as_ref().map(copied)
    };
    assert_eq!(read().await, Some(2));
    site.watch(3600).await;
    assert_eq!(read().await, Some(1));
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_is_alerted_and_its_copies_are_not() {
    let site = site(Settings::default()).await;
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.watch(1).await;
    site.trouble("request-lost=100,missing=100");
    site.watch(3_600).await;
    assert_eq!(site.alerts().await, []);
    site.watch(2 * 3_600).await;
    let notified: Vec<_> = site.alerts().await.into_iter().map(|alert| (alert.kind.as_str(), alert.subject)).collect();
    assert_eq!(notified, [IRELAND, VIRGINIA, TOKYO].map(|registry| ("pipeline_unhealthy", registry.to_owned())));
}

#[tokio::test]
async fn of_two_runs_at_once_one_checks() {
    let site = site(Settings::default()).await;
    site.trouble("failed=100");
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.local.simulator.step(std::time::Duration::from_secs(60));
    site.local.deliver_now().await;
    site.local
        .watch
        .table
        .take_lease(store::Queue::Watch, "another", site.now(), site.now() + jiff::SignedDuration::from_mins(5))
        .await
        .unwrap();
    assert!(site.local.watch_now().await.unwrap().idle);
    assert_eq!(site.alerts().await, []);
    site.minutes(6).await;
    assert_eq!(site.notified().await.len(), 2);
}

#[tokio::test]
async fn a_late_copy_is_superseded_when_the_newer_image_of_its_tag_arrives() {
    let site = site(Settings::default()).await;
    site.trouble("stuck=100");
    let old = site.push(IRELAND, &manifest("a"), Some("latest"));
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(40).await;
    site.trouble("stuck=0");
    let newer = site.push(IRELAND, &manifest("b"), Some("latest"));
    site.minutes(40).await;
    assert!(site.has(TOKYO, &newer) && !site.has(TOKYO, &old));
    let of = |tag: &str, all: &[ReplicationExpectation]| {
        all.iter().find(|one| one.tag.as_ref().is_some_and(|one| one.as_str() == tag)).unwrap().has_problem()
    };
    // The image is still missing with its other tag, which did not move.
    let expectations = site.expectations(&old).await;
    assert!(!of("latest", &expectations) && of("v1", &expectations), "{expectations:?}");
    let incidents = site.local.table.incidents().await.unwrap();
    assert!(incidents.iter().all(|incident| (incident.count, incident.open, incident.superseded) == (2, 1, 1)));
    site.push(IRELAND, &manifest("b"), Some("v1"));
    site.minutes(60).await;
    let resolved = site.alerts().await.into_iter().filter(|alert| alert.state == AlertState::Resolved);
    let messages: Vec<_> = resolved.map(|alert| alert.message).collect();
    assert_eq!(messages.len(), 2);
    let end = "all are superseded: the tag moved to a newer image, which arrived";
    assert!(messages.iter().all(|message| message.ends_with(end)), "{messages:?}");
}

#[tokio::test]
async fn a_tag_that_moved_without_its_newer_image_arriving_supersedes_nothing() {
    let site = site(Settings::default()).await;
    site.trouble("stuck=100");
    let old = site.push(IRELAND, &manifest("a"), Some("latest"));
    site.minutes(40).await;
    site.push(IRELAND, &manifest("b"), Some("latest"));
    site.minutes(60).await;
    assert!(site.expectations(&old).await.iter().any(ReplicationExpectation::has_problem));
    assert!(site.alerts().await.iter().all(|alert| alert.state != AlertState::Resolved));
}
