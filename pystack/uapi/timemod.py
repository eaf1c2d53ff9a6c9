"""The `time` module of one simulated process: the clock is the engine's timeline."""

from __future__ import annotations

import calendar
import time as real
from typing import Any

from pystack.uapi.clock import EPOCH_NS
from pystack.uapi.process import Process


class TimeModule:
    """Stands in for `time`, on a host whose time zone is UTC.

    What measures the interpreter itself (`process_time`) is missing.
    """

    __name__ = "time"
    struct_time = real.struct_time
    strptime = staticmethod(real.strptime)
    mktime = staticmethod(calendar.timegm)
    timezone = altzone = daylight = 0
    tzname = ("UTC", "UTC")

    def __init__(self, process: Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        """Only reached for what is not simulated."""
        raise AttributeError(f"module 'time' has no attribute {name!r} on a simulated host")

    def monotonic_ns(self) -> int:
        """Engine time, with what the CPU has charged but not yet spent."""
        kernel = self._process.kernel
        return kernel.now + (0 if kernel.this_cpu is None else kernel.this_cpu.debt)

    def monotonic(self) -> float:
        return self.monotonic_ns() / 1e9

    perf_counter_ns = monotonic_ns
    perf_counter = monotonic

    def time_ns(self) -> int:
        return EPOCH_NS + self.monotonic_ns()

    def time(self) -> float:
        return self.time_ns() / 1e9

    def sleep(self, secs: float) -> None:
        if secs < 0:
            raise ValueError("sleep length must be non-negative")
        self._process.sys.clock_nanosleep(round(secs * 1e9))

    def gmtime(self, secs: float | None = None) -> real.struct_time:
        return real.gmtime(self.time() if secs is None else secs)

    def localtime(self, secs: float | None = None) -> real.struct_time:
        return self.gmtime(secs)

    def strftime(self, format: str, t: Any = None) -> str:
        return real.strftime(format, self.gmtime() if t is None else t)

    def asctime(self, t: Any = None) -> str:
        return real.asctime(self.gmtime() if t is None else t)

    def ctime(self, secs: float | None = None) -> str:
        return real.asctime(self.gmtime(secs))
