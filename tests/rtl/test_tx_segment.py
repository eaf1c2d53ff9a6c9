"""tx_segment and tx_header: every frame it makes against the reference; others pass unchanged.

The checksum is inserted behind it: what stands in its place has to be the pseudo header's sum.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import cocotb
import pytest
import tx_frames
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from tx_frames import TxFrame, checksum
from tx_stream import Word, frame_bits, joined, words
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers.w2a_regs import CplStatus
from wire2app.simulator import Design, nic_sources, simulate

MANNERS = ((0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.4, 0.4))
LONGEST = 1518


@dataclass
class Ask:
    """A frame that goes in; `resp_at` is the word from which on it is said to be in error."""

    frame: TxFrame
    bits: int
    status: CplStatus = CplStatus.OK
    resp: int = 0
    resp_at: int = 0

    def words(self) -> list[Word]:
        if self.status is not CplStatus.OK:
            return []
        found = words(self.frame.data)
        for number, word in enumerate(found):
            word["resp"] = self.resp if number >= self.resp_at else 0
        return found


def ask(frame: TxFrame, **more: Any) -> Ask:
    bits = frame_bits(
        status=more.get("status", CplStatus.OK),
        len=len(frame.data),
        fragments=1,
        timestamp=1,
        segment=int(frame.mss > 0),
        mss=frame.mss,
        csum_start=frame.csum_start // 2,
        csum_offset=frame.csum_offset // 2,
    )
    return Ask(frame, bits, **more)


@dataclass
class Out:
    frames: list[bytes]
    discards: list[int]
    firsts: list[int]
    statuses: list[int]
    stamps: list[int]  # is one on its way?
    clocks: int


class Bench:
    """The block, its frames shown one after the other, each with its words, held up at random."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.pause = self.stall = 0.0

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, cfg_max_frame=LONGEST, frame_valid=0, frame_refused=0, frame=0,
            s_data=0, s_bytes=8, s_last=0, s_resp=0, s_valid=0, m_ready=0,
        )  # fmt: skip

    def drive(self, **values: int) -> None:
        for name, value in values.items():
            getattr(self.dut, name).value = value

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    def shown(self, count: int) -> int:
        """The word that comes out; behind its end it may be anything, or nothing yet."""
        return int(self.dut.m_data.value[8 * count - 1 : 0])

    async def run(self, asks: list[Ask]) -> Out:
        found: list[Word] = []
        statuses: list[int] = []
        stamps: list[int] = []
        stream, at, clocks, silent = asks[0].words(), 0, 0, 0
        while silent < 5:
            await FallingEdge(self.dut.clk)
            here = len(statuses) < len(asks)
            word = stream[at] if here and at < len(stream) else None
            shown = word is not None and self.rng.random() >= self.pause
            ready = self.rng.random() >= self.stall
            self.drive(frame_valid=int(here), s_valid=int(shown), m_ready=int(ready))
            if here:
                this = asks[len(statuses)]
                refused = this.status is not CplStatus.OK
                self.drive(frame=this.bits, frame_refused=int(refused))
            if word is not None:
                self.drive(**{f"s_{name}": value for name, value in word.items()})
            await ReadOnly()
            at += shown and self.get("s_ready")
            if ready and self.get("m_valid"):
                names = ("bytes", "last", "discard", "first")
                found.append({name: self.get(f"m_{name}") for name in names})
                found[-1]["data"] = self.shown(found[-1]["bytes"])
            if self.get("frame_pop"):
                assert self.get("result_push")
                assert at == len(stream), "words are left over"
                statuses.append(self.get("result_status"))
                stamps.append(self.get("result_stamp"))
                at = 0
                stream = asks[len(statuses)].words() if len(statuses) < len(asks) else []
            clocks += 1
            assert clocks < 40000, "the block hangs"
            silent = 0 if here else silent + 1
        assert not self.get("busy")
        ends = [word for word in found if word["last"]]
        return Out(
            joined(found),
            [word["discard"] for word in ends],
            [word["first"] for word in ends],
            statuses,
            stamps,
            clocks - 5,
        )


def due(asks: list[Ask]) -> list[bytes]:
    return [wire for ask in asks if ask.status is CplStatus.OK for wire in ask.frame.wire]


def finished(frames: list[bytes], asks: list[Ask]) -> list[bytes]:
    """What the checksum unit makes of the segments."""
    places = [
        (ask.frame.csum_start, ask.frame.csum_offset)
        for ask in asks
        if ask.status is CplStatus.OK
        for _ in ask.frame.wire
    ]
    done = []
    for frame, (start, offset) in zip(frames, places, strict=True):
        at = start + offset
        done.append(frame[:at] + checksum(frame[start:]) + frame[at + 2 :] if start else frame)
    return done


