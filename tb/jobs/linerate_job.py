"""Line rate, one frame after the other in lengths of a list, both directions at once or one alone.

Reads the JSON file named by W2A_JOB: "out" (where the result goes), "lengths" (frame bytes without
FCS, in the order they are sent, each way), "queues" (how many queue pairs take turns to send, and
get by their hash what comes), "latency" (cycles host memory takes) and "directions" ("rx", "tx" or
"both").  The result is

    rx_frames, rx_drops     delivered to memory, and counted as lost by the NIC
    tx_frames, tx_cycles    sent, and from the first one's start on the wire to the last one's
    line_cycles             the same by the wire's own arithmetic: preamble, FCS and gap included
    tx_pauses               where the wire had to wait: [frame, its bytes, cycles], the first few

It ends when all are through, or when they should have been long ago.  What is sent is stored and
forwarded, so the queues have a head start: that of the first descriptors, and some frames.
"""

from __future__ import annotations

import json
import os
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

from pystack.core.checksum import checksum
from pystack.core.dma import Direction
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.wire import wire_bytes
from tb.bench import Bench
from tb.counting import ENTRY, OWN, PEER
from tb.pins.flags import PERIOD_PS
from tb.settings import BusSettings

ENTRIES = 512
SLOTS = 16  # buffers, used in turn
BUFFER = 9216
LANES = 8
AHEAD = 64  # frames queued on the wire's side
FLOWS = 64  # UDP, so that the hash spreads them over the queues
SHORTEST = 60
ADDRESSES = bytes((10, 77, 0, 1)), bytes((10, 77, 0, 2))
HEAD_START = 400, 32  # cycles, and as many more a queue: the descriptors it prefetches
MODERATION = 16, 1024  # completions, cycles
PAUSES = 10  # in the result
GAP_SLACK = 1.5  # cycles a gap may be longer: 12 bytes on average, and a start in lane 0 or 4
PATIENCE = 6  # times what the wire takes
SETTLE_NS = 50_000  # at most
LOOK = 100  # cycles from a look at `idle` to the next
LOSSES = ("rx_overflow", "rx_filtered", "rx_bad_fcs", "rx_coded_error", "rx_runt", "rx_oversize")


