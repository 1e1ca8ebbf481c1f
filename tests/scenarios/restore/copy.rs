//! `restore --copy` brings all of an image back, can be repeated, and believes no download.

use std::path::Path;

use answers::{
    reference::Reference,
    restore::{self, CopyAnswer, CopyPlan, RestoreOutcome},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use domain::image::{Digest, Image, Registry, Tag};
use retry::chain;
use serde_json::{Value, json};
use simulator::settings::Settings;

use crate::{
    events::{IRELAND, TOKYO},
    mirror::{FOLLOW, Site, index_of, manifest},
    registries::{IMAGE, digest},
};

/// The uploads of ECR's API have parts of at most 10 MiB.
const PART: usize = 10 << 20;

fn layer_digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn upload(site: &Site, bytes: &[u8]) {
    let upload = site.call(IRELAND, "InitiateLayerUpload", json!({}))["uploadId"].clone();
    for (number, part) in bytes.chunks(PART).enumerate() {
        let (first, last) = (number * PART, number * PART + part.len() - 1);
        let part = BASE64_STANDARD.encode(part);
        let body = json!({"uploadId": upload, "partFirstByte": first, "partLastByte": last, "layerPartBlob": part});
        site.call(IRELAND, "UploadLayerPart", body);
    }
    let body = json!({"uploadId": upload, "layerDigests": [layer_digest(bytes)]});
    site.call(IRELAND, "CompleteLayerUpload", body);
}

/// A manifest with one layer, and the configuration `{}`.
fn with_layer(bytes: &[u8], subject: Option<&str>) -> String {
    let part = |bytes: &[u8]| json!({"mediaType": "text/plain", "digest": layer_digest(bytes), "size": bytes.len()});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": part(b"{}"), "layers": [part(bytes)]});
    if let Some(subject) = subject {
        manifest["artifactType"] = json!("text/signature");
        manifest["subject"] = json!({"mediaType": IMAGE, "digest": digest(subject), "size": subject.len()});
    }
    manifest.to_string()
}

/// An index with a child of 11 MiB and a signature, which Tokyo had as a replica and deleted.
async fn deleted_replica(folder: &Path) -> (Site, Image, [String; 3]) {
    let site = Site::open(FOLLOW, Settings::default(), Some(folder.to_owned())).await;
    let large: Vec<u8> = (0..PART + (1 << 20)).map(|number| (number % 251) as u8).collect();
    for bytes in [&b"{}"[..], &large, b"signature"] {
        upload(&site, bytes);
    }
    let child = with_layer(&large, None);
    let index = index_of(&[&child]);
    let signature = with_layer(b"signature", Some(&index));
    site.push(IRELAND, &child, None);
    site.push(IRELAND, &index, Some("v1"));
    let image = site.push(IRELAND, &index, Some("v1.0"));
    site.push(IRELAND, &signature, None);
    site.arrive().await;
    let all = [&child, &signature, &index].map(|manifest| digest(manifest));
    for digest in all.iter().rev() {
        site.delete(TOKYO, &[json!({"imageDigest": digest})]);
    }
    site.pass(60).await;
    assert!(!site.has(TOKYO, &image) && site.has(IRELAND, &image));
    (site, image, all)
}

async fn answer(site: &Site, image: &Image, move_tags: bool) -> CopyAnswer {
    let (table, registries) = (&site.local.table, &site.local.mirror.registries);
    let (reference, tokyo) = (Reference::Exact(image.clone()), TOKYO.parse().unwrap());
    restore::plan_copy(table, registries, &reference, &tokyo, move_tags).await.unwrap()
}

async fn plan(site: &Site, image: &Image) -> CopyPlan {
    match answer(site, image, false).await {
        CopyAnswer::Plan(plan) => plan,
        CopyAnswer::Nothing(restored) => panic!("{restored:?}"),
    }
}

/// Whether Tokyo's layer can be downloaded.
fn can_be_pulled(site: &Site, layer: &str) -> bool {
    let url = site.try_call(TOKYO, "GetDownloadUrlForLayer", json!({"layerDigest": layer}));
    url.is_ok()
}

fn tags(site: &Site, image: &Image) -> Vec<String> {
    let held = site.local.simulator.held();
    let key = (TOKYO.parse::<Registry>().unwrap(), image.clone());
    held.get(&key).map(|held| held.tags.iter().map(Tag::to_string).collect()).unwrap_or_default()
}

#[tokio::test]
async fn an_index_comes_back_with_children_layers_tags_and_signature() {
    let folder = tempfile::tempdir().unwrap();
    let (site, image, all) = deleted_replica(folder.path()).await;
    let plan = plan(&site, &image).await;
    assert_eq!((plan.layers.len(), plan.manifests()), (3, 3), "{plan:?}");
    assert_eq!(plan.bytes(), (PART + (1 << 20) + 2 + 9) as u64);
    assert!(plan.layers.keys().all(|layer| !can_be_pulled(&site, layer.as_str())));
    let (before, mut reported) = (site.local.table.placements(&image).await.unwrap(), Vec::new());
    let copied = restore::copy(&site.local.mirror.registries, &plan, |done| reported.push(done)).await.unwrap();
    // Parts of 10 MiB, 1 MiB and two small ones, then the manifests.
    assert_eq!(reported.len(), 4 + 3, "{reported:?}");
    assert!(reported.is_sorted_by_key(|done| (done.bytes, done.manifests)));
    assert_eq!(reported.last(), Some(&copied.progress));
    assert_eq!((copied.progress.layers, copied.progress.bytes), (3, plan.bytes()));
    assert_eq!(copied.notes, plan.notes);
    assert!(copied.notes[0].contains("it no longer follows its source"), "{:?}", copied.notes);
    assert_eq!(tags(&site, &image), ["v1", "v1.0"]);
    for digest in &all {
        let one = format!("{}@{digest}", image.repository).parse().unwrap();
        assert!(site.has(TOKYO, &one), "{digest}");
    }
    assert!(plan.layers.keys().all(|layer| can_be_pulled(&site, layer.as_str())));
    // The table learns of it from events alone.
    assert_eq!(site.local.table.placements(&image).await.unwrap(), before);
    site.pass(1).await;
    let tokyo: Registry = TOKYO.parse().unwrap();
    assert!(site.local.table.placements(&image).await.unwrap().placements[&tokyo].pushed().is_some());
    let CopyAnswer::Nothing(restored) = answer(&site, &image, false).await else { panic!("it is there") };
    assert!(matches!(restored.outcome, RestoreOutcome::There));
}

#[tokio::test]
async fn a_corrupt_download_stops_the_copy_and_a_repetition_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (site, image, _) = deleted_replica(folder.path()).await;
    let first = plan(&site, &image).await;
    let last: Digest = first.layers.keys().next_back().unwrap().clone();
    let file = folder.path().join("layers").join(last.encoded());
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[0] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let registries = &site.local.mirror.registries;
    let error = chain(&restore::copy(registries, &first, |_| ()).await.unwrap_err());
    let begin = format!(
        "cannot copy layer {last} from `{IRELAND}` to `{TOKYO}`; copied before it: 2 of 3 layers, 0 of 3 manifests: \
         what was downloaded is not this layer"
    );
    assert!(error.starts_with(&begin), "{error}");
    let available = site.call(TOKYO, "BatchCheckLayerAvailability", json!({"layerDigests": [last]}));
    assert_eq!(available["layers"][0]["layerAvailability"], "UNAVAILABLE");
    assert!(!site.has(TOKYO, &image));
    std::fs::write(&file, &good).unwrap();
    let second = plan(&site, &image).await;
    assert_eq!((second.layers.keys().collect::<Vec<_>>(), second.manifests()), (vec![&last], 3));
    restore::copy(registries, &second, |_| ()).await.unwrap();
    assert_eq!(tags(&site, &image), ["v1", "v1.0"]);
}

