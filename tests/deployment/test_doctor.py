"""`ecr-lineage doctor` and `ecr-lineage deploy plan` against the deployed stacks."""

import json

import pytest

from cloud import HUB, HUB_REGION, eventually
from command import run
from conftest import FAR, NEAR, SOURCE
from images import Image
from topics import beat, rule, topic


# The permissions that an operator needs in a registry's account for `doctor`.
LOOK = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Resource": "*", "Action": [
        "events:ListRuleNamesByTarget", "events:DescribeRule", "events:ListTargetsByRule", "events:TestEventPattern",
        "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:GetSubscriptionAttributes",
        "sqs:GetQueueUrl", "sqs:GetQueueAttributes",
        "cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors",
        "ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:GetRegistryPolicy",
        "ecr:GetAccountSetting", "ecr:DescribeRepositoryCreationTemplates", "ecr:ListPullTimeUpdateExclusions",
    ],
}]}
ROLE = ("--role", "platform")


@pytest.fixture(scope="module")
def known(cloud, hub, registries):
    """Registries that the hub knows, in accounts with a role for operators, and trails."""
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}, "Action": "sts:AssumeRole"},
    ]}
    for account in {account for account, _ in registries}:
        iam = cloud.client("iam", account)
        iam.create_role(RoleName="platform", AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName="platform", PolicyName="look", PolicyDocument=json.dumps(LOOK))
    for account, region in registries:
        trails, bucket = cloud.client("cloudtrail", account, region), f"trail-{account}-{region}"
        cloud.client("s3", account, region).create_bucket(Bucket=bucket, **({} if region == "us-east-1" else {
            "CreateBucketConfiguration": {"LocationConstraint": region},
        }))
        trails.create_trail(Name="all", S3BucketName=bucket)
        trails.start_logging(Name="all")
    image = Image(cloud, hub, "dev/seen")
    image.push("v1")
    image.arrives(SOURCE, NEAR, FAR)
    for registry, stack in registries.items():
        beat(cloud, stack, *registry)
    lambdas = cloud.client("lambda")
    for function in ("Watch", "Mirror", "Reconcile"):
        answer = lambdas.invoke(FunctionName=hub.ids[function], Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()


# The tests set this variable, because ministack does not sign messages (stacks.py).
UNSIGNED = ("hub", "SNS_SIGNATURES of record is ignore, and the stack says verify: it was changed by hand, and messages are "
            "believed that SNS did not sign")


def wrong(cloud, *arguments):
    """Findings of level wrong or unknown, by place, except those that other tests cause, and the one above."""
    printed = run(cloud, "--format", "json", "doctor", *arguments, code=None)
    found = [each for each in json.loads(printed)["findings"] if each["level"] in ("wrong", "unknown")]
    what = {(each["place"], each["what"]) for each in found if "deletions of this registry's replicas" not in each["what"]}
    assert UNSIGNED in what
    return what - {UNSIGNED}


def test_a_complete_deployment_has_no_other_findings(cloud, known):
    # CloudWatch reports an invocation a while after its end.
    def is_healthy():
        return not wrong(cloud, *ROLE)

    eventually(is_healthy)
    said = run(cloud, "doctor", *ROLE, code=None)
    for line in ("stack ecr-lineage is CREATE_COMPLETE, in mode enforce", "this machine's clock agrees with AWS",
                 "no dead-letter events", "no alerts that a channel did not accept", "also that of a scanner",
                 "the queue invokes record, and the table's stream invokes alert",
                 "schedules invoke watch, mirror, reconcile",
                 "mirror runs with ",
                 "the queue accepts events of topics that are named ecr-lineage-events, from every registry",
                 "the last heartbeat was sent at", "its last event happened at", "the topic sends to the hub's queue",
                 "a CloudTrail trail logs who deletes images, and runs of lifecycle policies",
                 "EventBridge publishes image events, replication events, deletions by API calls, deletions by lifecycle policies, "
                 "pushes by API calls, changes of policies, refused copies, changes of replication rules, heartbeats",
                 "replicated repositories in 444455556666/ap-northeast-1 have no lifecycle policy"):
        assert line in said, f"{line}: {said}"


def test_a_registry_of_another_account_is_not_mistaken_for_ones_own(cloud, known):
    found = wrong(cloud)
    for registry in (SOURCE, NEAR, FAR):
        assert ("/".join(registry), f"not checked: these credentials belong to account {HUB}") in found
    assert len(found) == 3


NO_EVENT = "no event of this registry reaches the hub"


def test_doctor_finds_each_broken_part_of_a_registry_with_its_fix(cloud, hub, registries, known):
    events, found = cloud.client("events", *NEAR), rule(cloud, *NEAR)
    # Enabled, but not for events that CloudTrail marks as read-only.
    events.put_rule(Name=found["Name"], EventPattern=found["EventPattern"], State="ENABLED")
    near, subscription = cloud.client("sns", *NEAR), subscribed(cloud, *NEAR)
    redrive = near.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["RedrivePolicy"]
    near.unsubscribe(SubscriptionArn=subscription)

    source, raw, writes = cloud.client("sns", *SOURCE), subscribed(cloud, *SOURCE), cloud.client("cloudtrail", *SOURCE)
    source.set_subscription_attributes(SubscriptionArn=raw, AttributeName="RawMessageDelivery", AttributeValue="true")
    source.set_topic_attributes(TopicArn=topic(*SOURCE), AttributeName="SignatureVersion", AttributeValue="1")
    writes.put_event_selectors(TrailName="all", EventSelectors=[{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True}])

    far, trails, queues = cloud.client("sns", *FAR), cloud.client("cloudtrail", *FAR), cloud.client("sqs", *FAR)
    policy = far.get_topic_attributes(TopicArn=topic(*FAR))["Attributes"]["Policy"]
    far.set_topic_attributes(TopicArn=topic(*FAR), AttributeName="Policy", AttributeValue=policy.replace("events.amazonaws.com", "s3.amazonaws.com"))
    trails.stop_logging(Name="all")
    unpublished = registries[FAR].ids["Unpublished"]
    queues.send_message(QueueUrl=unpublished, MessageBody="{}")
    cloud.client("dynamodb").update_item(
        TableName=hub.outputs["TableName"], Key={"pk": {"S": "heartbeats"}, "sk": {"S": "/".join(FAR)}},
        UpdateExpression="SET heartbeat_at = :at", ExpressionAttributeValues={":at": {"S": "2026-11-01T09:00:00Z"}},
    )
    try:
        what = wrong(cloud, *ROLE, "777788889999/eu-west-1")
        # The message comes from the SDK, with a request ID.
        [refused] = [each for each in what if each[1].startswith("not checked: NoCredentials: ")]
        assert refused[0] == "777788889999/eu-west-1"
        [late] = [each for each in what if each[1].startswith("the last heartbeat was sent at 2026-11-01 09:00")]
        assert late[0] == "/".join(FAR) and "events are missing since then, too; its last event happened at" in late[1]
        assert what - {refused, late} == {
            ("hub", "the queue's policy does not let 777788889999 send events"),
            ("/".join(NEAR), f"the rule {found['Name']} is not enabled for read-only management events: deletions by "
             "lifecycle policies count as deletions by an unknown cause"),
            ("/".join(NEAR), f"the hub's queue is not subscribed to the topic: {NO_EVENT}"),
            ("/".join(SOURCE), "the subscription delivers without SNS's fields and signature: the hub refuses its messages"),
            ("/".join(SOURCE), "the topic signs with version 1: the hub refuses its messages"),
            ("/".join(SOURCE), "the CloudTrail trail does not log read-only management events: deletions by lifecycle "
             "policies count as deletions by an unknown cause"),
            ("/".join(FAR), "events arrive, and heartbeats do not: the schedule that sends heartbeats is disabled or gone, "
             "or its role was changed"),
            ("/".join(FAR), f"the topic's policy does not let the rule publish: {NO_EVENT}"),
            ("/".join(FAR), f"1 events that EventBridge could not publish wait in the queue {unpublished.rsplit('/')[-1]}, "
             "and are lost after 14 days"),
            ("/".join(FAR), "no CloudTrail trail logs in this region: the principal who deletes an image stays unknown"),
            ("777788889999/eu-west-1", "the hub has never read this registry's replication rules"),
        }
        said = run(cloud, "doctor", *ROLE, "777788889999/eu-west-1", code=1)
        for fix in ("add the accounts to the stack's parameter AccountIds", "--state ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
                    f"aws sns subscribe --region {NEAR[1]} --topic-arn {topic(*NEAR)}", "--attribute-name RawMessageDelivery",
                    "--attribute-name SignatureVersion --attribute-value 2",
                    "aws cloudtrail put-event-selectors", f"HubQueueArn={hub.outputs['QueueArn']} RolesRegion=eu-west-1",
                    "no heartbeat arrived yet"):
            assert fix in said, f"{fix}: {said}"
    finally:
        events.put_rule(Name=found["Name"], EventPattern=found["EventPattern"], State=found["State"])
        near.subscribe(TopicArn=topic(*NEAR), Protocol="sqs", Endpoint=hub.outputs["QueueArn"], Attributes={"RedrivePolicy": redrive})
        source.set_subscription_attributes(SubscriptionArn=raw, AttributeName="RawMessageDelivery", AttributeValue="false")
        source.set_topic_attributes(TopicArn=topic(*SOURCE), AttributeName="SignatureVersion", AttributeValue="2")
        writes.put_event_selectors(TrailName="all", EventSelectors=[{"ReadWriteType": "All", "IncludeManagementEvents": True}])
        far.set_topic_attributes(TopicArn=topic(*FAR), AttributeName="Policy", AttributeValue=policy)
        trails.start_logging(Name="all")
        queues.purge_queue(QueueUrl=unpublished)
        beat(cloud, registries[FAR], *FAR)
    eventually(lambda: not wrong(cloud, *ROLE))


def subscribed(cloud, account, region):
    """The ARN of the one subscription to a registry's topic."""
    topics = cloud.client("sns", account, region)
    [found] = topics.list_subscriptions_by_topic(TopicArn=topic(account, region))["Subscriptions"]
    return found["SubscriptionArn"]


# A ZIP file without entries.
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


def test_doctor_finds_each_broken_part_of_the_hub_with_its_fix(cloud, hub, known):
    events, lambdas, queues = cloud.client("events"), cloud.client("lambda"), cloud.client("sqs")
    mirror, url, dead = hub.ids["Mirror"], hub.ids["Events"], hub.ids["DeadLetters"]
    arn = lambdas.get_function_configuration(FunctionName=hub.ids["Watch"])["FunctionArn"]
    [schedule] = events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]
    [mapping] = lambdas.list_event_source_mappings(FunctionName=hub.ids["Record"])["EventSourceMappings"]
    variables = lambdas.get_function_configuration(FunctionName=mirror)["Environment"]["Variables"]
    policy = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]

    events.disable_rule(Name=schedule)
    lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    [layer] = lambdas.get_function_configuration(FunctionName=mirror)["Layers"]
    other = lambdas.publish_layer_version(LayerName="other", Content={"ZipFile": EMPTY_ZIP})["LayerVersionArn"]
    by_hand = variables | {"MODE": "observe", "BREAKER_IMAGES": "7"}
    lambdas.update_function_configuration(FunctionName=mirror, Environment={"Variables": by_hand}, Layers=[other])
    queues.send_message(QueueUrl=hub.outputs["UndeliveredAlertsUrl"], MessageBody="{}")
    queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy.replace("sns.amazonaws.com", "s3.amazonaws.com")})
    queues.send_message(QueueUrl=dead, MessageBody="poison")
    try:
        assert wrong(cloud, *ROLE) == {
            ("hub", f"1 dead-letter events in {hub.outputs['DeadLettersUrl']}"),
            ("hub", f"1 alerts that a channel did not accept in {hub.outputs['UndeliveredAlertsUrl']}"),
            ("hub", f"the layer of mirror is {other}, and the stack says {layer['Arn']}: it was changed by hand, and "
             "another policy text decides about replicas"),
            ("hub", "MODE of mirror is observe, and the stack says enforce: it was changed by hand, and no replica is deleted"),
            ("hub", "BREAKER_IMAGES of mirror is 7, and the stack says 100: it was changed by hand"),
            ("hub", "the event source mapping from the queue to record is disabled: no event is recorded, and after four "
             "days in the queue events are lost"),
            ("hub", "the schedule of watch is disabled: no replica is checked, and no alert is opened"),
            ("hub", "the queue's policy does not let the topics of registries send: every event is lost in the queues "
             "Undelivered of their stacks"),
        }
        said = run(cloud, "doctor", *ROLE, code=1)
        for fix in (f"aws events enable-rule --region {HUB_REGION} --name {schedule}",
                    f"aws lambda update-event-source-mapping --region {HUB_REGION} --uuid {mapping['UUID']} --enabled",
                    "jq '.Variables.MODE = \"enforce\"'", "--deployment-mode REVERT_DRIFT",
                    f"--source-arn {hub.outputs['DeadLettersArn']} --destination-arn {hub.outputs['QueueArn']}"):
            assert fix in said, f"{fix}: {said}"
    finally:
        events.enable_rule(Name=schedule)
        lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
        lambdas.update_function_configuration(FunctionName=mirror, Environment={"Variables": variables}, Layers=[layer["Arn"]])
        queues.purge_queue(QueueUrl=hub.outputs["UndeliveredAlertsUrl"])
        queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        queues.purge_queue(QueueUrl=dead)
    eventually(lambda: not wrong(cloud, *ROLE))


