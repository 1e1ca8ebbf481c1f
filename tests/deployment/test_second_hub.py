"""A second hub in the account and region of the first one, and in one of its registries. It admits an organization instead
of accounts, has no function URLs, and has what organizations may require: a path and a permissions boundary of roles, a
VPC, and names of log groups."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from cloud import HUB, HUB_REGION, eventually
from conftest import OF_RELEASE, EXTERNAL_ID, SOURCE
from stacks import deploy, registry_template
from test_roles import as_role
from topics import HUB_STACK, topic

SECOND, ORGANIZATION, PATH = "second-hub", "o-a1b2c3d4e5", "platform/ecr/"
SECRET = f"arn:aws:secretsmanager:{HUB_REGION}:{HUB}:secret:channels-AbCdEf:SecretString:key"
FUNCTIONS = ["Record", "Watch", "Mirror", "Reconcile", "Alert", "Query", "Operate"]


@pytest.fixture(scope="module")
def second(cloud, hub, registries, hub_body):
    """The second hub, and its stack in a registry of the first one."""
    second = deploy(
        cloud, SECOND, hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID,
        OrganizationId=ORGANIZATION, ReadRoleName=f"{SECOND}-read", DeleteRoleName=f"{SECOND}-delete",
        FunctionUrls="disabled", RolePath=PATH, PermissionsBoundary="platform/boundary", LogGroupPrefix="/platform/",
        SubnetIds="subnet-1,subnet-2", SecurityGroupIds="sg-1",
    )
    registry = deploy(
        cloud, f"{SECOND}-registry", registry_template(SOURCE[1]), *SOURCE, HubQueueArn=second.outputs["QueueArn"],
        HubStackName=SECOND, ExternalId=EXTERNAL_ID, RolesRegion=SOURCE[1], ReadRoleName=f"{SECOND}-read",
        DeleteRoleName=f"{SECOND}-delete", RolePath=PATH,
    )
    return second, registry


def every_resource(cloud, stack, account, region):
    """The types and ids of a stack's resources, and of those of its nested stacks."""
    found = cloud.client("cloudformation", account, region).describe_stack_resources(StackName=stack)["StackResources"]
    for resource in found:
        kind, name = resource["ResourceType"], resource["PhysicalResourceId"]
        yield kind, name
        if kind == "AWS::CloudFormation::Stack" and name != stack:
            yield from every_resource(cloud, name, account, region)


def test_all_roles_have_the_path_and_trust_each_other_by_it(cloud, hub, second):
    for stack, account in ((second[0], HUB), (second[1], SOURCE[0])):
        iam = cloud.client("iam", account)
        roles = [iam.get_role(RoleName=name)["Role"] for logical, name in stack.ids.items() if logical.endswith("Role")]
        assert len(roles) >= 2
        assert {role["Path"] for role in roles} == {f"/{PATH}"}
    read = f"arn:aws:iam::{SOURCE[0]}:role/{PATH}{SECOND}-read"
    variables = cloud.client("lambda").get_function_configuration(FunctionName=second[0].ids["Watch"])["Environment"]["Variables"]
    assert f"arn:aws:iam::{SOURCE[0]}:role/{variables['READ_ROLE']}" == read
    policy = cloud.client("iam").get_role_policy(RoleName=second[0].ids["WatchRole"], PolicyName="all")["PolicyDocument"]
    [allowed] = [each for each in policy["Statement"] if each["Sid"] == "registries"]
    assert allowed["Resource"] == f"arn:aws:iam::*:role/{PATH}{SECOND}-read"
    # ministack knows no organization of resources, which the role of the second hub asks for.
    more = {"Version": "2012-10-17", "Statement": [{name: allowed[name] for name in ("Effect", "Action", "Resource")}]}
    cloud.client("iam").put_role_policy(RoleName=second[0].ids["WatchRole"], PolicyName="tried", PolicyDocument=json.dumps(more))
    enter = {"RoleArn": read, "RoleSessionName": "tried", "ExternalId": EXTERNAL_ID}
    assert cloud.client("sts", **as_role(cloud, second[0], "Watch")).assume_role(**enter)
    # The first hub's role has another path and another name.
    with pytest.raises(ClientError, match="not authorized"):
        cloud.client("sts", **as_role(cloud, hub, "Watch")).assume_role(**enter)


def test_the_log_groups_have_the_prefix_and_the_functions_their_policy_for_the_vpc(cloud, second):
    logs = {name: second[0].ids[f"{name}Log"] for name in FUNCTIONS}
    assert all(group.startswith(f"/platform/{SECOND}-{name.lower()}-") for name, group in logs.items()), logs
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix="/platform/")["logGroups"]
    days = {group["logGroupName"]: group["retentionInDays"] for group in groups}
    assert {name for name, group in logs.items() if days[group] == 365} == {"Mirror", "Operate"}
    for function in FUNCTIONS:
        attached = cloud.client("iam").list_attached_role_policies(RoleName=second[0].ids[f"{function}Role"])
        assert [policy["PolicyArn"] for policy in attached["AttachedPolicies"]] == [second[0].ids["Network"]]


