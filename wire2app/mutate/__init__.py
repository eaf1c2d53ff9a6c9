"""`wire2app mutate`: would the regression notice if the RTL were wrong?

One thing at a time is changed in the NIC, and its tests run until one fails.  What no test notices
is either a change that makes no difference, and then `tests/rtl/equivalent_mutants.toml` says why,
or a test that is missing.  Which mutants are drawn depends on the seed alone; they are tried in the
order they were drawn in, and results are kept, so that a run may be interrupted and goes on later.
A change of the RTL takes few mutants out of the draw and brings few in.
What survived is tried again when asked to: there may be new tests.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from wire2app.builds import ROOT, nic_sources
from wire2app.errors import ToolError
from wire2app.mutate.mutants import Mutant, mutants_of
from wire2app.mutate.results import Results, explained
from wire2app.mutate.trial import Plan, Trial, Usual, Workspace
from wire2app.progress import Display, Event
from wire2app.report import console, make_table
from wire2app.runners import check_simulator

__all__ = ["MutateOptions", "run_mutate"]

FOLDER = ROOT / "build" / "mutate"
USUAL = FOLDER / "usual.json"
EQUIVALENT = ROOT / "tests" / "rtl" / "equivalent_mutants.toml"
GENERATED = ("nic_regs_pkg",)


@dataclass(frozen=True)
class MutateOptions:
    """count: how many are drawn, by `seed`.  module: of this one only.  retry: survivors, too.

    list_only: run nothing.
    """

    count: int
    seed: int = 1
    jobs: int = 2
    module: str = ""
    retry: bool = False
    list_only: bool = False
    json: bool = False


def run_mutate(options: MutateOptions) -> int:
    """0 if every mutant was noticed or is explained, 1 if one was not; ToolError as it says."""
    out = console(sys.stderr if options.json else None)
    drawn = _draw(options)
    if options.list_only:
        for mutant in _in_order(drawn):
            print(mutant)
        return 0
    check_simulator("icarus")
    began = time.monotonic()
    reasons = explained(EQUIVALENT)
    results = _try_all(drawn, options, reasons, out)
    drawn = _in_order(drawn)
    survivors = [m for m in drawn if results[m.key].outcome == "survived"]
    open_ones = [m for m in survivors if m.key not in reasons]
    if options.json:
        print(json.dumps([{**asdict(m), **asdict(results[m.key])} for m in drawn], indent=1))
    else:
        _print(out, drawn, results, reasons, time.monotonic() - began)
    return 1 if open_ones else 0


def _draw(options: MutateOptions) -> list[Mutant]:
    sources = [path for path in nic_sources() if path.stem not in GENERATED]
    if options.module:
        sources = [path for path in sources if path.stem == options.module]
        if not sources:
            raise ToolError(f"There is no module {options.module!r} in hdl/nic.")
    everything = [mutant for path in sources for mutant in mutants_of(path, ROOT)]

    def lot(mutant: Mutant) -> bytes:  # by the mutant itself, not by how many there are
        return hashlib.sha256(f"{options.seed} {mutant.key}".encode()).digest()

    return sorted(everything, key=lot)[: options.count]


def _in_order(mutants: Sequence[Mutant]) -> list[Mutant]:
    return sorted(mutants, key=lambda mutant: (mutant.path, mutant.start))


def _try_all(
    drawn: Sequence[Mutant], options: MutateOptions, reasons: Collection[str], out: Console
) -> dict[str, Trial]:
    """Each mutant's trial, those known from before without running anything."""
    results = Results(FOLDER / f"results-{options.seed}.jsonl")
    if options.retry:
        results.forget_survivors()
    todo = [mutant for mutant in drawn if mutant.key not in results.known]
    if not todo:
        return results.known
    with results, Display(out) as display:
        spaces = [Workspace(FOLDER / f"work-{n}") for n in range(min(options.jobs, len(todo)))]
        digest = spaces[0].digest()
        plan = Plan(options.seed, _usual(digest), results.noticed, reasons)
        for done, (mutant, trial) in enumerate(_trials(todo, spaces, plan), 1):
            results.add(mutant.key, trial)
            USUAL.write_text(json.dumps({"digest": digest, "seconds": dict(plan.usual)}))
            display.update(Event("mutants", done, len(todo)))
            if trial.outcome == "survived":
                out.print(f"survived: {mutant}", soft_wrap=True, markup=False)
    return results.known


def _usual(digest: str) -> Usual:
    """What files of tests took on the design as it is, as far as it was measured before."""
    with suppress(OSError, ValueError):  # there is none, or it was cut short
        kept = json.loads(USUAL.read_text())
        if kept["digest"] == digest:
            return Usual(kept["seconds"])
    return {}


def _trials(
    todo: Sequence[Mutant], spaces: Sequence[Workspace], plan: Plan
) -> Iterator[tuple[Mutant, Trial]]:
    free: SimpleQueue[Workspace] = SimpleQueue()
    for space in spaces:
        free.put(space)

    def work(mutant: Mutant) -> Trial:
        space = free.get()
        try:
            return space.try_out(mutant, plan)
        finally:
            free.put(space)

    with ThreadPoolExecutor(len(spaces)) as pool:
        running: dict[Future[Trial], Mutant] = {}
        waiting = iter(todo)
        try:
            while True:
                while len(running) < len(spaces) and (mutant := next(waiting, None)) is not None:
                    running[pool.submit(work, mutant)] = mutant
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            for space in spaces:
                space.stop()
            pool.shutdown(cancel_futures=True)
            raise


def _print(
    out: Console,
    drawn: Sequence[Mutant],
    results: dict[str, Trial],
    reasons: dict[str, str],
    seconds: float,
) -> None:
    outcomes = [(mutant, results[mutant.key].outcome) for mutant in drawn]
    table = make_table("Mutants", out.is_terminal, "module", "killed", "hung", "survived", "broken")
    names = ("killed", "timeout", "survived", "broken")
    for module in sorted({Path(mutant.path).stem for mutant in drawn}):
        of = Counter(outcome for mutant, outcome in outcomes if Path(mutant.path).stem == module)
        table.add_row(module, *(str(of[name]) for name in names))
    out.print(table)
    for mutant, outcome in outcomes:
        if outcome == "survived":
            why = reasons.get(mutant.key, "not explained")
            out.print(f"{mutant}  [{mutant.key}]\n  {why}", soft_wrap=True, markup=False)
    of = Counter(outcome for _, outcome in outcomes)
    noticed, valid = of["killed"] + of["timeout"], len(outcomes) - of["broken"]
    unexplained = sum(o == "survived" and m.key not in reasons for m, o in outcomes)
    share = 100 * noticed / valid if valid else 100.0
    verdict = "FAIL" if unexplained else "PASS"
    out.print(
        f"\n{verdict}: {noticed} of {valid} mutants noticed ({share:.1f} %), "
        f"{of['survived']} survived, {unexplained} of them without a reason; {seconds:.0f} s",
        soft_wrap=True,
    )