def test_another_stack_is_not_taken_for_a_hub(cloud, hub):
    assert "stack `nowhere` does not exist in this account and region" in run(cloud, "doctor", "--stack", "nowhere", code=1)


def test_a_plan_names_every_stack_with_its_parameters(cloud, known):
    plan = json.loads(run(cloud, "--format", "json", "deploy", "plan", "--hub", f"{HUB}/{HUB_REGION}", "/".join(SOURCE), *ROLE))
    assert plan["hub"]["parameters"]["AccountIds"] == f"{SOURCE[0]},{FAR[0]}"
    stacks = {(stack["account"], stack["region"]): stack["parameters"] for stack in plan["registries"]}
    assert set(stacks) == {SOURCE, NEAR, FAR}
    # The first region of each account has its roles.
    assert [place for place, parameters in stacks.items() if parameters["RolesRegion"] == place[1]] == [SOURCE, FAR]
    assert {parameters["HubQueueArn"] for parameters in stacks.values()} == {"QUEUE_ARN"}
    assert plan["copies"]["/".join(SOURCE)] == ["/".join(NEAR), "/".join(FAR)]


def test_a_plan_says_what_it_could_not_read(cloud, known):
    said = run(cloud, "deploy", "plan", "--hub", f"{HUB}/{HUB_REGION}", "--organization", "o-a1b2c3d4e5", "/".join(SOURCE), account=SOURCE[0], code=1)
    assert "? 444455556666/ap-northeast-1 could not be read" in said
    assert "OrganizationId=o-a1b2c3d4e5" in said and "AccountIds" not in said


