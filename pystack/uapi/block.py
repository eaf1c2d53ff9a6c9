"""Blocking: the calling thread waits on the wait queues of files.

Used by every call that may sleep (`sockfile`, `poll`, `epoll`, `process`); sits on `core.wait`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.wait import Sleeper, WaitEntry, WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.signals import Restart

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel


class ProcessExit(BaseException):
    """Unwinds a thread whose process is exiting; no `except Exception` catches it."""


class _MaskedEntry(WaitEntry):
    """Lets those wake-ups through to `sleeper` that are for an event of `mask`, or for any."""

    __slots__ = ("_mask", "_sleeper")

    def __init__(self, sleeper: Sleeper, mask: int) -> None:
        super().__init__(sleeper.exclusive)
        self._sleeper = sleeper
        self._mask = mask

    def func(self, mask: int) -> bool:
        return (not mask or bool(mask & self._mask)) and self._sleeper.func(mask)


class Waiter:
    """The calling thread, waiting on any number of queues for events it names.

    A wake-up for other events neither wakes it nor uses up an exclusive wake-up.  Entries are
    queued by `watch` before `wait` looks at the condition, so no wake-up is lost.
    """

    def __init__(self, kernel: Kernel, exclusive: bool = False) -> None:
        self._kernel = kernel
        self._sleeper = Sleeper(kernel, exclusive)
        self._exclusive = exclusive
        self._entries: list[tuple[WaitQueue, WaitEntry]] = []

    def watch(self, queue: WaitQueue, mask: int) -> None:
        """Be woken by `queue.wake(events)` when `events & mask` (or when it names no event)."""
        entry = _MaskedEntry(self._sleeper, mask)
        queue.add(entry)
        self._entries.append((queue, entry))

    def wait(
        self, condition: Callable[[], bool], timeout: int | None, restartable: bool = True
    ) -> bool:
        """Sleep until `condition()`; False if `timeout` (ns) ran out.  `ProcessExit` if killed.

        EINTR after a signal handler, unless that lets the call go on; without `restartable`, or
        with a timeout, SA_RESTART does not (signal(7)).
        """
        task = self._sleeper.task
        process = task.process
        if process is None:
            return self._sleeper.wait_event(condition, timeout)
        signals, deadline, holds = process.signals, Deadline(self._kernel, timeout), False

        def over() -> bool:
            nonlocal holds
            if process.exiting:
                return True
            holds = condition()
            return holds or bool(signals.pending and signals.waiting(task))

        while True:
            self._sleeper.wait_event(over, deadline.left())
            if process.exiting:
                self._pass_on()
                raise ProcessExit
            if holds or not (signals.pending and signals.waiting(task)):
                return holds
            restart = signals.deliver()
            if restart is Restart.ALWAYS:
                continue
            if restart is Restart.NEVER or not (timeout is None and restartable):
                raise os_error(errno.EINTR)

    def _pass_on(self) -> None:
        """Hand a wake-up meant for this thread alone to the next one: it may have been the last."""
        queues = [queue for queue, _ in self._entries]
        self.close()
        if self._exclusive:
            for queue in queues:
                queue.wake()

    def close(self) -> None:
        """Leave all queues."""
        for queue, entry in self._entries:
            queue.remove(entry)
        self._entries.clear()

    def __enter__(self) -> Waiter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_on(
    kernel: Kernel,
    queue: WaitQueue,
    mask: int,
    condition: Callable[[], bool],
    timeout: int | None = None,
    exclusive: bool = False,
    restartable: bool = True,
) -> bool:
    """Sleep on one queue; see `Waiter.wait`."""
    with Waiter(kernel, exclusive) as waiter:
        waiter.watch(queue, mask)
        return waiter.wait(condition, timeout, restartable)


class Deadline:
    """A timeout that several waits share."""

    def __init__(self, kernel: Kernel, timeout: int | None) -> None:
        self._kernel = kernel
        self._end = None if timeout is None else kernel.now + timeout

    def left(self) -> int | None:
        """What remains, in ns, 0 when it is over; None for no limit."""
        return None if self._end is None else max(0, self._end - self._kernel.now)
