"""Registry clients that other people wrote push, pull and delete: skopeo, buildah and docker's login."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time

import pytest

from sites import APP, COPIED

pytestmark = pytest.mark.only_simulator("moto has no registry that clients can push to")

INDEX = "application/vnd.oci.image.index.v1+json"
PATIENCE_SECONDS = 30


def run(*command, code=0, **more):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)
    assert ran.returncode == code, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout if code == 0 else ran.stderr


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """An OCI layout with an index `multi` of two images that share a layer, and one image `single`."""
    folder = tmp_path_factory.mktemp("images")
    layout, shared = folder / "layout", folder / "shared"
    shared.write_bytes(bytes(range(256)) * 8_000)
    run("umoci", "init", "--layout", layout)
    for architecture in ["amd64", "arm64"]:
        own = folder / architecture
        own.write_text(architecture)
        image = f"{layout}:{architecture}"
        run("umoci", "new", "--image", image)
        run("umoci", "insert", "--rootless", "--image", image, shared, "/shared")
        run("umoci", "insert", "--rootless", "--image", image, own, "/own")
        run("umoci", "config", "--image", image, "--architecture", architecture)
    top = json.loads((layout / "index.json").read_text())
    entries = []
    for entry in top["manifests"]:
        name = entry.pop("annotations")["org.opencontainers.image.ref.name"]
        entries.append({**entry, "platform": {"architecture": name, "os": "linux"}})
    text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    hashed = hashlib.sha256(text).hexdigest()
    (layout / "blobs/sha256" / hashed).write_bytes(text)
    index = {"mediaType": INDEX, "digest": f"sha256:{hashed}", "size": len(text)}
    named = [{**index, "annotations": {"org.opencontainers.image.ref.name": "multi"}}]
    named.append({**top["manifests"][0], "annotations": {"org.opencontainers.image.ref.name": "single"}})
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": named}))
    return layout


class Skopeo:
    """skopeo, logged in to a registry."""

    def __init__(self, sites, registry):
        (data,) = registry.ecr.get_authorization_token()["authorizationData"]
        self.credentials = base64.b64decode(data["authorizationToken"]).decode()
        self.place = f"docker://{sites.endpoint.removeprefix('http://')}/{APP}"

    def __call__(self, verb, *arguments, code=0):
        # The options of a copy name the side of the registry.
        side = "" if verb != "copy" else "src-" if arguments[-2].startswith("docker:") else "dest-"
        options = [f"--{side}creds", self.credentials, f"--{side}tls-verify=false"]
        return run("skopeo", "--insecure-policy", verb, *options, *arguments, code=code)


@pytest.fixture
def lineage(sites):
    """Runs the command line with the table of the simulator: its answer, or nothing if nothing is recorded yet."""

    def ask(*arguments):
        environment = {
            **os.environ, "AWS_ENDPOINT_URL": sites.endpoint, "AWS_ACCESS_KEY_ID": sites.accounts[0],
            "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "eu-west-1",
        }
        command = [os.environ["ECR_LINEAGE"], "--table", "ecr-lineage", "--format", "json", *arguments]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        return json.loads(ran.stdout) if ran.returncode == 0 else print(ran.stderr)

    return ask


def until(check):
    """Waits for the events to be recorded."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := check()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_an_index_is_pushed_replicated_pulled_deleted_and_copied_back(sites, ireland, virginia, layout, lineage, tmp_path):
    ireland.replicate(virginia)
    push, there = Skopeo(sites, ireland), Skopeo(sites, virginia)
    push("copy", "--all", f"oci:{layout}:multi", f"{push.place}:v1")
    digest = "sha256:" + hashlib.sha256(push("inspect", "--raw", f"{push.place}:v1").encode()).hexdigest()
    (tagged,) = [event for event in sites.events() if event["detail"].get("image-tag") == "v1"]
    assert tagged["detail"]["action-type"] == "PUSH" and tagged["detail"]["image-digest"] == digest
    assert tagged["detail"]["manifest-media-type"] == INDEX
    sites.step(COPIED)
    there("copy", "--all", f"{there.place}@{digest}", f"oci:{tmp_path}:v1")
    assert json.loads(there("list-tags", there.place))["Tags"] == ["v1"]

    def places():
        (shown,) = (lineage("show", f"{APP}@{digest}") or {"images": [{"registries": []}]})["images"]
        return {place["registry"].split("/")[1] for place in shown["registries"]}

    until(lambda: places() == {"eu-west-1", "us-east-1"})
    there("delete", f"{there.place}:v1")
    children = [each for each in virginia.ecr.list_images(repositoryName=APP)["imageIds"]]
    virginia.ecr.batch_delete_image(repositoryName=APP, imageIds=children)
    assert "manifest unknown" in there("inspect", f"{there.place}:v1", code=1).lower()
    registry = f"{sites.accounts[0]}/us-east-1"
    until(lambda: (lineage("restore", f"{APP}@{digest}", "--registry", registry) or {}).get("tags"))
    copied = lineage("restore", f"{APP}@{digest}", "--registry", registry, "--copy", "--yes")
    assert (copied["tags"], copied["manifests"], copied["layers"]) == (["v1"], 3, 5)
    there("copy", "--all", f"{there.place}:v1", f"oci:{tmp_path}:again")

    push("delete", f"{push.place}:v1")
    (deleted,) = [event for event in sites.events() if event["detail"].get("action-type") == "DELETE" and event["region"] == "eu-west-1"]
    assert deleted["detail"]["image-digest"] == digest


