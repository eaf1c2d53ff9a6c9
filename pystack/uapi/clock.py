"""Clocks: the engine's timeline as CLOCK_MONOTONIC, and a wall clock that runs beside it."""

from __future__ import annotations

import errno
import time

from pystack.core.kernel import EPOCH_NS, Kernel
from pystack.transport.sock import os_error

_OFFSETS = {
    time.CLOCK_MONOTONIC: 0,
    time.CLOCK_BOOTTIME: 0,
    time.CLOCK_REALTIME: EPOCH_NS,
}


def offset(clock: int) -> int:
    """What a clock shows at engine time 0, in ns; EINVAL for one there is not."""
    if clock not in _OFFSETS:
        raise os_error(errno.EINVAL)
    return _OFFSETS[clock]


def clock_ns(kernel: Kernel, clock: int) -> int:
    """The time on a clock, with what the CPU has charged but not yet spent."""
    cpu = kernel.this_cpu
    return offset(clock) + kernel.now + (0 if cpu is None else cpu.debt)
