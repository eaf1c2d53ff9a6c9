"""The bench notices what a device must not do: each rule is broken once, on purpose."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from bench_probe import (
    ADDR_HI,
    ADDR_LO,
    BUSES,
    BUSY,
    CHANGE_W,
    COMMAND,
    COMMAND_WRITE,
    DATA,
    EARLY_WLAST,
    FIRST_STRB,
    LAST_STRB,
    MISBEHAVE,
    RESULT,
    UNKNOWN_AW,
    WITHDRAW_AW,
    probe,
)
from cocotb.triggers import Timer
from conftest import SEED, SIMS

from pystack.core.dma import Direction
from tb.bench import Bench
from tb.pins.axi_checker import Burst, burst_problem, strobe_problem
from tb.pins.flags import PERIOD_PS
from tb.reports import BenchError
from tb.settings import BusSettings, Resp, Stalls
from wire2app.simulator import simulate


async def burst(bench: Bench, addr: int, beats: int, write: bool, data: int = 0) -> int:
    """One burst of the stand-in NIC; returns RESULT when it is over."""
    await bench.write32(ADDR_LO, addr & 0xFFFFFFFF)
    await bench.write32(ADDR_HI, addr >> 32)
    await bench.write32(DATA, data)
    await bench.write32(COMMAND, beats - 1 | (COMMAND_WRITE if write else 0) | 5 << 9)
    for _ in range(400):
        result = await bench.read32(RESULT)
        if not result & 1:
            return result
    raise AssertionError("the burst does not end")


@cocotb.test()
async def strobed_bytes_and_no_others_are_written(dut: Any) -> None:
    bench = Bench(dut, iommu=False)
    await bench.start()
    bench.memory.array[:] = 0xEE
    await bench.write32(FIRST_STRB, 0xFFF0)
    await bench.write32(LAST_STRB, 0x0A0F)  # with a hole
    await burst(bench, 0x10004, 3, True, data=0x11111111)
    words = [(0x11111111 + beat).to_bytes(4, "little") * 4 for beat in range(3)]
    words[0] = b"\xee" * 4 + words[0][4:]
    kept = [byte if 0x0A0F >> lane & 1 else 0xEE for lane, byte in enumerate(words[2])]
    words[2] = bytes(kept)
    assert bench.memory.read(0x10000, 64) == b"".join(words) + b"\xee" * 16
    bench.check()


@cocotb.test()
async def an_iommu_fault_names_mapping_and_packet_and_answers_slverr(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    bench.dma.map_single(0x10000, 64, Direction.FROM_DEVICE, "rx page 3")
    assert await burst(bench, 0x10000, 4, True) >> 1 & 3 == Resp.OKAY
    bench.wire.send(bytes(60))
    await bench.engine.run(until=bench.engine.now + 500)
    assert await burst(bench, 0x10000, 5, True) >> 1 & 3 == Resp.SLVERR
    with pytest.raises(BenchError) as caught:
        await bench.engine.run(until=bench.engine.now + 10)
    text = str(caught.value)
    assert "nic0: DMA write of [0x10000, 0x10050) refused at 0x10040" in text
    assert "0 bytes behind rx page 3" in text
    assert "after frame 1 to the NIC and 1 from it" in text
    bench.reports.expected.add("iommu")
    assert await burst(bench, 1 << 40, 1, False) >> 1 & 3 == Resp.DECERR
    await bench.engine.run(until=bench.engine.now + 10)
    assert len(bench.reports.of("iommu")) == 2
    bench.check()


@cocotb.test()
async def an_error_rule_for_all_addresses_reaches_the_last_one(dut: Any) -> None:
    bench = Bench(dut, iommu=False)
    await bench.start()
    rule = bench.host.fail("read")
    assert await burst(bench, (1 << 64) - 16, 1, False) >> 1 & 3 == Resp.SLVERR
    assert rule.hits == 1


@cocotb.test()
async def dma_listener_hears_each_burst_with_its_times(dut: Any) -> None:
    bench = Bench(dut, settings=BusSettings(read_latency=(50,), write_latency=(20,)))
    await bench.start()
    bench.reports.expected.add("iommu")
    seen: list[tuple[str, int, int, int, int, bool]] = []
    bench.on_dma(lambda *values: seen.append(values))
    bench.dma.map_single(0x10000, 256, Direction.BIDIRECTIONAL, "both")
    begin = bench.engine.now
    await burst(bench, 0x10000, 2, True)
    await burst(bench, 0x10000, 16, False)
    await burst(bench, 0x20000, 1, True)
    assert [(k, a, n, ok) for k, a, n, _, _, ok in seen] == [
        ("write", 0x10000, 32, True),
        ("read", 0x10000, 256, True),
        ("write", 0x20000, 16, False),
    ]
    cycles = [round((end - start) * 1000 / PERIOD_PS) for _, _, _, start, end, _ in seen]
    assert cycles[0] in (22, 23) and cycles[1] in (66, 67, 68)
    assert begin < seen[0][3] < seen[1][3] < seen[2][3]
    bench.on_dma(None)
    await burst(bench, 0x10000, 2, True)
    assert len(seen) == 3


async def burst_times(dut: Any, settings: BusSettings) -> dict[str, tuple[int, int]]:
    """Of a write and a read of 2 beats: cycles in all, and from address to answer."""
    bench = Bench(dut, iommu=False, settings=settings)
    await bench.start()
    await bench.write32(BUSY, 1 << 20)  # ready moves only while the NIC is not idle
    spans: dict[str, int] = {}
    bench.on_dma(lambda *dma: spans.update({dma[0]: round((dma[4] - dma[3]) * 1000 / PERIOD_PS)}))
    times = {}
    for kind in ("write", "read"):
        before = bench.cycles
        await burst(bench, 0x10000, 2, kind == "write")
        times[kind] = (bench.cycles - before, spans[kind])
    bench.check()
    bench.bus.close()
    return times


@cocotb.test()
async def each_stall_slows_its_channel_and_latency_is_exact(dut: Any) -> None:
    plain = await burst_times(dut, BusSettings())
    later = await burst_times(dut, BusSettings(read_latency=(116,), write_latency=(108,)))
    for kind in plain:
        assert later[kind][1] == plain[kind][1] + 100, kind
    for channel in ("aw", "w", "b", "ar", "r"):
        slow = await burst_times(dut, BusSettings(Stalls(**{channel: 0.97})))
        slower, same = ("read", "write") if channel in ("ar", "r") else ("write", "read")
        assert slow[slower][0] > plain[slower][0], channel
        assert slow[same] == plain[same], channel


async def misbehaves(dut: Any, how: int, text: str, beats: int = 8) -> None:
    stalls = Stalls(aw=0.95, w=0.8)
    bench = Bench(dut, iommu=False, seed=2, settings=BusSettings(stalls))
    await bench.start()
    assert await burst(bench, 0x10000, beats, True) >> 1 & 3 == Resp.OKAY
    bench.check()
    await bench.write32(MISBEHAVE, how)
    task = cocotb.start_soon(burst(bench, 0x10000, beats, True))
    with pytest.raises(BenchError, match=text):
        await bench.engine.run(until=bench.engine.now + 20_000)
    task.cancel()
    bench.bus.close()


@cocotb.test()
async def a_withdrawn_awvalid_is_reported(dut: Any) -> None:
    await misbehaves(dut, WITHDRAW_AW, "axi: m_axi AW: valid or payload changed before ready")


@cocotb.test()
async def wdata_that_changes_while_it_waits_is_reported(dut: Any) -> None:
    await misbehaves(dut, CHANGE_W, "axi: m_axi W: valid or payload changed before ready")


@cocotb.test()
async def a_wlast_in_the_wrong_beat_is_reported(dut: Any) -> None:
    await misbehaves(dut, EARLY_WLAST, "axi: write at 0x10000: WLAST at beat 7 of 8")


# Verilator has no unknown values.  (SIM_NAME is there only inside a simulation.)
@cocotb.test(skip=getattr(cocotb, "SIM_NAME", "").startswith("Verilator"))
async def an_unknown_awvalid_is_reported(dut: Any) -> None:
    await misbehaves(dut, UNKNOWN_AW, "axi: m_axi AW: .* or is unknown")


@cocotb.test()
async def a_burst_across_4k_is_reported(dut: Any) -> None:
    bench = Bench(dut, iommu=False)
    await bench.start()
    await burst(bench, 0x10FF0, 1, False)
    bench.check()
    await burst(bench, 0x10FF0, 2, False)
    with pytest.raises(BenchError, match=r"\[0x10ff0, 0x11010\) crosses a 4 KiB boundary"):
        bench.check()


@cocotb.test()
async def strobes_below_an_unaligned_start_are_reported(dut: Any) -> None:
    bench = Bench(dut, iommu=False)
    await bench.start()
    await burst(bench, 0x10004, 2, True)
    with pytest.raises(BenchError, match="strobes 0xffff of beat 0 at 0x10004 leave the lanes"):
        bench.check()


@cocotb.test()
async def a_model_that_crashes_ends_the_run(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()

    def broken(value: int, resp: Resp) -> None:
        raise KeyError("inside a callback")

    bench.bus.read(0, broken)
    with pytest.raises(KeyError, match="inside a callback"):
        await bench.engine.run(until=bench.engine.now + 1000)
    bench.bus.close()
    bench = Bench(dut)
    await bench.start()
    bench.bus.read(0, broken)
    with pytest.raises(KeyError, match="inside a callback"):
        await bench.read32(0)
    with pytest.raises(BenchError, match="the bus has ended"):
        await bench.read32(0)


@cocotb.test()
async def a_failing_test_inside_a_callback_says_so(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    bench.bus.read(0, lambda value, resp: pytest.fail("seen in a callback"))
    with pytest.raises(pytest.fail.Exception, match="seen in a callback"):
        await bench.engine.run(until=bench.engine.now + 1000)


@cocotb.test()
async def two_cannot_run_the_engine_at_once(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    first = cocotb.start_soon(bench.engine.run(until=bench.engine.now + 1000))
    await Timer(100, "ns")
    with pytest.raises(RuntimeError, match="somebody else"):
        await bench.engine.run(until=bench.engine.now + 500)
    await first


@cocotb.test()
async def rules_keep_count_while_others_come_and_go(dut: Any) -> None:
    bench = Bench(dut, iommu=False)
    await bench.start()
    fail = bench.host.fail
    rule = fail("write", 0x10000, 0x10100, Resp.SLVERR, skip=1, times=2)
    early = fail("read", 0x20000, 0x20100)

    def change(*_: object) -> None:
        if early in bench.host.rules:
            bench.host.forgive(early)
        bench.host.forgive(fail("read", 0x30000, 0x30100))

    bench.on_dma(change)
    answers = [await burst(bench, 0x10000, 2, True) >> 1 & 3 for _ in range(5)]
    assert answers[:2] == [Resp.OKAY, Resp.SLVERR]  # the stand-in remembers its first error
    assert (rule.hits, rule.skipped) == (2, 1)
    rules = list(bench.host.rules)
    for bad in ({"probability": 1.5}, {"probability": float("nan")}, {"skip": -1}, {"end": 0}):
        with pytest.raises(ValueError):
            fail("write", **bad)  # type: ignore[arg-type]
    assert bench.host.rules == rules


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("bus", BUSES)
def test_bench_checks(sim: str, bus: str) -> None:
    simulate(probe(bus), __name__, sim=sim, seed=SEED, timeout_seconds=60).check()


def test_burst_rules_know_each_case() -> None:
    good = Burst(0, 0x1F00, 16, 16, 1, 0)
    assert burst_problem(good, 16) is None
    assert "not INCR" in (burst_problem(good._replace(burst=0), 16) or "")
    assert "on a bus of 8" in (burst_problem(good, 8) or "")
    assert "crosses" in (burst_problem(good._replace(addr=0x1F04, beats=17), 16) or "")
    narrow = Burst(0, 0x1006, 4, 4, 1, 0)
    assert strobe_problem(narrow, 16, 0, 0x00C0) is None
    assert strobe_problem(narrow, 16, 1, 0x0F00) is None
    assert strobe_problem(narrow, 16, 3, 0x000F) is None
    assert strobe_problem(narrow, 16, 0, 0x0030) is not None
    assert strobe_problem(narrow, 16, 1, 0x1000) is not None
