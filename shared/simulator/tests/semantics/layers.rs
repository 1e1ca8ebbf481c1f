//! Layers by ECR's own API: uploads in parts, downloads, and who has which layer.

use aws_sdk_ecr::{Client, primitives::Blob, types::LayerAvailability};
use simulator::settings::Settings;

use crate::distribution::{blob_digest, layered};
use crate::sites::{
    APP, COPIED, IRELAND, Sites, TOKYO, VIRGINIA, allow, delete, failed, index, named, push, replicate, rule, tagged,
    tags,
};

const MIB: usize = 1 << 20;

async fn begin(ecr: &Client) -> String {
    let begun = ecr.initiate_layer_upload().repository_name(APP).send().await.unwrap();
    assert_eq!(begun.part_size(), Some(10 << 20));
    begun.upload_id.unwrap()
}

async fn part(ecr: &Client, upload: &str, first: usize, bytes: &[u8]) -> Result<i64, String> {
    let call = ecr.upload_layer_part().repository_name(APP).upload_id(upload);
    let last = (first + bytes.len()).saturating_sub(1);
    let call = call.part_first_byte(first as i64).part_last_byte(last as i64).layer_part_blob(Blob::new(bytes));
    let answer = call.send().await;
    match answer {
        Ok(answer) => Ok(answer.last_byte_received().unwrap()),
        refused => Err(failed(refused)),
    }
}

async fn complete(ecr: &Client, upload: &str, layer: &str) -> Result<String, String> {
    let call = ecr.complete_layer_upload().repository_name(APP).upload_id(upload).layer_digests(layer);
    let answer = call.send().await;
    match answer {
        Ok(answer) => Ok(answer.layer_digest.unwrap()),
        refused => Err(failed(refused)),
    }
}

pub(crate) async fn upload(ecr: &Client, bytes: &[u8]) -> String {
    let upload = begin(ecr).await;
    part(ecr, &upload, 0, bytes).await.unwrap();
    complete(ecr, &upload, &blob_digest(bytes)).await.unwrap()
}

async fn is_available(ecr: &Client, layer: &str) -> bool {
    let answer = ecr.batch_check_layer_availability().repository_name(APP).layer_digests(layer).send().await.unwrap();
    answer.layers()[0].layer_availability() == Some(&LayerAvailability::Available)
}

async fn download(ecr: &Client, layer: &str) -> Result<Vec<u8>, String> {
    let answer = ecr.get_download_url_for_layer().repository_name(APP).layer_digest(layer).send().await;
    if answer.is_err() {
        return Err(failed(answer));
    }
    let url = answer.unwrap().download_url.unwrap();
    let (status, _, bytes) = crate::distribution::fetch(&url).await;
    assert_eq!(status, 200, "{url}");
    Ok(bytes)
}

#[tokio::test]
async fn a_layer_is_uploaded_in_parts_and_downloaded_once_an_image_names_it() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let bytes: Vec<u8> = (0..5 * MIB + 1000).map(|number| (number % 251) as u8).collect();
    let layer = blob_digest(&bytes);
    assert!(!is_available(&ecr, &layer).await);
    assert_eq!(download(&ecr, &layer).await.unwrap_err(), "LayersNotFoundException");
    let upload_id = begin(&ecr).await;
    let (first, second) = bytes.split_at(5 * MIB);
    assert_eq!(part(&ecr, &upload_id, 0, first).await, Ok(5 * MIB as i64 - 1));
    // A gap, and what was there already.
    for at in [5 * MIB + 1, 0] {
        assert_eq!(part(&ecr, &upload_id, at, second).await.unwrap_err(), "InvalidLayerPartException");
    }
    part(&ecr, &upload_id, 5 * MIB, second).await.unwrap();
    assert_eq!(complete(&ecr, &upload_id, &layer).await.unwrap(), layer);
    assert!(is_available(&ecr, &layer).await);
    assert_eq!(download(&ecr, &layer).await.unwrap_err(), "LayerInaccessibleException");
    push(&ecr, &layered(&[&bytes], None), Some("v1")).await;
    assert_eq!(download(&ecr, &layer).await.unwrap(), bytes);
    // Twice.
    let upload_id = begin(&ecr).await;
    part(&ecr, &upload_id, 0, &bytes).await.unwrap();
    assert_eq!(complete(&ecr, &upload_id, &layer).await.unwrap_err(), "LayerAlreadyExistsException");
    assert_eq!(complete(&ecr, &upload_id, &layer).await.unwrap_err(), "UploadNotFoundException");
}