def test_a_docker_manifest_keeps_its_media_type_and_an_immutable_tag_its_image(sites, ireland, layout):
    push = Skopeo(sites, ireland)
    ireland.ecr.put_image_tag_mutability(repositoryName=APP, imageTagMutability="IMMUTABLE")
    push("copy", "--format", "v2s2", f"oci:{layout}:single", f"{push.place}:v1")
    (detail,) = ireland.ecr.describe_images(repositoryName=APP)["imageDetails"]
    assert detail["imageManifestMediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    error = push("copy", "--override-arch", "arm64", f"oci:{layout}:multi", f"{push.place}:v1", code=1)
    assert "cannot be overwritten because the tag is immutable" in error


def test_a_client_without_login_or_repository_is_refused(sites, ireland, layout):
    push = Skopeo(sites, ireland)
    missing = push.place.replace(APP, "team/missing")
    error = push("copy", f"oci:{layout}:single", f"{missing}:v1", code=1)
    assert "does not exist in the registry" in error, error
    push.credentials = "AWS:guess"
    assert "unauthorized" in push("list-tags", push.place, code=1).lower()


def test_buildah_pushes_an_image_and_an_index(sites, ireland, virginia, layout, tmp_path):
    ireland.replicate(virginia)
    client = Skopeo(sites, ireland)
    place = client.place.removeprefix("docker://")
    store = ["buildah", "--storage-driver", "vfs", "--root", tmp_path / "images", "--runroot", tmp_path / "run"]
    access = ["--creds", client.credentials, "--tls-verify=false"]
    pulled = run(*store, "pull", "--quiet", f"oci:{layout}:single").strip()
    run(*store, "push", "--quiet", *access, pulled, f"docker://{place}:built")
    run(*store, "manifest", "create", "both", pulled)
    run(*store, "manifest", "push", "--all", "--format", "oci", *access, "both", f"docker://{place}:both")
    details = {tag: one for one in ireland.ecr.describe_images(repositoryName=APP)["imageDetails"] for tag in one.get("imageTags", [])}
    assert details["both"]["imageManifestMediaType"] == INDEX
    pushed = [event["detail"]["image-tag"] for event in sites.own_events() if event["detail"]["action-type"] == "PUSH"]
    assert {"built", "both"} <= set(pushed)
    sites.step(COPIED)
    # The other region, by digest.
    there = Skopeo(sites, virginia)
    digest = details["built"]["imageDigest"]
    run(*store, "pull", "--quiet", "--creds", there.credentials, "--tls-verify=false", f"docker://{place}@{digest}")
    there("delete", f"{there.place}:both")
    there("delete", f"{there.place}@{digest}")
    assert virginia.images() == {}


@pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")
def test_docker_logs_in(sites, ireland, tmp_path):
    user, password = Skopeo(sites, ireland).credentials.split(":", 1)
    place = sites.endpoint.removeprefix("http://")
    login = ["docker", "--config", tmp_path, "login", "--username", user, "--password-stdin", place]
    assert "Login Succeeded" in run(*login, input=password)
    assert place in (tmp_path / "config.json").read_text()
    refused = run("docker", "--config", tmp_path, "login", "--username", user, "--password-stdin", place, input="guess", code=1)
    assert "unauthorized" in refused.lower() or "not authorized" in refused.lower(), refused
