"""Deploys the built templates as stacks in ministack."""

import io
import json
import pathlib
import re
import zipfile

import yaml

from cloud import eventually

INFRA = pathlib.Path(__file__).parents[2] / "infra"
BUCKET = "artifacts"

# Resource types that ministack's CloudFormation does not support, and their replacements.
UNKNOWN = {
    # ministack has no bus policies, and delivers no events to other accounts or regions: images.py sends them to the
    # queue.
    "AWS::Events::EventBusPolicy",
    # It supports archives only by API: conftest.py creates one with the pattern and the retention of the template.
    "AWS::Events::Archive",
}


def zipped(folder):
    """A folder as a zip package, uncompressed to save time."""
    data, files = io.BytesIO(), sorted(path for path in folder.rglob("*") if path.is_file())
    assert files, f"nothing is in {folder}"
    with zipfile.ZipFile(data, "w") as package:
        for file in files:
            entry = zipfile.ZipInfo(str(file.relative_to(folder)))
            entry.external_attr = file.stat().st_mode << 16
            package.writestr(entry, file.read_bytes())
    return data.getvalue()


def packaged(cloud, file, layers):
    """A template whose artifacts are in the bucket, as `sam package` does it, without resources that ministack does not
    support. Layers are unpacked into a folder, because ministack gives a function no /opt."""
    template = yaml.safe_load(file.read_text())
    store = cloud.client("s3")
    resources = template["Resources"]
    unknown = {name for name, resource in resources.items() if resource["Type"] in UNKNOWN}
    for name in unknown:
        del resources[name]
    for part in ("Resources", "Outputs"):
        template[part] = named(template[part], unknown)
    resources = template["Resources"]
    for name, resource in resources.items():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::Serverless::Function":
                store.put_object(Bucket=BUCKET, Key=f"{name}.zip", Body=zipped(file.parent / properties["CodeUri"]))
                properties["CodeUri"] = f"s3://{BUCKET}/{name}.zip"
            case "AWS::Serverless::LayerVersion":
                content = zipped(file.parent / properties["ContentUri"])
                zipfile.ZipFile(io.BytesIO(content)).extractall(layers)
                store.put_object(Bucket=BUCKET, Key=f"{name}.zip", Body=content)
                properties["ContentUri"] = f"s3://{BUCKET}/{name}.zip"
            case "AWS::CloudFormation::Stack":
                nested = yaml.safe_load((file.parent / properties["TemplateURL"]).read_text())
                store.put_object(Bucket=BUCKET, Key=f"{name}.json", Body=json.dumps(nested))
                properties["TemplateURL"] = f"{cloud.ministack_url}/{BUCKET}/{name}.json"
    return json.dumps(template).replace('"/opt/', f'"{layers}/')


def as_ministack_sees_it(template):
    """A template in which conditions on aws:PrincipalArn match role sessions: AWS uses the role's own ARN there,
    ministack the session's.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn"""
    found = re.subn(r"arn:(\S+):iam::(\S+):role/(\S+)Role-\*", r"arn:\1:sts::\2:assumed-role/\3Role-*", template)
    assert found[1] == 6, "conditions of the read role and of the delete role"
    return found[0]


def named(value, names):
    """A part of a template in which references to these resources are replaced by their logical names."""
    match value:
        case {"Ref": name} if name in names:
            return name
        case {"Fn::GetAtt": [name, "Arn"]} if name in names:
            return {"Fn::Sub": f"arn:${{AWS::Partition}}:events:${{AWS::Region}}:${{AWS::AccountId}}:archive/{name}"}
        case dict():
            return {key: named(each, names) for key, each in value.items()}
        case list():
            return [named(each, names) for each in value]
    return value


def deploy(cloud, name, body, account, region, **parameters):
    """Creates a stack; returns its resources and outputs."""
    stacks = cloud.client("cloudformation", account, region)
    template = {"TemplateBody": body}
    if len(body) > 51_200:
        cloud.client("s3").put_object(Bucket=BUCKET, Key=f"{name}.json", Body=body)
        template = {"TemplateURL": f"{cloud.ministack_url}/{BUCKET}/{name}.json"}
    stacks.create_stack(
        StackName=name, **template, Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )

    def is_over():
        [stack] = stacks.describe_stacks(StackName=name)["Stacks"]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    stack = eventually(is_over)
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    assert stack["StackStatus"] == "CREATE_COMPLETE", failed
    resources = stacks.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(stack, resources)


class Stack:
    def __init__(self, stack, resources):
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        self.ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
