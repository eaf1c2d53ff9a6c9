"""Transmission through the whole NIC: every frame on the wire whole, padded, with a good FCS."""

from __future__ import annotations

from typing import Any

import pytest
from nic_harness import SIMS, Nic, first_quick, nic_test, run_nic_tests
from nic_harness_rings import ok

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus

BEAT = 16  # bytes of a bus beat in this build


@nic_test()
async def every_length_is_sent_padded_and_with_a_good_fcs(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.transmit([nic.frame(length) for length in range(1, 1519)])
    wire_bytes = sum(max(length, 60) for length in range(1, 1519))
    assert await nic.counters() == {"tx_frames": 1518, "tx_bytes": wire_bytes}
    assert await nic.queue_counters() == {"tx_frames": 1518}
    await nic.finish()


@nic_test()
async def every_alignment_round_4k_is_read_exactly(dut: Any) -> None:
    """Lengths round one to five beats and the longest, each from every position of a beat on
    both sides of a page boundary, and ending on every position round one."""
    nic = Nic(dut)
    await nic.start()
    frames, positions = [], []
    for length in (1, 15, 16, 17, 60, 63, 64, 65, 80, 1514, 1518):
        starts = range(-BEAT - 1, BEAT + 1)
        ends = range(-length - BEAT - 1, -length + BEAT + 2)
        for position in (*starts, *ends):
            frames.append(nic.frame(length))
            positions.append(position)
    await nic.transmit(frames, positions)
    await nic.finish()


@nic_test()
async def a_bad_length_is_refused_and_the_next_frame_goes_out(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start(max_frame=1000)
    frames = []
    for length in (0, 1001, 1002, 1518, 9018, 0x8000, 0xFFFF):
        nic.tx.post_raw(0x5, length)  # nothing may be read there
        frames.append(nic.frame(1000))
        nic.tx.post_frame(frames[-1])
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.sent) == 7 and len(nic.tx.done) == 14, "all completions")
    assert nic.tx.outcome()[::2] == [(CplStatus.BAD_LENGTH, b"")] * 7
    assert nic.tx.outcome()[1::2] == ok(*frames)
    assert [done.length for done in nic.tx.done[::2]] == [0, 1001, 1002, 1518, 9018, 32768, 65535]
    assert nic.sent == frames
    assert await nic.queue_counters() == {"tx_frames": 7, "tx_bad_length": 7}
    await nic.finish()


@nic_test()
async def the_longest_frame_of_the_device_goes_both_ways(dut: Any) -> None:
    """MAX_FRAME is limited to what the device was built for."""
    nic = Nic(dut)
    await nic.start(max_frame=0xFFFF)
    limit = await nic.bench.read32(regs.MAX_FRAME)
    assert limit == 9018
    frames = [nic.frame(length) for length in (limit, limit - 1, 60, limit)]
    await nic.transmit(frames, [-1, -3000, 0, 3])
    await nic.receive(frames, [-1, -3000, 0, 3])
    await nic.finish()


@nic_test()
async def with_tx_disabled_frames_wait(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.bench.write32(regs.CTRL, regs.CTRL_RX_ENABLE)
    frames = [nic.frame(length) for length in (60, 1518, 99)]
    for frame in frames:
        nic.tx.post_frame(frame)
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.tx.done) == 3, "completions")
    await nic.cycles(300)
    assert nic.sent == []
    await nic.bench.write32(regs.CTRL, regs.CTRL_TX_ENABLE)
    await nic.until(lambda: len(nic.sent) == 3, "frames on the wire")
    assert nic.sent == frames
    await nic.finish()


@nic_test()
async def a_full_transmit_buffer_holds_frames_back(dut: Any) -> None:
    """More than the buffer takes, with the wire closed: descriptors wait, nothing is lost."""
    nic = Nic(dut, entries=64)
    await nic.start()
    await nic.bench.write32(regs.CTRL, regs.CTRL_RX_ENABLE)
    frames = [nic.frame(1000 + length) for length in range(50)]
    for number, frame in enumerate(frames):
        nic.tx.post_frame(frame, -number)
    await nic.tx.doorbell()
    await nic.cycles(9000)
    held = len(frames) - len(nic.tx.done)
    assert 15 < held < 30, f"{held} of 50 KB do not fit into 32 KiB"
    await nic.bench.write32(regs.CTRL, regs.CTRL_TX_ENABLE)
    await nic.until(lambda: len(nic.sent) == 50 and len(nic.tx.done) == 50, "all frames", us=400)
    assert nic.tx.outcome() == ok(*frames) and nic.sent == frames
    await nic.finish()


@nic_test()
async def slow_reads_never_cut_a_frame(dut: Any) -> None:
    """Answers that take longer than a frame: the wire waits for whole frames."""
    nic = Nic(dut)
    await nic.start()
    nic.bench.bus.set_latency(read=(300,))
    await nic.transmit([nic.frame(length) for length in (1514, 60, 1514, 64, 1, 700)], [-33])
    assert "tx_underrun" not in await nic.counters()
    await nic.finish()


@pytest.mark.parametrize("sim", SIMS)
def test_nic_tx(sim: str) -> None:
    run_nic_tests(__name__, sim)


@pytest.mark.parametrize("sim", first_quick(SIMS))
def test_nic_tx_on_pins(sim: str) -> None:
    run_nic_tests(__name__, sim, bus="pins")  # half a minute and more on Icarus
