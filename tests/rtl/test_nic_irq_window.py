"""No interrupt is lost and none comes without cause: the re-arm window, mask, moderation.

The window lies between the driver's last look at its completion rings and the write that re-arms
the interrupt.  A completion is slid across it cycle by cycle.
"""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from nic_harness import BUSES, SIMS, Nic, nic_test, run_nic_tests
from nic_harness_rings import ok

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import QueueError
from tb.settings import BusSettings

REACH = 70  # cycles on each side of the last look
WINDOW = 24  # cycles between the driver's last look and its write
QUIET = 400  # cycles in which nothing more may happen


class Manual:
    """A NIC whose interrupts are handled by hand, with one frame each way as the event."""

    def __init__(self, dut: Any, direction: str, settings: BusSettings | None = None) -> None:
        self.nic = Nic(dut, entries=512, settings=settings)
        self.queue = self.nic.queues[0]
        self.ring = self.nic.rx if direction == "rx" else self.nic.tx
        self.queue.paused = True
        self.frame = self.nic.frame(60)

    async def start(self) -> None:
        await self.nic.start()
        for _ in range(300 if self.ring.is_rx else 0):
            self.ring.post(60)
        await self.ring.doorbell()
        await self.nic.cycles(QUIET)

    async def moderate(self, count: int, cycles: int) -> None:
        """Set the limits: completions, clock cycles."""
        value = count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | cycles
        await self.nic.bench.write32(self.queue.block + regs.Q_IRQ_MODERATION, value)

    async def event(self, after: int = 0) -> None:
        """Start what ends in one completion, a fixed time later; wait some cycles before."""
        await self.nic.cycles(after)
        if self.ring.is_rx:
            self.nic.send(self.frame)
        else:
            self.ring.post_frame(self.frame)
            await self.ring.doorbell()

    async def interrupt(self, number: int) -> None:
        """Wait for the line to have risen `number` times in all."""
        await self.nic.until(lambda: self.queue.interrupts >= number, f"interrupt {number}", 20)
        assert self.queue.interrupts == number, "an interrupt too many"

    async def quiet(self, number: int) -> None:
        """The line does not rise once more."""
        await self.nic.cycles(QUIET)
        assert self.queue.interrupts == number, "an interrupt without a cause"

    async def take(self, total: int) -> None:
        """The handler: take what is there, which is everything, and re-arm."""
        self.ring.poll()
        assert len(self.ring.done) == total
        await self.queue.arm()

    async def status(self) -> int:
        return await self.nic.bench.read32(self.queue.block + regs.Q_IRQ_STATUS)

    def level(self) -> int:
        return int(self.nic.dut.irq.value)


async def latency(bench: Manual) -> int:
    """Clock cycles from the start of an event to its interrupt; it is the first one."""
    start = bench.nic.now()
    await bench.event()
    await bench.interrupt(1)
    cycles = bench.nic.now() - start
    await bench.take(1)
    await bench.quiet(1)
    return cycles


async def sweep(bench: Manual, count: int = 0, cycles: int = 0) -> None:
    """For each place: an interrupt, then a second completion round the write that re-arms."""
    delay = await latency(bench)
    await bench.moderate(count, cycles)
    seen_late = 0
    interrupts = total = 1
    for shift in range(-REACH, REACH + 1):
        await bench.event()
        interrupts, total = interrupts + 1, total + 1
        await bench.interrupt(interrupts)
        # The look is `lead` cycles from now, the second completion `shift` from that.
        lead = delay + 5 + REACH
        second = cocotb.start_soon(bench.event(after=lead + shift - delay))
        await bench.nic.cycles(lead)
        bench.ring.poll()
        missed = len(bench.ring.done) == total
        await bench.nic.cycles(WINDOW)
        await bench.queue.arm()
        await second
        total += 1
        if missed:
            seen_late += 1
            interrupts += 1
            await bench.interrupt(interrupts)
            await bench.take(total)
        assert len(bench.ring.done) == total
        await bench.quiet(interrupts)
    assert REACH // 2 < seen_late < 2 * REACH, "the sweep did not cross the window"
    assert bench.ring.outcome() == ok(*[bench.frame] * total)
    await bench.nic.finish()


@nic_test()
async def rx_completion_slid_across_the_rearm_is_never_lost(dut: Any) -> None:
    bench = Manual(dut, "rx")
    await bench.start()
    await sweep(bench)


@nic_test()
async def tx_completion_slid_across_the_rearm_is_never_lost(dut: Any) -> None:
    bench = Manual(dut, "tx")
    await bench.start()
    await sweep(bench)


@nic_test()
async def window_with_moderation_loses_nothing(dut: Any) -> None:
    """The second completion comes alone, so its interrupt is one of time."""
    bench = Manual(dut, "rx")
    await bench.start()
    await sweep(bench, count=5, cycles=40)


@nic_test()
async def a_slow_answer_to_the_completion_widens_the_window_but_loses_nothing(dut: Any) -> None:
    bench = Manual(dut, "rx", BusSettings(write_latency=(60,)))
    await bench.start()
    await sweep(bench)


@nic_test()
async def a_rearm_takes_back_the_event_it_acknowledges(dut: Any) -> None:
    """A driver that polls without an interrupt re-arms in the very cycle the moderation ends."""
    bench = Manual(dut, "rx")
    await bench.start()
    delay = await latency(bench)
    limit = 60
    await bench.moderate(count=9, cycles=limit)
    interrupts = 1
    early = 0
    for total, shift in enumerate(range(-16, 17), start=2):
        await bench.event()
        await bench.nic.cycles(delay + limit + shift)
        await bench.take(total)
        assert not bench.level(), "the line is up with everything consumed"
        early += bench.queue.interrupts == interrupts
        interrupts = bench.queue.interrupts
        await bench.quiet(interrupts)
    assert 0 < early < 33 and interrupts == 34 - early, "the sweep did not cross the end"
    await bench.nic.finish()


