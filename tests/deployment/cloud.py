"""AWS on one machine: ministack, which enforces IAM and runs the functions, and the registries of `ecr-lineage local`.

Every call of a function goes through a proxy, the gate. It sends calls to ECR to ministack first, which knows the
caller's role and refuses what the role does not permit, and then to the simulated registries, which implement ECR.
"""

import base64
import http.client
import http.server
import json
import os
import queue
import re
import socket
import subprocess
import threading
import time
import urllib.request

import boto3
from botocore.config import Config

PATIENCE_SECONDS = 60
CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60)
HUB = "999988887777"
HUB_REGION = "eu-central-1"


def eventually(what, seconds=PATIENCE_SECONDS):
    """Calls `what` until it returns a truthy value, and returns that."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{what.__name__} did not happen within {seconds} s"
        time.sleep(0.2)
    return found


# There is no TLS on this machine. ministack trusts the header of a proxy that terminated TLS.
TLS = {"x-forwarded-proto": "https"}


def over_tls(request, **_):
    request.headers.update(TLS)


class Gate(http.server.ThreadingHTTPServer):
    """A proxy that receives every call of the functions."""

    daemon_threads = True

    def __init__(self, cloud):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cloud = cloud
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        # The account and the ARN of an assumed role, by access key.
        self.roles = {}
        # Every answered call: (service.operation, caller).
        self.calls = []
        # Calls whose answers are lost on their way back: service.operation.
        self.lost = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() != "connection"}
        scope = re.search(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/", headers.get("authorization", ""))
        key, service = scope.groups() if scope else ("", "")
        operation = headers.get("x-amz-target", "").split(".")[-1]
        status, said, answer = ask(self.server.cloud.ministack_url, self.command, self.path, headers | TLS, body)
        if service == "sts" and b"AssumeRoleResponse" in answer:
            found = {name: re.search(f"<{name}>([^<]+)<".encode(), answer).group(1).decode() for name in ("AccessKeyId", "Arn")}
            self.server.roles[found["AccessKeyId"]] = found["Arn"]
        if service == "ecr" and b"AccessDenied" not in answer and b"not authorized" not in answer:
            # An account's own access key is the same in ministack and in the simulator; a role's is translated.
            if arn := self.server.roles.get(key):
                headers["authorization"] = headers["authorization"].replace(key, f"ASIA{arn.split(':')[4]}")
                headers["x-amz-security-token"] = base64.urlsafe_b64encode(arn.encode()).rstrip(b"=").decode()
            status, said, answer = ask(self.server.cloud.registries_url, self.command, self.path, headers, body)
        self.server.calls.append((f"{service}:{operation}", self.server.roles.get(key, key), status))
        if f"{service}:{operation}" in self.server.lost:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in said:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    # Lambda's API reads with GET, and the AWS CLI calls S3 with the others.
    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST


def ask(url, method, path, headers, body):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheaders(), answer.read()


class Cloud:
    """All services together; replication to these destinations takes one second."""

    def __init__(self, folder, destinations):
        self.folder, self.destinations = folder, destinations
        self.processes = []
        # The last simulated event that was published to the topics of each hub, by the name of its stack.
        self.delivered = {}
        self.start_registries()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.ministack_url = f"http://127.0.0.1:{port}"
        self.gate = Gate(self)
        self.start_ministack(port)

    def start_registries(self):
        command = [os.environ["ECR_LINEAGE"], "local", "--port", "0"]
        command += [f"--lag={account}/{region}=1s" for account, region in self.destinations]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True).start()
        said = ""
        while not (url := re.search(r"http://127\.0\.0\.1:\d+", said)):
            said += lines.get(timeout=PATIENCE_SECONDS)
        self.registries_url = url.group()

    def start_ministack(self, port):
        environment = os.environ | {
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "AUTH": "true",
            # The functions inherit these variables.
            "AWS_ENDPOINT_URL": self.gate.url, "AWS_EC2_METADATA_DISABLED": "true",
        }
        log = open(self.folder / "ministack.log", "w")
        command = [os.environ["MINISTACK"]]
        self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

        def is_up():
            try:
                return urllib.request.urlopen(f"{self.ministack_url}/_ministack/health", timeout=1).read()
            except OSError:
                return None

        eventually(is_up)

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(10)

    def client(self, service, account=HUB, region=HUB_REGION, tls=True, **credentials):
        """A client of an account, or of the principal that the credentials belong to."""
        credentials = credentials or {"aws_access_key_id": account, "aws_secret_access_key": "secret"}
        client = boto3.client(service, region_name=region, endpoint_url=self.ministack_url, config=CONFIG, **credentials)
        if tls:
            client.meta.events.register("before-send", over_tls)
        return client

    def registry(self, account, region):
        """An ECR client of a registry, as the account's owner."""
        return boto3.client("ecr", region_name=region, endpoint_url=self.registries_url, config=CONFIG,
                            aws_access_key_id=account, aws_secret_access_key="secret")
