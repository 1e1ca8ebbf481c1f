use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws::{
    registry::{Registries, Roles},
    start,
    usage::UsageReader,
};
use aws_config::Region;
use aws_sdk_dynamodb::config::{Credentials, retry::RetryConfig};
use domain::{
    alert::AlertKind,
    breaker::{BreakerLimits, Reset},
    deletion::{DeletionStatus, OperatorAction},
    fact::{Cause, What},
    image::Image,
    plan::Mode,
};
use futures::FutureExt;
use mirror::Mirror;
use policy::Policy;
use serde_json::{Value, json};
use store::{Stored, Table};
use tokio::sync::OnceCell;

use super::{FOLLOW, Site, manifest};
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    fault_injection::{Fault, Faulty, Meanwhile},
    test_table::{client, deliver},
};

/// `mirror` with its own clients, in which one call fails, and which do not retry.
pub(super) async fn faulty(site: &Site, at: usize, fault: Fault) -> (Mirror, Faulty) {
    let inner = aws_smithy_http_client::Builder::new().build_http();
    let faulty = Faulty { inner, calls: Arc::default(), at, fault };
    let loader = start::loader().http_client(faulty.clone()).endpoint_url(&site.local.endpoint);
    let loader = loader.region(Region::from_static("eu-west-1")).retry_config(RetryConfig::disabled());
    let credentials = Credentials::new("999988887777", "test", None, None, "test");
    let sdk = loader.credentials_provider(credentials).load().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let name = client(&site.local.endpoint).await.list_tables().send().await.unwrap().table_names.unwrap().remove(0);
    let registries = Registries::new(sdk.clone(), roles());
    let mirror = Mirror {
        table: Table::new(dynamodb, name),
        usage: UsageReader::new(registries.clone(), [].into(), 1),
        registries,
        policy: Policy::load("test.cedar", FOLLOW),
        mode: Mode::Enforce,
        limits: BreakerLimits::default(),
        known: [].into(),
        name: "faulty".to_owned(),
        settings_stored: OnceCell::new(),
    };
    (mirror, faulty)
}

/// Registries whose client does not retry: every failure reaches the code under test at once.
pub(crate) async fn impatient(endpoint: &str) -> Registries {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let loader = start::loader().http_client(http).endpoint_url(endpoint).region(Region::from_static("eu-west-1"));
    let credentials = Credentials::new("999988887777", "test", None, None, "test");
    let sdk = loader.credentials_provider(credentials).retry_config(RetryConfig::disabled()).load().await;
    Registries::new(sdk, roles())
}

pub(super) fn roles() -> Roles {
    let role = |name: &str| Some(name.to_owned());
    Roles { read: role("ecr-lineage-read"), delete: role("ecr-lineage-delete"), external_id: role("id") }
}

/// The final state, and the deletions that led to it.
#[derive(Debug, PartialEq)]
struct End {
    held: Vec<String>,
    by_status: BTreeMap<(Image, String), DeletionStatus>,
    /// How often ecr-lineage deleted each image or tag, according to CloudTrail.
    deletions: BTreeMap<String, usize>,
    /// How many deletions by ecr-lineage the lineage records.
    recorded: usize,
}

/// Deletes an image, and one of two tags of another, while one call fails.
async fn play(at: usize, fault: Fault) -> (End, usize) {
    let site = Site::new(FOLLOW).await;
    let gone = site.push(IRELAND, &manifest("gone"), Some("v1"));
    let stays = site.push(IRELAND, &manifest("stays"), Some("v2"));
    site.push(IRELAND, &manifest("stays"), Some("stable"));
    site.arrive().await;
    site.delete_image(IRELAND, &gone);
    site.untag(IRELAND, "stable");
    let (mirror, faults) = faulty(&site, at, fault).await;
    let clock = site.local.simulator.clock();
    let run = async |seconds| {
        site.local.simulator.step(Duration::from_secs(seconds));
        site.local.deliver_now().await;
        let until = clock.now().saturating_add(jiff::SignedDuration::from_mins(10)).unwrap();
        _ = mirror.run(|| clock.now(), until).await;
    };
    run(60).await;
    run(24 * 3600).await;
    let calls = faults.calls.load(Ordering::Relaxed);
    for _ in 0..3 {
        run(3600).await;
    }
    let mut by_status = BTreeMap::new();
    let mut recorded = 0;
    for image in [&gone, &stays] {
        let image_record = site.local.table.image_record(image).await.unwrap();
        for deletion in image_record.deletions {
            by_status.insert((image.clone(), deletion.registry.to_string()), deletion.status);
        }
        recorded += image_record.lineage.facts.iter().filter(|fact| ours(&fact.what)).count();
    }
    let mut deletions = BTreeMap::new();
    for emitted in site.local.simulator.emitted(0) {
        let detail = &emitted.event["detail"];
        let by = detail["userIdentity"]["arn"].as_str().unwrap_or_default();
        if detail["eventName"] != "BatchDeleteImage" || !by.contains("ecr-lineage-delete") {
            continue;
        }
        for id in detail["responseElements"]["imageIds"].as_array().into_iter().flatten() {
            *deletions.entry(format!("{} {id}", detail["awsRegion"])).or_default() += 1;
        }
    }
    let held = site.local.simulator.held();
    let held = held.iter().map(|(name, held)| format!("{name:?} {held:?}")).collect();
    (End { held, by_status, deletions, recorded }, calls)
}

