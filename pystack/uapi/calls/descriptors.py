"""Calls that make descriptors which are no sockets: pipes, counters, timers."""

from __future__ import annotations

import errno
import os

from pystack.transport.sock import os_error
from pystack.uapi.calls.base import Calls
from pystack.uapi.clock import clock_ns
from pystack.uapi.eventfd import EventFd
from pystack.uapi.pipe import make_pipe
from pystack.uapi.table import syscall
from pystack.uapi.timerfd import TimerFd

TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # EFD_*, TFD_* and SOCK_* have the same values
_UINT_MAX = (1 << 32) - 1


class DescriptorCalls(Calls):
    @syscall
    def pipe2(self, flags: int = 0) -> tuple[int, int]:
        """`(read end, write end)`; both or none."""
        if flags & ~(_FLAGS | os.O_DIRECT):
            raise os_error(errno.EINVAL)
        reader, writer = make_pipe(self._kernel, self._system.open_files, flags & ~os.O_CLOEXEC)
        return self._install_pair(reader, writer, bool(flags & os.O_CLOEXEC))

    @syscall
    def eventfd2(self, initval: int, flags: int = 0) -> int:
        if flags & ~(_FLAGS | os.EFD_SEMAPHORE):
            raise os_error(errno.EINVAL)
        semaphore = bool(flags & os.EFD_SEMAPHORE)
        files, kernel, nonblock = self._system.open_files, self._kernel, flags & os.O_NONBLOCK
        return self._new_file(
            lambda: EventFd(files, kernel, initval & _UINT_MAX, nonblock, semaphore), flags
        )

    @syscall
    def timerfd_create(self, clockid: int, flags: int = 0) -> int:
        if flags & ~_FLAGS:
            raise os_error(errno.EINVAL)
        files, kernel, nonblock = self._system.open_files, self._kernel, flags & os.O_NONBLOCK
        return self._new_file(lambda: TimerFd(files, kernel, clockid, nonblock), flags)

    @syscall
    def timerfd_settime(
        self, fd: int, flags: int, value: int, interval: int = 0
    ) -> tuple[int, int]:
        """Times in ns; returns the old `(value, interval)`."""
        if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
            raise os_error(errno.EINVAL)
        return self._timer(fd).settime(value, interval, bool(flags & TFD_TIMER_ABSTIME))

    @syscall
    def timerfd_gettime(self, fd: int) -> tuple[int, int]:
        return self._timer(fd).gettime()

    @syscall
    def clock_gettime(self, clockid: int) -> int:
        """In ns."""
        return clock_ns(self._kernel, clockid)

    def _timer(self, fd: int) -> TimerFd:
        file = self._table.file(fd)
        if not isinstance(file, TimerFd):
            raise os_error(errno.EINVAL)
        return file
