"""Signals and the timers that send them (`kernel/signal.c`, `kernel/time/itimer.c`)."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterable
from typing import NoReturn

from pystack.core.timer import Timer
from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import wait_on
from pystack.uapi.calls.base import Calls
from pystack.uapi.signals import Action, SigInfo, signal_number
from pystack.uapi.table import syscall

_SECOND = 1_000_000_000  # ns


class SignalCalls(Calls):
    _alarm: Timer | None = None
    _interval = 0

    @syscall
    def kill(self, pid: int, signum: int) -> None:
        """To a process of the host; signal 0 only asks whether it is there."""
        target = self._system.processes.get(pid or self.process.pid)
        signal_number(signum)
        if target is None:
            raise os_error(errno.ESRCH)
        if self.process.uid not in (0, target.uid):
            raise os_error(errno.EPERM)
        if signum:
            sender = SigInfo("SI_USER", self.process.pid, self.process.uid)
            target.signals.send(signum, sender)

    @syscall
    def rt_sigaction(self, signum: int, action: Action | None = None) -> Action:
        """Set, or ask for, what a signal does; returns what it did."""
        signals = self.process.signals
        if action is not None:
            return signals.set_action(signum, action)
        if not signal_number(signum) >= 1:
            raise os_error(errno.EINVAL)
        return signals.action(signum)

    @syscall
    def rt_sigprocmask(self, how: int, mask: Iterable[int]) -> frozenset[int]:
        return self.process.signals.change_mask(how, mask)

    @syscall
    def pause(self) -> NoReturn:
        """Until a handler has run, which is EINTR."""
        while True:
            wait_on(self._kernel, WaitQueue(), 0, lambda: False, None, restartable=False)

    @syscall
    def setitimer(self, which: int, value: int, interval: int = 0) -> tuple[int, int]:
        """SIGALRM in `value` ns, then every `interval`; 0 disarms.  The old `(value, interval)`."""
        if which != signal.ITIMER_REAL or value < 0 or interval < 0:
            raise os_error(errno.EINVAL)
        return self._arm(value, interval)

    @syscall
    def getitimer(self, which: int) -> tuple[int, int]:
        if which != signal.ITIMER_REAL:
            raise os_error(errno.EINVAL)
        return self._left(), self._interval

    @syscall
    def alarm(self, seconds: int) -> int:
        """SIGALRM in `seconds`; the seconds that were left of the last, rounded."""
        left, _ = self._arm(seconds * _SECOND, 0)
        return max(1, (left + _SECOND // 2) // _SECOND) if left else 0

    def disarm(self) -> None:
        """The process has ended."""
        if self._alarm is not None:
            self._alarm.delete()

    def _arm(self, value: int, interval: int) -> tuple[int, int]:
        old = self._left(), self._interval
        if self._alarm is None:
            self._alarm = self._kernel.timer(self._fire)
        self._interval = interval
        if value:
            self._alarm.mod(self._kernel.now + value)
        else:
            self._alarm.delete()
        return old

    def _left(self) -> int:
        alarm = self._alarm
        return max(alarm.expires - self._kernel.now, 1) if alarm and alarm.pending else 0

    def _fire(self) -> None:
        assert self._alarm is not None
        if self._interval:
            self._alarm.mod(self._alarm.expires + self._interval)
        self.process.signals.send(signal.SIGALRM)
