"""The `_thread` module of a process: threads are tasks, locks are wait queues.

`threading`, `queue` and `concurrent.futures` are the standard library's, loaded over this.
"""

from __future__ import annotations

import _thread as real
from collections.abc import Callable
from select import EPOLLIN
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pystack.core.wait import WaitQueue
from pystack.uapi.block import Deadline, ProcessExit, wait_on

if TYPE_CHECKING:
    from pystack.core.task import Task
    from pystack.uapi.process import Process
    from pystack.uapi.python.interpreter import Interpreter


class Lock:
    """`_thread.lock`; each release lets one waiter try, in order of arrival."""

    _process: Process

    def __init__(self) -> None:
        self._held = False
        self._waiters = WaitQueue()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        if self._held and not self._wait(blocking, timeout):
            return False
        self._held = True
        return True

    def _wait(self, blocking: bool, timeout: float) -> bool:
        """Until the lock is free.  Who only looks gives up the CPU, or it would look for ever."""
        kernel = self._process.kernel
        if not blocking or timeout == 0:
            self._process.sys.sched_yield()
            return not self._held
        limit = Deadline(kernel, None if timeout == -1 else round(timeout * 1e9))
        while self._held:
            free = wait_on(
                kernel, self._waiters, EPOLLIN, lambda: not self._held, limit.left(), True
            )
            if not free:
                return False
        return True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False
        self._waiters.wake(EPOLLIN)

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "locked" if self._held else "unlocked"
        return f"<{state} _thread.lock object at {id(self):#x}>"

    acquire_lock, release_lock, locked_lock = acquire, release, locked

    def _at_fork_reinit(self) -> None:
        self._held = False


class Threads:
    """What `_thread` offers for starting and telling apart threads."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._process = interpreter.process
        self.lock: type[Lock] = type("lock", (Lock,), {"_process": self._process})
        self._sentinels: dict[Task | None, Lock] = {}

    def _task(self) -> Task | None:
        cpu = self._process.kernel.this_cpu
        return None if cpu is None else cpu.current

    def get_ident(self) -> int:
        """The thread's id; the process's for code that runs in none of its threads."""
        task = self._task()
        return (
            self._process.pid
            if task is None
            else self._process.threads.get(task, self._process.pid)
        )

    def set_sentinel(self) -> Lock:
        """A lock that is released when the calling thread has ended."""
        lock = self._sentinels[self._task()] = self.lock()
        return lock

    def start(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
    ) -> int:
        if not callable(function):
            raise TypeError("first arg must be callable")

        def run() -> None:
            try:
                function(*args, **(kwargs or {}))
            except (SystemExit, ProcessExit):
                pass
            except BaseException as exc:
                heading = f"Exception ignored in thread started by: {function!r}\n"
                self._interpreter.report(exc, heading)
            finally:
                sentinel = self._sentinels.pop(self._task(), None)
                if sentinel is not None and sentinel.locked():
                    sentinel.release()

        # As in CPython no thread keeps the process alive: `threading` joins those that should.
        task = self._process.thread(run, daemon=True)
        return self._process.threads[task]

    def exit(self) -> None:
        raise SystemExit


def thread_module(interpreter: Interpreter) -> ModuleType:
    threads = Threads(interpreter)
    module = ModuleType("_thread")
    vars(module).update(
        LockType=threads.lock,
        TIMEOUT_MAX=real.TIMEOUT_MAX,
        allocate=threads.lock,
        allocate_lock=threads.lock,
        error=RuntimeError,
        exit=threads.exit,
        exit_thread=threads.exit,
        get_ident=threads.get_ident,
        get_native_id=threads.get_ident,
        interrupt_main=interpreter.interrupt,
        stack_size=lambda size=0: 0,
        start_new=threads.start,
        start_new_thread=threads.start,
        daemon_threads_allowed=lambda: True,
        _is_main_interpreter=lambda: True,
        _count=lambda: len(interpreter.process.threads),
        _set_sentinel=threads.set_sentinel,
    )
    return module
