"""What the runs came to: a line a script, the two packets of a mismatch, a table by folder."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from packetdrill.runner import Result

_STYLES = {"pass": "green", "fail": "red", "unsupported": "yellow"}
STATUSES = tuple(_STYLES)


def print_result(console: Console, result: Result, verbose: bool) -> None:
    """`script:line: message`, then script and actual packet, as packetdrill has it."""
    style = _STYLES[result.status]
    if result.status == "pass":
        console.print(f"[{style}]pass[/] {escape(result.path)}")
    else:
        where = f"{result.path}:{result.line}" if result.line else result.path
        console.print(f"[{style}]{result.status}[/] {escape(where)}: {escape(result.message)}")
        for name, text in (("script", result.expected), ("actual", result.actual)):
            for line in text.splitlines():
                console.print(f"{name} packet: {escape(line)}")
    if verbose:
        for line in (*result.log, *(f"note: {note}" for note in result.notes)):
            console.print(f"  {escape(line)}")
        for line in result.output.splitlines():
            console.print(f"  printed: {escape(line)}")


def folder_table(results: Sequence[Result]) -> Table:
    """Scripts by folder and outcome; folders are named from where they part."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    folders = [str(Path(result.path).resolve().parent) for result in results]
    common = os.path.commonpath(folders)
    for folder, result in zip(folders, results, strict=True):
        counts[os.path.relpath(folder, common)][result.status] += 1
    table = Table("folder", *(f"{status}" for status in STATUSES), "of", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    total: Counter[str] = Counter()
    for folder, counter in sorted(counts.items()):
        total += counter
        table.add_row(folder, *_cells(counter))
    table.add_row("all", *_cells(total))
    return table


def _cells(counter: Counter[str]) -> list[str]:
    return [str(counter[status] or "·") for status in STATUSES] + [str(counter.total())]


def cause_table(results: Sequence[Result]) -> Table:
    """Causes of what did not pass, the most frequent first."""
    causes = Counter((r.status, r.kind) for r in results if r.status != "pass")
    table = Table("scripts", "outcome", "cause", box=None)
    for (status, kind), number in causes.most_common():
        table.add_row(str(number), status, escape(kind))
    return table


def write_json(path: Path, results: Sequence[Result]) -> None:
    path.write_text(json.dumps([result.as_dict() for result in results], indent=1) + "\n")
