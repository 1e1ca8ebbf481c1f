"""The names that the templates give to resources: within AWS's limits for every name of a stack, and different for two
hubs in one account and region. Needs no emulator.

AWS makes the name of every other resource from the names of stack and resource, and cuts it at the limit.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
"""

import functools
import json
import re
import uuid

import pytest
import yaml
from botocore.loaders import Loader

from conftest import INFRA

# By type of resource: the property that names it, the longest name, and the shape in AWS's model that says so. Where the
# model does not say it, the documentation of the service does.
LIMITS = {
    "AWS::Chatbot::MicrosoftTeamsChannelConfiguration": ("ConfigurationName", 128, ("chatbot", "ConfigurationName")),
    "AWS::Chatbot::SlackChannelConfiguration": ("ConfigurationName", 128, ("chatbot", "ConfigurationName")),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255, ("cloudwatch", "AlarmName")),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255, None),
    "AWS::DynamoDB::Table": ("TableName", 255, ("dynamodb", "TableName")),
    "AWS::Events::ApiDestination": ("Name", 64, ("events", "ApiDestinationName")),
    "AWS::Events::Connection": ("Name", 64, ("events", "ConnectionName")),
    "AWS::Events::EventBus": ("Name", 256, ("events", "EventBusName")),
    "AWS::Events::Rule": ("Name", 64, ("events", "RuleName")),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", 128, ("iam", "policyNameType")),
    "AWS::IAM::Role": ("RoleName", 64, ("iam", "roleNameType")),
    "AWS::Logs::LogGroup": ("LogGroupName", 512, ("logs", "LogGroupName")),
    "AWS::SNS::Topic": ("TopicName", 256, None),
    "AWS::SQS::Queue": ("QueueName", 80, None),
    "AWS::Scheduler::Schedule": ("Name", 64, ("scheduler", "Name")),
    # The model has 140 for a name or an ARN with a name. 64 is the limit for the name of a function, which has the same.
    "AWS::Lambda::Function": ("FunctionName", 64, None),
    "AWS::Lambda::LayerVersion": ("LayerName", 64, None),
}
# Resources without a name of their own.
UNNAMED = {
    "AWS::CloudFormation::Stack", "AWS::KMS::Key", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission", "AWS::Lambda::Url", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
}

# The longest name of a stack or a StackSet. A StackSet names its stacks after itself.
LONGEST = "s" * 128
OF_STACK_SET = f"StackSet-{LONGEST}-{uuid.UUID(int=0)}"


@functools.cache
def template(name):
    return yaml.safe_load((INFRA / name).read_text())


def longest(parameter):
    """The longest value that a parameter permits, or nothing if its values are not names; its default if it permits every
    text."""
    pattern = parameter.get("AllowedPattern")
    lengths = [n for n in range(3000) if re.search(pattern, "a" * n)] if pattern else []
    return "a" * max(lengths) if lengths else None if pattern else parameter.get("Default", "")


def value(node, scope):
    """The text of a node with intrinsic functions."""
    match node:
        case {"Ref": name}:
            return scope[name]
        case {"Fn::GetAtt": [name, _]}:
            return name
        case {"Fn::If": ["MakesTable", made, _]}:
            return value(made, scope)
        case {"Fn::Sub": [text, more]}:
            return value({"Fn::Sub": text}, scope | {name: value(part, scope) for name, part in more.items()})
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([\w:]+)\}", lambda found: scope[found[1]], text)
        case {"Fn::Join": [separator, parts]}:
            return separator.join(value(part, scope) for part in parts)
        case {"Fn::Split": [separator, text]}:
            return value(text, scope).split(separator)
        case {"Fn::Select": [index, parts]}:
            return value(parts, scope)[index]
        case str():
            return node
    raise ValueError(node)


def names(file, stack, parameters):
    """Each named resource of a stack and of its nested stacks: its template, logical id, type and name."""
    resources = template(file)["Resources"]
    stack_id = f"arn:aws:cloudformation:eu-west-1:111122223333:stack/{stack}/{uuid.uuid5(uuid.NAMESPACE_URL, stack)}"
    scope = {name: name for name in resources} | parameters | {"AWS::StackName": stack, "AWS::StackId": stack_id}
    for logical, resource in resources.items():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::CloudFormation::Stack":
            # AWS cuts the name of a nested stack as well.
            nested = f"{stack[:128 - 14 - len(logical)]}-{logical}-XXXXXXXXXXXX"
            given = {name: value(node, scope) for name, node in properties["Parameters"].items()}
            yield from names(properties["TemplateURL"]["Fn::Sub"].rpartition("/")[2], nested, given)
        elif resource["Type"] not in UNNAMED:
            name, _, _ = LIMITS[resource["Type"]]
            match properties.get(name):
                case None:
                    pass
                case {"Fn::If": [condition, given, {"Ref": "AWS::NoValue"}]}:
                    # A condition on a parameter, which is empty by default, is named after it.
                    if scope[condition.removeprefix("Has")]:
                        yield file, logical, resource["Type"], value(given, scope)
                case given:
                    yield file, logical, resource["Type"], value(given, scope)


def every(of, file):
    return {name: of(parameter) for name, parameter in template(file)["Parameters"].items()}


def default(parameter):
    return str(parameter.get("Default", "x"))


