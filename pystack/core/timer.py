"""Kernel timers: run in the TIMER softirq of the CPU they were made on (`kernel/time/timer.c`).

Re-arming to a later time, which TCP does for every ACK, costs one assignment: the event stays
where it is and, when it comes too early, moves itself.  So does arming again after a deletion, as
long as the deleted event has not left the heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.cpu import Cpu, Softirq

if TYPE_CHECKING:
    from pystack.core.engine import Event
    from pystack.core.kernel import Kernel


class Timer:
    """A one-shot timer; `expires` is in engine ns."""

    __slots__ = ("_base", "_event", "_queued", "expires", "fn", "pending")

    def __init__(self, base: TimerBase, fn: Callable[[], None]) -> None:
        self._base = base
        self._event: Event | None = None
        self._queued = False
        self.expires = 0
        self.pending = False
        self.fn = fn

    def mod(self, expires: int) -> None:
        """Arm, or move, to `expires` ns (`mod_timer`)."""
        if not self.pending:
            self.pending = True
            self._base.active += 1
        self.expires = expires
        event, engine = self._event, self._base.engine
        if event is not None:
            if event.when <= expires:
                if event.fn is not None:
                    return
                if event.when > engine.now:  # still in the heap
                    event.fn = self._due
                    return
            event.cancel()
        self._event = engine.call_at(expires, self._due)

    def delete(self) -> bool:
        """Disarm; returns whether it was armed (`timer_delete`)."""
        was = self.pending
        if was:
            self.pending = False
            self._base.active -= 1
            if self._event is not None:
                self._event.cancel()
        return was

    def _due(self) -> None:
        if not self.pending:
            return
        if self._base.engine.now < self.expires:
            self._event = self._base.engine.call_at(self.expires, self._due)
        elif not self._queued:
            self._queued = True
            self._base.expire(self)

    def run(self) -> None:
        """Softirq side: call `fn` unless the timer was deleted or moved meanwhile."""
        self._queued = False
        if not self.pending:
            return
        if self._base.engine.now < self.expires:
            self._event = self._base.engine.call_at(self.expires, self._due)
            return
        self.pending = False
        self._base.active -= 1
        self.fn()


class TimerBase:
    """The timers of one CPU.  `active` counts armed ones, for leak checks."""

    def __init__(self, kernel: Kernel, cpu: Cpu) -> None:
        self.engine = kernel.engine
        self.cpu = cpu
        self.active = 0
        self._expired: deque[Timer] = deque()
        self._irq = kernel.irqs.own("LOC", "Local timer interrupts", self._interrupt)

    def expire(self, timer: Timer) -> None:
        """The timer interrupt: hand the timer to the softirq, which follows at its end."""
        self._expired.append(timer)
        self.cpu.raise_irq(self._irq)

    def _interrupt(self) -> None:
        self.cpu.raise_softirq(Softirq.TIMER)

    def run(self) -> None:
        """The TIMER softirq."""
        while self._expired:
            self._expired.popleft().run()
