"""pause_rx and pause_tx (IEEE 802.3 annex 31B): what stops us, and what is sent when."""

from __future__ import annotations

import os
import random
from itertools import pairwise
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from tx_stream import joined, words
from wire_side_common import BAD_FCS, OK, start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

TOP = os.environ.get("PAUSE_TOP", "")
CONTROL = bytes.fromhex("0180c2000001")
MAC = bytes.fromhex("02aabbccddee")
CLOCKS = 8  # of a quantum, 512 bit times
QUANTA, XOFF, XON = 20, 500, 100


def of_module(top: str) -> Any:
    return cocotb.test(skip=top != TOP)


def pause_frame(quanta: int, address: bytes = CONTROL, ethertype: int = 0x8808, opcode: int = 1,
                source: bytes = MAC) -> bytes:  # fmt: skip
    words16 = b"".join(value.to_bytes(2, "big") for value in (ethertype, opcode, quanta))
    return (address + source + words16).ljust(60, b"\0")


# ---------------------------------------------------------------- pause_rx


class Listener:
    """pause_rx behind a MAC; counts the clocks for which it stops the transmitter."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, cfg_enable=1, s_axis_tdata=0, s_axis_tvalid=0, s_axis_tlast=0, s_axis_tuser=0
        )

    async def clock(self) -> bool:
        """A clock without a beat; whether the transmitter is stopped in it."""
        await FallingEdge(self.dut.clk)
        self.dut.s_axis_tvalid.value = 0
        await ReadOnly()
        assert self.dut.busy.value == self.dut.paused.value
        return bool(int(self.dut.paused.value))

    async def frame(self, data: bytes, verdict: int = OK) -> bool:
        """Whether it is said to be a pause frame."""
        for word in words(data):
            while self.rng.random() < 0.2:
                await self.clock()
            await FallingEdge(self.dut.clk)
            self.dut.s_axis_tvalid.value = 1
            self.dut.s_axis_tdata.value = word["data"]
            self.dut.s_axis_tlast.value = word["last"]
            self.dut.s_axis_tuser.value = verdict if word["last"] else 0
            await ReadOnly()
        return bool(int(self.dut.is_pause.value))

    async def stopped(self) -> int:
        """For how many clocks from now on."""
        clocks = 0
        while await self.clock():
            clocks += 1
        return clocks


@of_module("pause_rx")
async def a_pause_frame_stops_for_its_time_and_nothing_else_does(dut: Any) -> None:
    bench = Listener(dut)
    await bench.start()
    for quanta in (1, 5, 0x102, 0):
        assert await bench.frame(pause_frame(quanta))
        assert await bench.stopped() == CLOCKS * quanta
        for wrong in (
            pause_frame(9, address=MAC),
            pause_frame(9, address=bytes.fromhex("0180c2000002")),
            pause_frame(9, ethertype=0x0800),
            pause_frame(9, opcode=0x101),
            pause_frame(9)[:20],
            bytes(12) + pause_frame(9),
            pause_frame(9, address=MAC) + pause_frame(9),
        ):
            assert not await bench.frame(wrong)
            assert await bench.stopped() == 0
        assert await bench.frame(pause_frame(9), verdict=BAD_FCS)
        assert await bench.stopped() == 0
        assert await bench.frame(pause_frame(7) + bytes(40)), "longer ones count, too"
        assert await bench.stopped() == CLOCKS * 7


@of_module("pause_rx")
async def the_last_pause_frame_counts_and_so_does_being_off(dut: Any) -> None:
    bench = Listener(dut)
    await bench.start()
    await bench.frame(pause_frame(0xFFFF))
    for _ in range(1000):
        assert await bench.clock()
    await bench.frame(bytes(200))
    assert await bench.clock(), "other frames change nothing"
    await bench.frame(pause_frame(3))
    assert await bench.stopped() == 3 * CLOCKS
    await bench.frame(pause_frame(0xFFFF))
    await bench.frame(pause_frame(0))
    assert await bench.stopped() == 0
    await bench.frame(pause_frame(50))
    await FallingEdge(dut.clk)
    dut.cfg_enable.value = 0
    assert await bench.stopped() <= 1
    assert await bench.frame(pause_frame(50)), "found all the same"
    assert await bench.stopped() == 0


# ---------------------------------------------------------------- pause_tx


class Sender:
    """pause_tx between a transmit buffer that always has a frame (or none) and a MAC."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.fill, self.enable, self.paused = 0, 1, 0
        self.rst = 0
        self.quanta, self.xon = QUANTA, XON
        self.stall, self.offering = 0.3, True
        self.number = 0
        self.rest: list[dict[str, int]] = []
        self.sent: list[bytes] = []  # frames of the buffer
        self.found: list[dict[str, int]] = []
        self.frames: list[tuple[int, bytes]] = []  # (clock of the end, frame) as they came out
        self.clocks = self.told = 0

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, cfg_enable=1, cfg_quanta=QUANTA, cfg_xoff=XOFF, cfg_xon=XON,
            cfg_mac=int.from_bytes(MAC, "little"), fill=0, paused=0, s_axis_tdata=0, s_axis_tkeep=0,
            s_axis_tvalid=0, s_axis_tlast=0, s_axis_tuser=0, m_axis_tready=0,
        )  # fmt: skip

    def next_frame(self) -> None:
        self.number += 1
        frame = self.number.to_bytes(4, "little") + self.rng.randbytes(self.rng.randrange(1, 60))
        self.rest = words(frame, user=self.number % 2)

    async def clock(self) -> None:
        dut = self.dut
        await FallingEdge(dut.clk)
        if not self.rest and self.offering:
            self.next_frame()
        dut.cfg_quanta.value, dut.cfg_xon.value = self.quanta, self.xon
        dut.fill.value, dut.cfg_enable.value, dut.paused.value = self.fill, self.enable, self.paused
        dut.rst.value = self.rst
        dut.s_axis_tvalid.value = int(bool(self.rest))
        if self.rest:
            word = self.rest[0]
            dut.s_axis_tdata.value, dut.s_axis_tlast.value = word["data"], word["last"]
            dut.s_axis_tkeep.value = (1 << word["bytes"]) - 1
            dut.s_axis_tuser.value = word["user"]
        ready = self.rng.random() >= self.stall
        dut.m_axis_tready.value = int(ready)
        await ReadOnly()
        self.clocks += 1
        self.told += int(dut.ev_sent.value)
        passes = self.rest and int(dut.s_axis_tready.value)
        assert not passes or (ready and int(dut.m_axis_tvalid.value))
        if ready and int(dut.m_axis_tvalid.value):
            user = self.rest.pop(0)["user"] if passes else 0  # a pause frame wants no stamp
            assert int(dut.m_axis_tuser.value) == user
            keep = int(dut.m_axis_tkeep.value)
            word = {"data": int(dut.m_axis_tdata.value), "bytes": keep.bit_count()}
            word["last"] = int(dut.m_axis_tlast.value)
            self.found.append(word)
            if word["last"]:
                self.frames.append((self.clocks, joined(self.found)[0]))
                self.found = []

    async def run(self, clocks: int) -> list[tuple[int, bytes]]:
        """That many clocks; the pause frames that ended in them, others are in their order."""
        before = len(self.frames)
        for _ in range(clocks):
            await self.clock()
        new = self.frames[before:]
        pauses = [(at, frame) for at, frame in new if frame[:6] == CONTROL]
        self.sent += [frame for _, frame in new if frame[:6] != CONTROL]
        return pauses

    def check(self, sent_pauses: int) -> None:
        """The buffer's frames came out whole and in order, and each pause frame was counted."""
        numbers = [int.from_bytes(frame[:4], "little") for frame in self.sent]
        assert numbers == list(range(1, len(numbers) + 1))
        assert self.told == sent_pauses


