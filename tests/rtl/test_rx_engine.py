"""rx_engine: which bytes of a frame go into which buffer, and what its completions say.

Frames of any length meet descriptors of any length; what is due follows from docs/rings.md.
"""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from conftest import SEED, SIMS
from wire_side_common import start_clock_and_reset

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from wire2app.simulator import Design, nic_sources, simulate

WIDTH = int(os.environ.get("RX_WIDTH", "128"))
ROW = WIDTH // 8
QUEUES = 3
HASH, TCI, STAMP = 0x89ABCDEF, 0x123, 0x7654321
OWN_FLAGS = regs.RX_CPL_LAST | regs.RX_CPL_HEADER | regs.RX_CPL_IP_CSUM_OK | regs.RX_CPL_L4_CSUM_OK
OWN_FLAGS |= regs.RX_CPL_L4_CSUM_BAD


@dataclass
class Frame:
    data: bytes
    queue: int
    header_len: int
    verdict: int  # {IPv4 ok, L4 ok, L4 bad}

    def rows(self) -> list[tuple[int, int]]:
        """(data, last) as they stand in the receive buffer."""
        starts = range(0, len(self.data), ROW)
        parts = [self.data[at : at + ROW].ljust(ROW, b"\xee") for at in starts]
        return [
            (int.from_bytes(p, "little"), int(n == len(parts) - 1)) for n, p in enumerate(parts)
        ]


@dataclass
class Desc:
    length: int
    resp: int = 0


@dataclass
class Cpl:
    """A completion and the bytes that went to its buffer; addr: None if none may."""

    queue: int
    index: int
    status: CplStatus
    flags: int
    first: bool
    last: bool
    addr: int | None
    data: bytes = b""

    def entry(self) -> bytes:
        flags = self.flags | (regs.RX_CPL_LAST if self.last else 0)
        length = len(self.data)
        return regs.RX_CPL.pack(self.index, length, self.status, flags, HASH, TCI, STAMP)


def address(queue: int, index: int) -> int:
    return 0x5_0000_0000 + (queue << 24) + (index << 12) + index % 7


@dataclass
class Rings:
    """Descriptors by queue, None: the queue is off; how many were taken."""

    descs: list[list[Desc] | None]
    consumed: list[int] = field(default_factory=lambda: [0] * QUEUES)

    def take(self, frame: Frame, split: bool) -> list[Cpl] | str:
        """What becomes of a frame that all these descriptors are there for."""
        ring, queue = self.descs[frame.queue], frame.queue
        if not ring:
            return "disabled" if ring is None else "no_descriptor"
        at, flags, cpls = 0, checked(frame.verdict), []
        ring = list(ring)
        while True:
            desc, index = ring.pop(0), self.consumed[queue] + len(cpls)
            left = len(frame.data) - at
            headers = split and not at and 0 < frame.header_len < len(frame.data)
            headers = headers and frame.header_len <= desc.length
            room = frame.header_len if headers else desc.length
            write = desc.resp < 2 and desc.length > 0
            last = not write or room >= left or not ring
            part = frame.data[at : at + room] if write else b""
            cpls.append(Cpl(
                queue, index, status_of(desc, room < left and last),
                flags | (regs.RX_CPL_HEADER if headers and write else 0), not cpls, last,
                address(queue, index) if write else None, part,
            ))  # fmt: skip
            at += len(part)
            if last:
                return cpls


def status_of(desc: Desc, cut: bool) -> CplStatus:
    if desc.resp >= 2:
        return CplStatus.DESC_DECERR if desc.resp == 3 else CplStatus.DESC_SLVERR
    if not desc.length:
        return CplStatus.BAD_LENGTH
    return CplStatus.TRUNCATED if cut else CplStatus.OK


def checked(verdict: int) -> int:
    names = ("L4_CSUM_BAD", "L4_CSUM_OK", "IP_CSUM_OK")
    return sum(getattr(regs, f"RX_CPL_{n}") for bit, n in enumerate(names) if verdict >> bit & 1)


