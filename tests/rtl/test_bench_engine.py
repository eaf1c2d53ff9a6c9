"""The bench's time: engine events, the clock that stops, register accesses and interrupts."""

from __future__ import annotations

import errno
import random
from typing import Any

import cocotb
import pytest
from bench_probe import BAD, BUSES, BUSY, ID, ID_VALUE, IRQ, NOW, SCRATCH, probe
from cocotb.triggers import Timer
from conftest import SEED, SIMS

from pystack.core.kernel import Kernel
from pystack.dev.driver import Registers
from tb.bench import Bench
from tb.gpi import time_ps
from tb.pins.flags import PERIOD_PS, PHASE_PS, edge_ns
from tb.reports import BenchError
from tb.settings import BusSettings, Resp, Stalls
from wire2app.simulator import simulate

SECOND = 1_000_000_000


def is_edge(ns: int) -> bool:
    slot = (ns * 1000 - PHASE_PS - PERIOD_PS // 2) // PERIOD_PS
    return ns in (edge_ns(slot), edge_ns(slot + 1))


@cocotb.test()
async def events_run_at_their_exact_ns_and_in_order(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    engine, rng = bench.engine, random.Random(1)
    ran: list[tuple[int, int]] = []
    base = engine.now + 10
    times = [base + rng.randrange(500) for _ in range(300)]
    for number, when in enumerate(times):
        engine.call_at(when, lambda n, t: ran.append((t, n)) or check(t), number, when)

    def check(when: int) -> None:
        assert time_ps() == when * 1000 and engine.now == when

    await engine.run(until=base + 600)
    assert ran == sorted((when, number) for number, when in enumerate(times))
    assert time_ps() == (base + 600) * 1000


@cocotb.test()
async def run_looks_at_stop_between_events_and_raises_what_they_raise(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    engine = bench.engine
    ran: list[int] = []
    for number in range(3):
        engine.call_later(5, ran.append, number)
    await engine.run(stop=lambda: len(ran) == 2)
    assert ran == [0, 1]
    engine.call_later(1, int, "no number")
    with pytest.raises(ValueError, match="no number"):
        await engine.run()
    assert ran == [0, 1, 2]


@cocotb.test()
async def post_from_a_cocotb_task_wakes_the_engine_at_once(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    seen: list[int] = []

    async def outside() -> None:
        await Timer(1234, "ps")
        bench.engine.post(lambda: seen.append(time_ps()))

    begin = time_ps()
    cocotb.start_soon(outside())
    await bench.engine.run(stop=lambda: bool(seen), until=bench.engine.now + 100)
    assert seen == [begin + 1234]


@cocotb.test()
async def a_second_of_idle_costs_no_cycles_and_the_clock_comes_back_on_its_grid(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    await bench.engine.run(until=bench.engine.now + 1000)
    before = bench.cycles
    await bench.engine.run(until=bench.engine.now + SECOND + 7)
    assert bench.cycles == before
    assert bench.skipped_ns >= SECOND
    arrived: list[tuple[int, int]] = []
    bench.wire.on_receive(lambda frame, start, end: arrived.append((start, end)))
    bench.wire.send(bytes(100))
    await bench.engine.run(stop=lambda: bool(arrived), until=bench.engine.now + 1000)
    assert all(is_edge(moment) for moment in arrived[0])
    assert before < bench.cycles < before + 40


@cocotb.test()
async def while_the_nic_is_busy_the_clock_runs_and_python_sleeps(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    await bench.write32(BUSY, 500)
    cycles, ticks = bench.cycles, bench.bus.ticks
    await bench.engine.run(until=bench.engine.now + SECOND)
    assert 490 <= bench.cycles - cycles <= 520
    assert bench.bus.ticks - ticks < 20


@cocotb.test()
async def only_lines_that_rise_interrupt(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    risen: list[int] = []
    bench.on_irq = risen.append
    for levels in (0b0001, 0b0011, 0b0011, 0b1010, 0b0000, 0b1100):
        await bench.write32(IRQ, levels)
    await bench.engine.run(until=bench.engine.now + 100)
    assert risen == [0, 1, 3, 2, 3]


async def story(
    dut: Any, idle_skip: bool, seed: int = 3, settings: BusSettings | None = None
) -> list[tuple[str, int, int]]:
    """Register accesses, interrupts and frames with pauses between; what came, and when."""
    bench = Bench(dut, idle_skip=idle_skip, seed=seed, settings=settings)
    await bench.start()
    engine = bench.engine
    base = engine.now + 1000 - engine.now % 32  # edges and whole ns meet again every 32 ns
    rng = random.Random(5)
    seen: list[tuple[str, int, int]] = []

    def answered(value: int, _: Resp) -> None:
        seen.append(("read", value, time_ps() - base * 1000))

    bench.on_irq = lambda line: seen.append(("irq", line, time_ps() - base * 1000))
    bench.wire.on_receive(lambda frame, s, e: seen.append(("frame", len(frame), e - base)))
    when = base
    for number in range(40):
        when += rng.choice((3, 20, 60, 400, 5000))
        kind = rng.randrange(3)
        if kind == 0:
            engine.call_at(when, bench.bus.write, IRQ, number & 1)
        elif kind == 1:
            engine.call_at(when, bench.wire.send, bytes(60 + number))
        else:
            engine.call_at(when, bench.bus.read, ID, answered)
    await engine.run(until=when + 2000)
    assert (bench.skipped_ns > 1000) == idle_skip
    bench.bus.close()
    return seen


@cocotb.test()
async def idle_skip_moves_nothing_in_time(dut: Any) -> None:
    with_skip = await story(dut, True)
    assert with_skip == await story(dut, False)
    assert {kind for kind, _, _ in with_skip} == {"irq", "frame", "read"}


@cocotb.test()
async def one_seed_gives_one_run_and_another_seed_another(dut: Any) -> None:
    stalled = BusSettings(Stalls.everywhere(0.4))
    first = await story(dut, True, 3, stalled)
    assert first == await story(dut, True, 3, stalled)
    assert first != await story(dut, True, 4, stalled)


@cocotb.test()
async def reset_lasts_its_cycles_although_the_nic_is_idle(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    await bench.write32(SCRATCH, 77)
    before = bench.cycles
    await bench.reset(100)
    assert bench.cycles - before >= 100
    assert await bench.read32(SCRATCH) == 0


def host(bench: Bench) -> tuple[Kernel, Registers]:
    kernel = Kernel(bench.engine, "host", memory=bench.memory)
    return kernel, bench.resources(kernel).registers


async def run_task(bench: Bench, kernel: Kernel, fn: Any) -> Any:
    task = kernel.spawn(fn)
    ended: list[Any] = []
    task.on_exit.append(ended.append)
    await bench.engine.run(stop=lambda: bool(ended), until=bench.engine.now + 1_000_000)
    assert ended, "the task did not end"
    if task.exception is not None:
        raise task.exception
    return task.result


@cocotb.test()
async def registers_are_plain_calls_and_a_read_comes_after_earlier_writes(dut: Any) -> None:
    for stall in (0.0, 0.6):
        bench = Bench(dut, settings=BusSettings(Stalls(axil=stall)))
        await bench.start()
        kernel, regs = host(bench)

        def body(regs: Registers = regs) -> list[int]:
            values = [regs.read32(ID)]
            for base in range(0, 50, 10):
                for value in range(base, base + 10):
                    regs.write32(SCRATCH, value * 0x01010101)
                values.append(regs.read32(SCRATCH))
            return values

        expected = [ID_VALUE, *(last * 0x01010101 for last in range(9, 50, 10))]
        assert await run_task(bench, kernel, body) == expected
        bench.check()
        bench.bus.close()


@cocotb.test()
async def a_read_error_is_eio_and_a_write_error_is_reported(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    kernel, regs = host(bench)
    with pytest.raises(OSError, match="SLVERR at 0x8004") as caught:
        await run_task(bench, kernel, lambda: regs.read32(BAD | 4))
    assert caught.value.errno == errno.EIO
    with pytest.raises(BenchError, match="axil: SLVERR on a write to 0x8004"):
        await run_task(bench, kernel, lambda: (regs.write32(BAD | 4, 1), regs.read32(ID)))
    with pytest.raises(BenchError, match="SLVERR"):
        bench.check()


@cocotb.test()
async def a_rising_interrupt_line_runs_the_handler_in_hardirq(dut: Any) -> None:
    bench = Bench(dut)
    await bench.start()
    kernel, regs = host(bench)
    resources = bench.resources(kernel)
    cpu = kernel.cpus[0]
    hits: list[tuple[bool, int]] = []
    resources.request_irq(0, lambda: hits.append((cpu.in_interrupt, regs.read32(ID))), cpu)
    with pytest.raises(OSError, match="busy"):
        resources.request_irq(0, int, cpu)

    def pulse() -> int:
        for level in (1, 1, 0, 1):
            regs.write32(IRQ, level)
        return regs.read32(NOW)

    await run_task(bench, kernel, pulse)
    await bench.engine.run(until=bench.engine.now + 1000)
    assert hits == [(True, ID_VALUE)] * 2
    resources.free_irq(0)
    await run_task(bench, kernel, lambda: regs.write32(IRQ, 0))
    await run_task(bench, kernel, lambda: regs.write32(IRQ, 1))
    await bench.engine.run(until=bench.engine.now + 1000)
    assert len(hits) == 2
    bench.check()


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("bus", BUSES)
def test_bench_engine_clock_and_registers(sim: str, bus: str) -> None:
    simulate(probe(bus), __name__, sim=sim, seed=SEED, timeout_seconds=60).check()
