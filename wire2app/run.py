"""`wire2app run`: Python programs on simulated hosts.

Two hosts joined by one link, in virtual time; with `--rtl` the first has the RTL NIC, and all of
it runs in a simulator (the job `tb.jobs.run_job`).  Output appears as it is written, each line
with its program's name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link, Port, Tapped
from pystack.host import Host
from pystack.tools.pcapng import Capture
from pystack.tools.strace import Options, TraceError, calls_of
from tb.programs import Program, Programs, Show
from tb.straces import Straces
from tb.watchdog import Watchdog
from wire2app.errors import Interrupted, ToolError
from wire2app.sim import check_bus
from wire2app.simulator import ROOT, bench_design, check_simulator, simulate

__all__ = ["ADDRESSES", "Rtl", "RunOptions", "commands_of", "run_programs"]

ADDRESSES = "10.0.0.1", "10.0.0.2"
OUT = ROOT / "build" / "run"
JOB = "tb.jobs.run_job"
SETTLE_NS = 1_000_000_000


@dataclass(frozen=True)
class Rtl:
    """Which simulator and which bus."""

    sim: str
    bus: str


@dataclass(frozen=True)
class RunOptions:
    """rtl None: virtual time, no NIC.  strace None: none.  pcap: every frame of the link."""

    commands: Sequence[Sequence[str]]
    seed: int = 1
    rtl: Rtl | None = None
    strace: Options | None = None
    pcap: Path | None = None


def run_programs(options: RunOptions) -> int:
    """Run them to their end: the first status that is not 0.  ToolError for a bad request,
    Interrupted after Ctrl-C."""
    check(options)
    names = [Path(command[0]).name for command in options.commands]
    if len(set(names)) < len(names):
        names = [f"{address} {name}" for address, name in zip(ADDRESSES, names, strict=False)]
    show = _shower(max(map(len, names)))
    try:
        if options.rtl is not None:
            return _over_rtl(options, options.rtl, names, show)
        return _in_virtual_time(options, names, show)
    except KeyboardInterrupt:
        raise Interrupted from None


def commands_of(words: Sequence[str]) -> list[list[str]]:
    """`A.py ARG... -- B.py ARG...` as one or two command lines."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "--" and len(commands) == 1:
            commands.append([])
        else:
            commands[-1].append(word)
    if not all(commands):
        raise ToolError("Name a program: wire2app run A.py [ARG...] [-- B.py [ARG...]].")
    return commands


def check(options: RunOptions) -> None:
    """Raise ToolError for what cannot be run, traced or written."""
    for path, *_ in options.commands:
        if not os.path.isfile(path):
            there = "is not a file" if os.path.exists(path) else "does not exist"
            raise ToolError(f"Program {path!r} {there}.")
        try:
            compile(Path(path).read_bytes(), path, "exec")
        except OSError as error:
            raise ToolError(f"Program {path!r} cannot be read: {error.strerror}.") from error
        except (SyntaxError, ValueError) as error:
            raise ToolError(f"Program {path!r} is not Python: {error}.") from error
    if options.rtl is not None:
        check_simulator(options.rtl.sim)
        check_bus(options.rtl.bus)
    if options.strace is not None:
        try:
            calls_of(options.strace.expression)
        except TraceError as error:
            raise ToolError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    if options.pcap is not None:
        try:
            options.pcap.open("wb").close()
        except OSError as error:
            raise ToolError(f"Cannot write {options.pcap}: {error.strerror}.") from error


def _shower(width: int) -> Show:
    def show(prefix: str, line: str, fd: int) -> None:
        out: TextIO = sys.stdout if fd == 1 else sys.stderr
        print(f"{prefix:{width}} | {line}", file=out, flush=True)

    return show


# -- virtual time ------------------------------------------------------------------------------


