"""What goes, what is refused, and what is left."""

import pytest

from manifests import artifact, digest, image, index
from sites import APP, refusal


def test_the_last_tag_takes_the_image_with_it(ireland):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    assert ireland.delete({"imageTag": "latest"}) == (["latest"], [])
    assert ireland.images() == {digest(image("a")): ["v1"]}
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    assert ireland.images() == {}


def test_a_digest_goes_with_all_its_tags(ireland):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    assert ireland.delete({"imageDigest": digest(image("a"))}) == (["latest", "v1"], [])
    assert ireland.images() == {}


@pytest.mark.moto_differs("deletes it and lists it nowhere", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html")
def test_an_image_without_tags_goes_by_its_digest(ireland):
    ireland.push(image("a"))
    assert ireland.delete({"imageDigest": digest(image("a"))}) == ([None], [])


@pytest.mark.moto_differs("says ImageNotFound", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_a_tag_and_a_digest_that_disagree_are_refused(ireland):
    ireland.push(image("a"), "v1")
    ireland.push(image("b"), "v2")
    both = {"imageDigest": digest(image("b")), "imageTag": "v1"}
    assert ireland.delete(both) == ([], ["ImageTagDoesNotMatchDigest"])
    assert len(ireland.images()) == 2


def test_failures_stand_in_an_answer_that_is_otherwise_good(ireland):
    ireland.push(image("a"), "v1")
    answer = ireland.ecr.batch_delete_image(
        repositoryName=APP, imageIds=[{"imageTag": "v2"}, {"imageDigest": digest("nothing")}, {}, {"imageTag": "v1"}]
    )
    codes = [failure["failureCode"] for failure in answer["failures"]]
    assert sorted(codes) == ["ImageNotFound", "ImageNotFound", "MissingDigestAndTag"]
    assert all(failure["failureReason"] for failure in answer["failures"])
    assert answer["imageIds"] == [{"imageDigest": digest(image("a")), "imageTag": "v1"}]


def test_a_digest_that_is_none_is_named_so(ireland):
    assert ireland.delete({"imageDigest": "no digest"}) == ([], ["InvalidImageDigest"])


@pytest.mark.moto_differs("accepts more", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html")
def test_a_hundred_images_are_the_most_of_one_call(ireland):
    ids = [{"imageTag": f"v{number}"} for number in range(101)]
    assert len(ireland.ecr.batch_delete_image(repositoryName=APP, imageIds=ids[:100])["failures"]) == 100
    for call in [ireland.ecr.batch_delete_image, ireland.ecr.batch_get_image, ireland.ecr.describe_images]:
        assert refusal(call, repositoryName=APP, imageIds=ids) == "InvalidParameterException"


@pytest.mark.moto_differs("deletes children of an index", "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html")
def test_a_child_goes_after_its_index(ireland):
    ireland.push(image("amd64"), "amd64")
    ireland.push(index(image("amd64")), "v1")
    assert ireland.delete({"imageDigest": digest(image("amd64"))}) == ([], ["ImageReferencedByManifestList"])
    assert ireland.delete({"imageTag": "amd64"}) == ([], ["ImageReferencedByManifestList"])
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    assert ireland.images() == {digest(image("amd64")): ["amd64"]}
    assert ireland.delete({"imageDigest": digest(image("amd64"))}) == (["amd64"], [])


def test_a_subject_goes_without_its_artifacts(ireland):
    ireland.push(image("a"), "v1")
    ireland.push(artifact(image("a"), "text/sbom+json"), "sbom")
    assert ireland.delete({"imageTag": "v1"}) == (["v1"], [])
    assert list(ireland.images()) == [digest(artifact(image("a"), "text/sbom+json"))]
