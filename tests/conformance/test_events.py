"""AWS's envelopes, key by key. The samples: https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html"""

import json
import pathlib

import pytest

from manifests import artifact, digest, image
from sites import APP, COPIED, MINUTE

pytestmark = pytest.mark.only_simulator("moto emits no events")

SAMPLES = pathlib.Path(__file__).parent.parent / "fixtures" / "events"
# Real events have them, AWS's samples of pushes and deletions do not.
MEDIA_TYPES = {"manifest-media-type", "artifact-media-type"}


def same_form(event, sample, besides=frozenset()):
    theirs = json.loads((SAMPLES / f"{sample}.json").read_text())
    assert set(event) == set(theirs)
    assert set(event["detail"]) == set(theirs["detail"]) | besides
    for field in ["version", "detail-type", "source"]:
        assert event[field] == theirs[field]
    for field in ["action-type", "result", "target-storage-class"]:
        assert event["detail"].get(field) == theirs["detail"].get(field)
    assert len(event["resources"]) == len(theirs["resources"])
    assert len(event["time"]) == len("2019-11-16T01:54:34Z")


def test_every_event_has_the_form_of_awss_samples(sites, ireland, virginia, tokyo):
    ireland.replicate(virginia, tokyo)
    ireland.push(image("a"), "v1")
    sites.step(COPIED)
    sbom = artifact(image("a"), "text/sbom+json")
    ireland.push(sbom)
    for target in ["ARCHIVE", "STANDARD"]:
        for manifest in [image("a"), sbom]:
            ireland.ecr.update_image_storage_class(repositoryName=APP, imageId={"imageDigest": digest(manifest)}, targetStorageClass=target)
    sites.step(20 * MINUTE)
    ireland.delete({"imageTag": "v1"})
    events = sites.own_events()
    found = lambda **fields: [event for event in events if all(event["detail"].get(name.replace("_", "-")) == value for name, value in fields.items())]
    pushed = found(action_type="PUSH", image_tag="v1")[0]
    same_form(pushed, "push", MEDIA_TYPES)
    assert (pushed["account"], pushed["region"], pushed["resources"]) == (ireland.account, "eu-west-1", [])
    copied = found(action_type="REPLICATE", result="SUCCESS")[0]
    same_form(copied, "replication-success")
    # In the destination, with the source in the detail.
    assert (copied["account"], copied["region"]) == (virginia.account, "us-east-1")
    assert copied["resources"] == [f"arn:aws:ecr:us-east-1:{virginia.account}:repository/{APP}"]
    assert (copied["detail"]["source-account"], copied["detail"]["source-region"]) == (ireland.account, "eu-west-1")
    failed = found(action_type="REPLICATE", result="FAILED")[0]
    same_form(failed, "replication-failed")
    assert (failed["account"], failed["region"]) == (tokyo.account, "ap-northeast-1")
    same_form(found(target_storage_class="ARCHIVE", image_digest=digest(image("a")))[0], "archive")
    same_form(found(target_storage_class="STANDARD", image_digest=digest(image("a")))[0], "restore")
    same_form(found(target_storage_class="STANDARD", image_digest=digest(sbom))[0], "referrer-restore")
    same_form(found(action_type="DELETE")[0], "delete", MEDIA_TYPES)


def test_deletions_are_told_by_tag_and_cloudtrail_tells_who(sites, ireland):
    for tag in ["v1", "v2", "v3"]:
        ireland.push(image("a"), tag)
    ireland.delete({"imageTag": "v1"})
    ireland.delete({"imageDigest": digest(image("a"))})
    deleted = [event["detail"]["image-tag"] for event in sites.own_events() if event["detail"]["action-type"] == "DELETE"]
    assert deleted == ["v1", "v2", "v3"]
    records = [event["detail"] for event in sites.events() if event["detail"].get("eventName") == "BatchDeleteImage"]
    assert [record["requestParameters"]["imageIds"] for record in records] == [[{"imageTag": "v1"}], [{"imageDigest": digest(image("a"))}]]
    assert {record["userIdentity"]["arn"] for record in records} == {f"arn:aws:sts::{ireland.account}:assumed-role/conformance/dana"}
    assert len(records[1]["responseElements"]["imageIds"]) == 2


def test_a_repository_that_is_deleted_by_force_is_told_only_by_cloudtrail(sites, ireland):
    ireland.push(image("a"), "v1")
    ireland.ecr.delete_repository(repositoryName=APP, force=True)
    assert [event["detail"]["action-type"] for event in sites.own_events()] == ["PUSH"]
    assert sites.events()[-1]["detail"]["eventName"] == "DeleteRepository"