def _in_virtual_time(options: RunOptions, names: Sequence[str], show: Show) -> int:
    engine = VirtualEngine()
    capture = None if options.pcap is None else Capture(options.pcap, "eth0")
    hosts = _hosts(engine, options.seed, capture)
    programs = Programs(
        [
            Program(host, path, args, name)
            for host, (path, *args), name in zip(hosts, options.commands, names, strict=False)
        ],
        show,
        dict(os.environ),
        on_start=Straces(options.strace, show).attach,
    )
    dog = Watchdog(hosts, lambda process, text: show("wire2app", text, 2))
    old = signal.signal(signal.SIGINT, lambda number, frame: _on_interrupt(programs))
    programs.start()
    try:
        with dog.watching():
            while not programs.done():
                engine.run(stop=programs.done)
                if engine.next_time() is None:
                    programs.end_stuck()
    finally:
        signal.signal(signal.SIGINT, old)
    engine.run(until=engine.now + SETTLE_NS)  # the last segments belong into the capture
    if capture is not None:
        capture.close()
    status = programs.finish()
    if programs.stopped:
        raise Interrupted  # whatever the programs made of it
    return status


def _on_interrupt(programs: Programs) -> None:
    """Ctrl-C is for the programs; whoever presses it again means this command."""
    if programs.asked_to_stop:
        raise KeyboardInterrupt
    programs.asked_to_stop = True


def _hosts(engine: VirtualEngine, seed: int, capture: Capture | None) -> list[Host]:
    """The two hosts, up."""
    link = Link(engine)
    ports: list[Port] = [link.a, link.b]
    if capture is not None:

        def record(direction: str, frame: bytes, start: int, end: int) -> None:
            capture.write(frame, end, outgoing=direction == "tx")

        ports[0] = Tapped(link.a, engine, record)
    hosts = [Host(engine, name, seed=seed) for name in ("a", "b")]
    for number, (host, port) in enumerate(zip(hosts, ports, strict=True)):
        device = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, number + 1]), port)
        host.start(host.up, device, f"{ADDRESSES[number]}/24")
    engine.run(until=engine.now)
    return hosts


# -- over the RTL NIC --------------------------------------------------------------------------


def _over_rtl(options: RunOptions, rtl: Rtl, names: Sequence[str], show: Show) -> int:
    out = OUT / f"{rtl.sim}-{rtl.bus}-{os.getpid()}"
    out.mkdir(parents=True, exist_ok=True)
    job = out / "job.json"
    job.write_text(json.dumps(_settings(options, rtl, names, out), indent=2) + "\n")
    reader, writer = os.pipe()
    statuses: list[int] = []
    thread = threading.Thread(target=_relay, args=(reader, show, statuses), daemon=True)
    thread.start()
    try:
        ended = simulate(
            bench_design(rtl.bus),
            JOB,
            sim=rtl.sim,
            seed=options.seed,
            env={"W2A_JOB": str(job), "W2A_OUTPUT_FD": str(writer)},
            work_dir=out,
            timeout_seconds=None,
            pass_fds=(writer,),
        )
    finally:
        os.close(writer)
        thread.join()
    if not ended.passed or not statuses:
        failed = "; ".join(message for _, ok, message in ended.tests if not ok)
        raise ToolError(f"The simulation failed, see {ended.log}: {ended.reason or failed}")
    return statuses[0]


def _settings(options: RunOptions, rtl: Rtl, names: Sequence[str], out: Path) -> Mapping[str, Any]:
    return {
        "sim": rtl.sim,
        "bus": rtl.bus,
        "seed": options.seed,
        "root": str(out),
        "out": str(out),
        "programs": [
            [name, os.path.abspath(path), *args]
            for name, (path, *args) in zip(names, options.commands, strict=True)
        ],
        "directory": os.getcwd(),
        "env": dict(os.environ),
        "strace": None if options.strace is None else asdict(options.strace),
        "pcap": None if options.pcap is None else str(options.pcap.resolve()),
    }


def _relay(reader: int, show: Show, statuses: list[int]) -> None:
    """Show what the job writes; its last line is a number."""
    with os.fdopen(reader) as lines:
        for line in lines:
            value = json.loads(line)
            if isinstance(value, int):
                statuses.append(value)
            else:
                prefix, text, fd = value
                show(prefix, text, fd)
