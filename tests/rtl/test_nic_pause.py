"""Pause frames (IEEE 802.3 annex 31B) through the whole NIC, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from nic_harness import BUSES, CYCLE_PS, OWN, PEER, SIMS, Nic, nic_test, run_nic_tests

from pystack.dev.drivers import w2a_regs as regs
from tb.pins.xgmii_code import Defect

RESERVED = bytes.fromhex("0180c2000001")
QUANTUM_PS = 51_200  # 512 bit times at 10 Gb/s
REACTION_PS = 40 * CYCLE_PS  # of both MACs and the wire models


def pause_frame(quanta: int, source: bytes = PEER, opcode: int = 1) -> bytes:
    head = RESERVED + source + b"\x88\x08" + opcode.to_bytes(2, "big") + quanta.to_bytes(2, "big")
    return head.ljust(60, b"\0")


class Sent:
    """Frames of the NIC with the time (ns) of their start."""

    def __init__(self, nic: Nic) -> None:
        self.starts: list[int] = []
        self.frames: list[bytes] = []
        self.nic = nic
        nic.bench.bus.wire.listen(self._sent)

    def _sent(self, frame: bytes, start_ns: int, end_ns: int) -> None:
        self.starts.append(start_ns)
        self.frames.append(frame)
        self.nic._sent(frame, start_ns, end_ns)


async def stop_and_go(nic: Nic, sent: Sent, quanta: int) -> float:
    """The pause (ps) in a row of frames that the NIC sends and a pause frame meets."""
    frames = [nic.frame(600) for _ in range(24)]
    first = len(sent.frames)
    for frame in frames:
        nic.tx.post_frame(frame)
    await nic.tx.doorbell()
    await nic.until(lambda: len(sent.frames) > first, "first frame")
    nic.send(pause_frame(quanta))
    await nic.until(lambda: len(sent.frames) == first + 24, "all frames", us=2000)
    await nic.until(lambda: nic.tx.consumer == nic.tx.producer, "completions")
    assert sent.frames[first:] == frames
    gaps = [b - a for a, b in zip(sent.starts[first:], sent.starts[first + 1 :], strict=False)]
    return 1000 * (max(gaps) - min(gaps))


@nic_test()
async def a_pause_frame_stops_the_transmitter_between_frames_for_its_time(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    sent = Sent(nic)
    assert await stop_and_go(nic, sent, 200) < REACTION_PS, "it was not enabled"
    await nic.bench.write32(regs.PAUSE, regs.PAUSE_RX_ENABLE)
    for quanta in (50, 200, 1000):
        pause = await stop_and_go(nic, sent, quanta)
        # It begins somewhere in a frame of 600 bytes, which is finished.
        assert quanta * QUANTUM_PS - 612 * 800 - REACTION_PS < pause
        assert pause < quanta * QUANTUM_PS + REACTION_PS
    assert (await nic.counters())["rx_pause"] == 4
    assert nic.rx.done == [], "a pause frame was delivered"
    await nic.finish()


@nic_test()
async def time_0_lets_the_transmitter_go_at_once(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.bench.write32(regs.PAUSE, regs.PAUSE_RX_ENABLE)
    nic.send(pause_frame(0xFFFF))
    await nic.cycles(100)
    nic.tx.post_frame(nic.frame(100))
    await nic.tx.doorbell()
    await nic.cycles(1000)
    assert nic.sent == []
    nic.send(pause_frame(0))
    await nic.until(lambda: len(nic.sent) == 1, "frame", us=2)
    await nic.until(lambda: nic.tx.consumer == 1, "completion")
    await nic.finish()


@nic_test()
async def only_good_pause_frames_pause(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    await nic.bench.write32(regs.PAUSE, regs.PAUSE_RX_ENABLE)
    nic.send(pause_frame(0xFFFF), defect=Defect(fcs_xor=1))
    nic.send(pause_frame(0xFFFF, opcode=2))
    nic.send(OWN + pause_frame(0xFFFF)[6:])
    nic.rx.post(1518)
    await nic.rx.doorbell()
    await nic.until(lambda: nic.rx.consumer == 1, "the frame to our own address")
    await nic.transmit([nic.frame(60)])
    assert await nic.counters() == {
        "rx_frames": 1,
        "rx_bytes": 60,
        "rx_bad_fcs": 1,
        "rx_filtered": 1,
        "tx_frames": 1,
        "tx_bytes": 60,
    }
    await nic.finish()


@nic_test()
async def a_full_receive_buffer_sends_xoff_and_an_empty_one_xon(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    own = [nic.frame(1000) for _ in range(10)]
    await nic.bench.write32(regs.PAUSE, regs.PAUSE_TX_ENABLE | 0x1234 << regs.PAUSE_QUANTA_SHIFT)
    await nic.bench.write32(regs.PAUSE_THRESHOLD, 16)  # 1 KiB
    for frame in own:
        nic.tx.post_frame(frame)
    await nic.tx.doorbell()
    await nic.receive([nic.frame(500)])
    assert [frame for frame in nic.sent if frame[:6] == RESERVED] == []
    await nic.receive([nic.frame(1500)])
    await nic.until(lambda: nic.tx.consumer == 10 and len(nic.sent) >= 12, "frames")
    await nic.cycles(400)
    control = [frame for frame in nic.sent if frame[:6] == RESERVED]
    assert control == [pause_frame(0x1234, OWN), pause_frame(0, OWN)]
    assert [frame for frame in nic.sent if frame[:6] != RESERVED] == own
    counters = await nic.counters()
    assert (counters["tx_pause"], counters["tx_frames"], counters["tx_bytes"]) == (2, 10, 10000)
    await nic.finish()


@nic_test()
async def xoff_is_sent_again_while_the_buffer_stays_full(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    quanta = 40
    await nic.bench.write32(regs.PAUSE, regs.PAUSE_TX_ENABLE | quanta << regs.PAUSE_QUANTA_SHIFT)
    await nic.bench.write32(regs.PAUSE_THRESHOLD, 1)
    for _ in range(30):
        nic.rx.post(1518)
    await nic.rx.doorbell()
    nic.send(*(nic.frame(1518) for _ in range(30)))
    await nic.until(lambda: nic.rx.consumer == 30, "frames")
    await nic.cycles(400)
    line_ps = 30 * 1542 * 800
    *offs, on = nic.sent
    assert {*offs} == {pause_frame(quanta, OWN)} and on == pause_frame(0, OWN)
    assert abs(len(offs) - line_ps / (quanta * QUANTUM_PS / 2)) < 4
    await nic.finish()


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("sim", SIMS)
def test_nic_pause(sim: str, bus: str) -> None:
    run_nic_tests(__name__, sim, bus=bus)
