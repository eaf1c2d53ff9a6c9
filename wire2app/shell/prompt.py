"""The shell's two faces: a prompt with completion and history, or commands from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

from pystack.tools.tool import ToolError

HISTORY = Path(__file__).resolve().parents[2] / "build" / "shell" / "history"
_ENDS = ("exit", "quit")
WELCOME = "`go` lets virtual time go on, `help` tells what there is, Tab completes, `exit` ends.\n"
LIVE_WELCOME = "The tools of the running host; Tab completes, `exit` ends, the host goes on.\n"


class Commands(Protocol):
    """What stands behind the prompt."""

    @property
    def prompt(self) -> str: ...

    def execute(self, line: str) -> str:
        """What a command prints; ToolError."""

    def complete(self, words: list[str]) -> list[str]: ...


def show(line: str) -> None:
    """Something that happened while time went on."""
    print(line, flush=True)


def one(commands: Commands, line: str) -> int:
    """Carry out a command and print; its exit status."""
    try:
        text = commands.execute(line)
    except ToolError as exc:
        sys.stdout.write(exc.output)
        sys.stdout.flush()
        if exc.args[0] and exc.args[0] != exc.output:
            print(exc, file=sys.stderr, flush=True)
        return exc.status
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0


def piped(commands: Commands, lines: Iterable[str]) -> int:
    """Commands from a pipe: what they print and nothing else; the last one's status."""
    status = 0
    for line in lines:
        if line.strip() in _ENDS:
            break
        if line.strip():
            status = one(commands, line)
    return status


def interactive(commands: Commands, welcome: str) -> int:
    """The prompt, until `exit` or Ctrl-D.  Ctrl-C ends what runs, or clears the line."""
    HISTORY.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(HISTORY)),
        completer=_Completer(commands),
        complete_while_typing=False,
        enable_history_search=True,
    )
    sys.stdout.write(welcome)
    while True:
        try:
            line = session.prompt(commands.prompt)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if line.strip() in _ENDS:
            return 0
        try:
            one(commands, line)
        except KeyboardInterrupt:
            print("interrupted")


class _Completer(Completer):
    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        before = document.text_before_cursor
        words = before.split()
        if not words or before.endswith(" "):
            words.append("")
        last = words[-1]
        for word in self._commands.complete(words):
            if word.startswith(last):
                yield Completion(word, start_position=-len(last))
