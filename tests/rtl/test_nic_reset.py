"""Queues disabled, soft reset and hard reset in the middle of traffic."""

from __future__ import annotations

import random
from typing import Any

import pytest
import tx_frames
from nic_harness import SEED, SIMS, Nic, first_quick, nic_test, run_nic_tests
from nic_harness_rings import Ring, ok

from pystack.dev.drivers import w2a_regs as regs
from tb.settings import BusSettings, Stalls

FRAMES = 24
SLOW = BusSettings(Stalls.everywhere(0.3), range(1, 80), range(1, 80))


async def traffic(nic: Nic, lengths: tuple[int, ...] = (60, 1514, 200)) -> list[bytes]:
    """Start as much both ways as fits in; the frames, which are the same both ways."""
    frames = [nic.frame(lengths[number % len(lengths)]) for number in range(FRAMES)]
    for number, frame in enumerate(frames):
        nic.rx.post(len(frame), -5 * number)
        nic.tx.post_frame(frame, -3 * number)
    await nic.rx.doorbell()
    await nic.tx.doorbell()
    nic.send(*frames)
    return frames


async def works(nic: Nic) -> None:
    frames = [nic.frame(length) for length in (60, 1514, 61)]
    await nic.receive(frames)
    await nic.transmit(frames)


def unmap_all(nic: Nic) -> None:
    """From here on every access to memory is an IOMMU fault."""
    for ring in (nic.rx, nic.tx):
        ring.forget()
        ring.unmap()
    assert not nic.bench.dma.mappings


async def disabled_after(nic: Nic, ring: Ring, cycles: int) -> None:
    """The completions are a prefix of the posted; the frames on the wire are those completed."""
    wire = len(nic.sent)
    first = len(ring.done)
    frames = await traffic(nic)
    await nic.cycles(cycles)
    await ring.disable()
    ring.forget()
    ring.unmap()
    assert ring.outcome(first) == ok(*frames[: len(ring.done) - first])
    other = nic.tx if ring.is_rx else nic.rx
    await nic.until(lambda: other.consumer == other.producer, "the other direction", us=400)
    await nic.cycles(6000 if ring.is_rx else 300)  # the rest of the frames comes in
    if not ring.is_rx:
        completed = frames[: len(ring.done) - first]
        assert nic.sent[wire:] == [frame.ljust(60, b"\0") for frame in completed]
    ring.map()
    await ring.start()


async def sweep_disable(dut: Any, settings: BusSettings | None, direction: str) -> None:
    nic = Nic(dut, settings=settings)
    await nic.start()
    ring = nic.rx if direction == "rx" else nic.tx
    partial = 0
    for cycles in (0, 7, 30, 60, 100, 200, 333, 500, 700, 1100, 1600):
        before = len(ring.done)
        await disabled_after(nic, ring, cycles)
        partial += 0 < len(ring.done) - before < FRAMES
        await works(nic)
    assert partial >= 4, "the queue was not stopped in the middle of its traffic"
    counters, device = await nic.queue_counters(), await nic.counters()
    dropped = counters.get("rx_disabled", 0) + counters.get("rx_no_descriptor", 0)
    assert counters["rx_frames"] + dropped == device["rx_frames"]
    assert counters["rx_frames"] == len(nic.rx.done)
    assert counters["tx_frames"] == len(nic.tx.done) == len(nic.sent) == device["tx_frames"]
    await nic.finish()


@nic_test()
async def rx_disabled_in_traffic_ends_all_accesses(dut: Any) -> None:
    await sweep_disable(dut, None, "rx")


@nic_test()
async def rx_disabled_in_traffic_on_a_slow_bus(dut: Any) -> None:
    await sweep_disable(dut, SLOW, "rx")


@nic_test()
async def tx_disabled_in_traffic_ends_all_accesses(dut: Any) -> None:
    await sweep_disable(dut, None, "tx")


@nic_test()
async def tx_disabled_in_traffic_on_a_slow_bus(dut: Any) -> None:
    await sweep_disable(dut, SLOW, "tx")


async def soft_reset(nic: Nic) -> None:
    await nic.bench.write32(regs.CTRL, regs.CTRL_SOFT_RESET)
    for _ in range(2000):
        if not await nic.bench.read32(regs.CTRL) & regs.CTRL_SOFT_RESET:
            return
    raise AssertionError("the soft reset does not end")


