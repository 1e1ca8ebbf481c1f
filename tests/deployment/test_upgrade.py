"""The stack of the last release is upgraded to this one, and goes back to it, while events arrive and deletions are under
way.

The last release is the newest tag `v*`: its templates are read from it. Its functions are in the folder LAST_RELEASE, which
has the files of that release; without it they are the functions of this build. Before the first tag, the last release is
this one with another version.
"""

import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import pytest
import yaml

from cloud import HUB, HUB_REGION, eventually
from command import run
from conftest import EXTERNAL_ID, FAR, NEAR, OF_RELEASE, SOURCE, of_registries
from images import Image, ask, deliver
from stacks import ARTIFACTS, INFRA, deploy, hub_template, update, uploaded
from topics import publish

ROOT, STACK, LAST = INFRA.parent, "upgraded", "ecr-lineage/last"
NAMES = {"ReadRoleName": f"{STACK}-read", "DeleteRoleName": f"{STACK}-delete"}


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def last_tag():
    """The newest tag of a release, or nothing."""
    if not (ROOT / ".git").exists():
        return None
    tags = git("tag", "--list", "v*", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-version:refname").split()
    return tags[0] if tags else None


def templates_of(tag):
    """The templates of a tag, by name."""
    names = git("ls-tree", "--name-only", tag, "infra/").split()
    return {pathlib.Path(name).name: git("show", f"{tag}:{name}") for name in names if name.endswith(".yaml")}


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    """The files of the last release."""
    files = tmp_path_factory.mktemp("last") / "files"
    shutil.copytree(os.environ.get("LAST_RELEASE", ARTIFACTS), files)
    if tag := last_tag():
        for name, text in templates_of(tag).items():
            (files / name).write_text(text)
    else:
        for name in ("hub.yaml", "registry.yaml"):
            text = (files / name).read_text()
            assert "0.1.0" in text
            (files / name).write_text(text.replace("0.1.0", "0.0.9"))
    # ministack forgets the ARN of a queue that does not change when its nested stack is updated: so it changes.
    channels = files / "channels.yaml"
    channels.write_text(re.sub(r"MessageRetentionPeriod: \d+", "MessageRetentionPeriod: 1209000", channels.read_text()))
    return files


class Traffic(threading.Thread):
    """Pushes of images, one after another, whose events reach the hub by the topic of a registry."""

    def __init__(self, cloud):
        super().__init__(daemon=True)
        self.cloud, self.ended, self.digests = cloud, threading.Event(), []

    def run(self):
        for number in itertools.count():
            digest = "sha256:" + hashlib.sha256(f"traffic {number}".encode()).hexdigest()
            event = {
                "version": "0", "id": f"traffic-{number}", "detail-type": "ECR Image Action", "source": "aws.ecr",
                "account": SOURCE[0], "region": SOURCE[1], "resources": [], "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "detail": {
                    "action-type": "PUSH", "result": "SUCCESS", "repository-name": "traffic/app",
                    "image-digest": digest, "image-tag": f"v{number}",
                },
            }
            publish(self.cloud, *SOURCE, event, STACK)
            self.digests.append(digest)
            if self.ended.wait(1):
                return


