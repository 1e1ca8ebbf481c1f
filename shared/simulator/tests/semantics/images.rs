use aws_sdk_ecr::types::{
    DescribeImagesFilter, ImageTagMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType,
    ListImagesFilter, SubjectIdentifier, TagStatus,
};

use crate::sites::{
    APP, IRELAND, Sites, artifact, code, digest, failed, image, images, index, named, push, set, tagged, tags,
};

#[tokio::test]
async fn a_tag_moves_to_the_image_that_is_pushed_with_it() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("latest")).await;
    push(&ecr, &image("b"), Some("latest")).await;
    assert_eq!(tags(&ecr, &image("a")).await, set(&[]));
    assert_eq!(tags(&ecr, &image("b")).await, set(&["latest"]));
    push(&ecr, &image("a"), Some("v1")).await;
    assert_eq!(tags(&ecr, &image("a")).await, set(&["v1"]));
}

#[tokio::test]
async fn an_image_that_exists_with_its_tag_is_not_put_again() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    for tag in [None, Some("v1".to_owned())] {
        let put = ecr.put_image().repository_name(APP).image_manifest(image("a")).set_image_tag(tag);
        let error = put.send().await.unwrap_err().into_service_error();
        assert!(error.is_image_already_exists_exception(), "{error}");
    }
}

#[tokio::test]
async fn an_invalid_put_is_refused_with_its_own_error() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let put = || ecr.put_image().repository_name(APP);
    let wrong = put().image_manifest(image("a")).image_digest(digest("b")).send().await.unwrap_err();
    assert!(wrong.into_service_error().is_image_digest_does_not_match_exception());
    let orphaned = put().image_manifest(index(&[&image("a")])).send().await.unwrap_err();
    assert!(orphaned.into_service_error().is_referenced_images_not_found_exception());
    assert_eq!(failed(put().image_manifest("no manifest").send().await), "InvalidParameterException");
    assert_eq!(failed(put().image_manifest(image("a")).image_tag("v 1").send().await), "InvalidParameterException");
    let elsewhere = ecr.put_image().repository_name("team/other").image_manifest(image("a")).send().await;
    assert!(elsewhere.unwrap_err().into_service_error().is_repository_not_found_exception());
    assert!(images(&ecr).await.is_empty());
}

#[tokio::test]
async fn an_immutable_tag_does_not_move_unless_it_is_excluded() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let filter = ImageTagMutabilityExclusionFilter::builder()
        .filter("dev-*")
        .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
        .build()
        .unwrap();
    let set_to = |setting| ecr.put_image_tag_mutability().repository_name(APP).image_tag_mutability(setting);
    set_to(ImageTagMutability::ImmutableWithExclusion)
        .image_tag_mutability_exclusion_filters(filter.clone())
        .send()
        .await
        .unwrap();
    for tag in ["v1", "dev-1"] {
        push(&ecr, &image("a"), Some(tag)).await;
    }
    let moved = ecr.put_image().repository_name(APP).image_manifest(image("b")).image_tag("v1").send().await;
    assert!(moved.unwrap_err().into_service_error().is_image_tag_already_exists_exception());
    push(&ecr, &image("b"), Some("dev-1")).await;
    assert_eq!(tags(&ecr, &image("a")).await, set(&["v1"]));

    let odd = set_to(ImageTagMutability::Mutable).image_tag_mutability_exclusion_filters(filter).send().await;
    assert_eq!(failed(odd), "InvalidParameterException");
    set_to(ImageTagMutability::Mutable).send().await.unwrap();
    push(&ecr, &image("b"), Some("v1")).await;
    assert_eq!(tags(&ecr, &image("a")).await, set(&[]));
}

#[tokio::test]
async fn the_description_of_an_image_has_its_fields() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    push(&ecr, &artifact(&image("a"), "text/sbom+json"), None).await;
    let by_tag = ecr.describe_images().repository_name(APP).image_ids(tagged("v1")).send().await.unwrap();
    let [a] = by_tag.image_details() else { panic!("{by_tag:?}") };
    assert_eq!(a.image_digest(), Some(digest(&image("a")).as_str()));
    assert_eq!((a.registry_id(), a.repository_name()), (Some("111122223333"), Some(APP)));
    assert_eq!((a.image_size_in_bytes(), a.image_pushed_at().unwrap().secs()), (Some(100), 1_793_610_000));
    assert_eq!(a.image_manifest_media_type(), Some("application/vnd.oci.image.manifest.v1+json"));
    assert_eq!(a.artifact_media_type(), Some("application/vnd.oci.image.config.v1+json"));
    assert_eq!(a.image_status().unwrap().as_str(), "ACTIVE");
    assert_eq!(a.last_recorded_pull_time(), None);

    let with = |status| DescribeImagesFilter::builder().tag_status(status).build();
    let untagged = ecr.describe_images().repository_name(APP).filter(with(TagStatus::Untagged)).send().await.unwrap();
    let [sbom] = untagged.image_details() else { panic!("{untagged:?}") };
    assert_eq!(sbom.subject_manifest_digest(), Some(digest(&image("a")).as_str()));
    let unknown = ecr.describe_images().repository_name(APP).image_ids(tagged("v2")).send().await.unwrap_err();
    assert!(unknown.into_service_error().is_image_not_found_exception());
}

