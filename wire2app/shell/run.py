"""`wire2app shell`, from its options to its end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from wire2app.shell.prompt import LIVE_WELCOME, WELCOME, interactive, piped, show
from wire2app.shell.remote import SOCKET, Remote
from wire2app.shell.session import Session

LIVE = Path(__file__).resolve().parents[2] / "build" / "live"


@dataclass(frozen=True)
class ShellOptions:
    """`commands`: carried out one after the other, in place of what would be typed.

    live: the folder of a running `wire2app live`, of whose host the shell is then; None: two of
    our own.
    """

    seed: int = 1
    commands: tuple[str, ...] = ()
    live: Path | None = None


def run_shell(options: ShellOptions) -> int:
    """0, or from a pipe the status of the last command."""
    shell: Session | Remote
    if options.live is None:
        shell, welcome = Session(options.seed, show), WELCOME
    else:
        shell, welcome = Remote(options.live / SOCKET, show), LIVE_WELCOME
    try:
        if options.commands:
            return piped(shell, options.commands)
        if sys.stdin.isatty() and sys.stdout.isatty():
            return interactive(shell, welcome)
        return piped(shell, sys.stdin)
    finally:
        shell.close()
