"""Bus errors of both kinds on each kind of access, IOMMU faults, and misuse of the registers."""

from __future__ import annotations

from typing import Any

import pytest
from nic_harness import BUSES, SIMS, Nic, nic_test, run_nic_tests
from nic_harness_rings import Ring

from pystack.core.dma import Direction
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, QueueError
from tb.host_port import Kind
from tb.settings import Resp

ERRORS = (Resp.SLVERR, Resp.DECERR)
SIZES = (60, 1514)


async def one(nic: Nic, ring: Ring, frame: bytes) -> None:
    """One frame through `ring`, which brings one completion of whatever status."""
    done = len(ring.done)
    if ring.is_rx:
        ring.post(len(frame), -30)
    else:
        ring.post_frame(frame, -30)
    await ring.doorbell()
    if ring.is_rx:
        nic.send(frame)
    await nic.until(lambda: len(ring.done) > done, f"completion of {ring.name}")


async def works(nic: Nic, ring: Ring) -> None:
    """Traffic through `ring` is exact."""
    frames = [nic.frame(length) for length in (60, 1514, 61)]
    if ring.is_rx:
        await nic.bench.write32(regs.RX_STEERING, ring.queue)
        await nic.receive(frames, queue=ring.queue)
    else:
        await nic.transmit(frames, queue=ring.queue)


async def rx_descriptor_errors(nic: Nic, ring: Ring) -> None:
    for resp, status in zip(ERRORS, (CplStatus.DESC_SLVERR, CplStatus.DESC_DECERR), strict=True):
        for size in SIZES:
            start, sent = len(ring.done), len(nic.sent)
            end = ring.desc_base + 16 * ring.entries
            nic.bench.host.fail("read", ring.desc_base, end, resp, times=1)
            await one(nic, ring, nic.frame(size))
            assert ring.done[start].status == status
            await works(nic, ring)
            assert len(nic.sent) == sent
    assert await ring.counter("bus_error") == 4


@nic_test()
async def an_error_on_an_rx_descriptor_is_in_its_completion(dut: Any) -> None:
    """And the buffer it names is not touched: the harness compares it."""
    nic = Nic(dut)
    await nic.start(run_on=True)
    await rx_descriptor_errors(nic, nic.rx)
    await nic.finish()


@nic_test()
async def an_error_on_a_tx_descriptor_stops_that_ring_only(dut: Any) -> None:
    """Where the next frame begins cannot be told.  What was taken of the frame says why, and a
    restart mends it."""
    nic = Nic(dut)
    await nic.start()
    ring = nic.tx
    codes = (
        (CplStatus.DESC_SLVERR, QueueError.DESC_SLVERR),
        (
            CplStatus.DESC_DECERR,
            QueueError.DESC_DECERR,
        ),
    )
    for resp, (status, error) in zip(ERRORS, codes, strict=True):
        for before in (0, 1, 3):
            start, sent = len(ring.done), len(nic.sent)
            for number in range(before):
                ring.post_frame(nic.frame(100), number, last=False)
            await ring.doorbell()
            await nic.cycles(100)  # a burst that fails takes all its descriptors along
            bad = ring.desc_base + 16 * (ring.producer % ring.entries)
            rule = nic.bench.host.fail("read", bad, bad + 16, resp)
            for number in range(3):
                ring.post_frame(nic.frame(60), last=number != 0)
            await ring.doorbell()
            await nic.until(lambda: len(ring.done) > start + before, "completions")  # noqa: B023
            await nic.cycles(400)
            assert [done.status for done in ring.done[start:]] == [status] * (before + 1)
            assert await ring.error() is error
            assert not await ring.read(regs.RING_STATUS) & regs.RING_STATUS_ACTIVE
            nic.bench.host.forgive(rule)
            await works(nic, nic.rx)
            assert len(nic.sent) == sent
            await ring.disable()
            ring.forget()
            await ring.start()
            assert await ring.error() is QueueError.NONE
            await works(nic, ring)
    assert await ring.counter("bus_error") == 6
    await nic.finish()


async def data_errors(nic: Nic, ring: Ring) -> None:
    """On the first, a middle and the last burst of a frame that has three, and on all."""
    frame = nic.frame(1514)
    cases = 0
    for resp, status in zip(ERRORS, (CplStatus.DATA_SLVERR, CplStatus.DATA_DECERR), strict=True):
        for first, last in ((0, 0), (700, 700), (1513, 1513), (0, 1513)):
            start, sent = len(ring.done), len(nic.sent)
            position = -100  # in the page of the slot the harness will use
            addr = nic.next_buffer(position)
            kind: Kind = "write" if ring.is_rx else "read"
            rule = nic.bench.host.fail(kind, addr + first, addr + last + 1, resp)
            if ring.is_rx:
                assert ring.post(1514, position) == addr
            else:
                assert ring.post_frame(frame, position) == addr
            await ring.doorbell()
            if ring.is_rx:
                nic.send(frame)
            await nic.until(lambda: len(ring.done) > start, "completion")  # noqa: B023
            assert (ring.done[start].status, ring.done[start].length) == (status, 1514)
            nic.bench.host.forgive(rule)
            await works(nic, ring)
            assert len(nic.sent) - sent == (0 if ring.is_rx else 3)
            cases += 1
    assert await ring.counter("bus_error") == cases


