"""The templates in CDK: the lines of docs/deploy.md, synthesised by aws-cdk-lib."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from stacks import ARTIFACTS, INFRA

PAGE = INFRA.parent / "docs" / "deploy.md"
PACKAGES = pathlib.Path(__file__).with_name("cdk")
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:ecr-lineage-events"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The page's program, in a folder with its packages."""
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=PACKAGES, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("cdk")
    (folder / "node_modules").symlink_to(PACKAGES / "node_modules")
    [text] = re.findall(r"^```ts\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    (folder / "app.mjs").write_text(text.replace("RELEASE", str(ARTIFACTS)).replace("QUEUE_ARN", QUEUE))
    return folder / "app.mjs"


@pytest.fixture(scope="module")
def assembly(program):
    """What `cdk synth` writes: the variable is how it calls a program."""
    done = subprocess.run(
        ["node", program.name], cwd=program.parent, env=os.environ | {"CDK_OUTDIR": "out"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return program.parent / "out"


PARAMETERS = {
    "hub": {"ArtifactsBucket": "BUCKET", "ExternalId": "platform-team"},
    "registry": {"HubQueueArn": QUEUE, "RolesRegion": "eu-west-1", "ExternalId": "platform-team"},
}


@pytest.mark.parametrize("name, parameters", PARAMETERS.items())
def test_a_template_is_included_as_it_is(assembly, name, parameters):
    template = yaml.safe_load((ARTIFACTS / f"{name}.yaml").read_text())
    synthesised = json.loads((assembly / f"ecr-lineage-{name}.template.json").read_text())
    for section in ("Resources", "Outputs", "Conditions"):
        expected = given(template[section], parameters)
        found = {key: synthesised[section][key] for key in synthesised[section] if not key.startswith("CDKMetadata")}
        assert found == expected
    assert set(template["Parameters"]) - set(parameters) == set(synthesised["Parameters"]) - {"BootstrapVersion"}


def given(value, parameters):
    """A part of a template in which parameters have a value."""
    match value:
        case {"Ref": name} if name in parameters:
            return parameters[name]
        case {"Fn::Sub": str(text)}:
            for name, text_of in parameters.items():
                text = text.replace(f"${{{name}}}", text_of)
            return {"Fn::Sub": text}
        case {"Fn::Select": [index, {"Fn::Split": [separator, {"Ref": name}]}]} if name in parameters:
            return parameters[name].split(separator)[int(index)]
        case dict():
            return {key: given(each, parameters) for key, each in value.items()}
        case list():
            return [given(each, parameters) for each in value]
    return value
