"""Images: put, get, describe, list; mutable and immutable tags."""

import json

import pytest

from manifests import CONFIG, IMAGE, INDEX, digest, image, index
from sites import APP, DAY, refusal


@pytest.mark.moto_differs("forgets an image when its last tag moves to another", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html")
def test_a_tag_moves_to_the_image_that_is_pushed_with_it(ireland):
    ireland.push(image("a"), "latest")
    ireland.push(image("b"), "latest")
    assert ireland.images() == {digest(image("a")): [], digest(image("b")): ["latest"]}


def test_an_image_is_returned_as_it_was_put(ireland):
    answer = ireland.push(image("a"), "v1")["image"]
    assert answer["imageId"] == {"imageDigest": digest(image("a")), "imageTag": "v1"}
    assert (answer["registryId"], answer["repositoryName"]) == (ireland.account, APP)
    got = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}, {"imageTag": "v2"}])
    assert [one["imageManifest"] for one in got["images"]] == [image("a")]
    assert [(one["imageId"], one["failureCode"]) for one in got["failures"]] == [({"imageTag": "v2"}, "ImageNotFound")]


def test_the_same_image_with_the_same_tag_is_not_put_again(ireland):
    ireland.push(image("a"), "v1")
    with pytest.raises(ireland.ecr.exceptions.ImageAlreadyExistsException):
        ireland.push(image("a"), "v1")


def test_an_image_with_another_tag_has_both(ireland):
    ireland.push(image("a"), "v1")
    ireland.push(image("a"), "v2")
    assert ireland.images() == {digest(image("a")): ["v1", "v2"]}


