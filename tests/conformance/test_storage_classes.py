"""The archive and back."""

import pytest

from manifests import digest, image, index
from sites import APP, COPIED, MINUTE, refusal

pytestmark = pytest.mark.only_simulator("moto has no storage classes")


def move(registry, manifest, target):
    answer = registry.ecr.update_image_storage_class(
        repositoryName=APP, imageId={"imageDigest": digest(manifest)}, targetStorageClass=target
    )
    return answer["imageStatus"]


def test_an_archived_image_is_there_and_cannot_be_pulled(ireland):
    ireland.push(image("a"), "v1")
    assert move(ireland, image("a"), "ARCHIVE") == "ARCHIVED"
    got = ireland.ecr.batch_get_image(repositoryName=APP, imageIds=[{"imageTag": "v1"}])
    assert (got["images"], len(got["failures"])) == ([], 1)
    assert ireland.ecr.describe_images(repositoryName=APP)["imageDetails"] == []
    assert ireland.ecr.list_images(repositoryName=APP)["imageIds"] == []
    for status in ["ARCHIVED", "ANY"]:
        assert ireland.images(status) == {digest(image("a")): ["v1"]}
    assert ireland.images("ACTIVE") == ireland.images("ACTIVATING") == {}
    detail = ireland.detail(image("a"), filter={"imageStatus": "ANY"})
    assert detail["imageStatus"] == "ARCHIVED" and "lastArchivedAt" in detail


def test_a_restore_takes_up_to_20_minutes_and_replicates(ireland, virginia):
    ireland.push(image("a"), "v1")
    move(ireland, image("a"), "ARCHIVE")
    ireland.replicate(virginia)
    assert move(ireland, image("a"), "STANDARD") == "ACTIVATING"
    assert ireland.images("ACTIVATING") == {digest(image("a")): ["v1"]}
    ireland.sites.step(20 * MINUTE)
    detail = ireland.detail(image("a"))
    assert detail["imageStatus"] == "ACTIVE" and "lastActivatedAt" in detail
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["v1"]}


def test_a_push_and_a_copy_restore_what_is_archived(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    for registry in [ireland, virginia]:
        move(registry, image("a"), "ARCHIVE")
    ireland.push(image("a"), "v1")
    assert (len(ireland.images("ACTIVE")), len(virginia.images("ACTIVE"))) == (1, 0)
    ireland.sites.step(COPIED)
    assert len(virginia.images("ACTIVE")) == 1


def test_what_cannot_be_archived_is_named(ireland):
    ireland.push(image("a"))
    ireland.push(index(image("a")), "v1")
    call = {"repositoryName": APP, "targetStorageClass": "ARCHIVE"}
    child = {"imageDigest": digest(image("a"))}
    assert refusal(ireland.ecr.update_image_storage_class, imageId=child, **call) == "ImageStorageClassUpdateNotSupportedException"
    nothing = {"imageTag": "v2"}
    assert refusal(ireland.ecr.update_image_storage_class, imageId=nothing, **call) == "ImageNotFoundException"
