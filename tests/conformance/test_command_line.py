"""The AWS CLI, called as users call it."""

import json
import os
import subprocess

import pytest

from conftest import welcome
from manifests import artifact, digest, image
from sites import APP, COPIED


@pytest.fixture
def aws(sites):
    """Runs `aws` with the credentials of an assumed role in the first account."""

    def run(*arguments, region="eu-west-1", code=0):
        given = sites.client("ecr", region, sites.accounts[0])._request_signer._credentials
        environment = {
            **os.environ, "AWS_ACCESS_KEY_ID": given.access_key, "AWS_SECRET_ACCESS_KEY": given.secret_key,
            "AWS_SESSION_TOKEN": given.token, "AWS_DEFAULT_REGION": region, "AWS_MAX_ATTEMPTS": "1",
        }
        command = ["aws", "--endpoint-url", sites.endpoint, "--output", "json", *arguments]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == code, ran.stderr
        return json.loads(ran.stdout) if code == 0 and ran.stdout.strip() else ran.stderr

    return run


def test_an_image_is_put_listed_described_and_deleted(sites, aws):
    aws("ecr", "create-repository", "--repository-name", APP)
    put = ["ecr", "put-image", "--repository-name", APP, "--image-manifest", image("a"), "--image-digest", digest(image("a"))]
    for tag in ["v1", "v2"]:
        assert aws(*put, "--image-tag", tag)["image"]["imageId"]["imageTag"] == tag
    assert len(aws("ecr", "list-images", "--repository-name", APP)["imageIds"]) == 2
    (detail,) = aws("ecr", "describe-images", "--repository-name", APP)["imageDetails"]
    assert (detail["imageDigest"], sorted(detail["imageTags"])) == (digest(image("a")), ["v1", "v2"])
    deleted = aws("ecr", "batch-delete-image", "--repository-name", APP, "--image-ids", "imageTag=v1", "imageTag=v9")
    assert deleted["imageIds"] == [{"imageDigest": digest(image("a")), "imageTag": "v1"}]
    assert deleted["failures"][0]["failureCode"] == "ImageNotFound"
    error = aws("ecr", "describe-images", "--repository-name", "team/other", code=255)
    assert "(RepositoryNotFoundException)" in error and "'team/other' does not exist" in error
    assert aws("sts", "get-caller-identity")["Account"] == sites.accounts[0]


@pytest.mark.only_simulator("moto does not replicate")
def test_replication_is_configured_and_followed(sites, aws):
    account = sites.accounts[0]
    # The newest AWS CLI has an older model than boto3, and does not support `deleteReplication` yet.
    rules = {"rules": [{"destinations": [{"region": "us-east-1", "registryId": account}]}]}
    aws("ecr", "put-replication-configuration", "--replication-configuration", json.dumps(rules))
    assert aws("ecr", "describe-registry") == {"registryId": account, "replicationConfiguration": rules}
    aws("ecr", "create-repository", "--repository-name", APP)
    aws("ecr", "put-image", "--repository-name", APP, "--image-manifest", image("a"), "--image-tag", "v1")
    asked = ["ecr", "describe-image-replication-status", "--repository-name", APP, "--image-id", "imageTag=v1"]
    assert aws(*asked)["replicationStatuses"] == [{"region": "us-east-1", "registryId": account, "status": "IN_PROGRESS"}]
    sites.step(COPIED)
    assert aws(*asked)["replicationStatuses"][0]["status"] == "COMPLETE"
    (copy,) = aws("ecr", "describe-images", "--repository-name", APP, region="us-east-1")["imageDetails"]
    assert copy["imageTags"] == ["v1"]


@pytest.mark.only_simulator("moto has neither artifacts nor storage classes")
def test_artifacts_and_storage_classes(aws):
    aws("ecr", "create-repository", "--repository-name", APP)
    sbom = artifact(image("a"), "text/sbom+json")
    for manifest in [image("a"), sbom]:
        aws("ecr", "put-image", "--repository-name", APP, "--image-manifest", manifest)
    subject = f"imageDigest={digest(image('a'))}"
    (listed,) = aws("ecr", "list-image-referrers", "--repository-name", APP, "--subject-id", subject)["referrers"]
    assert listed["digest"] == digest(sbom)
    moved = aws("ecr", "update-image-storage-class", "--repository-name", APP, "--image-id", subject, "--target-storage-class", "ARCHIVE")
    assert moved["imageStatus"] == "ARCHIVED"


