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
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wire2app.builds import ROOT, nic_sources
from wire2app.errors import ToolError
from wire2app.mutate.mutants import Mutant

__all__ = ["Plan", "Trial", "Usual", "Workspace", "regression"]

FOLDERS = ("docs", "hdl", "labs", "packetdrill", "pystack", "tb", "tests", "wire2app")
FILES = ("pyproject.toml", "Makefile", "README.md")
QUOTED = re.compile(r"\"(\w+)\"")
USES = re.compile(r"\b(\w+)(?=::|\s*#\(|\s+u_\w+\s*\()")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
NOT_BUILT = re.compile(r"^E .*does not compile for", re.MULTILINE)
HUNG = re.compile(rf"^E .*ended with status -{signal.SIGXCPU.value}\b", re.MULTILINE)
SYSTEM = ("tests/system/test_transfer.py",)
NO_TEST_RAN, NO_SUCH_TEST = 5, 4  # pytest's exit status
WHOLE = 2  # rank of the files of tests of the whole NIC
HOUR = 3600
LONGEST = 120  # seconds for a file that nobody has measured
Usual = dict[str, float]  # processor seconds that tests take on the design as it is


@dataclass(frozen=True)
class Trial:
    """What became of a mutant: killed, timeout (it hung: killed, too), survived or broken.

    broken: it does not compile, so it says nothing of the tests.  by: the test that failed.
    """

    outcome: str
    by: str
    seconds: float


@dataclass
class Plan:
    """What to run in which order: `seed` is that of the tests.

    noticed: the test that noticed a mutant before, by its key; it goes first.  pointless: keys of
    mutants that make no difference, which the tests of the whole NIC need not show once more.
    killers: files whose tests have noticed other mutants of a source; they go next.
    """

    seed: int
    usual: Usual = field(default_factory=dict)
    noticed: Mapping[str, str] = field(default_factory=dict)
    pointless: Collection[str] = ()
    killers: dict[str, list[str]] = field(default_factory=dict)

    def names(self, mutant: Mutant, root: Path) -> list[str]:
        """The tests and files of tests to run on a mutant."""
        whole = mutant.key not in self.pointless
        files = regression(Path(mutant.path).stem, root, whole)
        likely = self.killers.get(mutant.path, ())
        known = self.noticed.get(mutant.key)
        return ([known] if known else []) + sorted(files, key=lambda name: name not in likely)

    def keep(self, mutant: Mutant, trial: Trial) -> None:
        """Learn from a trial."""
        if trial.outcome == "killed":
            self.killers.setdefault(mutant.path, []).append(trial.by.partition("::")[0])


def regression(module: str, root: Path = ROOT, whole: bool = True) -> list[str]:
    """The regression's files for a mutant of `module`, all if empty: the likely and quick first.

    whole: with those of the whole NIC.
    """
    ranked: list[tuple[tuple[int, ...], str]] = [((WHOLE + 1,), name) for name in SYSTEM]
    for path in sorted((root / "tests" / "rtl").glob("test_*.py")):
        name = str(path.relative_to(root))
        if path.stem.startswith("test_nic_"):
            alike = len(set(module.split("_")) & set(path.stem.split("_")[2:]))
            ranked.append(((WHOLE, path.stem != "test_nic_smoke", -alike), name))
            continue
        if tops := _tops(path, module):
            ranked.append(((int(module not in tops), min(len(_needed(top)) for top in tops)), name))
    return [name for rank, name in sorted(ranked) if whole or rank[0] < WHOLE]


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

    def try_out(self, mutant: Mutant, plan: Plan) -> Trial:
        """Run the tests on the mutant.

        What is not in `plan.usual` is run without the change before, and measured.  Raises
        ToolError if it fails then.
        """
        source = self.folder / mutant.path
        text = source.read_text()
        before = set(self._builds())
        began = time.monotonic()
        outcome, by = "survived", ""
        try:
            for name in plan.names(mutant, self.folder):
                selection = self._selection(name, source.stem)
                what, options = " ".join([name, *selection]), [f"--seed={plan.seed}", *selection]
                if what not in plan.usual:
                    plan.usual[what] = self._measure(name, options)
                source.write_text(mutant.apply(text))
                outcome, by = self._judge(name, options, plan.usual[what])
                source.write_text(text)
                if outcome != "survived":
                    break
        finally:
            source.write_text(text)
            for build in set(self._builds()) - before:  # nobody will build this again
                shutil.rmtree(build, ignore_errors=True)
            shutil.rmtree(self.folder / "build" / "runs", ignore_errors=True)
        trial = Trial(outcome, by, round(time.monotonic() - began, 1))
        plan.keep(mutant, trial)
        return trial

    def _selection(self, name: str, module: str) -> list[str]:
        return [] if "::" in name else _chosen(self.folder / name, module)

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
        began = _processor_seconds()
        outcome, by = self._judge(name, options, LONGEST)
        if outcome != "survived":
            raise ToolError(f"The regression fails without any change: {by} ({outcome}).")
        return round(_processor_seconds() - began, 1)

    def _judge(self, name: str, options: Sequence[str], usual: float) -> tuple[str, str]:
        """What one file's tests say of the design as it is now, and which of them."""
        status, output = self._pytest(name, options, 2 * usual + 5)
        if status is None:
            return "timeout", name
        if status in (0, NO_TEST_RAN) or (status == NO_SUCH_TEST and "::" in name):
            return "survived", ""  # a test that noticed it before may be gone
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


def _processor_seconds() -> float:
    """Of what this command has started and seen end: with several jobs of all of them, so that
    what one job takes is more rather than less."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