fn ours(what: &What) -> bool {
    matches!(
        what,
        What::ImageDeleted { cause: Cause::Mirror { .. } } | What::TagsDeleted { cause: Cause::Mirror { .. }, .. }
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_call_may_fail_once_in_any_way() {
    let (expected, calls) = play(usize::MAX, Fault::Throttled).await;
    assert!(calls > 40, "{calls}");
    assert_eq!(expected.recorded, 4);
    assert!(expected.by_status.len() == 4 && expected.by_status.values().all(|status| *status == DeletionStatus::Done));
    assert!(expected.deletions.len() == 4 && expected.deletions.values().all(|times| *times == 1));
    // With `PROPTEST_CASES` every call fails in every way; without it, each call fails in one of them.
    let faults = [Fault::Throttled, Fault::Unreachable, Fault::AnswerLost, Fault::Partial];
    let every = std::env::var_os("PROPTEST_CASES").is_some();
    let ways = (0..calls).flat_map(|at| (0..faults.len()).map(move |way| (at, way)));
    let ways: Vec<_> = ways.filter(|(at, way)| every || at % faults.len() == *way).collect();
    for ways in ways.chunks(8) {
        let plays = ways.iter().map(|(at, way)| async move { (at, way, play(*at, faults[*way]).await.0) });
        for (at, way, end) in futures::future::join_all(plays).await {
            assert_eq!(end, expected, "{:?} at call {at}", faults[*way]);
        }
    }
}

#[tokio::test]
async fn whichever_call_fails_an_image_that_was_pushed_again_is_kept() {
    for at in 0.. {
        let (mut site, image) = Site::with_loss(FOLLOW).await;
        site.pass(60).await;
        site.local.simulator.set(|settings| settings.trouble.lost = 1.0);
        site.push(IRELAND, &manifest("a"), Some("v1"));
        site.local.simulator.set(|settings| settings.trouble.lost = 0.0);
        let (mirror, faults) = faulty(&site, at, Fault::Throttled).await;
        site.local.mirror = mirror;
        site.local.simulator.step(Duration::from_secs(24 * 3600));
        site.local.deliver_now().await;
        _ = site.local.mirror_now().await;
        assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image), "call {at}");
        if faults.calls.load(Ordering::Relaxed) <= at {
            assert!(at > 10, "{at}");
            return;
        }
    }
}

