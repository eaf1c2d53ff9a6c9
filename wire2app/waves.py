"""`wire2app waves`: GTKWave on the last run of `wire2app sim`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from wire2app.errors import ToolError
from wire2app.sim import OUT, SimOptions, run_sim

__all__ = ["open_waves"]


def open_waves() -> int:
    """Open GTKWave and wait until it is closed; its status.

    A run that recorded no signals is repeated first, recorded: same seed, same run.  Raises
    ToolError if there is no display or no GTKWave.
    """
    fst, save = OUT / "wave.fst", OUT / "wave.gtkw"
    if shutil.which("gtkwave") is None:
        raise ToolError("GTKWave is not installed: sudo apt-get install gtkwave.")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ToolError(
            "There is no display to open GTKWave on; `make sim WAVES=1` records the signals."
        )
    if not fst.exists():
        run_sim(_last_run())  # of a run that fails, too, the signals are there
    return subprocess.call(["gtkwave", "--dump", str(fst), "--save", str(save)])


def _last_run() -> SimOptions:
    """The last run again, recorded; the standard one if there was none."""
    try:
        job = json.loads((OUT / "job.json").read_text())
        file = None if job["file"] is None else Path(job["file"])
        return SimOptions(job["sim"], job["seed"], file, True, job["bus"])
    except (OSError, ValueError, KeyError):
        return SimOptions("verilator", 1, None, True, "fast")
