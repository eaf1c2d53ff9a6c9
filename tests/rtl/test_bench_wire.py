"""The bench's wire: what its sender sends its receiver gets, and cocotbext-eth agrees."""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb
import pytest
from bench_probe import BUSES, CORRUPT_WIRE, MISBEHAVE, probe
from cocotb.triggers import Timer
from cocotbext.eth import XgmiiFrame, XgmiiSink, XgmiiSource
from conftest import SEED, SIMS

from tb.bench import Bench
from tb.pins.flags import PERIOD_PS
from tb.pins.xgmii_code import PREAMBLE, Defect, GapChecker, GapKeeper, encode
from tb.reports import BenchError
from wire2app.simulator import simulate

LANE_PS = PERIOD_PS // 8
# BUS=fast has no XGMII pins for another sender; the tests above hold it to the same rules.
FAST = os.environ.get("COCOTB_TOPLEVEL") == "fast_top"
on_pins = cocotb.test(skip=FAST)


async def exchange(bench: Bench, frames: list[bytes]) -> list[tuple[bytes, int, int]]:
    """Send frames through the loop; what arrived, with times."""
    arrived: list[tuple[bytes, int, int]] = []
    bench.wire.on_receive(lambda *values: arrived.append(values))
    for frame in frames:
        bench.wire.send(frame)
    limit = bench.engine.now + 1000 + sum(len(frame) + 100 for frame in frames)
    await bench.engine.run(stop=lambda: len(arrived) == len(frames), until=limit)
    return arrived