@nic_test()
async def a_driver_ahead_of_the_device_is_not_interrupted_for_it(dut: Any) -> None:
    """It may consume a completion in memory before the bus has answered the device."""
    for direction in ("rx", "tx"):
        bench = Manual(dut, direction)
        await bench.start()
        ahead = 1 << (0 if direction == "rx" else regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT)
        await bench.nic.bench.write32(bench.queue.block + regs.Q_IRQ_ARM, ahead)
        await bench.quiet(0)
        await bench.event()
        await bench.quiet(0)
        await bench.event()
        await bench.interrupt(1)
        await bench.take(2)
        await bench.quiet(1)
        await bench.nic.finish()


@nic_test()
async def mask_holds_the_line_and_remembers(dut: Any) -> None:
    bench = Manual(dut, "rx")
    await bench.start()
    mask = bench.queue.block + regs.Q_IRQ_MASK
    # Masked before the event: low, remembered, up as soon as it may.
    await bench.nic.bench.write32(mask, 1)
    await bench.event()
    await bench.quiet(0)
    assert not bench.level() and await bench.status() == regs.Q_IRQ_STATUS_FIRED
    await bench.nic.bench.write32(mask, 0)
    await bench.interrupt(1)
    # Masked while it is up: down, and up again.
    await bench.nic.bench.write32(mask, 1)
    assert not bench.level()
    await bench.nic.bench.write32(mask, 0)
    await bench.interrupt(2)
    # Acknowledged behind the mask: nothing is left.
    await bench.nic.bench.write32(mask, 1)
    await bench.take(1)
    await bench.nic.bench.write32(mask, 0)
    await bench.quiet(2)
    assert await bench.status() == regs.Q_IRQ_STATUS_ARMED
    await bench.nic.finish()


@nic_test()
async def line_stays_up_until_it_is_acknowledged(dut: Any) -> None:
    """More completions do not make it rise again; the acknowledgement takes them all."""
    bench = Manual(dut, "rx")
    await bench.start()
    await bench.event()
    await bench.interrupt(1)
    for _ in range(5):
        await bench.event()
    await bench.quiet(1)
    assert bench.level() == 1
    await bench.take(6)
    assert bench.level() == 0
    await bench.quiet(1)
    await bench.nic.finish()


@nic_test()
async def acknowledging_less_than_there_is_raises_the_line_again(dut: Any) -> None:
    bench = Manual(dut, "rx")
    await bench.start()
    for _ in range(4):
        await bench.event()
    await bench.nic.cycles(QUIET)
    assert bench.queue.interrupts == 1
    for consumed in range(4):
        await bench.nic.bench.write32(bench.queue.block + regs.Q_IRQ_ARM, consumed)
        await bench.interrupt(2 + consumed)
    await bench.take(4)
    await bench.quiet(5)
    await bench.nic.finish()


@nic_test()
async def an_error_while_the_line_is_up_is_told_after_the_rearm(dut: Any) -> None:
    """A queue that stops before the handler is through interrupts again, with no completion."""
    bench = Manual(dut, "rx")
    await bench.start()
    await bench.event()
    await bench.interrupt(1)
    await bench.nic.tx.write(regs.RING_DOORBELL, bench.nic.tx.entries + 1)
    await bench.quiet(1)
    await bench.take(1)
    await bench.interrupt(2)
    assert await bench.nic.tx.error() is QueueError.BAD_DOORBELL
    await bench.nic.tx.disable()
    await bench.nic.tx.start()
    await bench.queue.arm()
    await bench.quiet(2)
    await bench.nic.finish()


@nic_test()
async def moderation_by_count_waits_for_so_many(dut: Any) -> None:
    """Both directions count."""
    bench = Manual(dut, "rx")
    await bench.start()
    await bench.moderate(count=4, cycles=0xFFFF)
    for number in range(3):
        for _ in range(3):
            await bench.event()
        await bench.quiet(number)
        await bench.event()
        await bench.interrupt(number + 1)
        await bench.take(4 * number + 4)
    for _ in range(2):
        await bench.event()
        bench.nic.tx.post_frame(bench.frame)
        await bench.quiet(3)
        await bench.nic.tx.doorbell()
    await bench.interrupt(4)
    bench.nic.tx.poll()
    await bench.take(14)
    assert bench.nic.tx.outcome() == ok(bench.frame, bench.frame)
    await bench.nic.finish()


@nic_test()
async def moderation_by_time_waits_so_long_and_not_longer(dut: Any) -> None:
    """Counted from the first unconsumed completion, and anew after each re-arm."""
    for direction in ("rx", "tx"):
        bench = Manual(dut, direction)
        await bench.start()
        at_once = await latency(bench)
        for number, cycles in enumerate((100, 1000, 17), start=2):
            await bench.moderate(count=100, cycles=cycles)
            start = bench.nic.now()
            await bench.event()
            await bench.nic.cycles(min(cycles, 10))
            await bench.event()  # the second one does not start the time again
            await bench.interrupt(number)
            waited = bench.nic.now() - start - at_once
            assert cycles - 2 <= waited <= cycles + 2, f"{waited} cycles, not {cycles}"
            await bench.nic.cycles(50 + at_once)
            await bench.take(2 * number - 1)
            await bench.quiet(number)
        await bench.nic.finish()


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("sim", SIMS)
def test_nic_irq_window(sim: str, bus: str) -> None:
    run_nic_tests(__name__, sim, bus=bus)
