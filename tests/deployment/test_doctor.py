"""`ecr-lineage doctor` and `ecr-lineage deploy plan` against the deployed stacks."""

import json
import pytest

from cloud import HUB, HUB_REGION, eventually
from command import run
from conftest import FAR, NEAR, SOURCE
from images import Image


# The permissions that an operator needs in a registry's account for `doctor`.
LOOK = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Resource": "*", "Action": [
        "events:ListRuleNamesByTarget", "events:DescribeRule", "events:ListTargetsByRule", "events:TestEventPattern",
        "cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus",
        "ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy",
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
    lambdas = cloud.client("lambda")
    for function in ("Watch", "Mirror", "Reconcile"):
        answer = lambdas.invoke(FunctionName=hub.ids[function], Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()


def wrong(cloud, *arguments):
    """Findings of level wrong or unknown, by place, except those that other tests cause."""
    printed = run(cloud, "--format", "json", "doctor", *arguments, code=None)
    found = [each for each in json.loads(printed)["findings"] if each["level"] in ("wrong", "unknown")]
    return {(each["place"], each["what"]) for each in found if "deletions of this registry's replicas" not in each["what"]}


def test_a_complete_deployment_has_no_findings(cloud, known):
    # CloudWatch reports an invocation a while after its end.
    def is_healthy():
        return not wrong(cloud, *ROLE)

    eventually(is_healthy)
    said = run(cloud, "doctor", *ROLE, code=None)
    for line in ("stack ecr-lineage is CREATE_COMPLETE, in mode enforce", "this machine's clock agrees with AWS", "events can be replayed",
                 "no dead-letter events", f"the bus accepts events from {SOURCE[0]}, {FAR[0]}", "a CloudTrail trail logs who deletes images",
                 "EventBridge sends to the hub: image events, deletions by API calls, deletions by lifecycle policies",
                 "replicated repositories in 444455556666/ap-northeast-1 have no lifecycle policy"):
        assert line in said, f"{line}: {said}"


def test_a_registry_of_another_account_is_not_mistaken_for_ones_own(cloud, known):
    found = wrong(cloud)
    for registry in (SOURCE, NEAR, FAR):
        assert ("/".join(registry), f"not checked: these credentials belong to account {HUB}") in found
    assert len(found) == 3


def test_doctor_finds_each_broken_part_with_its_fix(cloud, hub, registries, known):
    events, trails = cloud.client("events", *NEAR), cloud.client("cloudtrail", *FAR)
    who = registries[NEAR].ids["CloudTrailRule"].rpartition("|")[2]
    dead, bus = hub.ids["DeadLetters"], cloud.client("events")
    queues = cloud.client("sqs")
    # Enabled, but not for events that CloudTrail marks as read-only.
    events.put_rule(Name=who, EventPattern=events.describe_rule(Name=who)["EventPattern"], State="ENABLED")
    trails.stop_logging(Name="all")
    queues.send_message(QueueUrl=dead, MessageBody="poison")
    bus.remove_permission(EventBusName=hub.ids["Bus"], StatementId=f"account{FAR[0]}")
    try:
        found = wrong(cloud, *ROLE, "777788889999/eu-west-1")
        # The message comes from the SDK, with a request ID.
        [refused] = [each for each in found if each[1].startswith("not checked: NoCredentials: ")]
        assert refused[0] == "777788889999/eu-west-1"
        assert found - {refused} == {
            ("hub", f"1 dead-letter events in {hub.outputs['DeadLettersUrl']}"),
            ("hub", f"the bus policy does not let {FAR[0]}, 777788889999 send events"),
            ("/".join(NEAR), "no EventBridge rule sends to the hub: deletions by lifecycle policies"),
            ("/".join(FAR), "no CloudTrail trail logs in this region: the principal who deletes an image stays unknown"),
            ("777788889999/eu-west-1", "the hub has never read this registry's replication rules"),
        }
        said = run(cloud, "doctor", *ROLE, code=1)
        assert "add the accounts to the stack's parameter AccountIds" in said
        assert f"--stack-name ecr-lineage-registry --template-file infra/registry.yaml" in said
    finally:
        events.put_rule(Name=who, EventPattern=events.describe_rule(Name=who)["EventPattern"],
                        State="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")
        trails.start_logging(Name="all")
        queues.purge_queue(QueueUrl=dead)
        bus.put_permission(EventBusName=hub.ids["Bus"], Action="events:PutEvents", Principal=FAR[0], StatementId=f"account{FAR[0]}")


def test_another_stack_is_not_taken_for_a_hub(cloud, hub):
    assert "stack `nowhere` does not exist in this account and region" in run(cloud, "doctor", "--stack", "nowhere", code=1)


def test_a_plan_names_every_stack_with_its_parameters(cloud, known):
    plan = json.loads(run(cloud, "--format", "json", "deploy", "plan", "--hub", f"{HUB}/{HUB_REGION}", "/".join(SOURCE), *ROLE))
    assert plan["hub"]["parameters"]["AccountIds"] == f"{SOURCE[0]},{FAR[0]}"
    stacks = {(stack["account"], stack["region"]): stack["parameters"] for stack in plan["registries"]}
    assert set(stacks) == {SOURCE, NEAR, FAR}
    # Roles belong to an account, so the plan creates them once per account.
    assert [place for place, parameters in stacks.items() if parameters.get("Roles") == "make"] == [SOURCE, FAR]
    bus = f"arn:aws:events:{HUB_REGION}:{HUB}:event-bus/ecr-lineage-events"
    assert {parameters["HubBusArn"] for parameters in stacks.values()} == {bus}
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
