"""A bus error that a completion tells of, on a ring that does not run on (docs/rings.md, Errors).

The completion is there, the ring stops and says why, what it had begun with ends, all else is
counted; the other rings do not notice, and a restart of that ring alone mends it.
"""

from __future__ import annotations

from typing import Any

import pytest
from nic_harness import BUSES, SIMS, Nic, nic_test, run_nic_tests
from nic_harness_rings import Ring
from test_nic_faults import ERRORS, works

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, QueueError
from tb.settings import Resp

DATA = (
    (CplStatus.DATA_SLVERR, QueueError.DATA_SLVERR),
    (CplStatus.DATA_DECERR, QueueError.DATA_DECERR),
)
DESC = (
    (CplStatus.DESC_SLVERR, QueueError.DESC_SLVERR),
    (CplStatus.DESC_DECERR, QueueError.DESC_DECERR),
)
BEHIND = 12  # frames behind the one that fails
REASONS = ("frames", "bus_error", "disabled", "no_descriptor")


async def post(nic: Nic, ring: Ring, frames: list[bytes]) -> int:
    """Buffers for them, or they themselves; the address of the first."""
    place = nic.next_buffer(3)
    for frame in frames:
        ring.post(len(frame), 3) if ring.is_rx else ring.post_frame(frame, 3)
    await ring.doorbell()
    return place


async def fails(nic: Nic, ring: Ring, resp: Resp, *, descriptor: bool, before: int) -> list[bytes]:
    """A burst of frames, one of which meets the error; those of which a completion tells."""
    start, frames = len(ring.done), [nic.frame(300 + n) for n in range(before + 1 + BEHIND)]
    await nic.bench.write32(regs.RX_STEERING, ring.queue)
    await post(nic, ring, frames[:before])
    await nic.cycles(100)  # a fetch that fails takes all its descriptors along
    if descriptor:
        at = ring.desc_base + 16 * (ring.producer % ring.entries)
        rule = nic.bench.host.fail("read", at, at + 16, resp)
    else:
        at = nic.next_buffer(3)
        rule = nic.bench.host.fail("write" if ring.is_rx else "read", at + 99, at + 100, resp)
    await post(nic, ring, frames[before:])
    if ring.is_rx:
        nic.send(*frames)
    await nic.until(lambda: len(ring.done) > start + before, "completion of the error")
    await nic.cycles(60 * len(frames))
    nic.bench.host.forgive(rule)
    return frames


async def count(nic: Nic, ring: Ring) -> dict[str, int]:
    found = await nic.queue_counters(ring.queue)
    return {name: found.get(f"{'rx' if ring.is_rx else 'tx'}_{name}", 0) for name in REASONS}


async def check_stop(
    nic: Nic, ring: Ring, resp: Resp, *, descriptor: bool = False, before: int = 2
) -> None:
    """The ring's life from a fault to its restart."""
    status, error = (DESC if descriptor else DATA)[ERRORS.index(resp)]
    await works(nic, ring)
    bit = 1 << ring.queue + (0 if ring.is_rx else 16)
    await nic.bench.write32(regs.EVENT_STATUS, regs.EVENT_STATUS_RING_ERROR)
    start, sent, counted = len(ring.done), len(nic.sent), await count(nic, ring)
    frames = await fails(nic, ring, resp, descriptor=descriptor, before=before)
    done = ring.done[start:]
    assert [d.status for d in done[: before + 1]] == [CplStatus.OK] * before + [status]
    good = [n for n, d in enumerate(done) if d.status == CplStatus.OK]
    assert len(good) < len(done) < len(frames), "nothing is left that it had not begun with"
    assert all(d.status in (CplStatus.OK, status) for d in done)
    assert [done[n].data for n in good] == [frames[n] for n in good]
    if not ring.is_rx:
        assert nic.sent[sent:] == [frames[n] for n in good]
    due = {"frames": len(good), "bus_error": len(done) - len(good), "no_descriptor": 0}
    due["disabled"] = len(frames) - len(done) if ring.is_rx else 0
    now = await count(nic, ring)
    assert {name: now[name] - counted[name] for name in REASONS} == due
    await check_stopped(nic, ring, error, bit)
    await ring.disable()
    assert await nic.bench.read32(regs.EVENT_RINGS) == 0
    ring.forget()
    await ring.start()
    assert await ring.error() is QueueError.NONE
    await works(nic, ring)


async def check_stopped(nic: Nic, ring: Ring, error: QueueError, bit: int) -> None:
    """It says why and does nothing, again and again; every other ring works."""
    assert await ring.error() is error
    assert not await ring.read(regs.RING_STATUS) & regs.RING_STATUS_ACTIVE
    assert await nic.bench.read32(regs.EVENT_RINGS) == bit
    assert await nic.bench.read32(regs.EVENT_STATUS) & regs.EVENT_STATUS_RING_ERROR
    queue = nic.queues[ring.queue]
    interrupts = queue.interrupts
    await nic.until(lambda: queue.interrupts > interrupts + 1, "interrupt of the error")
    for other in nic.queues:
        for one in (other.rx, other.tx):
            if one is not ring:
                await works(nic, one)
                assert await one.error() is QueueError.NONE
    assert await ring.error() is error


@nic_test()
async def an_error_on_rx_data_stops_that_ring_only(dut: Any) -> None:
    nic = Nic(dut, entries=32)
    await nic.start()
    for resp in ERRORS:
        for before in (0, 5):
            await check_stop(nic, nic.rx, resp, before=before)
    await nic.finish()