async def reset_values(nic: Nic) -> None:
    read = nic.bench.read32
    assert await nic.counters() == {} and await nic.queue_counters() == {}
    assert await read(regs.CTRL) == 0 and await read(regs.MAC_LO) == 0
    assert await read(regs.MAX_FRAME) == regs.MAX_FRAME_BYTES_RESET
    block = regs.queue_block(0)
    assert await read(block + regs.Q_IRQ_MASK) == regs.Q_IRQ_MASK_MASK_RESET
    assert await read(block + regs.Q_IRQ_STATUS) == regs.Q_IRQ_STATUS_ARMED
    for ring in (nic.rx, nic.tx):
        for register in range(regs.RING_CTRL, regs.RING_PROGRESS + 4, 4):
            assert await ring.read(register) == 0
    assert not int(nic.dut.irq.value)


async def sweep_reset(dut: Any, settings: BusSettings | None, hard: bool) -> None:
    """After the reset no access is under way, the registers are as new, and traffic is exact."""
    nic = Nic(dut, settings=settings)
    await nic.start()
    for cycles in (0, 7, 30, 61, 100, 333, 700, 1100, 1600):
        sent = len(nic.sent)
        frames = await traffic(nic)
        await nic.cycles(cycles)
        nic.let_go()
        if hard:
            await nic.bench.reset()
        else:
            await soft_reset(nic)
        unmap_all(nic)
        assert nic.sent[sent:] == frames[: len(nic.sent) - sent]
        await nic.cycles(100 if hard else 3000)  # frames still coming in on the wire
        await reset_values(nic)
        for ring in (nic.rx, nic.tx):
            ring.map()
        await nic.set_up()
        await works(nic)
        assert await nic.queue_counters() == {"rx_frames": 3, "tx_frames": 3}
    await nic.finish()


@nic_test()
async def soft_reset_in_traffic(dut: Any) -> None:
    await sweep_reset(dut, None, hard=False)


@nic_test()
async def soft_reset_in_traffic_on_a_slow_bus(dut: Any) -> None:
    await sweep_reset(dut, SLOW, hard=False)


@nic_test()
async def hard_reset_in_traffic(dut: Any) -> None:
    await sweep_reset(dut, None, hard=True)


@nic_test()
async def hard_reset_in_traffic_on_a_slow_bus(dut: Any) -> None:
    await sweep_reset(dut, SLOW, hard=True)


@nic_test()
async def an_idle_nic_resets_and_comes_back(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for hard in (False, True, False):
        nic.let_go()
        if hard:
            await nic.bench.reset()
        else:
            await soft_reset(nic)
        await reset_values(nic)
        await nic.set_up()
        await works(nic)
    await nic.finish()


async def fill_with_the_wire_closed(nic: Nic) -> None:
    """More than the transmit buffer holds, plain and to be segmented, some to be stamped."""
    await nic.bench.write32(regs.CTRL, regs.CTRL_RX_ENABLE)
    rng = random.Random(SEED)
    for number in range(6):
        frame = tx_frames.tcp_segments(rng, 9000, 1000, stamp=number % 2 == 0)
        nic.tx.post_fragments(tx_frames.fragments(frame.data, [len(frame.data)]), frame.words)
        nic.tx.post_frame(nic.frame(1514))
    await nic.tx.doorbell()
    await nic.cycles(8000)
    assert len(nic.tx.done) < 12 and nic.sent == []


@nic_test()
async def a_ring_stops_though_the_wire_is_closed_and_the_buffer_full(dut: Any) -> None:
    """What has room leaves when the wire is open again, whole frames only."""
    nic = Nic(dut, entries=32)
    await nic.start()
    await fill_with_the_wire_closed(nic)
    await nic.tx.disable()
    nic.tx.forget()
    await nic.bench.write32(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)
    await nic.cycles(8000)
    left = len(nic.sent)
    assert 20 < left < 40
    await nic.tx.start()
    await works(nic)
    assert len(nic.sent) == left + 3
    await nic.finish()


@nic_test()
async def a_soft_reset_ends_though_the_wire_is_closed_and_the_buffer_full(dut: Any) -> None:
    nic = Nic(dut, entries=32)
    await nic.start()
    await fill_with_the_wire_closed(nic)
    nic.let_go()
    await soft_reset(nic)
    for queue in nic.queues:
        queue.rx.forget()
        queue.tx.forget()
    await nic.set_up()
    await works(nic)
    assert len(nic.sent) == 3
    await nic.finish()


@pytest.mark.parametrize("sim", SIMS)
def test_nic_reset(sim: str) -> None:
    run_nic_tests(__name__, sim)


@pytest.mark.parametrize("sim", first_quick(SIMS))
def test_nic_reset_on_pins(sim: str) -> None:
    run_nic_tests(__name__, sim, bus="pins")  # half a minute and more on Icarus
