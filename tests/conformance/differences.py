"""Writes DIFFERENCES.md from the marks in the tests; with --check, checks that it is up to date."""

import ast
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
MARKS = ["moto_differs", "only_simulator"]
FILE = HERE / "DIFFERENCES.md"

HEAD = """# Where moto differs

The simulator is our own code, so its behaviour needs an independent check. The same tests, with AWS's own clients, run
against [moto](https://github.com/getmoto/moto), which other people wrote: where both agree, that is a second opinion;
where they differ, AWS's documentation decides, and the page is here. What AWS does not document is said to be so here,
and is in `shared/simulator/FACTS.md` as a setting with both answers. Every difference is a test that must fail on moto,
so that one that goes away is noticed.

Made by `tests/conformance/differences.py` from the tests.

| what AWS documents | moto | page |
|---|---|---|
"""

NOT_THERE = """
## What moto has nothing of

A file stands for all its tests.

| test | why |
|---|---|
"""


def marks():
    for path in sorted(HERE.glob("test_*.py")):
        module = ast.parse(path.read_text())
        for node in module.body:
            # Marks of a whole module, then those of each test.
            whole = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "pytestmark"
            calls = [node.value] if whole else getattr(node, "decorator_list", [])
            about = ast.get_docstring(module).split(". ")[0].rstrip(".")
            name = f"`{path.name}`: {about}" if whole else sentence(getattr(node, "name", ""))
            for call in calls:
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in MARKS:
                    yield name, call.func.attr, [ast.literal_eval(argument) for argument in call.args]


def sentence(name):
    return name.removeprefix("test_").replace("_", " ")


def source(page):
    """The AWS page that documents the behaviour, or our own choice if none does, as a reference to a link below."""
    if page.startswith("https://"):
        return f"[{label(page)}]"
    return f"AWS does not say: [{page}]"


def label(page):
    return page.rsplit("/", 1)[-1].removeprefix("API_").removesuffix(".html")


def link(page):
    return page if page.startswith("https://") else "../../shared/simulator/FACTS.md"


def written():
    rows, pages = {mark: [] for mark in MARKS}, set()
    for name, mark, (does, *sources) in marks():
        rows[mark].append("| " + " | ".join([name, does, *map(source, sources)]) + " |\n")
        pages.update(sources)
    links = sorted(f"[{label(page)}]: {link(page)}\n" for page in pages)
    return "".join([HEAD, *rows["moto_differs"], NOT_THERE, *rows["only_simulator"], "\n", *links])


if sys.argv[1:] == ["--check"]:
    if not FILE.exists() or FILE.read_text() != written():
        sys.exit("DIFFERENCES.md is not what the tests say: run `python3 tests/conformance/differences.py`")
else:
    FILE.write_text(written())
