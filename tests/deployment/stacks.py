"""Deploys a release's templates as stacks in ministack, from its files alone."""

import json
import os
import pathlib
import re
import zipfile

import yaml

from cloud import eventually

INFRA = pathlib.Path(__file__).parents[2] / "infra"
ARTIFACTS = pathlib.Path(os.environ["ARTIFACTS"])
BUCKET, PREFIX = "artifacts", "ecr-lineage/tested"

# AWS authorizes each statement of this call instead, on its table.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
BATCH = "dynamodb:BatchExecuteStatement"


def uploaded(cloud, files=ARTIFACTS, prefix=PREFIX):
    """Puts the files of a release into the bucket, as docs/deploy.md says."""
    store = cloud.client("s3")
    for file in files.iterdir():
        store.put_object(Bucket=BUCKET, Key=f"{prefix}/{file.name}", Body=file.read_bytes())


def hub_template(cloud, layers, files=ARTIFACTS, prefix=PREFIX, bucket=BUCKET):
    """The hub's template, as ministack understands it. Layers are unpacked into a folder, because ministack gives a
    function no /opt, and nested templates are at ministack's address. It signs no messages, so `record` does not verify
    them. Roles that may insert by PartiQL may call BATCH, which ministack asks for, and readers may list the targets of
    any rule: ministack does not see which one."""
    template = yaml.safe_load((files / "hub.yaml").read_text())
    for resource in template["Resources"].values():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::Lambda::Function":
                variables = properties["Environment"]["Variables"]
                if "SNS_SIGNATURES" in variables:
                    variables["SNS_SIGNATURES"] = "ignore"
            case "AWS::Lambda::LayerVersion":
                zipfile.ZipFile(files / "policies.zip").extractall(layers)
            case "AWS::CloudFormation::Stack":
                name = properties["TemplateURL"]["Fn::Sub"].rpartition("/")[2]
                properties["TemplateURL"] = f"{cloud.ministack_url}/{bucket}/{prefix}/{name}"
            case "AWS::IAM::ManagedPolicy":
                for statement in properties["PolicyDocument"]["Statement"]:
                    if "events:ListTargetsByRule" in statement["Action"]:
                        statement["Resource"] = "*"
            case "AWS::IAM::Role":
                for policy in properties["Policies"]:
                    statements = policy["PolicyDocument"]["Statement"]
                    if any("dynamodb:PartiQLInsert" in statement.get("Action", []) for statement in statements):
                        statements.append({"Sid": "batch", "Effect": "Allow", "Action": BATCH, "Resource": "*"})
    return json.dumps(template).replace('"/opt/', f'"{layers}/')


def registry_template(region):
    """The template of a registry's stack, as ministack understands it in this region.

    - Conditions on aws:PrincipalArn match role sessions: AWS uses the role's own ARN there, ministack the session's, which
      has no path.
      https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    - The condition that compares RolesRegion names the region: ministack has no pseudo parameters in conditions."""
    text, count = re.subn(
        r"arn:(\S+):iam::(\S+):role/\$\{RolePath\}(\S+)Role-\*", r"arn:\1:sts::\2:assumed-role/\3Role-*", (ARTIFACTS / "registry.yaml").read_text()
    )
    assert count == 6, "conditions of the read role and of the delete role"
    own = '[{Ref: RolesRegion}, {Ref: "AWS::Region"}]'
    assert text.count(own) == 1
    return text.replace(own, f"[{{Ref: RolesRegion}}, {region}]")


def deploy(cloud, name, body, account, region, **parameters):
    """Creates a stack; returns its resources and outputs."""
    return made(cloud, "create_stack", "CREATE_COMPLETE", name, body, account, region, parameters)


def update(cloud, name, body, account, region, **parameters):
    """Updates a stack; returns its resources and outputs."""
    return made(cloud, "update_stack", "UPDATE_COMPLETE", name, body, account, region, parameters)


def made(cloud, operation, expected, name, body, account, region, parameters):
    stacks = cloud.client("cloudformation", account, region)
    template = {"TemplateBody": body}
    if len(body) > 51_200:
        cloud.client("s3").put_object(Bucket=BUCKET, Key=f"{name}.json", Body=body)
        template = {"TemplateURL": f"{cloud.ministack_url}/{BUCKET}/{name}.json"}
    getattr(stacks, operation)(
        StackName=name, **template, Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )

    def is_over():
        [stack] = stacks.describe_stacks(StackName=name)["Stacks"]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    stack = eventually(is_over)
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    assert stack["StackStatus"] == expected, failed
    resources = stacks.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(stack, resources)


class Stack:
    def __init__(self, stack, resources):
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        self.ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
