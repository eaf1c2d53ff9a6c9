"""Wall time of a stretch of simulation, and who spent it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tb.bench import Bench

PROFILED = 0.5  # part of the time that the shares are measured on, after the speed


class Stopwatch:
    """Starts at once.  `profile` costs a few percent: it times every entry to Python and to C."""

    def __init__(self, bench: Bench, profile: bool) -> None:
        self._bench = bench
        self._profile = profile
        if profile:
            bench.profile(True)
        self._cycles, self._sim_ns = bench.cycles, bench.engine.now
        self._spent = bench.spent_ns()
        self._begin = time.perf_counter()

    def stop(self) -> dict[str, Any]:
        """wall_s, cycles, sim_ns; with `profile` transactor_s and python_s."""
        wall = time.perf_counter() - self._begin
        bench = self._bench
        bench.engine.sync()
        result: dict[str, Any] = {
            "wall_s": wall,
            "cycles": bench.cycles - self._cycles,
            "sim_ns": bench.engine.now - self._sim_ns,
        }
        if self._profile:
            python, transactors = bench.spent_ns()
            result["python_s"] = (python - self._spent[0]) / 1e9
            result["transactor_s"] = (transactors - self._spent[1]) / 1e9
            bench.profile(False)
        return result


async def measure(
    bench: Bench, seconds: float, profile: bool, done: Callable[[], int]
) -> dict[str, Any]:
    """Run for `seconds` of wall time: "frames", by which `done()` grew, wall_s, cycles, sim_ns.

    With `profile` a second stretch follows: "share" is what the RTL, the transactors and Python
    took of it.
    """
    result = await _stretch(bench, Stopwatch(bench, False), seconds, done)
    if profile:
        spent = await _stretch(bench, Stopwatch(bench, True), seconds * PROFILED, done)
        transactors, python = (spent[key] / spent["wall_s"] for key in ("transactor_s", "python_s"))
        result["share"] = {
            "rtl": 1 - transactors - python,
            "transactors": transactors,
            "python": python,
        }
    return result


async def _stretch(
    bench: Bench, watch: Stopwatch, seconds: float, done: Callable[[], int]
) -> dict[str, Any]:
    first = done()
    deadline = time.perf_counter() + seconds
    await bench.engine.run(stop=lambda: time.perf_counter() >= deadline and done() > first)
    result = watch.stop()
    result["frames"] = done() - first
    return result
