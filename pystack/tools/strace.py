"""strace: the system calls of a process, as they happen, in the real one's format.

A reader of the tracepoints `sys_enter`, `sys_exit` and `sched_process_exit`.  What differs from
strace(1): buffers have no addresses, so one stands for all, and there is no interpreter start-up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pystack.core.kernel import EPOCH_NS
from pystack.core.trace import Record
from pystack.tools.strace_calls import PRINTED, arguments
from pystack.tools.strace_format import Call, Pending, returned, siginfo, signal_name
from pystack.uapi.process import Process
from pystack.uapi.table import SYSCALLS

COLUMN = 40  # where the equals sign stands, at the least
_NETWORK = """
    accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmsg sendmsg sendto
    setsockopt shutdown socket socketpair
""".split()
_FD = """
    close close_range dup dup2 dup3 epoll_create1 epoll_ctl epoll_wait eventfd2 fcntl fstat
    ftruncate ioctl lseek openat pipe2 poll read readv select timerfd_create timerfd_gettime
    timerfd_settime write writev
""".split()
CLASSES: dict[str, frozenset[str]] = {
    "all": frozenset(),
    "network": frozenset(_NETWORK),
    "net": frozenset(_NETWORK),
    "desc": frozenset([*_NETWORK, *_FD]),
    "file": frozenset(["openat"]),
    "process": frozenset(["exit_group", "fork", "wait4"]),
    "signal": frozenset(["alarm", "kill", "pause", "rt_sigaction", "rt_sigprocmask"]),
}


class TraceError(ValueError):
    """An expression strace would refuse; one sentence."""


def calls_of(expression: str) -> Callable[[str], bool]:
    """Which calls `-e EXPRESSION` shows: `trace=network,read`, `%net`, `!close`."""
    names = expression.removeprefix("trace=")
    negated = names.startswith("!")
    chosen: set[str] = set()
    everything = False
    for name in names.removeprefix("!").split(","):
        key = name.removeprefix("%")
        known = {PRINTED.get(call, call): call for call in SYSCALLS} | {c: c for c in SYSCALLS}
        if key in CLASSES:
            chosen |= CLASSES[key]
            everything |= key == "all"
        elif name in known:
            chosen.add(known[name])
        else:
            raise TraceError(f"strace knows no system call or class {name!r}")
    return lambda call: (everything or call in chosen) is not negated


@dataclass(frozen=True)
class Options:
    """As the letters of strace(1): `times` counts -t, 3 is seconds since the epoch."""

    follow: bool = False  # -f: threads and children, too
    expression: str = "trace=all"  # -e
    times: int = 0  # -t, -tt, -ttt
    relative: bool = False  # -r
    durations: bool = False  # -T


class Strace:
    """Traces `process` from now on; `write(line)` gets each line, without its end."""

    def __init__(
        self, process: Process, write: Callable[[str], None], options: Options | None = None
    ) -> None:
        self._options = options or Options()
        self._process = process
        self._write = write
        self._shows = calls_of(self._options.expression)
        self._pids: set[int] = {process.pid}
        self._running: dict[int, tuple[Call, int]] = {}
        self._started: int | None = None  # the thread whose line is being written
        self._unfinished: set[int] = set()
        self._signals: list[tuple[int, str]] = []  # told when the call they came into has ended
        self._last: int | None = None
        trace = process.kernel.trace
        self._probes = {
            "sys_enter": self._enter,
            "sys_exit": self._exit,
            "signal_deliver": self._signal,
            "sched_process_exit": self._ended,
        }
        for point, probe in self._probes.items():
            trace.attach(point, probe)

    def detach(self) -> None:
        for point, probe in self._probes.items():
            self._process.kernel.trace.points[point].detach(probe)

    def _traced(self, pid: int) -> bool:
        if pid == self._process.pid:
            return True
        return self._options.follow and self._family(pid)

    def _family(self, pid: int) -> bool:
        """Is `pid` a thread of the process, or of its children?"""
        if pid not in self._pids:
            processes = [self._process, *self._process.children.values()]
            for process in processes:
                self._pids.update(process.threads.values())
        return pid in self._pids

    # -- tracepoints -----------------------------------------------------------------------

    def _enter(self, record: Record) -> None:
        pid, name, args = record.values
        if not self._traced(pid) or not self._shows(name):
            return
        call = Call(name, _frozen(args))
        self._interrupt_line(pid)
        self._running[pid] = call, record.time
        self._started = pid

    def _exit(self, record: Record) -> None:
        pid, _, result = record.values
        running = self._running.pop(pid, None)
        if running is None:
            return
        call, entered = running
        stamp, text = entered, f"{_printed(call)}("
        known = 0
        if pid in self._unfinished:
            self._unfinished.discard(pid)
            self._interrupt_line(pid)
            stamp, text = record.time, f"<... {_printed(call)} resumed>"
            known = len(_known(call)[0])
        else:
            self._started = None
        call.result = result
        result = returned(call)
        if self._options.durations:
            result += f" <{(record.time - entered) / 1e9:.6f}>"
        self._print(pid, stamp, f"{text}{', '.join([*arguments(call)][known:])})", result)
        if pid == self._process.pid:
            self._print_signals()

    def _signal(self, record: Record) -> None:
        pid, signum, info = record.values
        if pid != self._process.pid:
            return
        self._signals.append(
            (record.time, f"--- {signal_name(signum)} {siginfo(signum, info)} ---")
        )
        if pid not in self._running:
            self._print_signals()

    def _print_signals(self) -> None:
        for when, text in self._signals:
            self._print(self._process.pid, when, text)
        self._signals.clear()

    def _interrupt_line(self, pid: int) -> None:
        """Another thread's call has begun and not ended: its line ends here."""
        other, self._started = self._started, None
        if other is None or other == pid or other not in self._running:
            return
        call, entered = self._running[other]
        self._unfinished.add(other)
        known, complete = _known(call)
        text = ", ".join(known if complete else [*known, ""])
        self._print(other, entered, f"{_printed(call)}({text} <unfinished ...>")

    def _ended(self, record: Record) -> None:
        pid, _, status = record.values
        if pid not in self._pids:
            return
        for thread in [p for p in self._running if p == pid or pid == self._process.pid]:
            call, entered = self._running.pop(thread)
            text = f"{_printed(call)}({', '.join(_known(call)[0])}"
            self._print(thread, entered, f"{text})", "?")
        if pid == self._process.pid:
            self._print_signals()
        how = f"exited with {status}" if status >= 0 else f"killed by {signal_name(-status)}"
        self._print(pid, record.time, f"+++ {how} +++")
        if pid == self._process.pid:
            self.detach()

    # -- lines -----------------------------------------------------------------------------

    def _print(self, pid: int, when: int, text: str, result: str = "") -> None:
        prefix = ""
        if self._options.follow and len(self._process.threads) + len(self._process.children) > 1:
            prefix = f"[pid {pid:5}] "
        line = prefix + self._stamp(when) + text
        self._write(f"{line} ".ljust(COLUMN) + f"= {result}" if result else line)

    def _stamp(self, when: int) -> str:
        options = self._options
        seconds, ns = divmod(EPOCH_NS + when, 10**9)
        stamp = ""
        if options.times >= 3:
            stamp = f"{seconds}.{ns // 1000:06} "
        elif options.times:
            micros = f".{ns // 1000:06}" if options.times == 2 else ""
            stamp = f"{time.strftime('%H:%M:%S', time.gmtime(seconds))}{micros} "
        if options.relative:
            passed = when - (when if self._last is None else self._last)
            self._last = when
            stamp += f"{passed / 1e9:>13.6f} "
        return stamp


def _printed(call: Call) -> str:
    return PRINTED.get(call.name, call.name)


def _known(call: Call) -> tuple[list[str], bool]:
    """The arguments known while the call runs, and whether these are all."""
    known: list[str] = []
    try:
        known.extend(arguments(call))
    except Pending:
        return known, False
    return known, True


def _frozen(args: Collection[Any]) -> list[Any]:
    """The arguments as they are now: buffers may change while the call runs."""
    return [bytes(arg) if isinstance(arg, (bytearray, memoryview)) else arg for arg in args]