@pytest.mark.moto_differs("accepts an index of images that are not there", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html")
def test_an_index_needs_its_images(ireland):
    with pytest.raises(ireland.ecr.exceptions.ReferencedImagesNotFoundException):
        ireland.push(index(image("a")), "v1")


@pytest.mark.moto_differs("believes any digest", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html")
def test_a_digest_must_be_that_of_the_manifest(ireland):
    with pytest.raises(ireland.ecr.exceptions.ImageDigestDoesNotMatchException):
        ireland.ecr.put_image(repositoryName=APP, imageManifest=image("a"), imageDigest=digest("b"), imageTag="v1")


def test_an_unknown_repository_is_named(ireland):
    for call, arguments in [
        ("describe_images", {}),
        ("list_images", {}),
        ("batch_get_image", {"imageIds": [{"imageTag": "v1"}]}),
        ("batch_delete_image", {"imageIds": [{"imageTag": "v1"}]}),
        ("delete_repository", {}),
        ("get_lifecycle_policy", {}),
    ]:
        with pytest.raises(ireland.ecr.exceptions.RepositoryNotFoundException, match="'team/other' does not exist"):
            getattr(ireland.ecr, call)(repositoryName="team/other", **arguments)


@pytest.mark.moto_differs("fails with status 500", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html")
def test_a_push_to_an_unknown_repository_is_refused(ireland):
    with pytest.raises(ireland.ecr.exceptions.RepositoryNotFoundException):
        ireland.push(image("a"), "v1", repository="team/other")


@pytest.mark.moto_differs("answers ImageAlreadyExistsException", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html")
def test_an_immutable_tag_does_not_move(ireland):
    ireland.ecr.put_image_tag_mutability(repositoryName=APP, imageTagMutability="IMMUTABLE")
    ireland.push(image("a"), "v1")
    with pytest.raises(ireland.ecr.exceptions.ImageTagAlreadyExistsException):
        ireland.push(image("b"), "v1")
    assert ireland.images() == {digest(image("a")): ["v1"]}


@pytest.mark.moto_differs("knows no exclusions", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html")
def test_excluded_tags_move_although_others_cannot(ireland):
    answer = ireland.ecr.put_image_tag_mutability(
        repositoryName=APP,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "dev-*"}],
    )
    assert answer["imageTagMutabilityExclusionFilters"] == [{"filterType": "WILDCARD", "filter": "dev-*"}]
    for tag in ["v1", "dev-1"]:
        ireland.push(image("a"), tag)
    ireland.push(image("b"), "dev-1")
    assert refusal(ireland.push, image("b"), "v1") == "ImageTagAlreadyExistsException"


def test_the_description_of_an_image_has_its_fields(ireland):
    ireland.push(image("a"), "v1")
    (detail,) = ireland.ecr.describe_images(repositoryName=APP, imageIds=[{"imageTag": "v1"}])["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (digest(image("a")), ["v1"])
    assert (detail["registryId"], detail["repositoryName"]) == (ireland.account, APP)
    assert detail["imagePushedAt"].year >= 2024
    with pytest.raises(ireland.ecr.exceptions.ImageNotFoundException):
        ireland.ecr.describe_images(repositoryName=APP, imageIds=[{"imageTag": "v2"}])


@pytest.mark.moto_differs("has no status, and media types of its own", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html")
def test_an_images_detail_has_status_size_and_media_types(ireland):
    ireland.push(image("a"), "v1")
    detail = ireland.detail(image("a"))
    assert (detail["imageStatus"], detail["imageSizeInBytes"]) == ("ACTIVE", 100)
    assert (detail["imageManifestMediaType"], detail["artifactMediaType"]) == (IMAGE, CONFIG)


@pytest.mark.moto_differs("notes no pulls", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html")
def test_a_pull_is_recorded(ireland):
    ireland.push(image("a"), "v1")
    assert "lastRecordedPullTime" not in ireland.detail(image("a"))
    ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    first = ireland.detail(image("a"))["lastRecordedPullTime"]
    ireland.sites.step(DAY)
    ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    assert (ireland.detail(image("a"))["lastRecordedPullTime"] - first).total_seconds() >= DAY


@pytest.mark.moto_differs("forgets an image when its last tag moves to another", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html")
def test_lists_can_be_of_tagged_or_untagged_images(ireland):
    ireland.push(image("a"), "latest")
    ireland.push(image("b"), "latest")
    listed = lambda status: ireland.ecr.list_images(repositoryName=APP, filter={"tagStatus": status})["imageIds"]
    assert listed("TAGGED") == [{"imageDigest": digest(image("b")), "imageTag": "latest"}]
    assert listed("UNTAGGED") == [{"imageDigest": digest(image("a"))}]
    assert len(listed("ANY")) == 2


def test_the_pages_of_long_lists_contain_each_entry_once(ireland):
    for number in range(12):
        ireland.push(image(str(number)), f"v{number}")
    ireland.push(image("0"), "latest")
    for operation, key, expected in [("describe_images", "imageDetails", 12), ("list_images", "imageIds", 13)]:
        pages = ireland.ecr.get_paginator(operation).paginate(repositoryName=APP, PaginationConfig={"PageSize": 5})
        entries = [str(entry) for page in pages for entry in page[key]]
        assert (len(entries), len(set(entries))) == (expected, expected)


@pytest.mark.moto_differs("answers everything at once", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html")
def test_a_page_is_no_longer_than_asked_for(ireland):
    for number in range(7):
        ireland.push(image(str(number)), f"v{number}")
    pages = list(ireland.ecr.get_paginator("list_images").paginate(repositoryName=APP, PaginationConfig={"PageSize": 3}))
    assert [len(page["imageIds"]) for page in pages] == [3, 3, 1]


def test_an_image_is_found_by_tag_by_digest_and_by_both(ireland):
    ireland.push(image("a"), "v1")
    both = {"imageDigest": digest(image("a")), "imageTag": "v1"}
    for asked, expected in [({"imageTag": "v1"}, both), (both, both)]:
        got = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[asked])
        assert [one["imageId"] for one in got["images"]] == [expected]
        assert (got["images"][0]["imageManifestMediaType"], got["failures"]) == (IMAGE, [])
    (got,) = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageDigest": digest(image("a"))}])["images"]
    assert (got["imageId"]["imageDigest"], got["imageManifest"]) == (digest(image("a")), image("a"))


def test_an_index_is_returned_as_it_was_put(ireland):
    ireland.push(image("amd64"))
    ireland.push(index(image("amd64")), "v1")
    (got,) = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])["images"]
    assert (got["imageManifest"], got["imageManifestMediaType"]) == (index(image("amd64")), INDEX)


@pytest.mark.moto_differs("puts it again", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html")
def test_the_same_image_without_a_tag_is_not_put_again(ireland):
    ireland.push(image("a"))
    assert refusal(ireland.push, image("a")) == "ImageAlreadyExistsException"


def test_a_manifest_without_a_media_type_needs_one_in_the_request(ireland):
    manifest = json.dumps({name: value for name, value in json.loads(image("a")).items() if name != "mediaType"})
    put = {"repositoryName": APP, "imageManifest": manifest, "imageDigest": digest(manifest), "imageTag": "v1"}
    # AWS does not document the error code.
    assert refusal(ireland.ecr.put_image, **put)
    assert ireland.ecr.put_image(**put, imageManifestMediaType=IMAGE)["image"]["imageManifestMediaType"] == IMAGE


@pytest.mark.moto_differs("takes anything", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html")
def test_an_invalid_tag_is_an_invalid_parameter(ireland):
    for tag in ["a b", "a/b", "x" * 301]:
        assert refusal(ireland.push, image("a"), tag) == "InvalidParameterException", tag
    assert ireland.images() == {}


@pytest.mark.moto_differs("tells no size of an index", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html")
def test_an_index_is_as_large_as_its_largest_image(ireland):
    for name in ["amd64", "arm64"]:
        ireland.push(image(name))
    both = index(image("amd64"), image("arm64"))
    ireland.push(both, "v1")
    assert ireland.detail(both)["imageSizeInBytes"] == ireland.detail(image("amd64"))["imageSizeInBytes"] == 100


@pytest.mark.moto_differs("knows no exclusions", "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html")
def test_excluded_tags_cannot_move_although_others_can(ireland):
    ireland.ecr.put_image_tag_mutability(
        repositoryName=APP, imageTagMutability="MUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "v*"}],
    )
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    ireland.push(image("b"), "latest")
    assert refusal(ireland.push, image("b"), "v1") == "ImageTagAlreadyExistsException"
    assert ireland.images() == {digest(image("a")): ["v1"], digest(image("b")): ["latest"]}


@pytest.mark.moto_differs("knows no exclusions", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImageTagMutability.html")
def test_at_most_five_exclusions_are_accepted(ireland):
    filters = [{"filterType": "WILDCARD", "filter": f"dev{number}-*"} for number in range(6)]
    put = lambda count: ireland.ecr.put_image_tag_mutability(
        repositoryName=APP, imageTagMutability="IMMUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=filters[:count]
    )
    assert put(5)["imageTagMutabilityExclusionFilters"] == filters[:5]
    assert refusal(put, 6) == "InvalidParameterException"


@pytest.mark.moto_differs("answers everything at once", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html")
def test_a_page_has_a_hundred_entries_by_default(ireland):
    for number in range(101):
        ireland.push(image(str(number)), f"v{number}")
    for call, key in [(ireland.ecr.describe_images, "imageDetails"), (ireland.ecr.list_images, "imageIds")]:
        first = call(repositoryName=APP)
        second = call(repositoryName=APP, nextToken=first["nextToken"])
        assert (len(first[key]), len(second[key]), "nextToken" in second) == (100, 1, False)
        assert refusal(call, repositoryName=APP, maxResults=1001) == "InvalidParameterException"
        assert refusal(call, repositoryName=APP, nextToken="nothing of the kind") == "InvalidParameterException"


@pytest.mark.moto_differs("accepts both", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html")
def test_a_page_of_named_images_is_refused(ireland):
    ireland.push(image("a"), "v1")
    call = lambda: ireland.ecr.describe_images(repositoryName=APP, imageIds=[{"imageTag": "v1"}], maxResults=1)
    assert refusal(call) == "InvalidParameterException"