#[tokio::test]
async fn a_wrong_upload_is_refused_with_ecrs_errors() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_eq!(part(&ecr, unknown, 0, b"x").await.unwrap_err(), "UploadNotFoundException");
    let empty = begin(&ecr).await;
    assert_eq!(complete(&ecr, &empty, &blob_digest(b"")).await.unwrap_err(), "EmptyUploadException");
    let wrong = begin(&ecr).await;
    part(&ecr, &wrong, 0, b"some").await.unwrap();
    assert_eq!(complete(&ecr, &wrong, &blob_digest(b"other")).await.unwrap_err(), "InvalidLayerException");
    let small = begin(&ecr).await;
    part(&ecr, &small, 0, b"some").await.unwrap();
    part(&ecr, &small, 4, b"more").await.unwrap();
    assert_eq!(complete(&ecr, &small, &blob_digest(b"somemore")).await.unwrap_err(), "LayerPartTooSmallException");
    let large = begin(&ecr).await;
    assert_eq!(part(&ecr, &large, 0, &vec![0; 11 * MIB]).await.unwrap_err(), "InvalidLayerPartException");
    // An upload belongs to its repository.
    ecr.create_repository().repository_name("other").send().await.unwrap();
    let call = ecr.upload_layer_part().repository_name("other").upload_id(&large).part_first_byte(0).part_last_byte(0);
    assert_eq!(failed(call.layer_part_blob(Blob::new("x")).send().await), "UploadNotFoundException");
    let initiate = ecr.initiate_layer_upload().repository_name("missing").send().await;
    assert_eq!(failed(initiate), "RepositoryNotFoundException");
    let check = ecr.batch_check_layer_availability().repository_name(APP).layer_digests("sha256:ab");
    assert_eq!(check.send().await.unwrap().failures()[0].failure_code().unwrap().as_str(), "InvalidLayerDigest");
}

#[tokio::test]
async fn put_image_requires_layers_only_on_request() {
    for required in [false, true] {
        let sites = Sites::with(Settings { put_image_requires_layers: required, ..Settings::default() }).await;
        let ecr = sites.with_app(IRELAND).await;
        let manifest = layered(&[b"some"], None);
        let put = ecr.put_image().repository_name(APP).image_manifest(&manifest);
        if required {
            assert_eq!(failed(put.clone().send().await), "LayersNotFoundException");
            upload(&ecr, b"some").await;
            upload(&ecr, b"{}").await;
        }
        put.send().await.unwrap();
        assert!(is_available(&ecr, &blob_digest(b"some")).await);
    }
}

#[tokio::test]
async fn layers_follow_copies_and_go_with_the_last_image_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let sites = Sites::open(Settings::default(), Some(folder.path())).await;
    let ireland = sites.with_app(IRELAND).await;
    let (virginia, tokyo) = (sites.ecr(VIRGINIA).await, sites.ecr(TOKYO).await);
    allow(&tokyo, "111122223333", &["ecr:*"]).await;
    replicate(&ireland, [rule(&[VIRGINIA, TOKYO], None)]).await;
    for bytes in [&b"{}"[..], b"one", b"two"] {
        upload(&ireland, bytes).await;
    }
    let (one, both) = (layered(&[b"one"], None), layered(&[b"one", b"two"], None));
    push(&ireland, &one, Some("one")).await;
    push(&ireland, &both, None).await;
    push(&ireland, &index(&[&both]), Some("both")).await;
    sites.pass(COPIED);
    assert_eq!(tags(&tokyo, &one).await, crate::sites::set(&["one"]));
    for ecr in [&virginia, &tokyo] {
        assert_eq!(download(ecr, &blob_digest(b"two")).await.unwrap(), b"two");
    }
    // The source loses everything; the copies keep their layers, also across a restart.
    delete(&ireland, tagged("both")).await;
    delete(&ireland, named(&both)).await;
    assert!(is_available(&ireland, &blob_digest(b"one")).await && !is_available(&ireland, &blob_digest(b"two")).await);
    ireland.delete_repository().repository_name(APP).force(true).send().await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("layers")).unwrap();
    for name in ["registries.db", "registries.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let stored = || std::fs::read_dir(folder.path().join("layers")).unwrap().count();
    assert_eq!(stored(), 3);
    for entry in std::fs::read_dir(folder.path().join("layers")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join("layers").join(path.file_name().unwrap())).unwrap();
    }
    let again = Sites::open(Settings::default(), Some(copy.path())).await;
    assert_eq!(download(&again.ecr(TOKYO).await, &blob_digest(b"two")).await.unwrap(), b"two");
    // With the last image that names it, the content goes.
    for ecr in [&virginia, &tokyo] {
        delete(ecr, tagged("both")).await;
        delete(ecr, named(&both)).await;
    }
    assert_eq!(stored(), 2);
}
