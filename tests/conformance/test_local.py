"""`ecr-lineage local` as a process: killed, restarted, stepped, under load, and attacked."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from conftest import welcome
from manifests import image
from requests_by_hand import Client, hostile
from sites import DAY, MINUTE

pytestmark = pytest.mark.only_simulator("the process is ours")

ACCOUNT = "111122223333"
SOURCE, REPLICA = f"{ACCOUNT}/eu-west-1", f"{ACCOUNT}/us-east-1"
POLICY = '@id("follow") @grace("1h")\npermit (principal, action in [Action::"delete", Action::"untag"], resource);\n'
CLIENTS, SECONDS = 50, 6


class Local:
    def __init__(self, *options):
        command = [os.environ["ECR_LINEAGE"], "local", "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = re.search(r"http://127\.0\.0\.1:\d+", welcome(self.process.stdout)).group()

    def get(self, path, body=None):
        with urllib.request.urlopen(self.url + path, body, timeout=120) as answer:
            return json.load(answer)

    def step(self, seconds):
        return self.get("/_simulator/step", json.dumps({"seconds": seconds}).encode())["time"]

    def client(self, region="eu-west-1"):
        return Client(self.url, ACCOUNT, region)

    def run(self, *arguments, code=0):
        environment = {
            **os.environ, "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "eu-west-1",
        }
        command = [os.environ["ECR_LINEAGE"], "--table", "ecr-lineage", "--format", "json", *arguments]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
        assert ran.returncode == code, ran.stderr
        return json.loads(ran.stdout)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def end(self):
        self.process.terminate()
        assert self.process.wait(30) == 0


@pytest.fixture
def local():
    running = []

    def start(*options):
        running.append(Local(*options))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait(20)


def prepare(one):
    client = one.client()
    rules = {"rules": [{"destinations": [{"region": "us-east-1", "registryId": ACCOUNT}]}]}
    assert client.call("CreateRepository", {"repositoryName": "team/app"}) is None
    assert client.call("PutReplicationConfiguration", {"replicationConfiguration": rules}) is None
    return client


def test_enforce_needs_a_policy():
    command = [os.environ["ECR_LINEAGE"], "local", "--port", "0", "--enforce"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert ran.returncode == 2 and "--policy" in ran.stderr, ran


def test_the_clock_never_goes_back(local, tmp_path):
    options = ["--data", str(tmp_path), "--speed"]
    first = local(*options, "0")
    stepped = first.step(400 * DAY)
    first.kill()
    second = local(*options, "100000")
    time.sleep(0.5)
    shown = second.get("/_simulator/clock")["time"]
    assert shown > stepped
    second.kill()
    third = local(*options, "0")
    assert third.get("/_simulator/clock")["time"] > shown
    third.end()


def test_a_step_answers_when_everything_that_is_due_is_done(local, tmp_path):
    policy = tmp_path / "policy.cedar"
    policy.write_text(POLICY)
    one = local("--speed", "0", "--policy", str(policy), "--enforce")
    client = prepare(one)
    assert client.call("PutImage", {"repositoryName": "team/app", "imageManifest": image("a"), "imageTag": "v1"}) is None
    one.step(10 * MINUTE)
    assert one.run("show", "team/app:v1")
    assert one.get("/_simulator/queue") == {"waiting": 0, "receivable": 0, "since": None, "deadLetters": 0}
    assert client.call("BatchDeleteImage", {"repositoryName": "team/app", "imageIds": [{"imageTag": "v1"}]}) is None
    one.step(MINUTE)
    at_replica = one.client("us-east-1")
    described = {"repositoryName": "team/app", "imageIds": [{"imageTag": "v1"}]}
    assert at_replica.call("DescribeImages", described) is None
    one.step(2 * 60 * MINUTE)
    assert at_replica.call("DescribeImages", described) == "ImageNotFoundException"
    one.end()


def test_the_commands_use_the_simulated_clock(local):
    one = local("--speed", "0", "--trouble", "failed=100")
    client = prepare(one)
    now = one.step(30 * DAY)
    assert client.call("PutImage", {"repositoryName": "team/app", "imageManifest": image("a"), "imageTag": "v1"}) is None
    paused = json.dumps(one.run("pause", "--source", SOURCE, "--until", "12h"))
    assert now[:16] in paused, paused
    # By the real clock, what was raised now is of the future.
    one.step(DAY)
    alerts = one.run("alerts")
    assert alerts["alerts"] == one.get("/v1/alerts")["alerts"] != []
    one.end()


def test_sigterm_ends_a_busy_simulator(local):
    one = local()
    client = one.client()

    def attack():
        with contextlib.suppress(OSError, http.client.HTTPException):
            for operation, request in hostile(client):
                client.call(operation, request)

    threading.Thread(target=attack, daemon=True).start()
    time.sleep(0.5)
    one.end()


def test_nothing_that_was_acknowledged_is_lost(local, tmp_path):
    """Many clients push while the process is killed; then the table has what the registries have."""
    options = ["--data", str(tmp_path), "--lag", "1s"]
    first = local(*options)
    prepare(first)
    running, over = [first], threading.Event()
    acknowledged = [set() for _ in range(CLIENTS)]

    def push(who):
        number, on, client = 0, None, None
        while not over.is_set():
            number += 1
            try:
                if on is not running[-1]:
                    on = running[-1]
                    client = on.client()
                request = {"repositoryName": "team/app", "imageManifest": image(f"{who} {number}"), "imageTag": f"v{who}-{number}"}
                if client.call("PutImage", request) in (None, "ImageAlreadyExistsException"):
                    acknowledged[who].add(f"v{who}-{number}")
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                on = None
                time.sleep(0.05)

    threads = [threading.Thread(target=push, args=[who]) for who in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 2)
    first.kill()
    running.append(local(*options))
    time.sleep(SECONDS / 2)
    over.set()
    for thread in threads:
        thread.join()
    second, wanted = running[-1], set().union(*acknowledged)
    assert len(wanted) > CLIENTS
    end = time.monotonic() + 240
    # The page learns how many wait, if they are many.
    with urllib.request.urlopen(second.url + "/v1/overview", timeout=60) as answer:
        announced = int(answer.headers.get("x-waiting-events", 0))
    assert announced >= 100 or second.get("/_simulator/queue")["receivable"] < 100
    while second.get("/_simulator/queue")["waiting"]:
        assert time.monotonic() < end, second.get("/_simulator/queue")
        time.sleep(0.2)
    for region in ["eu-west-1", "us-east-1"]:
        assert wanted <= tags(second.client(region))
    for registry, run in listed(second)["registries"].items():
        differences = {name: count for name, count in run["found"].items() if name not in ("images", "unchanged") and count}
        assert not differences, (registry, run)
    second.end()


def listed(one):
    """The result of `reconcile`; the process lists registries, too, and only one does at a time."""
    for _ in range(30):
        with contextlib.suppress(AssertionError):
            return one.run("reconcile", "--yes", "--calls-per-second", "1000", SOURCE, REPLICA)
        time.sleep(1)
    raise AssertionError("registries were listed all the time")


def tags(client):
    found, token = set(), {}
    while True:
        _, _, answer = client.send("ListImages", json.dumps({"repositoryName": "team/app", "maxResults": 1000, **token}))
        found |= {one.get("imageTag") for one in answer["imageIds"]}
        if "nextToken" not in answer:
            return found
        token = {"nextToken": answer["nextToken"]}
