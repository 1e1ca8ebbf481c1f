"""Images in the simulated registries, whose events reach the deployed hub."""

import hashlib
import json
import urllib.parse
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloud import HUB, HUB_REGION, TLS, eventually
from conftest import FAR, NEAR, SOURCE
from topics import HUB_STACK, is_published, publish


class Image:
    """A distinct image."""

    count = 0

    def __init__(self, cloud, hub, repository, hub_stack=HUB_STACK):
        self.cloud, self.hub, self.repository, self.hub_stack = cloud, hub, repository, hub_stack
        self.ecr = cloud.registry(*SOURCE)
        destinations = [{"registryId": account, "region": region} for account, region in (NEAR, FAR)]
        allowed = {
            "Sid": "copies", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{SOURCE[0]}:root"},
            "Action": ["ecr:CreateRepository", "ecr:ReplicateImage"],
            "Resource": f"arn:aws:ecr:{FAR[1]}:{FAR[0]}:repository/*",
        }
        cloud.registry(*FAR).put_registry_policy(policyText=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
        self.ecr.put_replication_configuration(replicationConfiguration={"rules": [{"destinations": destinations}]})
        if repository not in {found["repositoryName"] for found in self.ecr.describe_repositories()["repositories"]}:
            self.ecr.create_repository(repositoryName=repository)
        Image.count += 1
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": Image.count}, "layers": [],
        })
        self.digest = "sha256:" + hashlib.sha256(self.manifest.encode()).hexdigest()

    def push(self, tag):
        self.ecr.put_image(repositoryName=self.repository, imageManifest=self.manifest, imageTag=tag)

    def delete(self):
        self.ecr.batch_delete_image(repositoryName=self.repository, imageIds=[{"imageDigest": self.digest}])

    def is_in(self, account, region):
        ecr = self.cloud.registry(account, region)
        try:
            found = ecr.describe_images(repositoryName=self.repository, imageIds=[{"imageDigest": self.digest}])
            return bool(found["imageDetails"])
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return False

    def arrives(self, *registries):
        """Waits until the hub knows the image in these registries."""

        def known():
            deliver(self.cloud, self.hub_stack)
            return {"/".join(registry) for registry in registries} <= set(self.where())

        eventually(known)

    def ask(self):
        """The image's lineage from the deployed page's API; `None` if it does not know the image."""
        status, answer = ask(self.cloud, self.hub.outputs["ReadersUrl"], f"v1/lineage?image={self.repository}@{self.digest}")
        return answer["images"][0] if status == 200 else None

    def where(self):
        """The image's status by registry, from the page's API."""
        return {place["registry"]: place["status"] for place in (self.ask() or {"registries": []})["registries"]}


def deliver(cloud, hub_stack=HUB_STACK):
    """Publishes the registries' events to their topics, from which they reach the hub's queue in another account and
    region. Only ECR itself can put its events onto a bus: the pattern of the deployed rule decides which are published."""
    after = cloud.delivered.get(hub_stack, 0)
    with urllib.request.urlopen(f"{cloud.registries_url}/_simulator/events?after={after}", timeout=20) as opened:
        answer = json.load(opened)
    for event in answer["events"]:
        registry = (event["account"], event["region"])
        if is_published(cloud, *registry, event, hub_stack):
            publish(cloud, *registry, event, hub_stack)
    cloud.delivered[hub_stack] = answer["next"]


def ask(cloud, url, path, credentials=None, method="GET", body=None):
    """Sends a signed request to a function URL, with the account's own credentials by default."""
    credentials = credentials or Credentials(HUB, "secret")
    request = AWSRequest(method, url + path, data=body, headers={"content-type": "application/json"} if body else {})
    SigV4Auth(credentials, "lambda", HUB_REGION).add_auth(request)
    host = urllib.parse.urlsplit(url).netloc
    sent = urllib.request.Request(f"{cloud.ministack_url}/{path}", data=body, headers=dict(request.headers) | TLS | {"host": host}, method=method)
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else text.decode()
