"""Every field of ECR's events. The samples:
https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html"""

import json
import pathlib
import re
import urllib.request

import pytest

from manifests import CONFIG, EMPTY, IMAGE, INDEX, artifact, digest, image, index
from sites import APP, COPIED, DAY, MINUTE

pytestmark = pytest.mark.only_simulator("moto emits no events")

SAMPLES = pathlib.Path(__file__).parent.parent / "fixtures" / "events"
# Real events have these fields, but AWS's samples of pushes and deletions do not.
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
    # The event is sent in the destination, with the source in its detail.
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


def test_each_deleted_tag_has_an_event_and_cloudtrail_names_the_caller(sites, ireland):
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


def test_only_cloudtrail_reports_a_repository_that_is_deleted_by_force(sites, ireland):
    ireland.push(image("a"), "v1")
    ireland.ecr.delete_repository(repositoryName=APP, force=True)
    assert [event["detail"]["action-type"] for event in sites.own_events()] == ["PUSH"]
    assert sites.events()[-1]["detail"]["eventName"] == "DeleteRepository"


def envelope(event):
    """An event without its variable fields, whose format is checked here."""
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["time"])
    return {name: value for name, value in event.items() if name not in ("id", "time")}


def image_action(registry, action, manifest, tag, config=CONFIG, kind=IMAGE):
    detail = {
        "result": "SUCCESS", "repository-name": APP, "image-digest": digest(manifest), "action-type": action,
        "image-tag": tag, "manifest-media-type": kind,
    }
    if config:
        detail["artifact-media-type"] = config
    return {
        "version": "0", "detail-type": "ECR Image Action", "source": "aws.ecr", "account": registry.account,
        "region": registry.region, "resources": [], "detail": detail,
    }


def replicated(source, destination, manifest, tag, result="SUCCESS"):
    return {
        "version": "0", "detail-type": "ECR Replication Action", "source": "aws.ecr", "account": destination.account,
        "region": destination.region, "resources": [f"arn:aws:ecr:{destination.region}:{destination.account}:repository/{APP}"],
        "detail": {
            "result": result, "repository-name": APP, "image-digest": digest(manifest), "source-account": source.account,
            "action-type": "REPLICATE", "source-region": source.region, "image-tag": tag,
        },
    }


def test_pushes_and_deletions_in_full_and_in_order(sites, ireland):
    # A push without a tag has an empty tag: captured in 2025, tests/fixtures/events/push-untagged-captured.json.
    for tag in [None, "v1", "latest"]:
        ireland.push(image("a"), tag)
    now = sites.step(0)
    ireland.delete({"imageTag": "latest"})
    ireland.delete({"imageTag": "v1"})
    ireland.push(image("b"))
    ireland.delete({"imageDigest": digest(image("b"))})
    events = sites.own_events()
    assert [envelope(event) for event in events] == [
        image_action(ireland, "PUSH", image("a"), ""), image_action(ireland, "PUSH", image("a"), "v1"),
        image_action(ireland, "PUSH", image("a"), "latest"),
        # Deleting one of several tags: U1.
        image_action(ireland, "DELETE", image("a"), "latest"), image_action(ireland, "DELETE", image("a"), "v1"),
        image_action(ireland, "PUSH", image("b"), ""), image_action(ireland, "DELETE", image("b"), ""),
    ]
    assert len({event["id"] for event in events}) == len(events)
    assert {event["time"] for event in events} == {now[:19] + "Z"}


def test_only_the_push_reports_a_tag_that_moves(sites, ireland):
    for name in ["a", "b"]:
        ireland.push(image(name), "latest")
    assert [envelope(event) for event in sites.own_events()] == [
        image_action(ireland, "PUSH", image(name), "latest") for name in ["a", "b"]
    ]


def test_copies_of_an_index_in_full(sites, ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("amd64"))
    ireland.push(index(image("amd64")), "v1")
    sites.step(COPIED)
    events = [envelope(event) for event in sites.own_events()]
    assert events[:2] == [
        image_action(ireland, "PUSH", image("amd64"), ""),
        image_action(ireland, "PUSH", index(image("amd64")), "v1", config=None, kind=INDEX),
    ]
    # One event for the child and one for the index (U8). The destination gets no PUSH event (U9), and the source gets
    # none.
    child, parent = replicated(ireland, virginia, image("amd64"), ""), replicated(ireland, virginia, index(image("amd64")), "v1")
    assert parent in events[2:] and child in events[2:]
    assert all(event in [child, parent] for event in events[2:])


def test_a_copy_that_fails_in_full(sites, ireland, tokyo):
    ireland.replicate(tokyo)
    ireland.push(image("a"), "v1")
    sites.step(COPIED)
    assert [envelope(event) for event in sites.own_events()][1:] == [replicated(ireland, tokyo, image("a"), "v1", result="FAILED")]


def test_a_copy_across_accounts_is_reported_in_the_destination(sites, ireland, tokyo):
    tokyo.allow(ireland.account, "ecr:ReplicateImage", "ecr:CreateRepository")
    ireland.replicate(tokyo)
    ireland.push(image("a"), "v1")
    sites.step(COPIED)
    assert [envelope(event) for event in sites.own_events()][1:] == [replicated(ireland, tokyo, image("a"), "v1")]


def test_a_deletion_that_ecr_replicates_is_a_deletion_there(sites, ireland, virginia):
    # Not documented by AWS: U10.
    ireland.replicate(virginia, native=True)
    ireland.push(image("a"), "v1")
    sites.step(COPIED)
    ireland.delete({"imageTag": "v1"})
    sites.step(COPIED)
    assert [envelope(event) for event in sites.own_events()][2:] == [
        image_action(registry, "DELETE", image("a"), "v1") for registry in [ireland, virginia]
    ]


