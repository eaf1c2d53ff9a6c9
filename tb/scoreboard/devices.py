"""The two devices of the scoreboard: the RTL on its bench, and the model."""

from __future__ import annotations

from typing import Any

from cocotb.triggers import Timer

from pystack.core.dma import DmaMapper
from pystack.core.engine import VirtualEngine
from pystack.core.memory import HostMemory
from pystack.dev.model.nic import ModelNic
from pystack.dev.wire import Link
from tb.bench import Bench
from tb.host_port import HostPort
from tb.scoreboard.side import MEMORY
from tb.settings import BusSettings

QUIET_CYCLES = 200
PATIENCE = 2000  # times that


class RtlDevice:
    def __init__(self, dut: Any, seed: int, settings: BusSettings | None = None) -> None:
        self.memory = HostMemory(MEMORY)
        self.bench = Bench(dut, seed=seed, settings=settings, memory=self.memory)
        self.dma = self.bench.dma
        self.host = self.bench.host
        self.sent: list[bytes] = []
        self._to_come = 0
        self.read32, self.write32 = self.bench.read32, self.bench.write32

    async def start(self) -> None:
        self.bench.bus.wire.listen(lambda frame, start, end: self.sent.append(frame))
        await self.bench.start()

    def send(self, frame: bytes) -> None:
        self._to_come += 1
        self.bench.bus.wire.send(frame, self._left)

    def _left(self) -> None:
        self._to_come -= 1

    async def settle(self) -> None:
        calm = 0
        for _ in range(PATIENCE):
            await Timer(QUIET_CYCLES * self.bench.bus.period_ps, "ps")
            self.bench.check()
            calm = calm + 1 if not self._to_come and int(self.bench.dut.idle.value) else 0
            if calm == 3:
                return
        raise AssertionError("the NIC does not come to rest")


class ModelDevice:
    """`features`, `queues`, `max_frame`: as the RTL has them."""

    def __init__(self, seed: int, features: int, queues: int, max_frame: int) -> None:
        self.memory = HostMemory(MEMORY)
        self.dma = DmaMapper(self.memory, "model")
        self.host = HostPort(self.memory, self.dma, seed)
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.sent: list[bytes] = []
        link.b.on_receive(lambda frame, start, end: self.sent.append(frame))
        self._wire = link.b
        self.nic = ModelNic(
            self.engine,
            self.dma,
            link.a,
            queues=queues,
            max_frame=max_frame,
            features=features,
            bus=_Port(self.host),
        )

    async def read32(self, offset: int) -> int:
        return self.nic.read32(offset)

    async def write32(self, offset: int, value: int) -> None:
        self.nic.write32(offset, value)

    def send(self, frame: bytes) -> None:
        self._wire.send(frame)

    async def settle(self) -> None:
        self.engine.run()


class _Port:
    """Host memory with the bench's error rules (`pystack.dev.model.bus.HostBus`)."""

    def __init__(self, host: HostPort) -> None:
        self._host = host

    def read(self, addr: int, length: int) -> tuple[bytes, int]:
        data, resp = self._host.read(addr, addr + length, 1)
        return data, int(resp)

    def write(self, addr: int, data: bytes) -> int:
        return int(self._host.write(addr, data, [(0, len(data))]))