#[tokio::test]
async fn of_two_runs_at_once_one_acts() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    let (other, _) = faulty(&site, usize::MAX, Fault::Throttled).await;
    site.local.simulator.step(Duration::from_secs(24 * 3600));
    let clock = site.local.simulator.clock();
    let until = clock.now().saturating_add(jiff::SignedDuration::from_mins(10)).unwrap();
    let (one, two) = futures::join!(site.local.mirror_now(), other.run(|| clock.now(), until));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.idle != two.idle, "{one:?} {two:?}");
    assert_eq!(site.deletion(TOKYO, &image, None).await.status, DeletionStatus::Done);
    // The next run can take the lease.
    assert!(!site.pass(60).await.idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_during_a_run_is_in_force_before_the_run_deletes_anything() {
    let mut site = Site::new(FOLLOW).await;
    let images = ["a", "b", "c"].map(|name| site.push(IRELAND, &manifest(name), Some(name)));
    site.arrive().await;
    images.iter().for_each(|image| site.delete_image(IRELAND, image));
    site.pass(60).await;
    site.local.simulator.step(Duration::from_secs(24 * 3600));
    // The run has read the breaker, and reads the registries when an operator allows a single image.
    let (table, now) = (site.local.table.clone(), site.local.simulator.clock().now());
    let reset = move || {
        let table = table.clone();
        let reset = Reset { by: "dana".to_owned(), at: now, allow: Some(1), ignore_share: false };
        async move {
            let source = IRELAND.parse().unwrap();
            let version = table.breaker(&source).await.unwrap().version;
            assert_eq!(table.reset_breaker(&source, version, reset).await.unwrap(), Stored::New);
        }
        .boxed()
    };
    let inner = aws_smithy_http_client::Builder::new().build_http();
    let happened: Arc<AtomicBool> = Arc::default();
    let first = Arc::new(reset);
    let meanwhile = Meanwhile { inner, operation: ".DescribeImages", first, happened: happened.clone() };
    let loader = start::loader().http_client(meanwhile).endpoint_url(&site.local.endpoint);
    let credentials = Credentials::new("999988887777", "test", None, None, "test");
    let sdk = loader.region(Region::from_static("eu-west-1")).credentials_provider(credentials).load().await;
    site.local.mirror.registries = Registries::new(sdk, roles());
    let left = |site: &Site| {
        let has = |registry| images.iter().filter(|image| site.has(registry, image)).count();
        has(TOKYO) + has(VIRGINIA)
    };
    site.local.mirror_now().await.unwrap();
    assert!(happened.load(Ordering::Relaxed));
    assert_eq!(left(&site), 6, "the plan was made with the breaker as it was before");
    site.pass(60).await;
    assert_eq!(left(&site), 5);
}

#[tokio::test]
async fn an_invalid_policy_deletes_nothing_and_alerts_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let missing = folder.path().join("missing.cedar");
    let empty = file("empty.cedar", "// nothing\n");
    let invalid = file("invalid.cedar", r#"@id("all") permit (principal, action, resource) when { resource.colour };"#);
    // It forbids nothing: its author believes that it keeps these images.
    let forbids = "@id(\"keep\") forbid (principal, action, resource) when { resource.tags.contains(\"v*\") };";
    let never = file("never.cedar", &format!("{FOLLOW}\n{forbids}"));
    for path in [missing, empty, invalid, never] {
        let (mut site, image) = Site::with_loss(FOLLOW).await;
        site.pass(60).await;
        site.local.mirror.policy = decide::load_policy(Some(&path));
        let summary = site.pass(24 * 3600).await;
        assert!(summary.idle);
        site.pass(60).await;
        assert!(site.has(TOKYO, &image));
        let alerts = site.local.table.alerts(site.local.simulator.clock().now()).await.unwrap();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert!(alerts[0].kind == AlertKind::PolicyInvalid && alerts[0].message.contains(path.to_str().unwrap()));
    }
}

/// A deletion event with a given time.
fn delete_event(image: &Image, time: &str) -> Value {
    let detail = json!({
        "result": "SUCCESS", "repository-name": image.repository, "image-digest": image.digest, "action-type": "DELETE",
        "image-tag": "v1",
    });
    json!({
        "version": "0", "id": format!("forged-{time}"), "detail-type": "ECR Image Action", "source": "aws.ecr",
        "account": "111122223333", "time": time, "region": "eu-west-1", "resources": [], "detail": detail,
    })
}

#[tokio::test]
async fn a_forged_deletion_event_deletes_nothing_and_the_table_is_corrected() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    let event = delete_event(&image, "2026-11-02T10:00:00Z");
    assert!(deliver(&site.local.table, [event.to_string()]).await.is_empty());
    site.pass(3600).await;
    assert_eq!(site.deletion(TOKYO, &image, None).await.status, DeletionStatus::Pending);
    site.a_day().await;
    site.keeps(TOKYO, &image, "111122223333/eu-west-1 has it").await;
    // The table now records the image at its source, and delivering the event again changes nothing.
    let lineage = site.local.table.lineage(&image).await.unwrap();
    assert!(lineage.whereabouts().iter().all(|place| !place.orphan));
    assert!(deliver(&site.local.table, [event.to_string()]).await.is_empty());
    site.a_day().await;
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
}

