"""Processes: a file table, threads that share it, and an end that closes everything.

Threads are kernel tasks.  As in CPython, the process lasts until its last non-daemon thread ends,
and its status is the main thread's: 0, what `exit` said, 1 after an uncaught exception, -N when
signal N killed it.
"""

from __future__ import annotations

import errno
import signal
import traceback
from collections.abc import Callable
from functools import partial
from select import EPOLLIN
from typing import Any

from pystack.core.kernel import Kernel
from pystack.core.task import Task
from pystack.core.wait import WaitQueue
from pystack.transport.sock import os_error
from pystack.uapi.block import ProcessExit, wait_on
from pystack.uapi.files import Console, FileTable
from pystack.uapi.rusage import Rusage, usage_of
from pystack.uapi.signals import SIG_IGN, SigInfo, Signals
from pystack.uapi.syscalls import Syscalls
from pystack.uapi.system import System

RLIMIT_NOFILE, NOFILE_HARD = 1024, 1 << 20


class Process:
    """`Process(kernel, system, "httpd").start(main, arg)` runs `main(arg)` in its main thread.

    Descriptors 0 to 2 are a `Console`.  `nofile` is RLIMIT_NOFILE.
    """

    def __init__(
        self,
        kernel: Kernel,
        system: System,
        name: str,
        *,
        uid: int = 0,
        nofile: int = RLIMIT_NOFILE,
        parent: Process | None = None,
    ) -> None:
        """A child has its `parent`'s descriptors, limits, signal actions and user."""
        self.kernel = kernel
        self.system = system
        self.name = name
        self.pid = system.next_pid()
        self.parent = parent
        self.children: dict[int, Process] = {}  # until they are waited for
        self.child_wq = WaitQueue()
        if parent is None:
            self.uid, self.console = uid, Console(system.open_files)
            self.files = FileTable(nofile, NOFILE_HARD)
            for _ in range(3):
                self.files.install(self.files.reserve(), self.console.get())
            self.console.put()
        else:
            self.uid, self.console = parent.uid, parent.console
            self.files = parent.files.clone()
            parent.children[self.pid] = self
        self.signals: Signals = Signals(self, None if parent is None else parent.signals.actions)
        self.usage, self.children_usage = Rusage(), Rusage()
        self.nr_syscalls = 0
        self.sys = Syscalls(self)
        self.threads: dict[Task, int] = {}  # with their ids; the main thread's is `pid`
        # Descriptors to be closed at the next system call: Python collects an object at any
        # moment, in any context, where closing, which sends packets, may not be possible.
        self.abandoned: list[int] = []
        self.exiting = False
        self.exit_status: int | None = None  # None while it lives
        self.result: Any = None  # what the main function returned
        self.tracebacks: list[str] = []  # of uncaught exceptions
        self._daemons: set[Task] = set()
        self._status = 0
        self._exit_wq = WaitQueue()
        self.stdout = self.stderr = self.console.output  # they differ where fd 2 is another file
        system.processes[self.pid] = self

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.name} status={self.exit_status}>"

    @property
    def alive(self) -> bool:
        return self.exit_status is None

    @property
    def running(self) -> bool:
        """Is the code that asks that of one of its threads?"""
        cpu = self.kernel.this_cpu
        return cpu is not None and cpu.current is not None and cpu.current.process is self

    @property
    def tid(self) -> int:
        """The id of the running thread."""
        task = self.kernel.cpu.current
        return self.pid if task is None else self.threads.get(task, self.pid)

    def start(self, fn: Callable[..., Any], *args: Any, cpu: int = 0, **kwargs: Any) -> Process:
        """Start the main thread, `fn(*args, **kwargs)`; returns the process."""
        self._spawn(self.pid, self._main, (partial(fn, **kwargs), args), self.name, cpu)
        return self

    def thread(
        self, fn: Callable[..., Any], *args: Any, daemon: bool = False, cpu: int | None = None
    ) -> Task:
        """Another thread, on the caller's CPU unless told; EAGAIN when the process is ending."""
        if self.exiting:
            raise os_error(errno.EAGAIN)
        if cpu is None:
            cpu = 0 if self.kernel.this_cpu is None else self.kernel.this_cpu.index
        tid = self.system.next_pid()
        name = f"{self.name}/{getattr(fn, '__name__', 'thread')}"
        task = self._spawn(tid, self._run, (fn, args), name, cpu)
        if daemon:
            self._daemons.add(task)
        return task

    def fork(self, fn: Callable[..., Any], *args: Any, name: str = "", cpu: int = 0) -> Process:
        """A child that runs `fn(*args)` with all descriptors of this process."""
        child = Process(self.kernel, self.system, name or self.name, parent=self)
        return child.start(fn, *args, cpu=cpu)

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal; one that kills ends all threads at a system call or where they wait."""
        self.signals.send(signum)

    def compute(self, ns: int) -> None:
        """The running thread's own work: `ns` of user time, during which interrupts are taken."""
        cpu = self.kernel.cpu
        task = cpu.current
        assert task is not None
        task.user_ns += ns
        cpu.charge(ns)
        cpu.flush()

    def close_abandoned(self) -> None:
        """Close the descriptors of objects that Python has collected."""
        while self.abandoned:
            self.sys.close(self.abandoned.pop())

    def wait(self, timeout: int | None = None) -> int | None:
        """From a task: wait for the end; the exit status, or None if `timeout` (ns) ran out."""
        wait_on(self.kernel, self._exit_wq, EPOLLIN, lambda: not self.alive, timeout)
        return self.exit_status

    # -- its end ---------------------------------------------------------------------------

    def begin_exit(self, status: int) -> None:
        """exit_group: the status stands, every thread is told to unwind."""
        if self.exiting:
            return
        self.exiting = True
        self._status = status
        for task in list(self.threads):
            task.wake()

    def _spawn(
        self, tid: int, fn: Callable[..., Any], args: tuple[Any, ...], name: str, cpu: int
    ) -> Task:
        task = self.kernel.spawn(fn, *args, name=name, cpu=cpu)
        task.process = self
        self.threads[task] = tid
        return task

    def _main(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        status = 0
        try:
            if not self.exiting:
                self.result = fn(*args)
        except ProcessExit:
            pass
        except SystemExit as exc:
            status = self._exit_code(exc)
        except Exception:
            status = self._uncaught()
        if not self.exiting:
            self._status = status
        self._thread_ends()

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        result = None
        try:
            if not self.exiting:
                result = fn(*args)
        except (ProcessExit, SystemExit):
            pass
        except Exception:
            self._uncaught()
        self._thread_ends()
        return result

    def _uncaught(self) -> int:
        text = traceback.format_exc()
        self.tracebacks.append(text)
        self.console.output += text.encode()
        return 1

    def _exit_code(self, exc: SystemExit) -> int:
        if exc.code is None:
            return 0
        if isinstance(exc.code, int):
            return exc.code & 0xFF
        self.console.output += f"{exc.code}\n".encode()
        return 1

    def _thread_ends(self) -> None:
        """Runs as the last thing of each thread; the last thread takes the process along."""
        task = self.kernel.cpu.current
        assert task is not None
        self.usage += usage_of(task)
        del self.threads[task]
        self._daemons.discard(task)
        if self.threads:
            if self.threads.keys() <= self._daemons:
                self.begin_exit(self._status)
            return
        self._ends()

    def _ends(self) -> None:
        """The last thread is gone: close everything, tell those who wait (`do_exit`)."""
        self.exiting = True
        self.sys.disarm()
        self.files.close_all()
        self.exit_status = self._status
        del self.system.processes[self.pid]
        if self.system.tp_process_exit.enabled:
            self.system.tp_process_exit(self.pid, self.name, self.exit_status)
        for child in self.children.values():
            child.parent = None
        self.children.clear()
        if self.parent is not None:
            self.parent.child_ended(self)
        self._exit_wq.wake(EPOLLIN)

    def child_ended(self, child: Process) -> None:
        """A child is a zombie now, unless SIGCHLD is ignored (`do_notify_parent`)."""
        if self.signals.action(signal.SIGCHLD).handler == SIG_IGN:
            self.reap(child)
        self.signals.send(signal.SIGCHLD, _child_info(child))
        self.child_wq.wake(EPOLLIN)

    def reap(self, child: Process) -> None:
        del self.children[child.pid]
        self.children_usage += child.usage + child.children_usage
        child.parent = None


def _child_info(child: Process) -> SigInfo:
    status = child.exit_status or 0
    code = "CLD_EXITED" if status >= 0 else "CLD_KILLED"
    return SigInfo(code, child.pid, child.uid, abs(status))
