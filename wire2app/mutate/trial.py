"""One mutant at a time: a copy of the project, the change in it, tests until one fails.

Tests run on Icarus, which compiles in a second or two: first those of the changed module alone,
then those of the smallest designs with it, then those of the NIC, then a transfer from wire to
application.  A simulator that hangs is ended by the processor time it took, so that a busy machine
makes no difference.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wire2app.builds import ROOT, nic_sources
from wire2app.errors import ToolError
from wire2app.mutate.mutants import Mutant

__all__ = ["Trial", "Usual", "Workspace", "regression"]

FOLDERS = ("docs", "hdl", "labs", "packetdrill", "pystack", "tb", "tests", "wire2app")
FILES = ("pyproject.toml", "Makefile", "README.md")
QUOTED = re.compile(r"\"(\w+)\"")
USES = re.compile(r"\b(\w+)(?=::|\s*#\(|\s+u_\w+\s*\()")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
NOT_BUILT = re.compile(r"^E .*does not compile for", re.MULTILINE)
HUNG = re.compile(rf"^E .*ended with status -{signal.SIGXCPU.value}\b", re.MULTILINE)
SYSTEM = ("tests/system/test_transfer.py",)
NO_TEST_RAN = 5  # pytest's exit status
HOUR = 3600
LONGEST = 120  # seconds for a file that nobody has measured
Usual = dict[str, float]  # seconds a file's tests take on the design as it is


@dataclass(frozen=True)
class Trial:
    """What became of a mutant: killed, timeout (it hung: killed, too), survived or broken.

    broken: it does not compile, so it says nothing of the tests.  by: the test that failed.
    """

    outcome: str
    by: str
    seconds: float


def regression(module: str, root: Path = ROOT) -> list[str]:
    """The regression's files for a mutant of `module`, all if empty: the likely and quick first."""
    ranked: list[tuple[tuple[int, ...], str]] = [((3,), name) for name in SYSTEM]
    for path in sorted((root / "tests" / "rtl").glob("test_*.py")):
        name = str(path.relative_to(root))
        if path.stem.startswith("test_nic_"):
            alike = len(set(module.split("_")) & set(path.stem.split("_")[2:]))
            ranked.append(((2, path.stem != "test_nic_smoke", -alike), name))
            continue
        if tops := _tops(path, module):
            ranked.append(((int(module not in tops), min(len(_needed(top)) for top in tops)), name))
    return [name for _, name in sorted(ranked)]


def _tops(path: Path, module: str) -> list[str]:
    """The designs with `module` (any if empty) that a file of tests is of."""
    tops = sorted(set(QUOTED.findall(path.read_text())) & _modules())
    return [top for top in tops if not module or module in _needed(top)]


def _chosen(path: Path, module: str) -> list[str]:
    """pytest's options so that of a file with tests of several designs those with `module` run."""
    tops = _tops(path, module)
    return ["-k", " or ".join(tops)] if len(_tops(path, "")) > len(tops) > 0 else []


@functools.cache
def _needed(top: str) -> frozenset[str]:
    """The sources of a design: unlike those to build it from, none that only shares a name."""
    texts = {path.stem: path.read_text() for path in nic_sources()}
    reached: set[str] = set()
    todo = {top}
    while todo:
        reached |= todo
        todo = {name for one in todo for name in USES.findall(texts[one])} & set(texts) - reached
    return frozenset(reached)


@functools.cache
def _modules() -> frozenset[str]:
    return frozenset(path.stem for path in nic_sources())


