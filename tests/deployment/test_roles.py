"""The permissions of each role: every role tries every call.

Not tested: logs, for which ministack checks another ARN than AWS.
"""

import json

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from cloud import HUB, HUB_REGION
from command import run
from conftest import EXTERNAL_ID, FAR, NEAR, SOURCE
from images import ask
from topics import HUB_STACK, topic

ROLES = ["Record", "Watch", "Mirror", "Reconcile", "Alert", "Query", "Operate"]
KEY = {"pk": {"S": "tried"}, "sk": {"S": "tried"}}
# The error codes of a refusal, which differ between services.
REFUSED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AccessDeniedFault"}

REGISTRIES = {"Watch", "Mirror", "Reconcile", "Query", "Operate"}
WRITERS = {"Watch", "Mirror", "Reconcile"}

# The functions that are permitted to make each call.
MAY = {
    "read an item": WRITERS | {"Record"},
    "read a partition": REGISTRIES | {"Record"},
    "read items": REGISTRIES | {"Record"},
    "read an index": REGISTRIES,
    "write an item": WRITERS | {"Record", "Operate"},
    "change an item": WRITERS | {"Record", "Operate"},
    "delete an item": {"Watch", "Operate"},
    "scan the table": set(),
    "write a batch of items": WRITERS | {"Record"},
    "insert a batch of items": WRITERS | {"Record"},
    "delete the table": set(),
    "unprotect the table": set(),
    "receive events": {"Record"},
    "forge an event": set(),
    "throw events away": set(),
    "count dead letters": {"Watch"},
    "receive dead letters": set(),
    "keep a failed alert": {"Alert"},
    "publish an alert": {"Alert"},
    "confirm a subscription": {"Record"},
    "confirm a subscription to another topic": set(),
    "read a topic": set(),
    "publish to a topic": set(),
    "send a heartbeat": set(),
    "redirect events": set(),
    "enter a registry to read": REGISTRIES,
    "enter a registry to delete": {"Mirror"},
    "enter a registry by another role": set(),
    "delete an image of the hub's own account": set(),
    "change a function": set(),
    "start a function": set(),
    "grant oneself more": set(),
    "list buckets": set(),
    "look at the stack": set(),
    "look at another stack": set(),
}