def test_a_replication_configuration_is_put_and_described(sites, aws):
    account = sites.accounts[0]
    filters = [{"filter": "team", "filterType": "PREFIX_MATCH"}]
    rules = {"rules": [{"destinations": [{"region": "us-east-1", "registryId": account}], "repositoryFilters": filters}]}
    put = aws("ecr", "put-replication-configuration", "--replication-configuration", json.dumps(rules))
    assert put == {"replicationConfiguration": rules}
    assert aws("ecr", "describe-registry") == {"registryId": account, "replicationConfiguration": rules}
    assert aws("ecr", "describe-registry", region="us-east-1")["replicationConfiguration"] == {"rules": []}


def test_lists_are_followed_page_by_page(aws):
    aws("ecr", "create-repository", "--repository-name", APP)
    for number in range(3):
        manifest = image(str(number))
        put = ["ecr", "put-image", "--repository-name", APP, "--image-manifest", manifest, "--image-digest", digest(manifest)]
        aws(*put, "--image-tag", f"v{number}")
    for command, key, entry in [("list-images", "imageIds", "imageTag"), ("describe-images", "imageDetails", "imageTags[0]")]:
        tags = aws("ecr", command, "--repository-name", APP, "--page-size", "2", "--query", f"{key}[].{entry}")
        assert sorted(tags) == ["v0", "v1", "v2"]


@pytest.mark.only_simulator("moto has no storage classes")
def test_archived_images_must_be_asked_for(aws):
    aws("ecr", "create-repository", "--repository-name", APP)
    for name in ["a", "b"]:
        aws("ecr", "put-image", "--repository-name", APP, "--image-manifest", image(name), "--image-tag", name)
    archive = ["--image-id", "imageTag=b", "--target-storage-class", "ARCHIVE"]
    aws("ecr", "update-image-storage-class", "--repository-name", APP, *archive)
    tags = ["ecr", "describe-images", "--repository-name", APP, "--query", "imageDetails[].imageTags[]"]
    assert aws(*tags) == ["a"]
    assert aws(*tags, "--filter", "imageStatus=ARCHIVED") == ["b"]
    # Another push restores it.
    aws("ecr", "put-image", "--repository-name", APP, "--image-manifest", image("b"), "--image-tag", "b")
    assert sorted(aws(*tags)) == ["a", "b"]


def test_policies_are_put_and_got(aws):
    aws("ecr", "create-repository", "--repository-name", APP)
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 3}
    lifecycle = json.dumps({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]})
    aws("ecr", "put-lifecycle-policy", "--repository-name", APP, "--lifecycle-policy-text", lifecycle)
    assert json.loads(aws("ecr", "get-lifecycle-policy", "--repository-name", APP)["lifecyclePolicyText"]) == json.loads(lifecycle)
    assert "(RegistryPolicyNotFoundException)" in aws("ecr", "get-registry-policy", code=255)
    setting = aws("ecr", "put-image-tag-mutability", "--repository-name", APP, "--image-tag-mutability", "IMMUTABLE")
    assert setting["imageTagMutability"] == "IMMUTABLE"
    (repository,) = aws("ecr", "describe-repositories")["repositories"]
    assert (repository["repositoryName"], repository["imageTagMutability"]) == (APP, "IMMUTABLE")
    aws("ecr", "delete-repository", "--repository-name", APP)
    assert aws("ecr", "describe-repositories") == {"repositories": []}


def test_a_registry_policy_is_put_and_got(sites, aws):
    about = f"arn:aws:ecr:eu-west-1:{sites.accounts[0]}:repository/*"
    principal = {"AWS": f"arn:aws:iam::{sites.accounts[1]}:root"}
    statement = {"Sid": "copies", "Effect": "Allow", "Principal": principal, "Action": ["ecr:ReplicateImage"], "Resource": about}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    aws("ecr", "put-registry-policy", "--policy-text", json.dumps(policy))
    answer = aws("ecr", "get-registry-policy")
    assert (answer["registryId"], json.loads(answer["policyText"])) == (sites.accounts[0], policy)


