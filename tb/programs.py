"""One or two Python programs on two hosts, from their start to the end of both.

    a.py on 10.0.0.1 - link (or NIC under test and wire) - 10.0.0.2, b.py

Works on any engine: `start`, then run the engine until `done`.  Used by `wire2app run`, in virtual
time and as a job over the RTL NIC.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pystack.host import Host
from pystack.uapi.files import Console
from pystack.uapi.process import Process

HEAD_START = 10_000_000  # ns: what the first program has to be ready in
PATIENCE = 60_000_000_000  # ns the second to end may go on alone, then it is interrupted
INTERRUPTED = 128 + signal.SIGINT

Show = Callable[[str, str, int], None]
"""`show(prefix, line, fd)`: one line of standard output (1) or error (2), without its end."""


@dataclass
class Program:
    """A command line on a host.  `process` is None until it starts."""

    host: Host
    path: str
    args: Sequence[str] = ()
    prefix: str = ""
    process: Process | None = None
    interrupted: bool = False

    @property
    def alive(self) -> bool:
        return self.process is None or self.process.alive

    @property
    def status(self) -> int:
        """As a shell gives it; 0 for one that ended only because it was interrupted."""
        status = None if self.process is None else self.process.exit_status
        if status is None:
            return 1
        if status < 0:
            status = 128 - status
        return 0 if self.interrupted and status == INTERRUPTED else status

    def signal(self, signum: int) -> None:
        if self.process is not None and self.process.alive:
            self.process.kill(signum)


class Lines:
    """Cuts what a program writes into lines."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._rest = b""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(line.decode(errors="replace"))

    def finish(self) -> None:
        if self._rest:
            self.write(b"\n")


class Programs:
    """`programs[0]` starts at once, the other 10 ms later.  `patience` in ns, see `done`.

    `on_start(program)` is called as soon as one has its process, before it runs.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        show: Show,
        env: Mapping[str, str],
        *,
        patience: int = PATIENCE,
        on_start: Callable[[Program], None] = lambda program: None,
    ) -> None:
        self.programs = programs
        self.show = show
        self.asked_to_stop = False  # by Ctrl-C: looked at in `done`, where signals may be sent
        self.stopped = False  # by Ctrl-C, for good
        self._env = env
        self._patience = patience
        self._on_start = on_start
        self._lines: list[Lines] = []
        self._alone = False

    def start(self) -> None:
        self._start(self.programs[0])
        for program in self.programs[1:]:
            program.host.engine.call_later(HEAD_START, self._start, program)

    def _start(self, program: Program) -> None:
        process = program.process = program.host.run_python(program.path, program.args, self._env)
        for fd in (1, 2):
            console = process.files.file(fd)
            assert isinstance(console, Console), "as run_python makes them"
            lines = Lines(lambda line, fd=fd: self.show(program.prefix, line, fd))  # type: ignore[misc]
            console.watch = lines.write
            self._lines.append(lines)
        self._on_start(program)

    def done(self) -> bool:
        """The stop condition for the engine.

        When one program has ended, the other may go on for `patience`; then it is interrupted.
        """
        alive = [program for program in self.programs if program.alive]
        if self.asked_to_stop:
            self.asked_to_stop, self.stopped = False, True
            for program in alive:
                program.signal(signal.SIGINT)
        if len(alive) == 1 < len(self.programs) and not self._alone:
            self._alone = True
            alive[0].host.engine.call_later(self._patience, self.interrupt, alive[0])
        return not alive

    def interrupt(self, program: Program) -> None:
        """As Ctrl-C does; the second time as nobody can ignore."""
        if program.alive:
            program.signal(signal.SIGKILL if program.interrupted else signal.SIGINT)
            program.interrupted = True
            program.host.engine.call_later(self._patience, self.interrupt, program)

    def end_stuck(self) -> None:
        """Nothing will ever happen again, and these programs wait for it: say so and kill them."""
        for program in self.programs:
            if program.alive:
                self.show(program.prefix, "waits for what will never happen, and is killed", 2)
                program.signal(signal.SIGKILL)

    def finish(self) -> int:
        """Show what has no line end; returns the first status that is not 0."""
        for lines in self._lines:
            lines.finish()
        return next((program.status for program in self.programs if program.status), 0)
