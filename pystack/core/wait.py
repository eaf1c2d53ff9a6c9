"""Wait queues: the one mechanism under blocking calls, poll and epoll (`kernel/sched/wait.c`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.task import Task, TaskState

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel


class WaitEntry(ABC):
    """A place in a wait queue.  `exclusive` entries are woken one at a time."""

    __slots__ = ("exclusive",)

    def __init__(self, exclusive: bool = False) -> None:
        self.exclusive = exclusive

    @abstractmethod
    def func(self, mask: int) -> bool:
        """Called with the event mask (`EPOLL*` bits); returns whether it woke somebody."""


class WaitQueue:
    """Non-exclusive entries first, then exclusive ones in order of arrival.

    A tuple, made anew by each change: there are many queues, most have no entry or one, and a
    wake-up looks at the entries there were when it began.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: tuple[WaitEntry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: WaitEntry) -> None:
        self._entries += (entry,)

    def remove(self, entry: WaitEntry) -> None:
        self._entries = tuple(e for e in self._entries if e is not entry)

    def wake(self, mask: int = 0xFFFFFFFF, nr_exclusive: int = 1) -> None:
        """Wake all plain waiters and at most `nr_exclusive` exclusive ones (`__wake_up`)."""
        if not self._entries:
            return
        exclusive = []
        for entry in self._entries:
            if entry.exclusive:
                exclusive.append(entry)
            else:
                entry.func(mask)
        for entry in exclusive:
            if nr_exclusive <= 0:
                break
            if entry.func(mask):
                nr_exclusive -= 1


class Sleeper(WaitEntry):
    """The current task as a waiter: add it to any number of queues, then `wait_event`."""

    __slots__ = ("kernel", "task", "timed_out")

    def __init__(self, kernel: Kernel, exclusive: bool = False) -> None:
        cpu = kernel.cpu
        assert cpu.current is not None, "only a task can sleep"
        self.kernel = kernel
        self.task: Task = cpu.current
        self.timed_out = False
        super().__init__(exclusive)

    def func(self, mask: int) -> bool:
        woken = self.task.wake()
        if woken and self.kernel.this_cpu is not None:
            self.kernel.this_cpu.charge(self.kernel.costs.wakeup)
        return woken

    def _timeout(self) -> None:
        self.timed_out = True
        self.task.wake()

    def wait_event(self, condition: Callable[[], bool], timeout: int | None = None) -> bool:
        """Sleep until `condition()` holds (True) or `timeout` ns have passed (its last value)."""
        task = self.task
        event = None
        try:
            while True:
                task.state = TaskState.INTERRUPTIBLE
                if condition():
                    return True
                if self.timed_out or timeout == 0:
                    return False
                if event is None and timeout is not None:
                    event = self.kernel.engine.call_later(timeout, self._timeout)
                task.cpu.schedule()
        finally:
            task.state = TaskState.RUNNING
            if event is not None:
                event.cancel()


def wait_event(
    kernel: Kernel,
    queue: WaitQueue,
    condition: Callable[[], bool],
    timeout: int | None = None,
    exclusive: bool = False,
) -> bool:
    """Sleep on one queue until `condition()`; False if `timeout` (ns) ran out first."""
    if condition():
        return True
    sleeper = Sleeper(kernel, exclusive)
    queue.add(sleeper)
    try:
        return sleeper.wait_event(condition, timeout)
    finally:
        queue.remove(sleeper)


class Mutex:
    """One task at a time may be in a `with` of it; the others sleep (`struct mutex`)."""

    __slots__ = ("_held", "_kernel", "_waiting")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiting = WaitQueue()
        self._held = False

    def __enter__(self) -> None:
        wait_event(self._kernel, self._waiting, lambda: not self._held, exclusive=True)
        self._held = True

    def __exit__(self, *what: object) -> None:
        self._held = False
        self._waiting.wake()
