"""Signals of one process: who is told, and whether a call that waits goes on (`kernel/signal.c`).

Sent by `kill`, timers and protocols; delivered where Linux does it, on the way into a system call,
out of it, and while it waits (`block.Waiter`).  A handler runs in the main thread, or in another
when that one has ended.  There is no job control: what would stop a process is ignored.
"""

from __future__ import annotations

import enum
import errno
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.core.task import Task
    from pystack.uapi.process import Process

NSIG = 64
SIG_DFL, SIG_IGN = int(signal.SIG_DFL), int(signal.SIG_IGN)
_HARMLESS = {signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT}
_STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_UNCATCHABLE = {signal.SIGKILL, signal.SIGSTOP}

Handler = Callable[[int, None], object]


class Restart(enum.IntEnum):
    """What a call does that waited when a handler ran."""

    NEVER = 0  # EINTR
    SYSCALL = 1  # SA_RESTART: goes on, unless it has a time-out or waits for many
    ALWAYS = 2  # goes on: CPython calls again after EINTR, with what is left of a time-out


class SigInfo(NamedTuple):
    """`siginfo_t`, as far as it is told: `code` is SI_USER and the like, `status` a child's."""

    code: str
    pid: int = 0
    uid: int = 0
    status: int | None = None


KERNEL = SigInfo("SI_KERNEL")


class Action(NamedTuple):
    handler: Handler | int  # or SIG_DFL, SIG_IGN
    restart: Restart = Restart.NEVER


DEFAULT = Action(SIG_DFL)


class Signals:
    def __init__(self, process: Process, actions: dict[int, Action] | None = None) -> None:
        """`actions` are inherited from a parent."""
        self._process = process
        self.actions = dict(actions or {})
        self.blocked: frozenset[int] = frozenset()
        self.pending: dict[int, SigInfo] = {}
        self._unready: set[Task] = set()

    def action(self, signum: int) -> Action:
        return self.actions.get(signum, DEFAULT)

    def set_action(self, signum: int, action: Action) -> Action:
        """sigaction; the old one.  EINVAL for one that cannot be caught."""
        if not 1 <= signum <= NSIG or signum in _UNCATCHABLE:
            raise os_error(errno.EINVAL)
        old = self.action(signum)
        self.actions[signum] = action
        return old

    def ignore(self, signum: int) -> None:
        self.set_action(signum, Action(SIG_IGN))

    def ignores(self, signum: int) -> bool:
        handler = self.action(signum).handler
        return handler == SIG_IGN or (handler == SIG_DFL and signum in _HARMLESS | _STOPS)

    def send(self, signum: int, info: SigInfo = KERNEL) -> None:
        """One signal to the process: it ends, it is woken, or nothing happens."""
        process = self._process
        if process.exiting:
            return
        if signum not in self.blocked:
            if self.ignores(signum):
                self._tell(signum, info)
                return
            if self.action(signum).handler == SIG_DFL:
                self._tell(signum, info)
                process.begin_exit(-signum)
                return
        self.pending.setdefault(signum, info)
        target = self._target()
        if target is not None:
            target.wake()

    def send_own(self, signum: int) -> None:
        """For what the process has just done itself, as SIGPIPE."""
        process = self._process
        self.send(signum, SigInfo("SI_USER", process.pid, process.uid))

    def _tell(self, signum: int, info: SigInfo) -> None:
        """A signal reaches the process; one it ignores is told of, too, as a tracer sees it."""
        point = self._process.system.tp_signal
        if point.enabled:
            point(self._process.pid, signum, info)

    def _target(self) -> Task | None:
        """The thread that handles signals: the main one is the first of the table."""
        return next(iter(self._process.threads), None)

    def waiting(self, task: Task) -> bool:
        """Is there one for `task` to handle now?"""
        return any(n not in self.blocked for n in self.pending) and task is self._target()

    def deliver(self) -> Restart:
        """Run the handlers, in the calling thread, of all that is not blocked."""
        restart = Restart.ALWAYS
        while due := sorted(self.pending.keys() - self.blocked):
            signum = due[0]
            info = self.pending.pop(signum)
            action = self.action(signum)
            self._tell(signum, info)
            if callable(action.handler):
                action.handler(signum, None)
                restart = min(restart, action.restart)
            elif not self.ignores(signum):  # set back to default while it was blocked
                self._process.begin_exit(-signum)
                break
        return restart

    def deliver_here(self) -> None:
        """Deliver if the calling thread is the one that handles signals."""
        task = self._process.kernel.cpu.current
        if task is not None and task not in self._unready and self.waiting(task):
            self.deliver()

    @contextmanager
    def after_result(self) -> Iterator[None]:
        """For the caller, on the way into or out of a call signals wait for the next one: a buffer
        has to hear what a call moved, as CPython runs no handler before it did (`_Py_write`)."""
        task = self._process.kernel.cpu.current
        assert task is not None, "called by a thread of the process"
        self._unready.add(task)
        try:
            yield
        finally:
            self._unready.discard(task)

    @contextmanager
    def masked(self, mask: Iterable[int] | None) -> Iterator[None]:
        """Another signal mask for the time of one call, as ppoll sets it; None: the same."""
        if mask is None:
            yield
            return
        old, self.blocked = self.blocked, frozenset(mask) - _UNCATCHABLE
        try:
            yield
        finally:
            self.blocked = old

    def change_mask(self, how: int, mask: Iterable[int]) -> frozenset[int]:
        """sigprocmask; the old mask.  One mask serves all threads."""
        old, given = self.blocked, frozenset(mask) - _UNCATCHABLE
        match how:
            case signal.SIG_BLOCK:
                self.blocked = old | given
            case signal.SIG_UNBLOCK:
                self.blocked = old - given
            case signal.SIG_SETMASK:
                self.blocked = given
            case _:
                raise os_error(errno.EINVAL)
        return old


def signal_number(value: Any) -> int:
    """EINVAL unless 0 (a test for existence) or a signal."""
    if not 0 <= value <= NSIG:
        raise os_error(errno.EINVAL)
    return int(value)
