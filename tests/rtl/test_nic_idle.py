"""The `idle` output, which lets the bench stop the clock: high if and only if nothing goes on."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from cocotb.triggers import Timer
from nic_harness import BUSES, CYCLE_PS, SIMS, Nic, nic_test, run_nic_tests

from pystack.dev.drivers import w2a_regs as regs
from tb.pins.xgmii_code import Defect
from tb.settings import BusSettings, Stalls

LOCAL_FAULT = (0x0100009C_0100009C, 0x11)
ENTRY = 6  # cycles from the start of a frame on the wire model to the NIC's knowing of it
SLOW = BusSettings(Stalls.everywhere(0.6), range(1, 90), range(1, 90))


class Watch:
    """Samples `idle` every cycle, with the clock never stopped."""

    def __init__(self, nic: Nic) -> None:
        self.nic = nic
        self.times: list[int] = []  # cycles in which it was high
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            if int(self.nic.dut.idle.value):
                self.times.append(self.nic.bench.cycles)
            await Timer(CYCLE_PS, "ps")

    def high(self, start: int, end: int) -> list[int]:
        return [cycle for cycle in self.times if start <= cycle < end]


async def watched(dut: Any, settings: BusSettings | None) -> tuple[Nic, Watch]:
    nic = Nic(dut, settings=settings, idle_skip=False)
    await nic.start()
    await nic.cycles(100)
    watch = Watch(nic)
    await nic.cycles(50)
    assert len(watch.times) >= 49, "not idle with nothing to do"
    return nic, watch


async def low_while_receiving(dut: Any, settings: BusSettings | None) -> None:
    """From the frame's first bytes to the interrupt; stored, dropped or bad frames alike."""
    nic, watch = await watched(dut, settings)
    for length in (60, 61, 300, 1514):
        nic.rx.post(length, -20)
        await nic.rx.doorbell()
        await nic.cycles(300)
        start, interrupts = nic.bench.cycles, nic.queues[0].interrupts
        nic.send(nic.frame(length))
        await nic.until(lambda: nic.queues[0].interrupts > interrupts, "interrupt")  # noqa: B023
        assert watch.high(start + ENTRY, nic.bench.cycles) == []
        await nic.until(lambda: nic.rx.consumer == nic.rx.producer, "completion")
        await nic.cycles(200)
        assert int(dut.idle.value)
    for defect in (Defect(fcs_xor=1), Defect(error_at=20), Defect(cut_to=30), Defect()):
        start = nic.bench.cycles
        nic.send(nic.frame(300), defect=defect)
        await nic.cycles(400)
        assert int(dut.idle.value), f"busy for ever after {defect}"
        assert watch.high(start + ENTRY, start + (ENTRY if defect.cut_to else 25)) == []
    await nic.finish()


@nic_test()
async def idle_is_low_while_a_frame_is_received(dut: Any) -> None:
    await low_while_receiving(dut, None)


@nic_test()
async def idle_is_low_while_a_frame_is_received_on_a_slow_bus(dut: Any) -> None:
    await low_while_receiving(dut, SLOW)


@nic_test("plain")
async def idle_is_low_while_a_frame_is_received_without_offloads(dut: Any) -> None:
    """No parser is busy beside the buffer then."""
    await low_while_receiving(dut, None)


@nic_test()
async def idle_is_low_until_link_faults_are_forgotten(dut: Any) -> None:
    """128 columns without one do that, and need the clock; also where the link has stayed up."""
    nic, watch = await watched(dut, None)
    for words in (1, 8):  # of two faults each; four take the link down
        start = nic.bench.cycles
        nic.bench.bus.wire.send_columns([LOCAL_FAULT] * words)
        await nic.cycles(400)
        assert int(dut.idle.value)
        assert watch.high(start + ENTRY, start + words + 128 // 2) == []
    await nic.finish()


async def low_while_sending(dut: Any, settings: BusSettings | None) -> None:
    """From the doorbell to the last byte on the wire and the interrupt."""
    nic, watch = await watched(dut, settings)
    for length in (1, 60, 300, 1514):
        await nic.cycles(300)
        nic.tx.post_frame(nic.frame(length), -20)
        sent = len(nic.sent)
        await nic.tx.doorbell()
        start = nic.bench.cycles
        await nic.until(lambda: len(nic.sent) > sent, "frame on the wire")  # noqa: B023
        assert watch.high(start, nic.bench.cycles) == []
        await nic.until(lambda: nic.tx.consumer == nic.tx.producer, "completion")
        await nic.cycles(200)
        assert int(dut.idle.value)
    await nic.finish()


@nic_test()
async def idle_is_low_while_a_frame_is_sent(dut: Any) -> None:
    await low_while_sending(dut, None)


@nic_test()
async def idle_is_low_while_a_frame_is_sent_on_a_slow_bus(dut: Any) -> None:
    await low_while_sending(dut, SLOW)


@nic_test()
async def idle_is_low_until_a_moderated_interrupt_has_come(dut: Any) -> None:
    """Else the clock would stop and the time would never be over."""
    nic, watch = await watched(dut, None)
    block = nic.queues[0].block
    await nic.bench.write32(
        block + regs.Q_IRQ_MODERATION, 9 << regs.Q_IRQ_MODERATION_COUNT_SHIFT | 2000
    )
    nic.rx.post(60)
    await nic.rx.doorbell()
    start = nic.bench.cycles
    nic.send(nic.frame(60))
    await nic.until(lambda: nic.queues[0].interrupts == 1, "interrupt")
    assert nic.bench.cycles - start > 2000
    assert watch.high(start + ENTRY, nic.bench.cycles) == []
    await nic.finish()


@nic_test()
async def the_clock_stops_between_frames_and_nothing_is_lost(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for length in (60, 1514, 61, 200):
        await nic.receive([nic.frame(length)] * 3)
        await nic.transmit([nic.frame(length)] * 3)
        await nic.cycles(300)
        cycles = nic.bench.cycles
        await nic.cycles(100_000)
        assert nic.bench.cycles == cycles, "the clock runs with nothing to do"
    await nic.finish()


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("sim", SIMS)
def test_nic_idle(sim: str, bus: str) -> None:
    run_nic_tests(__name__, sim, bus=bus)


def test_nic_idle_without_offloads() -> None:
    run_nic_tests(__name__, SIMS[-1], build="plain")
