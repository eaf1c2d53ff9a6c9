"""The scoreboard with rings that stop: one bus error a ring, then a restart.

Where a ring stops in the traffic behind the error is a matter of timing, which the model does not
have.  So a second model, whose rings run on, says what each completion would be: what RTL and model
did before they stopped is the beginning of that, the error included, and all of it on other rings.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, TypeVar

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, QueueError
from tb.scoreboard.compare import ENTRIES, OFFLOADS
from tb.scoreboard.devices import ModelDevice, RtlDevice
from tb.scoreboard.lengths import LONGEST_FRAME
from tb.scoreboard.side import Device, Ring, Side
from tb.scoreboard.traffic import Buffer, Round, Traffic, TxFrame
from tb.settings import BusSettings, Resp

STOPS = {
    CplStatus.DATA_SLVERR: QueueError.DATA_SLVERR,
    CplStatus.DATA_DECERR: QueueError.DATA_DECERR,
}
RX_ENDS = ("frames", "bus_error", "truncated", "no_descriptor", "disabled")


async def stops_scoreboard(
    dut: Any, seed: int, rounds: int, settings: BusSettings | None = None
) -> int:
    """Run `rounds`, each with errors and then without; how many rings have stopped, by which the
    RTL had left something behind.  AssertionError names the round and what differs."""
    rtl = RtlDevice(dut, seed, settings)
    await rtl.start()
    features = await rtl.read32(regs.FEATURES)
    queues = features & regs.FEATURES_QUEUES
    devices: list[Device] = [rtl]
    for _ in range(2):
        devices.append(ModelDevice(seed, features & OFFLOADS, queues, LONGEST_FRAME))
    sides = [Side(device, queues, ENTRIES) for device in devices]
    for side in sides:
        await side.start(LONGEST_FRAME, run_on=side is sides[-1])
    traffic = Traffic(seed, features, queues, ENTRIES, faults=(0,))
    rng = random.Random(f"stops/{seed}")
    left = 0
    for number in range(rounds):
        where = f"seed {seed}, round {number}"
        for round_ in (_with_errors(traffic.round(), queues, rng), traffic.round()):
            for side in sides:
                side.device.sent.clear()
                await side.run(round_)
            *stopping, due = [_seen(side) for side in sides]
            for side, seen in zip(sides, stopping, strict=False):
                name = f"{where}, {'RTL' if side is sides[0] else 'model'}"
                for at, entries in due.items():
                    left += await _check(side, at, seen[at], entries, name)
                _check_wire(side, sides[-1], {at for at in due if _first_error(due[at])}, name)
            await _check_counters(sides, where)
            for at in due:
                if _first_error(due[at]):
                    for side in sides:
                        await side.restart(at, run_on=side is sides[-1])
    rtl.bench.check()
    rtl.bench.bus.close()
    return left


_Refused = TypeVar("_Refused", Buffer, TxFrame)
At = tuple[int, bool]  # queue, whether to receive
Seen = dict[At, list[tuple[bytes, bytes]]]  # completion without its stamp, what is in the buffer


def _with_errors(round_: Round, queues: int, rng: random.Random) -> Round:
    """At most one error a ring."""
    for queue in range(queues):
        _refuse_one(round_.buffers, queue, rng)
        _refuse_one(round_.sends, queue, rng)
    return round_


def _refuse_one(things: list[_Refused], queue: int, rng: random.Random) -> None:
    places = [at for at, thing in enumerate(things) if thing.queue == queue]
    if places and rng.random() < 0.6:
        at = rng.choice(places)
        things[at] = replace(things[at], resp=rng.choice((Resp.SLVERR, Resp.DECERR)))


def _seen(side: Side) -> Seen:
    found: Seen = {(ring.queue, ring.is_rx): [] for pair in side.rings for ring in pair}
    for ring, descriptor, completion in side.taken:
        data = b""
        if ring.is_rx and not _status(completion):
            addr, room = regs.RX_DESC.unpack(descriptor)
            data = side.device.memory.read(addr, room)
        found[ring.queue, ring.is_rx].append((completion[:12], data))
    return found


def _status(completion: bytes) -> int:
    return completion[4] & regs.RX_CPL_STATUS


def _first_error(entries: list[tuple[bytes, bytes]]) -> int:
    """How many completions there are up to the first that stops its ring; 0: none does."""
    return next((n + 1 for n, (c, _) in enumerate(entries) if _status(c) in STOPS), 0)


async def _check(
    side: Side, at: At, seen: list[tuple[bytes, bytes]], due: list[tuple[bytes, bytes]], name: str
) -> bool:
    """Of one ring: what was completed, and how it stands; whether it left something undone."""
    ring = side.ring(at)
    name = f"{name}, {'rx' if ring.is_rx else 'tx'}{ring.queue}"
    assert seen == due[: len(seen)], f"{name}: {seen}\nnot the first of\n{due}"
    first = _first_error(due)
    error = STOPS[CplStatus(_status(due[first - 1][0]))] if first else QueueError.NONE
    assert await _error(ring) is error, f"{name}: error {await _error(ring)!r}, not {error!r}"
    assert len(seen) >= (first or len(due)), f"{name}: {len(seen)} of {len(due)} completed"
    active = await side.device.read32(ring.block + regs.RING_STATUS) & regs.RING_STATUS_ACTIVE
    assert bool(active) is not bool(first), f"{name} stands, or runs, and should not"
    return len(seen) < len(due)


async def _error(ring: Ring) -> QueueError:
    status = await ring.device.read32(ring.block + regs.RING_STATUS)
    return QueueError((status & regs.RING_STATUS_ERROR) >> regs.RING_STATUS_ERROR_SHIFT)


def _check_wire(side: Side, running: Side, stopped: set[At], name: str) -> None:
    """Each queue has sent the beginning of what it would have, or all if it did not stop."""
    got, due = side.by_queue(), running.by_queue()
    for queue in {*got, *due}:
        sent, whole = got.get(queue, []), due.get(queue, [])
        assert sent == whole[: len(sent)], f"{name}: queue {queue} has sent something else"
        if (queue, False) not in stopped:
            assert len(sent) == len(whole), f"{name}: queue {queue} has sent {len(sent)}"


async def _check_counters(sides: list[Side], where: str) -> None:
    """Each frame for a queue is counted once, whatever became of it."""
    found = []
    for side in sides:
        counters = await side.counters()
        found.append([
            sum(counters.get(f"queue{n}_rx_{end}", 0) for end in RX_ENDS)
            for n in range(len(side.rings))
        ])  # fmt: skip
    assert found[0] == found[1] == found[2], f"{where}: frames by queue {found}"
