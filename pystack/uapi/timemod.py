"""The `time` module of one simulated process: the clock is the engine's timeline."""

from __future__ import annotations

import calendar
import resource
import time as real
from types import SimpleNamespace
from typing import Any

from pystack.core.kernel import EPOCH_NS
from pystack.uapi.clock import clock_ns
from pystack.uapi.process import Process

_CLOCKS = {
    "monotonic": ("clock_gettime(CLOCK_MONOTONIC)", True, False),
    "perf_counter": ("clock_gettime(CLOCK_MONOTONIC)", True, False),
    "process_time": ("clock_gettime(CLOCK_PROCESS_CPUTIME_ID)", True, False),
    "thread_time": ("clock_gettime(CLOCK_THREAD_CPUTIME_ID)", True, False),
    "time": ("clock_gettime(CLOCK_REALTIME)", False, True),
}


class TimeModule:
    """Stands in for `time`, on a host whose time zone is UTC."""

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

    def process_time_ns(self) -> int:
        """See `rusage` for what is counted."""
        usage = self._process.sys.getrusage(resource.RUSAGE_SELF)
        return usage.utime + usage.stime

    def process_time(self) -> float:
        return self.process_time_ns() / 1e9

    def thread_time_ns(self) -> int:
        usage = self._process.sys.getrusage(resource.RUSAGE_THREAD)
        return usage.utime + usage.stime

    def thread_time(self) -> float:
        return self.thread_time_ns() / 1e9

    def clock_gettime_ns(self, clk_id: int) -> int:
        if clk_id == real.CLOCK_PROCESS_CPUTIME_ID:
            return self.process_time_ns()
        if clk_id == real.CLOCK_THREAD_CPUTIME_ID:
            return self.thread_time_ns()
        return clock_ns(self._process.kernel, clk_id)

    def clock_gettime(self, clk_id: int) -> float:
        return self.clock_gettime_ns(clk_id) / 1e9

    def clock_getres(self, clk_id: int) -> float:
        return 1e-9

    def get_clock_info(self, name: str) -> SimpleNamespace:
        if name not in _CLOCKS:
            raise ValueError("unknown clock")
        implementation, monotonic, adjustable = _CLOCKS[name]
        return SimpleNamespace(
            implementation=implementation,
            monotonic=monotonic,
            adjustable=adjustable,
            resolution=1e-9,
        )

    def tzset(self) -> None:
        """The time zone stays UTC."""

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