@pytest.fixture(scope="module")
def calls(hub, registries):
    table, index = hub.outputs["TableName"], "registry-index"
    alerts, of_hub = hub.outputs["AlertsBusName"], topic(HUB, HUB_REGION)
    entry = {"Source": "ecr-lineage", "DetailType": "tried", "Detail": "{}"}

    def enter(account, role):
        arn = f"arn:aws:iam::{account}:role/{role}"
        return "sts", "assume_role", {"RoleArn": arn, "RoleSessionName": "tried", "ExternalId": EXTERNAL_ID}

    query = {"TableName": table, "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "tried"}}}
    insert = f"INSERT INTO \"{table}\" VALUE {{'pk': 'tried', 'sk': 'inserted'}}"
    of_index = query | {
        "IndexName": index, "KeyConditionExpression": "registry = :pk",
    }
    return {
        "read an item": ("dynamodb", "get_item", {"TableName": table, "Key": KEY}),
        "read a partition": ("dynamodb", "query", query),
        "read items": ("dynamodb", "batch_get_item", {"RequestItems": {table: {"Keys": [KEY]}}}),
        "read an index": ("dynamodb", "query", of_index),
        "write an item": ("dynamodb", "put_item", {"TableName": table, "Item": KEY}),
        "change an item": ("dynamodb", "update_item", {"TableName": table, "Key": KEY}),
        "delete an item": ("dynamodb", "delete_item", {"TableName": table, "Key": KEY}),
        "scan the table": ("dynamodb", "scan", {"TableName": table}),
        "write a batch of items": ("dynamodb", "batch_write_item", {"RequestItems": {table: [{"DeleteRequest": {"Key": KEY}}]}}),
        "insert a batch of items": ("dynamodb", "batch_execute_statement", {"Statements": [{"Statement": insert}]}),
        "delete the table": ("dynamodb", "delete_table", {"TableName": table}),
        "unprotect the table": ("dynamodb", "update_table", {"TableName": table, "DeletionProtectionEnabled": False}),
        "receive events": ("sqs", "receive_message", {"QueueUrl": hub.ids["Events"]}),
        "forge an event": ("sqs", "send_message", {"QueueUrl": hub.ids["Events"], "MessageBody": "forged"}),
        "throw events away": ("sqs", "purge_queue", {"QueueUrl": hub.ids["Events"]}),
        "count dead letters": ("sqs", "get_queue_attributes", {"QueueUrl": hub.ids["DeadLetters"], "AttributeNames": ["All"]}),
        "receive dead letters": ("sqs", "receive_message", {"QueueUrl": hub.ids["DeadLetters"]}),
        "keep a failed alert": ("sqs", "send_message", {"QueueUrl": hub.ids["FailedAlerts"], "MessageBody": "tried"}),
        "publish an alert": ("events", "put_events", {"Entries": [entry | {"EventBusName": alerts}]}),
        # A permitted call fails as well: there is no such topic in the hub's own account. ministack would also ask the
        # policy of a topic in another account, although only the token counts there.
        "confirm a subscription": ("sns", "confirm_subscription", {"TopicArn": of_hub, "Token": "tried"}),
        "confirm a subscription to another topic": ("sns", "confirm_subscription", {"TopicArn": of_hub + "-2", "Token": "tried"}),
        "read a topic": ("sns", "get_topic_attributes", {"TopicArn": of_hub}),
        "publish to a topic": ("sns", "publish", {"TopicArn": of_hub, "Message": "tried"}),
        "send a heartbeat": ("events", "put_events", {"Entries": [entry]}),
        "redirect events": ("events", "put_rule", {"Name": "tried", "EventPattern": json.dumps({"source": ["aws.ecr"]})}),
        "enter a registry to read": enter(SOURCE[0], "ecr-lineage-read"),
        "enter a registry to delete": enter(FAR[0], "ecr-lineage-delete"),
        "enter a registry by another role": enter(FAR[0], registries[FAR].ids["HeartbeatRole"]),
        "delete an image of the hub's own account": ("ecr", "batch_delete_image", {"repositoryName": "dev/app", "imageIds": [{"imageTag": "v1"}]}),
        "change a function": ("lambda", "update_function_code", {"FunctionName": hub.ids["Mirror"], "ZipFile": b"tried"}),
        "start a function": ("lambda", "invoke", {"FunctionName": hub.ids["Operate"], "Payload": b"{}"}),
        "grant oneself more": ("iam", "put_role_policy", {"RoleName": hub.ids["RecordRole"], "PolicyName": "more", "PolicyDocument": "{}"}),
        "list buckets": ("s3", "list_buckets", {}),
        "look at the stack": ("cloudformation", "describe_stacks", {"StackName": HUB_STACK}),
        "look at another stack": ("cloudformation", "describe_stacks", {"StackName": f"{HUB_STACK}-2"}),
    }


def as_role(cloud, hub, function):
    """Credentials of a function's role, whose trust policy is changed to trust this test."""
    iam, role = cloud.client("iam"), hub.ids[f"{function}Role"]
    return assumed(cloud, iam, role)


def assumed(cloud, iam, role, account=HUB):
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    given = cloud.client("sts", account).assume_role(RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="tried")["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def is_refused(cloud, credentials, service, operation, parameters, region=HUB_REGION):
    try:
        getattr(cloud.client(service, region=region, **credentials), operation)(**parameters)
        return False
    except ClientError as error:
        return error.response["Error"]["Code"] in REFUSED


@pytest.mark.parametrize("role", ROLES)
def test_a_function_has_exactly_the_permissions_it_needs(cloud, hub, calls, role):
    credentials = as_role(cloud, hub, role)
    may = {what for what, call in calls.items() if not is_refused(cloud, credentials, *call)}
    assert may == {what for what, who in MAY.items() if role in who}


@pytest.mark.parametrize("role, account, who, external_id, may", [
    ("ecr-lineage-read", SOURCE[0], "Watch", EXTERNAL_ID, True),
    ("ecr-lineage-read", SOURCE[0], "Watch", "guessed", False),
    ("ecr-lineage-read", SOURCE[0], "Record", EXTERNAL_ID, False),
    ("ecr-lineage-delete", FAR[0], "Mirror", EXTERNAL_ID, True),
    ("ecr-lineage-delete", FAR[0], "Mirror", "guessed", False),
    ("ecr-lineage-delete", FAR[0], "Operate", EXTERNAL_ID, False),
    ("ecr-lineage-delete", SOURCE[0], "Mirror", EXTERNAL_ID, False),
])
def test_the_role_of_a_registry_trusts_only_the_functions_that_need_it(
    cloud, hub, registries, role, account, who, external_id, may
):
    # The function's role may try to assume any role; the trust policy in the other account decides.
    iam, name = cloud.client("iam"), hub.ids[f"{who}Role"]
    credentials = as_role(cloud, hub, who)
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    iam.put_role_policy(RoleName=name, PolicyName="any", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    try:
        asked = {"RoleArn": f"arn:aws:iam::{account}:role/{role}", "RoleSessionName": "tried", "ExternalId": external_id}
        assert is_refused(cloud, credentials, "sts", "assume_role", asked) is not may
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="any")


def test_a_stranger_of_the_hubs_account_does_not_enter_registries(cloud, hub, registries):
    iam = cloud.client("iam")
    iam.create_role(RoleName="stranger", AssumeRolePolicyDocument="{}")
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    iam.put_role_policy(RoleName="stranger", PolicyName="any", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    credentials = assumed(cloud, iam, "stranger")
    for account, role in ((SOURCE[0], "ecr-lineage-read"), (FAR[0], "ecr-lineage-delete")):
        asked = {"RoleArn": f"arn:aws:iam::{account}:role/{role}", "RoleSessionName": "tried", "ExternalId": EXTERNAL_ID}
        assert is_refused(cloud, credentials, "sts", "assume_role", asked)


def test_without_a_region_for_roles_a_registry_has_no_role_for_the_hub(registries):
    for registry, stack in registries.items():
        has = (registry != NEAR, registry == FAR)
        assert ("ReadRole" in stack.ids, "DeleteRole" in stack.ids) == has, registry


def test_the_schedule_of_a_registry_may_send_heartbeats_and_nothing_else(cloud, registries):
    account, region = FAR
    iam, role = cloud.client("iam", account), registries[FAR].ids["HeartbeatRole"]
    [service] = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert service["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert service["Condition"] == {"StringEquals": {"aws:SourceAccount": account}}
    credentials = assumed(cloud, iam, role, account)

    def may(operation, parameters, service="events"):
        return not is_refused(cloud, credentials, service, operation, parameters, region)

    entry = {"Source": "ecr-lineage", "DetailType": "tried", "Detail": "{}"}
    put = ("put_events", {"Entries": [entry]})
    policy = iam.get_role_policy(RoleName=role, PolicyName="all")["PolicyDocument"]
    assert policy["Statement"][0].pop("Condition") == {"StringEquals": {"events:source": "ecr-lineage"}}
    # ministack does not know the source of an event, so the condition never holds.
    assert not may(*put)
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(policy))
    assert may(*put)
    assert not may("put_events", {"Entries": [entry | {"EventBusName": "other"}]})
    assert not may("put_rule", {"Name": "tried", "EventPattern": json.dumps({"source": ["aws.ecr"]})})
    assert not may("publish", {"TopicArn": topic(*FAR), "Message": "tried"}, "sns")
    assert not may("batch_delete_image", {"repositoryName": "dev/app", "imageIds": [{"imageTag": "v1"}]}, "ecr")


def test_queues_refuse_messages_without_tls(cloud, hub):
    plain = cloud.client("sqs", tls=False)
    with pytest.raises(ClientError, match="AccessDenied"):
        plain.send_message(QueueUrl=hub.ids["Events"], MessageBody="forged")


# Readers and operators


@pytest.fixture(scope="module")
def people(cloud, hub):
    """A reader, an operator, and a user with neither policy."""
    iam, people = cloud.client("iam"), {}
    for name, policies in {"reader": ["Readers"], "operator": ["Readers", "Operators"], "unprivileged": []}.items():
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        for policy in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=hub.outputs[f"{policy}Policy"])
        people[name] = assumed(cloud, iam, name)
    return people


RESET = json.dumps({"source": "111122223333/eu-west-1", "version": 0}).encode()


@pytest.mark.parametrize("who, where, status", [
    ("unprivileged", "ReadersUrl", 403), ("unprivileged", "OperatorsUrl", 403),
    ("reader", "ReadersUrl", 200), ("reader", "OperatorsUrl", 403),
    ("operator", "ReadersUrl", 200), ("operator", "OperatorsUrl", 200),
])
def test_each_url_answers_only_permitted_callers(cloud, hub, people, who, where, status):
    given = people[who]
    credentials = Credentials(given["aws_access_key_id"], given["aws_secret_access_key"], given["aws_session_token"])
    answered, answer = ask(cloud, hub.outputs[where], "v1/overview", credentials)
    assert answered == status, answer
    if status == 200:
        # ministack checks the caller, but does not pass it to the function: tests/runtime_contract tests that.
        assert "caller" not in answer and not answer["may_change"]


@pytest.mark.parametrize("where, why", [
    ("ReadersUrl", "this endpoint is read-only"), ("OperatorsUrl", "caller is not authenticated"),
])
def test_without_a_caller_authenticated_by_iam_nothing_is_changed(cloud, hub, people, where, why):
    given = people["operator"]
    credentials = Credentials(given["aws_access_key_id"], given["aws_secret_access_key"], given["aws_session_token"])
    answered, answer = ask(cloud, hub.outputs[where], "v1/breakers/reset", credentials, "POST", RESET)
    assert (answered, answer["detail"]) == (403, why)


@pytest.mark.parametrize("who, what, may", [
    ("reader", "read a partition", True), ("reader", "read an index", True), ("reader", "count dead letters", True),
    ("reader", "look at the stack", True), ("reader", "look at another stack", False), ("reader", "publish to a topic", False),
    ("reader", "write an item", False), ("reader", "delete an item", False), ("reader", "start a function", False),
    ("operator", "write an item", True), ("operator", "change an item", True), ("operator", "delete an item", True), ("operator", "scan the table", False),
    ("operator", "delete the table", False), ("operator", "start a function", False), ("operator", "publish an alert", False),
    ("unprivileged", "read a partition", False), ("unprivileged", "look at the stack", False),
])
def test_people_have_the_same_permissions_on_the_command_line_and_the_page(cloud, people, calls, who, what, may):
    assert is_refused(cloud, people[who], *calls[what]) is not may


def test_a_reader_may_run_doctor(cloud, registries, people):
    printed = run(cloud, "--format", "json", "doctor", code=None, **people["reader"])
    found = [finding for finding in json.loads(printed)["findings"] if finding["place"] == "hub"]
    assert {finding["level"] for finding in found} & {"good", "notice"}
    assert not [finding for finding in found if finding["level"] == "unknown"], found
