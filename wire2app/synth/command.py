"""`wire2app synth`: what the NIC costs in an FPGA and how fast it is.

The one-queue 64-bit NIC for ECP5 and Xilinx 7, against the budget; or any module by itself, which
takes seconds and lists its longest paths.  Files are left under build/synth.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from wire2app.errors import ToolError
from wire2app.nic_params import check_parameters
from wire2app.progress import Display, Event
from wire2app.report import console, make_table
from wire2app.simulator import ROOT, nic_sources
from wire2app.synth.budget import over_budget
from wire2app.synth.delays import Path, longest_paths
from wire2app.synth.flow import FAMILIES, Design, Synthesis, synthesize
from wire2app.synth.netlist import COLUMNS
from wire2app.synth.place import Placement, place_best

OUT = ROOT / "build" / "synth"
SMALLEST = {"Queues": 1, "AxiDataW": 64, "TxChecksum": 0, "TxSegment": 0, "RxOffload": 0}
NIC = Design("nic_top", SMALLEST)
DEPTH = 2  # instances a table row may be below the top
PATHS = 12


@dataclass(frozen=True)
class SynthOptions:
    """module: by itself, with `parameters` ("Name=1"); the NIC if empty.  quick: nothing placed.
    seed, seeds: the first of the placer, and how many; the best one counts."""

    module: str
    parameters: Sequence[str]
    quick: bool
    json: bool
    seed: int
    seeds: int


def run_synth(options: SynthOptions) -> int:
    """Synthesize, print, compare; 1 if something is over budget, a latch or undriven."""
    if options.module:
        return _one_module(options)
    if options.parameters:
        raise ToolError(
            "Parameters are those of one module: name it, as in `synth nic_top -p ...`."
        )
    placed, results = None, {}
    with Display(Console(stderr=True)) as display:
        for family in ["ecp5"] if options.quick else list(FAMILIES):
            display.update(Event(f"map to {family}"))
            results[family] = synthesize(NIC, family, OUT / family)
        if not options.quick:
            seeds = range(options.seed, options.seed + options.seeds)
            placed = place_best(results["ecp5"].module, OUT / "ecp5", seeds, display.update)
    paths = longest_paths(results["ecp5"].netlist)
    problems = [
        problem
        for family, result in results.items()
        for problem in _problems(family, result, paths, placed)
    ]
    if options.json:
        print(json_module.dumps(_document(results, paths, placed, problems), indent=2))
    else:
        _print(results, paths, placed, problems)
    return 1 if problems else 0


def _one_module(options: SynthOptions) -> int:
    if options.module not in {path.stem for path in nic_sources()}:
        raise ToolError(f"There is no module {options.module!r} in hdl/nic.")
    design = Design(options.module, _parameters(options.parameters))
    if options.module == NIC.top:
        check_parameters(nic_sources(), design.parameters)
    result = synthesize(design, "ecp5", OUT / options.module)
    results, paths = {"ecp5": result}, longest_paths(result.netlist)
    if options.json:
        print(json_module.dumps(_document(results, paths, None, []), indent=2))
    else:
        _print(results, paths, None, [], title=str(design))
    return 0


def _parameters(words: Sequence[str]) -> dict[str, int]:
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name.isidentifier() or not value.isdigit():
            raise ToolError(f"{word!r} is no parameter; say Name=number.")
        found[name] = int(value)
    return found


def _problems(
    family: str, result: Synthesis, paths: Sequence[Path], placed: Placement | None
) -> list[str]:
    figures: dict[str, float] = {**result.netlist.total()}
    if family == "ecp5":
        figures["ns"] = paths[0].ns
        if placed:
            figures["mhz"] = placed.mhz
    found = over_budget(family, figures)
    if result.latches:
        found.append(f"{family}: {result.latches} latches")
    if result.problems:
        found.append(f"{family}: {result.problems} undriven nets or loops")
    return found


def _document(
    results: Mapping[str, Synthesis],
    paths: Sequence[Path],
    placed: Placement | None,
    problems: Sequence[str],
) -> dict[str, Any]:
    families = {
        family: {
            "latches": result.latches,
            "undriven": result.problems,
            "total": dict(result.netlist.total()),
            "modules": {name: dict(kinds) for name, kinds in result.netlist.counts(DEPTH).items()},
        }
        for family, result in results.items()
    }
    longest = [
        {"ns": path.ns, "from": path.begin, "to": path.end, "levels": path.levels}
        for path in paths[:PATHS]
    ]
    document: dict[str, Any] = {**families, "paths": longest, "problems": list(problems)}
    if placed:
        document["mhz"] = placed.mhz
        document["seeds"] = placed.seeds
        document["critical"] = [{"module": name, "ns": ns} for name, ns in placed.path]
    return document


def _print(
    results: Mapping[str, Synthesis],
    paths: Sequence[Path],
    placed: Placement | None,
    problems: Sequence[str],
    title: str = str(NIC),
) -> None:
    out = console()
    for family, result in results.items():
        out.print(_table(f"{title}, {family}", result, out.is_terminal))
        out.print(f"latches {result.latches}, undriven {result.problems}")
    out.print("\nlongest paths before placement (ECP5 speed 8, every net 0.62 ns):")
    for path in paths[:PATHS]:
        ends = f"{path.begin or 'top'} -> {path.end or 'top'}"
        line = f"{path.ns:6.2f} ns {path.levels:3} levels  {ends}: {' '.join(path.nets)}"
        out.print(line, soft_wrap=True)
    if placed:
        steps = ", ".join(f"{name} {ns:.2f}" for name, ns in placed.path)
        tried = ", ".join(f"{seed}: {mhz}" for seed, mhz in placed.seeds.items())
        line = f"\nnextpnr-ecp5: {placed.mhz} MHz (seed {tried}); critical path in ns: {steps}"
        out.print(line, soft_wrap=True)
    for problem in problems:
        out.print(f"PROBLEM {problem}", soft_wrap=True)


def _table(title: str, result: Synthesis, fancy: bool) -> Table:
    table = make_table(title, fancy, "module", *COLUMNS)
    counts = result.netlist.counts(DEPTH)
    for name in sorted(counts):
        table.add_row(name or "top", *(str(counts[name][kind]) for kind in COLUMNS))
    total = result.netlist.total()
    table.add_row("together", *(str(total[kind]) for kind in COLUMNS))
    return table
