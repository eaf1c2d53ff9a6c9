"""The one timeline: an event queue in integer nanoseconds.

Everything that happens later is an `Event` here.  `VirtualEngine` jumps from event to event; the
test bench derives an engine whose time is the simulator's.  Whoever runs the events is the hub:
the greenlet that CPUs hand control to when they wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet


class Event:
    """A call that is due at `when` (ns).  `cancel` makes it a no-op."""

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
        event = Event(max(when, self.now), fn, args)
        self._seq += 1
        heapq.heappush(self._heap, (event.when, self._seq, event))
        return event

    def call_later(self, delay: int, fn: Callable[..., object], *args: Any) -> Event:
        return self.call_at(self.now + delay, fn, *args)

    def next_time(self) -> int | None:
        """Time of the earliest event, or None when nothing is due ever."""
        heap = self._heap
        while heap and heap[0][2].fn is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run_due(self) -> None:
        """Run every event whose time has come, with those they make for the same time."""
        self.hub = getcurrent()
        heap = self._heap
        while heap and heap[0][0] <= self.now:
            event = heapq.heappop(heap)[2]
            fn, args = event.fn, event.args
            if fn is not None:
                event.cancel()
                fn(*args)


class VirtualEngine(Engine):
    """Time jumps to the next event: hours cost nothing."""

    def run(self, until: int | None = None, stop: Callable[[], bool] | None = None) -> None:
        """Run until `stop()` is true, time `until` (ns) is reached, or no event is left.

        With `until` the time afterwards is `until`, unless `stop` ended the run earlier.
        """
        while not (stop is not None and stop()):
            when = self.next_time()
            if when is None or (until is not None and when > until):
                if until is not None:
                    self.now = max(self.now, until)
                return
            self.now = when
            self.run_due_one()

    def run_due_one(self) -> None:
        """Run the earliest event only, so that `stop` is looked at between any two."""
        self.hub = getcurrent()
        event = heapq.heappop(self._heap)[2]
        fn, args = event.fn, event.args
        if fn is not None:
            event.cancel()
            fn(*args)
