"""What the stubs of ECS, Lambda and Inspector answer, and what is asked of them, has the shapes of AWS's models.

The stubs are in `tests/scenarios/running.rs`; `tests/fixtures/usage.json` has a request and an answer of each operation.
"""

import json
from pathlib import Path

import botocore.session
import pytest

EXAMPLES = json.loads((Path(__file__).parents[1] / "fixtures" / "usage.json").read_text())
TYPES = {"string": str, "integer": int, "long": int, "boolean": bool, "timestamp": (int, float), "double": float}


def problems(shape, value, path):
    """What a value has that the shape does not."""
    if shape.type_name == "structure":
        for name, part in value.items():
            if name not in shape.members:
                yield f"{path}.{name} is unknown"
            else:
                yield from problems(shape.members[name], part, f"{path}.{name}")
        yield from (f"{path}.{name} is missing" for name in shape.required_members if name not in value)
    elif shape.type_name == "list":
        for index, part in enumerate(value):
            yield from problems(shape.member, part, f"{path}[{index}]")
    elif shape.type_name in TYPES:
        if not isinstance(value, TYPES[shape.type_name]):
            yield f"{path} is {value!r}, not {shape.type_name}"
        if (known := shape.metadata.get("enum")) and value not in known:
            yield f"{path} is {value!r}, none of {known}"
    else:
        yield f"{path} has an unexpected type, {shape.type_name}"


OPERATIONS = [(service, name) for service, all_of_it in EXAMPLES.items() for name in all_of_it]


@pytest.mark.only_simulator("the stubs are no target")
@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_requests_and_answers_have_the_shapes_of_the_model(service, name):
    operation = botocore.session.get_session().get_service_model(service).operation_model(name)
    example = EXAMPLES[service][name]
    found = [*problems(operation.input_shape, example["request"], "request")]
    found += problems(operation.output_shape, example["answer"], "answer")
    assert found == []


def test_every_operation_is_compared():
    assert len(OPERATIONS) == 11
