"""tx_gather and tx_share: which frame is next, and what its descriptors say."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from tx_stream import frame_fields
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from wire2app.simulator import Design, nic_sources, simulate

TOP = os.environ.get("TX_TOP", "")
QUEUES = 3
MOST = 24
MAX_FRAME = 1518
QUANTUM = 2048


def of_module(top: str) -> Any:
    return cocotb.test(skip=top != TOP)


# ---------------------------------------------------------------- tx_gather


@dataclass
class Desc:
    length: int
    last: bool
    flags: int = 0
    tci: int = 0
    mss: int = 0
    resp: int = 0

    def bits(self, addr: int) -> int:
        word = self.flags | (regs.TX_DESC_LAST if self.last else 0)
        entry = regs.TX_DESC.pack(addr, self.length, word, self.tci, self.mss)
        return int.from_bytes(entry, "little")


@dataclass
class Taken:
    """A frame as it was handed on, and the descriptors that went with it."""

    fields: dict[str, int]
    lengths: list[int] = field(default_factory=list)


def flag(name: str, value: int) -> int:
    shift = getattr(regs, f"TX_DESC_{name}_SHIFT", None)
    return value << shift if shift is not None else value * getattr(regs, f"TX_DESC_{name}")


def field_of(word: int, name: str) -> int:
    mask = getattr(regs, f"TX_DESC_{name}")
    return (word & mask) // (mask & -mask)


def status_of(parts: list[Desc]) -> CplStatus:
    """What docs/rings.md says of a frame with these descriptors, all there are of it."""
    first, total = parts[0], sum(part.length for part in parts)
    if parts[-1].resp:
        return CplStatus.DESC_DECERR if parts[-1].resp == 3 else CplStatus.DESC_SLVERR
    start, offset = field_of(first.flags, "CSUM_START"), field_of(first.flags, "CSUM_OFFSET")
    tag, cut = first.flags & regs.TX_DESC_VLAN_INSERT, first.flags & regs.TX_DESC_SEGMENT
    bad = not parts[-1].last or any(part.length == 0 for part in parts)
    bad |= total + (4 if tag else 0) > (65536 + 256 if cut else MAX_FRAME)
    bad |= bool(tag) and total < 14
    bad |= start > 0 and 2 * (start + offset) + 2 > total
    bad |= bool(cut) and (first.mss == 0 or start == 0 or offset != 8)
    return CplStatus.BAD_LENGTH if bad else CplStatus.OK


def fields_of(parts: list[Desc], status: CplStatus) -> dict[str, int]:
    if status is not CplStatus.OK:
        return {"status": status, "fragments": len(parts)}
    first = parts[0]
    names = ("TIMESTAMP", "VLAN_INSERT", "SEGMENT", "CSUM_START", "CSUM_OFFSET")
    fields = {name.lower(): field_of(first.flags, name) for name in names}
    fields |= {"vlan_tci": first.tci, "mss": first.mss, "fragments": len(parts)}
    fields["len"] = sum(part.length for part in parts)
    return {name: value for name, value in fields.items() if value}


def frames_of(ring: list[Desc]) -> list[list[Desc]]:
    found: list[list[Desc]] = [[]]
    for desc in ring:
        found[-1].append(desc)
        if desc.last:
            found.append([])
    return found[:-1]


def some_ring(rng: random.Random, frames: int) -> list[Desc]:
    ring = []
    for _ in range(frames):
        count = rng.choice((1, 1, 2, 5, MOST))
        flags = flag("CSUM_START", rng.choice((0, 0, 7, 25, 127)))
        flags |= flag("CSUM_OFFSET", rng.choice((3, 8, 8, 15)))
        for name in ("VLAN_INSERT", "SEGMENT", "TIMESTAMP"):
            flags |= flag(name, int(rng.random() < 0.3))
        longest = rng.choice((3, 60, 1518 // count + 2, 65536 // count + 11))
        lengths = [min(0xFFFF, rng.randrange(0 if rng.random() < 0.05 else 1, longest + 1))
                   for _ in range(count)]  # fmt: skip
        mss = rng.choice((0, 1, 1000, 0x3FFF))
        ring += [Desc(length, False, flags, rng.getrandbits(16), mss) for length in lengths]
        ring[-1].last = True
    return ring


class Gather:
    """tx_gather before rings in Python, which hold whole frames only."""

    def __init__(self, dut: Any, rings: list[list[Desc]]) -> None:
        self.dut, self.rings, self.rng = dut, rings, random.Random(SEED)
        self.consumed = [0] * QUEUES
        self.running = [True] * QUEUES
        self.taken: list[list[Taken]] = [[] for _ in rings]
        self.open: list[int] = []
        self.failed = [0] * QUEUES
        self.held = False  # behind a frame to be cut
        self.half = 0  # queues that hold the beginning of a frame only

    async def start(self) -> None:
        await start_clock_and_reset(
            self.dut, cfg_max_frame=MAX_FRAME, running=7, ready=0, whole=0, consumed=0, head_desc=0,
            head_resp=0, fragment_full=0, frame_full=0, desc_full=0, resume=0,
        )  # fmt: skip

    async def clock(self) -> None:
        dut, rng = self.dut, self.rng
        await FallingEdge(dut.clk)
        left = [len(r) > at for r, at in zip(self.rings, self.consumed, strict=True)]
        ready = sum((here and run) << q for q, (here, run) in
                    enumerate(zip(left, self.running, strict=True)))  # fmt: skip
        dut.running.value = sum(run << q for q, run in enumerate(self.running))
        dut.ready.value, dut.whole.value = ready, ready & ~self.half
        dut.consumed.value = sum(at << 16 * q for q, at in enumerate(self.consumed))
        head = int(dut.head_queue.value) if dut.head_queue.value.is_resolvable else 0
        at = self.consumed[head]
        if left[head]:
            desc = self.rings[head][at]
            dut.head_desc.value, dut.head_resp.value = desc.bits(at << 8 | head), desc.resp
        for name in ("fragment_full", "frame_full", "desc_full"):
            getattr(dut, name).value = int(rng.random() < 0.2)
        resume = self.held and rng.random() < 0.1
        dut.resume.value = int(resume)
        await ReadOnly()
        pop = int(dut.pop.value)
        assert pop in (0, 1 << head)
        assert int(dut.fragment_push.value) == int(dut.desc_push.value) == (pop != 0)
        assert not (self.held and pop), "chosen ahead of time"
        self.held = self.held and not resume
        if pop:
            assert int(dut.fragment_addr.value) == at << 8 | head
            assert int(dut.desc_index.value) == at
            assert int(dut.fragment_len.value) == int(dut.desc_len.value) == desc.length
            self.open.append(desc.length)
            self.consumed[head] += 1
        if int(dut.frame_push.value):
            self.taken[head].append(Taken(frame_fields(int(dut.frame.value)), self.open))
            self.open = []
            self.held = self.held or "segment" in self.taken[head][-1].fields
        failed = int(dut.desc_failed.value)
        for queue in range(QUEUES):
            if failed >> queue & 1:
                self.failed[queue] = 3 if int(dut.desc_decerr.value) else 2
                self.running[queue] = False

    async def until_idle(self) -> None:
        quiet = 0
        for _ in range(20000):
            await self.clock()
            quiet = 0 if int(self.dut.busy.value) else quiet + 1
            if quiet == 5:
                return
        raise AssertionError("it does not become idle")


def described(fields: dict[str, int], bad: bool) -> dict[str, int]:
    return {n: v for n, v in fields.items() if not bad or n in ("status", "fragments")}


@of_module("tx_gather")
async def frames_are_handed_on_as_their_descriptors_say(dut: Any) -> None:
    rng = random.Random(SEED)
    bench = Gather(dut, [some_ring(rng, 60) for _ in range(QUEUES)])
    await bench.start()
    await bench.until_idle()
    seen = set()
    for ring, taken in zip(bench.rings, bench.taken, strict=True):
        frames = frames_of(ring)
        assert [part.lengths for part in taken] == [[d.length for d in f] for f in frames]
        for parts, got in zip(frames, taken, strict=True):
            status = status_of(parts)
            seen.add(status)
            bad = status is not CplStatus.OK
            assert described(got.fields, bad) == fields_of(parts, status), parts
    assert seen == {CplStatus.OK, CplStatus.BAD_LENGTH}
    assert bench.failed == [0] * QUEUES


async def descriptor_error(dut: Any, resp: int, status: CplStatus) -> None:
    rng = random.Random(SEED)
    rings = [some_ring(rng, 10) for _ in range(QUEUES)]
    at = next(number for number, desc in enumerate(rings[1]) if desc.last) + 1
    rings[1][at:at] = [Desc(10, False), Desc(10, True, resp=resp)]
    bench = Gather(dut, rings)
    await bench.start()
    await bench.until_idle()
    assert bench.failed == [0, resp, 0]
    assert bench.consumed == [len(rings[0]), at + 2, len(rings[2])]
    assert bench.taken[1][-1].fields["status"] == status
    assert bench.taken[1][-1].lengths == [10, 10]


@of_module("tx_gather")
async def a_slave_error_on_a_descriptor_ends_frame_and_queue(dut: Any) -> None:
    await descriptor_error(dut, 2, CplStatus.DESC_SLVERR)


@of_module("tx_gather")
async def a_decode_error_on_a_descriptor_ends_frame_and_queue(dut: Any) -> None:
    await descriptor_error(dut, 3, CplStatus.DESC_DECERR)


@of_module("tx_gather")
async def the_rest_of_a_frame_that_is_too_long_is_refused_too(dut: Any) -> None:
    """Whether it comes at once or later; when the ring stops, what was taken is handed on."""
    bench = Gather(dut, [[], [], []])
    await bench.start()
    bench.rings[0] += [Desc(10, False) for _ in range(30)] + [Desc(10, True), Desc(70, True)]
    bench.rings[2] += [Desc(5, False) for _ in range(3)]
    await bench.until_idle()
    bench.rings[2] += [Desc(5, False), Desc(5, True), Desc(64, True)]
    await bench.until_idle()
    bad = int(CplStatus.BAD_LENGTH)
    said = [[(len(t.lengths), t.fields.get("status", 0), t.fields.get("part", 0)) for t in taken]
            for taken in bench.taken]  # fmt: skip
    assert said[0] == [(24, bad, 1), (7, bad, 0), (1, 0, 0)]
    assert said[2] == [(3, bad, 1), (2, bad, 0), (1, 0, 0)]
    bench.rings[1] += [Desc(5, False) for _ in range(10)]
    while bench.consumed[1] < 4:
        await bench.clock()
    bench.running[1] = False
    await bench.until_idle()
    assert len(bench.taken[1][0].lengths) == bench.consumed[1] < 10
    assert bench.taken[1][0].fields["part"], "nobody but its ring's driver counts it"
    bench.running[1] = True
    bench.rings[1][bench.consumed[1] :] = [Desc(80, True)]
    await bench.until_idle()
    assert "status" not in bench.taken[1][1].fields, "a restarted ring begins with a new frame"
    bench.rings[1] += [Desc(5, False)]
    await bench.until_idle()
    bench.running[1] = False  # while the rest of the frame is waited for
    await bench.until_idle()
    bench.running[1] = True
    bench.rings[1] += [Desc(81, True)]
    await bench.until_idle()
    assert [t.fields.get("status", 0) for t in bench.taken[1][2:]] == [bad, 0]
    assert bench.taken[1][2].fields["part"], "nor one that was refused before its ring stopped"


@of_module("tx_gather")
async def behind_a_frame_that_is_too_long_the_next_waits_until_it_is_whole(dut: Any) -> None:
    bench = Gather(dut, [[], [], []])
    await bench.start()
    bench.rings[0] += [Desc(10, False) for _ in range(30)] + [Desc(10, True), Desc(70, False)]
    while bench.consumed[0] < 31:
        await bench.clock()
    bench.half = 1
    for _ in range(100):
        await bench.clock()
    assert bench.consumed[0] == 31, "half a frame is taken"
    bench.rings[0].append(Desc(80, True))
    bench.half = 0
    await bench.until_idle()
    last = bench.taken[0][-1]
    assert last.lengths == [70, 80] and "status" not in last.fields


# ---------------------------------------------------------------- tx_share


@of_module("tx_share")
async def queues_share_by_bytes_whatever_their_frames(dut: Any) -> None:
    """One sends 64 KiB at a time, one 60 bytes, one in between, one asks now and then."""
    rng = random.Random(SEED)
    await start_clock_and_reset(dut, wants=0, choose=0, charge=0, charge_queue=0, charge_bytes=0)
    sizes = (65536, 60, 1514)
    sent, served, turns = [0, 0, 0], -1, 0
    longest_wait, waits = 0, 0
    while turns < 6000:
        await FallingEdge(dut.clk)
        dut.wants.value = 7
        dut.charge.value = int(served >= 0)
        if served >= 0:
            dut.charge_queue.value, dut.charge_bytes.value = served, sizes[served]
        choose = served < 0 and rng.random() < 0.7
        dut.choose.value = int(choose)
        await ReadOnly()
        served = -1
        waits = 0 if int(dut.valid.value) else waits + choose
        longest_wait = max(longest_wait, waits)
        if choose and int(dut.valid.value):
            served = int(dut.index.value)
            sent[served] += -(-(sizes[served] + 1) // 64) * 64
            turns += 1
            assert max(sent) - min(sent) <= 65600 + 2 * QUANTUM, sent
    assert min(sent) > 0.6 * max(sent), sent
    assert longest_wait <= 65600 // QUANTUM + 2


@of_module("tx_share")
async def a_queue_alone_is_not_held_up_for_long(dut: Any) -> None:
    await start_clock_and_reset(dut, wants=0, choose=0, charge=0, charge_queue=0, charge_bytes=0)
    clocks = turns = 0
    served = False
    while turns < 300:
        await FallingEdge(dut.clk)
        dut.wants.value, dut.choose.value = 2, int(not served)
        dut.charge.value, dut.charge_queue.value, dut.charge_bytes.value = int(served), 1, 1514
        await ReadOnly()
        served = not served and bool(int(dut.valid.value))
        assert not served or int(dut.index.value) == 1
        turns += served
        clocks += 1
    assert clocks <= 3 * turns, "a clock a frame, or two"


@pytest.mark.parametrize("top", ["tx_gather", "tx_share"])
@pytest.mark.parametrize("sim", SIMS)
def test_tx_descriptors(sim: str, top: str) -> None:
    design = Design(top, nic_sources(), {"Queues": QUEUES})
    simulate(design, __name__, sim=sim, seed=SEED, env={"TX_TOP": top}).check()
