//! Commands about drift between registries, against simulated registries in this process.

use jiff::SignedDuration;
use serde_json::json;

use crate::mirror::{IRELAND, Scene, TOKYO};

fn push(scene: &Scene, registry: &str, of: &str, tag: &str) {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1});
    let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "of": of});
    scene.call(registry, "PutImage", json!({"imageManifest": manifest.to_string(), "imageTag": tag}));
}

#[test]
fn drift_is_listed_and_backfill_copies_missing_images() {
    // The command uses real time, and its observations must not be older than what is recorded.
    let scene = Scene::some_time_ago(SignedDuration::from_hours(48));
    let mut report = scene.shows(&["drift"]);
    // A replica is deleted, a tag is put on a replica, and a replication fails; all events of these are lost.
    push(&scene, IRELAND, "next", "v2");
    scene.pass(60);
    scene.local.simulator.set(|settings| settings.trouble.lost = 1.0);
    scene.call(TOKYO, "BatchDeleteImage", json!({"imageIds": [{"imageTag": "v2"}]}));
    push(&scene, TOKYO, "archived", "mine");
    scene.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    push(&scene, IRELAND, "newest", "v3");
    scene.pass(60);
    scene.local.simulator.set(|settings| (settings.trouble.lost, settings.trouble.failed) = (0.0, 0.0));
    scene.pass(31 * 60);
    report += &scene.shows(&["reconcile", IRELAND, TOKYO]);
    report += &scene.shows(&["drift"]);
    // The events of the backfill are lost as well: the command finds its copies by reading the registry.
    scene.local.simulator.set(|settings| settings.trouble.lost = 1.0);
    report += &scene.shows_while_time_passes(&["backfill", IRELAND, TOKYO, "--yes"]);
    scene.local.simulator.set(|settings| settings.trouble.lost = 0.0);
    report += &scene.shows(&["drift", "--repository", "team/app"]);
    insta::assert_snapshot!(report);
}

#[test]
fn a_failed_reconcile_or_backfill_prints_one_clear_line() {
    let scene = Scene::new();
    let mut report = scene.shows(&["reconcile", "ireland"]);
    report += &scene.shows(&["reconcile", IRELAND, "--calls-per-second", "0"]);
    report += &scene.shows(&["backfill", TOKYO, IRELAND]);
    report += &scene.shows(&["backfill", TOKYO, IRELAND, "--yes"]);
    scene.local.simulator.set(|settings| settings.trouble.throttled = 1.0);
    report += &scene.shows(&["reconcile", IRELAND]);
    insta::assert_snapshot!(report);
}
