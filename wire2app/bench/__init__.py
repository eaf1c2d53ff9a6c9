"""`wire2app bench`: how fast all this is, in figures that can be compared between two versions.

A section is a module here with a `run(context)` that gives a tree of `figures.Figure`; `sections`
lists them, `command` runs them, `table` shows them, `results` writes build/bench/results.json.
"""

from __future__ import annotations

from wire2app.bench.command import BenchOptions, run_bench
from wire2app.bench.sections import SECTIONS

__all__ = ["SECTIONS", "BenchOptions", "run_bench"]
