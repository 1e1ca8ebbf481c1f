use domain::{
    fact::{Cause, What},
    image::Registry,
    lineage::PlacementStatus,
};
use serde_json::json;
use simulator::settings::Settings;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    mirror::{FOLLOW, Site, manifest},
    watch::site,
};

impl Site {
    /// Lets a day pass, and lists every registry.
    async fn list(&self) -> reconcile::ReconcileSummary {
        self.local.simulator.step(std::time::Duration::from_secs(25 * 3_600));
        self.local.deliver_now().await;
        let summary = self.local.reconcile_now().await.unwrap();
        assert_eq!((summary.failures, summary.idle), (0, false));
        summary
    }

    async fn status(&self, registry: &str, image: &domain::image::Image) -> Option<PlacementStatus> {
        let lineage = self.local.table.lineage(image).await.unwrap();
        lineage.placements.get(&registry.parse::<Registry>().unwrap()).map(domain::lineage::Placement::status)
    }
}

#[tokio::test]
async fn images_without_any_event_are_recorded() {
    let trouble = "lost=100".parse().unwrap();
    let mut site = Site::with(FOLLOW, Settings { seconds_apart: true, trouble, ..Settings::default() }).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    let untagged = site.push(IRELAND, &manifest("b"), None);
    site.arrive().await;
    assert!(site.local.table.lineage(&image).await.unwrap().is_empty());
    site.local.reconcile.known = [IRELAND, TOKYO].map(|name| name.parse().unwrap()).into();
    let summary = site.list().await;
    assert_eq!((summary.registries, summary.repositories), (2, 2));
    assert_eq!((summary.found.images, summary.found.added, summary.found.removed), (4, 4, 0));
    for image in [&image, &untagged] {
        assert_eq!(site.status(IRELAND, image).await, Some(PlacementStatus::Present));
        assert_eq!(site.status(TOKYO, image).await, Some(PlacementStatus::Present));
        assert_eq!(site.status(VIRGINIA, image).await, None);
    }
    let tag: answers::reference::TagReference = "team/app:v1".parse().unwrap();
    assert_eq!(site.local.table.tag_history(&tag.name).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_image_found_missing_has_an_unknown_cause_and_its_replicas_are_deleted() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.trouble("lost=100");
    site.delete_image(IRELAND, &image);
    site.arrive().await;
    site.trouble("lost=0");
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Present));
    let summary = site.list().await;
    assert_eq!((summary.found.removed, summary.found.added, summary.found.updated), (1, 0, 0));
    let lineage = site.local.table.lineage(&image).await.unwrap();
    assert_eq!(lineage.placements[&IRELAND.parse().unwrap()].status(), PlacementStatus::Absent);
    assert_eq!(lineage.cause_of_loss(&IRELAND.parse().unwrap()), Cause::Unknown);
    site.a_day().await;
    assert!(!site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
}

#[tokio::test]
async fn a_repository_found_missing_removes_its_images_and_no_replica() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.trouble("lost=100");
    site.call(IRELAND, "DeleteRepository", json!({"force": true}));
    site.arrive().await;
    site.trouble("lost=0");
    // This includes the first image of the site.
    assert_eq!(site.list().await.found.removed, 2);
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Absent));
    let facts = site.local.table.lineage(&image).await.unwrap().facts;
    let deleted = |what: &What| matches!(what, What::RepositoryDeleted { cause: Cause::Unknown, .. });
    assert_eq!(facts.iter().filter(|fact| deleted(&fact.what)).count(), 1);
    assert_eq!(site.list().await.found.removed, 0);
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    assert_eq!(site.local.table.image_record(&image).await.unwrap().deletions, []);
}

