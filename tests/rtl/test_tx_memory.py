"""tx_read, tx_landing and tx_complete: jobs that fit, data in their order, one completion each."""

from __future__ import annotations

import os
import random
from collections import deque
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly, Timer
from conftest import SEED, SIMS
from tx_stream import Word, frame_bits
from wire_side_common import Beat, beats, start_clock_and_reset

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from wire2app.simulator import Design, nic_sources, simulate

TOP = os.environ.get("TX_TOP", "")
WIDTH = int(os.environ.get("TX_WIDTH", "128"))
BEAT = WIDTH // 8
LANDING, MOST = 8192, 2048  # bytes of the store, and of a job


def of_module(top: str) -> Any:
    return cocotb.test(skip=top != TOP)


# ---------------------------------------------------------------- tx_read


@of_module("tx_read")
async def fragments_become_jobs_that_fit(dut: Any) -> None:
    rng = random.Random(SEED)
    await start_clock_and_reset(
        dut, fragment_valid=0, fragment_addr=0, fragment_len=0, fragment_long=0, frame_push=0,
        frame=0, told_full=0, job_ready=0, row_freed=0,
    )  # fmt: skip
    frames: deque[list[tuple[int, int]]] = deque()
    fragments: deque[tuple[int, int]] = deque()
    bits: deque[int] = deque()
    due, cuts = [], 0
    for number in range(40):
        count = rng.choice((1, 1, 2, 5, 24))
        lengths = (1, 60, 2047, 2048, 2049, 5000) if number else (65535,)
        parts = [(rng.getrandbits(40), rng.choice(lengths)) for _ in range(count)]
        bad = rng.random() < 0.2
        cut = int(rng.random() < 0.3)
        cuts += cut
        bits.append(frame_bits(fragments=count, status=5 if bad else 0, segment=cut))
        frames.append(parts)
        fragments.extend(parts)
        for part, (addr, length) in enumerate([] if bad else parts):
            for at in range(0, length, MOST):
                ends = part == count - 1 and at + MOST >= length
                due.append((addr + at, min(MOST, length - at), int(ends)))
    jobs: list[tuple[int, int, int]] = []
    used, told, resumed = 0, 0, 0
    for _ in range(100_000):
        await FallingEdge(dut.clk)
        dut.told_full.value, dut.job_ready.value = int(rng.random() < 0.2), rng.getrandbits(1)
        await Timer(1, "ps")
        push = bool(bits) and not int(dut.frame_full.value)
        dut.frame_push.value = int(push)
        dut.fragment_valid.value = int(bool(fragments))
        if bits:
            dut.frame.value = bits[0]
        if fragments:
            dut.fragment_addr.value, dut.fragment_len.value = fragments[0]
            dut.fragment_long.value = int(fragments[0][1] > MOST)
        freed = used > 0 and rng.random() < 0.9
        dut.row_freed.value = int(freed)
        await ReadOnly()
        used -= freed
        if int(dut.job_valid.value) and int(dut.job_ready.value):
            tag = int(dut.job_tag.value)
            jobs.append((int(dut.job_addr.value), int(dut.job_len.value), tag))
            used += -(-jobs[-1][1] // BEAT)
            assert used <= LANDING // BEAT, "promised more than there is"
        assert int(dut.busy.value) or not (int(dut.job_valid.value) or int(dut.resume.value))
        told += push
        resumed += int(dut.resume.value)
        if int(dut.fragment_pop.value):
            fragments.popleft()
        if push:
            bits.popleft()
        if not (bits or fragments or used or int(dut.busy.value)):
            break
    assert jobs == due and told == len(frames) and resumed == cuts


@of_module("tx_read")
async def after_a_reset_of_one_clock_all_of_the_store_is_free(dut: Any) -> None:
    await start_clock_and_reset(
        dut, fragment_valid=1, fragment_addr=0, fragment_len=65535, fragment_long=1, frame_push=0,
        frame=frame_bits(fragments=1), told_full=0, job_ready=1, row_freed=0,
    )  # fmt: skip
    for clocks in range(40):  # the reset comes so long after the frame
        jobs = 0
        for number in range(40 + clocks):
            await FallingEdge(dut.clk)
            dut.frame_push.value = int(number in (0, clocks + 1))
            dut.rst.value = int(number == clocks)
            await ReadOnly()
            if number == clocks + 1:
                assert not int(dut.busy.value)
                jobs = 0
            jobs += int(dut.job_valid.value)
        assert jobs == LANDING // MOST, clocks
        await FallingEdge(dut.clk)
        dut.rst.value = 1


# ---------------------------------------------------------------- tx_landing


@of_module("tx_landing")
async def beats_come_out_as_words_in_order(dut: Any) -> None:
    rng = random.Random(SEED)
    await start_clock_and_reset(
        dut, s_axis_tdata=0, s_axis_tkeep=0, s_axis_tvalid=0, s_axis_tlast=0, s_axis_tresp=0,
        s_axis_tuser=0, word_ready=0,
    )  # fmt: skip
    stream: deque[tuple[Beat, int, int]] = deque()
    due: list[Word] = []
    for length in (*range(1, 140), 2048, 1500):
        data, ends = rng.randbytes(length), rng.getrandbits(1)
        for number, beat in enumerate(beats(data, BEAT)):
            resp = rng.choice((0, 0, 0, 2, 3))
            stream.append((beat, ends, resp))
            part = data[number * BEAT : (number + 1) * BEAT]
            for at in range(0, len(part), 8):
                piece = part[at : at + 8]
                final = beat.last and at + 8 >= len(part)
                due.append({
                    "word": int.from_bytes(piece, "little"), "word_bytes": len(piece),
                    "word_last": int(final and ends), "word_resp": resp,
                })  # fmt: skip
    found: list[Word] = []
    rows, taken = LANDING // BEAT, 0
    for _ in range(50_000):
        await FallingEdge(dut.clk)
        slow = len(found) < len(due) // 2
        valid = bool(stream) and rows > 0 and rng.random() < 0.9
        dut.s_axis_tvalid.value = int(valid)
        if valid:
            beat, ends, resp = stream[0]
            dut.s_axis_tdata.value, dut.s_axis_tkeep.value = beat.data, beat.keep
            dut.s_axis_tlast.value, dut.s_axis_tresp.value = int(beat.last), resp
            dut.s_axis_tuser.value = ends
        ready = rng.random() < (0.3 if slow else 1)
        dut.word_ready.value = int(ready)
        await ReadOnly()
        assert int(dut.busy.value) or taken == len(found), "words are in it"
        if valid:
            taken += -(-beat.keep.bit_count() // 8)
            stream.popleft()
        rows += int(dut.row_freed.value) - valid
        if ready and int(dut.word_valid.value):
            found.append({name: int(getattr(dut, name).value) for name in due[0]})
            mask = (1 << 8 * found[-1]["word_bytes"]) - 1
            found[-1]["word"] &= mask
        if len(found) == len(due) and not stream:
            break
    assert found == due
    await FallingEdge(dut.clk)
    assert not int(dut.busy.value) and rows == LANDING // BEAT


# ---------------------------------------------------------------- tx_complete


class Completions:
    """The block between descriptors that were taken, results and stamps, and a writer.

    A result is (status, fragments, stamped), with stamped 2 for a frame that is thrown away; the
    buffer tells of a frame to be stamped `delay` clocks after it, or when it likes.
    """

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.descs: deque[tuple[int, int, int]] = deque()
        self.results: deque[tuple[int, int, int]] = deque()
        self.found: list[tuple[int, ...]] = []
        self.sending = 1
        self.delay: int | None = None
        self.due: deque[list[int]] = deque()  # clocks, lost

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, desc_push=0, desc_queue=0, desc_index=0, desc_len=0, result_push=0,
            result_status=0, result_fragments=0, result_stamp=0, sending=1, stamp_push=0,
            stamp_told=0, stamp_lost=0, stamp=0, cpl_full=0, result_part=0,
        )  # fmt: skip

    async def clock(self, stamp: int | None = None) -> None:
        dut, rng = self.dut, self.rng
        await FallingEdge(dut.clk)
        dut.sending.value, dut.cpl_full.value = self.sending, int(rng.random() < 0.3)
        dut.stamp_push.value, dut.stamp.value = int(stamp is not None), stamp or 0
        known = bool(self.due) and self.due[0][0] <= 0
        dut.stamp_told.value = int(known)
        if known:
            dut.stamp_lost.value = self.due.popleft()[1]
        for entry in self.due:
            entry[0] -= 1
        push = bool(self.descs) and not int(dut.desc_full.value)
        dut.desc_push.value = int(push)
        if push:
            dut.desc_queue.value, dut.desc_index.value, dut.desc_len.value = self.descs.popleft()
        told = bool(self.results) and not int(dut.result_full.value) and not self.descs
        dut.result_push.value = int(told)
        if told:
            status, fragments, wish = self.results.popleft()
            dut.result_status.value, dut.result_fragments.value = status, fragments
            dut.result_stamp.value = int(wish > 0)
            dut.result_part.value = int(status == CplStatus.BAD_LENGTH and fragments == 3)
            if wish:
                delay = rng.randrange(4) if self.delay is None else self.delay
                self.due.append([delay, int(wish == 2)])
        await ReadOnly()
        if int(dut.cpl_push.value):
            assert not int(dut.cpl_full.value)
            index, length, code, flags, last = regs.TX_CPL.unpack(
                int(dut.cpl_entry.value).to_bytes(16, "little")
            )
            self.found.append((
                int(dut.cpl_queue.value), index, length, code & 15, flags, last,
                int(dut.cpl_last.value),
            ))  # fmt: skip


@of_module("tx_complete")
async def each_descriptor_completes_once_with_its_frames_status(dut: Any) -> None:
    bench = Completions(dut)
    await bench.start()
    rng = bench.rng
    due = []
    for number in range(60):
        count, status = rng.choice((1, 1, 3, 24)), rng.choice((0, 0, 1, 5))
        queue = rng.getrandbits(1)
        for part in range(count):
            bench.descs.append((queue, number, 100 + part))
            counted = part == count - 1 and not (status == CplStatus.BAD_LENGTH and count == 3)
            due.append((queue, number, 100 + part, status, 0, 0, int(counted)))
        bench.results.append((status, count, 0))
        while bench.descs or bench.results:
            await bench.clock()
    while int(dut.busy.value):
        await bench.clock()
    assert bench.found == due


@of_module("tx_complete")
async def a_stamp_goes_to_the_frame_it_is_of(dut: Any) -> None:
    """Also when the transmitter was off for a while, and stamps come that nobody waits for."""
    bench = Completions(dut)
    await bench.start()
    for number in range(200):
        bench.descs += [(0, number, 1), (0, number, 2)]
        status = bench.rng.choice((0, 0, 0, 5))
        bench.sending = int(number % 5 != 3)
        waits = status == CplStatus.OK or bench.rng.random() < 0.5  # a first segment has left
        bench.results.append((status, 2, int(waits)))
        for _ in range(bench.rng.randrange(20, 30)):
            await bench.clock()
        before = len(bench.found)
        if waits and bench.sending:
            assert before % 2 == 1, "the last descriptor does not wait"
        if not bench.sending or not waits:
            assert before % 2 == 0, "it waits though nothing will come"
        bench.sending = 1
        if waits:
            await bench.clock(stamp=1000 + number)
        for _ in range(12):
            await bench.clock()
        valid = int(waits and number % 5 != 3)
        assert bench.found[-2:] == [
            (0, number, 1, status, 0, 0, 0),
            (0, number, 2, status, valid, valid * (1000 + number), 1),
        ]
        assert not int(dut.busy.value)


@of_module("tx_complete")
async def a_stamp_in_the_clock_that_gives_it_up_is_dropped(dut: Any) -> None:
    """Whenever the transmitter is switched off round the frame's start."""
    bench = Completions(dut)
    await bench.start()
    for early in range(8):
        bench.found.clear()
        for number in range(2):
            bench.descs.append((0, number, 1))
            bench.results.append((0, 1, 1))
            for _ in range(10):
                await bench.clock()
            for at in range(8):
                bench.sending = int(number > 0 or at < early)
                await bench.clock(stamp=500 + number if at == 4 else None)
            bench.sending = 1
            for _ in range(10):
                await bench.clock()
        assert bench.found[1][4:6] == (1, 501), f"off from clock {early} on"


@of_module("tx_complete")
async def a_stamp_that_is_lost_is_waited_for_by_nobody(dut: Any) -> None:
    """Its frame is swallowed while the transmitter is off, at once or later; its completion waits
    until that is known."""
    bench = Completions(dut)
    await bench.start()
    for early in range(12):
        bench.found.clear()
        bench.sending, bench.delay = 0, early
        bench.descs += [(0, number, 1) for number in range(3)]
        bench.results += [(0, 1, 2)] * 3
        while not bench.due:
            await bench.clock()
        first = bench.due[0]
        while bench.due and bench.due[0] is first:
            assert not bench.found
            await bench.clock()
        for _ in range(60):
            await bench.clock()
        bench.sending = 1
        for number in (3, 4):
            bench.descs.append((0, number, 1))
            bench.results.append((0, 1, 1))
            for _ in range(20):
                await bench.clock()
            await bench.clock(stamp=700 + number)
            for _ in range(20):
                await bench.clock()
        assert [entry[1:6:3] for entry in bench.found] == [
            (0, 0), (1, 0), (2, 0), (3, 1), (4, 1),
        ], early  # fmt: skip
        assert [entry[5] for entry in bench.found[3:]] == [703, 704]
        assert not int(dut.busy.value)


@of_module("tx_complete")
async def a_stamp_of_an_older_frame_is_not_that_of_one_thrown_away(dut: Any) -> None:
    """A frame waits in the buffer, the next is swallowed, and the transmitter is on again before
    anybody has given up on the first."""
    bench = Completions(dut)
    await bench.start()
    for off in range(1, 20):
        bench.found.clear()
        for at in range(40):
            bench.sending = int(at >= off)
            if at == 0:
                bench.descs += [(0, number, 1) for number in range(2)]
                bench.results += [(0, 1, 1), (0, 1, 2)]
            await bench.clock()
        await bench.clock(stamp=800)
        for _ in range(20):
            await bench.clock()
        bench.descs.append((0, 2, 1))
        bench.results.append((0, 1, 1))
        for _ in range(20):
            await bench.clock()
        await bench.clock(stamp=802)
        for _ in range(20):
            await bench.clock()
        stamps = [entry[5] for entry in bench.found]
        assert stamps in ([0, 0, 802], [800, 0, 802]), f"off for {off} clocks"
        assert not int(dut.busy.value)


PARAMETERS: dict[str, dict[str, int]] = {
    "tx_read": {"DataW": 128},
    "tx_landing": {"DataW": 128},
    "tx_complete": {},
}


@pytest.mark.parametrize("top", PARAMETERS)
@pytest.mark.parametrize("sim", SIMS)
def test_tx_memory(sim: str, top: str) -> None:
    design = Design(top, nic_sources(), PARAMETERS[top])
    simulate(design, __name__, sim=sim, seed=SEED, env={"TX_TOP": top}).check()


@pytest.mark.parametrize("width", [64, 512])
def test_tx_landing_of_other_widths(width: int) -> None:
    design = Design("tx_landing", nic_sources(), {"DataW": width})
    env = {"TX_TOP": "tx_landing", "TX_WIDTH": str(width)}
    simulate(design, __name__, sim=SIMS[0], seed=SEED, env=env).check()
