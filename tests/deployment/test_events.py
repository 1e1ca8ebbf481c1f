"""Events and heartbeats from a registry through its rule, its topic and the hub's queue to the table; messages that are
refused; dead letters, and the target for alerts."""

import contextlib
import json
import time

import pytest
from botocore.exceptions import ClientError

from cloud import HUB, HUB_REGION, eventually
from conftest import FAR, NEAR, SOURCE
from images import Image, ask
from stacks import INFRA
from topics import beat, enabled, is_published, publish, put, rule, topic

SAMPLES = INFRA.parent / "tests" / "fixtures" / "events"
RECORDS = INFRA.parent / "tests" / "fixtures" / "records"

# Scan findings say nothing about where an image is.
IGNORED = {"image-scan", "scan-resource-change"}


def sample(name):
    """A documented event."""
    event = json.loads((SAMPLES / f"{name}.json").read_text())
    if "detail" not in event:
        # A CloudTrail record without its EventBridge envelope.
        event = wrapped(event, "AWS Service Event via CloudTrail")
    # One sample has a day that does not exist, which EventBridge refuses.
    event["time"] = event["time"].replace("2023-02-29", "2023-02-28")
    return event


def wrapped(record, kind):
    return {
        "version": "0", "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38", "detail-type": kind, "source": "aws.ecr", "account": SOURCE[0],
        "time": record["eventTime"], "region": SOURCE[1], "resources": [], "detail": record,
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_the_rule_publishes_every_documented_event_that_says_where_an_image_is(cloud, registries, name):
    assert is_published(cloud, *SOURCE, sample(name)) is (name not in IGNORED)


@pytest.mark.parametrize("kind", ["AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"])
@pytest.mark.parametrize("service, name, sent", [
    ("ecr", "BatchDeleteImage", True), ("ecr", "DeleteRepository", True), ("ecr", "PutReplicationConfiguration", True),
    ("ecr", "PolicyExecutionEvent", True), ("ecr", "DescribeImages", False), ("ecr", "PutImage", True), ("ecr", "DryRunEvent", False),
    ("ecr-public", "DeleteRepository", False), ("ecr", "CreateRepository", False), ("replication.ecr", "ReplicateImage", False),
])
def test_only_cloudtrail_records_about_changes_are_published(cloud, registries, kind, service, name, sent):
    record = {"eventSource": f"{service}.amazonaws.com", "eventName": name, "eventTime": "2026-11-02T09:00:00Z"}
    assert is_published(cloud, *SOURCE, wrapped(record, kind)) is sent


# What these say is nothing about an image, or ECR's own event says it.
UNPUBLISHED = {
    "another-service", "batch-get-image", "create-repository", "create-repository-exists", "replicate-image", "event-of-another-service",
    "event-inspector", "event-unknown-detail-type",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDS.glob("*.json")))
def test_the_rule_publishes_every_record_that_says_something(cloud, registries, name):
    record = json.loads((RECORDS / f"{name}.json").read_text())
    if "eventSource" in record:
        record = wrapped(record, "AWS API Call via CloudTrail") | {"source": f"aws.{record['eventSource'].removesuffix('.amazonaws.com')}"}
    if isinstance(record["detail"], str):
        record["detail"] = json.loads(record["detail"])
    assert is_published(cloud, *SOURCE, record) is (name not in UNPUBLISHED)


@pytest.mark.parametrize("source, kind, sent", [
    ("ecr-lineage", "ECR Lineage Heartbeat", True), ("ecr-lineage", "ECR Lineage Alert", False),
    ("mine", "ECR Lineage Heartbeat", False), ("mine", "ECR Image Action", False),
])
def test_of_other_sources_only_heartbeats_are_published(cloud, registries, source, kind, sent):
    assert is_published(cloud, *SOURCE, sample("push") | {"source": source, "detail-type": kind}) is sent


