"""Labs over the RTL NIC: the job that `wire2app lab` runs in a simulator.

The lab is a plain function; here it runs in a greenlet of its own and hands control to the cocotb
test whenever it lets time pass.  Reads the JSON file named by W2A_JOB: "seed", and "labs", each
with "name", "parameters" and "break" ("" for none).  What a lab tells, and at last what it found
or how it failed, goes line by line as JSON to the descriptor W2A_OUTPUT_FD.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from greenlet import getcurrent, greenlet

from labs.bench import SERVER_MAC, LabBench, Tell
from labs.catalogue import lab_class
from labs.lab import Lab
from pystack.core.memory import HostMemory
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.wire import Port
from pystack.host import Host
from tb.bench import Bench

MEMORY = 64 << 20


class RtlBench(LabBench):
    """`bench` has been reset.  What lets time pass must run in a greenlet whose parent takes
    (until, stop) and comes back when that is reached."""

    rtl = True

    def __init__(self, bench: Bench, seed: int, tell: Tell, cpus: int) -> None:
        self.bench = bench
        server = Host(bench.engine, "server", cpus=cpus, seed=seed, memory=bench.memory)
        super().__init__(bench.engine, seed, tell, server)

    def _server_driver(self) -> W2aNic:
        resources = self.bench.resources(self.server.kernel)
        return W2aNic(self.server.core, "eth0", SERVER_MAC, resources)

    def _far_end(self) -> Port:
        return self.bench.wire

    def _let(self, until: int, stop: Callable[[], bool] | None = None) -> None:
        simulation = getcurrent().parent
        assert simulation is not None
        simulation.switch((until, stop))


async def run_lab(dut: Any, lab: Lab, broken: str, seed: int, tell: Tell) -> dict[str, Any]:
    """One lab on a NIC fresh from reset; what it found."""
    bench = Bench(dut, seed=seed, memory=HostMemory(MEMORY))
    await bench.start()

    def experiment() -> dict[str, Any]:
        with RtlBench(bench, seed, tell, lab.cpus) as here:
            here.up()
            if broken:
                lab.break_named(broken)(here)
            return vars(lab.run(here))

    running = greenlet(experiment)
    try:
        answer: Any = running.switch()
        while not running.dead:
            until, stop = answer
            await bench.engine.run(stop=stop, until=until)
            answer = running.switch()
        bench.check()
    finally:
        bench.bus.close()
    found: dict[str, Any] = answer
    return found


@cocotb.test()
async def labs(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    with os.fdopen(int(os.environ["W2A_OUTPUT_FD"]), "w", buffering=1) as output:

        def tell(event: dict[str, Any]) -> None:
            output.write(json.dumps(event) + "\n")

        for wanted in job["labs"]:
            lab = lab_class(wanted["name"])(**wanted["parameters"])
            tell({"kind": "progress", "phase": "run", "done": 0, "total": 0})
            try:
                found = await run_lab(dut, lab, wanted["break"], job["seed"], tell)
            except Exception:
                tell({"kind": "failed", "name": lab.name, "text": traceback.format_exc()})
                continue
            tell({"kind": "result", "name": lab.name, "found": found})