@of_module("pause_tx")
async def xoff_at_one_threshold_again_at_half_time_and_xon_at_the_other(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    half = QUANTA * CLOCKS // 2
    count = 0
    for bench.stall in (0.0, 0.3):
        for bench.offering in (True, False):
            bench.fill = XOFF - 1
            assert await bench.run(200) == []
            bench.fill = XOFF
            pauses = await bench.run(40)
            assert [frame for _, frame in pauses] == [pause_frame(QUANTA)]
            bench.fill = XON + 1  # between both: nothing changes
            assert await bench.run(3 * half) == []
            bench.fill = XOFF + 1
            pauses = await bench.run(5 * half)
            assert {frame for _, frame in pauses} == {pause_frame(QUANTA)}
            gaps = [after - before for (before, _), (after, _) in pairwise(pauses)]
            assert len(gaps) >= 3 and all(half - 20 <= gap <= half + 40 for gap in gaps), gaps
            if not (bench.stall or bench.offering):
                assert max(gaps) - min(gaps) <= 1 and half <= gaps[0] <= half + 3
            bench.fill = XON
            ends = await bench.run(40)
            assert ends[-1][1] == pause_frame(0) and len(ends) <= 2
            assert await bench.run(2 * half) == []
            count += 1 + len(pauses) + len(ends)
    assert len(bench.sent) > 50
    bench.check(count)
    await bench.run(10)
    assert not int(dut.busy.value) or bench.rest


@of_module("pause_tx")
async def switched_off_it_takes_back_what_it_said_and_no_more(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    bench.enable, bench.fill = 0, 2 * XOFF
    assert await bench.run(200) == []
    bench.enable = 1
    assert [frame for _, frame in await bench.run(40)] == [pause_frame(QUANTA)]
    bench.enable = 0
    assert [frame for _, frame in await bench.run(200)] == [pause_frame(0)]
    bench.offering = False
    assert await bench.run(100) == []
    assert not int(dut.busy.value)
    bench.check(2)


@of_module("pause_tx")
async def switched_on_it_forgets_how_full_the_buffer_was_before(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    bench.offering, bench.fill = False, XOFF
    assert [frame for _, frame in await bench.run(40)] == [pause_frame(QUANTA)]
    bench.enable = 0
    assert [frame for _, frame in await bench.run(40)] == [pause_frame(0)]
    bench.fill = 0
    await bench.run(40)
    bench.enable = 1
    assert await bench.run(100) == []
    bench.check(2)


@of_module("pause_tx")
async def a_pause_of_no_time_is_not_sent_but_to_take_back_another(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    bench.quanta, bench.fill = 0, XOFF
    assert await bench.run(300) == []
    bench.quanta = QUANTA
    assert [frame for _, frame in await bench.run(40)] == [pause_frame(QUANTA)]
    bench.quanta = 0
    assert await bench.run(300) == []
    bench.fill = XON
    assert [frame for _, frame in await bench.run(200)] == [pause_frame(0)]
    bench.check(2)


@of_module("pause_tx")
async def thresholds_the_wrong_way_round_send_no_xon_while_it_is_full(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    bench.xon, bench.fill = 2 * XOFF, XOFF
    half = QUANTA * CLOCKS // 2
    pauses = await bench.run(5 * half)
    assert {frame for _, frame in pauses} == {pause_frame(QUANTA)} and len(pauses) <= 6
    bench.fill = XOFF - 1
    assert [frame for _, frame in await bench.run(200)] == [pause_frame(0)]
    bench.check(len(pauses) + 1)


@of_module("pause_tx")
async def a_stopped_transmitter_ends_its_frame_and_sends_control_frames(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    for _ in range(20):
        await bench.run(bench.rng.randrange(10, 40))
        bench.paused = 1
        await bench.run(40)
        frames = len(bench.sent)
        bench.fill = XOFF
        assert [frame for _, frame in await bench.run(40)] == [pause_frame(QUANTA)]
        bench.fill = XON
        assert [frame for _, frame in await bench.run(40)] == [pause_frame(0)]
        assert len(bench.sent) == frames, "a frame began though it was to wait"
        assert not bench.found and not int(dut.m_axis_tvalid.value)
        bench.paused = bench.fill = 0
    bench.check(40)


@of_module("pause_tx")
async def a_reset_of_one_clock_forgets_the_pause_frame_and_its_event(dut: Any) -> None:
    bench = Sender(dut)
    await bench.start()
    bench.offering, bench.stall = False, 0.0
    for clocks in range(1, 20):  # the pause frame takes 8, its event comes 3 later
        bench.fill = XOFF
        await bench.run(clocks)
        bench.fill, bench.rst = 0, 1
        await bench.clock()
        bench.found, bench.told, bench.rst = [], 0, 0
        await bench.clock()
        assert (int(dut.m_axis_tvalid.value), int(dut.busy.value)) == (0, 0), clocks
        assert await bench.run(20) == []
        bench.check(0)


@pytest.mark.parametrize("top", ["pause_rx", "pause_tx"])
def test_pause(top: str) -> None:
    design = Design(top, nic_sources())
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env={"PAUSE_TOP": top}).check()