def kept(cloud, stack, queue, account, region):
    """The ARN of a queue in a registry's stack, and who may send to it: the service, and its source."""
    asked = {"QueueUrl": stack.ids[queue], "AttributeNames": ["QueueArn", "Policy"]}
    found = cloud.client("sqs", account, region).get_queue_attributes(**asked)["Attributes"]
    [sender] = json.loads(found["Policy"])["Statement"]
    assert (sender["Effect"], sender["Action"], sender["Resource"]) == ("Allow", "sqs:SendMessage", found["QueueArn"])
    return found["QueueArn"], sender["Principal"]["Service"], sender["Condition"]["ArnEquals"]["aws:SourceArn"]


def test_the_rule_of_a_registry_publishes_to_its_topic_and_keeps_what_it_cannot_publish(cloud, registries):
    for registry, stack in registries.items():
        found = rule(cloud, *registry)
        assert found["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
        [target] = cloud.client("events", *registry).list_targets_by_rule(Rule=found["Name"])["Targets"]
        assert target["Arn"] == stack.outputs["TopicArn"] == topic(*registry)
        # Events are published unchanged, and by the topic's policy alone: with a role, AWS may not deliver to a topic.
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        assert not {"RoleArn", "Input", "InputPath", "InputTransformer"} & target.keys()
        # ministack does not deliver to dead-letter queues.
        dead = target["DeadLetterConfig"]["Arn"]
        assert kept(cloud, stack, "Unpublished", *registry) == (dead, "events.amazonaws.com", found["Arn"])


def test_the_topic_of_a_registry_takes_the_events_of_its_rule_and_sends_them_to_the_hubs_queue(cloud, hub, registries):
    for (account, region), stack in registries.items():
        sns, arn = cloud.client("sns", account, region), topic(account, region)
        # ministack does not ask the topic's policy before EventBridge publishes.
        of_rule, of_hub = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])["Statement"]
        assert (of_rule["Principal"], of_rule["Action"]) == ({"Service": "events.amazonaws.com"}, "sns:Publish")
        assert of_rule["Condition"] == {"ArnEquals": {"aws:SourceArn": rule(cloud, account, region)["Arn"]}}
        assert (of_hub["Principal"], of_hub["Action"]) == ({"AWS": HUB}, "sns:GetTopicAttributes")

        [subscription] = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        assert (subscription["Protocol"], subscription["Endpoint"]) == ("sqs", hub.outputs["QueueArn"])
        attributes = sns.get_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"])["Attributes"]
        # Only the wrapped message names its topic.
        assert attributes["RawMessageDelivery"] == "false"
        dead = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
        assert kept(cloud, stack, "Undelivered", account, region) == (dead, "sns.amazonaws.com", arn)


def test_strangers_cannot_publish_as_a_registry(cloud, registries):
    for account in (HUB, FAR[0], "777788889999"):
        with pytest.raises(ClientError, match="AuthorizationError"):
            cloud.client("sns", account, NEAR[1]).publish(TopicArn=topic(*NEAR), Message="forged")


def test_only_ecr_can_send_events_of_ecr(cloud):
    events = cloud.client("events", *SOURCE)
    entry = {"Source": "aws.ecr", "DetailType": "ECR Image Action", "Detail": "{}"}
    [answer] = events.put_events(Entries=[entry])["Entries"]
    assert answer["ErrorCode"] == "NotAuthorizedForSourceException"


def test_a_push_and_its_copies_become_lineage(cloud, hub, registries):
    image = Image(cloud, hub, "team/app")
    image.push("v1")
    image.arrives(SOURCE, NEAR, FAR)
    assert image.where() == {"/".join(registry): "present" for registry in (SOURCE, NEAR, FAR)}


