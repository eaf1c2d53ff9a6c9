"""Ends a program that computes for ever: the one thing in a run that looks at the wall clock.

Simulated time stands still while a program's own instructions run, so a loop without a system call
would stop the whole simulation.  A timer of this machine's looks now and then; when the same
program has been at it for `seconds` without a system call, it is killed and said so.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from pystack.host import Host
from pystack.uapi.block import ProcessExit
from pystack.uapi.process import Process

SECONDS = 10.0
LOOKS = 20  # in that time


class Watchdog:
    """`tell(process, text)` gets what is to be said.  Must be used in the main thread."""

    def __init__(
        self,
        hosts: Sequence[Host],
        tell: Callable[[Process, str], None],
        seconds: float | None = None,
    ) -> None:
        self._hosts, self._tell = hosts, tell
        self._seconds = SECONDS if seconds is None else seconds
        self._seen: tuple[Process, int] | None = None
        self._since = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        old = signal.signal(signal.SIGALRM, self._look)
        step = self._seconds / LOOKS
        signal.setitimer(signal.ITIMER_REAL, step, step)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        process = self._computing(frame)
        seen = None if process is None else (process, process.nr_syscalls)
        now = time.monotonic()
        if seen is None or seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since >= self._seconds and process is not None:
            self._end(process, frame)

    def _computing(self, frame: FrameType | None) -> Process | None:
        """The process whose own code is running, if it is not the kernel's on its behalf."""
        for host in self._hosts:
            cpu = host.kernel.this_cpu
            task = None if cpu is None else cpu.current
            if task is not None and task.process is not None:
                inside = frame is not None and _in_kernel(frame)
                return None if inside else task.process
        return None

    def _end(self, process: Process, frame: FrameType | None) -> None:
        where = "".join(traceback.format_stack(frame, limit=3))
        self._tell(
            process,
            f"{process.name} has made no system call for {self._seconds:g} s and is killed; "
            f"it was here:\n{where}",
        )
        process.begin_exit(-signal.SIGKILL)
        raise ProcessExit


def _in_kernel(frame: FrameType) -> bool:
    """System calls are made by the modules given to the process, which are the kernel's, too."""
    name = frame.f_globals.get("__name__", "")
    return isinstance(name, str) and name.startswith(("pystack.", "tb."))
