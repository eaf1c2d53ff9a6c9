"""The ns clock and its stamps, the line of device events, and interrupts that mask themselves."""

from __future__ import annotations

from typing import Any

import pytest
from nic_harness import BUSES, CYCLE_PS, SIMS, Nic, nic_test, run_nic_tests

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import QueueError
from tb.settings import Resp

LOCAL_FAULT = (0x0100009C_0100009C, 0x11)
STAMP = regs.RX_CPL_TIMESTAMP
PS = 1000


async def clock(nic: Nic) -> int:
    low = await nic.bench.read32(regs.CLOCK_LO)
    return await nic.bench.read32(regs.CLOCK_HI) << 32 | low


@nic_test()
async def the_clock_keeps_time_also_where_the_bench_stops_it(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for cycles in (10, 1000, 100_000, 10_000_000):
        before, start = await clock(nic), nic.now()
        await nic.cycles(cycles)
        after, end = await clock(nic), nic.now()
        passed = (end - start) * CYCLE_PS / PS
        assert abs(after - before - passed) < 40, f"{after - before} ns, not {passed}"
    await nic.finish()


@nic_test()
async def the_clock_is_set_shifted_and_tuned(dut: Any) -> None:
    nic = Nic(dut, idle_skip=False)
    await nic.start()
    write = nic.bench.write32
    await write(regs.CLOCK_LO, 0xFFFFFF00)
    await write(regs.CLOCK_HI, 0x12345678)
    assert 0 <= await clock(nic) - 0x12345678FFFFFF00 < 600
    await nic.cycles(100)
    assert 600 < await clock(nic) - 0x12345678FFFFFF00 < 2000, "the carry went astray"
    for shift in (1_000_000, -1_000_000, 5):
        before = await clock(nic)
        await write(regs.CLOCK_ADJUST, shift & 0xFFFFFFFF)
        assert 0 < await clock(nic) - before - shift < 1000
    await write(regs.CLOCK_INCREMENT, 10 << 24)
    start, cycle = await clock(nic), nic.now()
    await nic.cycles(1000)
    assert abs(await clock(nic) - start - 10 * (nic.now() - cycle)) < 100
    await nic.finish()


@nic_test()
async def received_frames_carry_the_time_of_their_start(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    lengths = (60, 1518, 60, 61, 700, 1000, 64, 1518)
    for _ in lengths:
        nic.rx.post(1518)
    await nic.rx.doorbell()
    await nic.bench.write32(regs.CLOCK_LO, 0x7FFFF800)  # the stamps will wrap
    await nic.bench.write32(regs.CLOCK_HI, 7)
    before = await clock(nic)
    nic.send(*(nic.frame(length) for length in lengths))
    await nic.until(lambda: nic.rx.consumer == len(lengths), "frames")
    stamps = [done.timestamp for done in nic.rx.done]
    assert 0 <= (stamps[0] - before) & STAMP < 600
    for length, first, second in zip(lengths, stamps, stamps[1:], strict=False):
        due = 0.8 * (length + 4 + 8 + 12)  # FCS, preamble, gap
        assert abs(((second - first) & STAMP) - due) < 13
    assert stamps[-1] < stamps[0], "no wrap"
    await nic.finish()


@nic_test()
async def a_link_change_raises_the_line_of_the_device(dut: Any) -> None:
    nic = Nic(dut)
    lines: list[int] = []
    await nic.start()
    nic.bench.on_irq = lambda line: lines.append(line)
    fault = [LOCAL_FAULT] * 8
    nic.bench.bus.wire.send_columns(fault)
    await nic.cycles(400)
    assert lines == [], "the events are masked after reset"
    assert await nic.bench.read32(regs.EVENT_STATUS) == regs.EVENT_STATUS_LINK_CHANGE
    await nic.bench.write32(regs.EVENT_MASK, regs.EVENT_MASK_RING_ERROR)
    await nic.cycles(10)
    assert lines == [len(nic.queues)]
    await nic.bench.write32(regs.EVENT_STATUS, regs.EVENT_STATUS_LINK_CHANGE)
    assert await nic.bench.read32(regs.EVENT_STATUS) == 0
    nic.bench.bus.wire.send_columns(fault)
    await nic.cycles(40)
    assert not await nic.bench.read32(regs.STATUS) & regs.STATUS_LINK_UP
    await nic.cycles(400)
    assert await nic.bench.read32(regs.STATUS) & regs.STATUS_LINK_UP
    assert lines == [len(nic.queues)] * 2
    await nic.bench.write32(regs.EVENT_STATUS, regs.EVENT_STATUS_LINK_CHANGE)
    await nic.finish()


@nic_test("queues")
async def a_ring_that_stops_is_in_the_error_vector(dut: Any) -> None:
    nic = Nic(dut, queues=3)
    await nic.start()
    lines: list[int] = []
    queue_irq = nic.bench.on_irq
    assert queue_irq is not None

    def seen(line: int) -> None:
        lines.append(line)
        if line < 3:
            queue_irq(line)

    nic.bench.on_irq = seen
    await nic.bench.write32(regs.EVENT_MASK, 0)
    ring = nic.queues[2].tx
    nic.bench.host.fail("write", ring.cpl_base, ring.cpl_base + 16, Resp.SLVERR, times=1)
    ring.post_frame(nic.frame(60))
    await ring.doorbell()
    await nic.until(lambda: 3 in lines, "device event")
    assert await nic.bench.read32(regs.EVENT_RINGS) == 1 << (2 + 16)
    assert await nic.bench.read32(regs.EVENT_STATUS) == regs.EVENT_STATUS_RING_ERROR
    await nic.bench.write32(regs.EVENT_STATUS, regs.EVENT_STATUS_RING_ERROR)
    assert await nic.bench.read32(regs.EVENT_STATUS) == 0, "the event is the stop, not the state"
    assert await ring.error() == QueueError.CPL_SLVERR
    await nic.queues[0].rx.write(regs.RING_DOORBELL, 9999)
    await nic.cycles(20)
    assert await nic.bench.read32(regs.EVENT_STATUS) == regs.EVENT_STATUS_RING_ERROR
    assert await nic.bench.read32(regs.EVENT_RINGS) == 1 << (2 + 16) | 1
    await nic.bench.write32(regs.EVENT_STATUS, 0xFFFFFFFF)
    for stopped in (ring, nic.queues[0].rx):
        await stopped.disable()
        stopped.forget()
    assert await nic.bench.read32(regs.EVENT_RINGS) == 0
    await nic.finish()


@nic_test()
async def an_interrupt_masks_itself_until_it_is_armed_again(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    queue = nic.queues[0]
    mask = queue.block + regs.Q_IRQ_MASK
    await nic.bench.write32(mask, regs.Q_IRQ_MASK_AUTO_MASK)
    for _ in range(3):
        queue.paused = True
        interrupts = queue.interrupts
        nic.rx.post(60)
        await nic.rx.doorbell()
        nic.send(nic.frame(60))
        await nic.until(lambda: queue.interrupts > interrupts, "interrupt")  # noqa: B023
        await nic.cycles(4)
        assert int(dut.irq.value) == 0, "it does not fall"
        both = regs.Q_IRQ_MASK_AUTO_MASK | regs.Q_IRQ_MASK_MASK
        assert await nic.bench.read32(mask) == both
        nic.rx.poll()
        await queue.arm()
        assert await nic.bench.read32(mask) == regs.Q_IRQ_MASK_AUTO_MASK
        assert queue.interrupts == interrupts + 1
    queue.paused = False
    await nic.receive([nic.frame(60) for _ in range(20)])
    await nic.finish()


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("sim", SIMS)
def test_nic_events(sim: str, bus: str) -> None:
    run_nic_tests(__name__, sim, bus=bus)


def test_nic_events_of_queues() -> None:
    run_nic_tests(__name__, "verilator", "queues")
