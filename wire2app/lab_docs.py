"""A lab's page of documentation, written by a run of it: `docs/labs/NAME.md` and its picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from labs.catalogue import LABS
from labs.charts import write_png
from labs.lab import Lab, Result, break_name
from wire2app.runners import ROOT

__all__ = ["PAGES", "still_parts", "write_index", "write_page"]

PAGES = ROOT / "docs" / "labs"
WIDTH = 100


def write_page(lab: Lab, result: Result, log: Iterable[dict[str, Any]]) -> None:
    """The page, its picture, and the index of all pages."""
    PAGES.mkdir(parents=True, exist_ok=True)
    write_png(lab.chart(result), PAGES / f"{lab.name}.png")
    (PAGES / f"{lab.name}.md").write_text("\n".join(_page(lab, result, log)) + "\n")
    write_index()


def _page(lab: Lab, result: Result, log: Iterable[dict[str, Any]]) -> Iterator[str]:
    head, *rest = still_parts(type(lab))
    yield head
    yield f"![{lab.chart(result).title}]({lab.name}.png)\n"
    said = [event for event in log if event["kind"] == "say" or event.get("output")]
    if said:
        yield "## What the tools say\n"
    for event in said:
        if event["kind"] == "say":
            yield _fill(event["text"]) + "\n"
        else:
            yield f"```\n{event['command']}\n{event['output'].rstrip()}\n```\n"
    yield "## What was shown\n"
    yield _fill(lab.conclude(result)) + "\n"
    yield from rest


def still_parts(cls: type[Lab]) -> list[str]:
    """The parts of the page that no run decides: its head, parameters, breaks."""
    return ["\n".join(part) for part in (_head(cls), _parameters(cls), _breaks(cls))]


def _head(cls: type[Lab]) -> Iterator[str]:
    yield f"# {cls.title()}\n"
    yield f"Row {cls.row}. The program: `{source(cls)}`.\n"
    yield from (_fill(text) + "\n" for text in cls.look_for().split("\n\n"))
    yield f"```\nmake lab NAME={cls.name}\n```\n"


def _breaks(cls: type[Lab]) -> Iterator[str]:
    yield "## How it is broken on purpose\n"
    yield "Each of these makes the lab fail, and a test sees to it:\n"
    for broken in cls.breaks:
        doc = " ".join((broken.__doc__ or "").split())
        yield f"- `--break {break_name(broken)}`: {doc}"


def _parameters(cls: type[Lab]) -> Iterator[str]:
    yield "## Parameters\n"
    yield '`make lab NAME=... PARAM="name=value ..."`\n'
    yield "| name | | virtual time | Verilator | Icarus |"
    yield "| --- | --- | --- | --- | --- |"
    for f in fields(cls):
        sizes = (f.default, cls.verilator.get(f.name, f.default), cls.icarus.get(f.name, f.default))
        cells = " | ".join(f"{size:,}" for size in sizes)
        yield f"| `{f.name}` | {f.metadata['help']} | {cells} |"
    yield ""


def source(cls: type[Lab]) -> str:
    """The lab's file, from the root."""
    return cls.__module__.replace(".", "/") + ".py"


def write_index() -> None:
    """docs/labs/README.md: every lab with its picture."""
    lines = ["# Labs\n", INTRODUCTION]
    for lab in LABS:
        lines += [
            f"\n## [{lab.title()}]({lab.name}.md)\n",
            f"`make lab NAME={lab.name}` · {lab.row}\n",
        ]
        if (PAGES / f"{lab.name}.png").exists():
            lines.append(f"[![{lab.name}]({lab.name}.png)]({lab.name}.md)")
    (PAGES / "README.md").write_text("\n".join(lines) + "\n")


def _fill(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False)


INTRODUCTION = """\
Experiments on the simulated machine, each a program of a page. `make lab` lists them, `make lab
NAME=syn-flood` runs one: what to look for, the run with the output of `ss`, `nstat` and `tcpdump`
at the telling moments, a picture, and what was shown with the numbers of that run. If the mechanism
does not show, the lab says in a sentence why, and fails.

| | |
| --- | --- |
| `SIM=verilator`, `SIM=icarus` | the server's host has the RTL NIC; Icarus gets smaller numbers |
| `RTL=0` | virtual time, no NIC: the same program within a second or a few |
| `PARAM="clients=100 syns=9000"` | other numbers |
| `.venv/bin/wire2app lab NAME --break NAME` | with the mechanism switched off: must fail |
| `.venv/bin/wire2app lab NAME --json` | everything that was found, for a program |

A lab of one's own is a dataclass beside the others in `labs/`, named in `labs/catalogue.py`: its
fields are the parameters, `run(bench)` does the experiment and returns what it found, `check` says
whether the mechanism showed, `conclude` what was shown, `chart` draws it, and each of `breaks`
switches the mechanism off, by a sysctl or by replacing the one function of the kernel it names.
`labs/lab.py` is the frame, `labs/bench.py` the two hosts and their wire, `labs/echo.py` the
shortest lab; `tests/test_labs.py` runs all there are.

The pages here are written by the labs themselves (`wire2app lab NAME --write-docs`)."""