#[tokio::test]
async fn a_deletion_reported_weeks_later_is_not_mirrored() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.local.simulator.set(|settings| settings.trouble.lost = 1.0);
    site.delete_image(IRELAND, &image);
    site.local.simulator.set(|settings| settings.trouble.lost = 0.0);
    site.pass(15 * 24 * 3600).await;
    let event = delete_event(&image, "2026-11-02T10:00:00Z");
    assert!(deliver(&site.local.table, [event.to_string()]).await.is_empty());
    site.a_day().await;
    site.keeps(TOKYO, &image, "reported 14 days after it happened").await;
}

#[tokio::test]
async fn a_replica_that_arrives_after_the_deletion_of_its_source_is_deleted() {
    let site = Site::new(FOLLOW).await;
    let tokyo = TOKYO.parse().unwrap();
    let slow = simulator::settings::Lag::exactly(jiff::SignedDuration::from_hours(30));
    site.local.simulator.set(|settings| _ = settings.lags.insert(tokyo, slow));
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.delete_image(IRELAND, &image);
    site.a_day().await;
    assert!(!site.has(VIRGINIA, &image) && !site.has(TOKYO, &image));
    site.pass(6 * 3600).await;
    assert!(site.has(TOKYO, &image));
    let pending = site.deletion(TOKYO, &image, None).await;
    assert!(pending.due.unwrap() > site.local.simulator.clock().now());
    site.a_day().await;
    assert!(!site.has(TOKYO, &image));
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_keeps_its_replicas_and_is_retried_less_often() {
    let (mut site, image) = Site::with_loss(FOLLOW).await;
    site.pass(60).await;
    (site.local.mirror, _) = faulty(&site, usize::MAX, Fault::Throttled).await;
    site.local.simulator.set(|settings| settings.trouble.request_lost = 1.0);
    site.pass(24 * 3600).await;
    for _ in 0..6 {
        site.pass(3600).await;
    }
    assert!(site.has(TOKYO, &image));
    let pending = site.deletion(TOKYO, &image, None).await;
    assert_eq!(pending.status, DeletionStatus::Pending);
    assert!(pending.attempts > 4 && pending.checks.last().unwrap().why.contains("cannot be read"), "{pending:?}");
    site.local.simulator.set(|settings| settings.trouble.request_lost = 0.0);
    site.pass(6 * 3600).await;
    assert!(!site.has(TOKYO, &image));
}

#[tokio::test]
async fn an_unknown_refusal_keeps_the_replica_and_alerts_once() {
    let (mut site, image) = Site::with_loss(FOLLOW).await;
    (site.local.mirror, _) = faulty(&site, usize::MAX, Fault::Strange).await;
    site.a_day().await;
    assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
    let (status, why) = site.by_status(TOKYO, &image).await;
    assert_eq!((status, why.as_str()), (DeletionStatus::Failed, "NeverHeardOf: for some reason"));
    let alerts = site.local.table.alerts(site.local.simulator.clock().now()).await.unwrap();
    // One for each registry and repository.
    assert_eq!(alerts.iter().filter(|alert| alert.kind == AlertKind::DeletionFailed).count(), 2);
    // An operator can have it retried.
    site.local.mirror.registries = impatient(&site.local.endpoint).await;
    let mut failed = site.deletion(TOKYO, &image, None).await;
    failed.act(OperatorAction::Retry, "dana", None, site.local.simulator.clock().now()).unwrap();
    site.local.table.put_deletion(&mut failed).await.unwrap();
    site.pass(60).await;
    assert!(!site.has(TOKYO, &image));
}

#[tokio::test]
async fn an_untag_that_hit_another_image_at_the_last_moment_is_not_done() {
    let mut site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("stable"));
    site.arrive().await;
    site.untag(IRELAND, "stable");
    (site.local.mirror, _) = faulty(&site, usize::MAX, Fault::Moved).await;
    site.a_day().await;
    let failed = site.deletion(TOKYO, &image, Some("stable")).await;
    let why = &failed.checks.last().unwrap().why;
    assert_eq!(failed.status, DeletionStatus::Failed, "{why}");
    assert!(why.contains("the tag moved at the last moment: it was removed from sha256:fff"), "{why}");
    let lineage = site.local.table.lineage(&image).await.unwrap();
    assert!(!lineage.facts.iter().any(|fact| ours(&fact.what)));
    let alerts = site.local.table.alerts(site.local.simulator.clock().now()).await.unwrap();
    assert_eq!(alerts.iter().filter(|alert| alert.kind == AlertKind::DeletionFailed).count(), 2);
}
