"""`activity --format ocsf`, validated against the published schema of OCSF's class API Activity."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

FIXTURES = Path(__file__).parents[1] / "fixtures"

# The version against which Security Lake validates custom sources:
# https://docs.aws.amazon.com/security-lake/latest/userguide/custom-sources.html
VERSION = "1.1.0"


@pytest.fixture(scope="module")
def validator():
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
    name = schema.lookup_class_name_from_uid(class_uid=6003)
    assert name == "api_activity"
    return jsonschema.Draft202012Validator(schema.get_class_schema(class_name=name, profiles=["cloud"]))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """An event of each kind of activity: of AWS's samples, of records, and of what an operator did."""
    table = str(tmp_path_factory.mktemp("table") / "table.db")

    def run(*arguments):
        command = [os.environ["ECR_LINEAGE"], "--table", table, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    # Some of the fixtures are made to be rejected.
    run("ingest", str(FIXTURES / "events"), str(FIXTURES / "records"), str(FIXTURES.parents[1] / "examples"))
    for command in [["pause", "--reason", "audit"], ["resume"], ["hold", "team/*", "--reason", "audit"], ["release", "team/*"]]:
        ran = run(*command)
        assert ran.returncode == 0, ran.stderr
    ran = run("activity", "--since", "2000-01-01", "--format", "ocsf")
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.only_simulator("the command is ours")
def test_every_event_is_valid(events, validator):
    for event in events:
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(event)]
        assert not errors, f"{errors} in {json.dumps(event, indent=2)}"


@pytest.mark.only_simulator("the command is ours")
def test_every_kind_is_there(events):
    kinds = {event["metadata"]["event_code"] for event in events}
    missing = {
        "pushed", "image_deleted", "tags_deleted", "repository_deleted", "attempted", "archived", "changed", "operator",
    } - kinds
    assert not missing
    assert {event["activity_id"] for event in events} >= {1, 3, 4}
    assert {event["status_id"] for event in events} >= {1, 2}
    assert len({event["metadata"]["uid"] for event in events}) == len(events)


@pytest.mark.only_simulator("the command is ours")
def test_the_validator_finds_what_is_wrong(events, validator):
    event = events[0]
    for change in [{"activity_id": 5}, {"severity_id": None}, {"actor": {}}, {"unknown": 1}, {"time": "2026-11-16"}]:
        assert not validator.is_valid({**event, **change}), change
    for missing in ["api", "cloud", "metadata", "src_endpoint", "type_uid"]:
        assert not validator.is_valid({name: value for name, value in event.items() if name != missing}), missing