@pytest.fixture(scope="module")
def course(cloud, layers, hub_body, last):
    """The course of an upgrade and back. Tests read what it left."""
    uploaded(cloud, last, LAST)
    old_body = hub_template(cloud, layers, last, LAST)
    of_last, of_this = OF_RELEASE | {"ArtifactsPrefix": LAST}, OF_RELEASE
    given = {
        "ExternalId": EXTERNAL_ID, "AccountIds": f"{SOURCE[0]},{FAR[0]}", "Mode": "enforce", "PolicyFile": "at-once.cedar", **NAMES,
    }
    stack = deploy(cloud, STACK, old_body, HUB, HUB_REGION, **of_last, **given)
    of_registries(cloud, stack, f"{STACK}-registry", HubStackName=STACK, **NAMES)
    # Events of other tests are not for this hub.
    cloud.delivered[STACK] = cloud.delivered.get("ecr-lineage", 0)
    traffic = Traffic(cloud)
    traffic.start()
    versions, images, under_way = [stack.outputs["Version"]], [], []
    try:
        for body, release in ((hub_body, of_this), (old_body, of_last)):
            image = Image(cloud, stack, "dev/upgraded", STACK)
            image.push(f"v{len(images)}")
            image.arrives(SOURCE, NEAR, FAR)
            image.delete()
            images.append(image)
            # ECR deletes the image, and mirror does not hear of it: the claim stays.
            cloud.gate.lost.add("ecr:BatchDeleteImage")
            mirrored(cloud, stack, image, lambda deletion: deletion["status"] == "executing")
            under_way.append(image.is_in(*FAR))
            stack = update(cloud, STACK, body, HUB, HUB_REGION, **release, **given)
            cloud.gate.lost.clear()
            versions.append(stack.outputs["Version"])
            mirrored(cloud, stack, image, lambda deletion: deletion["status"] == "done")
    finally:
        cloud.gate.lost.clear()
        traffic.ended.set()
        traffic.join()
    return stack, versions, images, under_way, traffic.digests


def mirrored(cloud, stack, image, expected):
    """Invokes `mirror` until the deletion in the last registry is as expected."""
    lambdas = cloud.client("lambda")

    def is_so():
        deliver(cloud, STACK)
        lambdas.invoke(FunctionName=stack.ids["Mirror"], Payload=b"{}")
        found = {each["registry"]: each for each in image.ask().get("deletions", [])}
        deletion = found.get("/".join(FAR))
        return deletion if deletion and expected(deletion) else None

    return eventually(is_so)


def test_the_version_follows_the_templates(course):
    _, versions, *_ = course
    assert versions[0] == versions[2] != versions[1]
    assert versions[1] == yaml.safe_load((INFRA / "hub.yaml").read_text())["Outputs"]["Version"]["Value"]


def test_no_event_is_lost_and_every_item_is_read(cloud, course):
    stack, _, _, _, digests = course
    assert len(digests) > 10
    table, dead = stack.outputs["TableName"], stack.outputs["DeadLettersUrl"]

    def arrived():
        # The list reads the items of all versions, by the command line of this one.
        listed = json.loads(run(cloud, "--table", table, "--format", "json", "images", "traffic/app"))
        return set(digests) <= {image["digest"] for image in listed["images"]}

    eventually(arrived)
    # So does the API, whose function is of the last release again.
    for digest in (digests[0], digests[len(digests) // 2], digests[-1]):
        status, answer = ask(cloud, stack.outputs["ReadersUrl"], f"v1/lineage?image=traffic/app@{digest}")
        assert status == 200 and answer["images"], answer
    waiting = cloud.client("sqs").get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
    assert waiting["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert run(cloud, "--table", table, "deletions")


def test_a_deletion_that_was_under_way_is_finished_by_the_other_version(cloud, course):
    _, _, images, under_way, _ = course
    assert under_way == [False, False], "ECR had deleted both replicas when the version changed"
    for image in images:
        deletion = {each["registry"]: each for each in image.ask()["deletions"]}["/".join(FAR)]
        assert deletion["status"] == "done", deletion
        assert not image.is_in(*FAR)


def indexes(template):
    properties = yaml.safe_load(template)["Resources"]["Table"]["Properties"]
    return {index["IndexName"]: index for index in properties["GlobalSecondaryIndexes"]}


def test_at_most_one_index_changes_since_the_last_release():
    """CloudFormation makes or deletes one index in an update, and changes none.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html"""
    tag = last_tag()
    if tag is None:
        pytest.skip("no tag v* before this commit: nothing was released, or the tags were not fetched")
    before, now = indexes(templates_of(tag)["hub.yaml"]), indexes((INFRA / "hub.yaml").read_text())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    assert not changed, f"an index cannot change since {tag}: make one with another name"
    assert len(before.keys() ^ now.keys()) <= 1, f"more than one index is made or deleted since {tag}"
