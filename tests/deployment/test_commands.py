"""The commands of docs/deploy.md, read from the page, and tried one after another in an account of their own."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from cloud import eventually
from conftest import ARCHITECTURE
from stacks import ARTIFACTS, INFRA, hub_template, registry_template

PAGE = INFRA.parent / "docs" / "deploy.md"
ACCOUNT, REGION, BUCKET = "222233334444", "eu-west-1", "files-of-releases"

# Commands that are not tried here, by what they begin with, and why.
ELSEWHERE = {
    "ecr-lineage deploy plan": "test_doctor.py runs it in accounts with registries",
    "aws cloudformation create-stack-set": "ministack has no StackSets; the template is deployed alone",
    "functions=$(aws cloudformation describe-stacks": "test_page.py deploys the page's stack, without a second factor",
    "aws dynamodb restore-table-to-point-in-time": "it needs a time within the backups: test_table.py has what follows",
    "python3 -c 'import json, yaml; table": "test_table.py imports a table",
}


def blocks():
    """Every block of commands, in the order of the page; those in a list without their indentation."""
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", PAGE.read_text(), re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


class Shell:
    """A shell of a person who deploys, with the credentials of a role that has the page's policies."""

    def __init__(self, cloud, folder):
        self.cloud, self.folder, self.values = cloud, folder, {}
        self.credentials = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "secret"}

    def run(self, command):
        for name, value in self.values.items():
            command = re.sub(rf"(?<![A-Za-z_]){name}(?![A-Za-z_])", value, command)
        environment = os.environ | self.credentials | {
            "AWS_ENDPOINT_URL": self.cloud.gate.url, "AWS_DEFAULT_REGION": REGION, "AWS_PAGER": "",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "PATH": f"{pathlib.Path(os.environ['MINISTACK']).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(["bash", "-euc", command], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr}"
        return done.stdout

    def block(self, begin):
        [block] = [block for block in blocks() if block.startswith(begin)]
        return self.run(block)

    def outputs(self, stack="ecr-lineage"):
        [found] = self.cloud.client("cloudformation", ACCOUNT, REGION).describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


@pytest.fixture(scope="module")
def shell(cloud, layers, tmp_path_factory):
    """A folder with the files of a release, as ministack understands its templates, and a role that may deploy."""
    folder = tmp_path_factory.mktemp("commands")
    release = folder / "RELEASE"
    shutil.copytree(ARTIFACTS, release)
    body = hub_template(cloud, layers, bucket=BUCKET, prefix="ecr-lineage/0.1.0")
    (release / "hub.yaml").write_text(body.replace('"Default": "x86_64"', f'"Default": "{ARCHITECTURE}"'))
    (release / "registry.yaml").write_text(registry_template(REGION))
    shutil.copytree(release, folder / "OLDER")
    (folder / "mine.cedar").write_text("permit (principal, action, resource);")
    cloud.client("s3", ACCOUNT, REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for name in ("hub", "registry"):
        policy = release / f"deployer-{name}.json"
        policy.write_text(policy.read_text().replace("BUCKET", BUCKET))
    shell = Shell(cloud, folder)
    shell.values = {"BUCKET": BUCKET, "REGION": REGION}
    return shell


def test_every_block_of_the_page_is_tried_or_says_why_not():
    begins = {block.strip() for block in blocks()}
    assert len(begins) > 10
    assert not [begin for begin in ELSEWHERE if not any(block.startswith(begin) for block in begins)]
    tried = re.findall(r'shell\.block\("(.*?)"\)', pathlib.Path(__file__).read_text())
    left = [block for block in begins if not any(block.startswith(begin) for begin in [*tried, *ELSEWHERE])]
    assert not left


def test_the_commands_deploy_upgrade_go_back_and_remove(cloud, shell):
    """In one test: each needs what the ones before it left."""
    iam = cloud.client("iam", ACCOUNT, REGION)
    shell.block("aws iam create-policy")
    trust = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "%s"}, "Action": "sts:AssumeRole"}]}'
    iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=trust % ACCOUNT)
    for name in ("hub", "registry"):
        iam.attach_role_policy(RoleName="deployer", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/ecr-lineage-deploy-{name}")
    given = cloud.client("sts", ACCOUNT, REGION).assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/deployer", RoleSessionName="dana",
    )["Credentials"]
    own = shell.credentials
    shell.credentials = {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }

    shell.block("aws s3 cp --recursive RELEASE s3://BUCKET/ecr-lineage/0.1.0")
    outputs = shell.outputs()
    assert shell.outputs("ecr-lineage-registry")["TopicArn"].endswith(":ecr-lineage-events")
    functions = outputs["Functions"].split(",")

    # A policy of one's own, as a layer: by the person, whose role may publish layers.
    shell.values["ARN"] = shell.run("zip -q mine.zip mine.cedar && aws lambda publish-layer-version --layer-name my-policies "
                                    "--zip-file fileb://mine.zip --query LayerVersionArn --output text").strip()
    shell.block("zip mine.zip mine.cedar")
    mirror = cloud.client("lambda", ACCOUNT, REGION).get_function_configuration(FunctionName=functions[2])
    assert [layer["Arn"] for layer in mirror["Layers"]] == [shell.values["ARN"]]

    def folder():
        [found] = cloud.client("cloudformation", ACCOUNT, REGION).describe_stacks(StackName="ecr-lineage")["Stacks"]
        return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}["ArtifactsPrefix"]

    registry = shell.folder / "RELEASE" / "registry.yaml"
    registry.write_text(registry.read_text().replace("ecr-lineage 0.1.0", "ecr-lineage 0.2.0"))
    shell.block("aws s3 cp --recursive RELEASE s3://BUCKET/ecr-lineage/0.2.0")
    assert folder() == "ecr-lineage/0.2.0" and shell.outputs()["TableName"] == outputs["TableName"]
    shell.block("aws cloudformation deploy --stack-name ecr-lineage --template-file OLDER/hub.yaml")
    assert folder() == "ecr-lineage/0.1.0" and shell.outputs()["TableName"] == outputs["TableName"]

    # It prints the names that a person notes, and deletes the stack; then there is nothing of it to remove.
    assert outputs["TableName"] in shell.block("aws cloudformation describe-stack-resources")
    shell.block("aws cloudformation delete-stack --stack-name ecr-lineage-registry")
    stacks = cloud.client("cloudformation", ACCOUNT, REGION).describe_stacks()["Stacks"]
    assert not [stack for stack in stacks if stack["StackName"].startswith("ecr-lineage")]
    tables = cloud.client("dynamodb", ACCOUNT, REGION)
    assert tables.describe_table(TableName=outputs["TableName"])["Table"]["DeletionProtectionEnabled"]
    shell.values["TABLE"], shell.credentials = outputs["TableName"], own
    shell.block("aws dynamodb update-table --table-name TABLE --no-deletion-protection-enabled")
    eventually(lambda: outputs["TableName"] not in tables.list_tables()["TableNames"])
