"""The wire side of receive as a whole, from XGMII to what the engine is told of each stored frame,
with frames as close to each other as XGMII allows.

Top is nic_rx with its rings off: the engine takes every frame and drops it, and what it saw is
looked up inside the design.  So this runs on Icarus only.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge
from conftest import SEED
from mac_rx_common import model
from rx_packets import Packets
from rx_reference import DESTINATION, ETH_IPV6, Facts, Rss, facts_of
from wire_side_common import (
    ERROR,
    FILTERED,
    IDLE_WORD,
    OK,
    OVERFLOW,
    PAUSE,
    START,
    XgmiiLine,
    fcs,
    start_clock_and_reset,
)

from wire2app.simulator import Design, nic_sources, simulate

QUEUES, DEFAULT = 3, 1
OWN = bytes.fromhex("02a1b2c3d4e5")
CONTROL = bytes.fromhex("0180c2000001")
MAX_FRAME = 600
TAG = 4
# inputs of nic_rx that stay 0
QUIET = """cfg_promiscuous cfg_all_multicast cfg_filter cfg_filter_valid cfg_multicast_hash
    cfg_header_split table_queue now enable run_on log2_entries doorbell doorbell_producer desc_base
    cpl_base read_job_ready read_tdata read_tkeep read_tvalid read_tlast read_ttag read_tresp
    write_job_ready write_tready write_done write_done_tag write_done_resp""".split()


def queue_of(index: int) -> int:
    """The indirection table."""
    return index * 5 % QUEUES


@dataclass(frozen=True)
class Stored:
    """What the engine is given with a frame."""

    data: bytes
    stripped: bool
    queue: int
    facts: Facts
    late: int  # clocks from the word with the start character to the time stamp


class WireSide:
    def __init__(self, dut: Any, strip: bool, switches: bool) -> None:
        self.dut, self.strip, self.switches = dut, strip, switches
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.now = 0
        self.verdicts: list[int] = []
        self.told: list[tuple[int, bool, int, int, int, int, int, int]] = []
        self.data: list[bytes] = []
        self.checked: list[int] = []
        self._part = bytearray()

    async def reset(self) -> None:
        await start_clock_and_reset(
            self.dut,
            **dict.fromkeys(QUIET, 0),
            xgmii_rxd=IDLE_WORD[0],
            xgmii_rxc=IDLE_WORD[1],
            cfg_enable=1,
            cfg_max_frame=MAX_FRAME,
            cfg_mac=int.from_bytes(OWN, "little"),
            cfg_default_queue=DEFAULT,
            cfg_rss_ipv4=7,
            cfg_rss_ipv6=7,
            cfg_rss_key=int.from_bytes(Rss().key, "little"),
            cfg_vlan_strip=int(self.strip),
            cfg_pause=1,
        )
        await FallingEdge(self.dut.clk)

    async def send(self, line: XgmiiLine) -> None:
        for word in [*line.words(), *[IDLE_WORD] * 40]:
            await self.clock(*word)
        while int(self.dut.busy.value):
            await self.clock(*IDLE_WORD)

    async def clock(self, data: int, control: int) -> None:
        """Gives the word of clock `now`; looks at what the clock before has made of the others."""
        dut = self.dut
        if int(dut.ev_wire.value):
            self.verdicts.append(int(dut.ev_wire_verdict.value))
        if int(dut.meta_valid.value) and int(dut.meta_ready.value):
            self._look_at_info()
        if int(dut.verdict_end.value):
            self.checked.append(int(dut.verdict.value))
        if int(dut.frame_tvalid.value) and int(dut.frame_tready.value):
            self._part += int(dut.frame_tdata.value).to_bytes(8, "little")
            if int(dut.frame_tlast.value):
                self.data.append(bytes(self._part))
                self._part.clear()
        index = dut.table_index.value
        dut.table_queue.value = queue_of(int(index)) if index.is_resolvable else 15
        dut.xgmii_rxd.value, dut.xgmii_rxc.value = data, control
        dut.now.value = self.now
        if self.switches and self.rng.random() < 0.2:
            self.strip = not self.strip
            dut.cfg_vlan_strip.value = int(self.strip)
        await FallingEdge(dut.clk)
        self.now += 1

    def _look_at_info(self) -> None:
        dut = self.dut
        assert int(dut.info_valid.value)
        entry = int(dut.info_entry.value)
        self.told.append(
            (
                int(dut.meta_len.value),
                bool(entry >> 41 & 1),
                entry >> 80 & 0xFFFF,
                int(dut.info_queue.value),
                int(dut.info_header_len.value),
                entry >> 45 & 3,
                entry >> 48 & 0xFFFFFFFF,
                entry >> 96 & 0x7FFFFFFF,
            )
        )

    def stored(self, starts: list[int]) -> list[Stored]:
        """`starts`: lanes of the starts of these frames."""
        result = []
        said = zip(self.told, self.data, self.checked, starts, strict=True)
        for told, data, checked, start in said:
            length, stripped, tci, queue, header, kind, value, stamp = told
            if header >= length:  # as good as none
                header = 0
            verdict = [bool(checked >> bit & 1) for bit in (2, 1, 0)]
            facts = Facts(tci, kind, value, header, *verdict)  # type: ignore[arg-type]
            result.append(Stored(data[:length], stripped, queue, facts, stamp - start // 8))
        return result


def expected(frame: bytes, strip: bool, start: int) -> Stored:
    facts = facts_of(frame, Rss())
    queue = queue_of(facts.hash & 127) if facts.hash_type else DEFAULT
    stripped = strip and facts.tci is not None
    header = facts.header_len - TAG if stripped and facts.header_len else facts.header_len
    facts = replace(facts, tci=facts.tci or 0 if stripped else 0, header_len=header)
    data = frame[:12] + frame[16:] if stripped else frame
    return Stored(data, stripped, queue, facts, 6 + (start % 8 > 0))


class Traffic:
    """A line of frames of all kinds, most of them good, with gaps that are mostly short."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.line = rng, XgmiiLine()
        self.packets = Packets(rng, to=OWN, max_payload=60)
        self.other = Packets(rng, max_payload=20, to=OWN[::-1])

    def _chain(self) -> bytes:
        """Headers up to the very end, or nearly."""
        rng, rest = self.rng, self.rng.randrange(8, 60)
        words = rng.choice((rest // 8 - 1, rest // 8, rest))
        ipv6 = bytes([0x60, 0, 0, 0]) + rest.to_bytes(2, "big") + bytes([DESTINATION, 64])
        ipv6 += rng.randbytes(32) + bytes([6, words]) + rng.randbytes(rest - 2)
        tags = rng.choice((b"", b"\x81\x00" + rng.randbytes(2)))
        frame = OWN + bytes(6) + tags + ETH_IPV6.to_bytes(2, "big") + ipv6
        return frame.ljust(60, b"\0")

    def _pause(self) -> bytes:
        head = CONTROL + OWN + b"\x88\x08\x00\x01\x00" + self.rng.randbytes(1)
        return head.ljust(60, b"\0")

    def crumbs(self) -> None:
        """Frames of a few bytes, one upon the other."""
        for _ in range(self.rng.randrange(2, 20)):
            self.line.align(0, 4)
            self.line.raw(self.rng.randbytes(self.rng.choice((0, 0, 0, 1, 3, 4, 7, 8, 9, 17))))

    def frame(self) -> None:
        rng, line = self.rng, self.line
        if rng.random() < 0.03:
            self.crumbs()
        line.idle(rng.choice((0, 0, 0, 4, 4, 5, 11, 40)))
        line.align(0, 4)
        kind = rng.choices(range(9), (12, 8, 3, 2, 1, 1, 1, 1, 1))[0]
        if kind == 0:
            data = self.packets.frame()
        elif kind == 1:
            data = self._chain()
        elif kind == 2:
            data = self.other.frame()
        elif kind == 3:
            data = self._pause()
        elif kind == 4:
            data = rng.randbytes(MAX_FRAME + rng.randrange(20))
        else:
            data = self.packets.frame()[: rng.randrange(0, 200)]
        data += fcs(data)
        line.start()
        if kind == 5:  # a start in the midst
            line.body(data[: len(data) & ~3])
        elif kind == 6:
            at = rng.randrange(len(data))
            line.body(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            line.terminate()
        elif kind == 7:
            at = rng.randrange(len(data))
            line.body(data[:at])
            line.symbols([ERROR], [1])
            line.body(data[at + 1 :])
            line.terminate()
        else:
            line.body(data)
            line.terminate()


async def random_line(dut: Any, count: int, strip: bool, switches: bool = False) -> Counter[int]:
    traffic = Traffic(random.Random(cocotb.RANDOM_SEED + strip))
    side = WireSide(dut, strip, switches)
    await side.reset()
    for _ in range(count):
        traffic.frame()
    line = traffic.line
    found = [(start, *frame) for start, frame in model_with_starts(line)]
    await side.send(line)
    due, starts, verdicts = [], [], []
    for start, data, verdict in found:
        if verdict == OK and data is not None:
            if data[:6] == CONTROL:
                verdict = PAUSE
            elif data[:6] != OWN:
                verdict = FILTERED
            else:
                starts.append(start)
                choices = (False, True) if switches else (strip,)
                due.append([expected(data, choice, start) for choice in choices])
        verdicts.append(verdict)
    assert side.verdicts == verdicts
    for number, (got, want) in enumerate(zip(side.stored(starts), due, strict=True)):
        assert got in want, f"stored frame {number}"
    assert OVERFLOW not in verdicts
    return Counter(verdicts)


def model_with_starts(line: XgmiiLine) -> list[tuple[int, tuple[bytes | None, int]]]:
    """Those of mac_rx_common's model, with the lane of each one's start."""
    frames = model(line, MAX_FRAME)
    starts = [i for i in range(0, len(line.data), 4) if line.control[i] and line.data[i] == START]
    assert len(starts) == len(frames)
    return list(zip(starts, frames, strict=True))


@cocotb.test()
async def every_stored_frame_is_told_of_as_its_own_bytes_say(dut: Any) -> None:
    for strip in (False, True):
        seen = await random_line(dut, 500, strip)
        assert set(seen) == {0, 1, 2, 3, 4, 5, 7} and seen[OK] > 150, seen


@cocotb.test()
async def a_tag_is_in_the_frame_or_beside_it_whenever_that_is_switched(dut: Any) -> None:
    assert (await random_line(dut, 400, False, switches=True))[OK] > 100


def test_rx_wire_side() -> None:
    design = Design("nic_rx", nic_sources(), {"Queues": QUEUES, "DataW": 64, "BufferBytes": 4096})
    simulate(design, __name__, sim="icarus", seed=SEED).check()
