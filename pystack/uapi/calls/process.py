"""The process itself: ids, children, limits, accounts, its sleep and its end."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, NoReturn

from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import ProcessExit, wait_on
from pystack.uapi.calls.base import Calls
from pystack.uapi.rusage import Rusage, usage_of
from pystack.uapi.table import syscall

if TYPE_CHECKING:
    from pystack.uapi.process import Process

TIMER_SLACK_NS = 50_000  # even a sleep of zero gives up the CPU (prctl(2), PR_SET_TIMERSLACK)
RUSAGE_THREAD = 1
RLIM_NLIMITS = 16


class ProcessCalls(Calls):
    @syscall
    def getpid(self) -> int:
        return self.process.pid

    @syscall
    def getppid(self) -> int:
        """1 when the parent has ended, or nobody's child."""
        parent = self.process.parent
        return 1 if parent is None else parent.pid

    @syscall
    def getuid(self) -> int:
        return self.process.uid

    @syscall
    def clock_nanosleep(self, ns: int) -> None:
        if ns < 0:
            raise os_error(errno.EINVAL)
        wait_on(
            self._kernel, WaitQueue(), 0, lambda: False, ns or TIMER_SLACK_NS, restartable=False
        )

    @syscall
    def sched_yield(self) -> None:
        self._kernel.cpu.yield_()

    @syscall
    def exit_group(self, status: int) -> NoReturn:
        self.process.begin_exit(status & 0xFF)
        raise ProcessExit

    # -- children --------------------------------------------------------------------------

    @syscall
    def fork(self, fn: Callable[..., Any], *args: Any) -> int:
        """A child that runs `fn(*args)` and ends; its id."""
        return self.process.fork(fn, *args).pid

    @syscall
    def wait4(self, pid: int, options: int = 0) -> tuple[int, int, Rusage]:
        """`(pid, status, usage)` of a child that has ended; pid 0 with WNOHANG and none has."""
        if options & ~(os.WNOHANG | os.WUNTRACED | os.WCONTINUED):
            raise os_error(errno.EINVAL)
        timeout = 0 if options & os.WNOHANG else None
        found: list[Process] = []

        def look() -> bool:
            children = [c for c in self.process.children.values() if pid in (-1, 0, c.pid)]
            found[:] = [child for child in children if not child.alive][:1]
            return bool(found) or not children

        wait_on(self._kernel, self.process.child_wq, EPOLLIN, look, timeout)
        if not found:
            if look() and not found:
                raise os_error(errno.ECHILD)
            return 0, 0, Rusage()
        child = found[0]
        self.process.reap(child)
        assert child.exit_status is not None
        status = child.exit_status
        return child.pid, -status if status < 0 else status << 8, child.usage

    # -- limits and accounts ---------------------------------------------------------------

    @syscall
    def prlimit64(self, resource_: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        """Get and set `(soft, hard)` of RLIMIT_NOFILE; nothing else is limited here."""
        if not 0 <= resource_ < RLIM_NLIMITS:
            raise os_error(errno.EINVAL)
        if resource_ != resource.RLIMIT_NOFILE:
            if limits is not None:
                raise os_error(errno.EPERM)
            return resource.RLIM_INFINITY, resource.RLIM_INFINITY
        old = self._table.limit, self._table.hard
        if limits is not None:
            self._set_nofile(*limits)
        return old

    def _set_nofile(self, soft: int, hard: int) -> None:
        """Only root may raise the hard limit, and that up to fs.nr_open (`do_prlimit`)."""
        infinite = resource.RLIM_INFINITY
        soft, hard = (1 << 64 if value == infinite else value for value in (soft, hard))
        if soft > hard:
            raise os_error(errno.EINVAL)
        raises = hard > self._table.hard
        if hard > self._system.nr_open or (raises and self.process.uid):
            raise os_error(errno.EPERM)
        self._table.limit, self._table.hard = soft, hard

    @syscall
    def getrusage(self, who: int) -> Rusage:
        process = self.process
        match who:
            case resource.RUSAGE_SELF:
                return sum(map(usage_of, process.threads), process.usage)
            case resource.RUSAGE_CHILDREN:
                return process.children_usage
            case 1:  # RUSAGE_THREAD
                task = self._kernel.cpu.current
                assert task is not None
                return usage_of(task)
        raise os_error(errno.EINVAL)
