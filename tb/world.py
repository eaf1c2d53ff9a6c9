"""Two hosts and the RTL NIC between them: what every system test and the main job stand on.

    server (kernel) - driver - bus - NIC (RTL) - wire [- impairment] - software NIC - client

Both hosts run on one timeline.  The capture and the probes look at the wire beside the NIC.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pystack.core.memory import HostMemory
from pystack.core.task import Task
from pystack.dev.drivers.softnic import SoftNic
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.wire import Impaired, Impairment, Port, Tapped
from pystack.host import Host, finished
from pystack.tools.pcapng import Capture
from pystack.uapi.process import Process
from tb.bench import Bench
from tb.settings import BusSettings

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
SERVER_MAC = bytes.fromhex("020000000001")
CLIENT_MAC = bytes.fromhex("020000000002")
MEMORY = 32 << 20
SECOND = 1_000_000_000
TIME_WAIT = 61 * SECOND  # by then every closed connection is forgotten

WireProbe = Callable[[str, bytes, int, int], None]


@dataclass(frozen=True)
class WorldSettings:
    """`probes` see every frame beside the NIC: ("tx" into it, frame, start, end).

    `queues` and `cpus` are the server's; the toplevel has at least as many queues.  `seed` is the
    simulation's own if none is given.
    """

    seed: int = field(default_factory=lambda: int(os.environ.get("COCOTB_RANDOM_SEED", "1")))
    bus_settings: BusSettings | None = None
    impairment: Impairment | None = None
    capture: Path | None = None
    probes: Sequence[WireProbe] = ()
    ring_entries: int = 256
    moderation_cycles: int = 0
    moderation_count: int = 1
    queues: int = 1
    cpus: int = 1
    mtu: int = 1500


class World:
    """Build it first thing in a cocotb test, then `await up()`; end with `await down()`."""

    def __init__(self, dut: Any, settings: WorldSettings | None = None) -> None:
        s = WorldSettings() if settings is None else settings
        self.settings = s
        self.bench = Bench(dut, seed=s.seed, settings=s.bus_settings, memory=HostMemory(MEMORY))
        self.engine = self.bench.engine
        self.server = Host(
            self.engine, "server", cpus=s.cpus, seed=s.seed, memory=self.bench.memory
        )
        self.client = Host(self.engine, "client", seed=s.seed)
        self.nic = W2aNic(
            self.server.core,
            "eth0",
            SERVER_MAC,
            self.bench.resources(self.server.kernel),
            queues=s.queues,
            ring_entries=s.ring_entries,
            moderation_cycles=s.moderation_cycles,
            moderation_count=s.moderation_count,
        )
        self.capture = None if s.capture is None else Capture(s.capture, "eth0")
        self._probes = [*s.probes, *([self._record] if self.capture is not None else [])]
        self.impaired: Impaired | None = None
        self.softnic = SoftNic(self.client.core, "eth0", CLIENT_MAC, self._port())
        self.nic.dev.mtu = self.softnic.dev.mtu = s.mtu
        self.hw_stats: dict[str, int] = {}

    def _port(self) -> Port:
        """The client's end of the wire: probes next to the NIC, impairment behind them."""
        port: Port = self.bench.wire
        if self._probes:
            port = Tapped(port, self.engine, self._probe)
        if self.settings.impairment is not None:
            port = self.impaired = Impaired(
                port, self.engine, self.settings.impairment, self.settings.seed
            )
        return port

    def _probe(self, direction: str, frame: bytes, start: int, end: int) -> None:
        for probe in self._probes:
            probe(direction, frame, start, end)

    def _record(self, direction: str, frame: bytes, start: int, end: int) -> None:
        assert self.capture is not None
        self.capture.write(frame, end, outgoing=direction == "rx")

    # -- life ------------------------------------------------------------------------------

    async def up(self) -> None:
        """Reset the NIC and bring both interfaces up with their addresses."""
        await self.bench.start()
        await self.run(
            self.server.start(self.server.up, self.nic.dev, f"{SERVER}/24", name="ip-link-up"),
            self.client.start(self.client.up, self.softnic.dev, f"{CLIENT}/24", name="ip-link-up"),
        )

    async def run(self, *wanted: Task | Process, limit: int = 3600 * SECOND) -> None:
        """Run until all of `wanted` have ended; TimeoutError after `limit` ns of simulated time."""
        tasks = finished(*(w for w in wanted if isinstance(w, Task)))
        processes = [w for w in wanted if isinstance(w, Process)]

        def stop() -> bool:
            return tasks() and not any(process.alive for process in processes)

        await self.engine.run(stop=stop, until=self.engine.now + limit)
        if not stop():
            raise TimeoutError(f"after {limit} ns of simulated time these still run: {wanted}")

    async def run_for(self, ns: int) -> None:
        await self.engine.run(until=self.engine.now + ns)

    async def down(self, *daemons: Process) -> None:
        """End `daemons`, outwait TIME_WAIT, read the NIC's counters, take both interfaces down.

        Raises AssertionError if anything leaked, BenchError if a bus or the wire saw a violation.
        """
        for process in daemons:
            process.kill()
        await self.run(*daemons)
        await self.run_for(TIME_WAIT)
        stats = self.server.start(self.nic.get_stats, name="ethtool-S")
        await self.run(stats)
        self.hw_stats = stats.result
        await self.run(
            self.server.start(self.server.down, self.nic.dev, name="ip-link-down"),
            self.client.start(self.client.down, self.softnic.dev, name="ip-link-down"),
        )
        if self.capture is not None:
            self.capture.close()
        self.bench.check()
        self._check_leaks()

    def _check_leaks(self) -> None:
        for host in (self.server, self.client):
            kernel = host.kernel
            left = {
                "skbs": kernel.skbs_alive,
                "sockets": host.tcp.alive(),
                "timers": sum(base.active for base in kernel.timer_bases),
                "processes": len(host.system.processes),
                "pages": kernel.memory.pages_in_use,
            }
            assert not any(left.values()), f"{host.name} leaks {left}"
        assert not self.bench.dma.mappings, f"mappings left: {self.bench.dma.mappings}"