@cocotb.test()
async def segments_and_what_passes_are_exact(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    rng = bench.rng
    for bench.pause, bench.stall in MANNERS:
        asks = []
        for mss in (*range(1, 18), 536, 1200, 1300):
            for payload in {1, mss, mss + 1, rng.randrange(1, 5 * mss + 1)}:
                asks.append(ask(tx_frames.tcp_segments(rng, payload, mss)))
            asks.append(ask(tx_frames.packet(rng, rng.randrange(1, 60))))
            asks.append(ask(tx_frames.plain(rng, rng.randrange(1, 99))))
            asks.append(ask(tx_frames.plain(rng, 20), status=CplStatus.BAD_LENGTH))
        rng.shuffle(asks)
        out = await bench.run(asks)
        assert finished(out.frames, asks) == due(asks)
        assert out.statuses == [each.status for each in asks]
        assert out.stamps == [int(each.status is CplStatus.OK) for each in asks]
        assert not any(out.discards)
        counts = [len(each.frame.wire) for each in asks if each.status is CplStatus.OK]
        assert out.firsts == [int(n == 0) for count in counts for n in range(count)]


@cocotb.test()
async def every_alignment_of_header_and_segment_is_exact(dut: Any) -> None:
    """Header lengths and segment sizes modulo a word, all pairs."""
    bench = Bench(dut)
    await bench.start()
    asks = []
    for tags in range(3):
        for options in range(3):
            link = bytes(12) + b"\x81\x00\x01\x23" * tags + b"\x08\x00"
            for middle in (b"", bytes(4)):
                headers = tx_frames.Headers(link, 4, middle, 6, bytes(range(8)), 0xFFFF)
                for mss in range(1, 18):
                    payload = 3 * mss + mss // 2
                    asks.append(
                        ask(
                            tx_frames.tcp_segments(
                                bench.rng, payload, mss, options=options, headers=headers
                            )
                        )
                    )
    out = await bench.run(asks)
    assert finished(out.frames, asks) == due(asks)


@cocotb.test()
async def an_error_discards_what_follows_and_is_told(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    rng = bench.rng
    codes = {2: CplStatus.DATA_SLVERR, 3: CplStatus.DATA_DECERR}
    for _ in range(60):
        frame = rng.choice(
            (
                tx_frames.plain(rng, rng.randrange(1, 99)),
                tx_frames.tcp_segments(rng, rng.randrange(1, 900), rng.choice((9, 64, 300))),
            )
        )
        count = -(-len(frame.data) // 8)
        bad = ask(frame, resp=rng.choice((2, 3)), resp_at=rng.randrange(count))
        good = ask(tx_frames.tcp_segments(rng, 100, 64))
        out = await bench.run([bad, good])
        assert out.statuses == [codes[bad.resp], CplStatus.OK]
        total = len(frame.wire)
        assert len(out.discards) == total + 2 and out.discards[-2:] == [0, 0]
        assert out.discards[:total] == sorted(out.discards[:total]) and out.discards[total - 1]
        kept = out.discards[:total].count(0)
        assert out.stamps == [int(kept > 0), 1], "the first segment has left, or not"
        clean = ask(TxFrame(frame.data, frame.csum_start, frame.csum_offset, mss=frame.mss,
                            wire=frame.wire[:kept] or (b"",)))  # fmt: skip
        if kept:
            assert finished(out.frames[:kept], [clean]) == list(frame.wire[:kept])


@cocotb.test()
async def whichever_word_is_bad_a_stamp_is_due_if_the_first_segment_has_left(dut: Any) -> None:
    """Else the completion would wait for it for ever."""
    bench = Bench(dut)
    await bench.start()
    for mss in (16, 61, 64):
        frame = tx_frames.tcp_segments(bench.rng, 3 * mss, mss)
        for at in range(-(-len(frame.data) // 8)):
            out = await bench.run([ask(frame, resp=2, resp_at=at)])
            assert out.statuses == [CplStatus.DATA_SLVERR]
            assert out.stamps == [int(not out.discards[0])], f"mss {mss}, word {at}"


@cocotb.test()
async def a_header_that_leaves_no_payload_is_refused(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    good = ask(tx_frames.tcp_segments(bench.rng, 100, 64))
    for missing in (0, 1, 9):
        frame = tx_frames.tcp_segments(bench.rng, 100, 64)
        header = frame.csum_start + 4 * (frame.data[frame.csum_start + 12] >> 4)
        bad = ask(replace(frame, data=frame.data[: header - missing]))
        out = await bench.run([bad, good])
        assert out.statuses == [CplStatus.BAD_LENGTH, CplStatus.OK]
        assert finished(out.frames, [good]) == due([good])


@cocotb.test()
async def a_long_frame_takes_a_clock_a_word_and_one_header_more(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    headers = tx_frames.Headers(bytes(12) + b"\x08\x00", 4, b"", 6, bytes(8), 1)
    frame = tx_frames.tcp_segments(bench.rng, 65160, 1448, options=3, headers=headers)
    out = await bench.run([ask(frame)])
    total = sum(-(-len(wire) // 8) for wire in frame.wire)
    assert total < out.clocks <= total + len(headers.build(0)) // 8 + 24


@pytest.mark.parametrize("sim", SIMS)
def test_tx_segment(sim: str) -> None:
    design = Design("tx_segment", nic_sources(), {})
    simulate(design, __name__, sim=sim, seed=SEED).check()