@cocotb.test()
async def every_length_arrives_padded_and_at_line_rate(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    rng = random.Random(1)
    frames = [rng.randbytes(length) for length in (*range(1, 200), *range(1490, 1519))]
    arrived = await exchange(bench, frames)
    assert [frame for frame, _, _ in arrived] == [frame.ljust(60, b"\0") for frame in frames]
    lanes = sum(max(len(frame), 60) + 8 + 4 + 12 for frame in frames)
    took = arrived[-1][2] - arrived[0][1]
    assert abs(took - lanes * LANE_PS / 1000) < 3 * PERIOD_PS / 1000
    bench.check()


@cocotb.test()
async def on_sent_is_called_when_the_last_column_has_passed(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    sent: list[int] = []
    begin = bench.engine.now
    bench.wire.send(bytes(60), lambda: sent.append(bench.engine.now))
    bench.wire.send(bytes(1514), lambda: sent.append(bench.engine.now))
    await bench.engine.run(stop=lambda: len(sent) == 2, until=begin + 5000)
    # 72 lanes are 9 columns and one for the terminate character; 1526 more, with the gap.
    assert 64 <= sent[0] - begin <= 64 + 20
    assert abs(sent[1] - sent[0] - (1526 + 12) * LANE_PS / 1000) <= 7


@cocotb.test()
async def defects_are_what_they_say(dut: Any) -> None:
    cases = [
        (Defect(fcs_xor=1), "fcs", "frame of 64 bytes with FCS"),
        (Defect(error_at=20), "xgmii", "error character, in column 3"),
        (Defect(pad=False, cut_to=30), "xgmii", "frame of 26 bytes without FCS is a runt"),
        (Defect(cut_to=0), "xgmii", "frame of 0 bytes without FCS is a runt"),
        (Defect(cut_to=40, terminate=False), "xgmii", "does not end a frame, in column 6"),
        (Defect(preamble=PREAMBLE[:7] + b"\xd4"), "xgmii", "preamble is fb5555555555" + "55d4"),
    ]
    bench = Bench(dut)
    await bench.start()
    bench.reports.expected |= {"xgmii", "fcs"}
    for defect, kind, text in cases:
        before = len(bench.reports.seen)
        bench.bus.wire.send(bytes(range(64)), None, defect)
        assert len(await exchange(bench, [bytes(60)])) >= 1
        found = bench.reports.seen[before:]
        assert found[0].kind == kind and text in found[0].text, (defect, found)


@cocotb.test()
async def raw_columns_pass_as_given_and_ordered_sets_are_no_error(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    local_fault = 0x0707_0707_0100_009C
    bench.bus.wire.send_columns([(local_fault, 0xF1)] * 3)
    await bench.engine.run(until=bench.engine.now + 200)
    assert bench.bus.wire.ordered_sets == 3
    bench.check()
    bench.bus.wire.send_columns([(0x0707_0707_0707_07FB, 0xFF)])
    with pytest.raises(BenchError, match="column fb07070707070707/ff outside a frame"):
        await bench.engine.run(until=bench.engine.now + 200)


@cocotb.test()
async def a_bit_spoilt_in_the_nic_is_found_by_the_fcs(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    await bench.write32(MISBEHAVE, CORRUPT_WIRE)
    with pytest.raises(BenchError, match="fcs: frame of 100 bytes"):
        await exchange(bench, [bytes(100)])


@cocotb.test()
async def a_gap_that_is_too_short_is_reported(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    await exchange(bench, [bytes(60)] * 5)
    bench.check()
    bench.bus.wire.ifg = 8
    with pytest.raises(BenchError, match="inter-frame gap of 8 bytes, deficit 4 above 3"):
        await exchange(bench, [bytes(60)] * 3)


@cocotb.test()
async def a_frame_sent_before_the_start_is_lost_and_the_clock_runs(dut: Any) -> None:
    bench = Bench(dut)
    bench.wire.send(bytes(60))
    await bench.start()
    frame = bytes(range(100))
    assert [got for got, _, _ in await exchange(bench, [frame])] == [frame]


@cocotb.test(skip=not FAST)
async def a_closed_bench_leaves_the_clock_alone(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    bench.bus.close()
    await Timer(1, "us")
    before = bench.cycles
    bench.wire.send(bytes(60))
    await Timer(1, "us")
    assert bench.cycles == before


@cocotb.test(skip=not FAST)
async def a_frame_longer_than_the_models_take_is_reported(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    bench.wire.send(bytes((1 << 20) + 1))
    with pytest.raises(BenchError, match="frame of 1048577 bytes is more than BUS=fast takes"):
        await bench.engine.run(until=bench.engine.now + 1_000_000)


@on_pins
async def cocotbext_eth_receives_what_the_bench_sends(dut: Any) -> None:
    bench = Bench(dut, idle_skip=False)
    sink = XgmiiSink(dut.xgmii_txd, dut.xgmii_txc, dut.sample, dut.rst)
    await bench.start()
    rng = random.Random(2)
    frames = [rng.randbytes(rng.randrange(60, 300)) for _ in range(60)]
    arrived = await exchange(bench, frames)
    await bench.engine.run(until=bench.engine.now + 50)
    lanes = set()
    for frame, (_, start, end) in zip(frames, arrived, strict=True):
        got = sink.recv_nowait()
        # It notes moments inside the first and the last column, to the lane; ours are whole ns.
        assert 0 <= got.sim_time_start - 1000 * start <= PERIOD_PS + 1000
        assert abs(1000 * end - got.sim_time_end) <= PERIOD_PS + 1000
        assert got.check_fcs() and bytes(got.get_payload()) == frame
        lanes.add(got.start_lane)
    assert lanes == {0, 4} and sink.empty()


@on_pins
async def the_bench_receives_what_cocotbext_eth_sends(dut: Any) -> None:
    bench = Bench(dut, idle_skip=False)
    bench.reports.expected.add("xgmii")
    source = XgmiiSource(dut.xgmii_rxd, dut.xgmii_rxc, dut.sample, dut.rst)
    await bench.start()
    await bench.engine.run(until=bench.engine.now + 100)
    bench.reports.expected.clear()
    bench.reports.seen.clear()  # the source drives all zeros before its first edge
    rng = random.Random(3)
    frames = [rng.randbytes(rng.randrange(60, 300)) for _ in range(60)]
    arrived: list[bytes] = []
    bench.wire.on_receive(lambda frame, start, end: arrived.append(frame))
    for frame in frames:
        source.send_nowait(XgmiiFrame.from_payload(frame))
    await bench.engine.run(stop=lambda: len(arrived) == 60, until=bench.engine.now + 20_000)
    assert arrived == frames
    bench.check()


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("bus", BUSES)
def test_bench_wire(sim: str, bus: str) -> None:
    simulate(probe(bus), __name__, sim=sim, seed=SEED, timeout_seconds=60).check()


def test_gaps_average_twelve_and_the_checker_agrees() -> None:
    rng = random.Random(4)
    keeper, checker = GapKeeper(), GapChecker()
    end = free = total = 0
    for count in range(1, 2000):
        start = keeper.next_start(free)
        assert start % 4 == 0 and checker.problem(start) is None
        if count > 1:
            total += start - end
            assert abs(total - 12 * (count - 1)) <= 3
        _, offset = encode(bytes(rng.randrange(60, 200)), start % 8)
        end = start - start % 8 + offset
        keeper.ended(end)
        checker.ended(end)
        free = 8 * (end // 8 + 1)