#[tokio::test]
async fn tags_and_storage_classes_that_no_event_reported_are_corrected() {
    let site = site(Settings::default()).await;
    let (a, b) = (site.push(IRELAND, &manifest("a"), Some("v1")), site.push(IRELAND, &manifest("b"), Some("v2")));
    site.arrive().await;
    site.trouble("lost=100");
    site.push(IRELAND, &manifest("b"), Some("v1"));
    site.untag(IRELAND, "v2");
    site.call(
        VIRGINIA,
        "UpdateImageStorageClass",
        json!({"imageId": {"imageDigest": a.digest}, "targetStorageClass": "ARCHIVE"}),
    );
    site.arrive().await;
    site.trouble("lost=0");
    let found = site.list().await.found;
    assert_eq!((found.added, found.removed), (0, 0));
    // Both images in Ireland, and both in Virginia and in Tokyo, because the new tag was replicated.
    assert_eq!(found.updated, 6);
    let lineage = site.local.table.lineage(&b).await.unwrap();
    let tags = |registry: &str| {
        let placement = &lineage.placements[&registry.parse::<Registry>().unwrap()];
        placement.current_tags().into_iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((tags(IRELAND), tags(VIRGINIA)), (vec!["v1".to_owned()], vec!["v1".to_owned(), "v2".to_owned()]));
    assert_eq!(site.status(VIRGINIA, &a).await, Some(PlacementStatus::Archived));
    assert_eq!(site.status(IRELAND, &a).await, Some(PlacementStatus::Present));
}

#[tokio::test]
async fn a_run_that_ends_early_continues_where_it_stopped() {
    let site = site(Settings::default()).await;
    for name in ["team/b", "team/c"] {
        site.call_for(name, IRELAND, "CreateRepository", json!({}));
        site.call_for(name, IRELAND, "PutImage", json!({"imageManifest": manifest(name), "imageTag": "v1"}));
    }
    site.arrive().await;
    let clock = site.local.simulator.clock();
    let reconcile = &site.local.reconcile;
    // The time limit is reached after a few calls.
    let mut repositories = 0;
    for invocations in 1.. {
        let calls = std::sync::atomic::AtomicU64::new(0);
        let start = clock.now();
        let ticking = || {
            let seconds = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            start.saturating_add(jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap())).unwrap()
        };
        let until = start.saturating_add(jiff::SignedDuration::from_secs(6)).unwrap();
        let summary = reconcile.run(ticking, until).await.unwrap();
        assert_eq!(summary.failures, 0);
        repositories += summary.repositories;
        site.local.simulator.step(std::time::Duration::from_secs(300));
        let runs = site.local.table.runs().await.unwrap();
        if runs.len() == 3 && runs.values().all(|run| run.ended_at.is_some()) {
            assert!(invocations > 1);
            assert!(runs.values().all(|run| run.found.images == 3), "{runs:?}");
            break;
        }
        assert!(invocations < 30, "{runs:?}");
    }
    // No repository is listed twice.
    assert_eq!(repositories, 9);
    assert_eq!(reconcile.run(|| clock.now(), clock.now()).await.unwrap().repositories, 0);
}

#[tokio::test]
async fn a_registry_that_cannot_be_listed_for_a_day_is_alerted() {
    let site = site(Settings::default()).await;
    site.list().await;
    site.local.simulator.set(|settings| settings.trouble = "throttled=100".parse().unwrap());
    for day in 1..=3 {
        site.local.simulator.step(std::time::Duration::from_secs(25 * 3_600));
        let summary = site.local.reconcile_now().await.unwrap();
        assert_eq!((summary.registries, summary.failures), (0, 3));
        let notified: Vec<_> = site.alerts().await.into_iter().map(|alert| alert.kind.as_str()).collect();
        // The first failure may be temporary, so it causes no alert.
        assert_eq!(notified, vec!["pipeline_unhealthy"; (day - 1) * 3], "{day}");
    }
    site.local.simulator.set(|settings| settings.trouble = "throttled=0".parse().unwrap());
    assert_eq!(site.local.reconcile_now().await.unwrap().registries, 3);
}

#[tokio::test]
async fn drift_and_orphans_are_alerted_when_their_number_grows() {
    let site = site(Settings::default()).await;
    let (lost, orphan) = (site.push(IRELAND, &manifest("a"), Some("v1")), site.push(IRELAND, &manifest("b"), None));
    site.push(IRELAND, &manifest("c"), Some("v3"));
    site.arrive().await;
    site.list().await;
    assert_eq!(site.alerts().await, []);
    site.delete_image(TOKYO, &lost);
    site.delete_image(IRELAND, &orphan);
    site.untag(VIRGINIA, "v3");
    site.push(VIRGINIA, &manifest("c"), Some("mine"));
    site.list().await;
    let notified = |alerts: Vec<domain::alert::Alert>| -> Vec<_> {
        alerts.into_iter().map(|alert| (alert.kind.as_str(), alert.subject, alert.message)).collect()
    };
    let alerts = notified(site.alerts().await);
    insta::assert_json_snapshot!(alerts);
    // If the counts do not grow, no alert is sent.
    site.list().await;
    assert_eq!(notified(site.alerts().await).len(), alerts.len());
    let runs = site.local.table.runs().await.unwrap();
    let drifts = &runs[&IRELAND.parse().unwrap()].drifts;
    // Virginia's image was deleted with its only tag, and pushed again with another.
    assert_eq!((drifts.missing, drifts.tags, drifts.orphans), (1, 1, 0));
    assert_eq!(runs[&TOKYO.parse().unwrap()].drifts.orphans, 1);
}

