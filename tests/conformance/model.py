"""Writes the constraints of ECR's API model, as botocore has them, for the simulator; with --check, checks that they are
up to date."""

import json
import pathlib
import sys

from botocore.loaders import Loader

FILE = pathlib.Path(__file__).parent.parent.parent / "shared/simulator/src/model.json"
KEPT = ["type", "required", "enum", "min", "max", "pattern"]


def shape(model):
    """The constraints of a shape, and the shapes of its parts."""
    kept = {name: model[name] for name in KEPT if name in model}
    if "member" in model:
        kept["member"] = model["member"]["shape"]
    if "members" in model:
        kept["members"] = {name: member["shape"] for name, member in model["members"].items()}
    return kept


def written():
    model = Loader().load_service_model("ecr", "service-2")
    operations = {
        name: {
            "input": operation["input"]["shape"],
            # The error of a request that breaks a constraint.
            "invalid": next(
                code for code in ["InvalidParameterException", "ValidationException"]
                if code in [error["shape"] for error in operation["errors"]]
            ),
        }
        for name, operation in model["operations"].items()
    }
    needed, shapes = [operation["input"] for operation in operations.values()], {}
    while needed:
        name = needed.pop()
        if name not in shapes:
            shapes[name] = shape(model["shapes"][name])
            needed += [*shapes[name].get("members", {}).values(), *filter(None, [shapes[name].get("member")])]

    def lines(entries):
        return ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(entries.items()))

    return f'{{"operations": {{\n{lines(operations)}\n}}, "shapes": {{\n{lines(shapes)}\n}}}}\n'


if sys.argv[1:] == ["--check"]:
    if not FILE.exists() or FILE.read_text() != written():
        sys.exit("shared/simulator/src/model.json is not botocore's model: run `tests/conformance/model.py` with botocore")
else:
    FILE.write_text(written())
