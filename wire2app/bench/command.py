"""`wire2app bench`: run sections one after the other, show progress, then table and file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from wire2app.bench.context import OUT, Context
from wire2app.bench.figures import Tree
from wire2app.bench.results import assemble, save
from wire2app.bench.sections import SECTIONS
from wire2app.bench.table import print_tables
from wire2app.errors import ToolError
from wire2app.progress import Display, Event
from wire2app.report import console

__all__ = ["BenchOptions", "run_bench"]


@dataclass(frozen=True)
class BenchOptions:
    """What the user asked for.  json: print the file's content and no table."""

    sections: Sequence[str] = ()
    quick: bool = False
    json: bool = False
    seed: int = 1
    out: Path = OUT


def run_bench(options: BenchOptions) -> int:
    """Measure and report; 0, or 2 if something could not be measured here.

    Raises ToolError for a section that does not exist.
    """
    names = choose(options.sections)
    _make(options.out)
    context = Context(quick=options.quick, out=options.out, seed=options.seed)
    # With --json standard output is for the document alone.
    terminal = console(sys.stderr) if options.json else console()
    document = measure(names, context, terminal)
    path = save(document, options.out)
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        print_tables(document, terminal)
        terminal.print(f"\nwritten to {path}", soft_wrap=True)
    for section, sentence in context.missing.items():
        print(f"wire2app: bench {section} is incomplete: {sentence}", file=sys.stderr)
    return 2 if context.missing else 0


def _make(folder: Path) -> None:
    """Before minutes of measuring: will the results have a place?"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(f"Cannot write results to {folder}: {error.strerror}.") from error


def choose(wanted: Sequence[str]) -> list[str]:
    """The sections to run, in their order; all of them if none is named."""
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        raise ToolError(f"Unknown section {unknown[0]!r}: there are {', '.join(SECTIONS)}.")
    return [name for name in SECTIONS if not wanted or name in wanted]


def measure(names: Sequence[str], context: Context, terminal: Console) -> dict[str, Any]:
    """Run the sections.  One that fails with ToolError is marked missing; the others go on."""
    measured: dict[str, Tree] = {}
    seconds: dict[str, float] = {}
    with Display(terminal) as display:
        context.tell = display.update
        for name in names:
            context.section = name
            display.update(Event(name))
            begin = time.monotonic()
            try:
                measured[name] = SECTIONS[name](context)
            except ToolError as error:
                context.lacks(str(error))
            seconds[name] = time.monotonic() - begin
    return assemble(measured, context.missing, seconds, context.quick)
