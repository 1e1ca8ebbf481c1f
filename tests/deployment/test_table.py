"""The table that an older hub left is taken over, in the two steps of docs/deploy.md."""

import json

import yaml

from cloud import HUB, HUB_REGION
from conftest import OF_RELEASE, EXTERNAL_ID
from stacks import INFRA, update

STACK = "taken-over"


def test_a_new_hub_takes_over_the_table_of_an_old_one(cloud, hub_body):
    dynamodb, stacks = cloud.client("dynamodb"), cloud.client("cloudformation")
    table = yaml.safe_load((INFRA / "hub.yaml").read_text())["Resources"]["Table"]
    properties = table["Properties"]
    made = {name: properties[name] for name in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")}
    stream = properties["StreamSpecification"] | {"StreamEnabled": True}
    dynamodb.create_table(TableName="left-over", **made, StreamSpecification=stream, DeletionProtectionEnabled=True)
    item = {"pk": {"S": "registries"}, "sk": {"S": "111122223333/eu-west-1"}}
    dynamodb.put_item(TableName="left-over", Item=item)

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
    assert dynamodb.get_item(TableName="left-over", Key=item)["Item"] == item
    variables = cloud.client("lambda").get_function_configuration(FunctionName=hub.ids["Record"])["Environment"]["Variables"]
    assert variables["TABLE_NAME"] == "left-over"