#[tokio::test]
async fn a_pull_is_recorded_once_a_day() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    let pull = || ecr.batch_get_image().repository_name(APP).image_ids(tagged("v1")).image_ids(tagged("v2")).send();
    let pulled_at =
        async || images(&ecr).await[0].last_recorded_pull_time().map(aws_sdk_ecr::primitives::DateTime::secs);
    let pulled = pull().await.unwrap();
    assert_eq!(pulled.images()[0].image_manifest(), Some(image("a").as_str()));
    assert_eq!(pulled.failures().iter().map(code).collect::<Vec<_>>(), ["ImageNotFound"]);
    let first = pulled_at().await.unwrap();
    sites.pass(std::time::Duration::from_secs(3600));
    pull().await.unwrap();
    assert_eq!(pulled_at().await, Some(first));
    sites.pass(crate::sites::DAY);
    pull().await.unwrap();
    assert_eq!(pulled_at().await, Some(first + 25 * 3600));
}

#[tokio::test]
async fn the_pages_of_long_lists_contain_each_entry_once() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    for number in 0..25 {
        push(&ecr, &image(&number.to_string()), Some(&format!("v{number}"))).await;
    }
    push(&ecr, &image("0"), Some("latest")).await;
    push(&ecr, &image("untagged"), None).await;
    let mut described = ecr.describe_images().repository_name(APP).max_results(7).into_paginator().items().send();
    let mut digests = Vec::new();
    while let Some(image) = described.next().await {
        digests.push(image.unwrap().image_digest.unwrap());
    }
    let (count, pages) = (digests.len(), digests.len().div_ceil(7));
    digests.sort();
    digests.dedup();
    assert_eq!((count, digests.len(), pages), (26, 26, 4));

    let mut rows = ecr.list_images().repository_name(APP).max_results(5).into_paginator().items().send();
    let mut listed = Vec::new();
    while let Some(row) = rows.next().await {
        let row = row.unwrap();
        listed.push((row.image_digest.unwrap(), row.image_tag));
    }
    // One row for each tag, and one for the untagged image.
    assert_eq!(listed.len(), 27);
    assert_eq!(listed.iter().filter(|(_, tag)| tag.is_none()).count(), 1);
    let only = ListImagesFilter::builder().tag_status(TagStatus::Untagged).build();
    assert_eq!(ecr.list_images().repository_name(APP).filter(only).send().await.unwrap().image_ids().len(), 1);
    assert_eq!(
        failed(ecr.list_images().repository_name(APP).next_token("?").send().await),
        "InvalidParameterException"
    );
    assert_eq!(
        failed(ecr.list_images().repository_name(APP).max_results(1001).send().await),
        "InvalidParameterException"
    );
}

#[tokio::test]
async fn artifacts_are_listed_by_their_subject() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    for kind in ["text/sbom+json", "application/vnd.cncf.notary.signature"] {
        push(&ecr, &artifact(&image("a"), kind), None).await;
    }
    let subject = || SubjectIdentifier::builder().image_digest(digest(&image("a"))).build().unwrap();
    let list = || ecr.list_image_referrers().repository_name(APP).subject_id(subject());
    assert_eq!(list().send().await.unwrap().referrers().len(), 2);
    let only = aws_sdk_ecr::types::ListImageReferrersFilter::builder().artifact_types("text/sbom+json").build();
    let answer = list().filter(only).send().await.unwrap();
    let [sbom] = answer.referrers() else { panic!("{answer:?}") };
    assert_eq!(sbom.digest(), digest(&artifact(&image("a"), "text/sbom+json")));
    assert_eq!(sbom.annotations().unwrap()["by"], "dana");
    assert_eq!(sbom.size(), i64::try_from(artifact(&image("a"), "text/sbom+json").len()).unwrap());
    let first = list().max_results(1).send().await.unwrap();
    let second = list().max_results(1).next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_ne!(first.referrers()[0].digest(), second.referrers()[0].digest());
    assert_eq!(second.next_token(), None);
}

#[tokio::test]
async fn repositories_are_created_described_and_deleted() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let again = ecr.create_repository().repository_name(APP).send().await.unwrap_err();
    assert!(again.into_service_error().is_repository_already_exists_exception());
    let odd = ecr.create_repository().repository_name("team//app").send().await;
    assert_eq!(failed(odd), "InvalidParameterException");
    for number in 0..5 {
        ecr.create_repository().repository_name(format!("other/app{number}")).send().await.unwrap();
    }
    let mut all = ecr.describe_repositories().max_results(4).into_paginator().items().send();
    let mut names = Vec::new();
    while let Some(repository) = all.next().await {
        names.push(repository.unwrap().repository_name.unwrap());
    }
    assert_eq!(names.len(), 6);
    let one = ecr.describe_repositories().repository_names(APP).send().await.unwrap();
    let app = &one.repositories()[0];
    assert_eq!(app.repository_arn(), Some("arn:aws:ecr:eu-west-1:111122223333:repository/team/app"));
    assert_eq!(app.repository_uri(), Some("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app"));

    push(&ecr, &image("a"), Some("v1")).await;
    let full = ecr.delete_repository().repository_name(APP).send().await.unwrap_err();
    assert!(full.into_service_error().is_repository_not_empty_exception());
    ecr.delete_repository().repository_name(APP).force(true).send().await.unwrap();
    assert!(images(&ecr).await.is_empty());
    let gone = ecr.describe_repositories().repository_names(APP).send().await.unwrap_err();
    assert!(gone.into_service_error().is_repository_not_found_exception());
    let ids = ecr.describe_images().repository_name(APP).image_ids(named(&image("a"))).send().await;
    assert_eq!(failed(ids), "RepositoryNotFoundException");
}
