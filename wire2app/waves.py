"""`wire2app waves`: GTKWave on the last run of `wire2app sim`."""

from __future__ import annotations

import os
import shutil
import subprocess

from wire2app.errors import ToolError
from wire2app.sim import OUT

__all__ = ["open_waves"]


def open_waves() -> int:
    """Open GTKWave and wait until it is closed; its status.

    Raises ToolError if there is no waveform, no display or no GTKWave.
    """
    fst, save = OUT / "wave.fst", OUT / "wave.gtkw"
    if not fst.exists():
        raise ToolError("There is no waveform yet: run `make sim` first (with WAVES=1).")
    if shutil.which("gtkwave") is None:
        raise ToolError("GTKWave is not installed: sudo apt-get install gtkwave.")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ToolError(f"There is no display to open GTKWave on; the waveform is {fst}.")
    return subprocess.call(["gtkwave", "--dump", str(fst), "--save", str(save)])