@nic_test()
async def an_error_on_rx_data_is_in_its_completion(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start(run_on=True)
    await data_errors(nic, nic.rx)
    await nic.finish()


@nic_test()
async def an_error_on_tx_data_keeps_the_frame_off_the_wire(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start(run_on=True)
    await data_errors(nic, nic.tx)
    await nic.finish()


async def completion_errors(nic: Nic, ring: Ring) -> None:
    """The queue stops, says why, interrupts; other rings go on; a restart mends it."""
    queue = nic.queues[ring.queue]
    others = [r for q in nic.queues for r in (q.rx, q.tx) if r is not ring]
    for resp, error in zip(ERRORS, (QueueError.CPL_SLVERR, QueueError.CPL_DECERR), strict=True):
        await works(nic, ring)
        start, interrupts = len(ring.done), queue.interrupts
        size = 16 * ring.entries
        nic.bench.host.fail("write", ring.cpl_base, ring.cpl_base + size, resp, times=1)
        frames = [nic.frame(200) for _ in range(5)]
        for frame in frames:
            ring.post(200) if ring.is_rx else ring.post_frame(frame)
        await ring.doorbell()
        if ring.is_rx:
            nic.send(*frames)
        await nic.until(lambda: queue.interrupts > interrupts, "interrupt of the error")  # noqa: B023
        await nic.cycles(400)  # the rest of the frames comes in
        for other in others:
            await works(nic, other)
        assert len(ring.done) == start, "a completion behind the one that failed"
        assert await ring.error() is error
        assert not await ring.read(regs.RING_STATUS) & regs.RING_STATUS_ACTIVE
        await ring.disable()
        ring.forget()
        await ring.start()
        assert await ring.error() is QueueError.NONE
        await works(nic, ring)


@nic_test()
async def an_error_on_an_rx_completion_stops_that_ring_only(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await completion_errors(nic, nic.rx)
    counters = await nic.queue_counters()
    lost = counters["rx_bus_error"] + counters.get("rx_disabled", 0)
    assert counters["rx_bus_error"] >= 2 and lost == 10
    assert counters["rx_frames"] == (await nic.counters())["rx_frames"] - 10
    await nic.finish()


@nic_test()
async def an_error_on_a_tx_completion_stops_that_ring_only(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await completion_errors(nic, nic.tx)
    assert await nic.tx.counter("bus_error") >= 2
    await nic.finish()


@nic_test("queues")
async def other_queues_go_on_when_one_fails(dut: Any) -> None:
    nic = Nic(dut, queues=3)
    await nic.start()
    await completion_errors(nic, nic.queues[1].rx)
    await completion_errors(nic, nic.queues[2].tx)
    for queue, name in zip(nic.queues, ("", "rx_bus_error", "tx_bus_error"), strict=True):
        assert {await queue.rx.error(), await queue.tx.error()} == {QueueError.NONE}
        errors = [key for key in await nic.queue_counters(queue.number) if key.endswith("_error")]
        assert errors == ([name] if name else [])
    await nic.finish()


@nic_test("queues")
async def a_failing_buffer_of_one_queue_leaves_the_others_alone(dut: Any) -> None:
    nic = Nic(dut, queues=3, entries=8)
    await nic.start(run_on=True)
    bad = nic.queues[1].tx
    broken = nic.bench.memory.alloc_pages(1)
    nic.bench.dma.map_single(broken, 1514, Direction.TO_DEVICE, "broken buffer")
    nic.bench.host.fail("read", broken, broken + 1514, Resp.DECERR)
    for _ in range(4):
        bad.post_raw(broken, 1514)
    await bad.doorbell()
    for number in (0, 2):
        await nic.transmit([nic.frame(1000)] * 12, queue=number)
    await nic.until(lambda: len(bad.done) == 4, "completions")
    assert [done.status for done in bad.done] == [CplStatus.DATA_DECERR] * 4
    assert len(nic.sent) == 24
    await nic.finish()


@nic_test()
async def an_iommu_fault_names_the_mapping_and_reports_the_error(dut: Any) -> None:
    """A descriptor that promises more than is mapped, and rings that are not."""
    nic = Nic(dut)
    nic.bench.reports.expected.add("iommu")
    await nic.start(run_on=True)
    addr = nic.rx.post(100)
    nic.poke(nic.rx.desc_base, regs.RX_DESC.pack(addr, 200))
    await nic.rx.doorbell()
    nic.send(nic.frame(101))
    await nic.until(lambda: len(nic.rx.done) == 1, "completion")
    assert nic.rx.done[0].status == CplStatus.DATA_SLVERR
    (text,) = nic.bench.reports.of("iommu")
    assert f"DMA write of [{addr:#x}, {addr + 101:#x}) refused at {addr + 100:#x}" in text
    assert f"0 bytes behind rx0 buffer [{addr:#x}, {addr + 100:#x})" in text
    wrong = nic.buffer(60, 0, Direction.FROM_DEVICE, "not for sending")
    nic.tx.post_raw(wrong, 60)
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.tx.done) == 1, "completion")
    assert nic.tx.done[0].status == CplStatus.DATA_SLVERR
    assert "not for sending" in nic.bench.reports.of("iommu")[1]
    nic.bench.reports.seen.clear()
    nic.bench.reports.expected.clear()
    await works(nic, nic.rx)
    await works(nic, nic.tx)
    await nic.finish()


@nic_test()
async def a_doorbell_beyond_the_ring_stops_the_queue(dut: Any) -> None:
    nic = Nic(dut, entries=8)
    await nic.start()
    for number, ring in enumerate((nic.rx, nic.tx)):
        for wrong in (9, 0x7FFF, 0xFFFF):  # the last one is one back
            await works(nic, ring)
            interrupts = nic.queues[0].interrupts
            await ring.write(regs.RING_DOORBELL, ring.producer + wrong & 0xFFFF)
            again = interrupts + 2  # it stays an event, re-arm after re-arm
            await nic.until(lambda: nic.queues[0].interrupts > again, "interrupts")  # noqa: B023
            assert await ring.error() is QueueError.BAD_DOORBELL
            await ring.disable()
            interrupts = nic.queues[0].interrupts
            for _ in range(8):
                await nic.bench.read32(regs.ID)
            assert nic.queues[0].interrupts <= interrupts + 1, "an interrupt storm"
            ring.forget()
            await ring.start()
            assert await ring.error() is QueueError.NONE
        assert (await nic.counters())["doorbell_errors"] == 3 * (number + 1)
        await works(nic, ring)
    await nic.finish()


@nic_test()
async def a_full_ring_is_not_an_overrun(dut: Any) -> None:
    nic = Nic(dut, entries=8)
    await nic.start()
    for _ in range(3):
        for _ in range(8):
            nic.rx.post(60)
        assert nic.rx.free == 0
        await nic.rx.doorbell()
        start = len(nic.rx.done)
        nic.send(*[nic.frame(60)] * 8)
        await nic.until(lambda: len(nic.rx.done) == start + 8, "frames")  # noqa: B023
    assert "doorbell_errors" not in await nic.counters()
    await nic.finish()


@nic_test()
async def a_doorbell_to_a_disabled_queue_is_counted_and_harmless(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for number, ring in enumerate((nic.rx, nic.tx)):
        await ring.disable()
        await ring.write(regs.RING_DOORBELL, 4)
        assert (await nic.counters())["doorbell_errors"] == number + 1
        assert await ring.error() is QueueError.NONE
        assert not await ring.read(regs.RING_STATUS) & regs.RING_STATUS_ACTIVE
        await ring.start()
        assert await ring.read(regs.RING_DOORBELL) == 0
        await works(nic, ring)
    await nic.finish()


@nic_test()
async def an_access_to_no_register_is_refused_and_counted(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    # Holes: of the device, of a ring, of a queue, a queue that was not built, the end.
    behind = regs.COUNTERS[-1].offset + 8
    holes = (0x054, 0x0FC, behind, 0xFFC, regs.queue_block(0) + 0x24, regs.queue_block(0) + 0x90)
    for hole in (*holes, regs.queue_block(1), regs.queue_block(15), 0x2000, 0xFFFC):
        with pytest.raises(OSError, match=r"SLVERR|DECERR"):
            await nic.bench.read32(hole)
        with pytest.raises(OSError, match=r"SLVERR|DECERR"):
            await nic.bench.write32(hole, 0xFFFFFFFF)
    assert (await nic.counters())["doorbell_errors"] == 20
    for read_only in (regs.ID, regs.FEATURES, regs.STATUS, 0x100, 0x104):
        before = await nic.bench.read32(read_only)
        await nic.bench.write32(read_only, 0xFFFFFFFF)
        assert await nic.bench.read32(read_only) == before
    await works(nic, nic.rx)
    await works(nic, nic.tx)
    await nic.finish()


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("build", ("default", "queues"))
@pytest.mark.parametrize("bus", BUSES)
def test_nic_faults(sim: str, build: str, bus: str) -> None:
    run_nic_tests(__name__, sim, build, bus)
