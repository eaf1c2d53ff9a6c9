"""The one timeline: an event queue in integer nanoseconds.

Everything that happens later is an `Event` here.  `VirtualEngine` jumps from event to event; the
test bench derives an engine whose time is the simulator's.  Whoever runs the events is the hub:
the greenlet that CPUs hand control to when they wait.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from greenlet import getcurrent, greenlet

GONE = -1
NEVER = 1 << 63


class Event:
    """A call that is due at `when` (ns).  `cancel` makes it a no-op.

    A cancelled event stays in the heap until its time comes or it is on top: then `when` is GONE.
    """

    __slots__ = ("args", "fn", "when")

    def __init__(self, when: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.when = when
        self.fn: Callable[..., object] | None = fn
        self.args = args

    @property
    def pending(self) -> bool:
        return self.fn is not None

    def cancel(self) -> None:
        self.fn = None
        self.args = ()


class Engine:
    """Holds the time and the events.  Events at the same time run in the order they were made."""

    def __init__(self) -> None:
        self.now = 0
        self.hub: greenlet = getcurrent()
        self._heap: list[tuple[int, int, Event]] = []
        self._seq = 0

    def call_at(self, when: int, fn: Callable[..., object], *args: Any) -> Event:
        """Run `fn(*args)` in the hub at `when` ns; a time in the past means now."""
        if when < self.now:
            when = self.now
        event = Event(when, fn, args)
        self._seq += 1
        heappush(self._heap, (when, self._seq, event))
        return event

    def call_later(self, delay: int, fn: Callable[..., object], *args: Any) -> Event:
        return self.call_at(self.now + delay, fn, *args)

    def advance(self, ns: int) -> bool:
        """Let `ns` pass at once if nothing else is due until then; False: the caller must wait.

        Only an engine that owns its time can do this.
        """
        return False

    def next_time(self) -> int | None:
        """Time of the earliest event, or None when nothing is due ever."""
        heap = self._heap
        while heap and heap[0][2].fn is None:
            heappop(heap)[2].when = GONE
        return heap[0][0] if heap else None


class VirtualEngine(Engine):
    """Time jumps to the next event: hours cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._until = GONE  # how far the current `run` may go; GONE outside of one
        self._stop: Callable[[], bool] | None = None

    def run(self, until: int | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Run until `stop()` is true, time `until` (ns) is reached, or no event is left.

        With `until` the time afterwards is `until`, unless `stop` ended the run earlier.
        """
        outer = self.hub, self._until, self._stop  # an event may run events itself
        self.hub = getcurrent()
        self._until = NEVER if until is None else until
        self._stop = stop
        heap = self._heap
        try:
            while stop is None or not stop():
                when = self.next_time()
                if when is None or when > self._until:
                    if until is not None:
                        self.now = max(self.now, until)
                    return
                self.now = when
                event = heappop(heap)[2]
                fn, args = event.fn, event.args
                assert fn is not None, "next_time leaves a live event on top"
                event.fn, event.args = None, ()
                fn(*args)
        finally:
            self.hub, self._until, self._stop = outer

    def advance(self, ns: int) -> bool:
        when = self.now + ns
        if when > self._until:
            return False
        due = self.next_time()
        if (due is not None and due <= when) or (self._stop is not None and self._stop()):
            return False
        self.now = when
        return True
