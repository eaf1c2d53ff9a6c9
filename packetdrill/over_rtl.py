"""Scripts over the RTL NIC: the job that `wire2app packetdrill --rtl` runs in a simulator.

    script - far end of the wire - NIC (RTL) - bus - driver - kernel under test

The interpreter is a plain function; here it runs in a greenlet of its own and hands control to the
cocotb test whenever it lets time pass.  Reads the JSON file named by W2A_JOB: "scripts" (paths),
"ipv6", "seed", and "out", where the results go as a JSON list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from greenlet import getcurrent, greenlet

from packetdrill.config import Config
from packetdrill.machine import DEVICE, Machine
from packetdrill.runner import run_file
from packetdrill.wire import HOST_MAC, ScriptWire
from pystack.core.costs import Costs
from pystack.core.memory import HostMemory
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.host import Host
from tb.bench import Bench

MEMORY = 16 << 20
# What a script puts on the wire at once is one poll's, as it is for the tool's own device: a
# segment larger than the MSS is several frames here, which GRO joins again.
MODERATION_CYCLES, MODERATION_COUNT = 1500, 64
SETTLE = 40_000  # ns: what came at once has passed the NIC and has been answered by then


class RtlMachine(Machine):
    """`bench` has been reset.  Everything that lets time pass must run in a greenlet whose parent
    takes (until, stop) and comes back when that is reached."""

    def __init__(self, config: Config, bench: Bench) -> None:
        self.bench = bench
        super().__init__(config)

    def _build(self) -> None:
        bench = self.bench
        self.engine = bench.engine
        self.host = Host(self.engine, "packetdrill", costs=Costs.zero(), memory=bench.memory)
        self.nic = W2aNic(
            self.host.core,
            DEVICE,
            HOST_MAC,
            bench.resources(self.host.kernel),
            moderation_cycles=MODERATION_CYCLES,
            moderation_count=MODERATION_COUNT,
        )
        self.device = self.nic.dev
        self.wire = ScriptWire(self.engine)
        bench.wire.on_receive(lambda frame, start, end: self.wire.send(frame))
        self.wire.on_receive(lambda frame, start, end: bench.wire.send(frame))

    def settle(self) -> None:
        self._run(self.engine.now + SETTLE)

    def _run(self, until: int, stop: Callable[[], bool] | None = None) -> None:
        simulation = getcurrent().parent
        assert simulation is not None
        simulation.switch((until, stop))


async def run_script(dut: Any, path: Path, ipv6: bool, seed: int) -> dict[str, Any]:
    """One script on a NIC fresh from reset; its result as a dictionary."""
    bench = Bench(dut, seed=seed, memory=HostMemory(MEMORY))
    await bench.start()

    def script() -> dict[str, Any]:
        return run_file(path, ipv6, lambda config: RtlMachine(config, bench)).as_dict()

    interpreter = greenlet(script)
    answer: Any = interpreter.switch()
    while not interpreter.dead:
        until, stop = answer
        await bench.engine.run(stop=stop, until=until)
        answer = interpreter.switch()
    bench.bus.close()
    result: dict[str, Any] = answer
    return result


@cocotb.test()
async def scripts(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    results = [
        await run_script(dut, Path(path), job["ipv6"], job["seed"]) for path in job["scripts"]
    ]
    Path(job["out"]).write_text(json.dumps(results) + "\n")
