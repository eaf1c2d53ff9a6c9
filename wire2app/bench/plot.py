"""docs/performance.png from results.json: who spends the wall time, and fast against pins.

    .venv/bin/python -m wire2app.bench.plot [results.json [performance.png]]

Needs matplotlib, which is among the test requirements.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wire2app.bench.context import OUT
from wire2app.bench.results import FILE
from wire2app.errors import ToolError
from wire2app.runners import ROOT

PICTURE = ROOT / "docs" / "performance.png"
PARTS = {"rtl": "#4477aa", "transactors": "#ccbb44", "python": "#ee6677"}
BUS_COLOURS = {"fast": "#228833", "pins": "#bbbbbb"}

Row = Mapping[str, Any]


def plot(document: Mapping[str, Any], path: Path) -> None:
    """Two pictures side by side.  Raises ToolError without figures of the co-simulation, and
    without matplotlib."""
    rows: Sequence[Row] = document.get("cosim", [])
    if not rows:
        raise ToolError("No figures of the co-simulation: run `wire2app bench cosim` first.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ToolError("matplotlib is not installed: run `make setup`.") from error
    figure = Figure(figsize=(12, 0.28 * len(rows) + 1.2), layout="constrained")
    shares, speeds = figure.subplots(1, 2, sharey=True)
    _shares(shares, rows)
    _speeds(speeds, rows)
    figure.savefig(path, dpi=110)


def _label(row: Row) -> str:
    return f"{row['sim']} {row['bus']} {row['direction']} {row['frame_bytes']}"


def _shares(axes: Any, rows: Sequence[Row]) -> None:
    places = range(len(rows))
    left = [0.0] * len(rows)
    for part, colour in PARTS.items():
        widths = [100 * row["share"][part] for row in rows]
        axes.barh(places, widths, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(places, [_label(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the wall time, %")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(PARTS), frameon=False)


def _speeds(axes: Any, rows: Sequence[Row]) -> None:
    for bus, colour in BUS_COLOURS.items():
        places = [place for place, row in enumerate(rows) if row["bus"] == bus]
        axes.barh(places, [rows[p]["frames_per_s"] for p in places], color=colour, label=bus)
    axes.set_xscale("log")
    axes.set_xlabel("frames a wall second")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def main(arguments: Sequence[str]) -> int:
    """Exit status 2 with one sentence if there is nothing to draw or nothing to draw with."""
    source = Path(arguments[0]) if arguments else OUT / FILE
    target = Path(arguments[1]) if len(arguments) > 1 else PICTURE
    try:
        plot(json.loads(source.read_text()), target)
    except (OSError, ValueError) as error:
        print(f"wire2app: cannot read {source}: {error}", file=sys.stderr)
        return 2
    except ToolError as error:
        print(f"wire2app: {error}", file=sys.stderr)
        return 2
    print(f"written to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
