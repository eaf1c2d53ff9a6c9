"""`wire2app shell`, from its options to its end."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from wire2app.shell.prompt import interactive, piped, show
from wire2app.shell.session import Session


@dataclass(frozen=True)
class ShellOptions:
    """`commands`: carried out one after the other, in place of what would be typed."""

    seed: int = 1
    commands: tuple[str, ...] = ()


def run_shell(options: ShellOptions) -> int:
    """0, or from a pipe the status of the last command."""
    session = Session(options.seed, show)
    try:
        if options.commands:
            return piped(session, options.commands)
        if sys.stdin.isatty() and sys.stdout.isatty():
            return interactive(session)
        return piped(session, sys.stdin)
    finally:
        session.close()