class Engine:
    """rx_engine between a buffer with frames, rings in Python, and a DMA that takes what comes."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.rng = dut, random.Random(SEED)
        self.hold, self.split = 0.3, False
        self.scarce = 0.0  # chance that a descriptor is not there yet, beside `hold`
        self.rings = Rings([[], [], []])
        self.late: dict[str, bool] = {}
        self.clocks = 0

    async def start(self) -> None:
        # The engine's own fields of it may hold anything.
        entry = regs.RX_CPL.pack(0x5A5A, 0xA5A5, regs.RX_CPL_STATUS, OWN_FLAGS, HASH, TCI, STAMP)
        await start_clock_and_reset(
            self.dut, cfg_header_split=0, s_meta_valid=0, s_meta_len=0, s_axis_tdata=0,
            s_axis_tvalid=0, s_axis_tlast=0, info_valid=0, info_queue=0, info_header_len=0,
            info_entry=int.from_bytes(entry, "little"), verdict_valid=0, verdict=0, posted=0,
            posted_more=0, running=0, ready=0, consumed=0, head_desc=0, head_resp=0, job_ready=0,
            m_axis_tready=0, cpl_full=0,
        )  # fmt: skip

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    def drive(self, **values: int) -> None:
        for name, value in values.items():
            getattr(self.dut, name).value = value

    def there(self, name: str, so: bool = True) -> int:
        """Whether something is there: it comes late, and then stays."""
        here = so and (self.late.get(name, False) or self.rng.random() >= self.hold)
        self.late[name] = here
        return int(here)

    def fetched(self, queue: int, count: int) -> int:
        name = f"desc{queue}"
        soon = self.late.get(name, False) or self.rng.random() >= self.scarce
        return self.there(name, count > 0 and soon)

    def show_rings(self) -> None:
        rings = self.rings.descs
        counts = [len(ring or ()) for ring in rings]
        self.drive(
            running=sum((ring is not None) << q for q, ring in enumerate(rings)),
            posted=sum((count > 0) << q for q, count in enumerate(counts)),
            posted_more=sum((count > 1) << q for q, count in enumerate(counts)),
            ready=sum(self.fetched(q, count) << q for q, count in enumerate(counts)),
            consumed=sum(at << 16 * q for q, at in enumerate(self.rings.consumed)),
        )

    def show_head(self) -> None:
        """The descriptor of the queue it names, which may follow from what is shown."""
        queue = self.get("head_queue")
        ring, index = self.rings.descs[queue], self.rings.consumed[queue]
        if ring:
            desc = regs.RX_DESC.pack(address(queue, index), ring[0].length)
            self.drive(head_desc=int.from_bytes(desc, "little"), head_resp=ring[0].resp)

    async def run(self, frame: Frame, stop_at: int = 99) -> tuple[list[Cpl], list[str]]:
        """One frame: its completions with their data, and the events counted.

        Behind the completion number `stop_at` the queue stops.
        """
        rows, found, events = deque(frame.rows()), [], []
        jobs: deque[tuple[int, int, int]] = deque()
        data, meta, self.late = b"", True, {}
        ends = {"info_end": 0, "verdict_end": 0}
        for self.clocks in range(3000):
            await FallingEdge(self.dut.clk)
            if len(found) > stop_at:
                self.rings.descs[frame.queue] = None
            self.drive(
                cfg_header_split=int(self.split), info_queue=frame.queue, verdict=frame.verdict,
                s_meta_valid=self.there("meta", meta), s_meta_len=len(frame.data),
                info_valid=self.there("info"), info_header_len=frame.header_len,
                s_axis_tvalid=self.there("row", bool(rows)),
                verdict_valid=self.there("verdict", self.late["info"]),
                job_ready=int(self.rng.random() >= self.hold),
                m_axis_tready=int(self.rng.random() >= self.hold),
                cpl_full=int(self.rng.random() < self.hold),
            )  # fmt: skip
            if rows:
                self.drive(s_axis_tdata=rows[0][0], s_axis_tlast=rows[0][1])
            self.show_rings()
            await cocotb.triggers.Timer(1, "ns")
            self.show_head()
            await ReadOnly()
            events += self.events(frame.queue)
            taken = meta and self.late["meta"] and self.get("s_meta_ready")
            assert meta or all(ends.values()) or self.get("busy")
            meta = meta and not taken
            if self.get("m_axis_tvalid") and self.get("m_axis_tready"):
                data += self.get("m_axis_tdata").to_bytes(ROW, "little")
            if self.get("job_valid") and self.get("job_ready"):
                assert self.get("job_tag") == frame.queue
                jobs.append((self.get("job_addr"), self.get("job_lane"), self.get("job_len")))
            if self.get("cpl_push"):
                found.append(self.completion(jobs))
            if self.late["row"] and self.get("s_axis_tready"):
                rows.popleft()
                self.late["row"] = False
            if pop := self.get("pop"):
                assert pop == 1 << frame.queue
                self.rings.consumed[frame.queue] += 1
                ring = self.rings.descs[frame.queue]
                assert ring
                ring.pop(0)
                self.late[f"desc{frame.queue}"] = False
            for name in ends:
                ends[name] += self.get(name)
            if all(ends.values()) and not self.get("busy"):
                assert not rows and not jobs and not meta and set(ends.values()) == {1}
                return filled(found, data), events
        raise AssertionError("the frame does not end")

    def events(self, queue: int) -> list[str]:
        found = []
        for name in ("disabled", "no_descriptor"):
            value = self.get(f"ev_{name}")
            assert value in (0, 1 << queue)
            found += [name] * (value != 0)
        return found

    def completion(self, jobs: deque[tuple[int, int, int]]) -> Cpl:
        """Its data are still the lane they begin in and their length: rows may be on their way."""
        entry = self.get("cpl_entry").to_bytes(16, "little")
        index, length, status, flags, *rest = regs.RX_CPL.unpack(entry)
        assert rest == [HASH, TCI, STAMP]
        first, last = bool(self.get("cpl_first")), bool(self.get("cpl_last"))
        assert last == bool(flags & regs.RX_CPL_LAST)
        addr, lane, count = None, 0, 0
        if self.get("cpl_has_data"):
            addr, lane, count = jobs.popleft()
        assert count == length
        kept = flags & ~regs.RX_CPL_LAST
        queue = self.get("cpl_queue")
        place = bytes(lane) + b"\1" * count
        return Cpl(queue, index, CplStatus(status), kept, first, last, addr, place)


def filled(cpls: list[Cpl], data: bytes) -> list[Cpl]:
    """With the bytes that went to each buffer, from the rows that went to the DMA."""
    for cpl in cpls:
        rows = -(-len(cpl.data) // ROW) * ROW if cpl.addr is not None else 0
        cpl.data, data = data[cpl.data.find(1) if rows else 0 : len(cpl.data)], data[rows:]
    assert not data
    return cpls


def some_frame(rng: random.Random) -> Frame:
    length = rng.choice((1, 15, 16, 17, 60, 64, 65, 200, rng.randrange(1, 400)))
    header_len = rng.choice((0, 14, 54, 64, min(length, 255), 250))
    return Frame(rng.randbytes(length), rng.randrange(QUEUES), header_len, rng.randrange(8))


def some_ring(rng: random.Random) -> list[Desc] | None:
    if rng.random() < 0.05:
        return None
    lengths = rng.choice(((400,), (16, 64), (1, 7, 16, 33, 100), (54, 64, 65)))
    descs = [Desc(rng.choice(lengths)) for _ in range(rng.choice((0, 1, 2, 3, 9)))]
    for desc in descs:
        if rng.random() < 0.06:
            desc.resp = rng.choice((2, 3))
        elif rng.random() < 0.06:
            desc.length = 0
    return descs


@cocotb.test()
async def each_byte_finds_its_buffer_and_each_buffer_its_completion(dut: Any) -> None:
    bench = Engine(dut)
    await bench.start()
    seen: set[object] = set()
    for number in range(300):
        bench.hold, bench.split = bench.rng.choice((0.0, 0.3, 0.6)), number % 3 > 0
        bench.scarce = 0.9 * (number % 8 == 0)
        bench.rings.descs = [some_ring(bench.rng) for _ in range(QUEUES)]
        frame = some_frame(bench.rng)
        due = bench.rings.take(frame, bench.split)
        found, events = await bench.run(frame)
        assert (found or [], events) == (([], [due]) if isinstance(due, str) else (due, []))
        seen |= {due} if isinstance(due, str) else {cpl.status for cpl in due}
    assert seen == {"disabled", "no_descriptor", *set(CplStatus) - {1, 2}}
    await FallingEdge(dut.clk)
    assert not bench.get("busy")


@cocotb.test()
async def a_queue_that_stops_inside_a_frame_drops_the_rest(dut: Any) -> None:
    bench = Engine(dut)
    await bench.start()
    for stop_at in (0, 1):
        bench.rings.descs = [[Desc(20) for _ in range(9)] for _ in range(QUEUES)]
        frame = Frame(bench.rng.randbytes(150), 1, 0, 0)
        due = bench.rings.take(frame, False)
        found, events = await bench.run(frame, stop_at)
        # The engine plans a buffer ahead: a descriptor it has taken gets its completion.
        assert len(found) in (stop_at + 1, stop_at + 2)
        assert (found, events) == (due[: len(found)], ["disabled"])


@cocotb.test()
async def a_frame_takes_its_rows_and_a_few_clocks(dut: Any) -> None:
    bench = Engine(dut)
    await bench.start()
    bench.hold = 0.0
    for rows in (1, 4, 20):
        bench.rings.descs = [[Desc(4096)], [], []]
        found, _ = await bench.run(Frame(bytes(ROW * rows), 0, 0, 0))
        assert [len(cpl.data) for cpl in found] == [ROW * rows]
        assert bench.clocks <= rows + 5


@pytest.mark.parametrize("width", [128, 512])
def test_rx_engine(width: int) -> None:
    design = Design("rx_engine", nic_sources(), {"Queues": QUEUES, "DataW": width})
    simulate(design, __name__, sim=SIMS[-1], seed=SEED, env={"RX_WIDTH": str(width)}).check()
