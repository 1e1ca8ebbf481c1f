"""What is copied where, when, and what becomes of it."""

import pytest

from manifests import artifact, digest, image, index
from sites import APP, COPIED, refusal

pytestmark = pytest.mark.only_simulator("moto does not replicate")


def test_a_push_is_copied_where_a_rule_covers_it(ireland, virginia):
    for name in ["teamwork", "other"]:
        ireland.ecr.create_repository(repositoryName=name)
    ireland.replicate(virginia, prefix="team")
    ireland.push(image("a"), "v1")
    for name in ["teamwork", "other"]:
        ireland.push(image("b"), "v1", repository=name)
    assert ireland.copies(image("a")) == {"us-east-1": ("IN_PROGRESS", None)}
    ireland.sites.step(COPIED)
    assert ireland.copies(image("a")) == {"us-east-1": ("COMPLETE", None)}
    # The filter is a prefix of the text, and the repository is made with default settings.
    made = {one["repositoryName"]: one["imageTagMutability"] for one in virginia.ecr.describe_repositories()["repositories"]}
    assert made == {APP: "MUTABLE", "teamwork": "MUTABLE"}
    assert virginia.images() == {digest(image("a")): ["v1"]}


def test_what_was_there_before_is_not_copied_until_it_is_pushed_again(ireland, virginia):
    ireland.push(image("old"), "v1")
    ireland.replicate(virginia)
    ireland.push(image("new"), "v2")
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("new")): ["v2"]}
    ireland.push(image("old"), "again")
    ireland.sites.step(COPIED)
    assert virginia.images()[digest(image("old"))] == ["again"]


def test_a_copy_is_not_copied_on(sites, ireland, virginia):
    oregon = sites.registry("us-west-2")
    ireland.replicate(virginia)
    virginia.replicate(oregon)
    ireland.push(image("a"), "v1")
    sites.step(3 * COPIED)
    assert (len(virginia.images()), oregon.images(), virginia.copies(image("a"))) == (1, {}, {})


def test_another_account_must_allow_both_the_copy_and_the_repository(ireland, tokyo):
    ireland.replicate(tokyo)
    for number, actions in enumerate([[], ["ecr:ReplicateImage"], ["ecr:ReplicateImage", "ecr:CreateRepository"]]):
        if actions:
            tokyo.allow(ireland.account, *actions)
        ireland.push(image(str(number)), f"v{number}")
        ireland.sites.step(COPIED)
    statuses = [ireland.copies(image(str(number)))["ap-northeast-1"] for number in range(3)]
    assert [status for status, _ in statuses] == ["FAILED", "FAILED", "COMPLETE"]
    assert all(code for status, code in statuses if status == "FAILED")
    assert tokyo.images() == {digest(image("2")): ["v2"]}


def test_a_tag_that_cannot_move_leaves_the_copy_untagged(ireland, virginia):
    virginia.ecr.create_repository(repositoryName=APP, imageTagMutability="IMMUTABLE")
    ireland.replicate(virginia)
    for name in ["a", "b"]:
        ireland.push(image(name), "latest")
        ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["latest"], digest(image("b")): []}
    assert ireland.copies(image("b")) == {"us-east-1": ("COMPLETE", None)}


def test_indexes_and_artifacts_are_copied(ireland, virginia):
    ireland.replicate(virginia)
    both = index(image("amd64"), image("arm64"))
    for manifest in [image("amd64"), image("arm64")]:
        ireland.push(manifest)
    ireland.push(both, "v1")
    sbom = artifact(both, "text/sbom+json")
    ireland.push(sbom)
    ireland.sites.step(COPIED)
    assert virginia.images() == {**{digest(one): [] for one in [image("amd64"), image("arm64"), sbom]}, digest(both): ["v1"]}
    listed = virginia.ecr.list_image_referrers(repositoryName=APP, subjectId={"imageDigest": digest(both)})
    assert [one["digest"] for one in listed["referrers"]] == [digest(sbom)]


def test_without_the_native_switch_replicas_stay_and_the_status_goes(ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.sites.step(COPIED)
    ireland.delete({"imageTag": "v1"})
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["v1"]}
    asked = {"repositoryName": APP, "imageId": {"imageDigest": digest(image("a"))}}
    assert refusal(ireland.ecr.describe_image_replication_status, **asked) == "ImageNotFoundException"


def test_the_native_switch_takes_tags_and_images_and_all_tags_with_the_last(ireland, virginia):
    ireland.replicate(virginia, native=True)
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    ireland.push(image("b"), "v2")
    ireland.sites.step(COPIED)
    virginia.push(image("a"), "only-here")
    ireland.delete({"imageTag": "latest"})
    ireland.sites.step(COPIED)
    assert virginia.images()[digest(image("a"))] == ["only-here", "v1"]
    ireland.delete({"imageTag": "v1"})
    ireland.delete({"imageDigest": digest(image("b"))})
    ireland.sites.step(COPIED)
    assert virginia.images() == {}


def test_a_backfill_brings_what_was_there_before(ireland, virginia):
    for tag in ["v1", "latest"]:
        ireland.push(image("a"), tag)
    destination = {"destination": virginia.destination}
    assert refusal(ireland.ecr.start_replication_backfill, **destination) == "ValidationException"
    ireland.replicate(virginia)
    run = ireland.ecr.start_replication_backfill(**destination)
    assert (run["status"], run["destination"]) == ("PREPARING", virginia.destination)
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillInProgressException):
        ireland.ecr.start_replication_backfill(**destination)
    ireland.sites.step(COPIED)
    assert virginia.images() == {digest(image("a")): ["latest", "v1"]}
    results = ireland.ecr.describe_replication_backfill_results(replicationBackfillId=run["replicationBackfillId"])
    assert results["status"] == "COMPLETE" and results["endedAt"] > results["startedAt"]
    expected = {"totalReplicationCount": 2, "completedReplicationCount": 2, "failedReplicationCount": 0, "failureCodes": []}
    assert results["progress"] == expected
    assert {one["imageId"]["imageTag"] for one in results["results"]} == {"v1", "latest"}
    (listed,) = ireland.ecr.list_replication_backfills()["backfills"]
    assert listed["replicationBackfillId"] == run["replicationBackfillId"]
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillInvalidStatusException):
        ireland.ecr.stop_replication_backfill(replicationBackfillId=run["replicationBackfillId"])
    with pytest.raises(ireland.ecr.exceptions.ReplicationBackfillNotFoundException):
        ireland.ecr.stop_replication_backfill(replicationBackfillId="nothing")
    again = ireland.ecr.start_replication_backfill(**destination)
    assert ireland.ecr.stop_replication_backfill(replicationBackfillId=again["replicationBackfillId"])["status"] == "STOPPING"
