"""Archiving and restoring images."""

import pytest

from manifests import artifact, digest, image, index
from sites import APP, COPIED, DAY, MINUTE, refusal

pytestmark = pytest.mark.only_simulator("moto has no storage classes")


def test_an_archived_image_exists_and_cannot_be_pulled(ireland):
    ireland.push(image("a"), "v1")
    assert ireland.archive(image("a")) == "ARCHIVED"
    got = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    # AWS does not document the failure code: U14.
    assert (got["images"], [one["failureCode"] for one in got["failures"]]) == ([], ["ImageInaccessible"])
    assert ireland.ecr.describe_images(repositoryName=APP)["imageDetails"] == []
    assert ireland.ecr.list_images(repositoryName=APP)["imageIds"] == []
    for status in ["ARCHIVED", "ANY"]:
        assert ireland.images(status) == {digest(image("a")): ["v1"]}
    assert ireland.images("ACTIVE") == ireland.images("ACTIVATING") == {}
    detail = ireland.detail(image("a"), filter={"imageStatus": "ANY"})
    assert detail["imageStatus"] == "ARCHIVED" and "lastArchivedAt" in detail


def test_a_restore_takes_up_to_20_minutes_and_replicates(ireland, virginia):
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    ireland.replicate(virginia)
    assert ireland.restore(image("a")) == "ACTIVATING"
    assert ireland.images("ACTIVATING") == {digest(image("a")): ["v1"]}
    ireland.sites.step(20 * MINUTE)
    detail = ireland.detail(image("a"))
    assert detail["imageStatus"] == "ACTIVE" and "lastActivatedAt" in detail
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["v1"]}


def test_a_push_and_a_copy_restore_an_archived_image(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    for registry in [ireland, virginia]:
        registry.archive(image("a"))
    ireland.push(image("a"), "v1")
    assert (len(ireland.images("ACTIVE")), len(virginia.images("ACTIVE"))) == (1, 0)
    ireland.sites.step(COPIED)
    assert len(virginia.images("ACTIVE")) == 1


def test_a_child_of_an_index_and_an_unknown_image_cannot_be_archived(ireland):
    ireland.push(image("a"))
    ireland.push(index(image("a")), "v1")
    call = {"repositoryName": APP, "targetStorageClass": "ARCHIVE"}
    child = {"imageDigest": digest(image("a"))}
    assert refusal(ireland.ecr.update_image_storage_class, imageId=child, **call) == "ImageStorageClassUpdateNotSupportedException"
    nothing = {"imageTag": "v2"}
    assert refusal(ireland.ecr.update_image_storage_class, imageId=nothing, **call) == "ImageNotFoundException"


def test_the_whole_answer(ireland):
    ireland.push(image("a"), "v1")
    answer = ireland.ecr.update_image_storage_class(repositoryName=APP, imageId={"imageTag": "v1"}, targetStorageClass="ARCHIVE")
    assert {name: value for name, value in answer.items() if name != "ResponseMetadata"} == {
        "registryId": ireland.account, "repositoryName": APP, "imageStatus": "ARCHIVED",
        "imageId": {"imageDigest": digest(image("a")), "imageTag": "v1"},
    }


def test_lists_of_tags_follow_the_status_too(ireland):
    for name in ["a", "b"]:
        ireland.push(image(name), name)
    ireland.archive(image("a"))
    listed = lambda **filter: [one["imageTag"] for one in ireland.ecr.list_images(repositoryName=APP, filter=filter)["imageIds"]]
    assert listed(tagStatus="TAGGED") == ["b"]
    assert listed(tagStatus="TAGGED", imageStatus="ARCHIVED") == ["a"]
    assert sorted(listed(imageStatus="ANY")) == ["a", "b"]


def test_a_named_image_that_is_archived_must_be_asked_for(ireland):
    # AWS does not document whether the default filter applies to image IDs: U7.
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    ids = {"repositoryName": APP, "imageIds": [{"imageTag": "v1"}]}
    assert refusal(ireland.ecr.describe_images, **ids) == "ImageNotFoundException"
    (detail,) = ireland.ecr.describe_images(**ids, filter={"imageStatus": "ARCHIVED"})["imageDetails"]
    assert detail["imageTags"] == ["v1"]


def test_archiving_or_restoring_again_is_no_error(ireland):
    ireland.push(image("a"), "v1")
    assert ireland.restore(image("a")) == "ACTIVE"
    assert [ireland.archive(image("a")) for _ in range(2)] == ["ARCHIVED", "ARCHIVED"]
    assert [ireland.restore(image("a")) for _ in range(2)] == ["ACTIVATING", "ACTIVATING"]


def test_an_activating_image_is_neither_active_nor_archived(ireland):
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    ireland.restore(image("a"))
    ireland.sites.step(MINUTE)
    got = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    assert (got["images"], len(got["failures"])) == ([], 1)
    assert (ireland.images("ACTIVE"), ireland.images("ARCHIVED")) == ({}, {})


def test_an_archived_source_does_not_archive_its_copies(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    ireland.archive(image("a"))
    ireland.sites.step(DAY)
    assert virginia.images("ACTIVE") == {digest(image("a")): ["v1"]}


def test_a_restored_image_keeps_its_tags_and_its_artifacts(ireland):
    ireland.push(image("a"), "v1")
    ireland.push(image("a"), "latest")
    sbom = artifact(image("a"), "text/sbom+json")
    ireland.push(sbom)
    pushed = ireland.detail(image("a"))["imagePushedAt"]
    ireland.archive(image("a"))
    ireland.restore(image("a"))
    ireland.sites.step(20 * MINUTE)
    detail = ireland.detail(image("a"))
    assert (sorted(detail["imageTags"]), detail["imagePushedAt"]) == (["latest", "v1"], pushed)
    assert detail["lastArchivedAt"] <= detail["lastActivatedAt"]
    assert set(ireland.images("ACTIVE")) == {digest(image("a")), digest(sbom)}
