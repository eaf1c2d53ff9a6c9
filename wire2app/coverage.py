"""`wire2app coverage`: which lines, bits and kinds of traffic of the NIC the regression reached.

The tests of the RTL run on Verilator with coverage built in; what each run counted is merged.
Lines are Verilator's statements and branches, toggles its bits; functional points are those of
`tb/coverage.py`.  `tests/rtl/coverage_holes.toml` says why a hole is one.
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

from tb.coverage import measure, read_samples
from wire2app.builds import ROOT, nic_sources
from wire2app.errors import ToolError
from wire2app.report import console, make_table

__all__ = ["Coverage", "CoverageOptions", "read_counts", "run_coverage"]

FOLDER = ROOT / "build" / "coverage"
HOLES = ROOT / "tests" / "rtl" / "coverage_holes.toml"
LINE_GOAL, FUNCTIONAL_GOAL = 95.0, 90.0  # per cent
SIMULATION_ONLY = re.compile(r"`ifndef SYNTHESIS\n.*?`endif", re.DOTALL)
# Where no NIC is simulated, and proofs and synthesis.
ELSEWHERE = ("test_bench_*", "test_formal.py", "test_synthesis.py", "test_rx_reference.py")
FIRST = "test_scoreboard.py"  # the longest, so that it is not alone in the end
ROUNDS = "1200"  # of the scoreboard, which reaches most of the functional bins
SHOWN_WHOLE = 3  # a bin of so many things is named, those of more things are counted
GROUPED = ("alignment", "queue", "stall")

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
    missing = [test for test in options.tests if not (ROOT / test.partition("::")[0]).exists()]
    if missing:
        raise ToolError(f"There is no {missing[0]}.")
    failed = 0 if options.reuse else _run_tests(options)
    found = sorted(FOLDER.glob("*.dat"))
    if not found and options.tests and not options.reuse:
        raise ToolError(f"Nothing was counted: {', '.join(options.tests)} simulated no NIC.")
    if not found:
        raise ToolError("Nothing was counted: run `wire2app coverage` first.")
    coverage = Coverage()
    read_counts(_lines(found), coverage)
    for item, bin_, hits in measure(read_samples(FOLDER)):
        coverage.functional[item, bin_] = hits
    reasons = _reasons()
    holes = list(_holes(coverage, reasons))
    if options.json:
        print(json.dumps(_document(coverage, holes), indent=1))
    else:
        _print(console(), coverage, holes)
        for where, what in sorted(reasons.keys() - {hole.key for hole in holes}):
            console().print(f"is no hole: {where}: {what}", soft_wrap=True)
    return 0 if _reached(coverage, holes) and not failed else 1


def _run_tests(options: CoverageOptions) -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    command = [sys.executable, "-m", "pytest", *(options.tests or _regression()), "-q", "-n", "2"]
    command += ["--sim=verilator", f"--seed={options.seed}"]
    environment = {"SCOREBOARD_ROUNDS": ROUNDS, **os.environ, "W2A_COVERAGE": str(FOLDER)}
    out = sys.stderr if options.json else None
    return subprocess.call(command, cwd=ROOT, env=environment, stdout=out)


def _regression() -> list[str]:
    """The tests of the NIC's RTL."""
    found = [path for path in HOLES.parent.glob("test_*.py") if not any(map(path.match, ELSEWHERE))]
    found.sort(key=lambda path: (path.name != FIRST, path.name))
    return [str(path.relative_to(ROOT)) for path in found]


# -- what was counted ------------------------------------------------------------------------


def read_counts(lines: Iterable[str], coverage: Coverage) -> None:
    """Add what runs of Verilator counted: the lines of their `coverage.dat` files.

    Counted are the NIC's own sources; what is between `ifndef SYNTHESIS` is not of the NIC.
    """
    counted: Counter[str] = Counter()
    for line in lines:
        if line.startswith("C "):
            point, _, times = line.rpartition(" ")
            counted[point] += int(times)
    outside = _simulation_only()
    for point, count in counted.items():
        facts = dict(part.split("\x02", 1) for part in point[3:-1].split("\x01") if part)
        source = Path(facts["f"])
        place = (source.name, int(facts["l"]))
        if source.parent.name != "nic" or place in outside:
            continue
        kind = facts["page"].partition("/")[0]
        counts = coverage.toggles if kind == "v_toggle" else coverage.lines
        counts[(*place, int(facts["n"]), facts["o"])] += count


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        with path.open(errors="replace") as lines:
            yield from lines


def _simulation_only() -> set[tuple[str, int]]:
    found = set()
    for path in nic_sources():
        text = path.read_text()
        for match in SIMULATION_ONLY.finditer(text):
            first = text.count("\n", 0, match.start()) + 1
            found |= {(path.name, first + n) for n in range(match[0].count("\n") + 1)}
    return found


def _share(counts: Mapping[Any, int]) -> float:
    """Per cent of the points that were reached."""
    return 100 * sum(count > 0 for count in counts.values()) / len(counts) if counts else 0.0


