"""The hub and three registries, deployed once for all tests."""

import json
import os
import pathlib
import platform

import pytest

from cloud import HUB, HUB_REGION, Cloud
from stacks import BUCKET, INFRA, PREFIX, deploy, hub_template, registry_template, uploaded
from topics import HUB_STACK

SOURCE = ("111122223333", "eu-west-1")
NEAR = ("111122223333", "us-east-1")
FAR = ("444455556666", "ap-northeast-1")
EXTERNAL_ID = "platform-team"
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
# The parameters that say which release a hub's stack deploys.
OF_RELEASE = {"Architecture": ARCHITECTURE, "ArtifactsBucket": BUCKET, "ArtifactsPrefix": PREFIX}

# Deletions are due at once, so that tests need not wait for a day.
POLICY = """@id("at-once") @grace("0s") permit (principal, action, resource);"""


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    # The tests use no AWS configuration of this machine.
    assert os.environ["AWS_CONFIG_FILE"] == "/dev/null"
    assert pathlib.Path(os.environ["ECR_LINEAGE"]).exists()
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), [NEAR, FAR])
    try:
        store = cloud.client("s3")
        store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": HUB_REGION})
        uploaded(cloud)
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="session")
def layers(tmp_path_factory):
    """The folder that stands for /opt of the functions."""
    return tmp_path_factory.mktemp("layers")


@pytest.fixture(scope="session")
def hub_body(cloud, layers):
    """The hub's template, with a policy for these tests."""
    body = hub_template(cloud, layers)
    # The layer contains every policy of the repository.
    assert {path.name for path in layers.glob("*.cedar")} == {path.name for path in (INFRA / "policies").glob("*.cedar")}
    (layers / "at-once.cedar").write_text(POLICY)
    return body


@pytest.fixture(scope="session")
def hub(cloud, hub_body):
    """The hub's stack."""
    return deploy(
        cloud, HUB_STACK, hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID,
        AccountIds=f"{SOURCE[0]},{FAR[0]}", Mode="enforce", PolicyFile="at-once.cedar",
    )


@pytest.fixture(scope="session")
def listener(cloud, hub):
    """The queue of a rule of one's own for alerts, made before the first alert."""
    queues, events, bus = cloud.client("sqs"), cloud.client("events"), hub.outputs["AlertsBusName"]
    listener = queues.create_queue(QueueName="listener")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=listener, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="listener", EventBusName=bus, EventPattern=json.dumps({"source": ["ecr-lineage"]}))
    events.put_targets(Rule="listener", EventBusName=bus, Targets=[{"Id": "listener", "Arn": arn}])
    return listener


@pytest.fixture(scope="session")
def registries(cloud, hub, listener):
    """The stacks of the registries, with the values of one StackSet per account. The last account permits deletions
    only in repositories below dev/."""

    return of_registries(cloud, hub, "ecr-lineage-registry")


def of_registries(cloud, hub, name, **parameters):
    """The stacks of the three registries for a hub."""

    def made(account, region, roles_region, **more):
        stack = deploy(
            cloud, name, registry_template(region), account, region, HubQueueArn=hub.outputs["QueueArn"],
            ExternalId=EXTERNAL_ID, RolesRegion=roles_region, **parameters, **more,
        )
        # ministack's CloudFormation ignores the property of the topic.
        cloud.client("sns", account, region).set_topic_attributes(
            TopicArn=stack.outputs["TopicArn"], AttributeName="SignatureVersion", AttributeValue="2",
        )
        return stack

    return {
        SOURCE: made(*SOURCE, SOURCE[1]),
        NEAR: made(*NEAR, SOURCE[1]),
        FAR: made(*FAR, FAR[1], DeletableRepositories=f"arn:aws:ecr:*:{FAR[0]}:repository/dev/*"),
    }
