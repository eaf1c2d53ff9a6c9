"""What a process has used (`getrusage`).

A simulated program's own instructions take no time: what it is charged is the kernel's work for
it, and what it asks for with `Process.compute`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystack.core.task import Task


class Rusage(NamedTuple):
    """Times in ns; context switches of its own will (it waited) and not (its slice was up)."""

    utime: int = 0
    stime: int = 0
    nvcsw: int = 0
    nivcsw: int = 0

    def __add__(self, other: object) -> Rusage:
        assert isinstance(other, Rusage)
        return Rusage(*map(sum, zip(self, other, strict=True)))


def usage_of(task: Task) -> Rusage:
    """Of one thread, up to now."""
    running = task.cpu.slice_ns() if task.cpu.current is task else 0
    stime = task.sum_exec_runtime + running - task.user_ns
    nvcsw = max(task.nr_switches - 1 - task.nivcsw, 0)  # the first switch started it
    return Rusage(task.user_ns, stime, nvcsw, task.nivcsw)
