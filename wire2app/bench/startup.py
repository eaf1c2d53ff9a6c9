"""From the command `wire2app sim` to the first packet, with nothing compiled and with everything.

Another process runs the command on a file of one byte; its progress file says when that byte has
arrived.  The cache of the cold run is an empty folder (W2A_CACHE).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict
from wire2app.errors import ToolError

SIM = "verilator"
FIRST_PACKET = "fetch"  # the phase that begins when data has come
TIMEOUT_SECONDS = 240
POLL_SECONDS = 0.02


def run(context: Context) -> TreeDict:
    """`cold_s` once, for it is long; `warm_s` as often as everything else."""
    if not context.simulators(SIM):
        return {}
    with tempfile.TemporaryDirectory(prefix="w2a-bench-") as folder:
        context.progress(0, context.rounds + 1)
        cold = first_packet(Path(folder))
        warm = []
        for done in range(context.rounds):
            context.progress(done + 1, context.rounds + 1)
            warm.append(first_packet(Path(folder)))
    return {"cold_s": Figure((cold,)), "warm_s": Figure(tuple(warm))}


def first_packet(folder: Path) -> float:
    """Seconds until the first byte is there; the build cache is below `folder`.

    Raises ToolError if the command fails.
    """
    served, out = folder / "one-byte", folder / "sim"
    served.write_bytes(b"x")
    progress = out / "progress.jsonl"
    progress.unlink(missing_ok=True)
    begin = time.monotonic()
    with _command(folder, served, out) as process:
        while not _reached(progress):
            if process.poll() is not None or time.monotonic() - begin > TIMEOUT_SECONDS:
                log = (folder / "command.log").read_text(errors="replace")
                raise ToolError(f"`wire2app sim` did not get to its first packet:\n{log}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - begin


@contextmanager
def _command(folder: Path, served: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`wire2app sim` as the user calls it; at the end it has ended."""
    arguments = ["sim", "--sim", SIM, "--file", str(served), "--out", str(out)]
    ours = ("SIM", "SEED", "FILE", "WAVES", "BUS")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env["W2A_CACHE"] = str(folder / "cache")
    with open(folder / "command.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wire2app", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
            process.wait(TIMEOUT_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()  # which ends the simulator, too
                process.wait()


def _reached(progress: Path) -> bool:
    """Has the job told of FIRST_PACKET?"""
    if not progress.exists():
        return False
    for line in progress.read_text().splitlines():
        try:
            if json.loads(line)["phase"] == FIRST_PACKET:
                return True
        except ValueError:  # a line half written
            return False
    return False
