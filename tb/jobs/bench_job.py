"""How fast the co-simulation goes: `make bench`, section cosim.

Reads the JSON file named by W2A_JOB: "out" (where the results go, a JSON list), "seed" and
"cases", each {"direction": "rx"|"tx"|"both", "frame_bytes": n|"tcp", "seconds": wall time,
"profile": bool}.  A result repeats the case and adds what `tb.stopwatch.measure` gives.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb

from tb import stopwatch
from tb.bench import Bench
from tb.counting import CountingDriver, WireLoad
from tb.jobs.bulk import bulk_tcp

MODERATION_COUNT = 64
MODERATION_CYCLES = 4096


async def _counting(dut: Any, job: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    bench = Bench(dut, seed=job["seed"])
    await bench.start()
    driver = CountingDriver(bench)
    await driver.start(case["frame_bytes"], MODERATION_COUNT, MODERATION_CYCLES)
    load = WireLoad(bench, case["frame_bytes"])
    if case["direction"] in ("rx", "both"):
        load.start()
    if case["direction"] in ("tx", "both"):
        driver.send()

    def done() -> int:
        """Received: as the driver sees them.  Sent: as the wire does, for a completion only means
        that the frame is in the NIC's buffer, which holds hundreds of small ones."""
        return driver.rx.done + bench.bus.wire.frames_received

    warm = done() + 2 * MODERATION_COUNT
    driver.on_reaped = bench.engine.poke
    await bench.engine.run(stop=lambda: done() >= warm)
    result = await stopwatch.measure(bench, case["seconds"], case.get("profile", False), done)
    load.stopped = True
    driver.sending = False
    bench.check()
    bench.bus.close()
    return result


@cocotb.test()
async def measure(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    results = []
    for case in job["cases"]:
        run = bulk_tcp if case["frame_bytes"] == "tcp" else _counting
        results.append({**case, **await run(dut, job, case)})
    Path(job["out"]).write_text(json.dumps(results, indent=2) + "\n")