@contextlib.contextmanager
def without_record(cloud, hub):
    """Keeps messages in the hub's queue."""
    lambdas = cloud.client("lambda")
    [mapping] = lambdas.list_event_source_mappings(FunctionName=hub.ids["Record"])["EventSourceMappings"]
    lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def taken(cloud, hub, text):
    """Takes the messages that contain a text from the hub's queue."""
    queues, url = cloud.client("sqs"), hub.ids["Events"]
    messages = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    found = [message for message in messages if text in message["Body"]]
    for message in found:
        queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in found]


def test_an_event_keeps_its_id_on_the_way_into_another_account_and_region(cloud, hub, registries):
    with without_record(cloud, hub), enabled(cloud, *FAR, {"source": ["ecr-lineage.test"]}):
        sent = put(cloud, *FAR, "ecr-lineage.test", "Not ECR's", '{"a": 1}')
        [message] = taken(cloud, hub, sent)
    assert (message["Type"], message["TopicArn"]) == ("Notification", topic(*FAR))
    event = json.loads(message["Message"])
    assert (event["id"], event["account"], event["region"], event["detail"]) == (sent, *FAR, {"a": 1})


# Heartbeats


def test_the_schedule_of_a_registry_puts_a_heartbeat_onto_the_default_bus(cloud, registries):
    for (account, region), stack in registries.items():
        schedule = cloud.client("scheduler", account, region).get_schedule(Name=stack.ids["Heartbeat"])
        assert (schedule["State"], schedule["ScheduleExpression"]) == ("ENABLED", "rate(5 minutes)")
        target = schedule["Target"]
        assert target["Arn"] == f"arn:aws:events:{region}:{account}:event-bus/default"
        assert target["RoleArn"] == f"arn:aws:iam::{account}:role/{stack.ids['HeartbeatRole']}"


@pytest.mark.parametrize("registry", [SOURCE, NEAR, FAR])
def test_a_heartbeat_takes_the_way_of_the_events_into_the_table(cloud, hub, registries, registry):
    sent = beat(cloud, registries[registry], *registry)
    key = {"pk": {"S": "heartbeats"}, "sk": {"S": "/".join(registry)}}

    def is_recorded():
        item = cloud.client("dynamodb").get_item(TableName=hub.outputs["TableName"], Key=key).get("Item", {})
        return item.get("heartbeat_at", {"S": ""})["S"] >= sent

    eventually(is_recorded)


# What the queue and `record` refuse


@pytest.mark.parametrize("account, region, name, may", [
    (SOURCE[0], SOURCE[1], "ecr-lineage-events", True),
    # A region that has no stack yet.
    (FAR[0], "ap-southeast-2", "ecr-lineage-events", True),
    # The hub's own account.
    (HUB, HUB_REGION, "ecr-lineage-events", True),
    (SOURCE[0], SOURCE[1], "other", False), (SOURCE[0], SOURCE[1], "ecr-lineage-events-2", False),
    (SOURCE[0], SOURCE[1], "my-ecr-lineage-events", False), ("777788889999", SOURCE[1], "ecr-lineage-events", False),
])
def test_only_topics_of_the_hubs_name_and_accounts_send_to_its_queue(cloud, hub, registries, account, region, name, may):
    sns = cloud.client("sns", account, region)
    is_new = topic(account, region, name) not in {found["TopicArn"] for found in sns.list_topics()["Topics"]}
    arn = sns.create_topic(Name=name)["TopicArn"]
    # ministack confirms subscriptions itself.
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=hub.outputs["QueueArn"])
    try:
        with without_record(cloud, hub):
            sns.publish(TopicArn=arn, Message="tried")
            arrived = taken(cloud, hub, '"tried"')
        assert [message["TopicArn"] for message in arrived] == ([arn] if may else [])
    finally:
        if is_new:
            sns.delete_topic(TopicArn=arn)


@contextlib.contextmanager
def hasty(cloud, hub):
    """Five receives of a message take a quarter of an hour; meanwhile they take seconds."""
    queues, url = cloud.client("sqs"), hub.ids["Events"]
    before = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    queues.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    try:
        yield
    finally:
        queues.set_queue_attributes(QueueUrl=url, Attributes=before)


