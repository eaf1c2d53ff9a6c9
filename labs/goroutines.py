"""Goroutines in one thread: `go`, channels, sleep (Go's `runtime/proc.go`, `runtime/chan.go`).

A goroutine is a greenlet of the calling thread.  It runs until it parks; the scheduler then runs
the next one, and when none can run it asks the poller what is ready (`netpoll`).

    go(fn)  ->  run queue  ->  running  ->  parked  --ready()-->  run queue
                                 |                   ^
                                 v                   |  epoll_wait, timer, channel
                              finished            findrunnable
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class Poller(Protocol):
    def wait(self, timeout: float | None) -> None:
        """Wait up to `timeout` seconds, and make ready the goroutines whose event has come."""
        ...


class Closed(Exception):
    """The channel is closed (and empty, for one who receives)."""


class Timer:
    """`fn()` is called at `when` (seconds on the clock) unless `stop` was first."""

    def __init__(self, when: float, fn: Callable[[], None]) -> None:
        self.when = when
        self.fn: Callable[[], None] | None = fn

    def stop(self) -> None:
        self.fn = None


class Goroutine:
    def __init__(self, scheduler: Scheduler, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._scheduler = scheduler
        self._fn, self._args = fn, args
        self.greenlet = greenlet(self._main)
        self.queued = False

    def _main(self) -> None:
        try:
            self._fn(*self._args)
        finally:
            self._scheduler.alive -= 1


class Scheduler:
    """`clock` gives seconds; `poller` waits for descriptors (`Netpoll` sets itself)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.poller: Poller | None = None
        self.alive = 0
        self.parks = 0
        self._runnable: deque[Goroutine] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._current: Goroutine | None = None
        self._loop = getcurrent()

    def go(self, fn: Callable[..., Any], *args: Any) -> Goroutine:
        """`go fn(args)`: it runs when the scheduler comes to it."""
        goroutine = Goroutine(self, fn, args)
        self.alive += 1
        self.ready(goroutine)
        return goroutine

    def ready(self, goroutine: Goroutine) -> None:
        """Make a parked goroutine runnable (`goready`)."""
        if not goroutine.queued:
            goroutine.queued = True
            self._runnable.append(goroutine)

    def current(self) -> Goroutine:
        if self._current is None:
            raise RuntimeError("not in a goroutine")
        return self._current

    def park(self) -> None:
        """Give up the thread until somebody calls `ready` (`gopark`)."""
        self.current()
        self.parks += 1
        self._loop.switch()

    def after(self, seconds: float, fn: Callable[[], None]) -> Timer:
        timer = Timer(self.clock() + seconds, fn)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def sleep(self, seconds: float) -> None:
        me = self.current()
        self.after(seconds, lambda: self.ready(me))
        self.park()

    def run(self, main: Callable[..., Any], *args: Any) -> None:
        """Run `main` and what it starts; ends when `main` does, as a Go program.

        RuntimeError if all goroutines are asleep and nothing can wake them.
        """
        self._loop = getcurrent()
        first = self.go(main, *args)
        while not first.greenlet.dead:
            self._fire()
            if not self._runnable:
                self._find_runnable()
                continue
            goroutine = self._current = self._runnable.popleft()
            goroutine.queued = False
            goroutine.greenlet.parent = self._loop
            goroutine.greenlet.switch()
            self._current = None

    def _fire(self) -> None:
        now = self.clock()
        while self._timers and (self._timers[0][2].fn is None or self._timers[0][0] <= now):
            fn = heapq.heappop(self._timers)[2].fn
            if fn is not None:
                fn()

    def _find_runnable(self) -> None:
        """Nobody can run: wait for the network, up to the next timer (`findrunnable`)."""
        timeout = max(self._timers[0][0] - self.clock(), 0.0) if self._timers else None
        if self.poller is None:
            raise RuntimeError("all goroutines are asleep - deadlock!")
        self.poller.wait(timeout)


class Channel(Generic[T]):
    """`make(chan T, size)`: a sender waits for room, or with size 0 for a receiver."""

    def __init__(self, scheduler: Scheduler, size: int = 0) -> None:
        self._scheduler = scheduler
        self._size = size
        self._items: deque[T] = deque()
        self._senders: deque[tuple[Goroutine, T]] = deque()
        self._receivers: deque[tuple[Goroutine, list[T]]] = deque()
        self.closed = False

    def send(self, item: T) -> None:
        """Raises Closed on a closed channel."""
        if self.closed:
            raise Closed
        if self._receivers:
            goroutine, box = self._receivers.popleft()
            box.append(item)
            self._scheduler.ready(goroutine)
        elif len(self._items) < self._size:
            self._items.append(item)
        else:
            entry = self._scheduler.current(), item
            self._senders.append(entry)
            self._scheduler.park()
            if entry in self._senders:
                raise Closed

    def receive(self) -> T:
        """Raises Closed when it is closed and empty."""
        if self._items:
            item = self._items.popleft()
            if self._senders:
                sender, waiting = self._senders.popleft()
                self._items.append(waiting)
                self._scheduler.ready(sender)
            return item
        if self._senders:
            sender, item = self._senders.popleft()
            self._scheduler.ready(sender)
            return item
        if self.closed:
            raise Closed
        box: list[T] = []
        self._receivers.append((self._scheduler.current(), box))
        self._scheduler.park()
        if not box:
            raise Closed
        return box[0]

    def close(self) -> None:
        """Receivers get what is left and then Closed; senders that wait get it at once."""
        self.closed = True
        for goroutine, _ in (*self._receivers, *self._senders):
            self._scheduler.ready(goroutine)
        self._receivers.clear()