class Workspace:
    """A copy of the project that mutants are made in; one at a time uses it."""

    def __init__(self, folder: Path) -> None:
        """Copy what the tests need.  Raises ToolError if there is no room or no right to."""
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for name in FOLDERS:
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / name, ignore=ignore)
            for name in FILES:
                shutil.copy(ROOT / name, folder / name)
        except OSError as error:
            raise ToolError(f"Cannot copy the project to {folder}: {error.strerror}.") from error

    def try_out(self, mutant: Mutant, seed: int, usual: Usual, first: Sequence[str] = ()) -> Trial:
        """Run the tests on the mutant, those of the files in `first` first.

        A file that is not in `usual` is run without the change before, and measured.  Raises
        ToolError if it fails then.
        """
        source = self.folder / mutant.path
        text = source.read_text()
        before = set(self._builds())
        began = time.monotonic()
        outcome, by = "survived", ""
        names = regression(source.stem, self.folder)
        try:
            for name in sorted(names, key=lambda name: name not in first):
                options = [f"--seed={seed}", *_chosen(self.folder / name, source.stem)]
                if name not in usual:
                    usual[name] = self._measure(name, options)
                source.write_text(mutant.apply(text))
                outcome, by = self._judge(name, options, usual[name])
                source.write_text(text)
                if outcome != "survived":
                    break
        finally:
            source.write_text(text)
            for build in set(self._builds()) - before:  # nobody will build this again
                shutil.rmtree(build, ignore_errors=True)
            shutil.rmtree(self.folder / "build" / "runs", ignore_errors=True)
        return Trial(outcome, by, round(time.monotonic() - began, 1))

    def digest(self) -> str:
        """Names the state of the design and of its tests."""
        digest = hashlib.sha256()
        for name in ("hdl", "pystack", "tb", "tests", "wire2app"):
            for path in sorted((self.folder / name).rglob("*")):
                if path.suffix in (".sv", ".svh", ".py", ".c", ".cpp"):
                    digest.update(path.read_bytes())
        return digest.hexdigest()

    def stop(self) -> None:
        """Interrupt what another thread runs; its result is worth nothing."""
        if (process := self._process) is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)

    def _measure(self, name: str, options: Sequence[str]) -> float:
        began = time.monotonic()
        outcome, by = self._judge(name, options, LONGEST)
        if outcome != "survived":
            raise ToolError(f"The regression fails without any change: {by} ({outcome}).")
        return round(time.monotonic() - began, 1)

    def _judge(self, name: str, options: Sequence[str], usual: float) -> tuple[str, str]:
        """What one file's tests say of the design as it is now, and which of them."""
        status, output = self._pytest(name, options, 2 * usual + 10)
        if status is None:
            return "timeout", name
        if status in (0, NO_TEST_RAN):
            return "survived", ""
        if NOT_BUILT.search(output):
            return "broken", name
        failed = FAILED.search(output)
        return "killed", failed.group(1) if failed else name

    def _pytest(self, name: str, options: Sequence[str], limit: float) -> tuple[int | None, str]:
        """Exit status (None: it was ended) and output of one file's tests.

        No process may take more than `limit` seconds of a processor; an hour is for one that waits
        for what does not come, and long enough on a machine with other things to do.
        """
        command = [
            "prlimit",
            f"--cpu={limit:.0f}:{limit + 10:.0f}",
            sys.executable,
            "-m",
            "pytest",
            name,
        ]
        command += ["-q", "-x", "-p", "no:cacheprovider", "--sim=icarus", *options]
        environment = {**os.environ, "COCOTB_MAX_FAILURES": "1"}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take longer than some tests
        environment["W2A_CACHE"] = str(self.folder / "build" / "cache")
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                output, _ = process.communicate(timeout=HOUR)
            except subprocess.TimeoutExpired:
                _end(process)
                return None, ""
            except BaseException:
                _end(process)
                raise
            finally:
                self._process = None
        hung = process.returncode == -signal.SIGXCPU or HUNG.search(output)
        return None if hung else process.returncode, output

    def _builds(self) -> list[Path]:
        return [
            path for path in (self.folder / "build" / "cache").glob("icarus-*") if path.is_dir()
        ]


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt pytest, so that it ends its simulator; then make sure."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
