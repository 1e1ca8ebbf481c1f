//! `restore` names the tags that an image had when it was deleted, and moves none back unasked; the drill shows what
//! could be brought back.
//!
//! - `copy`: all of an image comes back through ECR's API.

mod copy;

use answers::{
    reference::Reference,
    restore::{self, RestoreOutcome, Return},
};
use domain::image::{Image, Tag};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    mirror::{FOLLOW, Site, index_of, manifest, signature_of},
    registries::digest,
};

async fn gone(site: &Site, image: &Image, move_tags: bool) -> Return {
    let (table, registries) = (&site.local.table, &site.local.mirror.registries);
    let (reference, tokyo) = (Reference::Exact(image.clone()), TOKYO.parse().unwrap());
    match restore::restore(table, registries, &reference, &tokyo, move_tags).await.unwrap().outcome {
        RestoreOutcome::Gone(found) => *found,
        other => panic!("{other:?}"),
    }
}

fn copy(image: &Image, target: &str) -> String {
    let place = |registry: &str| {
        let (account, region) = registry.split_once('/').unwrap();
        format!("{account}.dkr.ecr.{region}.amazonaws.com/{}", image.repository)
    };
    format!("crane copy {}@{} {}{target}", place(IRELAND), image.digest, place(TOKYO))
}

#[tokio::test]
async fn only_tags_that_the_image_had_when_it_was_deleted_come_back() {
    let site = Site::new(FOLLOW).await;
    let old = site.push(IRELAND, &manifest("old"), Some("v1"));
    site.push(IRELAND, &manifest("old"), Some("latest"));
    site.push(IRELAND, &manifest("old"), Some("withdrawn"));
    site.push(IRELAND, &signature_of(&manifest("old")), None);
    site.arrive().await;
    site.untag(TOKYO, "withdrawn");
    site.pass(3600).await;
    site.push(IRELAND, &manifest("new"), Some("latest"));
    site.arrive().await;
    site.pass(3600).await;
    let signature = format!("{}@{}", old.repository, digest(&signature_of(&manifest("old")))).parse::<Image>().unwrap();
    site.delete_image(TOKYO, &signature);
    site.delete_image(TOKYO, &old);
    site.pass(60).await;
    let found = gone(&site, &old, false).await;
    assert_eq!(found.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["v1"]);
    let by_digest = |image: &Image| copy(image, &format!("@{}", image.digest));
    assert_eq!(found.commands, [copy(&old, ":v1"), by_digest(&signature)]);
    assert_eq!(found.held_by.len(), 2, "{found:?}");
    let native = "a copy counts as pushed to 444455556666/ap-northeast-1 itself: it no longer follows its source, and \
                  is not deleted with it again";
    assert_eq!(found.notes, [native]);
}

#[tokio::test]
async fn a_tag_that_another_image_has_now_is_moved_back_only_on_request() {
    let site = Site::new(FOLLOW).await;
    let old = site.push(IRELAND, &manifest("old"), Some("stable"));
    site.arrive().await;
    site.pass(3600).await;
    site.delete_image(TOKYO, &old);
    site.pass(3600).await;
    let new = site.push(IRELAND, &manifest("new"), Some("stable"));
    site.arrive().await;
    let found = gone(&site, &old, false).await;
    let means = format!("tag stable means {} in {TOKYO} now", new.digest.short());
    assert_eq!(found.commands, [copy(&old, &format!("@{}", old.digest))]);
    assert_eq!(found.notes[0], format!("{means}: it is not moved back, unless `--move-tag` is given"));
    let found = gone(&site, &old, true).await;
    assert_eq!(found.commands, [copy(&old, ":stable")]);
    assert_eq!(found.notes[0], format!("{means}: it is moved back"));
    // Where tags are immutable, ECR would refuse it.
    site.call(TOKYO, "PutImageTagMutability", json!({"imageTagMutability": "IMMUTABLE"}));
    let found = gone(&site, &old, true).await;
    assert_eq!(found.commands, [copy(&old, &format!("@{}", old.digest))]);
    assert_eq!(found.notes[0], format!("{means}, and tags of this repository are immutable: it is not moved"));
}

#[tokio::test]
async fn an_archived_copy_must_be_restored_first() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.arrive().await;
    site.delete_image(TOKYO, &image);
    for registry in [IRELAND, VIRGINIA] {
        let archive = json!({"imageId": {"imageDigest": image.digest}, "targetStorageClass": "ARCHIVE"});
        site.call(registry, "UpdateImageStorageClass", archive);
    }
    site.pass(60).await;
    let found = gone(&site, &image, false).await;
    assert!(found.commands.is_empty() && found.archived_in.len() == 2, "{found:?}");
    let first = format!(
        "{IRELAND} has it archived: restore it there first, `ecr-lineage restore {image} --registry {IRELAND}`"
    );
    assert_eq!(found.notes[0], first);
}

#[tokio::test]
async fn a_drill_says_which_deleted_replicas_could_be_brought_back() {
    let site = Site::new(FOLLOW).await;
    let layer = |letter: &str| format!("sha256:{}", letter.repeat(64));
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1, "digest": layer("1")});
    let of = |letter: &str| {
        let layers = json!([{"digest": layer(letter), "size": 1}]);
        json!({"mediaType": crate::registries::IMAGE, "config": config, "layers": layers}).to_string()
    };
    site.push(IRELAND, &of("2"), None);
    let index = site.push(IRELAND, &index_of(&[&of("2")]), Some("index"));
    let lost = site.push(IRELAND, &of("3"), Some("lost"));
    site.arrive().await;
    // Virginia's copy of the index is pushed there itself: it stays when Ireland deletes the image.
    site.push(VIRGINIA, &index_of(&[&of("2")]), Some("kept"));
    site.pass(60).await;
    site.delete_image(IRELAND, &index);
    site.delete_image(IRELAND, &lost);
    site.a_day().await;
    assert!(!site.has(TOKYO, &index) && site.has(VIRGINIA, &index) && !site.has(VIRGINIA, &lost));
    let (table, registries) = (&site.local.table, &site.local.mirror.registries);
    let before = site.local.simulator.held();
    let (scope, now) = ((20, SignedDuration::from_hours(48)), site.local.simulator.clock().now());
    let drilled = restore::drill(table, registries, scope, |_| 0, "dana", now).await.unwrap();
    let mut tried: Vec<_> =
        drilled.deletions.iter().map(|one| (&one.image, one.registry.to_string(), one.why.clone())).collect();
    tried.sort();
    let mut expected = vec![
        (&index, TOKYO.to_owned(), format!("from {VIRGINIA}")),
        (&lost, TOKYO.to_owned(), "no known registry has it".to_owned()),
        (&lost, VIRGINIA.to_owned(), "no known registry has it".to_owned()),
    ];
    expected.sort();
    assert_eq!(tried, expected);
    assert_eq!((drilled.drill.tried, drilled.drill.restorable), (3, 1));
    assert_eq!(format!("{before:?}"), format!("{:?}", site.local.simulator.held()), "a drill changes nothing");
    let drilled = restore::drill(table, registries, (1, scope.1), |_| 0, "dana", now).await.unwrap();
    assert_eq!(drilled.deletions.len(), 1);
    table.put_restore_drill(&drilled.drill).await.unwrap();
    let overview = answers::overview::overview(table, now).await.unwrap();
    let drill = overview.restore_drill.unwrap();
    assert_eq!(drill.drill, drilled.drill);
    assert!(drill.summary.starts_with("restore drill: "), "{}", drill.summary);
}
