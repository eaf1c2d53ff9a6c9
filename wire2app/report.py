"""The report at the end of `wire2app sim`: one table a question, then the verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tb.summary import Latency, Summary

__all__ = ["console", "make_table", "print_report", "verdict"]

PIPE_WIDTH = 100
HASH_DIGITS = 16
BAR_CELLS = 24
# rich's SIMPLE_HEAD, a rule under the header and no other lines, in ASCII.
PLAIN_HEAD = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def console(file: TextIO | None = None) -> Console:
    """On `file`, standard output if none: colours in a terminal, fixed-width ASCII in a pipe."""
    file = file or sys.stdout
    if file.isatty():
        return Console(file=file, highlight=False)
    return Console(file=file, highlight=False, width=PIPE_WIDTH, no_color=True)


def print_report(summary: Summary, replay: str, out: Console) -> None:
    """All tables, then `PASS` or `FAIL: <what>` as the last line."""
    fancy = out.is_terminal
    for part in _parts(summary, fancy):
        out.print()
        out.print(part, soft_wrap=isinstance(part, Text))
    out.print()
    out.print(verdict(summary, replay), soft_wrap=True)


def verdict(summary: Summary, replay: str) -> Text:
    """The last line: what failed first, how many more did, and how to see it again."""
    failures = summary.all_failures()
    if not failures:
        return Text("PASS", style="bold green")
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return Text(f"FAIL: {failures[0]}{more}; replay: {replay}", style="bold red")


def _parts(summary: Summary, fancy: bool) -> Iterator[RenderableType]:
    if summary.hops:
        yield _hops(summary, fancy)
    if summary.napi:
        yield _napi(summary, fancy)
    for latency in summary.latency:
        yield _latency(latency, fancy)
    if summary.balance or summary.drops:
        yield _losses(summary, fancy)
    if summary.transfers:
        yield _transfers(summary, fancy)
    yield _totals(summary)
    for failure in summary.all_failures():
        yield Text(f"failed: {failure}", style="red")


def make_table(title: str, fancy: bool, first: str, *numbers: str) -> Table:
    """A table with one column of names and right-aligned columns of numbers."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold cyan",
        box=box.SIMPLE_HEAD if fancy else PLAIN_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column(first, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _number(value: int) -> str:
    return f"{value:,}"


def _hops(summary: Summary, fancy: bool) -> Table:
    table = make_table("From wire to socket", fancy, "hop", "in", "bytes in", "out", "bytes out")
    for hop in summary.hops:
        counts = (hop.rx_frames, hop.rx_bytes, hop.tx_frames, hop.tx_bytes)
        table.add_row(hop.name, *map(_number, counts))
    return table


def _napi(summary: Summary, fancy: bool) -> Table:
    table = make_table(
        "Interrupts and polls", fancy, "queue", "interrupts", "polls", "packets", "packets a poll"
    )
    for napi in summary.napi:
        ratio = f"{napi.packets / napi.polls:.2f}" if napi.polls else "-"
        counts = map(_number, (napi.interrupts, napi.polls, napi.packets))
        table.add_row(napi.name, *counts, ratio)
    return table


def _latency(latency: Latency, fancy: bool) -> Table:
    table = make_table(f"Latency: {latency.of}", fancy, "hop", "at ns", "step ns")
    table.add_column("")
    longest = max((step.delta_ns for step in latency.steps), default=0) or 1
    for step in latency.steps:
        cells = round(BAR_CELLS * step.delta_ns / longest)
        bar = Text(("█" if fancy else "#") * cells, style="cyan")
        table.add_row(step.hop, _number(step.at_ns), _number(step.delta_ns), bar)
    return table


def _losses(summary: Summary, fancy: bool) -> Table:
    table = make_table("Balance", fancy, "what", "sent", "delivered", "dropped", "")
    for line in summary.balance:
        sign = Text("balances", "green") if line.ok else Text("DOES NOT BALANCE", "bold red")
        counts = map(_number, (line.sent, line.delivered, line.dropped))
        table.add_row(line.what, *counts, sign)
    for name, count in summary.drops.items():
        table.add_row(f"  dropped {name}", "", "", _number(count), "")
    if not summary.drops:
        table.add_row("  no drops", "", "", "0", "")
    return table


def _transfers(summary: Summary, fancy: bool) -> Table:
    table = make_table("Content", fancy, "what", "bytes", "SHA-256 sent", "received", "")
    for item in summary.transfers:
        hashes = (_short(item.sha256_sent), _short(item.sha256_received))
        sign = Text("equal", "green") if item.ok else Text("DIFFERENT", "bold red")
        table.add_row(item.what, _number(item.bytes), *hashes, sign)
    return table


def _short(digest: str) -> str:
    return digest[:HASH_DIGITS] or "-"


def _totals(summary: Summary) -> Text:
    run = (
        f"{summary.sim}, seed {summary.seed}, bus {summary.bus}: "
        f"{summary.sim_time_ns / 1e6:,.3f} ms simulated in {summary.cycles:,} clock cycles"
    )
    phases = [f"{name} {seconds:.1f}" for name, seconds in summary.wall.items()]
    total = sum(summary.wall.values())
    return Text(f"{run}\nwall time {total:.1f} s: {', '.join(phases)}")
