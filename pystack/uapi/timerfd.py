"""timerfd: expirations to wait for (`fs/timerfd.c`)."""

from __future__ import annotations

import errno
import os
import struct
from select import EPOLLIN

from pystack.core.kernel import Kernel
from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi import clock
from pystack.uapi.block import wait_on
from pystack.uapi.files import File, OpenFiles

_TICKS = struct.Struct("=Q")


class TimerFd(File):
    """Times in ns.  After an expiration the timer stands; a read counts those passed since."""

    __slots__ = ("_interval", "_offset", "_ticks", "_timer", "_wq", "kernel")

    def __init__(self, open_files: OpenFiles, kernel: Kernel, clock_id: int, flags: int) -> None:
        offset = clock.offset(clock_id)
        super().__init__(open_files, os.O_RDWR | flags)
        self.kernel = kernel
        self._offset = offset
        self._interval = self._ticks = 0
        self._timer = kernel.timer(self._expire)
        self._wq = WaitQueue()

    @property
    def wq(self) -> WaitQueue:
        return self._wq

    def lseek(self, offset: int, whence: int) -> int:
        return 0  # noop_llseek

    def poll(self) -> int:
        return EPOLLIN if self._ticks else 0

    def settime(self, value: int, interval: int, absolute: bool) -> tuple[int, int]:
        """Expire in, or at, `value` and then every `interval`; 0 disarms.  The old setting."""
        if value < 0 or interval < 0:
            raise os_error(errno.EINVAL)
        old = self.gettime()
        self._ticks, self._interval = 0, interval
        if value:
            now = self.kernel.now
            self._timer.mod(max(value - self._offset, now) if absolute else now + value)
        else:
            self._timer.delete()
        return old

    def gettime(self) -> tuple[int, int]:
        """`(time left, interval)`; time left is 0 when disarmed."""
        self._catch_up()
        left = self._timer.expires - self.kernel.now if self._timer.pending else 0
        return max(left, 0), self._interval

    def read(self, n: int) -> bytes:
        """How often it has expired since the last read."""
        if n < _TICKS.size:
            raise os_error(errno.EINVAL)
        if not self._ticks:
            if self.nonblocking:
                raise os_error(errno.EAGAIN)
            wait_on(self.kernel, self._wq, EPOLLIN, lambda: self._ticks > 0)
        self._catch_up()
        ticks, self._ticks = self._ticks, 0
        return _TICKS.pack(ticks)

    def release(self) -> None:
        self._timer.delete()

    def _expire(self) -> None:
        self._ticks += 1
        self._wq.wake(EPOLLIN)

    def _catch_up(self) -> None:
        """The intervals that have passed since it expired, and the start of the next."""
        timer = self._timer
        if self._ticks and self._interval and not timer.pending:
            missed = (self.kernel.now - timer.expires) // self._interval
            self._ticks += missed
            timer.mod(timer.expires + (missed + 1) * self._interval)
