"""mac_rx: frames from XGMII words, one verdict each, against a lane-by-lane model of the rules."""

from __future__ import annotations

import logging
import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from cocotbext.eth import XgmiiFrame as EthFrame
from cocotbext.eth import XgmiiSource
from conftest import SEED, SIMS
from mac_rx_common import Receiver, check, model, reset, run_and_check
from wire_side_common import (
    BAD_FCS,
    CODED_ERROR,
    ERROR,
    IDLE,
    LOCAL_FAULT,
    OK,
    OVERSIZE,
    PREAMBLE,
    REMOTE_FAULT,
    RUNT,
    SEQUENCE,
    START,
    TERMINATE,
    XgmiiLine,
    fcs,
)

from wire2app.simulator import Design, nic_sources, simulate


@cocotb.test(stage=1)  # takes longest: last
async def every_length_arrives_whole(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    sent = [rng.randbytes(length) for length in range(60, 1519)]
    for data in sent:
        line.frame(data, rng.choice((0, 4)), gap=rng.choice((5, 9, 12)))
    assert await Receiver(dut).run(line) == [(data, OK) for data in sent]


@cocotb.test()
async def every_start_and_terminate_lane_with_any_gap(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    sent = []
    for gap in range(1, 17):  # 1: the start is in the column after the terminate
        for _ in range(2):
            for length in range(60, 69):
                sent.append(rng.randbytes(length))
                line.frame(sent[-1], gap=gap)
    assert await Receiver(dut).run(line) == [(data, OK) for data in sent]


@cocotb.test()
async def any_wrong_bit_is_a_bad_fcs(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    for length in range(60, 68):
        data = rng.randbytes(length)
        good = data + fcs(data)
        bits = [*range(8 * length, 8 * length + 32), *rng.sample(range(8 * length), 20)]
        for bit in bits:
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            line.idle(11)
            line.align(0, 4)
            line.raw(bytes(bad))
        line.frame(data)
    verdicts = await run_and_check(dut, line)
    assert verdicts == ([BAD_FCS] * 52 + [OK]) * 8


@cocotb.test()
async def fragments_and_runts_of_0_to_63_bytes_are_runts(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    for lane in (0, 4):
        for length in range(64):
            data = rng.randbytes(max(0, length - 4))
            line.align(lane)
            line.raw((data + fcs(data))[:length] if length >= 4 else rng.randbytes(length))
            line.idle(rng.choice((0, 4, 12)))
            if length % 3 == 0:
                line.frame(rng.randbytes(60), gap=5)
    verdicts = await run_and_check(dut, line)
    assert verdicts.count(RUNT) == 128 and verdicts.count(OK) == 44


@cocotb.test(stage=1)  # takes longest: last
async def max_frame_is_the_longest_and_oversize_does_not_flood(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut, 100)
    receiver = Receiver(dut)
    for limit in (100, 103, 1514, 9018):
        dut.cfg_max_frame.value = limit
        line = XgmiiLine()
        for lane in (0, 4):
            for length in (limit - 1, limit, limit + 1, limit + 2, limit + 9, 2 * limit, limit):
                line.frame(rng.randbytes(length), lane)
        got = await receiver.run(line)
        check(got, model(line, limit))
        assert [v for _, v in got] == [OK, OK, *[OVERSIZE] * 4, OK] * 2
        assert all(len(data) <= limit + 8 for data, _ in got)
    dut.cfg_max_frame.value = 0xFFFF
    line = XgmiiLine()
    line.frame(rng.randbytes(0xFFFF))
    line.frame(rng.randbytes(0x20000 + 100))
    assert [v for _, v in await receiver.run(line)] == [OK, OVERSIZE]
    assert len(receiver.frames[0][0]) == 0xFFFF


@cocotb.test()
async def an_error_character_at_any_position_is_a_coded_error(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    good = 0
    for length in range(64, 81):
        data = rng.randbytes(length - 4)
        for position in range(1, 8 + length):
            line.align(rng.choice((0, 4)))
            at = len(line.data) + position
            line.raw(data + fcs(data))
            line.data[at], line.control[at] = ERROR, 1
            line.idle(rng.choice((3, 11)))
            if position % 16 == 0:
                line.frame(data)
                good += 1
    verdicts = await run_and_check(dut, line)
    assert verdicts.count(OK) == good and set(verdicts) == {OK, CODED_ERROR}


@cocotb.test()
async def unexpected_control_at_any_position_is_a_coded_error(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    for code in (IDLE, SEQUENCE, 0x06, START):
        for position in range(1, 8 + 68):
            if code == START and position % 4 == 0:
                continue  # that is a start
            data = rng.randbytes(64)
            line.align(rng.choice((0, 4)))
            at = len(line.data) + position
            line.raw(data + fcs(data))
            line.data[at], line.control[at] = code, 1
            line.frame(data)
    verdicts = await run_and_check(dut, line)
    assert verdicts == [CODED_ERROR, OK] * (len(verdicts) // 2)


@cocotb.test()
async def a_start_inside_a_frame_ends_it_and_begins_the_next(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    for lane in (0, 4):
        for length in range(0, 72, 4):
            first, second = rng.randbytes(length), rng.randbytes(60 + length % 7)
            line.idle(8)
            line.align(lane)
            line.start()
            line.body(first)
            line.raw(second + fcs(second))
    got = await Receiver(dut).run(line)
    assert [v for _, v in got] == [CODED_ERROR, OK] * 36
    check(got, model(line))


@cocotb.test()
async def a_start_inside_a_preamble_is_one_coded_error(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    for lane in (0, 4):
        for cut_starts in (1, 2, 3):
            line.frame(rng.randbytes(60), lane)
            line.align(0, 4)
            for _ in range(cut_starts):
                line.symbols(PREAMBLE[:4], [1, 0, 0, 0])
            line.frame(rng.randbytes(60), gap=0)
            line.frame(rng.randbytes(60))
    verdicts = await run_and_check(dut, line)
    assert verdicts == [OK, CODED_ERROR, OK] * 6


@cocotb.test()
async def the_worst_verdict_wins(dut: Any) -> None:
    await reset(dut, 100)
    line = XgmiiLine()
    for length in (8, 63, 100, 300):
        for code in (None, ERROR):
            line.align(0)
            at = len(line.data) + 12
            line.raw(bytes(length))  # the FCS is wrong in all
            if code:
                line.data[at], line.control[at] = code, 1
            line.idle(8)
    expected = [RUNT, CODED_ERROR] * 2 + [BAD_FCS, CODED_ERROR] + [OVERSIZE, CODED_ERROR]
    assert await run_and_check(dut, line, 100) == expected


@cocotb.test()
async def random_lanes_match_the_model(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut, 80)
    line = XgmiiLine()
    controls = (IDLE, IDLE, START, TERMINATE, ERROR, SEQUENCE)
    for _ in range(1500):
        data = rng.randbytes(rng.choice((60, 64, 77, rng.randrange(90))))
        line.frame(data, gap=rng.choice((0, 1, 5, 12)))
        begin = len(line.data) - len(data) - 13
        for _ in range(rng.choice((0, 0, 1, 2))):
            at = rng.randrange(begin, len(line.data))
            if rng.random() < 0.4:
                at &= ~3
            line.data[at] = rng.choice((*controls, line.data[at] ^ 1))
            line.control[at] = line.data[at] in controls
    verdicts = await run_and_check(dut, line, 80)
    assert set(verdicts) == {OK, BAD_FCS, RUNT, OVERSIZE, CODED_ERROR}


@cocotb.test()
async def ordered_sets_between_frames_do_no_harm(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await reset(dut)
    line = XgmiiLine()
    sent = []
    for _ in range(200):
        for _ in range(rng.randrange(4)):
            line.ordered_set(rng.choice((LOCAL_FAULT, REMOTE_FAULT, bytes([SEQUENCE, 9, 9, 9]))))
        sent.append(rng.randbytes(rng.randrange(60, 90)))
        line.frame(sent[-1], gap=rng.choice((0, 5, 12)))
    assert await Receiver(dut).run(line) == [(data, OK) for data in sent]


@cocotb.test()
async def frames_of_cocotbext_eth_arrive(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    source = XgmiiSource(dut.xgmii_rxd, dut.xgmii_rxc, dut.clk, dut.rst)
    source.log.setLevel(logging.WARNING)
    await reset(dut)
    sent = [rng.randbytes(rng.randrange(60, 200)) for _ in range(100)]
    for data in sent:
        await source.send(EthFrame.from_payload(data))
    receiver = Receiver(dut)
    for _ in range(4000):
        await RisingEdge(dut.clk)
        receiver.sample()
        if len(receiver.frames) == len(sent):
            break
    assert receiver.frames == [(data, OK) for data in sent]


@pytest.mark.parametrize("sim", SIMS)
def test_mac_rx(sim: str) -> None:
    simulate(Design("mac_rx", nic_sources()), __name__, sim=sim, seed=SEED).check()
