"""Rings over many laps, both directions at once, several queues, and other widths of the bus."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from nic_harness import BUILDS, SIMS, Nic, nic_test, run_nic_tests
from nic_harness_rings import Ring, ok

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus

LAST_INDEX = 1 << 16
QUANTUM = 2048  # bytes a queue may have sent before it pays for them (tx_share)


async def both_ways(nic: Nic, frames: list[bytes], positions: list[int]) -> None:
    """The same frames out and in, at the same time."""
    receiving = cocotb.start_soon(nic.receive(frames, positions))
    sending = cocotb.start_soon(nic.transmit(frames, positions[::-1]))
    await receiving
    await sending


@nic_test()
async def small_rings_wrap_many_times_both_ways_at_once(dut: Any) -> None:
    for entries in (2, 4, 8):
        nic = Nic(dut, entries=entries)
        await nic.start()
        frames = [nic.frame(nic.rng.randint(60, 130)) for _ in range(310)]
        await both_ways(nic, frames, [0, -50, 7])
        assert [done.index for done in nic.rx.done] == list(range(310))
        assert [done.index for done in nic.tx.done] == list(range(310))
        assert await nic.rx.read(regs.RING_PROGRESS) == 310 << 16 | 310
        assert await nic.queue_counters() == {"rx_frames": 310, "tx_frames": 310}
        await nic.finish()


@nic_test()
async def the_phase_bit_flips_each_lap_and_is_all_a_reader_needs(dut: Any) -> None:
    """The entries themselves, lap by lap: `Ring.poll` trusts no other bit, here all are seen."""
    nic = Nic(dut, entries=4)
    await nic.start()
    for lap in range(5):
        await nic.receive([nic.frame(60 + lap)] * 4)
        entries = [nic.bench.memory.read(nic.rx.cpl_base + 16 * slot, 16) for slot in range(4)]
        phase = 0 if lap & 1 else regs.RX_CPL_PHASE
        assert [regs.RX_CPL.unpack(entry) for entry in entries] == [
            (4 * lap + slot, 60 + lap, CplStatus.OK, regs.RX_CPL_LAST, 0, 0, phase | done.timestamp)
            for slot, done in enumerate(nic.rx.done[-4:])
        ]
    await nic.finish()


@nic_test()
async def a_restarted_ring_begins_at_index_0_and_phase_1(dut: Any) -> None:
    nic = Nic(dut, entries=4)
    await nic.start()
    for count in (1, 3, 4, 6, 9):
        for ring in (nic.rx, nic.tx):
            await ring.disable()
            await ring.start()
        await both_ways(nic, [nic.frame(60 + count)] * count, [0])
        assert [done.index for done in nic.rx.done[-count:]] == list(range(count))
    await nic.finish()


@nic_test()
async def a_queue_that_waited_forever_still_fetches_everything_posted(dut: Any) -> None:
    """Doorbells of any step, also one for each descriptor and one again for none."""
    nic = Nic(dut, entries=32)
    await nic.start()
    for step in (1, 2, 3, 15, 16, 17, 31, 32):
        start = len(nic.rx.done)
        for _ in range(32 // step):
            for _ in range(step):
                nic.rx.post(60)
            await nic.rx.doorbell()
            await nic.rx.doorbell()
        count = 32 // step * step
        nic.send(*[nic.frame(60)] * count)
        await nic.until(lambda: len(nic.rx.done) == start + count, "frames")  # noqa: B023
    await nic.finish()


async def advance(nic: Nic, ring: Ring, target: int) -> None:
    """Move the index on by descriptors of length 0, which take no data along."""
    frame = nic.frame(60)
    while ring.consumer < target:
        batch = min(ring.free, target - ring.producer)
        for _ in range(batch):
            ring.post_raw(0, 0)
        if batch:
            await ring.doorbell()
        if ring.is_rx:
            nic.send(*[frame] * batch)
        seen = len(ring.done)
        await nic.until(lambda: len(ring.done) > seen, "completion")  # noqa: B023
    assert {done.status for done in ring.done} == {CplStatus.BAD_LENGTH}
    assert [done.index for done in ring.done] == list(range(target))


@nic_test(icarus=False)
async def free_running_indices_wrap_at_16_bits(dut: Any) -> None:
    """2^16 descriptors each way.  Not on Icarus: nearly a million clock cycles."""
    nic = Nic(dut, entries=1024)
    await nic.start()
    moving = [cocotb.start_soon(advance(nic, ring, LAST_INDEX - 40)) for ring in (nic.rx, nic.tx)]
    for task in moving:
        await task
    there = LAST_INDEX - 40
    for ring in (nic.rx, nic.tx):
        assert await ring.read(regs.RING_PROGRESS) == there << 16 | there
    frames = [nic.frame(nic.rng.randint(60, 200)) for _ in range(100)]
    await both_ways(nic, frames, [0, -50, 7])
    indices = [*range(LAST_INDEX - 40, LAST_INDEX), *range(60)]
    assert [done.index for done in nic.rx.done[-100:]] == indices
    assert [done.index for done in nic.tx.done[-100:]] == indices
    assert await nic.rx.read(regs.RING_PROGRESS) == 60 << 16 | 60
    await nic.finish()


# -- several queues ------------------------------------------------------------------------


@nic_test("queues")
async def the_default_queue_gets_the_frames(dut: Any) -> None:
    """One after the other, then changed while frames are on their way: none is lost."""
    nic = Nic(dut, queues=3)
    await nic.start()
    features = await nic.bench.read32(regs.FEATURES)
    assert features & regs.FEATURES_QUEUES == 3
    for number in (2, 0, 1):
        await nic.bench.write32(regs.RX_STEERING, number)
        await nic.receive([nic.frame(60 + number * 100)] * 5, queue=number)
    assert [len(queue.rx.done) for queue in nic.queues] == [5, 5, 5]
    frames = [nic.frame(60 + number) for number in range(30)]
    for queue in nic.queues:
        for _ in range(30):
            queue.rx.post(100)
        await queue.rx.doorbell()
    nic.send(*frames)
    for number in range(30):
        await nic.bench.write32(regs.RX_STEERING, number % 3)
    await nic.until(lambda: sum(len(q.rx.done) for q in nic.queues) == 45, "frames")
    split = [queue.rx.outcome(5) for queue in nic.queues]
    assert sorted(one for part in split for one in part) == sorted(ok(*frames))
    assert all(part == [f for f in ok(*frames) if f in part] for part in split), "out of order"
    assert all(split), "steering had no effect under way"
    await nic.finish()


@nic_test("queues")
async def a_queue_that_does_not_exist_means_the_last(dut: Any) -> None:
    nic = Nic(dut, queues=3)
    await nic.start()
    for number in (3, 0x80, 0xFF):
        await nic.bench.write32(regs.RX_STEERING, number)
        await nic.receive([nic.frame(60)], queue=2)
    with pytest.raises(OSError, match=r"DECERR|SLVERR"):
        await nic.bench.read32(regs.queue_block(3))
    await nic.finish()


@nic_test("queues")
async def transmit_queues_take_turns_by_bytes(dut: Any) -> None:
    """With work in all queues none gets further ahead than a quantum and the frames that were
    chosen on it; each stays in order."""
    nic = Nic(dut, queues=3, entries=64)
    await nic.start()
    # The wire is closed and the transmit buffer full while the descriptors are posted.
    await nic.bench.write32(regs.CTRL, regs.CTRL_RX_ENABLE)
    plugs = [nic.frame(1518) for _ in range(48)]
    for plug in plugs:
        nic.tx.post_frame(plug)
    await nic.tx.doorbell()
    await nic.cycles(6000)
    stuck = len(nic.tx.done)
    assert stuck < 40
    frames = [[nic.frame(1400 + number) for number in range(8)] for _ in nic.queues]
    for queue, own in zip(nic.queues[1:], frames[1:], strict=True):
        for frame in own:
            queue.tx.post_frame(frame, -100)
        await queue.tx.doorbell()
    await nic.bench.write32(regs.CTRL, regs.CTRL_TX_ENABLE)
    await nic.until(lambda: len(nic.sent) == 48 + 16, "frames")
    owners = {frame: 1 + at for at, own in enumerate(frames[1:]) for frame in own}
    order = [owners.get(frame, 0) for frame in nic.sent]
    for number, own in enumerate([plugs, *frames[1:]]):
        assert [frame for frame in nic.sent if owners.get(frame, 0) == number] == own
    left, sent = [order.count(number) for number in range(3)], [0, 0, 0]
    begin = min(order.index(1), order.index(2))
    for at, (frame, number) in enumerate(zip(nic.sent, order, strict=True)):
        left[number] -= 1
        if at >= begin and all(left):
            sent[number] += len(frame)
            assert max(sent) - min(sent) <= QUANTUM + 2 * 1518, (order, sent)
    assert min(sent) > 5000, order
    await nic.finish()


@nic_test("queues")
async def all_queues_carry_both_directions_at_once(dut: Any) -> None:
    nic = Nic(dut, queues=3, entries=8)
    await nic.start()
    frames = [[nic.frame(nic.rng.randint(60, 300)) for _ in range(60)] for _ in nic.queues]
    jobs = []
    for queue, own in zip(nic.queues, frames, strict=True):
        for frame in own[:8]:
            queue.tx.post_frame(frame)
        jobs.append(cocotb.start_soon(queue.tx.doorbell()))
    for number, own in enumerate(frames):
        await nic.bench.write32(regs.RX_STEERING, number)
        await nic.receive(own, [0, -9], queue=number)
    for job in jobs:
        await job
    await nic.until(lambda: len(nic.sent) == 24, "frames")
    assert sorted(nic.sent) == sorted(frame for own in frames for frame in own[:8])
    for number, (queue, own) in enumerate(zip(nic.queues, frames, strict=True)):
        assert queue.tx.outcome() == ok(*own[:8])
        assert await nic.queue_counters(number) == {"rx_frames": 60, "tx_frames": 8}
    await nic.finish()


# -- other widths of the bus ---------------------------------------------------------------


async def mixed_traffic(dut: Any, beat: int) -> None:
    nic = Nic(dut, entries=8)
    await nic.start()
    features = await nic.bench.read32(regs.FEATURES)
    assert features >> regs.FEATURES_AXI_BYTES_SHIFT & 0xFF == beat
    lengths = [60, 61, 63, 64, 65, 72, 95, 96, 97, 128, 129, 513, 1514, 1518]
    positions = [*range(-beat - 1, beat + 1), -64, -100]
    frames = [nic.frame(lengths[at % len(lengths)]) for at in range(3 * len(positions))]
    await both_ways(nic, frames, positions)
    await nic.finish()


@nic_test("narrow")
async def mixed_traffic_on_a_bus_of_64_bits(dut: Any) -> None:
    await mixed_traffic(dut, 8)


@nic_test("wide")
async def mixed_traffic_on_a_bus_of_256_bits(dut: Any) -> None:
    await mixed_traffic(dut, 32)


@nic_test("plain")
async def mixed_traffic_without_receive_offloads(dut: Any) -> None:
    await mixed_traffic(dut, 16)


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("build", BUILDS)
def test_nic_rings(sim: str, build: str) -> None:
    run_nic_tests(__name__, sim, build)


@pytest.mark.parametrize("sim", SIMS)
def test_nic_rings_on_pins(sim: str) -> None:
    run_nic_tests(__name__, sim, bus="pins")