#[tokio::test]
async fn a_repository_without_the_policies_of_its_source_is_alerted_once() {
    let site = site(Settings::default()).await;
    let allow = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}).to_string();
    site.call(IRELAND, "SetRepositoryPolicy", json!({"policyText": allow}));
    site.call(VIRGINIA, "SetRepositoryPolicy", json!({"policyText": allow}));
    let selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100});
    let rules = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
    site.call(IRELAND, "PutLifecyclePolicy", json!({"lifecyclePolicyText": rules.to_string()}));
    site.list().await;
    let differs = |alerts: Vec<domain::alert::Alert>| -> Vec<String> {
        let differs = alerts.into_iter().filter(|alert| alert.kind.as_str() == "repository_differs");
        differs.map(|alert| alert.message).collect()
    };
    let lacks = |place: &str, what: &str| {
        format!("team/app in {place}, where {IRELAND} replicates it, has {what}, unlike its source")
    };
    let notified = differs(site.alerts().await);
    assert_eq!(
        notified,
        [lacks(VIRGINIA, "no lifecycle policy"), lacks(TOKYO, "no repository policy and no lifecycle policy")]
    );
    site.list().await;
    assert_eq!(differs(site.alerts().await), notified);
}

/// Performs calls whose events are lost.
async fn unreported(site: &Site, calls: impl FnOnce(&Site)) {
    site.local.simulator.step(std::time::Duration::from_secs(60));
    site.trouble("lost=100");
    calls(site);
    site.local.simulator.step(std::time::Duration::from_secs(60));
    site.trouble("lost=0");
}

impl Site {
    /// Lets a day pass in which no event arrives, and lists every registry.
    async fn list_before_events_arrive(&self) -> reconcile::ReconcileSummary {
        self.local.simulator.step(std::time::Duration::from_secs(25 * 3_600));
        self.local.reconcile_now().await.unwrap()
    }
}

#[tokio::test]
async fn an_old_push_does_not_bring_back_what_a_listing_did_not_see() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    unreported(&site, |site| site.delete_image(IRELAND, &image)).await;
    let found = site.list_before_events_arrive().await.found;
    // The replicas; the table knows nothing of the image in Ireland, and neither does the list.
    assert_eq!((found.added, found.removed), (2, 0));
    assert_eq!(site.status(IRELAND, &image).await, None);
    site.local.deliver_now().await;
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Absent));
    let facts = site.local.table.lineage(&image).await.unwrap().facts;
    let here: Vec<_> = facts.iter().filter(|fact| fact.registry.to_string() == IRELAND).collect();
    let texts: Vec<_> = here.iter().map(|fact| fact.summary()).collect();
    assert!(texts.iter().any(|text| text == "found missing by reconcile"), "{texts:?}");
    // The push happened before it.
    assert!(texts.iter().any(|text| text.starts_with("pushed as v1")), "{texts:?}");
    // As if the push had arrived before the listing.
    site.a_day().await;
    assert!(!site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
}

#[tokio::test]
async fn an_old_deletion_does_not_delete_what_a_listing_saw() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.delete_image(IRELAND, &image);
    unreported(&site, |site| _ = site.push(IRELAND, &manifest("a"), Some("v1"))).await;
    // The listing agrees with the table, and records nothing.
    let found = site.list_before_events_arrive().await.found;
    assert_eq!((found.added, found.removed, found.updated), (0, 0, 0));
    site.local.deliver_now().await;
    let lineage = site.local.table.lineage(&image).await.unwrap();
    let placement = &lineage.placements[&IRELAND.parse().unwrap()];
    assert_eq!(placement.status(), PlacementStatus::Present);
    assert_eq!(placement.current_tags().into_iter().map(ToString::to_string).collect::<Vec<_>>(), ["v1"]);
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
}

#[tokio::test]
async fn a_repository_deletion_that_arrives_after_a_listing_explains_what_the_listing_did_not_find() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.call(IRELAND, "DeleteRepository", json!({"force": true}));
    site.call(IRELAND, "CreateRepository", json!({}));
    let found = site.list_before_events_arrive().await.found;
    assert_eq!(found.added, 0);
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Absent));
    let cause = site.local.table.lineage(&image).await.unwrap().cause_of_loss(&IRELAND.parse().unwrap());
    assert_eq!(cause, Cause::Unknown, "{found:?}");
    site.local.deliver_now().await;
    let lineage = site.local.table.lineage(&image).await.unwrap();
    let cause = lineage.cause_of_loss(&IRELAND.parse().unwrap());
    assert!(matches!(cause, Cause::Repository { .. }), "{cause:?}");
    // The deletion of a whole repository is never mirrored.
    site.a_day().await;
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
}

#[tokio::test]
async fn a_listing_that_failed_or_began_before_an_event_overrules_nothing() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    unreported(&site, |site| site.delete_image(IRELAND, &image)).await;
    site.trouble("throttled=100");
    assert_eq!(site.list_before_events_arrive().await.failures, 3);
    site.trouble("throttled=0");
    site.local.deliver_now().await;
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Present));
    // This listing sees it, and then the image is pushed again.
    site.list().await;
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Absent));
    site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    assert_eq!(site.status(IRELAND, &image).await, Some(PlacementStatus::Present));
}
