"""`wire2app test`: which tests, on how many workers, with which options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wire2app.errors import ToolError
from wire2app.simulator import ROOT, SIMULATORS, check_simulator

__all__ = ["SUITES", "run_regress", "run_tests"]

JUNIT = ROOT / "build" / "test" / "junit.xml"
# Suites without a simulator are done before a second worker has started.
SUITES = {
    "all": ("tests", 2),
    "stack": ("tests/stack", 0),
    "rtl": ("tests/rtl", 2),
    "system": ("tests/system", 2),
}


def run_tests(suite: str, *, sim: str, seed: int, only: str) -> int:
    """Run a suite with pytest; its exit status, 0 if all passed.

    only: part of a test's name.  Raises ToolError on an unknown suite, simulator or name.
    """
    if suite not in SUITES:
        raise ToolError(f"Unknown test suite {suite!r}: {', '.join(SUITES)}.")
    for name in SIMULATORS if sim == "both" else [sim]:
        check_simulator(name)
    folder, workers = SUITES[suite]
    command = [sys.executable, "-m", "pytest", folder, f"--sim={sim}", f"--seed={seed}"]
    command.append(f"--junitxml={JUNIT}")
    if only:
        command += ["-k", only]
    elif workers:
        command += ["-n", str(workers)]
    status = _call(command)
    if only and status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise ToolError(f"No test of {folder} has {only!r} in its name.")
    return status


def run_regress() -> int:
    """What takes long: the tests marked `regress`, all proofs, synthesis with placement; 1 if
    one of them fails.  They run one after the other, whatever the first ones say."""
    program = str(Path(sys.executable).with_name("wire2app"))
    commands = (
        [sys.executable, "-m", "pytest", "tests", "-m", "regress"],
        [program, "formal"],
        [program, "synth"],
    )
    return int(any([_call(command) != 0 for command in commands]))


def _call(command: list[str]) -> int:
    # The variables of make are options here; left in, they would reach the command under test.
    names = ("SIM", "SEED", "WAVES", "BUS", "FILE", "RUN", "T", "MAKEFLAGS", "MAKELEVEL")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    return subprocess.call(command, cwd=ROOT, env=environment)
