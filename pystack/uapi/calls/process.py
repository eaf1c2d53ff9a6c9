"""The process itself: its id, its sleep, its end."""

from __future__ import annotations

import errno
from typing import NoReturn

from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import ProcessExit, wait_on
from pystack.uapi.calls.base import Calls
from pystack.uapi.table import syscall

TIMER_SLACK_NS = 50_000  # even a sleep of zero gives up the CPU (prctl(2), PR_SET_TIMERSLACK)


class ProcessCalls(Calls):
    @syscall
    def getpid(self) -> int:
        return self.process.pid

    @syscall
    def clock_nanosleep(self, ns: int) -> None:
        if ns < 0:
            raise os_error(errno.EINVAL)
        wait_on(self._kernel, WaitQueue(), 0, lambda: False, ns or TIMER_SLACK_NS)

    @syscall
    def exit_group(self, status: int) -> NoReturn:
        self.process.begin_exit(status & 0xFF)
        raise ProcessExit
