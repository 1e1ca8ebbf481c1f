"""`ecr-lineage policy deploy` against the deployed hub."""

import io
import urllib.request
import zipfile

import pytest

from cloud import HUB
from command import run
from topics import HUB_STACK

MINE = '@id("mine") @grace("72h") permit (principal, action, resource) when { resource.repository like "mine/*" };\n'


@pytest.fixture
def file(tmp_path, layers):
    file = tmp_path / "mine.cedar"
    file.write_text(MINE)
    # As Lambda unpacks the layer.
    (layers / "mine.cedar").write_text(MINE)
    return file


def parameters(cloud):
    [stack] = cloud.client("cloudformation").describe_stacks(StackName=HUB_STACK)["Stacks"]
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}


def deploy(cloud, hub, file, *options, code=0):
    return run(cloud, "--table", hub.outputs["TableName"], "policy", "deploy", str(file), *options, code=code)


def test_a_policy_is_deployed_as_a_version_of_a_layer(cloud, hub, registries, file):
    lambdas, before = cloud.client("lambda"), parameters(cloud)
    assert (before["PolicyLayer"], before["PolicyFile"]) == ("", "at-once.cedar")
    try:
        said = deploy(cloud, hub, file, "--yes")
        after = parameters(cloud)
        assert after == before | {"PolicyLayer": after["PolicyLayer"], "PolicyFile": "mine.cedar"}
        assert f"Stack {HUB_STACK} runs mine.cedar of {after['PolicyLayer']}." in said
        assert "To go back: PolicyLayer= PolicyFile=at-once.cedar" in said
        mirror = lambdas.get_function_configuration(FunctionName=hub.ids["Mirror"])
        assert [layer["Arn"] for layer in mirror["Layers"]] == [after["PolicyLayer"]]
        assert mirror["Environment"]["Variables"]["POLICY_FILE"].endswith("/mine.cedar")
        assert mirror["Environment"]["Variables"]["MODE"] == "enforce"
        version = lambdas.get_layer_version_by_arn(Arn=after["PolicyLayer"])
        content = urllib.request.urlopen(version["Content"]["Location"]).read()
        package = zipfile.ZipFile(io.BytesIO(content))
        assert {name: package.read(name).decode() for name in package.namelist()} == {"mine.cedar": MINE}
        answer = lambdas.invoke(FunctionName=hub.ids["Mirror"], Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()
        assert "policy" not in run(cloud, "doctor", code=None).lower().replace("registry policy", "")
    finally:
        cloud.client("cloudformation").update_stack(
            StackName=HUB_STACK, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} if key.startswith("Policy")
                else {"ParameterKey": key, "UsePreviousValue": True}
                for key, value in before.items()
            ],
        )
        cloud.client("cloudformation").get_waiter("stack_update_complete").wait(StackName=HUB_STACK, WaiterConfig={"Delay": 1})
        lambdas.invoke(FunctionName=hub.ids["Mirror"], Payload=b"{}")


def test_what_cannot_be_used_or_is_not_confirmed_changes_nothing(cloud, hub, file):
    before = parameters(cloud)
    assert "asks before it acts" in deploy(cloud, hub, file, code=1)
    file.write_text("permit (principal, action, resource) when { resource.repo == \"x\" };")
    assert "did you mean `repository`" in deploy(cloud, hub, file, "--yes", code=1)
    file.write_text(MINE)
    assert "does not exist" in deploy(cloud, hub, file, "--yes", "--stack", "nowhere", code=1)
    assert parameters(cloud) == before
