"""What deletions delete, what ECR refuses, and what remains."""

import pytest

from manifests import artifact, digest, image, index
from sites import APP, refusal


def test_deleting_the_last_tag_deletes_the_image(ireland):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    assert ireland.delete({"imageTag": "latest"}) == (["latest"], [])
    assert ireland.images() == {digest(image("a")): ["v1"]}
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    assert ireland.images() == {}


def test_deleting_a_digest_deletes_all_its_tags(ireland):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    assert ireland.delete({"imageDigest": digest(image("a"))}) == (["latest", "v1"], [])
    assert ireland.images() == {}


@pytest.mark.moto_differs("deletes it and lists it nowhere", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html")
def test_an_image_without_tags_is_deleted_by_its_digest(ireland):
    ireland.push(image("a"))
    assert ireland.delete({"imageDigest": digest(image("a"))}) == ([None], [])


@pytest.mark.moto_differs("says ImageNotFound", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_a_tag_and_a_digest_that_disagree_are_refused(ireland):
    ireland.push(image("a"), "v1")
    ireland.push(image("b"), "v2")
    both = {"imageDigest": digest(image("b")), "imageTag": "v1"}
    assert ireland.delete(both) == ([], ["ImageTagDoesNotMatchDigest"])
    assert len(ireland.images()) == 2


def test_failures_are_part_of_a_successful_response(ireland):
    ireland.push(image("a"), "v1")
    answer = ireland.ecr.batch_delete_image(
        repositoryName=APP, imageIds=[{"imageTag": "v2"}, {"imageDigest": digest("nothing")}, {}, {"imageTag": "v1"}]
    )
    codes = [failure["failureCode"] for failure in answer["failures"]]
    assert sorted(codes) == ["ImageNotFound", "ImageNotFound", "MissingDigestAndTag"]
    assert all(failure["failureReason"] for failure in answer["failures"])
    assert answer["imageIds"] == [{"imageDigest": digest(image("a")), "imageTag": "v1"}]


def test_an_invalid_digest_has_its_own_failure_code(ireland):
    assert ireland.delete({"imageDigest": "no digest"}) == ([], ["InvalidImageDigest"])


@pytest.mark.moto_differs("accepts more", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html")
def test_a_call_accepts_at_most_a_hundred_images(ireland):
    ids = [{"imageTag": f"v{number}"} for number in range(101)]
    assert len(ireland.ecr.batch_delete_image(repositoryName=APP, imageIds=ids[:100])["failures"]) == 100
    for call in [ireland.ecr.batch_delete_image, ireland.ecr.batch_get_image, ireland.ecr.describe_images]:
        assert refusal(call, repositoryName=APP, imageIds=ids) == "InvalidParameterException"


@pytest.mark.moto_differs("deletes children of an index", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_a_child_can_be_deleted_only_after_its_index(ireland):
    ireland.push(image("amd64"), "amd64")
    ireland.push(index(image("amd64")), "v1")
    assert ireland.delete({"imageDigest": digest(image("amd64"))}) == ([], ["ImageReferencedByManifestList"])
    assert ireland.delete({"imageTag": "amd64"}) == ([], ["ImageReferencedByManifestList"])
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    assert ireland.images() == {digest(image("amd64")): ["amd64"]}
    assert ireland.delete({"imageDigest": digest(image("amd64"))}) == (["amd64"], [])


def test_deleting_a_subject_keeps_its_artifacts(ireland):
    ireland.push(image("a"), "v1")
    ireland.push(artifact(image("a"), "text/sbom+json"), "sbom")
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    assert list(ireland.images()) == [digest(artifact(image("a"), "text/sbom+json"))]


@pytest.mark.moto_differs("deletes the image with all its tags", "U6")
def test_a_tag_and_a_digest_that_agree_mean_the_tag(ireland):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    both = {"imageDigest": digest(image("a")), "imageTag": "latest"}
    assert ireland.delete(both) == (["latest"], [])
    assert ireland.images() == {digest(image("a")): ["v1"]}
    assert ireland.delete({**both, "imageTag": "v1"}) == (["v1"], [])
    assert ireland.images() == {}


@pytest.mark.moto_differs("says ImageNotFound", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_an_invalid_tag_has_its_own_failure_code(ireland):
    assert ireland.delete({"imageTag": "not a tag"}) == ([], ["InvalidImageTag"])


def test_an_image_that_is_named_twice_is_deleted_once(ireland):
    ireland.push(image("a"), "v1")
    assert ireland.delete({"imageTag": "v1"}, {"imageTag": "v1"}) == (["v1"], ["ImageNotFound"])


@pytest.mark.moto_differs("fails with status 500", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html")
def test_an_empty_list_of_ids_is_an_invalid_parameter(sites, ireland):
    # boto3 itself would refuse it, so the client does not validate parameters.
    unchecked = sites.unchecked("ecr", ireland)
    for call in [unchecked.batch_delete_image, unchecked.batch_get_image]:
        assert refusal(call, repositoryName=APP, imageIds=[]) == "InvalidParameterException"


@pytest.mark.moto_differs("deletes children of an index", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_a_child_of_two_indexes_can_be_deleted_only_after_both(ireland):
    for name in ["amd64", "arm64"]:
        ireland.push(image(name))
    ireland.push(index(image("amd64")), "v1")
    ireland.push(index(image("amd64"), image("arm64")), "v2")
    child = {"imageDigest": digest(image("amd64"))}
    for tag in ["v1", "v2"]:
        assert ireland.delete(child) == ([], ["ImageReferencedByManifestList"])
        assert ireland.delete({"imageTag": tag}) == ([tag], [])
    # Deleting an index does not delete its children.
    assert ireland.images() == {digest(image(name)): [] for name in ["amd64", "arm64"]}
    assert ireland.delete(child) == ([None], [])


@pytest.mark.moto_differs("deletes children of an index", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_a_child_can_lose_a_tag_but_not_its_last(ireland):
    for tag in ["amd64", "extra"]:
        ireland.push(image("amd64"), tag)
    ireland.push(index(image("amd64")), "v1")
    assert ireland.delete({"imageTag": "extra"}, {"imageTag": "amd64"}) == (["extra"], ["ImageReferencedByManifestList"])
    assert ireland.images()[digest(image("amd64"))] == ["amd64"]


def test_the_whole_answer_about_a_refusal(ireland):
    answer = ireland.ecr.batch_delete_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["imageIds"]) == (200, [])
    expected = {"imageId": {"imageTag": "v1"}, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
    assert answer["failures"] == [expected]


@pytest.mark.only_simulator("moto has no storage classes")
def test_an_archived_image_can_be_deleted(ireland):
    ireland.push(image("a"), "v1")
    assert ireland.archive(image("a")) == "ARCHIVED"
    assert ireland.delete({"imageDigest": digest(image("a"))}) == (["v1"], [])
    assert ireland.images() == {}


def test_an_immutable_tag_that_was_deleted_can_be_given_again(ireland):
    ireland.ecr.put_image_tag_mutability(repositoryName=APP, imageTagMutability="IMMUTABLE")
    ireland.push(image("a"), "v1")
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    ireland.push(image("b"), "v1")
    assert ireland.images() == {digest(image("b")): ["v1"]}