def test_a_topic_cannot_speak_for_another_registry(cloud, hub, registries):
    queues, dead = cloud.client("sqs"), hub.ids["DeadLetters"]
    digest, moment = "sha256:" + "f" * 64, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    forged = sample("push") | {"account": FAR[0], "region": FAR[1], "time": moment}
    forged["detail"] |= {"repository-name": "team/forged", "image-digest": digest}

    def refused():
        """The message, which returned to the queue after each of five attempts."""
        letters = queues.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages", [])
        return next((letter for letter in letters if "team/forged" in letter["Body"]), None)

    with hasty(cloud, hub):
        publish(cloud, *NEAR, forged)
        letter = eventually(refused, seconds=150)
    queues.delete_message(QueueUrl=dead, ReceiptHandle=letter["ReceiptHandle"])
    message = json.loads(letter["Body"])
    assert (message["TopicArn"], json.loads(message["Message"])) == (topic(*NEAR), forged)
    assert ask(cloud, hub.outputs["ReadersUrl"], f"v1/lineage?image=team/forged@{digest}")[0] == 404

    day = message["Timestamp"][:10]
    key = {"pk": {"S": f"alert#{day}"}, "sk": {"S": f"{day}/event_refused/{topic(*NEAR)}"}}
    alert = cloud.client("dynamodb").get_item(TableName=hub.outputs["TableName"], Key=key)["Item"]
    assert (alert["kind"]["S"], alert["severity"]["S"], alert["subject"]["S"]) == ("event_refused", "critical", topic(*NEAR))
    assert f"sent an event of {'/'.join(FAR)}, which is not its own registry" in alert["message"]["S"]


# Dead letters and alerts


def test_unreadable_events_become_dead_letters_and_are_alerted(cloud, hub, registries, listener):
    queues, url, dead = cloud.client("sqs"), hub.ids["Events"], hub.ids["DeadLetters"]

    def all_are_dead():
        count = queues.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
        return int(count["Attributes"]["ApproximateNumberOfMessages"]) == 2

    with hasty(cloud, hub):
        # One message is sent to the queue directly; the other one comes from a registry's topic, and no repository has the
        # name in it. EventBridge takes events of AWS's sources from AWS alone.
        unreadable = sample("push") | {"account": SOURCE[0], "region": SOURCE[1]}
        unreadable["detail"] |= {"repository-name": "Team/App"}
        publish(cloud, *SOURCE, unreadable)
        queues.send_message(QueueUrl=url, MessageBody="poison")
        image = Image(cloud, hub, "team/beside-poison")
        image.push("v1")
        image.arrives(SOURCE, NEAR, FAR)
        eventually(all_are_dead, seconds=150)
    left = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == "0"

    # The test does not invoke `watch`: its schedule does. It alerts once a day, with the number of its first look.
    def alert():
        for message in queues.receive_message(QueueUrl=listener, WaitTimeSeconds=1).get("Messages", []):
            event = json.loads(message["Body"])
            if "dead letters" in event["detail"]["message"]:
                return event
        return None

    event = eventually(alert, seconds=150)
    assert event["detail-type"] == "ECR Lineage Pipeline Unhealthy"
    assert "among the dead letters: `record` could not record" in event["detail"]["message"]


def test_the_outputs_for_moving_dead_letters_back_name_the_two_queues(cloud, hub):
    # ministack has no StartMessageMoveTask.
    queues = cloud.client("sqs")
    found = queues.get_queue_attributes(QueueUrl=hub.ids["Events"], AttributeNames=["QueueArn", "RedrivePolicy"])["Attributes"]
    assert found["QueueArn"] == hub.outputs["QueueArn"]
    assert json.loads(found["RedrivePolicy"])["deadLetterTargetArn"] == hub.outputs["DeadLettersArn"]
