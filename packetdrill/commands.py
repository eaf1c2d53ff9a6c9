"""Backtick commands, understood rather than executed: sysctl and helpers that set them, routes,
queueing disciplines, offloads.

What sets something the host does not have is `Unsupported`, except in a defaults file: there it
is noted and passed over, for such files set everything they can think of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from packetdrill import netcommands, shell
from packetdrill.errors import Unsupported
from packetdrill.script import Command
from packetdrill.session import Session
from packetdrill.shell import SimpleCommand

_PROC = "/proc/sys/"
_RESTORE = re.compile(r"/sysctl_restore_\S*\.sh$")
_SILENT = {"nstat", "true"}
_MODULE_PARAMETER = re.compile(r"/sys/module/(\w+)/parameters/(\w+)$")


class Commands:
    """`directory`: the script's, for helper files named relative to it."""

    def __init__(self, session: Session, directory: Path) -> None:
        self.session = session
        self._directory = directory
        self._in_defaults = False
        self._table: dict[str, Callable[[SimpleCommand], None]] = {
            "sysctl": self._sysctl,
            "set_sysctls.py": self._set_sysctls,
            "ip": lambda command: netcommands.ip(session, command.words),
            "tc": lambda command: netcommands.tc(session, command.words),
            "ethtool": lambda command: netcommands.ethtool(session, command.words),
            "grep": lambda command: netcommands.grep(session, command.words),
        }

    def run(self, command: Command) -> None:
        """Unsupported, with the line, for what is not understood."""
        for simple in self._split(command.text, command.line):
            line = command.line + simple.line
            try:
                self._run(simple)
            except Unsupported as exc:
                exc.line = exc.line or line
                raise

    def _split(self, text: str, line: int) -> list[SimpleCommand]:
        try:
            return shell.split(text)
        except ValueError as exc:
            raise Unsupported(f"command {text!r}: {exc}", line, "command") from None

    def _run(self, command: SimpleCommand) -> None:
        program = command.words[0]
        name = program.rsplit("/", 1)[-1]
        if name in self._table:
            self._table[name](command)
        elif _RESTORE.search(program):
            return  # the machine is gone after the script
        elif name.endswith(".sh"):
            self._helper(program)
        elif name == "echo" and (found := _MODULE_PARAMETER.search(command.output)):
            self.set(f"{found[1]}.{found[2]}", " ".join(command.words[1:]))
        elif name not in _SILENT:
            raise Unsupported(f"command {' '.join(command.words)!r}", kind=f"command {name}")

    def _helper(self, program: str) -> None:
        """A shell file of the script's suite: its commands, read here."""
        path = self._directory / program
        if not path.is_file():
            raise Unsupported(f"helper {program} is not there", kind="helper file")
        self._in_defaults = path.name == "defaults.sh"
        try:
            for command in self._split(path.read_text(), 0):
                self._run(command)
        finally:
            self._in_defaults = False

    # -- sysctl ----------------------------------------------------------------------------

    def _sysctl(self, command: SimpleCommand) -> None:
        """`name=value` sets, `name` alone prints: that it is known is all that matters here."""
        for word in command.words[1:]:
            if not word.startswith("-"):
                name, equals, value = word.partition("=")
                name = name.replace("/", ".")
                if equals:
                    self.set(name, value)
                elif name not in self.session.machine.host.kernel.sysctl:
                    raise Unsupported(f"sysctl {word}", kind=f"sysctl {name}")

    def _set_sysctls(self, command: SimpleCommand) -> None:
        for word in command.words[1:]:
            path, _, value = word.partition("=")
            self.set(path.removeprefix(_PROC).replace("/", "."), value)

    def set(self, name: str, value: str) -> None:
        """One sysctl; numbers are numbers, several of them a vector."""
        sysctl = self.session.machine.host.kernel.sysctl
        try:
            numbers = tuple(int(word, 0) for word in value.split())
        except ValueError:
            numbers = ()
        parsed: object = value if not numbers else numbers[0] if len(numbers) == 1 else numbers
        try:
            sysctl[name] = parsed  # type: ignore[assignment]
        except (KeyError, ValueError, TypeError) as exc:
            text = f"sysctl {name}={value}: {exc.args[0] if exc.args else exc}"
            if not self._in_defaults:
                raise Unsupported(text, kind=f"sysctl {name}") from None
            self.session.notes.append(text)