# -- what is shown ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Hole:
    """What was never reached: sides of a line, or bins.

    key: (file name, text of the line) or (item, bin), by which a reason is found.
    """

    key: tuple[str, str]
    shown: str
    why: str = ""
    of_lines: bool = True


def _reasons() -> dict[tuple[str, str], str]:
    """Why a hole is one, by `Hole.key`."""
    if not HOLES.exists():
        return {}
    table = tomllib.loads(HOLES.read_text())
    return {(entry["where"], entry["what"]): entry["why"] for entry in table["hole"]}


def _holes(coverage: Coverage, reasons: Mapping[tuple[str, str], str]) -> Iterator[Hole]:
    """A line each; of items with many bins a group each."""
    texts = {path.name: path.read_text().splitlines() for path in nic_sources()}
    missed: dict[tuple[str, int], list[str]] = {}
    for (name, line, _, what), count in sorted(coverage.lines.items()):
        if not count:
            missed.setdefault((name, line), []).append(what)
    for (name, line), sides in missed.items():
        text = texts[name][line - 1].strip()
        shown = f"{name}:{line}: {', '.join(sides)}: {text}"
        yield Hole((name, text), shown, reasons.get((name, text), ""))
    groups: dict[tuple[str, str], list[bool]] = {}
    for (item, bin_), count in coverage.functional.items():
        groups.setdefault((item, _group(item, bin_)), []).append(count > 0)
    for (item, group), reached in groups.items():
        if not all(reached):
            several = f", {reached.count(False)} of {len(reached)}" if len(reached) > 1 else ""
            why = reasons.get((item, group), "")
            yield Hole((item, group), f"{item}: {group}{several}", why, False)


def _group(item: str, bin_: str) -> str:
    """A bin without what only says where and how a transfer went, if it has more than that."""
    names, values = item.rpartition(".")[2].split(" x "), bin_.split(" x ")
    if len(names) <= SHOWN_WHOLE:
        return bin_
    pairs = zip(names, values, strict=True)
    return " x ".join(value for name, value in pairs if name not in GROUPED)


def _reached(coverage: Coverage, holes: Iterable[Hole]) -> bool:
    """Both goals, and a reason for each line that is missing."""
    functional = _share(coverage.functional)
    goals = _share(coverage.lines) >= LINE_GOAL and functional >= FUNCTIONAL_GOAL
    return goals and all(hole.why for hole in holes if hole.of_lines)


def _modules(coverage: Coverage) -> Iterable[tuple[str, Counter[Point], Counter[Point]]]:
    for name in sorted({point[0] for point in coverage.lines | coverage.toggles}):
        lines = Counter({p: n for p, n in coverage.lines.items() if p[0] == name})
        toggles = Counter({p: n for p, n in coverage.toggles.items() if p[0] == name})
        yield name, lines, toggles


def _items(coverage: Coverage) -> dict[str, list[int]]:
    items: dict[str, list[int]] = {}
    for (item, _), count in coverage.functional.items():
        items.setdefault(item, []).append(count)
    return items


def _print(out: Console, coverage: Coverage, holes: Sequence[Hole]) -> None:
    table = make_table(
        "Coverage of the RTL", out.is_terminal, "module", "lines", "reached", "toggles", "reached "
    )
    total = ("all", coverage.lines, coverage.toggles)
    for name, lines, toggles in (*_modules(coverage), total):
        share = f"{_share(lines):.1f} %" if lines else ""
        table.add_row(name, str(len(lines)), share, str(len(toggles)), f"{_share(toggles):.1f} %")
    out.print(table)
    table = make_table("Kinds of traffic", out.is_terminal, "item", "bins", "reached")
    for name, counts in _items(coverage).items():
        table.add_row(name, str(len(counts)), f"{_share(dict(enumerate(counts))):.1f} %")
    out.print(table)
    for hole in holes:
        reason = f"\n  {hole.why}" if hole.why else ""
        out.print(f"not reached: {hole.shown}{reason}", soft_wrap=True)
    unexplained = sum(not hole.why for hole in holes if hole.of_lines)
    shares = (
        f"lines {_share(coverage.lines):.1f} % of {LINE_GOAL:.0f}",
        f"functional {_share(coverage.functional):.1f} % of {FUNCTIONAL_GOAL:.0f}",
        f"toggles {_share(coverage.toggles):.1f} %; {unexplained} lines missing without a reason",
    )
    verdict = "PASS" if _reached(coverage, holes) else "FAIL"
    out.print(f"\n{verdict}: {', '.join(shares)}", soft_wrap=True)


def _document(coverage: Coverage, holes: Iterable[Hole]) -> dict[str, Any]:
    return {
        "line": round(_share(coverage.lines), 2),
        "toggle": round(_share(coverage.toggles), 2),
        "functional": round(_share(coverage.functional), 2),
        "modules": {
            name: {
                "line": round(_share(lines), 2) if lines else None,
                "toggle": round(_share(toggles), 2),
            }
            for name, lines, toggles in _modules(coverage)
        },
        "holes": [hole.shown for hole in holes],
    }
