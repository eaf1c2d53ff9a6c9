"""Reception through the whole NIC: what is good arrives exactly, what is not is counted."""

from __future__ import annotations

from typing import Any

import pytest
from nic_harness import OWN, PAGE, SIMS, Nic, first_quick, nic_test, run_nic_tests
from nic_harness_rings import ok

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from tb.pins.xgmii_code import Defect
from tb.settings import BusSettings

BEAT = 16  # bytes of a bus beat in this build


@nic_test()
async def every_length_is_received_exactly(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.receive([nic.frame(length) for length in range(60, 1519)])
    counters = await nic.counters()
    assert counters == {"rx_frames": 1459, "rx_bytes": sum(range(60, 1519))}
    assert await nic.queue_counters() == {"rx_frames": 1459}
    await nic.finish()


@nic_test()
async def every_alignment_round_4k_keeps_its_guard_bytes(dut: Any) -> None:
    """Lengths round one to five beats and the longest, each from every position of a beat on
    both sides of a page boundary, and ending on every position round one."""
    nic = Nic(dut)
    await nic.start()
    frames, positions = [], []
    for length in (60, 61, 63, 64, 65, 79, 80, 81, 1514, 1518):
        starts = range(-BEAT - 1, BEAT + 1)
        ends = range(-length - BEAT - 1, -length + BEAT + 2)
        for position in (*starts, *ends):
            frames.append(nic.frame(length))
            positions.append(position)
    await nic.receive(frames, positions)
    await nic.finish()


async def only_the_last_arrives(nic: Nic, counts: dict[str, int]) -> None:
    """After bad frames a good one is sent: it arrives, alone, and `counts` are theirs."""
    nic.rx.post(1518)
    await nic.rx.doorbell()
    good = nic.frame(100)
    nic.send(good)
    await nic.until(lambda: bool(nic.rx.done), "good frame")
    assert nic.rx.outcome() == ok(good)
    assert await nic.counters() == {**counts, "rx_frames": 1, "rx_bytes": 100}
    await nic.finish()


@nic_test()
async def a_bad_fcs_is_dropped_and_counted(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for bit in range(32):
        nic.send(nic.frame(60 + bit), defect=Defect(fcs_xor=1 << bit))
    await only_the_last_arrives(nic, {"rx_bad_fcs": 32})


@nic_test()
async def a_runt_is_dropped_and_counted(dut: Any) -> None:
    """Good FCS, but short: from 1 byte to 59."""
    nic = Nic(dut)
    await nic.start()
    for length in range(1, 60):
        nic.send(nic.frame(length), defect=Defect(pad=False))
    await only_the_last_arrives(nic, {"rx_runt": 59})


@nic_test()
async def an_oversize_frame_is_dropped_and_counted(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start(max_frame=100)
    nic.send(*(nic.frame(length) for length in (101, 102, 109, 1518, 9000)))
    await only_the_last_arrives(nic, {"rx_oversize": 5})


@nic_test()
async def a_coded_error_is_dropped_and_counted(dut: Any) -> None:
    """An error character at any place of a column, and a frame that ends without terminate."""
    nic = Nic(dut)
    await nic.start()
    for place in range(40, 56):
        nic.send(nic.frame(80), defect=Defect(error_at=place))
    nic.send(nic.frame(80), defect=Defect(terminate=False))
    await only_the_last_arrives(nic, {"rx_coded_error": 17})


@nic_test()
async def a_foreign_destination_is_dropped_and_counted(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for bit in range(8, 48):  # not the group bit
        nic.send(nic.frame(60, (int.from_bytes(OWN, "big") ^ 1 << 47 - bit).to_bytes(6, "big")))
    nic.send(nic.frame(60, bytes.fromhex("01005e000001")))
    await only_the_last_arrives(nic, {"rx_filtered": 41})


@nic_test()
async def group_and_promiscuous_destinations_arrive_when_asked_for(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    group, other, everyone = bytes.fromhex("01005e000001"), bytes([2, 9, 9, 9, 9, 9]), b"\xff" * 6
    both = regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE
    for extra, accepted in (
        (0, [everyone]),
        (regs.CTRL_ALL_MULTICAST, [everyone, group]),
        (regs.CTRL_PROMISCUOUS, [everyone, group, other]),
    ):
        await nic.bench.write32(regs.CTRL, both | extra)
        for _ in range(4):
            nic.rx.post(64)
        await nic.rx.doorbell()
        start = len(nic.rx.done)
        frames = {to: nic.frame(64, to) for to in (everyone, group, other, OWN)}
        nic.send(*frames.values())
        due = [frames[to] for to in (*accepted, OWN)]
        await nic.until(lambda: len(nic.rx.done) == start + len(due), "frames")  # noqa: B023
        assert nic.rx.outcome(start) == ok(*due)
        await nic.rx.disable()
        nic.rx.forget()
        await nic.rx.start()
    assert await nic.counters() == {"rx_frames": 9, "rx_bytes": 9 * 64, "rx_filtered": 3}
    await nic.finish()


@nic_test()
async def with_no_descriptor_frames_are_dropped_and_counted(dut: Any) -> None:
    """Also in the middle of a stream, and the ring recovers."""
    nic = Nic(dut, entries=4)
    await nic.start()
    for _ in range(3):
        start = len(nic.rx.done)
        for _ in range(3):
            nic.rx.post(1518)
        await nic.rx.doorbell()
        frames = [nic.frame(length) for length in (60, 700, 1518, 60, 1518, 200)]
        nic.send(*frames)
        await nic.until(lambda: len(nic.rx.done) == start + 3, "frames")  # noqa: B023
        await nic.cycles(400)  # the other three
        assert nic.rx.outcome(start) == ok(*frames[:3])
    assert await nic.queue_counters() == {"rx_frames": 9, "rx_no_descriptor": 9}
    await nic.receive([nic.frame(60 + length) for length in range(20)])
    await nic.finish()


@nic_test()
async def a_short_buffer_without_a_next_one_gets_the_head_of_the_frame(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    cases = [(room, 64, -room + 3) for room in range(1, 64)]
    cases += [(room, 1518, -7) for room in (1, 16, 63, 64, 65, 512, 1504, 1517, 1518, 4000)]
    for room, length, position in cases:
        frame = nic.frame(length)
        nic.rx.post(room, position)
        await nic.rx.doorbell()
        nic.send(frame)
        due = len(nic.rx.done) + 1
        await nic.until(lambda: len(nic.rx.done) == due, "frame")  # noqa: B023
        done = nic.rx.done[-1]
        status = CplStatus.TRUNCATED if room < length else CplStatus.OK
        assert (done.status, done.length) == (status, min(room, length)), f"buffer of {room}"
        assert done.flags == regs.RX_CPL_LAST
        assert done.data == frame[:room]
    counts = await nic.queue_counters()
    assert counts == {"rx_frames": 2, "rx_truncated": len(cases) - 2}
    await nic.finish()


@nic_test()
async def a_buffer_of_length_0_is_completed_as_bad(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    for _ in range(3):
        nic.rx.post_raw(0x3, 0)
        nic.rx.post(60)
    await nic.rx.doorbell()
    frames = [nic.frame(60) for _ in range(6)]
    nic.send(*frames)
    await nic.until(lambda: len(nic.rx.done) == 6, "completions")
    assert nic.rx.outcome()[::2] == [(CplStatus.BAD_LENGTH, b"")] * 3
    assert nic.rx.outcome()[1::2] == ok(*frames[1::2])
    assert await nic.queue_counters() == {"rx_frames": 3, "rx_truncated": 3}
    await nic.finish()


@nic_test()
async def a_disabled_queue_drops_and_counts(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.receive([nic.frame(60)] * 3)
    await nic.rx.disable()
    nic.rx.unmap()
    nic.send(*[nic.frame(300)] * 5)
    await nic.cycles(500)
    assert await nic.queue_counters() == {"rx_frames": 3, "rx_disabled": 5}
    assert (await nic.counters())["rx_frames"] == 8
    await nic.finish()


@nic_test()
async def with_rx_disabled_nothing_enters(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.bench.write32(regs.CTRL, regs.CTRL_TX_ENABLE)
    nic.send(*[nic.frame(60)] * 3)
    await nic.cycles(200)
    assert await nic.counters() == {} and await nic.queue_counters() == {}
    await nic.bench.write32(regs.CTRL, regs.CTRL_RX_ENABLE)
    await nic.receive([nic.frame(60)] * 3)
    await nic.finish()


@nic_test()
async def a_full_receive_buffer_drops_whole_frames(dut: Any) -> None:
    """The bus answers late; what was stored arrives exact and in order, the rest is counted."""
    nic = Nic(dut, entries=64)
    await nic.start()
    nic.bench.bus.set_latency(write=(5500,))
    for _ in range(64):
        nic.rx.post(1514, PAGE - 40)
    await nic.rx.doorbell()
    frames = [nic.frame(1514) for _ in range(28)]
    nic.send(*frames)
    await nic.cycles(28 * 194)
    nic.bench.bus.set_latency(write=BusSettings().write_latency)
    lost = (await nic.counters()).get("rx_overflow", 0)
    assert 0 < lost < 12, "the buffer holds 32 KiB"
    await nic.until(lambda: len(nic.rx.done) == 28 - lost, "stored frames")
    last = nic.frame(60)
    nic.send(last)
    await nic.until(lambda: len(nic.rx.done) == 29 - lost, "a frame after the overflow")
    got = [frame for _, frame in nic.rx.outcome()]
    assert got == [frame for frame in frames if frame in got] + [last]
    assert (await nic.counters())["rx_frames"] == 29 - lost
    assert (await nic.counters())["rx_overflow"] == lost
    await nic.finish()


@pytest.mark.parametrize("sim", SIMS)
def test_nic_rx(sim: str) -> None:
    run_nic_tests(__name__, sim)


@pytest.mark.parametrize("sim", first_quick(SIMS))
def test_nic_rx_on_pins(sim: str) -> None:
    run_nic_tests(__name__, sim, bus="pins")  # half a minute and more on Icarus
