"""The hub and three registries, deployed once for all tests."""

import json
import os
import pathlib
import platform

import pytest
import yaml

from cloud import HUB, HUB_REGION, Cloud
from stacks import BUCKET, INFRA, as_ministack_sees_it, deploy, packaged

SOURCE = ("111122223333", "eu-west-1")
NEAR = ("111122223333", "us-east-1")
FAR = ("444455556666", "ap-northeast-1")
EXTERNAL_ID = "platform-team"
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())

# Deletions are due at once, so that tests need not wait for a day.
POLICY = """@id("at-once") @grace("0s") permit (principal, action, resource);"""


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), [NEAR, FAR])
    try:
        store = cloud.client("s3")
        store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": HUB_REGION})
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="session")
def hub(cloud, tmp_path_factory):
    """The hub's stack, deployed from the output of `sam build` in the folder HUB_BUILD."""
    layers = tmp_path_factory.mktemp("layers")
    body = packaged(cloud, pathlib.Path(os.environ["HUB_BUILD"]) / "template.yaml", layers)
    # The layer contains every policy of the repository.
    assert {path.name for path in layers.glob("*.cedar")} == {path.name for path in (INFRA / "policies").glob("*.cedar")}
    (layers / "at-once.cedar").write_text(POLICY)
    hub = deploy(
        cloud, "ecr-lineage", body, HUB, HUB_REGION, Architecture=ARCHITECTURE, ExternalId=EXTERNAL_ID,
        AccountIds=f"{SOURCE[0]},{FAR[0]}", Mode="enforce", PolicyFile="at-once.cedar",
    )
    # ministack's CloudFormation does not support the bus policy and the archive, so the test creates them.
    events = cloud.client("events")
    for account in (SOURCE[0], FAR[0]):
        events.put_permission(EventBusName=hub.ids["Bus"], Action="events:PutEvents", Principal=account, StatementId=f"account{account}")
    archive = yaml.safe_load((INFRA / "hub.yaml").read_text())["Resources"]["Archive"]["Properties"]
    bus = hub.outputs["BusArn"]
    events.create_archive(
        ArchiveName="Archive", EventSourceArn=bus, EventPattern=json.dumps(archive["EventPattern"]), RetentionDays=30,
    )
    return hub


@pytest.fixture(scope="session")
def registries(cloud, hub):
    """The stacks of the registries. The last one permits deletions only in repositories below dev/."""
    body = as_ministack_sees_it((INFRA / "registry.yaml").read_text())
    roles = {"Roles": "make", "ExternalId": EXTERNAL_ID}
    bus = {"HubBusArn": hub.outputs["BusArn"]}
    deletable = {"DeletableRepositories": f"arn:aws:ecr:*:{FAR[0]}:repository/dev/*"}
    name = "ecr-lineage-registry"
    return {
        SOURCE: deploy(cloud, name, body, *SOURCE, **bus, **roles),
        NEAR: deploy(cloud, name, body, *NEAR, **bus),
        FAR: deploy(cloud, name, body, *FAR, **bus, **roles, **deletable),
    }


@pytest.fixture(scope="session", autouse=True)
def nothing_of_this_machine():
    """Checks that the tests use no AWS configuration of this machine."""
    assert os.environ["AWS_CONFIG_FILE"] == "/dev/null"
    assert pathlib.Path(os.environ["ECR_LINEAGE"]).exists()
