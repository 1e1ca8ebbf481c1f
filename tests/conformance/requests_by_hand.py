"""Requests as they are, without any of botocore's checks, and those that could be in the way of others."""

import http.client
import json
import urllib.parse

from botocore.loaders import Loader

from manifests import INDEX, digest, image

MODEL = Loader().load_service_model("ecr", "service-2")
# What AWS answers to a request that its parser cannot read, whatever the operation.
# https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
UNREADABLE = "SerializationException"


class Client:
    """The simulator believes every signature."""

    def __init__(self, endpoint, account, region="eu-west-1"):
        self.address = urllib.parse.urlparse(endpoint).netloc
        self.account, self.region = account, region
        self.connection = http.client.HTTPConnection(self.address, timeout=20)

    def send(self, operation, body):
        headers = {
            "X-Amz-Target": f"AmazonEC2ContainerRegistry_V20150921.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.account}/20260101/{self.region}/ecr/aws4_request, Signature=x",
        }
        self.connection.request("POST", "/", body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.getheader("x-amzn-requestid"), json.loads(answer.read())

    def call(self, operation, request):
        """The error code; nothing if the call succeeds. Fails with any other answer than a documented one."""
        status, request_id, answer = self.send(operation, json.dumps(request))
        assert request_id, (operation, request)
        if status == 200:
            return None
        code = answer.get("__type")
        documented = {error["shape"] for error in MODEL["operations"][operation]["errors"]} - {"ServerException"}
        # Another account's registry needs its permission, which is documented for all operations.
        # https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
        assert status == 400 and code in documented | {UNREADABLE, "AccessDeniedException"}, (operation, request, status, answer)
        return code


def hostile(client):
    """Requests that take long if their work grows faster than they do."""
    client.call("CreateRepository", {"repositoryName": "worst/tags", "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "*a" * 60 + character} for character in "bcdef"]})
    for name in ["one", "two"]:
        yield "PutImage", {"repositoryName": "worst/tags", "imageManifest": image(name), "imageTag": "a" * 300}
    yield "PutRegistryPolicy", {"policyText": json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "*r" * 100 + "x:y", "Resource": "*a" * 4_800 + "b"}]})}
    for _ in range(3):
        stranger = Client(f"http://{client.address}", "222233334444")
        stranger.call("DescribeRepositories", {"registryId": client.account, "repositoryNames": ["a" * 256]})
    patterns = ["*".join(["a" * 90] * 4) + f"*{number}" for number in range(70)]
    yield "StartLifecyclePolicyPreview", {"repositoryName": "worst/tags", "lifecyclePolicyText": json.dumps({"rules": [{
        "rulePriority": 1, "selection": {"tagStatus": "tagged", "tagPatternList": patterns, "countType": "imageCountMoreThan", "countNumber": 1},
        "action": {"type": "expire"}}]})}
    # Indexes of indexes: each refers fifty times to the one before.
    client.call("CreateRepository", {"repositoryName": "worst/indexes"})
    text = image("bottom")
    for _ in range(60):
        yield "PutImage", {"repositoryName": "worst/indexes", "imageManifest": text}
        one = {"mediaType": INDEX, "digest": digest(text), "size": len(text)}
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [one] * 50})
    yield "DescribeImages", {"repositoryName": "worst/indexes"}
    yield "PutImage", {"repositoryName": "worst/indexes", "imageManifest": text.replace("a", "b")}
    yield "PutImage", {"repositoryName": "worst/indexes", "imageManifest": '{"layers": [' + "{}," * 1_000_000 + "{}]}"}
    yield "PutImage", {"repositoryName": "worst/indexes", "imageManifest": "[" * 4_000_000}
    yield "DescribeRepositories", {"unknown": ["x" * 10] * 1_000_000}
    yield "BatchGetImage", {"repositoryName": "worst/tags", "imageIds": [{"imageTag": "a" * 300}] * 100}
