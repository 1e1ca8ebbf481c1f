"""Runs the steps of CI, two at a time, and prints at the end how long each took.

A step is a recipe of the justfile. One lane builds in the profile of the histories, because cargo allows one build of a
profile at a time; the other lane builds the functions, runs what mostly waits: for Python, Chromium and the network, and
at last tries mutations, which have target directories of their own.
The output of a step is printed when the step ends, so that the output of the lanes does not mix. The first failure stops
everything, or with `--keep-going` nothing.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

LOGS = Path("target/ci")

COMPILING = [
    "format",
    "test",
    "prove",
    "lints",
    "histories",
    "second-dynamodb",
    "counts",
    "docs",
]
# Steps that need the command line run after the tests, which build it.
BESIDE = [
    "words",
    "path",
    "spelling",
    "libraries",
    "workflows",
    "dependencies",
    "templates",
    "functions",
    ("test", ["conformance", "api", "browser", "runtime-contract", "deployment", "wheel", "mutants-sample"]),
]

started = time.monotonic()
took: dict[str, tuple[float, float]] = {}
ended = {"test": threading.Event()}
failures: list[str] = []
failed = threading.Event()
running: set[subprocess.Popen] = set()
lock = threading.Lock()


def run(recipe: str) -> None:
    if failed.is_set():
        return
    begin = time.monotonic()
    log = LOGS / f"{recipe}.log"
    with log.open("wb") as output:
        # In its own session, so that all processes that it started can be stopped with it.
        step = subprocess.Popen(["just", recipe], stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        with lock:
            running.add(step)
        code = step.wait()
    with lock:
        running.discard(step)
        # A step that was stopped because another one failed is not reported.
        if failed.is_set() and code < 0:
            return
        took[recipe] = (begin - started, time.monotonic() - begin)
        print(f"\n== {recipe} ({took[recipe][1]:.0f} s){'' if code == 0 else ': FAILED'}", flush=True)
        sys.stdout.buffer.write(log.read_bytes())
        sys.stdout.flush()
        if code != 0:
            failures.append(recipe)
        if code != 0 and "--keep-going" not in sys.argv:
            failed.set()
            for other in running:
                os.killpg(other.pid, signal.SIGTERM)
    if recipe in ended:
        ended[recipe].set()


def lane(steps: list) -> None:
    for step in steps:
        if isinstance(step, tuple):
            awaited, more = step
            while not ended[awaited].wait(1):
                if failed.is_set():
                    return
            lane(more)
        else:
            run(step)


def main() -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    lanes = [threading.Thread(target=lane, args=(steps,)) for steps in (COMPILING, BESIDE)]
    for each in lanes:
        each.start()
    for each in lanes:
        each.join()
    print(f"\n{'step':<20}{'from':>8}{'took':>8}")
    for recipe, (begin, seconds) in sorted(took.items(), key=lambda item: item[1]):
        print(f"{recipe:<20}{begin:>6.0f} s{seconds:>6.0f} s")
    total = time.monotonic() - started
    print(f"{'sum of steps':<20}{'':>8}{sum(seconds for _, seconds in took.values()):>6.0f} s")
    print(f"{'from begin to end':<20}{'':>8}{total:>6.0f} s", flush=True)
    if failures:
        print(f"failed: {', '.join(failures)}", flush=True)
    return 1 if failures else 0


sys.exit(main())