@nic_test()
async def an_error_on_tx_data_stops_that_ring_only(dut: Any) -> None:
    nic = Nic(dut, entries=32)
    await nic.start()
    for resp in ERRORS:
        for before in (0, 5):
            await check_stop(nic, nic.tx, resp, before=before)
    await nic.finish()


@nic_test()
async def an_error_on_an_rx_descriptor_stops_that_ring_only(dut: Any) -> None:
    nic = Nic(dut, entries=32)
    await nic.start()
    for resp in ERRORS:
        await check_stop(nic, nic.rx, resp, descriptor=True)
    await nic.finish()


@nic_test("queues")
async def other_queues_go_on_when_one_stops_for_its_data(dut: Any) -> None:
    nic = Nic(dut, queues=3, entries=32)
    await nic.start()
    for number, resp in enumerate(ERRORS):
        await check_stop(nic, nic.queues[number].rx, resp)
        await check_stop(nic, nic.queues[2 - number].tx, resp)
    await nic.finish()


@nic_test()
async def a_frame_in_whose_midst_the_ring_stops_is_counted_once(dut: Any) -> None:
    """Of twenty buffers the first fails: those taken say so, none is the last."""
    nic = Nic(dut, entries=32)
    await nic.start()
    bad, *_ = [nic.rx.post(64) for _ in range(20)]
    rule = nic.bench.host.fail("write", bad, bad + 1, Resp.SLVERR)
    await nic.rx.doorbell()
    nic.send(nic.frame(1200))
    await nic.until(lambda: bool(nic.rx.done), "completion")
    await nic.cycles(400)
    assert {done.status for done in nic.rx.done} == {CplStatus.DATA_SLVERR}
    assert {done.flags for done in nic.rx.done} == {0} and len(nic.rx.done) < 19
    assert await nic.queue_counters() == {"rx_disabled": 1}
    await check_stopped(nic, nic.rx, QueueError.DATA_SLVERR, 1)
    nic.bench.host.forgive(rule)
    await nic.rx.disable()
    nic.rx.forget()
    await nic.rx.start()
    await works(nic, nic.rx)
    await nic.finish()


@nic_test()
async def all_fragments_of_a_frame_that_stops_its_ring_are_completed(dut: Any) -> None:
    nic = Nic(dut, entries=32)
    await nic.start()
    parts = [nic.frame(100) for _ in range(6)]
    bad = nic.tx.post_fragments(parts, (0, 0, 0))[3]
    rule = nic.bench.host.fail("read", bad, bad + 1, Resp.DECERR)
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.tx.done) == 6, "completions")
    assert [done.status for done in nic.tx.done] == [CplStatus.DATA_DECERR] * 6
    await check_stopped(nic, nic.tx, QueueError.DATA_DECERR, 1 << 16)
    assert nic.sent == [] and await nic.tx.counter("bus_error") == 1
    nic.bench.host.forgive(rule)
    await nic.tx.disable()
    await nic.tx.start()
    await works(nic, nic.tx)
    await nic.finish()


@nic_test("queues")
async def each_ring_runs_on_by_itself(dut: Any) -> None:
    """One that runs on beside those that do not, and the other way round."""
    nic = Nic(dut, queues=3, entries=32)
    await nic.start()
    rings = [ring for queue in nic.queues for ring in (queue.rx, queue.tx)]
    odd = nic.queues[1].rx
    await odd.disable()
    await odd.start(run_on=True)
    for ring in rings:
        await fails(nic, ring, Resp.SLVERR, descriptor=False, before=0)
        stopped = await ring.error()
        assert (stopped is QueueError.NONE) is (ring is odd), ring.name
    await odd.disable()
    odd.forget()
    for ring in rings:
        if ring is not odd:
            await ring.disable()
            ring.forget()
            await ring.start(run_on=True)
    await odd.start()
    for ring in rings:
        await works(nic, ring)
    await check_stop(nic, odd, Resp.DECERR)
    await fails(nic, odd, Resp.DECERR, descriptor=False, before=0)
    for ring in rings:
        assert (await ring.error() is QueueError.NONE) is (ring is not odd), ring.name
    await odd.disable()
    odd.forget()
    await nic.finish()


@nic_test()
async def no_ring_runs_on_over_a_tx_descriptor(dut: Any) -> None:
    """Even one that is told to."""
    nic = Nic(dut)
    await nic.start(run_on=True)
    end = nic.tx.desc_base + 16 * nic.tx.entries
    nic.bench.host.fail("read", nic.tx.desc_base, end, Resp.DECERR, times=1)
    nic.tx.post_frame(nic.frame(60))
    await nic.tx.doorbell()
    await nic.until(lambda: bool(nic.tx.done), "completion")
    await check_stopped(nic, nic.tx, QueueError.DESC_DECERR, 1 << 16)
    await nic.tx.disable()
    await nic.tx.start()
    await works(nic, nic.tx)
    await nic.finish()


RUNS = [
    (sim, build, bus)
    if bus == "fast" or (sim, build) == ("verilator", "default")
    else pytest.param(sim, build, bus, marks=pytest.mark.regress)
    for sim in SIMS
    for build in ("default", "queues")
    for bus in BUSES
]


@pytest.mark.parametrize(("sim", "build", "bus"), RUNS)
def test_nic_fault_stops(sim: str, build: str, bus: str) -> None:
    run_nic_tests(__name__, sim, build, bus)