class Ring:
    """One direction of one queue: the buffers are few and shared, only the lengths differ."""

    def __init__(self, bench: Bench, queue: int, is_rx: bool) -> None:
        self.bench = bench
        self.block = regs.queue_block(queue) + (regs.Q_RX if is_rx else regs.Q_TX)
        self.is_rx = is_rx
        self.posted = self.done = 0
        name = f"{'rx' if is_rx else 'tx'} {queue}"
        self.buffers = bench.memory.alloc_pages(-(-SLOTS * BUFFER // 4096))
        access = Direction.FROM_DEVICE if is_rx else Direction.TO_DEVICE
        bench.dma.map_single(self.buffers, SLOTS * BUFFER, access, f"{name} buffers")
        self.descriptors = bench.dma.alloc_coherent(ENTRIES * ENTRY, f"{name} descriptors")
        self.completions = bench.dma.alloc_coherent(ENTRIES * ENTRY, f"{name} completions")

    async def start(self) -> None:
        write = self.bench.write32
        await write(self.block + regs.RING_SIZE, ENTRIES.bit_length() - 1)
        for register, addr in (
            (regs.RING_DESC_BASE_LO, self.descriptors),
            (regs.RING_CPL_BASE_LO, self.completions),
        ):
            await write(self.block + register, addr & 0xFFFFFFFF)
            await write(self.block + register + 4, addr >> 32)
        await write(self.block + regs.RING_CTRL, regs.RING_CTRL_ENABLE)

    def describe(self, length: int) -> None:
        """The next descriptor; `ring` tells the NIC."""
        at = self.descriptors + self.posted % ENTRIES * ENTRY
        addr = self.buffers + self.posted % SLOTS * BUFFER
        view = self.bench.memory.view
        if self.is_rx:
            regs.RX_DESC.pack_into(view, at, addr, length)
        else:
            regs.TX_DESC.pack_into(view, at, addr, length, regs.TX_DESC_LAST, 0, 0)
        self.posted += 1

    def ring(self) -> None:
        self.bench.bus.write(self.block + regs.RING_DOORBELL, self.posted & 0xFFFF)

    def reap(self) -> int:
        """Completions that are new.  RuntimeError if one is not OK."""
        count, view = 0, self.bench.memory.view
        while self.done < self.posted:
            at = self.completions + self.done % ENTRIES * ENTRY
            if view[at + ENTRY - 1] >> 7 == self.done // ENTRIES & 1:
                break
            if view[at + 4] & 15:
                raise RuntimeError(f"completion {self.done} has status {view[at + 4] & 15}")
            self.done += 1
            count += 1
        return count


class Traffic:
    """All queues send the lengths in turn, and receive what their flows bring."""

    def __init__(self, bench: Bench, lengths: list[int], queues: int, directions: str) -> None:
        self.bench = bench
        self.lengths = lengths
        self.receives, self.sends = directions != "tx", directions != "rx"
        self.rx = [Ring(bench, queue, True) for queue in range(queues)]
        self.tx = [Ring(bench, queue, False) for queue in range(queues)]
        self.frames = [_frame(flow, max(lengths)) for flow in range(FLOWS)]
        self.fed = 0
        self.wire_quiet = not self.receives  # all frames have come
        self.tx_starts: list[int] = []
        self.tx_lengths: list[int] = []
        bench.on_irq = self._interrupt
        bench.bus.wire.listen(self._seen)

    async def start(self) -> None:
        write = self.bench.write32
        await write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        await write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        await write(regs.MAX_FRAME, BUFFER)
        count, cycles = MODERATION
        moderation = count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | cycles
        for queue, (rx, tx) in enumerate(zip(self.rx, self.tx, strict=True)):
            for slot in range(SLOTS):
                self.bench.memory.write(tx.buffers + slot * BUFFER, self.frames[0])
            await rx.start()
            await tx.start()
            await write(regs.queue_block(queue) + regs.Q_IRQ_MODERATION, moderation)
            await write(regs.queue_block(queue) + regs.Q_IRQ_MASK, 0)
        await self._steer()
        for queue, rx in enumerate(self.rx):
            for _ in range(ENTRIES):
                rx.describe(BUFFER)
            rx.ring()
            self._arm(queue)
            self._post(queue)
        await write(regs.CTRL, regs.CTRL_RX_ENABLE)
        cycles, more = HEAD_START
        await Timer((cycles + more * len(self.tx)) * PERIOD_PS, "ps")
        self._feed()
        await write(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)

    async def _steer(self) -> None:
        """Flows by their hash to all queues."""
        write, key = self.bench.write32, bytes(range(1, 4 * regs.RSS_KEY_COUNT + 1))
        for at in range(0, 4 * regs.RSS_KEY_COUNT, 4):
            await write(regs.RSS_KEY + at, int.from_bytes(key[at : at + 4], "little"))
        for at in range(0, 4 * regs.RSS_TABLE_COUNT, 4):
            entries = bytes(queue % len(self.rx) for queue in range(at, at + 4))
            await write(regs.RSS_TABLE + at, int.from_bytes(entries, "little"))
        await write(regs.RSS_CTRL, regs.RSS_CTRL_IPV4_UDP)

    def finished(self) -> bool:
        return self.wire_quiet and (not self.sends or len(self.tx_starts) == len(self.lengths))

    def _seen(self, frame: bytes, start_ns: int, end_ns: int) -> None:
        self.tx_starts.append(start_ns)
        self.tx_lengths.append(len(frame))
        self.bench.engine.poke()

    def _feed(self) -> None:
        """A batch of frames on their way to the NIC, and another before they are through."""
        if not self.receives:
            return
        batch = self.lengths[self.fed : self.fed + AHEAD]
        for place, length in enumerate(batch):
            frame = self.frames[self.fed % FLOWS]
            self.fed += 1
            after = self._feed if place == len(batch) // 2 else None
            if self.fed == len(self.lengths):
                after = self._quiet
            self.bench.bus.wire.send(frame[:length], after)

    def _quiet(self) -> None:
        self.wire_quiet = True
        self.bench.engine.poke()

    def _post(self, queue: int) -> None:
        """The lengths go round the queues: one that is full holds up the others' turn."""
        if not self.sends:
            return
        ring, every = self.tx[queue], len(self.tx)
        before = ring.posted
        while ring.posted - ring.done < ENTRIES:
            index = ring.posted * every + queue
            if index >= len(self.lengths):
                break
            ring.describe(self.lengths[index])
        if ring.posted != before:
            ring.ring()

    def _interrupt(self, queue: int) -> None:
        rx = self.rx[queue]
        for _ in range(rx.reap()):
            rx.describe(BUFFER)
        rx.ring()
        self.tx[queue].reap()
        self._post(queue)
        self._arm(queue)
        self.bench.engine.poke()

    def _arm(self, queue: int) -> None:
        value = (self.tx[queue].done & 0xFFFF) << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT
        value |= self.rx[queue].done & 0xFFFF
        self.bench.bus.write(regs.queue_block(queue) + regs.Q_IRQ_ARM, value)


def _frame(flow: int, length: int) -> bytes:
    """A UDP datagram as short as fits into every frame, and padding behind it."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, SHORTEST - 14, 0, 0, 64, 17, 0, *ADDRESSES)
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    udp = struct.pack("!4H", 1024 + flow, 9, SHORTEST - 34, 0)
    return (OWN + PEER + b"\x08\0" + ip + udp).ljust(length, b"\x5a")


def _line_cycles(lengths: list[int]) -> float:
    return sum(wire_bytes(length) for length in lengths) / LANES


def _pauses(starts: list[int], lengths: list[int]) -> list[tuple[int, int, float]]:
    """Before which frame the wire was silent for longer than the gap, and how long: cycles."""
    found = []
    for frame, (before, start) in enumerate(pairwise(starts), start=1):
        late = (start - before) * 1000 / PERIOD_PS - _line_cycles([lengths[frame - 1]])
        if late > GAP_SLACK:
            found.append((frame, lengths[frame], round(late, 1)))
    return found


async def _settle(dut: Any) -> None:
    """What is in the NIC reaches memory, and the last interrupt comes."""
    for _ in range(SETTLE_NS * 1000 // (LOOK * PERIOD_PS)):
        await Timer(LOOK * PERIOD_PS, "ps")
        if int(dut.idle.value):
            return


async def _drops(bench: Bench, queues: int) -> int:
    """Frames that the NIC has counted as lost."""
    offsets = [counter.offset for counter in regs.COUNTERS if counter.name in LOSSES]
    for queue in range(queues):
        block = regs.queue_block(queue)
        for counter in regs.QUEUE_COUNTERS:
            if counter.name.startswith("rx_") and counter.name != "rx_frames":
                offsets.append(block + counter.offset)
    return sum([await bench.read32(offset) for offset in offsets])


@cocotb.test()
async def line_rate(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    latency = (job["latency"],)
    settings = BusSettings(read_latency=latency, write_latency=latency)
    bench = Bench(dut, settings=settings, idle_skip=False)
    await bench.start()
    traffic = Traffic(bench, job["lengths"], job["queues"], job["directions"])
    await traffic.start()
    patience_ns = PATIENCE * _line_cycles(job["lengths"]) * PERIOD_PS / 1000 + SETTLE_NS
    deadline = bench.engine.now + int(patience_ns)
    await bench.engine.run(stop=traffic.finished, until=deadline)
    await _settle(dut)
    drops = await _drops(bench, job["queues"])
    bench.check()
    bench.bus.close()
    starts = traffic.tx_starts
    result = {
        "rx_frames": sum(ring.done for ring in traffic.rx),
        "rx_drops": drops,
        "tx_frames": len(starts),
        "tx_cycles": round((starts[-1] - starts[0]) * 1000 / PERIOD_PS) if starts else 0,
        "line_cycles": _line_cycles(traffic.tx_lengths[:-1]),
        "tx_pauses": _pauses(starts, traffic.tx_lengths)[:PAUSES],
    }
    Path(job["out"]).write_text(json.dumps(result, indent=2) + "\n")
