"""Events from a registry to the table, to the dead letters, and to a target for alerts."""

import json
import time
import urllib.request

import pytest

from cloud import HUB, HUB_REGION, eventually
from conftest import FAR, NEAR, SOURCE
from images import Image
from stacks import INFRA

SAMPLES = INFRA.parent / "tests" / "fixtures" / "events"

IMAGES, WHO = "ImagesRule", "CloudTrailRule"
# The rule of a registry that forwards the event to the hub, by sample.
EXPECTED = {
    "archive": IMAGES, "delete": IMAGES, "push": IMAGES, "push-untagged-captured": IMAGES, "referrer-restore": IMAGES,
    "replication-failed": IMAGES, "replication-success": IMAGES, "restore": IMAGES, "pull-through-cache": IMAGES,
    "cloudtrail-lifecycle-policy-execution": WHO,
    # Scan findings say nothing about where an image is.
    "image-scan": None, "scan-resource-change": None,
}


def pattern(cloud, stack, rule, account, region):
    """The pattern of a deployed rule, and its state."""
    events = cloud.client("events", account, region)
    _, _, name = stack.ids[rule].rpartition("|")
    bus = {"EventBusName": stack.ids["Bus"]} if "Bus" in stack.ids else {}
    found = events.describe_rule(Name=name, **bus)
    return found["EventPattern"], found["State"]


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_every_documented_event_matches_the_rules_that_it_should(cloud, hub, registries, sample):
    event = json.loads((SAMPLES / f"{sample}.json").read_text())
    if "detail" not in event:
        # A CloudTrail record without its EventBridge envelope.
        event = wrapped(event, "AWS Service Event via CloudTrail")
    # One sample has a day that does not exist, which EventBridge refuses.
    event["time"] = event["time"].replace("2023-02-29", "2023-02-28")
    events = cloud.client("events", *SOURCE)

    def matches(stack, rule, account, region):
        text, _ = pattern(cloud, stack, rule, account, region)
        return events.test_event_pattern(EventPattern=text, Event=json.dumps(event))["Result"]

    sent_by = [rule for rule in (IMAGES, WHO) if matches(registries[SOURCE], rule, *SOURCE)]
    assert sent_by == [rule for rule in [EXPECTED[sample]] if rule]
    assert matches(hub, "EventsRule", HUB, HUB_REGION)


@pytest.mark.parametrize("name, sent", [
    ("BatchDeleteImage", True), ("DeleteRepository", True), ("PutReplicationConfiguration", True), ("PolicyExecutionEvent", True),
    ("DescribeImages", False), ("PutImage", False), ("DryRunEvent", False),
])
def test_only_cloudtrail_records_about_deletions_and_replication_are_forwarded(cloud, registries, name, sent):
    event = wrapped({"eventSource": "ecr.amazonaws.com", "eventName": name, "eventTime": "2026-11-02T09:00:00Z"}, "AWS API Call via CloudTrail")
    events = cloud.client("events", *SOURCE)
    text, _ = pattern(cloud, registries[SOURCE], WHO, *SOURCE)
    assert events.test_event_pattern(EventPattern=text, Event=json.dumps(event))["Result"] is sent


def wrapped(record, kind):
    return {
        "version": "0", "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38", "detail-type": kind, "source": "aws.ecr", "account": SOURCE[0],
        "time": record["eventTime"], "region": SOURCE[1], "resources": [], "detail": record,
    }


def test_each_rule_of_a_registry_sends_to_the_hub_and_keeps_what_it_cannot_send(cloud, hub, registries):
    for (account, region), stack in registries.items():
        events = cloud.client("events", account, region)
        for rule in (IMAGES, WHO):
            _, _, name = stack.ids[rule].rpartition("|")
            [target] = events.list_targets_by_rule(Rule=name)["Targets"]
            assert target["Arn"] == hub.outputs["BusArn"]
            assert target["RoleArn"].startswith(f"arn:aws:iam::{account}:role/")
            assert stack.ids["Undelivered"].endswith(target["DeadLetterConfig"]["Arn"].split(":")[-1])
        assert pattern(cloud, stack, WHO, account, region)[1] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


def test_only_ecr_can_send_events_of_ecr(cloud, hub):
    events = cloud.client("events")
    entry = {"EventBusName": hub.ids["Bus"], "Source": "aws.ecr", "DetailType": "ECR Image Action", "Detail": "{}"}
    [answer] = events.put_events(Entries=[entry])["Entries"]
    assert answer["ErrorCode"] == "NotAuthorizedForSourceException"


def test_a_push_and_its_copies_become_lineage(cloud, hub, registries):
    image = Image(cloud, hub, "team/app")
    image.push("v1")
    image.arrives(SOURCE, NEAR, FAR)
    assert image.where() == {"/".join(registry): "present" for registry in (SOURCE, NEAR, FAR)}


def test_unreadable_events_become_dead_letters_and_are_alerted(cloud, hub, registries):
    queues, events = cloud.client("sqs"), cloud.client("events")
    # A target for alerts.
    listener = queues.create_queue(QueueName="listener")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=listener, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = hub.outputs["AlertsBusName"]
    events.put_rule(Name="listener", EventBusName=bus, EventPattern=json.dumps({"source": ["ecr-lineage"]}))
    events.put_targets(Rule="listener", EventBusName=bus, Targets=[{"Id": "listener", "Arn": arn}])

    # Five receives take a quarter of an hour; with this timeout they take seconds.
    url = hub.ids["Events"]
    queues.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    # One message is sent to the queue directly; EventBridge delivers the other one by the hub's rule, which is extended
    # to accept a test source.
    _, _, rule = hub.ids["EventsRule"].rpartition("|")
    text, _ = pattern(cloud, hub, "EventsRule", HUB, HUB_REGION)
    also = json.loads(text) | {"source": json.loads(text)["source"] + ["ecr-lineage.test"]}
    events.put_rule(Name=rule, EventBusName=hub.ids["Bus"], EventPattern=json.dumps(also))
    events.put_events(Entries=[{"EventBusName": hub.ids["Bus"], "Source": "ecr-lineage.test", "DetailType": "Not ECR's", "Detail": "{}"}])
    queues.send_message(QueueUrl=url, MessageBody="poison")
    image = Image(cloud, hub, "team/beside-poison")
    image.push("v1")
    image.arrives(SOURCE, NEAR, FAR)
    dead = hub.ids["DeadLetters"]

    def all_are_dead():
        count = queues.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
        return int(count["Attributes"]["ApproximateNumberOfMessages"]) == 2

    eventually(all_are_dead, seconds=150)
    left = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == "0"

    # The test does not invoke `watch`: its schedule does.
    def alert():
        for message in queues.receive_message(QueueUrl=listener, WaitTimeSeconds=1).get("Messages", []):
            event = json.loads(message["Body"])
            if "dead letters" in event["detail"]["message"]:
                return event
        return None

    event = eventually(alert, seconds=150)
    assert event["detail-type"] == "ECR Lineage Pipeline Unhealthy"
    assert event["detail"]["message"].startswith("2 events are among the dead letters")
