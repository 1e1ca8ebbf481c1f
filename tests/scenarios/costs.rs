//! Sizes, last pulls and costs: what listings saw, and what the answers make of it.

use std::collections::BTreeSet;

use answers::{
    answer::{self, ImageFilter, OrphanFilter},
    costs::{self, CostReport},
    paging::PageRequest,
    reference::Reference,
};
use domain::{
    costs::{CopyKind, CostScope, KindCost, PriceTable},
    image::{Image, Registry, RepositoryPattern},
    inventory::{Inventory, InventoryEntry, Origin},
    policy::ManifestKind,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulator::settings::Settings;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    mirror::{FOLLOW, Site, index_of},
    registries::IMAGE,
    test_table::Store,
};

const GIGABYTE: u64 = 1_000_000_000;

/// A distinct manifest for each name, of an image of this size.
fn sized(of: &str, gigabytes: u64) -> String {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 0});
    let layers = json!([{"size": gigabytes * GIGABYTE}]);
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, "of": of}).to_string()
}

fn registry(name: &str) -> Registry {
    name.parse().unwrap()
}

/// Three registries. Every registry has `v1` (10 GB) and an index of an untagged image (3 GB); Tokyo pulled `v1`. The
/// replicas of `v2` (4 GB) have lost their source, and in Virginia that of `v1` is archived.
struct Scene {
    site: Site,
    v1: Image,
    v2: Image,
}

impl Scene {
    async fn new() -> Self {
        let site = Site::with(FOLLOW, Settings { seconds_apart: true, ..Settings::default() }).await;
        let v1 = site.push(IRELAND, &sized("v1", 10), Some("v1"));
        let v2 = site.push(IRELAND, &sized("v2", 4), Some("v2"));
        let child = sized("child", 3);
        site.push(IRELAND, &child, None);
        site.push(IRELAND, &index_of(&[&child]), Some("multi"));
        site.arrive().await;
        site.call(TOKYO, "BatchGetImage", json!({"imageIds": [{"imageTag": "v1"}]}));
        site.delete_image(IRELAND, &v2);
        let archive = json!({"imageId": {"imageDigest": v1.digest}, "targetStorageClass": "ARCHIVE"});
        site.call(VIRGINIA, "UpdateImageStorageClass", archive);
        let scene = Self { site, v1, v2 };
        scene.list().await;
        scene
    }

    /// Lists every registry, a day later.
    async fn list(&self) {
        self.site.local.simulator.step(std::time::Duration::from_secs(25 * 3_600));
        self.site.local.deliver_now().await;
        let summary = self.site.local.reconcile_now().await.unwrap();
        assert_eq!((summary.failures, summary.idle), (0, false));
    }

    fn now(&self) -> Timestamp {
        self.site.local.simulator.clock().now()
    }

    fn ago(&self, hours: i64) -> Timestamp {
        self.now().checked_sub(SignedDuration::from_hours(hours)).unwrap()
    }

    async fn costs(&self, scope: CostScope<'_>) -> CostReport {
        costs::costs(&self.site.local.table, &scope, &PriceTable::of_aws()).await.unwrap()
    }

    fn everything(&self) -> CostScope<'static> {
        let transferred_since = self.ago(24 * 30);
        CostScope { registry: None, repositories: None, unpulled_since: None, transferred_since }
    }
}

/// Kind, storage class, copies, gigabytes and USD.
fn rows(kinds: &[KindCost]) -> Vec<(CopyKind, bool, u64, u64, f64)> {
    let row =
        |cost: &KindCost| (cost.kind, cost.archived, cost.amount.copies, cost.amount.bytes / GIGABYTE, cost.amount.usd);
    kinds.iter().map(row).collect()
}

