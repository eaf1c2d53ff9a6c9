"""The NIC in clock cycles, driven at its rings with no kernel: `make bench`, section rtl.

Reads the JSON file named by W2A_JOB: "out" (where the result goes), "seed", "sizes" (frame bytes
without FCS), "frames" (how many a measurement takes) and "samples" (frames a latency is measured
on).  The result, in cycles of 6.4 ns, is

    wire_end_to_completion_cycles, wire_end_to_irq_cycles   of a lone 60-byte frame to the NIC:
        from the edge behind its last column until the bus has answered the completion's write,
        until the interrupt line rises; a value a sample
    doorbell_to_wire_cycles     of a lone 60-byte frame from the NIC: from the edge at which the
        doorbell is put on the register port until the edge before the first column; a value a
        sample
    linerate    for each size, back to back in one direction, then in the other: fractions of
        10 Gbit/s, cycles per packet, and frames the NIC dropped
    latency     wire_end_to_irq_cycles and doorbell_to_wire_cycles again, with a memory that
        answers at once: what the NIC itself takes
    host_read_latency_cycles, host_write_latency_cycles   of the bench's memory, in all of these
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.wire import wire_bytes
from tb import gpi
from tb.bench import Bench
from tb.counting import OWN, PEER, CountingDriver, WireLoad, frames
from tb.pins.flags import PERIOD_PS, PHASE_PS
from tb.settings import BusSettings

LANES = 8  # bytes a cycle on the wire
SHORT = 60
WARM_FRAMES = 128
MODERATION = 32, 2048  # completions, cycles: under load an interrupt is not what is measured
PAUSE_CYCLES = 400  # longer than a frame is under way
EDGE_PS = PHASE_PS + PERIOD_PS // 2


@cocotb.test()
async def measure(dut: Any) -> None:
    job = json.loads(Path(os.environ["W2A_JOB"]).read_text())
    settings = BusSettings()
    at_once = BusSettings(read_latency=(0,), write_latency=(0,))
    own = await _receive_latency(dut, job["samples"], at_once)
    result: dict[str, Any] = {
        **await _receive_latency(dut, job["samples"], settings),
        "doorbell_to_wire_cycles": await _transmit_latency(dut, job["samples"], settings),
        "latency": {
            "wire_end_to_irq_cycles": own["wire_end_to_irq_cycles"],
            "doorbell_to_wire_cycles": await _transmit_latency(dut, job["samples"], at_once),
        },
        "host_read_latency_cycles": settings.read_latency[0],
        "host_write_latency_cycles": settings.write_latency[0],
        "linerate": [await _line_rate(dut, size, job["frames"]) for size in job["sizes"]],
    }
    Path(job["out"]).write_text(json.dumps(result, indent=2) + "\n")


def _cycles(begin_ps: int, end_ps: int) -> int:
    """Both are times of clock edges, up to a ns too early."""
    return round((end_ps - begin_ps) / PERIOD_PS)


async def _started(
    dut: Any, frame_bytes: int, moderation: tuple[int, int], settings: BusSettings | None = None
) -> tuple[Bench, CountingDriver]:
    """A NIC after reset on a clock that never stops."""
    bench = Bench(dut, settings=settings, idle_skip=False)
    await bench.start()
    driver = CountingDriver(bench)
    await driver.start(frame_bytes, *moderation)
    return bench, driver


# -- one frame -----------------------------------------------------------------------------


async def _receive_latency(dut: Any, samples: int, settings: BusSettings) -> dict[str, list[int]]:
    bench, driver = await _started(dut, SHORT, (1, 0), settings)
    reap = bench.on_irq
    assert reap is not None, "the driver listens"
    at: dict[str, int] = {}
    first, last = driver.rx.completions, driver.rx.completions + 16 * driver.rx.entries

    def completed(kind: str, addr: int, length: int, start_ns: int, end_ns: int, ok: bool) -> None:
        if kind == "write" and first <= addr < last:
            at["completion"] = end_ns * 1000

    def interrupted(line: int) -> None:
        at["irq"] = gpi.time_ps()
        reap(line)

    bench.on_irq = interrupted
    bench.on_dma(completed)
    found: dict[str, list[int]] = {"completion": [], "irq": []}
    for sample, frame in enumerate(frames(samples, SHORT, OWN, PEER)):
        at.clear()
        bench.bus.wire.send(frame, lambda: at.update(wire=gpi.time_ps()))
        await Timer((PAUSE_CYCLES + sample) * PERIOD_PS, "ps")
        await bench.read32(regs.STATUS)  # whatever a bus keeps back is told by now
        for name, values in found.items():
            values.append(_cycles(at["wire"], at[name]))
    _finish(bench)
    return {f"wire_end_to_{name}_cycles": values for name, values in found.items()}


async def _transmit_latency(dut: Any, samples: int, settings: BusSettings) -> list[int]:
    bench, driver = await _started(dut, SHORT, (1, 0), settings)
    starts: list[int] = []
    bench.bus.wire.listen(lambda frame, start_ns, end_ns: starts.append(start_ns * 1000))
    await Timer(PAUSE_CYCLES * PERIOD_PS, "ps")  # descriptors of receive are fetched at the start
    found = []
    for sample in range(samples):
        await Timer(_to_edge(), "ps")
        begin = gpi.time_ps()
        driver.tx.post(1)
        await Timer((PAUSE_CYCLES + sample) * PERIOD_PS, "ps")
        found.append(_cycles(begin, starts.pop()))
        assert not starts, "the NIC sent more than it was told to"
    _finish(bench)
    return found


def _to_edge() -> int:
    """ps until the next rising edge, never 0."""
    return PERIOD_PS - (gpi.time_ps() - EDGE_PS) % PERIOD_PS


# -- many frames ---------------------------------------------------------------------------


async def _line_rate(dut: Any, size: int, count: int) -> dict[str, Any]:
    line = wire_bytes(size) / LANES
    rx, drops = await _receive_load(dut, size, count)
    tx = await _transmit_load(dut, size, count)
    return {
        "frame_bytes": size,
        "rx_fraction": line / rx,
        "tx_fraction": line / tx,
        "rx_cycles_per_packet": rx,
        "tx_cycles_per_packet": tx,
        "drops": drops,
    }


async def _receive_load(dut: Any, size: int, count: int) -> tuple[float, int]:
    """Cycles a delivered packet, and frames that were not delivered."""
    bench, driver = await _started(dut, size, MODERATION)
    seen: list[tuple[int, int]] = []  # time and frames, at each interrupt

    def reaped() -> None:
        seen.append((gpi.time_ps(), driver.rx.done))
        bench.engine.poke()

    driver.on_reaped = reaped
    load = WireLoad(bench, size)
    load.start()
    await bench.engine.run(stop=lambda: driver.rx.done >= WARM_FRAMES + count)
    steady = [sample for sample in seen if sample[1] >= WARM_FRAMES]
    load.stopped = True
    await Timer(2 * WARM_FRAMES * PERIOD_PS * (wire_bytes(size) // LANES + 1), "ps")
    dropped = 0
    for counter in regs.COUNTERS:
        if counter.name in ("rx_overflow", "rx_filtered"):
            dropped += await bench.read32(counter.offset)
    for counter in regs.QUEUE_COUNTERS:
        if counter.name.startswith("rx_") and counter.name != "rx_frames":
            dropped += await bench.read32(regs.queue_block(0) + counter.offset)
    _finish(bench)
    (begin, first), (end, last) = steady[0], steady[-1]
    return (end - begin) / PERIOD_PS / (last - first), dropped


async def _transmit_load(dut: Any, size: int, count: int) -> float:
    """Cycles from the start of one packet on the wire to that of the next."""
    bench, driver = await _started(dut, size, MODERATION)
    starts: list[int] = []

    def arrived(frame: bytes, start_ns: int, end_ns: int) -> None:
        starts.append(start_ns)
        bench.engine.poke()

    bench.bus.wire.listen(arrived)
    driver.send()
    await bench.engine.run(stop=lambda: len(starts) > WARM_FRAMES + count)
    driver.sending = False
    _finish(bench)
    steady = starts[WARM_FRAMES:]
    return (steady[-1] - steady[0]) * 1000 / PERIOD_PS / (len(steady) - 1)


def _finish(bench: Bench) -> None:
    bench.check()
    bench.bus.close()
