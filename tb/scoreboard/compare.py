"""The scoreboard: the same rounds on both devices, and all that can be seen compared."""

from __future__ import annotations

from difflib import unified_diff
from typing import Any

import numpy as np

from pystack.dev.drivers import w2a_regs as regs
from tb.coverage import FOLDER, RingWatch, export
from tb.scoreboard.devices import ModelDevice, RtlDevice
from tb.scoreboard.lengths import LONGEST_FRAME
from tb.scoreboard.side import Side
from tb.scoreboard.traffic import Traffic
from tb.settings import BusSettings

ENTRIES = 32
OFFLOADS = 0xFFFF0000  # of `features`
CHECKED = OFFLOADS & ~(regs.FEATURES_PAUSE)


async def scoreboard(
    dut: Any, seed: int, rounds: int, settings: BusSettings | None = None
) -> dict[str, int]:
    """Run `rounds` on RTL and model; the counters in the end.  AssertionError names the round
    and the first thing that differs."""
    rtl = RtlDevice(dut, seed, settings)
    await rtl.start()
    features = await rtl.read32(regs.FEATURES)
    queues = features & regs.FEATURES_QUEUES
    model = ModelDevice(seed, features & OFFLOADS, queues, LONGEST_FRAME)
    sides = Side(rtl, queues, ENTRIES), Side(model, queues, ENTRIES)
    for side in sides:
        await side.start(LONGEST_FRAME, run_on=True)
    traffic = Traffic(seed, features, queues, ENTRIES)
    counters: dict[str, int] = {}
    watches = {
        ring: RingWatch(ring.is_rx, ring.queue, (settings or BusSettings()).stalls)
        for pair in sides[0].rings
        for ring in pair
    }
    for number in range(rounds):
        round_ = traffic.round()
        for side in sides:
            await side.run(round_)
        counters = await _compare(*sides, f"seed {seed}, round {number}")
        for ring, descriptor, completion in sides[0].taken:
            watches[ring].note(descriptor, completion)
        rtl.sent.clear()
        model.sent.clear()
    for offset, value in round_.writes:
        for side in sides:
            got = await side.device.read32(offset)
            assert got == value, f"seed {seed}: register {offset:#x} is {got:#x}, not {value:#x}"
    rtl.bench.check()
    rtl.bench.bus.close()
    if FOLDER:
        export()
    return counters


async def _compare(rtl: Side, model: Side, where: str) -> dict[str, int]:
    there, here = rtl.completions(), model.completions()
    a, b = model.image(), rtl.image()
    same = np.array_equal(a, b)
    if there != here and not same:
        text = "\n".join(unified_diff(here, there, "model", "RTL", n=0, lineterm=""))
        raise AssertionError(f"{where}: completions differ\n{text}")
    mine, theirs = await model.counters(), await rtl.counters()
    assert mine == theirs, f"{where}: model and RTL count {_difference(mine, theirs)}"
    ours, wire = model.by_queue(), rtl.by_queue()
    for queue in sorted({*ours, *wire}):
        pairs = zip(ours.get(queue, []), wire.get(queue, []), strict=False)
        for at, (due, got) in enumerate(pairs):
            text = f"{due.hex()}\nRTL:\n{got.hex()}"
            assert due == got, f"{where}: frame {at} of queue {queue}:\n{text}"
    assert ours == wire, f"{where}: the model sent {_counts(ours)}, the RTL {_counts(wire)}"
    if not same:
        first = int((a != b).argmax())
        raise AssertionError(
            f"{where}: memory at {first:#x}: {a[first : first + 32].tobytes().hex()}, "
            f"RTL {b[first : first + 32].tobytes().hex()}"
        )
    return mine


def _counts(frames: dict[int, list[bytes]]) -> dict[int, int]:
    return {queue: len(sent) for queue, sent in frames.items()}


def _difference(a: dict[str, int], b: dict[str, int]) -> str:
    names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    return ", ".join(f"{name} {a.get(name, 0)} and {b.get(name, 0)}" for name in names)
