"""Tasks: the schedulable threads of a host, each a greenlet.

Called by `Cpu` (which switches to them) and by wait queues (which wake them).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from pystack.core.cpu import Cpu


class TaskState(enum.Enum):
    RUNNING = "R"  # on a CPU or on its run queue
    INTERRUPTIBLE = "S"  # waits for a wake-up
    DEAD = "X"


class Task:
    """One thread of execution on one CPU.

    `fn(*args)` runs when the CPU first schedules it.  Its result is in `result`, an exception in
    `exception`; `on_exit` callbacks get the task.  An exception nobody claims (`on_exit` empty)
    unwinds into whoever runs the engine: a panic.
    """

    def __init__(self, cpu: Cpu, fn: Callable[..., Any], args: tuple[Any, ...], name: str) -> None:
        self.cpu = cpu
        self.name = name
        self.state = TaskState.RUNNING
        self.queued = False
        self.result: Any = None
        self.exception: BaseException | None = None
        self.on_exit: list[Callable[[Task], None]] = []
        self.process: Any = None  # the process this thread belongs to; None for a kernel thread
        self.nr_switches = 0
        self.nivcsw = 0  # of them, those not of its own will
        self.sum_exec_runtime = 0  # ns on a CPU, interrupts taken meanwhile included
        self.user_ns = 0  # of that, what the program itself has asked for
        self._fn, self._args = fn, args
        self.greenlet = greenlet(self._main, parent=cpu.loop)

    def _main(self) -> None:
        try:
            self.result = self._fn(*self._args)
        except Exception as exc:
            self.exception = exc
        self.state = TaskState.DEAD
        for callback in self.on_exit:
            callback(self)
        if self.exception is not None and not self.on_exit:
            raise self.exception

    def power_off(self) -> None:
        """Unwind it where it is; what it does meanwhile, without a CPU, fails and is lost."""
        self.greenlet.parent = getcurrent()
        with suppress(Exception):
            self.greenlet.throw()

    def wake(self) -> bool:
        """Make a waiting task runnable.  Returns whether it waited (`try_to_wake_up`)."""
        if self.state is not TaskState.INTERRUPTIBLE:
            return False
        self.state = TaskState.RUNNING
        self.cpu.enqueue(self)
        return True

    def __repr__(self) -> str:
        return f"<Task {self.name} {self.state.value} cpu{self.cpu.index}>"
