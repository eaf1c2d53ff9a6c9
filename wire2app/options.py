"""Options and arguments that several commands share, with what the shell offers for them on Tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _one_of(*words: str) -> Callable[[], list[str]]:
    """What the shell offers on Tab."""
    return lambda: list(words)


def _labs() -> list[str]:
    from labs.catalogue import LABS

    return [lab.name for lab in LABS]


Sim = Annotated[
    str,
    typer.Option(
        envvar="SIM", help="verilator or icarus", autocompletion=_one_of("verilator", "icarus")
    ),
]
Seed = Annotated[int, typer.Option(envvar="SEED", min=0, help="decides everything random")]
Out = Annotated[Path | None, typer.Option(help="folder of the artifacts, made empty first")]
Bus = Annotated[
    str,
    typer.Option(
        envvar="BUS",
        help="how Python meets the NIC: fast or pins",
        autocompletion=_one_of("fast", "pins"),
    ),
]
SUITE = typer.Argument(
    help="all, stack, rtl or system", autocompletion=_one_of("all", "stack", "rtl", "system")
)
LAB = typer.Argument(help="which; lists them if none", autocompletion=_labs)