def test_archiving_and_restoring_in_full(sites, ireland):
    sbom = artifact(image("a"), "text/sbom+json")
    for manifest in [image("a"), sbom]:
        ireland.push(manifest)
        ireland.archive(manifest)
        ireland.restore(manifest)
    sites.step(20 * MINUTE)
    events = [event for event in sites.own_events() if event["detail"]["action-type"] == "UPDATE_STORAGE_CLASS"]
    expected = []
    for target in ["ARCHIVE", "STANDARD"]:
        for manifest, kind, config in [(image("a"), "ECR Image Action", CONFIG), (sbom, "ECR Referrer Action", EMPTY)]:
            form = image_action(ireland, "UPDATE_STORAGE_CLASS", manifest, "", config=config)
            del form["detail"]["image-tag"]
            form["detail"]["target-storage-class"] = target
            expected.append({**form, "detail-type": kind})
    times = [event["detail"].pop("last-activated-at", None) for event in events]
    assert [time is not None for time in times] == [False, False, True, True]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time) for time in times[2:])
    assert [envelope(event) for event in events] == expected


def test_cloudtrail_reports_calls_with_their_caller(sites, ireland, virginia):
    ireland.replicate(virginia)
    ireland.push(image("a"), "v1")
    ireland.archive(image("a"))
    calls = [event for event in sites.events() if event["detail-type"] == "AWS API Call via CloudTrail"]
    assert [event["detail"]["eventName"] for event in calls] == [
        "CreateRepository", "PutReplicationConfiguration", "PutImage", "UpdateImageStorageClass",
    ]
    for event in calls:
        assert (event["source"], event["account"], event["region"]) == ("aws.ecr", ireland.account, "eu-west-1")
        detail = event["detail"]
        assert (detail["eventSource"], detail["awsRegion"], detail["readOnly"]) == ("ecr.amazonaws.com", "eu-west-1", False)
        assert (detail["eventType"], detail["recipientAccountId"]) == ("AwsApiCall", ireland.account)
        assert detail["eventTime"] == event["time"]
        assert (detail["userIdentity"]["type"], detail["userIdentity"]["accountId"]) == ("AssumedRole", ireland.account)
    rules = {"rules": [{"destinations": [virginia.destination]}]}
    assert calls[1]["detail"]["requestParameters"] == calls[1]["detail"]["responseElements"] == {"replicationConfiguration": rules}


def test_refused_calls_are_reported_and_read_only_ones_are_not(sites, ireland):
    before = len(sites.events())
    ireland.images()
    ireland.ecr.describe_registry()
    ireland.delete({"imageTag": "v1"})
    with pytest.raises(ireland.ecr.exceptions.RepositoryAlreadyExistsException):
        ireland.ecr.create_repository(repositoryName=APP)
    calls = [event["detail"] for event in sites.events()[before:]]
    assert [(call["eventName"], call.get("errorCode")) for call in calls] == [
        ("BatchDeleteImage", None), ("CreateRepository", "RepositoryAlreadyExistsException"),
    ]
    assert calls[1]["requestParameters"] == {"repositoryName": APP} and calls[1]["responseElements"] is None
    assert sites.own_events() == []


def test_the_record_of_a_policy_run_has_the_form_of_awss_sample(sites, ireland):
    ireland.push(image("a"), "v1")
    selection = {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}
    policy = {"rules": [{"rulePriority": 1, "description": "old ones", "selection": selection, "action": {"type": "expire"}}]}
    ireland.ecr.put_lifecycle_policy(repositoryName=APP, lifecyclePolicyText=json.dumps(policy))
    sites.step(2 * DAY)
    records = [event for event in sites.events() if event["detail"].get("eventName") == "PolicyExecutionEvent"]
    # Runs that expired nothing have a record as well.
    (record,) = [one for one in records if one["detail"]["serviceEventDetails"]["lifecycleEventImageActions"]]
    sample = json.loads((SAMPLES / "cloudtrail-lifecycle-policy-execution.json").read_text())
    assert covers(record, sample), record
    assert record["detail"]["userIdentity"] == {"accountId": ireland.account, "invokedBy": "AWS Internal"}
    assert (record["detail"]["readOnly"], record["detail"]["eventType"]) == (True, "AwsServiceEvent")
    (action,) = record["detail"]["serviceEventDetails"]["lifecycleEventImageActions"]
    pushed = action["lifecycleEventImage"].pop("pushedAt")
    assert action == {"lifecycleEventImage": {"digest": digest(image("a")), "tagStatus": "Tagged", "tagList": ["v1"]}, "rulePriority": 1}
    # In milliseconds.
    assert pushed > 1_000_000_000_000


def covers(value, sample):
    """Whether a value has every field of a sample, with values of the same type."""
    if isinstance(sample, dict):
        fields = sample.items()
        return isinstance(value, dict) and all(name in value and covers(value[name], field) for name, field in fields)
    if isinstance(sample, list):
        return isinstance(value, list) and (not sample or all(covers(one, sample[0]) for one in value))
    return isinstance(value, type(sample))


def test_events_are_read_from_a_position(sites, ireland):
    def read(after):
        with urllib.request.urlopen(f"{sites.endpoint}/_simulator/events?after={after}", timeout=20) as answer:
            return json.load(answer)

    before = read(0)["next"]
    assert read(before) == {"events": [], "next": before}
    ireland.push(image("a"), "v1")
    more = read(before)
    assert [event["detail-type"] for event in more["events"]] == ["ECR Image Action", "AWS API Call via CloudTrail"]
    assert more["next"] == before + 2
