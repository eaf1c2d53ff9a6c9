"""The simulator's time as the kernel's: the second of the two engines.

Events run in the hub, one after the other, in whatever callback of the simulator brought the time
or the reason for them; nothing needs an `await`.  Bus models call `post` from their callbacks.
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
        self._ended = gpi.Signal()
        self._timer = gpi.Timer(self._resume)
        self._failure: BaseException | None = None
        self._stop: Callable[[], bool] | None = None
        self._until: int | None = None
        self._running = False  # between the begin and the end of a `run`
        self._pumping = False
        self._asked = False  # a pump is on its way
        self.sync()

    def sync(self) -> None:
        """Take the time from the simulator."""
        self.now = gpi.time_ps() // 1000

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Something happened outside: run `fn(*args)` in the hub at the current time."""
        self.sync()
        self.call_at(self.now, fn, *args)
        self.poke()

    def fail(self, error: BaseException) -> None:
        """Let `run` raise `error`, now or when it is next awaited; the first one counts."""
        if self._failure is None:
            self._failure = error
        self.poke()

    def poke(self) -> None:
        """Let `run` look at its `stop` again."""
        if not self._running or self._pumping or self._asked:
            return
        if gpi.entries.inside:
            self._asked = True
            gpi.entries.later(self._resume)
        else:
            self._ended.fire()

    async def run(self, stop: Callable[[], bool] | None = None, until: int | None = None) -> None:
        """Run events until `stop()` is true or time `until` (ns) is reached.

        `stop` is looked at between any two events.  An exception of an event, or one given to
        `fail`, comes out here.  With neither `stop` nor `until` it ends only by an exception.

        While the caller waits, events run in the simulator's callbacks; no cocotb task wakes.
        """
        if self._running:
            raise RuntimeError("the engine runs already: somebody else awaits run()")
        self._stop, self._until = stop, until
        self._running = True
        try:
            while not self._pump():
                await self._ended
        finally:
            self._running = False
            self._timer.set(None)

    def _resume(self) -> None:
        """In a callback of the simulator: go on, and tell `run` if that was the end."""
        self._asked = False
        if not self._running:
            return
        try:
            over = self._pump()
        except BaseException as error:
            self._failure = error
            over = True
        if over:
            self._ended.fire()

    def _pump(self) -> bool:
        """Run what is due and set the timer for what is next; whether the run is over."""
        self.sync()
        self._pumping = True
        try:
            if self._run_due(self._stop):
                return True
        finally:
            self._pumping = False
        when, until = self.next_time(), self._until
        if until is not None:
            if self.now >= until:
                return True
            if when is None or when > until:
                when = until
        self._timer.set(None if when is None else when * 1000)
        return False

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