def test_doctor_finds_native_deletion_replication(cloud, known):
    ecr = cloud.registry(*SOURCE)
    rules = ecr.describe_registry()["replicationConfiguration"]["rules"]
    # This version of the client does not know the field.
    natively = {"rules": [rule | {"deleteReplication": {"enabled": True}} for rule in rules]}
    body = json.dumps({"replicationConfiguration": natively}).encode()
    event = "before-call.ecr.PutReplicationConfiguration"

    def switch_on(params, **_):
        params["body"] = body

    ecr.meta.events.register(event, switch_on)
    ecr.put_replication_configuration(replicationConfiguration={"rules": rules})
    ecr.meta.events.unregister(event, switch_on)
    try:
        said = run(cloud, "doctor", *ROLE, code=None)
        assert f"native deletion replication is enabled (rule 1): ECR deletes replicas in {'/'.join(NEAR)}, {'/'.join(FAR)} at once" in said
    finally:
        ecr.put_replication_configuration(replicationConfiguration={"rules": rules})
    assert "native deletion replication is enabled" not in run(cloud, "doctor", *ROLE, code=None)


def test_a_registry_without_a_stack_is_no_finding(cloud, hub, known):
    """Another company's account, which a rule names: not admitted; or forgotten by an operator."""
    table, customer = hub.outputs["TableName"], "777788889999/eu-west-1"
    key = {"pk": {"S": "heartbeats"}, "sk": {"S": customer}}
    items = cloud.client("dynamodb")
    items.put_item(TableName=table, Item=key | {"expected_since": {"S": "2026-11-01T09:00:00Z"}})
    try:
        assert not wrong(cloud, *ROLE)
        assert "the hub does not admit its account: not checked" in run(cloud, "doctor", *ROLE, code=None)
        run(cloud, "--table", table, "registry", "forget", customer, "--reason", "not ours")
        assert not wrong(cloud, *ROLE)
        said = run(cloud, "doctor", *ROLE, code=None)
        assert f"forgotten by arn:aws:iam::{HUB}:root at" in said and ": not ours; not checked" in said
    finally:
        items.delete_item(TableName=table, Key=key)