#[tokio::test]
async fn costs_are_sizes_times_prices_by_registry_and_kind() {
    let scene = Scene::new().await;
    let report = scene.costs(scene.everything()).await;
    let by_registry = |name: &str| {
        let costs = &report.costs;
        rows(&costs.registries.iter().find(|cost| cost.registry == registry(name)).unwrap().kinds)
    };
    assert_eq!(by_registry(IRELAND), [(CopyKind::Untagged, false, 1, 3, 0.3), (CopyKind::Source, false, 2, 10, 1.0)]);
    assert_eq!(
        by_registry(TOKYO),
        [
            (CopyKind::Orphan, false, 1, 4, 0.4),
            (CopyKind::Untagged, false, 1, 3, 0.3),
            (CopyKind::Replica, false, 2, 10, 1.0)
        ]
    );
    assert_eq!(
        by_registry(VIRGINIA),
        [
            (CopyKind::Orphan, false, 1, 4, 0.4),
            (CopyKind::Untagged, false, 1, 3, 0.3),
            (CopyKind::Replica, false, 1, 0, 0.0),
            (CopyKind::Replica, true, 1, 10, 1.0)
        ]
    );
    assert_eq!((report.costs.total.copies, report.costs.total.usd), (11, 4.7));
    assert_eq!(report.costs.repositories.len(), 1);
    // 17 GB each, from Ireland: 0.02 USD for a GB.
    let transfers: Vec<_> =
        report.costs.transfers.iter().map(|one| (one.destination.as_str(), one.amount.usd)).collect();
    assert_eq!(transfers, [(VIRGINIA, 0.34), (TOKYO, 0.34)]);
    assert!(report.notes[0].contains("upper bound"), "{:?}", report.notes);

    let unpulled = CostScope { unpulled_since: Some(scene.ago(48)), ..scene.everything() };
    assert_eq!(scene.costs(unpulled).await.costs.total.copies, 0, "everything is younger than that");
    scene.site.call(TOKYO, "BatchGetImage", json!({"imageIds": [{"imageTag": "v1"}]}));
    scene.list().await;
    let tokyo = registry(TOKYO);
    let unpulled = CostScope { registry: Some(&tokyo), unpulled_since: Some(scene.ago(30)), ..scene.everything() };
    assert_eq!(scene.costs(unpulled).await.costs.total.bytes, 7 * GIGABYTE, "without what was pulled");
    let later = CostScope { transferred_since: scene.ago(12), ..scene.everything() };
    assert!(scene.costs(later).await.costs.transfers.is_empty());
}

#[tokio::test]
async fn a_repository_can_be_asked_for_by_its_name_or_by_a_pattern() {
    let scene = Scene::new().await;
    scene.site.call_for("team/app2", IRELAND, "CreateRepository", json!({}));
    scene.site.call_for(
        "team/app2",
        IRELAND,
        "PutImage",
        json!({"imageManifest": sized("other", 1), "imageTag": "v1"}),
    );
    scene.site.arrive().await;
    scene.list().await;
    let table = &scene.site.local.table;
    let asked = async |pattern: &str| {
        let pattern: RepositoryPattern = pattern.parse().unwrap();
        let scope = CostScope { repositories: Some(&pattern), ..scene.everything() };
        costs::costs(table, &scope, &PriceTable::of_aws()).await.map(|report| report.costs.total.bytes / GIGABYTE)
    };
    // The orphans were deleted in between.
    assert_eq!(asked("team/app").await.unwrap(), 39);
    assert_eq!(asked("team/app2").await.unwrap(), 3);
    assert_eq!(asked("team/*").await.unwrap(), 42);
    assert_eq!(asked("prod/*").await.unwrap(), 0);
    assert_eq!(asked("team/ap").await.unwrap_err().to_string(), "no image of repository `team/ap` is known");
    let other = registry("999999999999/eu-west-1");
    let scope = CostScope { registry: Some(&other), ..scene.everything() };
    assert!(costs::costs(table, &scope, &PriceTable::of_aws()).await.is_err());
}

#[tokio::test]
async fn images_orphans_and_lineage_show_size_and_last_pull() {
    let scene = Scene::new().await;
    let (table, now) = (&scene.site.local.table, scene.now());
    let repository = scene.v1.repository.clone();
    let images = async |unpulled_since| {
        let filter = ImageFilter { unpulled_since, ..ImageFilter::default() };
        answer::images(table, &repository, filter, None, usize::MAX, now).await.unwrap().images
    };
    let all = images(None).await;
    assert_eq!(all.len(), 4);
    let v1 = all.iter().find(|image| image.digest == scene.v1.digest).unwrap();
    assert_eq!(v1.listed[&registry(TOKYO)].size_bytes, 10 * GIGABYTE);
    assert!(v1.listed[&registry(TOKYO)].last_pulled_at.is_some());
    assert_eq!(v1.listed[&registry(IRELAND)].last_pulled_at, None);
    // What is gone is not listed any more.
    let v2 = all.iter().find(|image| image.digest == scene.v2.digest).unwrap();
    assert_eq!(v2.listed.keys().map(Registry::as_str).collect::<Vec<_>>(), [VIRGINIA, TOKYO]);
    assert_eq!(images(Some(scene.ago(12))).await.len(), 4);
    assert_eq!(images(Some(scene.ago(48))).await.len(), 0);

    let orphans = async |unpulled_since| {
        answer::orphans(table, OrphanFilter { unpulled_since, deleted: None }, &PageRequest::all_of(None, None))
            .await
            .unwrap()
            .orphans
    };
    let found = orphans(Some(scene.ago(12))).await;
    assert_eq!(found.iter().map(|orphan| orphan.listed.as_ref().unwrap().size_bytes).sum::<u64>(), 8 * GIGABYTE);
    assert!(orphans(Some(scene.ago(48))).await.is_empty());

    let reference: Reference = scene.v1.to_string().parse().unwrap();
    let shown = answer::show(table, &reference, 100, now).await.unwrap();
    assert!(shown.images[0].registries.iter().all(|place| place.listed.is_some()));
    // An image that no listing has seen has an unknown size.
    let young = scene.site.push(IRELAND, &sized("young", 1), Some("young"));
    scene.site.arrive().await;
    let shown = answer::show(table, &young.to_string().parse().unwrap(), 100, now).await.unwrap();
    assert!(shown.images[0].registries.iter().all(|place| place.listed.is_none()));
    assert!(images(Some(scene.now())).await.iter().all(|image| image.digest != young.digest));
}

