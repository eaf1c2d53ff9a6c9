"""`wire2app live`: real programs against the simulated host, over a TAP in a namespace of its own.

The job is the cocotb module `tb.jobs.live_job`.  It reads its settings from the JSON file named
by W2A_JOB, exchanges frames on the descriptor W2A_TAP_FD, reports {"phase": "ready"} to the file
named by W2A_PROGRESS, and ends when the descriptor W2A_STOP_FD reads end-of-file, which also
happens should this process die.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from wire2app.builds import build
from wire2app.errors import ToolError
from wire2app.netns import answers_ping, enter_namespace, make_tap
from wire2app.progress import Display, Event, show
from wire2app.report import console
from wire2app.sim import check_bus, check_file, make_empty
from wire2app.simulator import ROOT, SimResult, bench_design, check_simulator, simulate

__all__ = ["LiveOptions", "run_live"]

OUT = ROOT / "build" / "live"
JOB = "tb.jobs.live_job"
DEVICE = "tap0"
LINUX = "10.77.0.1"
HOST = "10.77.0.2"
PREFIX = 24
LINUX6 = "fd77::1"
HOST6 = "fd77::2"
PREFIX6 = 64
LINUX_MAC = bytes.fromhex("020000000001")
START_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class LiveOptions:
    """What the user asked for.  run: shell command, empty to stay up; file: serve its folder."""

    sim: str
    seed: int
    file: Path | None
    run: str
    waves: bool
    bus: str
    out: Path = OUT


@dataclass
class _Guest:
    """The simulator while it runs."""

    stop_fd: int
    ready: threading.Event = field(default_factory=threading.Event)
    process: Popen[bytes] | None = None
    result: SimResult | None = None
    error: BaseException | None = None
    thread: threading.Thread | None = None

    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def stop(self) -> None:
        """Ask it to end, then make it."""
        os.close(self.stop_fd)
        if self.thread is None:
            return
        self.thread.join(STOP_SECONDS)
        if self.thread.is_alive() and self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.thread.join()


def run_live(options: LiveOptions) -> int:
    """Bring everything up, run the command or wait for Ctrl-C, take everything down.

    Returns the command's status; 1 if the simulated host did not come up or broke under it.
    Raises ToolError on a bad request or where TAP or namespaces are not to be had.
    """
    check_simulator(options.sim)
    check_bus(options.bus)
    check_file(options.file, options.out)
    with make_empty(options.out):
        return _live(options)


def _live(options: LiveOptions) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    in_user_namespace = enter_namespace()  # first: it needs a process without threads
    tap = make_tap(DEVICE, f"{LINUX}/{PREFIX}", f"{LINUX6}/{PREFIX6}", LINUX_MAC)
    terminal = console(sys.stderr)  # standard output belongs to the command that is run
    progress = options.out / "progress.jsonl"
    with Display(terminal) as display:
        display.update(Event(f"build for {options.sim}"))
        build(bench_design(options.bus), options.sim, traced=options.waves)
        guest = _Guest(stop_fd=-1)
        with show(progress, lambda event: _on_event(event, guest, display)):
            display.update(Event("start"))
            _launch(options, tap, progress, guest)
            try:
                up = _wait_until_up(guest)
            except BaseException:
                guest.stop()
                raise
    if not up:
        guest.stop()
        return _explain(guest, f"The simulated host did not answer at {HOST}.")
    terminal.print(f"the simulated host answers at {HOST} and {HOST6}", soft_wrap=True)
    try:
        status = _run(options.run) if options.run else _stay(guest, in_user_namespace)
    finally:
        broke = not guest.alive()
        guest.stop()
    if broke or guest.result is None or not guest.result.passed:
        return _explain(guest, "The simulated host failed.") if status == 0 else status
    return status


def _on_event(event: Event, guest: _Guest, display: Display) -> None:
    if event.phase == "ready":
        guest.ready.set()
    elif not guest.ready.is_set():
        display.update(event)


def _launch(options: LiveOptions, tap: int, progress: Path, guest: _Guest) -> None:
    """Start the simulator in a thread; it inherits the TAP and the reading end of the stop pipe."""
    stop_read, guest.stop_fd = os.pipe()
    job = options.out / "job.json"
    job.write_text(json.dumps(_settings(options), indent=2) + "\n")
    environment = {
        "W2A_JOB": str(job),
        "W2A_PROGRESS": str(progress),
        "W2A_TAP_FD": str(tap),
        "W2A_STOP_FD": str(stop_read),
    }

    def started(process: Popen[bytes]) -> None:
        guest.process = process

    def body() -> None:
        try:
            guest.result = simulate(
                bench_design(options.bus),
                JOB,
                sim=options.sim,
                seed=options.seed,
                waves=options.out / "wave.fst" if options.waves else None,
                env=environment,
                work_dir=options.out,
                timeout_seconds=None,
                pass_fds=(tap, stop_read),
                on_start=started,
            )
        except Exception as error:
            guest.error = error

    guest.thread = threading.Thread(target=body, daemon=True)
    guest.thread.start()


def _settings(options: LiveOptions) -> dict[str, object]:
    """The job's settings.  root: the folder the host's HTTP server serves."""
    root = options.file.resolve().parent if options.file is not None else Path.cwd()
    return {
        "sim": options.sim,
        "seed": options.seed,
        "bus": options.bus,
        "root": str(root),
        "addresses": [f"{HOST}/{PREFIX}", f"{HOST6}/{PREFIX6}"],
        "gateway": LINUX,
        "out": str(options.out),
    }


def _wait_until_up(guest: _Guest) -> bool:
    """True once the job says it is ready and the host answers a ping."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and guest.alive():
        if guest.ready.wait(0.05) and answers_ping(HOST, 1.0):
            return True
    return False


def _run(command: str) -> int:
    """Run a shell command here; its status, 128 + n if signal n ended it."""
    status = subprocess.call(command, shell=True)
    return status if status >= 0 else 128 - status


def _stay(guest: _Guest, in_user_namespace: bool) -> int:
    """Say what can be done now and wait for Ctrl-C; 0."""
    enter = f"nsenter -t {os.getpid()} -n"
    if in_user_namespace:
        enter = f"nsenter -t {os.getpid()} -U --preserve-credentials -n"
    print(
        f"\nIn another terminal, get a shell in its network with\n\n    {enter}\n\n"
        "and try there\n\n"
        f"    curl http://{HOST}/\n"
        f"    ping {HOST}\n"
        f"    curl http://[{HOST6}]/\n"
        f"    ping -6 {HOST6}\n"
        f"    tcpdump -ni {DEVICE}\n\n"
        "or ask the simulated host itself: ss, tcpdump, ip ...\n\n"
        "    wire2app shell --live\n\n"
        "Ctrl-C ends it.",
        flush=True,
    )
    try:
        while guest.alive():
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
    return 0


def _explain(guest: _Guest, sentence: str) -> int:
    """Say on stderr why the simulated host is not there; 1.  Raises ToolError if that is known."""
    if isinstance(guest.error, ToolError):
        raise guest.error
    if guest.result is not None:
        print(f"--- end of {guest.result.log}", *guest.result.log_tail(), sep="\n", file=sys.stderr)
    elif guest.error is not None:
        sentence += f" {guest.error}"
    print(f"wire2app: {sentence}", file=sys.stderr)
    return 1
