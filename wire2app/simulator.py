"""The one place that builds and launches a simulator, Verilator or Icarus, through cocotb's runner.

Called by `wire2app sim`, `wire2app live` and every test that needs RTL.  Builds are kept by
content under `build/cache`, so parallel test workers and repeated commands compile once; every
run gets its directory under `build/runs` with the log, `results.xml` and the environment's seed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from xml.etree import ElementTree

from wire2app.builds import (
    BUSES,
    ROOT,
    Design,
    bench_design,
    build,
    coverage_folder,
    library_path,
    nic_sources,
)
from wire2app.errors import ToolError
from wire2app.runners import SIMULATORS, Runner, check_simulator, make_runner

__all__ = [
    "BUSES",
    "ROOT",
    "SIMULATORS",
    "Design",
    "SimResult",
    "ToolError",
    "bench_design",
    "check_simulator",
    "nic_sources",
    "simulate",
]

RUNS = ROOT / "build" / "runs"
RESULTS, LOG = "results.xml", "sim.log"
LOG_TAIL = 40
# What a simulator prints for a failed assertion; neither goes through cocotb's results.
ASSERTION_MARKS = {
    "icarus": re.compile(r"(ERROR|FATAL): .*"),
    "verilator": re.compile(r"(\[\d+\] )?%(Error|Fatal): .*"),
}


@dataclass(frozen=True)
class SimResult:
    """How one run ended.  `tests` holds (name, ok, message) for each cocotb test that ran."""

    passed: bool
    results_xml: Path
    log: Path
    tests: list[tuple[str, bool, str]]
    wall_seconds: float
    replay: str
    reason: str = ""

    def check(self) -> None:
        """Raise AssertionError with the failing tests, the end of the log and the replay line."""
        __tracebackhide__ = True
        if self.passed:
            return
        failing = [f"{name}: {message}" for name, ok, message in self.tests if not ok]
        text = [self.reason, *failing, f"--- end of {self.log}", *self.log_tail()]
        raise AssertionError("\n".join([*filter(None, text), f"replay: {self.replay}"]))

    def log_tail(self, lines: int = LOG_TAIL) -> list[str]:
        """The last `lines` lines the simulator printed."""
        return self.log.read_text(errors="replace").splitlines()[-lines:]


@dataclass(frozen=True)
class _Run:
    """One launch of a built simulation: what to run, where, and how to say it again."""

    test_module: str
    sim: str
    seed: int
    testcase: str | None
    waves: Path | None
    env: dict[str, str] = field(default_factory=dict)

    def directory(self, design: Design) -> Path:
        """The same run always gets the same directory, two different runs never share one."""
        facts = repr((design.toplevel, sorted(design.parameters.items()), self.seed))
        facts += repr((self.testcase, self.waves))
        facts += repr(sorted(self.env.items())) + os.environ.get("PYTEST_CURRENT_TEST", "")
        digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
        return RUNS / f"{self.test_module}-{self.sim}-{digest}"

    def replay(self) -> str:
        """The command that repeats this run."""
        options = f"SIM={self.sim} SEED={self.seed}"
        node = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" (", 1)[0]
        if node:
            path, _, test = node.partition("::")
            suites = [name for name in ("rtl", "system") if f"/{name}/" in f"/{path}"]
            target = "-".join(["test", *suites])
            return f"make {target} {options} T={shlex.quote(test)}"
        return f"make sim {options}"


def simulate(
    design: Design,
    test_module: str,
    *,
    sim: str,
    seed: int = 1,
    waves: Path | None = None,
    testcase: str | None = None,
    env: Mapping[str, str] | None = None,
    work_dir: Path | None = None,
    quiet: bool = True,
    timeout_seconds: float | None = 900,
    pass_fds: Sequence[int] = (),
    on_start: Callable[[Popen[bytes]], None] | None = None,
) -> SimResult:
    """Build `design` if it is not built yet, run the cocotb tests of `test_module` on it.

    waves: path of the FST to write; records every signal.  testcase: run only tests whose name
    ends so.  env: extra environment of the simulation.  quiet: the simulator's text goes to the
    log only.  timeout_seconds: wall time after which the simulator is killed and the run fails.
    pass_fds: file descriptors the simulator inherits.  on_start: called with the process.

    Raises ToolError for an unknown or missing simulator and for a design that does not compile.
    """
    run = _Run(test_module, sim, seed, testcase, waves, dict(env or {}))
    started = time.monotonic()
    built = build(design, sim, traced=waves is not None)
    work_dir = work_dir or run.directory(design)
    work_dir.mkdir(parents=True, exist_ok=True)
    if waves is not None:
        waves.parent.mkdir(parents=True, exist_ok=True)
    runner = make_runner(sim, waves=waves, timeout_seconds=timeout_seconds)
    runner.launch.pass_fds = tuple(pass_fds)
    runner.launch.on_start = on_start
    runner.launch.echo = not quiet
    _launch(runner, run, design, built, work_dir)
    results, log = work_dir / RESULTS, work_dir / LOG
    _keep_coverage(work_dir)
    tests = _read_results(results)
    reason = _judge(tests, runner.launch.failure, log, sim)
    passed = not reason and all(ok for _, ok, _ in tests)
    wall = time.monotonic() - started
    return SimResult(passed, results, log, tests, wall, run.replay(), reason)


def _launch(runner: Runner, run: _Run, design: Design, built: Path, work_dir: Path) -> None:
    """Run what is built; log and results in `work_dir` tell how it ended."""
    library, results, env = library_path(design, built), work_dir / RESULTS, run.env
    vpi = []
    if library is not None:
        env = {**env, "W2A_LIBRARY": str(library)}
        vpi = ["-m", str(library)] if run.sim == "icarus" else []
    results.unlink(missing_ok=True)
    with suppress(SystemExit):  # the runner's verdict on a bad run; _judge gives the reasons
        runner.test(
            run.test_module,
            design.toplevel,
            hdl_toplevel_lang="verilog",
            build_dir=built,
            test_dir=work_dir,
            results_xml=str(results.resolve()),
            log_file=str(work_dir / LOG),
            seed=run.seed,
            testcase=run.testcase,
            test_args=vpi,
            extra_env=env,
            timescale=("1ns", "1ps"),
        )


def _keep_coverage(work_dir: Path) -> None:
    """Move Verilator's counts of a run to where the counts of all runs are put together."""
    counts, folder = work_dir / "coverage.dat", coverage_folder()
    if folder is not None and counts.exists():
        name = hashlib.sha256(f"{work_dir} {time.time_ns()}".encode()).hexdigest()[:16]
        shutil.move(counts, folder / f"{name}.dat")


def _judge(tests: list[tuple[str, bool, str]], failure: str, log: Path, sim: str) -> str:
    """Why the run as a whole is no good, apart from single failed tests; empty if it is fine."""
    marks = ASSERTION_MARKS[sim]
    lines = log.read_text(errors="replace").splitlines()
    asserted = next((line for line in lines if marks.match(line)), "")
    if asserted:
        return f"the RTL reported an error: {asserted}"
    if failure and all(ok for _, ok, _ in tests):
        return failure
    return "" if tests else "no test ran: the module did not load or has none of that name"


def _read_results(path: Path) -> list[tuple[str, bool, str]]:
    """The test cases in cocotb's JUnit file; none if the simulator died before writing it."""
    if not path.exists():
        return []
    tests = []
    try:
        cases = ElementTree.parse(path).getroot().iter("testcase")
    except ElementTree.ParseError:  # cut short: the simulator died, or the disk is full
        return []
    for case in cases:
        if case.find("skipped") is not None:
            continue
        bad = [mark for tag in ("failure", "error") for mark in case.findall(tag)]
        message = "; ".join(mark.get("message") or mark.get("error_msg") or "" for mark in bad)
        tests.append((f"{case.get('classname')}.{case.get('name')}", not bad, message))
    return tests
