"""The simulator or moto as the service under test, and the marks for tests on which moto differs."""

import itertools
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from sites import Sites

PATIENCE_SECONDS = 30


def pytest_addoption(parser):
    parser.addoption("--target", choices=["simulator", "moto"], default="simulator")


def pytest_configure(config):
    config.addinivalue_line("markers", "moto_differs(does, page): moto answers otherwise than AWS documents")
    config.addinivalue_line("markers", "only_simulator(why): moto has nothing of it")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--target") != "moto":
        return
    for item in items:
        if only := item.get_closest_marker("only_simulator"):
            item.add_marker(pytest.mark.skip(reason=only.args[0]))
        elif differs := item.get_closest_marker("moto_differs"):
            # Strict: a test that passes on moto again must lose its mark.
            item.add_marker(pytest.mark.xfail(reason=differs.args[0], strict=True))


@pytest.fixture(scope="session")
def endpoint(request):
    if request.config.getoption("--target") == "moto":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = shutil.which("moto_server", path=os.path.dirname(sys.executable))
        process = subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        command = [os.environ["ECR_LINEAGE"], "local", "--port", "0", "--speed", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if request.config.getoption("--target") == "moto":
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/moto-api/data.json")
        else:
            request.config.welcome = welcome(process.stdout)
            url = re.search(r"http://127\.0\.0\.1:\d+", request.config.welcome).group()
        yield url
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def welcome(output):
    """The simulator's output until it is ready; fails if that does not happen in time."""
    lines = queue.Queue()

    def read():
        # Reads until the end, because a full pipe would block the simulator.
        for line in output:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    said, end = "", time.monotonic() + PATIENCE_SECONDS
    while (line := lines.get(timeout=max(0.0, end - time.monotonic()))) != "Event log:\n":
        assert line, f"it ended before it was ready: {said}"
        said += line
    return said


def wait_for(url):
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return urllib.request.urlopen(url, timeout=1).read()
        except OSError:
            assert time.monotonic() < end, url
            time.sleep(0.1)


ACCOUNTS = itertools.count(100000000001)


@pytest.fixture
def sites(endpoint):
    """Registries in accounts that no other test uses."""
    return Sites(endpoint, [str(next(ACCOUNTS)) for _ in range(2)])


@pytest.fixture
def ireland(sites):
    return sites.registry("eu-west-1", repository=True)


@pytest.fixture
def virginia(sites):
    return sites.registry("us-east-1")


@pytest.fixture
def tokyo(sites):
    """A registry in another account."""
    return sites.registry("ap-northeast-1", account=1)
