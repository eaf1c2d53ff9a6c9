"""The tables of `wire2app bench`, from the document that is also the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from wire2app.report import make_table

Row = Mapping[str, Any]
_PARTS = ("rtl", "transactors", "python")


def print_tables(document: Mapping[str, Any], out: Console) -> None:
    """One table a section that has figures; what is missing is said by the caller."""
    for table in tables(document, out.is_terminal):
        out.print()
        out.print(table)


def tables(document: Mapping[str, Any], fancy: bool) -> Iterator[Table]:
    for section, content in document.items():
        if section == "cosim":
            yield _cosim(content, document["spread"], fancy)
        elif section in _TITLES:
            yield _figures(section, content, document["spread"], fancy)
            if section == "rtl":
                yield _linerate(content, fancy)


_TITLES = {
    "stack": "The stack by itself, in virtual time",
    "ratios": "Ratios, measured in one run",
    "xdp": "A flood dropped in the driver and at a full socket, in virtual time",
    "forward": "Forwarding 60-byte frames at 10 Gbit/s, by the kernel and in poll mode",
    "memory": "Memory",
    "rtl": "The NIC, in clock cycles",
    "startup": "From command to first packet",
    "idle": "Two hours without traffic",
}


def number(value: Any) -> str:
    """Three or more digits, thousands separated."""
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def _cosim(rows: list[Row], spread: Mapping[str, Row], fancy: bool) -> Table:
    table = make_table(
        "Co-simulation, frames a wall second",
        fancy,
        "sim",
        *("bus", "dir", "frame", "frames/s", "min..max", "cycles/s", "rtl", "transact.", "python"),
    )
    for index, row in enumerate(rows):
        share = row["share"]
        table.add_row(
            *(row["sim"], row["bus"], row["direction"], str(row["frame_bytes"])),
            number(row["frames_per_s"]),
            _range(spread.get(f"cosim[{index}].frames_per_s")),
            number(row["cycles_per_s"]),
            *(f"{share[part]:.0%}" for part in _PARTS),
        )
    return table


def _figures(section: str, content: Row, spread: Mapping[str, Row], fancy: bool) -> Table:
    table = make_table(_TITLES[section], fancy, "figure", "median", "min..max", "runs")
    for path, value in _leaves(content):
        seen = spread.get(f"{section}.{path}")
        runs = str(seen["runs"]) if seen else ""
        table.add_row(path.replace("_", " "), number(value), _range(seen), runs)
    return table


def _leaves(content: Row, path: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers by path; lists have tables of their own."""
    for key, value in content.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _leaves(value, name)
        elif not isinstance(value, list):
            yield name, value


def _range(seen: Row | None) -> str:
    return f"{number(seen['min'])}..{number(seen['max'])}" if seen else ""


def _linerate(content: Row, fancy: bool) -> Table:
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("of line rate in", lambda row: f"{row['rx_fraction']:.1%}"),
        ("out", lambda row: f"{row['tx_fraction']:.1%}"),
        ("cycles in", lambda row: f"{row['rx_cycles_per_packet']:.2f}"),
        ("out", lambda row: f"{row['tx_cycles_per_packet']:.2f}"),
        ("drops", lambda row: number(row["drops"])),
    ]
    table = make_table("Back to back", fancy, "frame", *(name for name, _ in columns))
    for row in content["linerate"]["one_way"]:
        table.add_row(number(row["frame_bytes"]), *(show(row) for _, show in columns))
    return table
