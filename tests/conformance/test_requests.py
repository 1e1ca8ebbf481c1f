"""Every operation with requests that break its model, and with random ones. The model is botocore's, so the tests are not
those of the code that checks requests."""

import base64
import json
import os
import random
import string
import threading
import time

import pytest

from manifests import image
from requests_by_hand import MODEL, UNREADABLE, Client, hostile

pytestmark = pytest.mark.only_simulator("moto accepts most of it, or fails with status 500")

SHAPES = MODEL["shapes"]
SEED = int(os.environ.get("SEED", "1"))
RANDOM_REQUESTS = 4_000

# Texts that their patterns accept, by the shape.
VALID = {
    "RepositoryName": "team/app", "RegistryId": "111122223333", "Region": "us-east-1", "RepositoryFilterValue": "team",
    "ImageTagMutabilityExclusionFilterValue": "dev-*", "ScanningRepositoryFilterValue": "*", "Prefix": "team",
    "SigningRepositoryFilterValue": "team/*", "PullThroughCacheRuleRepositoryPrefix": "hub",
    "UploadId": "11111111-2222-3333-4444-555555555555", "LayerDigest": "sha256:" + "a" * 64,
    "KmsKeyForRepositoryCreationTemplate": "arn:aws:kms:eu-west-1:111122223333:key/a1",
    "PrincipalArn": "arn:aws:iam::111122223333:role/ci", "LayerPartBlob": base64.b64encode(b"layer").decode(),
    "CredentialArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ecr-pullthroughcache/name",
    "SigningProfileArn": "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/name",
    "ImageManifest": image("fuzz"), "ImageDigest": "sha256:" + "b" * 64,
    "ReplicationBackfillId": "11111111-2222-3333-4444-555555555555",
}


def valid(shape, depth=0):
    """A value that breaks no constraint, with all members."""
    if shape in VALID:
        return VALID[shape]
    model = SHAPES[shape]
    match model["type"]:
        case "structure":
            return {name: valid(member["shape"], depth + 1) for name, member in model.get("members", {}).items()}
        case "list":
            return [valid(model["member"]["shape"], depth + 1)] * max(1, model.get("min", 1))
        case "boolean":
            return True
        case "integer" | "long":
            return model.get("min", 1)
        case "string":
            return model["enum"][0] if "enum" in model else "x" * max(1, model.get("min", 1))
    raise AssertionError(shape)


