"""Registries, accessed with boto3."""

import json
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from manifests import digest

APP = "team/app"
MINUTE, DAY = 60, 86_400
# Longer than any replication takes.
COPIED = 10 * MINUTE
# A call that fails must fail at once, without a retry.
CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)


# The session reads the model of each service only once.
SESSION = boto3.Session()


class Sites:
    def __init__(self, endpoint, accounts):
        self.endpoint, self.accounts = endpoint, accounts

    def signed(self, service, region, access_key, token=None, secret="secret", config=CONFIG):
        """A client with the given credentials."""
        return SESSION.client(
            service, region_name=region, endpoint_url=self.endpoint, config=config,
            aws_access_key_id=access_key, aws_secret_access_key=secret, aws_session_token=token,
        )

    def client(self, service, region, account, config=CONFIG):
        """A client of an account, with the credentials of an assumed role in it."""
        first = self.signed("sts", region, self.accounts[0])
        role = first.assume_role(RoleArn=f"arn:aws:iam::{account}:role/conformance", RoleSessionName="dana")
        given = role["Credentials"]
        return self.signed(service, region, given["AccessKeyId"], given["SessionToken"], given["SecretAccessKey"], config)

    def unchecked(self, service, registry):
        """A client that does not validate parameters, so that the service has to refuse invalid ones."""
        config = CONFIG.merge(Config(parameter_validation=False))
        return self.client(service, registry.region, registry.account, config)

    def registry(self, region, account=0, repository=False):
        registry = Registry(self, region, self.accounts[account])
        if repository:
            registry.ecr.create_repository(repositoryName=APP)
        return registry

    def step(self, seconds):
        """Advances the simulated time, and returns the new time."""
        body = json.dumps({"seconds": seconds}).encode()
        with urllib.request.urlopen(f"{self.endpoint}/_simulator/step", body, timeout=60) as answer:
            return json.load(answer)["time"]

    def events(self):
        """All events that were emitted in these accounts."""
        events, after = [], 0
        while True:
            url = f"{self.endpoint}/_simulator/events?after={after}"
            with urllib.request.urlopen(url, timeout=20) as opened:
                answer = json.load(opened)
            if not answer["events"]:
                return events
            after = answer["next"]
            events += [event for event in answer["events"] if event["account"] in self.accounts]

    def own_events(self):
        """The events that ECR itself emits, without CloudTrail records."""
        return [event for event in self.events() if event["detail-type"].startswith("ECR ")]


class Registry:
    def __init__(self, sites, region, account):
        self.sites, self.region, self.account = sites, region, account
        self.ecr = sites.client("ecr", region, account)

    @property
    def destination(self):
        return {"region": self.region, "registryId": self.account}

    def push(self, manifest, tag=None, repository=APP):
        tags = {"imageTag": tag} if tag else {}
        # Without a digest, moto would make up one.
        return self.ecr.put_image(repositoryName=repository, imageManifest=manifest, imageDigest=digest(manifest), **tags)

    def delete(self, *ids):
        """The deleted tags (`None` for an image without tags), and the failure codes of refused deletions."""
        answer = self.ecr.batch_delete_image(repositoryName=APP, imageIds=list(ids))
        went = sorted((one.get("imageTag") for one in answer["imageIds"]), key=str)
        return went, [failure["failureCode"] for failure in answer["failures"]]

    def images(self, status="ANY", repository=APP):
        """The tags of each image, by digest."""
        try:
            pages = self.ecr.get_paginator("describe_images").paginate(repositoryName=repository, filter={"imageStatus": status})
            details = [detail for page in pages for detail in page["imageDetails"]]
        except self.ecr.exceptions.RepositoryNotFoundException:
            return {}
        return {detail["imageDigest"]: sorted(detail.get("imageTags", [])) for detail in details}

    def detail(self, manifest, **more):
        answer = self.ecr.describe_images(repositoryName=APP, imageIds=[{"imageDigest": digest(manifest)}], **more)
        (detail,) = answer["imageDetails"]
        return detail

    def replicate(self, *registries, prefix=None, native=None):
        prefixes = [prefix] if prefix else []
        return self.rules(rule(*(registry.destination for registry in registries), prefixes=prefixes, native=native))

    def rules(self, *rules):
        return self.ecr.put_replication_configuration(replicationConfiguration={"rules": list(rules)})

    def archive(self, manifest, target="ARCHIVE"):
        """Moves an image to a storage class, and returns its new status."""
        answer = self.ecr.update_image_storage_class(
            repositoryName=APP, imageId={"imageDigest": digest(manifest)}, targetStorageClass=target
        )
        return answer["imageStatus"]

    def restore(self, manifest):
        return self.archive(manifest, "STANDARD")

    def copies(self, manifest):
        """The status of each copy, by region."""
        answer = self.ecr.describe_image_replication_status(repositoryName=APP, imageId={"imageDigest": digest(manifest)})
        return {one["region"]: (one["status"], one.get("failureCode")) for one in answer["replicationStatuses"]}

    def allow(self, account, *actions):
        statement = {
            "Sid": "conformance", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": list(actions), "Resource": f"arn:aws:ecr:{self.region}:{self.account}:repository/*",
        }
        self.ecr.put_registry_policy(policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def rule(*destinations, prefixes=(), native=None):
    """A rule of a replication configuration."""
    made = {"destinations": list(destinations)}
    if prefixes:
        made["repositoryFilters"] = [{"filter": prefix, "filterType": "PREFIX_MATCH"} for prefix in prefixes]
    if native is not None:
        made["deleteReplication"] = {"enabled": native}
    return made


def refusal(call, *arguments, **named):
    """The error code of a call that must fail."""
    try:
        answer = call(*arguments, **named)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"was not refused: {answer}")
