"""What the tests of the DMA RTL share: an AXI4 slave on a bytearray that checks every beat.

It drives at the falling edge and samples once everything has settled, so what it sees is what the
next rising edge sees, on both simulators.  Broken rules are collected in `problems`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly

OKAY, SLVERR, DECERR = 0, 2, 3
BOUNDARY = 4096
CLOCK_PS = 6400

WRITE_ADDRESS = ("awid", "awaddr", "awlen", "awsize", "awburst", "awlock", "awcache", "awprot")
READ_ADDRESS = ("arid", "araddr", "arlen", "arsize", "arburst", "arlock", "arcache", "arprot")
MASTER_CHANNELS = {
    "aw": WRITE_ADDRESS,
    "w": ("wdata", "wstrb", "wlast"),
    "ar": READ_ADDRESS,
}


@dataclass
class Burst:
    """A burst as it was addressed; `due` is the earliest cycle of its answer."""

    addr: int
    beats: int
    size: int
    due: int

    @property
    def first(self) -> int:
        return self.addr - self.addr % self.size

    @property
    def end(self) -> int:
        return self.first + self.beats * self.size


@dataclass(frozen=True)
class Manners:
    """How a slave behaves.

    stall: chance a cycle that a channel is not ready or has nothing to say; aw_stall: the same for
    awready alone.  latency: cycles from the request to its answer.  fault(addr): the response to
    bytes there.  wait_for_data: awready waits for wvalid, as AXI allows.
    """

    stall: float = 0.0
    aw_stall: float = 0.0
    latency: int = 0
    fault: Callable[[int], int] = lambda addr: OKAY
    wait_for_data: bool = False
    seed: int = 1


class _Slave(ABC):
    """What both directions share: pins, address beats, the rule that a stalled master waits."""

    channels: tuple[str, ...] = ()

    def __init__(self, dut: Any, data: bytearray, manners: Manners | None = None) -> None:
        self.dut, self.data, self.manners = dut, data, manners or Manners()
        self.problems: list[str] = []
        self.bursts: list[tuple[int, int]] = []  # (address, bytes) in the order of addresses
        self.outstanding_max = 0
        self.cycle = 0
        self._rng = random.Random(f"{self.channels}/{self.manners.seed}")
        self._addressed: deque[Burst] = deque()
        self._beat = 0  # of the oldest burst addressed
        self._held: dict[str, tuple[int, ...]] = {}

    def start(self) -> None:
        self._present()
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        falling, settled = FallingEdge(self.dut.clk), ReadOnly()
        while True:
            await falling
            self._present()
            await settled
            if not int(self.dut.rst.value):
                for channel in self.channels:
                    self._stable(channel)
                self._sample()
            self.cycle += 1

    @abstractmethod
    def _present(self) -> None:
        """Drive what the next rising edge shall see."""

    @abstractmethod
    def _sample(self) -> None:
        """Look at what the next rising edge will see."""

    def _take_address(self, channel: str, width: int) -> None:
        addr, beats = self.value(f"{channel}addr"), self.value(f"{channel}len") + 1
        size = 1 << self.value(f"{channel}size")
        burst = Burst(addr, beats, size, self.cycle + self.manners.latency)
        if self.value(f"{channel}burst") != 1 or size != width:
            self.problems.append(f"{channel} at {addr:#x}: not INCR of full beats")
        if burst.first // BOUNDARY != (burst.end - 1) // BOUNDARY:
            self.problems.append(f"{channel} [{addr:#x}, {burst.end:#x}) crosses 4 KiB")
        self._addressed.append(burst)
        self.bursts.append((addr, burst.end - burst.addr))

    def _stable(self, channel: str) -> None:
        valid = self.value(f"{channel}valid")
        payload = tuple(self.value(n) for n in MASTER_CHANNELS[channel]) if valid else ()
        if channel in self._held and payload != self._held[channel]:
            self.problems.append(f"{channel} changed while it was stalled, cycle {self.cycle}")
        self._held.pop(channel, None)
        if valid and not self.value(f"{channel}ready"):
            self._held[channel] = payload

    def _ready(self) -> bool:
        return not self.manners.stall or self._rng.random() >= self.manners.stall

    def _fires(self, channel: str) -> bool:
        return bool(self.value(f"{channel}valid") and self.value(f"{channel}ready"))

    def pin(self, name: str) -> Any:
        return getattr(self.dut, f"m_axi_{name}")

    def value(self, name: str) -> int:
        return int(self.pin(name).value)

    def drive(self, **values: int) -> None:
        for name, value in values.items():
            self.pin(name).value = int(value)


class WriteSlave(_Slave):
    """Channels AW, W and B.  `touched` are the addresses ever strobed."""

    channels = ("aw", "w")

    def __init__(self, dut: Any, data: bytearray, manners: Manners | None = None) -> None:
        super().__init__(dut, data, manners)
        self.touched: set[int] = set()
        self._beats: deque[tuple[int, int, int]] = deque()  # (strobes, data, last)
        self._answers: deque[tuple[int, int]] = deque()  # (due, response)
        self._answering = False

    @property
    def outstanding(self) -> int:
        return len(self._addressed) + len(self._answers)

    def _present(self) -> None:
        aw_allowed = not self.manners.wait_for_data or bool(self.value("wvalid"))
        aw_allowed = aw_allowed and self._rng.random() >= self.manners.aw_stall
        self.drive(awready=aw_allowed and self._ready(), wready=self._ready(), bid=0)
        if not self._answering and self._answers and self._answers[0][0] <= self.cycle:
            self._answering = self._ready()
        self.drive(bvalid=self._answering, bresp=self._answers[0][1] if self._answering else 0)

    def _sample(self) -> None:
        if self._fires("aw"):
            self._take_address("aw", len(self.pin("wstrb")))
        if self._fires("w"):
            self._take_data()
        if self._addressed:
            self._finish_burst()
        if self._fires("b"):
            self._answering = False
            self._answers.popleft()
        self.outstanding_max = max(self.outstanding_max, self.outstanding)

    def _take_data(self) -> None:
        """A beat of the oldest burst without all its data; its address may still be stalled."""
        offered = self.value("awvalid") and not self.value("awready")
        if sum(last for *_, last in self._beats) >= len(self._addressed) + offered:
            self.problems.append(f"data ahead of their address, cycle {self.cycle}")
        strobes, word = self.value("wstrb"), self.value("wdata")
        self._beats.append((strobes, word, self.value("wlast")))

    def _finish_burst(self) -> None:
        """Store the oldest burst once its address and its last beat are here."""
        burst = self._addressed[0]
        if len(self._beats) < burst.beats:
            return
        resp = OKAY
        for beat in range(burst.beats):
            strobes, word, last = self._beats.popleft()
            if bool(last) != (beat == burst.beats - 1):
                self.problems.append(f"wlast is wrong in beat {beat} of {burst}")
            base = burst.first + beat * burst.size
            lanes = [lane for lane in range(burst.size) if strobes >> lane & 1]
            if not lanes or base + lanes[0] < burst.addr:
                self.problems.append(f"strobes {strobes:#x} of beat {beat} of {burst}")
            for lane in lanes:
                self.touched.add(base + lane)
                self.data[base + lane] = word >> 8 * lane & 0xFF
                resp = max(resp, self.manners.fault(base + lane))
        self._answers.append((self.cycle + 1 + self.manners.latency, resp))
        self._addressed.popleft()


class ReadSlave(_Slave):
    """Channels AR and R; responses are per beat."""

    channels = ("ar",)

    def __init__(self, dut: Any, data: bytearray, manners: Manners | None = None) -> None:
        super().__init__(dut, data, manners)
        self._offered = False

    @property
    def outstanding(self) -> int:
        return len(self._addressed)

    def _present(self) -> None:
        self.drive(arready=self._ready(), rid=0)
        if not self._offered and self._addressed and self._addressed[0].due <= self.cycle:
            self._offered = self._ready()
            if self._offered:
                self._offer(self._addressed[0])
        self.drive(rvalid=self._offered)

    def _offer(self, burst: Burst) -> None:
        addr = burst.first + self._beat * burst.size
        word = bytes(self.data[addr : addr + burst.size])
        resp = max(self.manners.fault(a) for a in range(max(addr, burst.addr), addr + burst.size))
        self.drive(
            rdata=int.from_bytes(word, "little"), rresp=resp, rlast=self._beat == burst.beats - 1
        )

    def _sample(self) -> None:
        if self._fires("r"):
            self._offered = False
            self._beat += 1
            if self._beat == self._addressed[0].beats:
                self._addressed.popleft()
                self._beat = 0
        if self._fires("ar"):
            self._take_address("ar", len(self.pin("rdata")) // 8)
        self.outstanding_max = max(self.outstanding_max, self.outstanding)