@pytest.mark.parametrize("values, expected", [
    ({"SubnetIds": "subnet-1"}, "SubnetIds needs the parameter SecurityGroupIds"),
    ({"SecurityGroupIds": "sg-1"}, "SecurityGroupIds needs the parameter SubnetIds"),
    ({"WebhookUrl": "https://example.com", "WebhookKey": "x", "WebhookSecret": SECRET}, "WebhookKey and WebhookSecret exclude"),
    ({"WebhookSecret": SECRET}, "WebhookSecret needs the parameter WebhookUrl"),
    ({"PagerDutyKey": "a" * 32, "PagerDutySecret": SECRET}, "PagerDutyKey and PagerDutySecret exclude"),
    ({"RolePath": "/platform/"}, "a path that ends with a slash"),
    ({"PermissionsBoundary": "arn:aws:iam::111122223333:policy/boundary"}, "the path and name of a policy"),
])
def test_values_that_exclude_each_other_are_refused_before_anything_is_made(cloud, hub_body, values, expected):
    with pytest.raises(ClientError, match=expected):
        deploy(cloud, "refused", hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID, **values)


def test_two_hubs_have_no_resource_in_common(cloud, second):
    for names, account, region in (
        ((HUB_STACK, SECOND), HUB, HUB_REGION), (("ecr-lineage-registry", f"{SECOND}-registry"), *SOURCE),
    ):
        one, other = (set(every_resource(cloud, name, account, region)) for name in names)
        assert len(one) >= len(other) > 10
        assert not one & other


def test_two_hubs_have_their_own_metrics_and_alarms(cloud, hub, second):
    alarms = cloud.client("cloudwatch").get_paginator("describe_alarms").paginate()
    by_id = {alarm["AlarmName"]: alarm for page in alarms for alarm in page["MetricAlarms"]}
    watched = {}
    for name, stack in ((HUB_STACK, hub), (SECOND, second[0])):
        for function in FUNCTIONS:
            found = cloud.client("lambda").get_function_configuration(FunctionName=stack.ids[function])
            variables = found["Environment"]["Variables"]
            assert variables["METRICS_NAMESPACE"] == name
            assert variables.get("TABLE_NAME", stack.outputs["TableName"]) == stack.outputs["TableName"]
        own = [by_id[key] for kind, key in every_resource(cloud, name, HUB, HUB_REGION) if kind == "AWS::CloudWatch::Alarm"]
        watched[name] = {
            (alarm["Namespace"], alarm["MetricName"], json.dumps(alarm.get("Dimensions", []))) for alarm in own
        }
        assert len(own) == len(watched[name]) > 10
        assert {alarm["Namespace"] for alarm in own} == {name, "AWS/Lambda", "AWS/SQS"}
        topics = {action for alarm in own for action in alarm["AlarmActions"] + alarm["InsufficientDataActions"]}
        assert topics == {stack.outputs["AlarmsTopic"]}
    assert not watched[HUB_STACK] & watched[SECOND]


def test_a_registry_sends_to_both_hubs_by_a_topic_each_and_only_a_proven_member_is_believed(cloud, hub, second):
    account, region = SOURCE
    arn = topic(account, region, f"{SECOND}-events")
    assert second[1].outputs["TopicArn"] == arn
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    heartbeat = {
        "version": "0", "id": "1", "detail-type": "ECR Lineage Heartbeat", "source": "ecr-lineage", "account": account,
        "time": now, "region": region, "resources": [], "detail": {},
    }
    cloud.client("sns", account, region).publish(TopicArn=arn, Message=json.dumps(heartbeat))

    def item(pk, sk):
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return cloud.client("dynamodb").get_item(TableName=second[0].outputs["TableName"], Key=key).get("Item")

    # ministack knows no organization of resources: the second hub receives the message, and cannot prove its sender.
    alert = eventually(lambda: item(f"alert#{now[:10]}", f"{now[:10]}/event_refused/{arn}"))
    assert "its account is not proven to be a member of the organization" in alert["message"]["S"]
    assert item("heartbeats", "/".join(SOURCE)) is None


def test_a_hub_of_an_organization_enters_and_confirms_only_its_members(cloud, second):
    # ministack knows no organization of resources, so these conditions never hold there.
    iam, ids = cloud.client("iam"), second[0].ids
    only_members = {"StringEquals": {"aws:ResourceOrgID": ORGANIZATION}}
    for function in FUNCTIONS:
        statements = iam.get_role_policy(RoleName=ids[f"{function}Role"], PolicyName="all")["PolicyDocument"]["Statement"]
        others = [statement for statement in statements if statement["Sid"] in ("registries", "membership")]
        conditions = {statement["Sid"]: statement.get("Condition") for statement in others}
        expected = {"Record": {"membership": only_members}, "Alert": {}}
        assert conditions == expected.get(function, {"registries": only_members}), function
    policy = cloud.client("sqs").get_queue_attributes(QueueUrl=ids["Events"], AttributeNames=["Policy"])["Attributes"]["Policy"]
    topics = json.loads(policy)["Statement"][0]["Condition"]
    assert topics["StringEqualsIfExists"] == {"aws:SourceOrgID": ORGANIZATION}
    assert topics["StringLike"] == {"aws:SourceArn": f"arn:aws:sns:*:*:{SECOND}-events"}


def test_a_hub_without_function_urls_has_neither_urls_nor_outputs(cloud, hub, second):
    for stack, has in ((hub, True), (second[0], False)):
        assert ({"ReadersUrl", "OperatorsUrl"} <= stack.outputs.keys()) is has
        assert ({"QueryUrl", "OperateUrl"} <= stack.ids.keys()) is has
