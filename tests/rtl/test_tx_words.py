"""tx_pack, tx_vlan and tx_checksum: each against Python, at full speed and held up at random."""

from __future__ import annotations

import os
import random
import struct
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from tx_frames import checksum
from tx_stream import Stream, Word, frame_bits, joined, words
from wire_side_common import start_clock_and_reset

from wire2app.simulator import Design, nic_sources, simulate

TOP = os.environ.get("TX_TOP", "")
MANNERS = ((0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.4, 0.4))


def of_module(top: str) -> Any:
    return cocotb.test(skip=top != TOP)


# ---------------------------------------------------------------- tx_pack


def pack_words(parts: list[bytes], resps: list[int]) -> list[Word]:
    found = []
    for number, part in enumerate(parts):
        some = words(part, filler=0xEE, resp=0)
        some[-1]["resp"] = resps[number]
        for word in some:
            word["last"] = int(word["last"] and number == len(parts) - 1)
        found += some
    return found


@of_module("tx_pack")
async def fragments_of_any_length_join(dut: Any) -> None:
    rng = random.Random(SEED)
    bench = Stream(
        dut, rng, ("data", "bytes", "last", "resp"),
        s_data=0, s_bytes=8, s_last=0, s_resp=0, s_valid=0, m_ready=0,
    )  # fmt: skip
    await bench.start()
    shapes = [(a, b, c) for a in range(1, 18) for b in range(1, 18) for c in (1, 9)]
    for bench.pause, bench.stall in MANNERS:
        some = shapes if not bench.pause else rng.sample(shapes, 80)
        frames = [[rng.randbytes(length) for length in shape] for shape in some]
        frames += [[rng.randbytes(rng.randrange(1, 60)) for _ in range(24)] for _ in range(10)]
        resps = [[rng.choice((0, 0, 0, 2, 3)) for _ in frame] for frame in frames]
        stream = [w for f, r in zip(frames, resps, strict=True) for w in pack_words(f, r)]
        found = await bench.run(stream)
        assert joined(found) == [b"".join(parts) for parts in frames]
        assert [word["resp"] for word in found if word["last"]] == [max(r) for r in resps]
        assert not int(dut.busy.value)


@of_module("tx_pack")
async def a_frame_of_whole_words_takes_a_clock_a_word(dut: Any) -> None:
    bench = Stream(
        dut, random.Random(SEED), ("data", "bytes", "last"),
        s_data=0, s_bytes=8, s_last=0, s_resp=0, s_valid=0, m_ready=0,
    )  # fmt: skip
    await bench.start()
    stream = [w for _ in range(20) for w in pack_words([bytes(64), bytes(60)], [0, 0])]
    before = bench.clocks
    assert len(await bench.run(stream, quiet=3)) == len(stream)
    assert bench.clocks - before <= len(stream) + 5


# ---------------------------------------------------------------- tx_vlan


@of_module("tx_vlan")
async def a_tag_goes_behind_the_addresses(dut: Any) -> None:
    rng = random.Random(SEED)
    bench = Stream(
        dut, rng,
        ("data", "bytes", "last", "discard", "stamp", "checksum", "csum_start", "csum_at"),
        frame=0, s_data=0, s_bytes=8, s_last=0, s_discard=0, s_stamp=0, s_valid=0, m_ready=0,
    )  # fmt: skip
    await bench.start()
    for bench.pause, bench.stall in MANNERS:
        stream, due = [], []
        for length in (*range(14, 60), *range(1, 14), 1514):
            tagged = length >= 14 and rng.random() < 0.7
            tci, start, offset = rng.getrandbits(16), rng.choice((0, 7, 127)), rng.getrandbits(4)
            frame = frame_bits(
                vlan_insert=int(tagged), vlan_tci=tci, csum_start=start, csum_offset=offset
            )
            data, discard, stamp = rng.randbytes(length), rng.getrandbits(1), rng.getrandbits(1)
            stream += words(data, frame=frame, discard=discard, stamp=stamp)
            tag = struct.pack(">HH", 0x8100, tci) if tagged else b""
            shift = len(tag) // 2
            side = (discard, stamp, int(start != 0), start + shift, start + offset + shift)
            due.append((data[:12] + tag + data[12:], side))
        found = await bench.run(stream)
        ends = [tuple(word[n] for n in bench.outputs[3:]) for word in found if word["last"]]
        assert list(zip(joined(found), ends, strict=True)) == due
        assert not int(dut.busy.value)


# ---------------------------------------------------------------- tx_checksum


@of_module("tx_checksum")
async def sums_come_in_order_and_a_sum_of_zero_as_ffff(dut: Any) -> None:
    rng = random.Random(SEED)
    await start_clock_and_reset(dut, valid=0, data=0, bytes=8, last=0, wanted=0, start=0)
    results: list[int] = []

    stream: list[Word | None] = []
    due = []
    carry = bytes.fromhex("ffffffff0100")  # its sum has a carry in the second fold, too
    for length in (*range(1, 50), 1514, 9018, 300, 40, len(carry)):
        start = min(rng.choice((0, 1, 7, 17, 129)), (length - 1) // 2)
        data = rng.choice((rng.randbytes(length), b"\xff" * length, bytes(length)))
        wanted = int(rng.random() < 0.7)
        if length == len(carry):
            data, start, wanted = carry, 0, 1
        for word in words(data, filler=0x5A):
            stream += [None] * (rng.random() < 0.1)
            stream.append({**word, "wanted": wanted, "start": start})
        if wanted:
            due.append(int.from_bytes(checksum(data[2 * start :]), "little"))
    for word in (*stream, *[None] * 8):
        await clock_checksum(dut, word)
        if int(dut.done.value):
            results.append(int(dut.checksum.value))
    assert results == due
    assert 0xFFFF in due


@of_module("tx_checksum")
async def a_sum_under_way_is_forgotten_by_a_reset_of_one_clock(dut: Any) -> None:
    await start_clock_and_reset(dut, valid=0, data=0, bytes=8, last=0, wanted=0, start=0)
    for early in range(8):
        stream = [{**word, "wanted": 1, "start": 0} for word in words(bytes(range(40)))]
        for word in [*stream, *[None] * early]:
            await clock_checksum(dut, word)
        await FallingEdge(dut.clk)
        dut.valid.value, dut.rst.value = 0, 1
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        for _ in range(8):
            await ReadOnly()
            assert not int(dut.done.value), f"{early} clocks before the reset"
            await FallingEdge(dut.clk)


async def clock_checksum(dut: Any, word: Word | None) -> None:
    await FallingEdge(dut.clk)
    dut.valid.value = int(word is not None)
    for name in ("data", "bytes", "last", "wanted", "start"):
        if word is not None:
            getattr(dut, name).value = word[name]
    await ReadOnly()


@pytest.mark.parametrize("top", ["tx_pack", "tx_vlan", "tx_checksum"])
@pytest.mark.parametrize("sim", SIMS)
def test_tx_words(sim: str, top: str) -> None:
    design = Design(top, nic_sources(), {})
    simulate(design, __name__, sim=sim, seed=SEED, env={"TX_TOP": top}).check()
