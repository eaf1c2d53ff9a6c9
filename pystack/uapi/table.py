"""The system-call boundary: what every call does on its way in and out, and a table of them.

`@syscall` marks a method of `calls`.  It charges the entry, reports `sys_enter` and `sys_exit`,
spends what was charged and lets others run (`cond_resched`), and stops a thread whose process is
exiting.  `SYSCALLS` is what an strace needs to name the arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from pystack.uapi.block import ProcessExit

if TYPE_CHECKING:
    from pystack.core.cpu import Cpu
    from pystack.uapi.calls.base import Calls
    from pystack.uapi.process import Process

C = TypeVar("C", bound="Calls")
P = ParamSpec("P")
R = TypeVar("R")

UNRETURNED = "?"
"""What `sys_exit` reports of a call that ended with its process."""

SYSCALLS: dict[str, tuple[str, ...]] = {}
"""Parameter names by system call."""


def enter(process: Process) -> Cpu:
    """Entry work; returns the caller's CPU.  RuntimeError if it is no thread of the process."""
    cpu = process.kernel.this_cpu
    if cpu is None or cpu.current is None or cpu.current.process is not process:
        raise RuntimeError(f"{process.name}: system call from outside the process")
    if process.exiting:
        raise ProcessExit
    if process.abandoned:
        process.close_abandoned()
    if process.signals.pending:
        process.signals.deliver_here()
    process.nr_syscalls += 1
    cpu.debt += process.kernel.costs.syscall
    return cpu


def syscall(
    fn: Callable[Concatenate[C, P], R],
) -> Callable[Concatenate[C, P], R]:
    name = fn.__name__
    SYSCALLS[name] = tuple(inspect.signature(fn).parameters)[1:]

    @functools.wraps(fn)
    def call(self: C, /, *args: P.args, **kwargs: P.kwargs) -> R:
        process = self.process
        cpu = enter(process)
        system = process.system
        if system.tp_enter.enabled:
            system.tp_enter(process.tid, name, (*args, *kwargs.values()))
        result: object = UNRETURNED
        try:
            result = value = fn(self, *args, **kwargs)
            return value
        except OSError as exc:
            result = -(exc.errno or 0)
            raise
        finally:
            if system.tp_exit.enabled:
                system.tp_exit(process.tid, name, result)
            cpu.cond_resched()
            if process.signals.pending:
                process.signals.deliver_here()

    return call