@pytest.mark.parametrize("file, stack", [
    ("hub.yaml", LONGEST), ("registry.yaml", LONGEST), ("registry.yaml", OF_STACK_SET), ("channels.yaml", LONGEST),
    ("monitoring.yaml", LONGEST),
])
def test_no_name_is_too_long(file, stack):
    found = list(names(file, stack, every(longest, file)))
    assert found
    too_long = {(place, logical): len(name) for place, logical, kind, name in found if len(name) > LIMITS[kind][1]}
    assert not too_long


def test_the_names_that_are_computed_are_these():
    files = ("hub.yaml", "registry.yaml")
    found = {(place, logical) for file in files for place, logical, _, _ in names(file, "s", every(default, file))}
    assert found == {
        ("hub.yaml", "Alerts"), ("hub.yaml", "Policies"), ("monitoring.yaml", "Dashboard"), ("channels.yaml", "Slack"),
        ("channels.yaml", "Teams"), ("registry.yaml", "Topic"), ("registry.yaml", "ReadRole"), ("registry.yaml", "DeleteRole"),
    }


@pytest.mark.parametrize("kind", [kind for kind, (_, _, shape) in LIMITS.items() if shape])
def test_the_limits_are_those_of_awss_models(kind):
    _, limit, (service, shape) = LIMITS[kind]
    assert Loader().load_service_model(service, "service-2")["shapes"][shape]["max"] == limit


def test_a_hub_whose_roles_registries_trust_by_name_has_room_for_these_names():
    text = (INFRA / "registry.yaml").read_text()
    trusted = set(re.findall(r":role/\$\{RolePath\}\$\{HubStackName\}-(\w+)-\*", text))
    roles = {name for name, resource in template("hub.yaml")["Resources"].items() if resource["Type"] == "AWS::IAM::Role"}
    assert trusted == roles - {"RecordRole", "AlertRole"}
    # AWS appends 12 random characters to the names of stack and resource, and cuts what is longer than 64.
    most = len(longest(template("registry.yaml")["Parameters"]["HubStackName"]))
    assert max(len(f"{'s' * most}-{role}-{'x' * 12}") for role in trusted) == 64


def test_the_longest_trust_policy_fits():
    """IAM permits 2,048 characters, without white space.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    parameters = template("registry.yaml")["Parameters"]
    known = {"AWS::Partition": "aws-us-gov", "Hub": "9" * 12, "OrganizationId": f"o-{'a' * 32}", "ExternalId": "platform-team"}
    known |= {name: longest(parameters[name]) for name in ("HubStackName",)} | {"RolePath": f"{'a' * 30}/" * 4}
    assert re.search(parameters["RolePath"]["AllowedPattern"], known["RolePath"])
    trust = template("registry.yaml")["Resources"]["ReadRole"]["Properties"]["AssumeRolePolicyDocument"]

    def resolved(node):
        match node:
            case {"Fn::Sub": [text, {"Hub": _}]}:
                return value({"Fn::Sub": text}, known)
            case {"Ref": name}:
                return known[name]
            case {"Fn::Select": _}:
                return known["Hub"]
            case {"Fn::If": [_, given, _]}:
                return resolved(given)
            case dict():
                return {name: resolved(part) for name, part in node.items()}
            case list():
                return [resolved(part) for part in node]
        return node

    assert 1000 < len(json.dumps(resolved(trust), separators=(",", ":"))) <= 2048


def test_hub_and_registry_name_the_topic_alike():
    stack = "my-hub"
    hub, scope = template("hub.yaml")["Resources"], {"AWS::StackName": stack, "AWS::Partition": "aws"}
    parameters = every(default, "registry.yaml") | {"HubStackName": stack}
    [topic] = [name for _, logical, _, name in names("registry.yaml", "any", parameters) if logical == "Topic"]
    assert value(hub["Record"]["Properties"]["Environment"]["Variables"]["TOPIC_NAME"], scope) == topic
    admitted = hub["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]["Condition"]["StringLike"]["aws:SourceArn"]
    assert value(admitted, scope) == f"arn:aws:sns:*:*:{topic}"
    assert template("registry.yaml")["Parameters"]["HubStackName"]["Default"] == "ecr-lineage"


@pytest.mark.parametrize("file", ["hub.yaml", "registry.yaml"])
def test_two_hubs_in_one_account_and_region_share_no_name(file):
    # A second hub's stack in a registry has its own names of roles; those of the first one trust the first one only.
    own = {"ReadRoleName": "second-read", "DeleteRoleName": "second-delete", "HubStackName": "second"}
    first = {name for *_, name in names(file, "ecr-lineage", every(default, file))}
    second = {name for *_, name in names(file, "second", every(default, file) | own)}
    assert first and len(first) == len(second) and not first & second


def test_two_hubs_share_no_metric():
    hub = template("hub.yaml")
    own = {"Ref": "AWS::StackName"}
    functions = [each["Properties"] for each in hub["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == 7
    assert all(function["Environment"]["Variables"]["METRICS_NAMESPACE"] == own for function in functions)
    assert hub["Resources"]["Monitoring"]["Properties"]["Parameters"]["MetricsNamespace"] == own
    for name, resource in template("monitoring.yaml")["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = resource["Properties"]
            # AWS's own metrics are those of the hub's own functions and queues, by their generated names.
            assert alarm["Namespace"] == {"Ref": "MetricsNamespace"} or all("Ref" in each["Value"] for each in alarm["Dimensions"]), name
    # CloudWatch permits 255 characters.
    assert len(LONGEST) <= 255
