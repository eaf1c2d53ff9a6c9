"""One or two Python programs on two hosts, from their start to the end of both.

    a.py on 10.0.0.1 - link (or NIC under test and wire) - 10.0.0.2, b.py

Works on any engine: `start`, then run the engine until `done`.  Used by `wire2app run`, in virtual
time and as a job over the RTL NIC.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pystack.host import Host
from pystack.uapi.files import Console
from pystack.uapi.process import Process

HEAD_START = 10_000_000  # ns: what the first program has to be ready in
PATIENCE = 60_000_000_000  # ns the second to end may go on alone, then it is interrupted
INTERRUPTED = 128 + signal.SIGINT

Show = Callable[[str, str], None]
"""`show(prefix, line)`: one line of output, without its end."""


@dataclass
class Program:
    """A command line on a host.  `process` is None until it starts."""

    host: Host
    path: Path
    args: Sequence[str] = ()
    prefix: str = ""
    process: Process | None = None
    interrupted: bool = False

    @property
    def alive(self) -> bool:
        return self.process is None or self.process.alive

    @property
    def status(self) -> int:
        """As a shell gives it; 0 for one that only ended because it was interrupted."""
        status = None if self.process is None else self.process.exit_status
        if status is None:
            return 1
        if status < 0:
            status = 128 - status
        return 0 if self.interrupted and status in (130, INTERRUPTED) else status


class Lines:
    """Cuts what a program writes into lines."""

    def __init__(self, prefix: str, show: Show) -> None:
        self._prefix, self._show = prefix, show
        self._rest = b""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(self._prefix, line.decode(errors="replace"))

    def finish(self) -> None:
        if self._rest:
            self.write(b"\n")


@dataclass
class Programs:
    """`programs[0]` starts at once, the other 10 ms later."""

    programs: Sequence[Program]
    show: Show
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    patience: int = PATIENCE
    _lines: list[Lines] = field(default_factory=list)
    _watching: bool = False

    def start(self) -> None:
        self._start(self.programs[0])
        for program in self.programs[1:]:
            program.host.engine.call_later(HEAD_START, self._start, program)

    def _start(self, program: Program) -> None:
        program.process = program.host.run_python(program.path, program.args, self.env)
        for fd in (1, 2):
            console = program.process.files.file(fd)
            assert isinstance(console, Console), "as run_python makes them"
            lines = Lines(program.prefix, self.show)
            console.watch = lines.write
            self._lines.append(lines)

    def done(self) -> bool:
        """The stop condition for the engine; also sees that one program is left alone."""
        alive = [program for program in self.programs if program.alive]
        if len(alive) == 1 < len(self.programs) and not self._watching:
            self._watching = True
            alive[0].host.engine.call_later(self.patience, self.interrupt, alive[0])
        return not alive

    def interrupt(self, program: Program) -> None:
        """As Ctrl-C does; and at last as nobody can ignore."""
        if program.process is not None and program.process.alive:
            again = program.interrupted
            program.interrupted = True
            program.process.kill(signal.SIGKILL if again else signal.SIGINT)
            program.host.engine.call_later(self.patience, self.interrupt, program)

    def stuck(self) -> list[Program]:
        """Those that still live, to be asked when the engine has run out of events."""
        return [program for program in self.programs if program.alive]

    def finish(self) -> int:
        """Show what has no line end; returns the first status that is not 0."""
        for lines in self._lines:
            lines.finish()
        return next((program.status for program in self.programs if program.status), 0)
