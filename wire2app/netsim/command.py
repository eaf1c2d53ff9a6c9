"""Many seeds on several processes: progress, a summary, and how to see a failure again."""

from __future__ import annotations

import faulthandler
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat

from rich.console import Console
from rich.table import Table

from wire2app.errors import ToolError
from wire2app.netsim.draw import draw
from wire2app.netsim.run import Outcome, run_seed
from wire2app.progress import Display, Event
from wire2app.report import console, make_table

__all__ = ["Options", "run_netsim", "sweep"]

CHUNK = 25  # seeds a worker takes at a time
WALL_LIMIT = 300  # seconds; a chunk takes a few
SHOWN = 10  # failures told in full


@dataclass(frozen=True)
class Options:
    seeds: int = 1000
    first: int = 0
    jobs: int = 2
    json: Path | None = None


def run_netsim(options: Options) -> int:
    """0 if every run held, 1 if not.  ToolError if the results cannot be written."""
    if options.json is not None and not options.json.parent.is_dir():
        raise ToolError(f"Cannot write results to {options.json}: no such folder.")
    terminal = console()
    outcomes: list[Outcome] = []
    began = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    with Display(terminal) as display:
        for outcome in sweep(seeds, options.jobs):
            outcomes.append(outcome)
            display.update(Event("runs", len(outcomes), options.seeds))
    seconds = time.monotonic() - began
    outcomes.sort(key=lambda outcome: outcome.seed)
    _print(terminal, outcomes, seconds, options)
    if options.json is not None:
        options.json.write_text(json.dumps(_document(outcomes, seconds), indent=1) + "\n")
    return 1 if any(outcome.failure for outcome in outcomes) else 0


def sweep(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come.  A worker that dies, or hangs without time getting on, fails the
    seeds it had, and those nobody had yet."""
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        yield from map(run_seed, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(_run_chunk, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            yield from _outcomes(future, futures[future])


def _outcomes(future: Future[list[Outcome]], chunk: Sequence[int]) -> list[Outcome]:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = f"not run: a worker ended, or took {WALL_LIMIT} s for some seeds"
        return [Outcome(seed, "none", reason) for seed in chunk]


def _run_chunk(seeds: Sequence[int]) -> list[Outcome]:
    faulthandler.dump_traceback_later(WALL_LIMIT, exit=True)
    try:
        return [run_seed(seed) for seed in seeds]
    finally:
        faulthandler.cancel_dump_traceback_later()


# -- telling ---------------------------------------------------------------------------------


def _print(out: Console, outcomes: list[Outcome], seconds: float, options: Options) -> None:
    failures = [outcome for outcome in outcomes if outcome.failure]
    if options.seeds == 1:
        out.print(pformat(draw(options.first), width=96), soft_wrap=True, markup=False)
    out.print()
    for table in _tables(outcomes, out.is_terminal):
        out.print(table)
    for outcome in failures[:SHOWN]:
        out.print(f"\nseed {outcome.seed}: {outcome.failure}", soft_wrap=True, markup=False)
        out.print(f"replay: wire2app netsim --first {outcome.seed} --seeds 1", soft_wrap=True)
    if len(failures) > SHOWN:
        more = " ".join(str(outcome.seed) for outcome in failures[SHOWN:])
        out.print(f"\nfailed, too: {more}", soft_wrap=True)
    rate = len(outcomes) / seconds * 60
    verdict = f"FAIL: {len(failures)} of" if failures else "PASS:"
    out.print(f"\n{verdict} {len(outcomes):,} runs in {seconds:.1f} s, {rate:,.0f} a minute")


def _tables(outcomes: list[Outcome], fancy: bool) -> Iterator[Table]:
    endings = Counter(outcome.ending for outcome in outcomes)
    counts = sum((outcome.counts for outcome in outcomes), Counter[str]())
    reasons = {name: n for name, n in counts.items() if name.startswith("drop.")}
    things = {name: n for name, n in counts.items() if name not in reasons}
    meaning = {
        "complete": "all bytes both ways, both ends",
        "reset": "one side ended with RST (SO_LINGER 0)",
        "unread": "one side closed with data unread",
        "none": "did not run",
    }
    rows = [(f"{name}: {meaning[name]}", n) for name, n in endings.most_common()]
    yield _table("How the streams ended", "ending", rows, fancy)
    yield _table("In all", "what", list(things.items()), fancy)
    drops = sorted(reasons.items(), key=lambda item: -item[1])
    rows = [(name.removeprefix("drop."), n) for name, n in drops]
    yield _table("Dropped by the hosts", "reason", rows, fancy)


def _table(title: str, first: str, rows: list[tuple[str, int]], fancy: bool) -> Table:
    table = make_table(title, fancy, first, "number")
    for name, number in rows:
        table.add_row(name, f"{number:,}")
    return table


def _document(outcomes: list[Outcome], seconds: float) -> dict[str, object]:
    return {"seconds": round(seconds, 2), "runs": [vars(outcome) for outcome in outcomes]}
