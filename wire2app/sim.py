"""`wire2app sim`: build the bench, run the main job on it, report.

The job itself is the cocotb module `tb.jobs.sim_job`.  It reads its settings from the JSON file
named by W2A_JOB (keys: those of `_settings`), reports progress to the file named by W2A_PROGRESS
and writes `summary.json` and `wire.pcapng` into the folder `out`.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from tb.summary import Summary
from wire2app.errors import ToolError
from wire2app.gtkw import write_gtkw
from wire2app.progress import Display, Event, show
from wire2app.report import console, print_report
from wire2app.simulator import BUSES, ROOT, SimResult, bench_design, check_simulator, simulate

__all__ = ["OUT", "SimOptions", "check_bus", "check_file", "make_empty", "run_sim"]

OUT = ROOT / "build" / "sim"
JOB = "tb.jobs.sim_job"
NOISE_BYTES = 256 * 1024
LICENSE = ROOT / "LICENSE"
# Files served have one date, so that a listing is the same bytes on every machine.
SERVED_TIME = 1_700_000_000


@dataclass(frozen=True)
class SimOptions:
    """What the user asked for.  file: to fetch; None for noise made from the seed.  json: the
    summary instead of the report."""

    sim: str
    seed: int
    file: Path | None
    waves: bool
    bus: str
    out: Path = OUT
    json: bool = False

    def replay(self) -> str:
        """The command that repeats this run."""
        words = [f"SIM={self.sim}", f"SEED={self.seed}"]
        if self.file is not None:
            words.append(f"FILE={shlex.quote(str(self.file))}")
        if self.bus != BUSES[0]:
            words.append(f"BUS={self.bus}")
        return " ".join(["make sim", *words])


def run_sim(options: SimOptions) -> int:
    """Run and report; 0 if everything passed, 1 if not.  Raises ToolError on a bad request."""
    check_simulator(options.sim)
    check_bus(options.bus)
    check_file(options.file, options.out)
    with make_empty(options.out):
        return _run_in(options.out, options)


def _run_in(out: Path, options: SimOptions) -> int:
    served = prepare_file(options.file, out / "www", options.seed)
    job = out / "job.json"
    job.write_text(json.dumps(_settings(options, served), indent=2) + "\n")
    terminal = console(sys.stderr if options.json else None)
    with Display(terminal) as display:
        result = _simulate(options, job, display)
    summary = _summary(options, result, display.seconds)
    summary.save(out / "summary.json")
    if options.waves:
        write_gtkw(out / "wave.fst", out / "wave.gtkw")
    if options.json:
        print((out / "summary.json").read_text(), end="")
    else:
        _show(summary, result, options.replay(), terminal)
    return 0 if summary.passed else 1


def make_empty(folder: Path) -> TextIO:
    """An empty folder for a run's artifacts; the run owns it while the result is open.

    Raises ToolError if `folder` holds other things, is in use, or cannot be made.
    """
    try:
        return _make_empty(folder)
    except OSError as error:
        raise ToolError(f"Cannot use {folder} for the artifacts: {error.strerror}.") from error


def _make_empty(folder: Path) -> TextIO:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = open(folder.with_name(f".{folder.name}.lock"), "w")  # noqa: SIM115 (the caller's)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ToolError(f"Another run is using {folder}: wait for it or name another.") from error
    ours = ROOT / "build" in folder.parents or (folder / "job.json").exists()
    if folder.exists() and any(folder.iterdir()) and not ours:
        raise ToolError(f"{folder} is not empty and not from an earlier run: name another one.")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return lock


def check_bus(bus: str) -> None:
    """Raise ToolError for a bus that does not exist."""
    if bus not in BUSES:
        raise ToolError(f"Unknown bus {bus!r}: BUS is {' or '.join(BUSES)}.")


def check_file(path: Path | None, out: Path) -> None:
    """Raise ToolError unless `path` is None or a file that can be read, not in `out`."""
    if path is None:
        return
    try:
        there, readable = path.exists(), path.is_file() and os.access(path, os.R_OK)
        str(path).encode()
    except (OSError, UnicodeEncodeError) as error:
        raise ToolError(f"FILE {ascii(str(path))[:80]} cannot be used: {error}.") from error
    if not readable:
        why = "is not a readable file" if there else "does not exist"
        raise ToolError(f"FILE {str(path)!r} {why}.")
    if out in path.resolve().parents:
        raise ToolError(f"FILE {str(path)!r} is in {out}, which every run empties: move it away.")


def prepare_file(source: Path | None, folder: Path, seed: int) -> Path:
    """Make the folder to serve: the file to fetch and the licence.  Returns the file's path."""
    folder.mkdir(parents=True)
    target = folder / (source.name if source is not None else "payload.bin")
    shutil.copyfile(LICENSE, folder / LICENSE.name)
    if source is not None:
        shutil.copyfile(source, target)
    else:
        target.write_bytes(random.Random(seed).randbytes(NOISE_BYTES))
    for path in (*folder.iterdir(), folder):
        os.utime(path, (SERVED_TIME, SERVED_TIME))
    return target


def _settings(options: SimOptions, served: Path) -> dict[str, object]:
    """The job's settings.  root: the folder served, name: the file in it to fetch.

    file: what the user named, for a run that repeats this one.
    """
    return {
        "sim": options.sim,
        "seed": options.seed,
        "bus": options.bus,
        "file": None if options.file is None else str(options.file.resolve()),
        "root": str(served.parent),
        "name": served.name,
        "out": str(options.out),
    }


def _simulate(options: SimOptions, job: Path, display: Display) -> SimResult:
    progress = options.out / "progress.jsonl"
    display.update(Event(f"build for {options.sim}"))
    with show(progress, display.update):
        return simulate(
            bench_design(options.bus),
            JOB,
            sim=options.sim,
            seed=options.seed,
            waves=options.out / "wave.fst" if options.waves else None,
            env={"W2A_JOB": str(job), "W2A_PROGRESS": str(progress)},
            work_dir=options.out,
            on_start=lambda process: display.update(Event("start")),
        )


def _summary(options: SimOptions, result: SimResult, seconds: dict[str, float]) -> Summary:
    """The job's summary completed by what only the command knows, or one that says it is lost."""
    try:
        summary = Summary.load(options.out / "summary.json")
    except (OSError, ValueError, TypeError, KeyError):
        summary = Summary(options.sim, options.seed, options.bus)
        if result.passed:
            summary.failures.append("the job left no summary")
    if not result.passed:
        failed = [f"{name}: {message}" for name, ok, message in result.tests if not ok]
        summary.failures += [result.reason] if result.reason else []
        summary.failures += [text for text in failed if text not in summary.failures]
    summary.wall = dict(seconds)
    return summary


def _show(summary: Summary, result: SimResult, replay: str, out: Console) -> None:
    if not result.passed:
        print(f"--- end of {result.log}", *result.log_tail(), sep="\n", file=sys.stderr)
        sys.stderr.flush()
    print_report(summary, replay, out)
