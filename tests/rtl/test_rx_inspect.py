"""rx_inspect: what is said of a stored frame when its tag is taken out, and what `busy` covers."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge
from conftest import SEED, SIMS
from rx_packets import Packets
from rx_reference import Facts, Rss, facts_of, is_tagged
from wire_side_common import beats, start_clock_and_reset

from pystack.dev.drivers.w2a_regs import HashType
from wire2app.simulator import Design, nic_sources, simulate

QUEUES = 3
DEFAULT = 1
TAG = 4  # bytes


def queue_of(index: int) -> int:
    """The indirection table."""
    return index * 5 % QUEUES


@dataclass(frozen=True)
class Said:
    """Of a frame before its verdict; `header_len` is where it lies in the buffer, 0: no split."""

    queue: int
    header_len: int
    stripped: bool
    tci: int
    hash_type: HashType
    hash: int
    stamp: int


class Inspector:
    """Sends frames, tells whether they are stored, and takes what is said as the engine does."""

    def __init__(self, dut: Any, rng: random.Random, strip: bool) -> None:
        self.dut, self.rng, self.strip = dut, rng, strip
        self.now = 0
        self.under_way = 0  # frames that have begun and not ended
        self.ends: deque[tuple[int, bool]] = deque()  # when the buffer has a frame, and if it stays
        self.infos: deque[tuple[Said, int]] = deque()  # and the frame's length
        self.verdicts: deque[Facts] = deque()

    async def clock(self) -> None:
        dut, rng = self.dut, self.rng
        await FallingEdge(dut.clk)
        waits = self.under_way or self.ends or self.infos or self.verdicts
        assert dut.busy.value == 1 or not waits, "idle with something to say"
        self.now += 1
        dut.now.value = self.now
        ended, stored = False, False
        if self.ends and self.ends[0][0] <= self.now:
            ended, stored = True, self.ends.popleft()[1]
        dut.ended.value, dut.stored.value = int(ended), int(stored)
        takes = [int(dut.info_valid.value) and rng.random() < 0.4]
        takes.append(int(dut.verdict_valid.value) and rng.random() < 0.4)
        dut.info_end.value, dut.verdict_end.value = (int(take) for take in takes)
        if takes[0]:
            due, length = self.infos.popleft()
            assert self._said(length) == due
        if takes[1]:
            facts = self.verdicts.popleft()
            assert int(dut.verdict.value) == facts.ip_ok << 2 | facts.l4_ok << 1 | facts.l4_bad
        dut.table_queue.value = queue_of(int(dut.table_index.value)) if self.hashed() else 15

    def hashed(self) -> bool:
        return bool(self.dut.table_index.value.is_resolvable)

    def _said(self, length: int) -> Said:
        """A header that is as long as the frame is as good as none."""
        dut = self.dut
        entry = int(dut.info_entry.value)
        stripped = bool(entry >> 41 & 1)
        header = int(dut.info_header_len.value)
        if header + TAG * stripped >= length:
            header = 0
        return Said(
            int(dut.info_queue.value),
            header,
            stripped,
            entry >> 80 & 0xFFFF,
            HashType(entry >> 45 & 3),
            entry >> 48 & 0xFFFFFFFF,
            entry >> 96 & 0x7FFFFFFF,
        )

    async def send(self, frame: bytes, stored: bool) -> None:
        """With nothing else under way: the stamp is that of its first beat."""
        dut = self.dut
        for number, beat in enumerate(beats(frame)):
            await self.clock()
            if not self.under_way:
                self.under_way, begun = 1, self.now
            dut.s_axis_tvalid.value, dut.s_axis_tlast.value = 1, int(beat.last)
            dut.s_axis_tdata.value, dut.s_axis_tkeep.value = beat.data, beat.keep
            dut.s_axis_stripped.value = int(self.strip and number > 2 and is_tagged(frame))
        facts = facts_of(frame, Rss())
        if stored:
            stripped = self.strip and facts.tci is not None
            header = facts.header_len - TAG if stripped and facts.header_len else facts.header_len
            queue = queue_of(facts.hash & 127) if facts.hash_type else DEFAULT
            tci = facts.tci or 0 if stripped else 0
            said = Said(queue, header, stripped, tci, facts.hash_type, facts.hash, begun)
            self.infos.append((said, len(frame)))
            self.verdicts.append(facts)
        self.ends.append((self.now + 3, stored))
        await self.clock()
        dut.s_axis_tvalid.value = dut.s_axis_stripped.value = 0
        self.under_way = 0
        for _ in range(self.rng.choice((2, 9, 30))):
            await self.clock()


async def inspect(dut: Any, strip: bool) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    inspector, packets = Inspector(dut, rng, strip), Packets(rng, max_payload=60)
    inputs = ("tdata", "tkeep", "tvalid", "tlast", "stripped")
    await start_clock_and_reset(
        dut,
        **{f"s_axis_{name}": 0 for name in inputs},
        **{name: 0 for name in ("now", "ended", "stored", "info_end", "verdict_end")},
        cfg_default_queue=DEFAULT,
        cfg_rss_ipv4=7,
        cfg_rss_ipv6=7,
        cfg_rss_key=int.from_bytes(Rss().key, "little"),
        table_queue=0,
    )
    for _ in range(150):
        await inspector.send(packets.frame(), rng.random() < 0.8)
    for _ in range(60):
        await inspector.clock()
    assert not inspector.infos and not inspector.verdicts
    assert not int(dut.info_valid.value) and not int(dut.busy.value)


@cocotb.test()
async def what_is_said_of_a_frame_is_that_of_its_place_in_the_buffer(dut: Any) -> None:
    await inspect(dut, strip=True)


@cocotb.test()
async def with_its_tag_left_in_a_frame_is_told_as_it_came(dut: Any) -> None:
    await inspect(dut, strip=False)


@pytest.mark.parametrize("sim", SIMS)
def test_rx_inspect(sim: str) -> None:
    design = Design("rx_inspect", nic_sources(), {"Queues": QUEUES, "Depth": 16})
    simulate(design, __name__, sim=sim, seed=SEED).check()
