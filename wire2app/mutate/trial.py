"""One mutant at a time: a copy of the project, the change in it, tests until one fails.

Tests run on Icarus, which compiles in a second or two, first those of the changed module alone,
then those of the NIC, then a transfer from wire to application.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wire2app.builds import ROOT, Design, needed_sources, nic_sources
from wire2app.errors import ToolError
from wire2app.mutate.mutants import Mutant

__all__ = ["Trial", "Workspace", "regression"]

FOLDERS = ("docs", "hdl", "labs", "packetdrill", "pystack", "tb", "tests", "wire2app")
FILES = ("pyproject.toml", "Makefile", "README.md")
DESIGNED = re.compile(r"\bDesign\(\s*\"(\w+)\"")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
NOT_BUILT = re.compile(r"^E .*does not compile for", re.MULTILINE)
SYSTEM = ("tests/system/test_transfer.py",)
NO_TEST_RAN = 5  # pytest's exit status


@dataclass(frozen=True)
class Trial:
    """What became of a mutant: killed, timeout (it hung: killed, too), survived or broken.

    broken: it does not compile, so it says nothing of the tests.  by: the test that failed.
    """

    outcome: str
    by: str
    seconds: float


def regression(module: str, root: Path = ROOT) -> list[str]:
    """The regression's files for a mutant of `module`, all if empty: the smallest design first."""
    ranked = [(1000, name) for name in SYSTEM]
    for path in sorted((root / "tests" / "rtl").glob("test_*.py")):
        name = str(path.relative_to(root))
        if path.stem.startswith("test_nic_"):
            ranked.append((100 if path.stem == "test_nic_smoke" else 200, name))
            continue
        for top in set(DESIGNED.findall(path.read_text())) & _modules():
            files = {source.stem for source in needed_sources(Design(top, nic_sources()))}
            if not module or module in files:
                ranked.append((len(files), name))
    return [name for _, name in sorted(ranked)]


@functools.cache
def _modules() -> frozenset[str]:
    return frozenset(path.stem for path in nic_sources())


class Workspace:
    """A copy of the project that mutants are made in; one at a time uses it."""

    def __init__(self, folder: Path) -> None:
        """Copy what the tests need.  Raises ToolError if there is no room or no right to."""
        self.folder = folder
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

    def try_out(self, mutant: Mutant, seed: int, limit: float) -> Trial:
        """Run the tests on the mutant, each file for at most `limit` seconds."""
        source = self.folder / mutant.path
        text = source.read_text()
        before = set(self._builds())
        began = time.monotonic()
        try:
            source.write_text(mutant.apply(text))
            outcome, by = self._regression(source.stem, seed, limit)
        finally:
            source.write_text(text)
            for build in set(self._builds()) - before:  # nobody will build this again
                shutil.rmtree(build, ignore_errors=True)
            shutil.rmtree(self.folder / "build" / "runs", ignore_errors=True)
        return Trial(outcome, by, round(time.monotonic() - began, 1))

    def unchanged(self, seed: int, limit: float) -> str:
        """The first test that fails without any change, "" if none does; fills the build cache."""
        return self._regression("", seed, limit)[1]

    def _regression(self, module: str, seed: int, limit: float) -> tuple[str, str]:
        for name in regression(module, self.folder):
            status, output = self._pytest(name, seed, limit)
            if status is None:
                return "timeout", name
            if status not in (0, NO_TEST_RAN):
                if NOT_BUILT.search(output):
                    return "broken", name
                failed = FAILED.search(output)
                return "killed", failed.group(1) if failed else name
        return "survived", ""

    def _pytest(self, name: str, seed: int, limit: float) -> tuple[int | None, str]:
        """Exit status (None: it was ended after `limit` seconds) and output of one file's tests."""
        command = [sys.executable, "-m", "pytest", name, "-q", "-x", "-p", "no:cacheprovider"]
        command += ["--sim=icarus", f"--seed={seed}"]
        environment = {**os.environ, "W2A_CACHE": str(self.folder / "build" / "cache")}
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                _end(process)
                return None, ""
            except BaseException:
                _end(process)
                raise
        return process.returncode, output

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
