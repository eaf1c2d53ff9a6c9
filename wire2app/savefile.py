"""GTKWave's save file format, the part of it that is needed here.

pyvcd writes it too, but not the flag for signals that have their enum in the FST, and GTKWave
shows those as numbers without it, translation file or not.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TextIO

__all__ = ["SaveFile"]

HEX = 0x2
BIN = 0x8
RIGHT = 0x20
TRANSLATED = 0x2000
ENUM = 1 << 32
GROUP_BEGIN = 0x800200
GROUP_CLOSED = 0x400000
GROUP_END = 0x1000200
WINDOW = (1600, 1000)  # pixels
SIGNALS_WIDTH = 300


class SaveFile:
    """Writes a layout line by line; traces appear in the order in which they are added."""

    def __init__(self, file: TextIO, fst: Path, save: Path, start: int, column: int) -> None:
        """start: left edge of the view; column: time between two lines of the grid."""
        self._file = file
        self._translations: dict[Path, int] = {}
        self._line(f'[dumpfile] "{fst.resolve()}"')
        self._line(f'[savefile] "{save.resolve()}"')
        self._line(f"[timestart] {start}")
        self._line("[size] {} {}".format(*WINDOW))
        self._line(f"*{-math.log2(column):.6f} {start}" + " -1" * 26)
        self._line(f"[signals_width] {SIGNALS_WIDTH}")
        self._line("[sst_expanded] 0")

    def begin_group(self, title: str, closed: bool) -> None:
        self._line(f"@{GROUP_BEGIN | (GROUP_CLOSED if closed else 0):x}\n-{title}")

    def end_group(self, title: str, closed: bool) -> None:
        self._line(f"@{GROUP_END | (GROUP_CLOSED if closed else 0):x}\n-{title}")

    def trace(self, path: str, width: int) -> None:
        """A signal in hexadecimal, or a single bit."""
        self._signal(path, width, RIGHT | (BIN if width == 1 else HEX))

    def trace_enum(self, path: str, width: int) -> None:
        """A signal whose enum is in the FST."""
        self._signal(path, width, RIGHT | BIN | ENUM)

    def trace_translated(self, path: str, width: int, labels: Path) -> None:
        """A signal shown with the labels of a file: lines of hexadecimal value and label."""
        number = self._translations.setdefault(labels, len(self._translations) + 1)
        self._signal(path, width, RIGHT | HEX | TRANSLATED, f"^{number} {labels.resolve()}\n")

    def _signal(self, path: str, width: int, flags: int, before: str = "") -> None:
        bits = f"[{width - 1}:0]" if width > 1 else ""
        self._line(f"@{flags:x}\n{before}{path}{bits}")

    def _line(self, text: str) -> None:
        self._file.write(text + "\n")
