"""A hub uses a table that exists, in the ways of docs/deploy.md: it names one that was restored, or its stack imports one."""

import json

import pytest
import yaml
from botocore.exceptions import ClientError

from cloud import HUB, HUB_REGION
from command import run
from conftest import OF_RELEASE, EXTERNAL_ID
from stacks import INFRA, deploy, update
from test_roles import as_role

STACK = "taken-over"
ITEM = {"pk": {"S": "registries"}, "sk": {"S": "111122223333/eu-west-1"}}


def of_template():
    """What a table that DynamoDB restored has of the template's: neither stream, nor backups, nor protection."""
    properties = yaml.safe_load((INFRA / "hub.yaml").read_text())["Resources"]["Table"]["Properties"]
    return {name: properties[name] for name in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")}


def findings(cloud, stack):
    """What doctor says of the table and its stream, each with its level and fix."""
    printed = json.loads(run(cloud, "--format", "json", "doctor", "--stack", stack, code=None))["findings"]
    return {each["what"]: (each["level"], each.get("fix", "")) for each in printed if "table" in each["what"] and each["place"] == "hub"}


@pytest.fixture(scope="module")
def restored(cloud, hub_body):
    """A hub that uses a table which was restored, and the table that its stack made before."""
    dynamodb, name = cloud.client("dynamodb"), "restored-hub"
    made = deploy(cloud, name, hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID)
    dynamodb.put_item(TableName=made.outputs["TableName"], Item=ITEM)
    dynamodb.create_table(TableName="restored", **of_template())
    dynamodb.put_item(TableName="restored", Item=ITEM)
    stream = dynamodb.update_table(
        TableName="restored", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]["LatestStreamArn"]
    given = {"ExistingTableName": "restored", "ExistingTableStreamArn": stream}
    return made, update(cloud, name, hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID, **given), given


def test_a_hub_uses_a_restored_table_and_keeps_the_one_it_made(cloud, restored):
    dynamodb, (before, after, given) = cloud.client("dynamodb"), restored
    old = before.outputs["TableName"]
    assert after.outputs["TableName"] == "restored" and "Table" not in after.ids
    assert dynamodb.get_item(TableName=old, Key=ITEM)["Item"] == ITEM, "the stack keeps the table that it made"
    lambdas = cloud.client("lambda")
    for function in ("Record", "Watch", "Mirror", "Reconcile", "Query", "Operate"):
        found = lambdas.get_function_configuration(FunctionName=after.ids[function])
        assert found["Environment"]["Variables"]["TABLE_NAME"] == "restored", function
    [mapping] = lambdas.list_event_source_mappings(FunctionName=after.ids["Alert"])["EventSourceMappings"]
    assert mapping["EventSourceArn"] == given["ExistingTableStreamArn"]


def test_the_functions_may_use_the_restored_table_and_no_longer_the_old_one(cloud, restored):
    before, after, _ = restored
    dynamodb = cloud.client("dynamodb", **as_role(cloud, after, "Watch"))
    assert dynamodb.get_item(TableName="restored", Key=ITEM)["Item"] == ITEM
    assert dynamodb.query(
        TableName="restored", IndexName="due-index", KeyConditionExpression="queue = :queue",
        ExpressionAttributeValues={":queue": {"S": "watch#0"}},
    )["Count"] == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        dynamodb.get_item(TableName=before.outputs["TableName"], Key=ITEM)


def test_doctor_checks_the_table_and_which_stream_the_alerts_come_from(cloud, restored):
    _, after, _ = restored
    found = findings(cloud, "restored-hub")
    assert found["the table cannot be restored to a point in time"][0] == "notice"
    assert found["the table is not protected from being deleted"][0] == "notice"
    assert "the queue invokes record, and the table's stream invokes alert" in found
    dynamodb = cloud.client("dynamodb")
    dynamodb.update_table(TableName="restored", StreamSpecification={"StreamEnabled": False})
    try:
        level, fix = findings(cloud, "restored-hub")["the table has no stream with new images: no alert is published"]
        assert level == "wrong" and "--stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE" in fix
    finally:
        again = dynamodb.update_table(
            TableName="restored", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )["TableDescription"]["LatestStreamArn"]
    # DynamoDB gives the new stream another ARN, and the mapping reads the old one.
    said = findings(cloud, "restored-hub")
    [(level, fix)] = [value for what, value in said.items() if what.startswith("no event source mapping leads from the table's stream")]
    assert (level, fix) == ("wrong", f"deploy the hub with ExistingTableStreamArn={again}")


def test_both_parameters_of_an_existing_table_are_needed(cloud, hub_body):
    for given, expected in (
        ({"ExistingTableName": "restored"}, "ExistingTableName needs the parameter ExistingTableStreamArn"),
        ({"ExistingTableStreamArn": f"arn:aws:dynamodb:{HUB_REGION}:{HUB}:table/restored/stream/2026-12-01T00:00:00.000"},
         "ExistingTableStreamArn needs the parameter ExistingTableName"),
    ):
        with pytest.raises(ClientError, match=expected):
            deploy(cloud, "refused", hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID, **given)


def test_a_new_hub_takes_over_the_table_of_an_old_one(cloud, hub_body):
    dynamodb, stacks = cloud.client("dynamodb"), cloud.client("cloudformation")
    table = yaml.safe_load((INFRA / "hub.yaml").read_text())["Resources"]["Table"]
    del table["Condition"]
    stream = table["Properties"]["StreamSpecification"] | {"StreamEnabled": True}
    dynamodb.create_table(TableName="left-over", **of_template(), StreamSpecification=stream, DeletionProtectionEnabled=True)
    dynamodb.put_item(TableName="left-over", Item=ITEM)

    # Nothing but what is imported may be in the first template.
    stacks.create_change_set(
        StackName=STACK, ChangeSetName="table", ChangeSetType="IMPORT",
        TemplateBody=json.dumps({"Resources": {"Table": table}}),
        ResourcesToImport=[{
            "ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": "Table",
            "ResourceIdentifier": {"TableName": "left-over"},
        }],
    )
    stacks.get_waiter("change_set_create_complete").wait(StackName=STACK, ChangeSetName="table", WaiterConfig={"Delay": 1})
    stacks.execute_change_set(StackName=STACK, ChangeSetName="table")
    stacks.get_waiter("stack_import_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})

    hub = update(cloud, STACK, hub_body, HUB, HUB_REGION, **OF_RELEASE, ExternalId=EXTERNAL_ID)
    assert hub.outputs["TableName"] == hub.ids["Table"] == "left-over"
    assert dynamodb.get_item(TableName="left-over", Key=ITEM)["Item"] == ITEM
    variables = cloud.client("lambda").get_function_configuration(FunctionName=hub.ids["Record"])["Environment"]["Variables"]
    assert variables["TABLE_NAME"] == "left-over"
