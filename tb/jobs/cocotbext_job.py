"""`tb.jobs.bench_job` for the NIC on cocotbext's models: the same cases but "tcp", no profile."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, cast

import cocotb
from cocotb.triggers import Event

from tb.bench import Bench
from tb.cocotbext_bench import CocotbextBench
from tb.counting import CountingDriver, WireLoad
from tb.jobs.bench_job import MODERATION_CYCLES

MODERATION_COUNT = 8  # an interrupt is the only moment at which anybody looks at the clock


async def _counting(bench: CocotbextBench, case: dict[str, Any]) -> dict[str, Any]:
    as_bench = cast(Bench, bench)
    driver = CountingDriver(as_bench)
    await driver.start(case["frame_bytes"], MODERATION_COUNT, MODERATION_CYCLES)
    if case["direction"] == "rx":
        WireLoad(as_bench, case["frame_bytes"]).start()
    else:
        driver.send()
    reaped = Event()
    driver.on_reaped = reaped.set

    async def counted(enough: int, seconds: float) -> int:
        """Wait for `enough` completions and for `seconds` of wall time; how many there are."""
        deadline = time.perf_counter() + seconds
        while driver.rx.done + driver.tx.done < enough or time.perf_counter() < deadline:
            reaped.clear()
            await reaped.wait()
        return driver.rx.done + driver.tx.done

    first = await counted(MODERATION_COUNT, 0)
    begin, cycles = time.perf_counter(), bench.cycles
    frames = await counted(first + 1, case["seconds"]) - first
    wall = time.perf_counter() - begin
    return {**case, "frames": frames, "wall_s": wall, "cycles": bench.cycles - cycles}


@cocotb.test()
async def measure(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    (case,) = job["cases"]
    bench = CocotbextBench(dut)
    await bench.start()
    Path(job["out"]).write_text(json.dumps([await _counting(bench, case)]) + "\n")
