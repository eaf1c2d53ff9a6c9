"""Many seeded runs on several processes, as of `netsim` and `fuzz`: progress, summary, replay."""

from __future__ import annotations

import faulthandler
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wire2app.errors import ToolError
from wire2app.progress import Display, Event
from wire2app.report import console, make_table

__all__ = ["Options", "Outcome", "Sweep", "run_seeds"]

WALL_LIMIT = 300  # seconds; a chunk takes a few
SHOWN = 10  # failures told in full


@dataclass
class Outcome:
    """What became of one seed; `failure` is empty if everything held.

    `ending` is one of the names the caller has for how runs end, "none" if it did not run.
    `seconds` are of virtual time.  `counts` adds up over runs; reasons of drops begin with "drop.".
    """

    seed: int
    ending: str
    failure: str = ""
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


def run_seeds(
    run: Callable[[int], Outcome], seeds: Sequence[int], jobs: int, chunk: int
) -> Iterator[Outcome]:
    """Outcomes as they come; a worker takes `chunk` seeds at a time, `run` is a module's function.

    Few chunks are given out at a time, so that an interrupt ends it soon.  A worker that dies, or
    hangs without time getting on, fails those; the rest runs on new workers.
    """
    chunks = [seeds[at : at + chunk] for at in range(0, len(seeds), chunk)]
    if jobs == 1 or len(chunks) == 1:
        yield from map(run, seeds)
        return
    todo = deque(chunks)
    while todo:
        with ProcessPoolExecutor(jobs) as pool:
            given_out: dict[Future[list[Outcome]], Sequence[int]] = {}
            broken = False
            while given_out or (todo and not broken):
                try:
                    while todo and not broken and len(given_out) < 2 * jobs:
                        given_out[pool.submit(_run_chunk, run, todo[0])] = todo[0]
                        todo.popleft()
                except BrokenProcessPool:
                    broken = True
                for future in wait(given_out, return_when=FIRST_COMPLETED).done:
                    part = given_out.pop(future)
                    broken = broken or future.exception() is not None
                    yield from _outcomes(future, part)


def _outcomes(future: Future[list[Outcome]], part: Sequence[int]) -> list[Outcome]:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = f"not run: a worker ended, or took {WALL_LIMIT} s for some seeds"
        return [Outcome(seed, "none", reason) for seed in part]


def _run_chunk(run: Callable[[int], Outcome], chunk: Sequence[int]) -> list[Outcome]:
    faulthandler.dump_traceback_later(WALL_LIMIT, exit=True)
    try:
        return [run(seed) for seed in chunk]
    finally:
        faulthandler.cancel_dump_traceback_later()


# -- the command ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    seeds: int
    first: int = 0
    jobs: int = 2
    json: Path | None = None


@dataclass(frozen=True)
class Sweep:
    """A command made of seeded runs.

    `name` as it is typed.  `endings` has a few words for each that an `Outcome` may name.
    `describe(seed)` tells what a seed stands for, when it is the only one.
    """

    name: str
    run: Callable[[int], Outcome]
    chunk: int
    endings: dict[str, str]
    describe: Callable[[int], str] = lambda seed: ""

    def __call__(self, options: Options) -> int:
        """0 if every run held, 1 if not.  ToolError if the results cannot be written."""
        if options.json is not None and not options.json.parent.is_dir():
            raise ToolError(f"Cannot write results to {options.json}: no such folder.")
        terminal = console()
        outcomes: list[Outcome] = []
        began = time.monotonic()
        seeds = range(options.first, options.first + options.seeds)
        with Display(terminal) as display:
            for outcome in run_seeds(self.run, seeds, options.jobs, self.chunk):
                outcomes.append(outcome)
                display.update(Event("runs", len(outcomes), options.seeds))
        seconds = time.monotonic() - began
        outcomes.sort(key=lambda outcome: outcome.seed)
        if options.seeds == 1:
            terminal.print(self.describe(options.first), soft_wrap=True, markup=False)
        self._print(terminal, outcomes, seconds)
        if options.json is not None:
            document = {"seconds": round(seconds, 2), "runs": [vars(o) for o in outcomes]}
            options.json.write_text(json.dumps(document, indent=1) + "\n")
        return 1 if any(outcome.failure for outcome in outcomes) else 0

    def _print(self, out: Console, outcomes: list[Outcome], seconds: float) -> None:
        failures = [outcome for outcome in outcomes if outcome.failure]
        out.print()
        for table in self._tables(outcomes, out.is_terminal):
            out.print(table)
        for outcome in failures[:SHOWN]:
            out.print(f"\nseed {outcome.seed}: {outcome.failure}", soft_wrap=True, markup=False)
            replay = f"wire2app {self.name} --first {outcome.seed} --seeds 1"
            out.print(f"replay: {replay}", soft_wrap=True)
        if len(failures) > SHOWN:
            more = " ".join(str(outcome.seed) for outcome in failures[SHOWN:])
            out.print(f"\nfailed, too: {more}", soft_wrap=True)
        rate = len(outcomes) / seconds * 60
        verdict = f"FAIL: {len(failures)} of" if failures else "PASS:"
        out.print(f"\n{verdict} {len(outcomes):,} runs in {seconds:.1f} s, {rate:,.0f} a minute")

    def _tables(self, outcomes: list[Outcome], fancy: bool) -> Iterator[Table]:
        endings = Counter(outcome.ending for outcome in outcomes)
        counts = sum((outcome.counts for outcome in outcomes), Counter[str]())
        reasons = {name: n for name, n in counts.items() if name.startswith("drop.")}
        things = {name: n for name, n in counts.items() if name not in reasons}
        meaning = {**self.endings, "none": "did not run"}
        rows = [(f"{name}: {meaning[name]}", n) for name, n in endings.most_common()]
        yield _table("How the runs ended", "ending", rows, fancy)
        yield _table("In all", "what", list(things.items()), fancy)
        drops = sorted(reasons.items(), key=lambda item: -item[1])
        rows = [(name.removeprefix("drop."), n) for name, n in drops]
        yield _table("Dropped by the hosts", "reason", rows, fancy)


def _table(title: str, first: str, rows: list[tuple[str, int]], fancy: bool) -> Table:
    table = make_table(title, fancy, first, "number")
    for name, number in rows:
        table.add_row(name, f"{number:,}")
    return table