#[tokio::test]
async fn a_deleted_repository_costs_nothing() {
    let scene = Scene::new().await;
    scene.site.call(IRELAND, "DeleteRepository", json!({"force": true}));
    scene.list().await;
    let report = scene.costs(scene.everything()).await;
    assert_eq!(report.costs.registries.len(), 2);
    // Their source has no image any more.
    let kinds: BTreeSet<_> = report.costs.kinds.iter().map(|cost| cost.kind).collect();
    assert_eq!(kinds, [CopyKind::Orphan].into());
}

fn entry(number: u64) -> InventoryEntry {
    InventoryEntry {
        size_bytes: number,
        arrived_at: Timestamp::from_second(1_700_000_000).ok(),
        last_pulled_at: Timestamp::from_second(1_750_000_000).ok(),
        archived: false,
        tagged: true,
        kind: ManifestKind::Image,
        origin: Origin::Replicated([registry(IRELAND)].into()),
    }
}

/// Images whose digests differ in their first digits, as those of real images do.
fn inventory(images: u64) -> Inventory {
    let digest = |number: u64| format!("sha256:{:016x}{:048x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number);
    (0..images).map(|number| (digest(number).parse().unwrap(), entry(number))).collect()
}

#[tokio::test]
async fn an_inventory_is_read_as_it_was_written_whatever_its_size_was() {
    let store = Store::new().await;
    let (table, here) = (&store.table, registry(TOKYO));
    let (app, app2) = ("team/app".parse().unwrap(), "team/app2".parse().unwrap());
    table.put_inventory(&here, &app2, &inventory(3)).await.unwrap();
    for images in [0, 200, 251, 5_000, 300, 10, 0] {
        let written = inventory(images);
        table.put_inventory(&here, &app, &written).await.unwrap();
        let read = table.inventories(&here, "").await.unwrap();
        assert_eq!(read.get(&app).cloned().unwrap_or_default(), written);
        assert_eq!(read[&app2].len(), 3);
        let some: BTreeSet<_> = written
            .keys()
            .step_by(97)
            .cloned()
            .map(|digest| (here.clone(), Image { repository: app.clone(), digest }))
            .collect();
        let found = table.inventory_of(&some).await.unwrap();
        assert_eq!(found.len(), some.len());
        assert!(found.iter().all(|((_, image), entry)| written[&image.digest] == *entry));
    }
    let other = (here.clone(), Image { repository: app, digest: inventory(1).into_keys().next().unwrap() });
    assert!(table.inventory_of(&[other].into()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_listing_writes_only_the_parts_that_changed() {
    let store = Store::new().await;
    let (table, here, app) = (&store.table, registry(TOKYO), "team/app".parse().unwrap());
    let mut images = inventory(2_000);
    let written = async |images: &Inventory| {
        let before = table.units().1;
        table.put_inventory(&here, &app, images).await.unwrap();
        table.units().1 - before
    };
    // About 115 bytes for each image, one unit for each kB.
    let first = written(&images).await;
    assert!((200.0..280.0).contains(&first), "{first}");
    assert_eq!(written(&images).await, 0.0);
    // A changed pull time writes the sixteenth with the image.
    images.values_mut().next().unwrap().last_pulled_at = None;
    let second = written(&images).await;
    assert!((5.0..25.0).contains(&second), "{second}");
}
