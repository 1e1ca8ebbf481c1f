//! `costs`, and sizes and last pulls in lists, against simulated registries in this process.

use answers::costs;
use cli::print::Print;
use domain::costs::{CostScope, PriceTable};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::mirror::{IRELAND, Scene, TOKYO};

/// Pushes an image of a size to Ireland.
fn push(scene: &Scene, tag: &str, megabytes: u64) {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 0});
    let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": [{"size": megabytes * 1_000_000}], "of": tag});
    scene.call(IRELAND, "PutImage", json!({"imageManifest": manifest.to_string(), "imageTag": tag}));
}

fn scene() -> Scene {
    // The command uses real time, and its observations must not be older than what is recorded.
    let scene = Scene::some_time_ago(SignedDuration::from_hours(48));
    push(&scene, "v7", 1_200);
    push(&scene, "v8", 850);
    scene.pass(60);
    scene.call(IRELAND, "BatchDeleteImage", json!({"imageIds": [{"imageTag": "v8"}]}));
    scene.pass(60);
    scene.call(TOKYO, "BatchGetImage", json!({"imageIds": [{"imageTag": "v7"}]}));
    scene
}

/// Replaces days and times of day, which depend on when the test runs; the date of the prices stays.
fn without_days(text: &str) -> String {
    let word = |word: &str| match word.len() {
        10 if word.parse::<jiff::civil::Date>().is_ok() && word != "2026-10-07" => "YYYY-MM-DD".to_owned(),
        8 if word.parse::<jiff::civil::Time>().is_ok() => "HH:MM:SS".to_owned(),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.trim_end().split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn costs_sizes_and_last_pulls_are_shown() {
    let scene = scene();
    scene.pass(2 * 60 * 60);
    let mut report = scene.shows(&["costs"]);
    scene.shows(&["reconcile", IRELAND, TOKYO]);
    report += &scene.shows(&["costs"]);
    report += &scene.shows(&["costs", "--registry", TOKYO, "--not-pulled", "1h"]);
    report += &scene.shows(&["costs", "--repository", "prod/*"]);
    let file = scene.user.file(
        "prices.json",
        "{\"date\": \"2026-11-30\", \"sources\": [\"contract\"], \"regions\": \
        {\"eu-west-1\": {\"standard\": 0.05}}}",
    );
    report += &scene.shows(&["costs", "--registry", IRELAND, "--prices", &file]);
    report += &scene.shows(&["images", "team/app"]);
    report += &scene.shows(&["images", "team/app", "--not-pulled", "30d"]);
    report += &scene.shows(&["orphans", "--not-pulled", "1h"]);
    report += &scene.shows(&["costs", "--prices", "/nowhere.json"]);
    report += &scene.shows(&["costs", "--prices", &scene.user.file("other.json", "{}")]);
    insta::assert_snapshot!(without_days(&report));
}

#[test]
fn the_table_of_costs_fits_in_80_columns() {
    let scene = scene();
    scene.shows(&["reconcile", IRELAND, TOKYO]);
    let transferred_since = Timestamp::UNIX_EPOCH;
    let scope = CostScope { registry: None, repositories: None, unpulled_since: None, transferred_since };
    let report = scene.runtime.block_on(costs::costs(&scene.local.table, &scope, &PriceTable::of_aws())).unwrap();
    let text = anstream::adapter::strip_str(&report.table(Some(80))).to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(without_days(&text));
}
