use std::time::Duration;

use aws_sdk_ecr::types::{DescribeImagesFilter, ImageStatusFilter, ListImagesFilter, TargetStorageClass};

use crate::sites::{
    APP, COPIED, IRELAND, Sites, VIRGINIA, artifact, code, failed, image, images, index, named, push, replicate, rule,
    set, tagged, tags,
};

const RESTORED: Duration = Duration::from_secs(20 * 60);

async fn move_to(ecr: &aws_sdk_ecr::Client, manifest: &str, class: TargetStorageClass) -> String {
    let call =
        ecr.update_image_storage_class().repository_name(APP).image_id(named(manifest)).target_storage_class(class);
    call.send().await.unwrap().image_status().unwrap().as_str().to_owned()
}

async fn status(ecr: &aws_sdk_ecr::Client, manifest: &str) -> String {
    let images = images(ecr).await;
    let digest = crate::sites::digest(manifest);
    let image = images.iter().find(|image| image.image_digest() == Some(&digest)).unwrap();
    image.image_status().unwrap().as_str().to_owned()
}

#[tokio::test]
async fn an_archived_image_exists_and_cannot_be_pulled() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    assert_eq!(move_to(&ecr, &image("a"), TargetStorageClass::Archive).await, "ARCHIVED");
    // Archiving it again changes nothing.
    assert_eq!(move_to(&ecr, &image("a"), TargetStorageClass::Archive).await, "ARCHIVED");
    let pulled = ecr.batch_get_image().repository_name(APP).image_ids(tagged("v1")).send().await.unwrap();
    assert_eq!(pulled.failures().iter().map(code).collect::<Vec<_>>(), ["ImageInaccessible"]);
    // Lists contain ACTIVE images only, unless the filter requests others.
    assert!(ecr.describe_images().repository_name(APP).send().await.unwrap().image_details().is_empty());
    assert!(ecr.list_images().repository_name(APP).send().await.unwrap().image_ids().is_empty());
    let by_id = ecr.describe_images().repository_name(APP).image_ids(tagged("v1"));
    assert_eq!(failed(by_id.clone().send().await), "ImageNotFoundException");
    for status in [ImageStatusFilter::Archived, ImageStatusFilter::Any] {
        let filter = DescribeImagesFilter::builder().image_status(status.clone()).build();
        let found = by_id.clone().filter(filter.clone()).send().await.unwrap();
        assert_eq!(found.image_details()[0].image_status().unwrap().as_str(), "ARCHIVED");
        assert!(found.image_details()[0].last_archived_at().is_some());
        let filter = ListImagesFilter::builder().image_status(status).build();
        assert_eq!(ecr.list_images().repository_name(APP).filter(filter).send().await.unwrap().image_ids().len(), 1);
    }
}

#[tokio::test]
async fn a_restore_takes_a_while_and_replicates() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    push(&ireland, &image("a"), Some("v1")).await;
    move_to(&ireland, &image("a"), TargetStorageClass::Archive).await;
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    assert_eq!(move_to(&ireland, &image("a"), TargetStorageClass::Standard).await, "ACTIVATING");
    let busy = ireland.update_image_storage_class().repository_name(APP).image_id(tagged("v1"));
    let refused = busy.target_storage_class(TargetStorageClass::Archive).send().await.unwrap_err();
    assert!(refused.into_service_error().is_image_storage_class_update_not_supported_exception());
    sites.pass(RESTORED);
    assert_eq!(status(&ireland, &image("a")).await, "ACTIVE");
    assert!(images(&ireland).await[0].last_activated_at().is_some());
    sites.pass(COPIED);
    assert_eq!(tags(&virginia, &image("a")).await, set(&["v1"]));
}

#[tokio::test]
async fn a_push_and_a_copy_restore_an_archived_image() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    replicate(&ireland, [rule(&[VIRGINIA], None)]).await;
    push(&ireland, &image("a"), Some("v1")).await;
    sites.pass(COPIED);
    for ecr in [&ireland, &virginia] {
        move_to(ecr, &image("a"), TargetStorageClass::Archive).await;
    }
    // Archiving is not replicated; pushing the same image again restores it.
    push(&ireland, &image("a"), Some("v1")).await;
    assert_eq!(status(&ireland, &image("a")).await, "ACTIVE");
    assert_eq!(status(&virginia, &image("a")).await, "ARCHIVED");
    sites.pass(COPIED);
    assert_eq!(status(&virginia, &image("a")).await, "ACTIVE");
}

#[tokio::test]
async fn a_child_of_an_index_is_not_archived_alone() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), None).await;
    push(&ecr, &index(&[&image("a")]), Some("v1")).await;
    let call = ecr.update_image_storage_class().repository_name(APP).image_id(named(&image("a")));
    let refused = call.target_storage_class(TargetStorageClass::Archive).send().await;
    assert_eq!(failed(refused), "ImageStorageClassUpdateNotSupportedException");
}

#[tokio::test]
async fn archived_artifacts_are_listed_only_if_the_filter_requests_them() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    let sbom = artifact(&image("a"), "text/sbom+json");
    push(&ecr, &sbom, None).await;
    move_to(&ecr, &sbom, TargetStorageClass::Archive).await;
    let subject =
        aws_sdk_ecr::types::SubjectIdentifier::builder().image_digest(crate::sites::digest(&image("a"))).build();
    let list = ecr.list_image_referrers().repository_name(APP).subject_id(subject.unwrap());
    assert!(list.clone().send().await.unwrap().referrers().is_empty());
    let any = aws_sdk_ecr::types::ListImageReferrersFilter::builder()
        .artifact_status(aws_sdk_ecr::types::ArtifactStatusFilter::Any)
        .build();
    let found = list.filter(any).send().await.unwrap();
    assert_eq!(found.referrers()[0].artifact_status().unwrap().as_str(), "ARCHIVED");
}