#[tokio::test]
async fn a_copy_that_ended_between_two_tags_sets_the_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let (site, image, _) = deleted_replica(folder.path()).await;
    let registries = &site.local.mirror.registries;
    let mut half = plan(&site, &image).await;
    half.tags.pop_last();
    restore::copy(registries, &half, |_| ()).await.unwrap();
    assert_eq!(tags(&site, &image), ["v1"]);
    for deliver in [false, true] {
        if deliver {
            site.pass(1).await;
        }
        let rest = plan(&site, &image).await;
        assert_eq!((rest.layers.len(), rest.manifests()), (0, 1));
        assert_eq!(rest.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["v1.0"]);
        if deliver {
            restore::copy(registries, &rest, |_| ()).await.unwrap();
        }
    }
    assert_eq!(tags(&site, &image), ["v1", "v1.0"]);
}

#[tokio::test]
async fn a_tag_that_another_image_got_meanwhile_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (site, image, _) = deleted_replica(folder.path()).await;
    let plan = plan(&site, &image).await;
    let new = site.push(TOKYO, &manifest("new"), Some("v1"));
    let copied = restore::copy(&site.local.mirror.registries, &plan, |_| ()).await.unwrap();
    assert_eq!(copied.left_out, [("v1".parse().unwrap(), new.digest.clone())].into());
    assert_eq!((tags(&site, &image), tags(&site, &new)), (vec!["v1.0".to_owned()], vec!["v1".to_owned()]));
}

#[tokio::test]
async fn an_image_without_layers_is_not_copied() {
    let site = Site::new(FOLLOW).await;
    let image = site.push(IRELAND, &with_layer(b"never uploaded", None), Some("v1"));
    site.arrive().await;
    site.delete_image(TOKYO, &image);
    site.pass(60).await;
    let error = restore::copy(&site.local.mirror.registries, &plan(&site, &image).await, |_| ()).await.unwrap_err();
    assert!(chain(&error).contains("0 of 2 layers, 0 of 1 manifests: LayersNotFoundException"), "{}", chain(&error));
    assert!(!site.has(TOKYO, &image));
    // No other registry has it: there is nothing to copy from.
    site.a_day().await;
    let other: Value = json!({"force": true});
    for registry in [IRELAND, crate::events::VIRGINIA] {
        site.call(registry, "DeleteRepository", other.clone());
    }
    let CopyAnswer::Nothing(restored) = answer(&site, &image, false).await else { panic!("no registry has it") };
    assert!(matches!(restored.outcome, RestoreOutcome::Gone(_)));
}