def test_a_repository_with_images_is_deleted_by_force(aws):
    aws("ecr", "create-repository", "--repository-name", APP)
    aws("ecr", "put-image", "--repository-name", APP, "--image-manifest", image("a"), "--image-digest", digest(image("a")), "--image-tag", "v1")
    assert "(RepositoryNotEmptyException)" in aws("ecr", "delete-repository", "--repository-name", APP, code=255)
    assert aws("ecr", "delete-repository", "--repository-name", APP, "--force")["repository"]["repositoryName"] == APP


def tour(welcome, pause):
    """Runs the commands of the greeting, each of which has to succeed; their outputs."""
    commands = welcome.split("Try this in another terminal:")[1].strip().splitlines()
    path = f"{os.path.dirname(os.environ['ECR_LINEAGE'])}:{os.environ['PATH']}"
    script = "set -eu\n" + "\n".join(f"{command}\nprintf '\\0'\nsleep {pause}" for command in map(str.strip, commands))
    ran = subprocess.run(["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    # The first two lines are a comment and variables.
    return ran.stdout.split("\0")[2:-1]


@pytest.mark.only_simulator("its own words")
def test_the_commands_that_local_prints_work(endpoint, request):
    outputs = tour(request.config.welcome, 0.5)
    assert len(outputs) == 9 and all(outputs)
    assert '"status": "IN_PROGRESS"' in outputs[3]
    assert "pushed as v1" in outputs[5] and "us-east-1" in outputs[5]
    assert "us-east-1" in outputs[8] and "team/app" in outputs[8], outputs[8]


@pytest.mark.only_simulator("its own words")
@pytest.mark.parametrize("options", [("--lag", "1s"), ("--sample",)])
def test_the_commands_work_with_a_clock_that_moves(options):
    command = [os.environ["ECR_LINEAGE"], "local", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            outputs = tour(welcome(process.stdout), 0.5)
        finally:
            process.terminate()
    assert all(outputs)
    if "--sample" in options:
        alerts, orphans, deletions, shown, lag = outputs
        for what in ["pay/api", "search/ui", "web/ui"]:
            assert what in alerts, alerts
        for what in ["data/api", "shop/jobs", "base/ui"]:
            assert what in orphans, orphans
        assert "data/api" in deletions and "base/ui" in deletions, deletions
        assert "444455556666/ap-northeast-1" in shown and "ap-southeast-2" in lag
    else:
        assert "us-east-1" in outputs[-1] and "team/app" in outputs[-1], outputs[-1]


@pytest.mark.only_simulator("the table is ours")
def test_the_table_is_on_the_same_port(sites, aws, ireland):
    ireland.push(image("the table"), "v1")
    # The event is recorded a moment later.
    for _ in range(100):
        items = aws("dynamodb", "scan", "--table-name", "ecr-lineage")["Items"]
        if any(digest(image("the table")) in item["pk"]["S"] for item in items):
            return
    raise AssertionError("the push is not in the table")


@pytest.mark.only_simulator("the command is ours")
def test_the_audit_reads_delete_replication_as_boto3_sets_it(sites, ireland, virginia):
    """The Rust SDK's type lacks `deleteReplication`, so ecr-lineage reads it from the raw response."""
    account = sites.accounts[0]
    environment = {
        **os.environ, "AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": sites.endpoint,
    }
    command = [os.environ["ECR_LINEAGE"], "--table", "ecr-lineage", "--role", "conformance", "--format", "json"]
    command += ["audit", "native-deletes", "--source", f"{account}/eu-west-1"]
    for native in [True, False, None]:
        ireland.replicate(virginia, native=native)
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        (audited,) = json.loads(ran.stdout)["rules"]
        assert (audited["on"], audited["destinations"]) == (bool(native), [f"{account}/us-east-1"])
