"""Both directions at once at line rate, one frame after the other in lengths of a list.

Reads the JSON file named by W2A_JOB: "out" (where the result goes), "lengths" (frame bytes without
FCS, in the order they are sent, each way), "queues" (how many queue pairs take turns to send) and
"latency" (cycles host memory takes).  The result is

    rx_frames, rx_drops     delivered to memory, and counted as lost by the NIC
    tx_frames, tx_cycles    sent, and from the first one's start on the wire to the last one's
    line_cycles             the same by the wire's own arithmetic: preamble, FCS and gap included

It ends when all are through, or when they should have been long ago.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

from pystack.core.dma import Direction
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.wire import wire_bytes
from tb.bench import Bench
from tb.counting import ENTRY, OWN, PEER, frames
from tb.pins.flags import PERIOD_PS
from tb.settings import BusSettings

ENTRIES = 512
SLOTS = 16  # buffers, used in turn
BUFFER = 9216
LANES = 8
AHEAD = 64  # frames queued on the wire's side
MODERATION = 16, 1024  # completions, cycles
PREFETCH = 32  # descriptors of a queue that the NIC reads ahead of all data
PATIENCE = 6  # times what the wire takes
SETTLE_NS = 50_000
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
    """All queues send the lengths in turn; everything that comes goes to queue 0."""

    def __init__(self, bench: Bench, lengths: list[int], queues: int) -> None:
        self.bench = bench
        self.lengths = lengths
        self.rx = Ring(bench, 0, True)
        self.tx = [Ring(bench, queue, False) for queue in range(queues)]
        self.frame = frames(1, max(lengths), OWN, PEER)[0]
        self.sent = self.fed = 0
        self.rx_starts: list[int] = []
        self.tx_starts: list[int] = []
        bench.on_irq = self._interrupt
        bench.bus.wire.listen(lambda frame, start_ns, end_ns: self._seen(start_ns))

    async def start(self) -> None:
        write = self.bench.write32
        await write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        await write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        await write(regs.MAX_FRAME, BUFFER)
        count, cycles = MODERATION
        moderation = count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | cycles
        for queue, ring in enumerate(self.tx):
            for slot in range(SLOTS):
                self.bench.memory.write(ring.buffers + slot * BUFFER, self.frame)
            await ring.start()
            await write(regs.queue_block(queue) + regs.Q_IRQ_MODERATION, moderation)
            await write(regs.queue_block(queue) + regs.Q_IRQ_MASK, 0)
        await self.rx.start()
        for _ in range(ENTRIES):
            self.rx.describe(BUFFER)
        self.rx.ring()
        for queue in range(len(self.tx)):
            self._arm(queue)
            self._post(queue)
        await write(regs.CTRL, regs.CTRL_RX_ENABLE)
        # Descriptors are fetched, frames wait in the buffer.
        await Timer((400 + PREFETCH * len(self.tx)) * PERIOD_PS, "ps")
        self._feed()
        await write(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)

    def finished(self) -> bool:
        return self.rx.done == len(self.lengths) == len(self.tx_starts)

    def _seen(self, start_ns: int) -> None:
        self.tx_starts.append(start_ns)
        self.bench.engine.poke()

    def _feed(self) -> None:
        """A batch of frames on their way to the NIC, and another before they are through."""
        batch = self.lengths[self.fed : self.fed + AHEAD]
        self.fed += len(batch)
        for place, length in enumerate(batch):
            middle = place == len(batch) // 2
            self.bench.bus.wire.send(self.frame[:length], self._feed if middle else None)

    def _post(self, queue: int) -> None:
        """The lengths go round the queues: one that is full holds up the others' turn."""
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
        if queue == 0:
            for _ in range(self.rx.reap()):
                self.rx.describe(BUFFER)
            self.rx.ring()
        self.tx[queue].reap()
        self._post(queue)
        self._arm(queue)
        self.bench.engine.poke()

    def _arm(self, queue: int) -> None:
        value = (self.tx[queue].done & 0xFFFF) << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT
        if queue == 0:
            value |= self.rx.done & 0xFFFF
        self.bench.bus.write(regs.queue_block(queue) + regs.Q_IRQ_ARM, value)


@cocotb.test()
async def both_directions(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    latency = (job["latency"],)
    settings = BusSettings(read_latency=latency, write_latency=latency)
    bench = Bench(dut, settings=settings, idle_skip=False)
    await bench.start()
    traffic = Traffic(bench, job["lengths"], job["queues"])
    await traffic.start()
    line = sum(wire_bytes(length) for length in job["lengths"][:-1]) / LANES
    patience_ns = PATIENCE * line * PERIOD_PS / 1000 + SETTLE_NS
    deadline = bench.engine.now + int(patience_ns)
    await bench.engine.run(stop=traffic.finished, until=deadline)
    drops = 0
    for counter in regs.COUNTERS:
        if counter.name in LOSSES:
            drops += await bench.read32(counter.offset)
    for counter in regs.QUEUE_COUNTERS:
        if counter.name.startswith("rx_") and counter.name != "rx_frames":
            drops += await bench.read32(regs.queue_block(0) + counter.offset)
    bench.check()
    bench.bus.close()
    starts = traffic.tx_starts
    result = {
        "rx_frames": traffic.rx.done,
        "rx_drops": drops,
        "tx_frames": len(starts),
        "tx_cycles": round((starts[-1] - starts[0]) * 1000 / PERIOD_PS),
        "line_cycles": line,
    }
    Path(job["out"]).write_text(json.dumps(result, indent=2) + "\n")
