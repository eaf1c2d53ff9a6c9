"""`wire2app lab`: the experiments of `labs/`, listed, run, drawn and written down.

Without `--rtl` a lab runs in virtual time in this process, else in a simulator, behind the RTL NIC
(the job `labs.over_rtl`).  Exit status 1: the mechanism did not show.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from labs.bench import LabError, Tell
from labs.catalogue import LABS, lab_class
from labs.charts import in_terminal, write_png
from labs.lab import BadParameter, Lab, NotShown, Result, break_name
from labs.launch import job_settings, run_virtual
from wire2app.errors import ToolError
from wire2app.lab_docs import write_page
from wire2app.progress import Display, Event
from wire2app.report import PLAIN_HEAD, console
from wire2app.sim import check_bus
from wire2app.simulator import ROOT, bench_design, check_simulator, simulate

__all__ = ["LabOptions", "list_labs", "over_rtl", "run_lab"]

OUT = ROOT / "build" / "lab"
JOB = "labs.over_rtl"


@dataclass(frozen=True)
class LabOptions:
    """sim None: virtual time, no NIC.  broken: a break of the lab, "" for none."""

    name: str
    sim: str | None = "verilator"
    bus: str = "fast"
    seed: int = 1
    parameters: Sequence[str] = ()
    broken: str = ""
    json: bool = False
    write_docs: bool = False


def list_labs(as_json: bool) -> int:
    if as_json:
        rows = [
            {"name": lab.name, "row": lab.row, "shows": lab.title(), "seconds": lab.seconds}
            for lab in LABS
        ]
        print(json.dumps(rows, indent=2))
        return 0
    out = console()
    table = Table("name", "row", "what it shows", "seconds", box=PLAIN_HEAD)
    for lab in LABS:
        table.add_row(lab.name, lab.row, lab.title(), str(lab.seconds))
    out.print(table)
    out.print("Run one with `make lab NAME=echo`; RTL=0 leaves out the NIC.", soft_wrap=True)
    return 0


def run_lab(options: LabOptions) -> int:
    """Run and report; 0 if the mechanism showed, 1 if not.  ToolError for a bad request."""
    lab = _chosen(options)
    if options.broken and options.write_docs:
        raise ToolError("A broken lab makes no page: leave out --break or --write-docs.")
    folder = OUT / lab.name
    folder.mkdir(parents=True, exist_ok=True)
    log: list[dict[str, Any]] = []
    result = _run(options, lab, folder, log)
    verdict = ""
    try:
        lab.check(result)
    except NotShown as error:
        verdict = str(error)
    picture = folder / f"{lab.name}.png"
    write_png(lab.chart(result), picture)
    if options.json:
        _print_json(lab, result, verdict, picture)
    else:
        _print_end(lab, result, verdict, picture)
    if options.write_docs and not verdict:
        write_page(lab, result, log)
    return 1 if verdict else 0


def _chosen(options: LabOptions) -> Lab:
    """The lab with its parameters, after every check that needs no run."""
    given: dict[str, str] = {}
    for word in " ".join(options.parameters).split():
        name, equals, value = word.partition("=")
        if not equals:
            raise ToolError(f"Parameter {word!r} is not of the form name=value.")
        given[name] = value
    if options.sim is not None:
        check_simulator(options.sim)
        check_bus(options.bus)
    try:
        cls = lab_class(options.name)
        if options.broken:
            cls.break_named(options.broken)
        return cls.with_parameters(options.sim, given)
    except KeyError:
        raise ToolError(f"There is no lab {options.name!r}: `make lab` lists them.") from None
    except BadParameter as error:
        raise ToolError(str(error)) from error


# -- the run -------------------------------------------------------------------------------------


def _run(options: LabOptions, lab: Lab, folder: Path, log: list[dict[str, Any]]) -> Result:
    out = console()
    quiet = options.json
    if not quiet:
        where = f"the RTL NIC in {options.sim}" if options.sim else "virtual time, without the NIC"
        out.print(Text(f"{lab.title()}  ({lab.row}, {where})", style="bold"), soft_wrap=True)
        out.print(lab.look_for().replace("\n", " "), highlight=False)
        if options.broken:
            broken = lab.break_named(options.broken)
            out.print(Text(f"Broken on purpose: {broken.__doc__}", style="red"))
        out.print()
    with nullcontext() if quiet else Display(out) as display:

        def tell(event: dict[str, Any]) -> None:
            log.append(event)
            if display is None:
                return
            if event["kind"] == "progress":
                display.update(Event(event["phase"], event["done"], event["total"]))
            elif event["kind"] == "say":
                out.print(event["text"], soft_wrap=True)
            elif event["output"]:
                out.print(Text(event["command"], style="bold"), soft_wrap=True)
                out.print(Text(event["output"]), soft_wrap=True)

        try:
            if options.sim is None:
                return run_virtual(lab, options.seed, tell, options.broken)
            tell({"kind": "progress", "phase": f"build for {options.sim}", "done": 0, "total": 0})
            runs = [(lab, options.broken)]
            return over_rtl(runs, options.sim, options.bus, options.seed, tell, folder)[0]
        except LabError as error:
            raise ToolError(f"The lab itself failed: {error}") from error


def over_rtl(
    labs: Sequence[tuple[Lab, str]], sim: str, bus: str, seed: int, tell: Tell, folder: Path
) -> list[Result]:
    """Run labs, each with the name of a break or "", in one simulation; what each found.

    LabError if one could not be run to its end, ToolError if the simulation could not.
    """
    work = folder / f"{sim}-{bus}-{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    job = work / "job.json"
    job.write_text(json.dumps(job_settings(labs, seed), indent=2) + "\n")
    results: list[Result] = []
    failures: list[str] = []
    reader, writer = os.pipe()
    thread = threading.Thread(target=_relay, args=(reader, tell, results, failures), daemon=True)
    thread.start()
    try:
        ended = simulate(
            bench_design(bus),
            JOB,
            sim=sim,
            seed=seed,
            env={"W2A_JOB": str(job), "W2A_OUTPUT_FD": str(writer)},
            work_dir=work,
            timeout_seconds=None,
            pass_fds=(writer,),
        )
    finally:
        os.close(writer)
        thread.join()
    if failures:
        raise LabError("\n".join(failures))
    if not ended.passed or len(results) < len(labs):
        failed = "; ".join(message for _, ok, message in ended.tests if not ok)
        raise ToolError(f"The simulation failed, see {ended.log}: {ended.reason or failed}")
    return results


def _relay(reader: int, tell: Tell, results: list[Result], failures: list[str]) -> None:
    with os.fdopen(reader) as lines:
        for line in lines:
            event = json.loads(line)
            if event["kind"] == "result":
                results.append(Result(**event["found"]))
            elif event["kind"] == "failed":
                failures.append(f"{event['name']}: {event['text']}")
            else:
                tell(event)


# -- the end -------------------------------------------------------------------------------------


def _print_json(lab: Lab, result: Result, verdict: str, picture: Path) -> None:
    report = {
        "lab": lab.name,
        "row": lab.row,
        "parameters": vars(lab),
        "shown": not verdict,
        "verdict": verdict or lab.conclude(result),
        "picture": str(picture),
        "found": vars(result),
    }
    print(json.dumps(report, indent=2))


def _print_end(lab: Lab, result: Result, verdict: str, picture: Path) -> None:
    out = console()
    plot = in_terminal(lab.chart(result))
    out.print()
    if plot:
        out.print(Text(plot), soft_wrap=True)
    out.print(f"The picture: {_short(picture)}", soft_wrap=True)
    out.print()
    if verdict:
        out.print(Text(f"NOT SHOWN: {verdict}", style="bold red"), soft_wrap=True)
        return
    out.print(lab.conclude(result), highlight=False)
    if lab.breaks:
        names = ", ".join(map(break_name, lab.breaks))
        out.print(f"To see it fail: --break {names}", soft_wrap=True)


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
