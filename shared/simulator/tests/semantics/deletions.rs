use aws_sdk_ecr::types::ImageIdentifier;

use crate::sites::{
    APP, IRELAND, Sites, artifact, code, delete, digest, failed, image, images, index, named, push, set, tagged, tags,
};

#[tokio::test]
async fn deleting_the_last_tag_deletes_the_image() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    for tag in ["v1", "latest"] {
        push(&ecr, &image("a"), Some(tag)).await;
    }
    assert_eq!(delete(&ecr, tagged("latest")).await, (vec!["latest".to_owned()], vec![]));
    assert_eq!(tags(&ecr, &image("a")).await, set(&["v1"]));
    assert_eq!(delete(&ecr, tagged("v1")).await, (vec!["v1".to_owned()], vec![]));
    assert_eq!(tags(&ecr, &image("a")).await, None);
}

#[tokio::test]
async fn deleting_a_digest_deletes_all_its_tags() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    for tag in ["v1", "latest"] {
        push(&ecr, &image("a"), Some(tag)).await;
    }
    push(&ecr, &image("b"), None).await;
    let (mut deleted, refused) = delete(&ecr, named(&image("a"))).await;
    deleted.sort();
    assert_eq!((deleted, refused), (vec!["latest".to_owned(), "v1".to_owned()], vec![]));
    assert_eq!(delete(&ecr, named(&image("b"))).await, (vec!["-".to_owned()], vec![]));
    assert!(images(&ecr).await.is_empty());
}

#[tokio::test]
async fn a_tag_and_a_digest_must_agree() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    for tag in ["v1", "latest"] {
        push(&ecr, &image("a"), Some(tag)).await;
    }
    push(&ecr, &image("b"), Some("v2")).await;
    let both =
        |manifest: &str, tag: &str| ImageIdentifier::builder().image_digest(digest(manifest)).image_tag(tag).build();
    assert_eq!(delete(&ecr, both(&image("b"), "v1")).await.1, ["ImageTagDoesNotMatchDigest"]);
    assert_eq!(delete(&ecr, both(&image("a"), "v1")).await, (vec!["v1".to_owned()], vec![]));
    assert_eq!(tags(&ecr, &image("a")).await, set(&["latest"]));
    assert_eq!(delete(&ecr, both(&image("a"), "latest")).await, (vec!["latest".to_owned()], vec![]));
    assert_eq!(tags(&ecr, &image("a")).await, None);
    assert_eq!(tags(&ecr, &image("b")).await, set(&["v2"]));
}

#[tokio::test]
async fn failures_are_part_of_a_successful_response() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    let ids = [
        ImageIdentifier::builder().build(),
        ImageIdentifier::builder().image_digest("no digest").build(),
        ImageIdentifier::builder().image_digest("sha256:xyz").build(),
        ImageIdentifier::builder().image_tag("no tag").build(),
        named(&image("b")),
        tagged("v1"),
        tagged("v2"),
    ];
    let answer = ecr.batch_delete_image().repository_name(APP).set_image_ids(Some(ids.to_vec())).send().await.unwrap();
    let codes: Vec<_> = answer.failures().iter().map(code).collect();
    let expected = [
        "MissingDigestAndTag",
        "InvalidImageDigest",
        "InvalidImageDigest",
        "InvalidImageTag",
        "ImageNotFound",
        "ImageNotFound",
    ];
    assert_eq!(codes, expected);
    assert_eq!(answer.image_ids().len(), 1);
}

#[tokio::test]
async fn a_call_accepts_at_most_a_hundred_images() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let ids = |count: usize| Some((0..count).map(|number| tagged(&format!("v{number}"))).collect());
    let call = |count| ecr.batch_delete_image().repository_name(APP).set_image_ids(ids(count));
    assert_eq!(call(100).send().await.unwrap().failures().len(), 100);
    assert_eq!(failed(call(101).send().await), "InvalidParameterException");
    assert_eq!(failed(call(0).send().await), "InvalidParameterException");
    let described = ecr.describe_images().repository_name(APP).set_image_ids(ids(101)).send().await;
    assert_eq!(failed(described), "InvalidParameterException");
}

#[tokio::test]
async fn a_child_can_be_deleted_only_after_its_index() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let (amd64, arm64) = (image("amd64"), image("arm64"));
    let index = index(&[&amd64, &arm64]);
    push(&ecr, &amd64, None).await;
    push(&ecr, &arm64, Some("arm64")).await;
    push(&ecr, &index, Some("v1")).await;
    assert_eq!(delete(&ecr, named(&amd64)).await.1, ["ImageReferencedByManifestList"]);
    assert_eq!(delete(&ecr, tagged("arm64")).await.1, ["ImageReferencedByManifestList"]);
    // One of several tags can be removed.
    push(&ecr, &arm64, Some("second")).await;
    assert_eq!(delete(&ecr, tagged("second")).await.0, ["second"]);
    assert_eq!(delete(&ecr, named(&index)).await.0, ["v1"]);
    // Deleting an index keeps its children.
    assert_eq!(images(&ecr).await.len(), 2);
    assert_eq!(delete(&ecr, named(&amd64)).await.0, ["-"]);
}

#[tokio::test]
async fn deleting_a_subject_keeps_its_artifacts() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    push(&ecr, &artifact(&image("a"), "text/sbom+json"), None).await;
    assert_eq!(delete(&ecr, tagged("v1")).await.0, ["v1"]);
    assert_eq!(images(&ecr).await.len(), 1);
}
