"""The simulator's time as the kernel's: the second of the two engines.

Events run in the hub, one after the other, in the coroutine that awaits `run`; nothing below it
needs an `await`.  Bus models call `post` from their callbacks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from pystack.core.engine import Engine
from tb import gpi


class SimEngine(Engine):
    """`now` is the simulator's time in whole ns, rounded down."""

    def __init__(self) -> None:
        super().__init__()
        gpi.check_precision()
        self._wake = gpi.Wake()
        self._failure: BaseException | None = None
        self.sync()

    def sync(self) -> None:
        """Take the time from the simulator."""
        self.now = gpi.time_ps() // 1000

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Something happened outside: run `fn(*args)` in the hub at the current time."""
        self.sync()
        self.call_at(self.now, fn, *args)
        self._wake.kick()

    def fail(self, error: BaseException) -> None:
        """Let `run` raise `error`, now or when it is next awaited; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._wake.kick()

    def poke(self) -> None:
        """Let `run` look at its `stop` again."""
        self._wake.kick()

    async def run(self, stop: Callable[[], bool] | None = None, until: int | None = None) -> None:
        """Run events until `stop()` is true or time `until` (ns) is reached.

        `stop` is looked at between any two events.  An exception of an event, or one given to
        `fail`, comes out here.  With neither `stop` nor `until` it ends only by an exception.
        """
        self.sync()
        while True:
            if self._run_due(stop):
                return
            if until is not None and self.now >= until:
                return
            when = self.next_time()
            if until is not None and (when is None or when > until):
                when = until
            self._wake.delay_ps = None if when is None else when * 1000 - gpi.time_ps()
            await self._wake
            self.sync()

    def _run_due(self, stop: Callable[[], bool] | None) -> bool:
        """Run what is due; whether `stop` ended it."""
        self.hub = getcurrent()
        heap = self._heap
        while True:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if stop is not None and stop():
                return True
            if not heap or heap[0][0] > self.now:
                return False
            event = heapq.heappop(heap)[2]
            fn, args = event.fn, event.args
            if fn is not None:
                event.cancel()
                fn(*args)