def broken(shape):
    """Values that break one constraint each, with what is broken; `None` stands for a member that is left out."""
    model, good = SHAPES[shape], valid(shape)
    wrong = {"structure": ["text", 7, [good]], "list": ["text", {}, 7], "boolean": ["true", 1, {}]}
    wrong |= {kind: ["1", 1.5, True, [1], {}] for kind in ("integer", "long")}
    wrong |= {kind: [7, True, [good], {}] for kind in ("string", "blob")}
    for value in wrong[model["type"]]:
        yield "type", value
    low, high = model.get("min"), model.get("max")
    match model["type"]:
        case "structure":
            for name, member in model.get("members", {}).items():
                for what, value in broken(member["shape"]):
                    yield f"{name}: {what}", {**good, name: value}
                if name in model.get("required", []):
                    yield f"{name}: required", {key: value for key, value in good.items() if key != name}
                    yield f"{name}: null", {**good, name: None}
        case "list":
            (one, *_) = good
            for what, value in broken(model["member"]["shape"]):
                yield f"member: {what}", [value, *good[1:]]
            yield "null", [None]
            if low:
                yield "min", good[: low - 1]
            if high is not None:
                yield "max", [one] * (high + 1)
        case "integer" | "long":
            bits = 31 if model["type"] == "integer" else 63
            yield "range", 2**bits
            yield "range", 2**70
            if low is not None:
                yield "min", low - 1
            if high is not None:
                yield "max", high + 1
        case "string":
            if "enum" in model:
                yield "enum", "NOT_A_VALUE"
                yield "enum", model["enum"][0].swapcase()
                return
            if low:
                yield "min", good[: low - 1]
            if high is not None:
                yield "max", (good * (high // len(good) + 1))[: high + 1] if shape not in VALID else good + "x" * high
            if "pattern" in model:
                yield "pattern", "!" + good
                yield "pattern", good + "\n"


def simulated(client):
    """The operations that the simulator has."""
    for operation in MODEL["operations"]:
        _, _, answer = client.send(operation, "{}")
        if answer.get("__type") != "UnknownOperationException":
            yield operation


@pytest.fixture
def client(endpoint, ireland):
    return Client(endpoint, ireland.account)


def test_a_request_that_breaks_its_model_is_refused(client):
    accepted, count = [], 0
    for operation in simulated(client):
        for what, request in broken(MODEL["operations"][operation]["input"]["shape"]):
            count += 1
            if client.call(operation, request) is None:
                accepted.append(f"{operation} {what}: {json.dumps(request)[:200]}")
    assert not accepted, "\n".join(accepted)
    assert count > 1_000
    assert_works(client)


def assert_works(client):
    assert client.call("DescribeRepositories", {"repositoryNames": ["team/app"]}) is None


class Fuzzer:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        kinds = [
            lambda: "".join(self.random.choices(string.printable, k=self.random.randrange(40))),
            lambda: "".join(chr(self.random.choice([0, 9, 0xE9, 0x4E2D, 0x1F600, 0x202E])) for _ in range(self.random.randrange(9))),
            lambda: self.random.choice(["", "a", "team/app", "v1", "sha256:" + "a" * 64, "sha512:" + "a" * 128, "a:b", "null"]),
            lambda: self.random.choice(["{}", "[]", "1", '{"Version": "2012-10-17", "Statement": []}', '{"rules": []}', "[" * 5000]),
            lambda: self.random.choice("ab*-/:.") * self.random.choice([1, 2, 255, 256, 4096]),
        ]
        return self.random.choice(kinds)()

    def number(self):
        return self.random.choice([0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, 2**64, 1e308, 0.5, self.random.randrange(10_000)])

    def anything(self, depth=0):
        kinds = [self.text, self.number, lambda: None, lambda: self.random.random() < 0.5]
        if depth < 3:
            kinds += [
                lambda: [self.anything(depth + 1) for _ in range(self.random.randrange(4))],
                lambda: {self.text(): self.anything(depth + 1) for _ in range(self.random.randrange(4))},
            ]
        return self.random.choice(kinds)()

    def value(self, shape):
        """A value that is mostly of the shape, so that operations get past the checks."""
        model = SHAPES[shape]
        if self.random.random() < 0.03:
            return self.anything()
        match model["type"]:
            case "structure":
                required = model.get("required", [])
                return {
                    name: self.value(member["shape"])
                    for name, member in model.get("members", {}).items()
                    if self.random.random() < (0.97 if name in required else 0.4)
                }
            case "list":
                count = self.random.choice([1, 1, 1, 2, 3, self.random.randrange(120)])
                return [self.value(model["member"]["shape"]) for _ in range(count)]
            case "boolean":
                return self.random.random() < 0.5
            case "integer" | "long":
                return self.number() if self.random.random() < 0.3 else self.random.randrange(1, 1000)
            case "string" if "enum" in model:
                return self.random.choice(model["enum"])
        return VALID[shape] if shape in VALID and self.random.random() < 0.8 else self.text()


def test_random_requests_get_documented_answers(client):
    fuzzer, operations = Fuzzer(SEED), list(simulated(client))
    answers = {}
    for number in range(RANDOM_REQUESTS):
        operation = operations[number % len(operations)]
        request = fuzzer.value(MODEL["operations"][operation]["input"]["shape"])
        started = time.monotonic()
        code = client.call(operation, request)
        assert time.monotonic() - started < 5, (operation, request)
        answers.setdefault(operation, set()).add(code)
        # What random requests delete or forbid must not be in the way of the others.
        if number % 50 == 0:
            client.call("CreateRepository", {"repositoryName": "team/app"})
    # A run in which no call gets past the checks shows nothing. Many need what a random request hardly ever has, such as
    # an upload that was begun, or tags whose keys all differ.
    assert sum(None in codes for codes in answers.values()) > len(answers) / 3, answers
    client.call("CreateRepository", {"repositoryName": "team/app"})
    assert_works(client)


def test_bodies_that_are_no_request_are_refused(client):
    for body in ["", "{", "[]", "null", "7", '"text"', "\x00", "{" * 100_000, "[" * 100_000, '{"repositoryName": "\\ud800"}']:
        status, _, answer = client.send("DeleteRepository", body.encode())
        assert (status, answer["__type"]) in [(400, UNREADABLE), (400, "InvalidParameterException")], body[:50]
    assert_works(client)


def test_a_body_that_is_too_large_is_refused_with_an_answer(client):
    body = json.dumps({"repositoryName": "team/app", "imageManifest": "x" * (40 << 20)})
    status, _, answer = client.send("PutImage", body)
    assert (status, answer["__type"]) == (400, "InvalidParameterException")
    assert_works(client)


def test_no_request_is_in_the_way_of_the_others(client, endpoint):
    slowest, over = [0.0], threading.Event()

    def ask():
        other = Client(endpoint, client.account)
        while not over.is_set():
            started = time.monotonic()
            other.call("DescribeRegistry", {})
            slowest[0] = max(slowest[0], time.monotonic() - started)
            time.sleep(0.01)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for operation, request in hostile(client):
            client.call(operation, request)
    finally:
        over.set()
        asking.join()
    # Milliseconds in a release build on a machine of its own; matching by trying every way would take years.
    assert slowest[0] < 2, slowest[0]
