"""What the unit tests of the transmit path share: frames as words of 64 bits, in and out.

Inputs change at the falling edge, and what the next rising edge will see is read before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cocotb.triggers import FallingEdge, ReadOnly
from wire_side_common import start_clock_and_reset

Word = dict[str, int]

FRAME = (  # tx_pkg::tx_frame_t from its highest bit on
    ("status", 4),
    ("fragments", 6),
    ("part", 1),
    ("len", 17),
    ("timestamp", 1),
    ("vlan_insert", 1),
    ("vlan_tci", 16),
    ("segment", 1),
    ("mss", 14),
    ("csum_start", 7),
    ("csum_offset", 4),
)


def frame_bits(**values: int) -> int:
    """A tx_frame_t; what is not named is 0."""
    assert set(values) <= {name for name, _ in FRAME}
    bits = 0
    for name, width in FRAME:
        value = values.get(name, 0)
        assert 0 <= value < 1 << width, name
        bits = bits << width | value
    return bits


def frame_fields(bits: int) -> dict[str, int]:
    """The inverse, without the fields that are 0."""
    fields = {}
    for name, width in reversed(FRAME):
        fields[name] = bits & (1 << width) - 1
        bits >>= width
    return {name: value for name, value in fields.items() if value}


def words(data: bytes, filler: int = 0, **side: int) -> list[Word]:
    """`data` in words; what is in the last behind its end is `filler`, byte for byte."""
    found = []
    for at in range(0, len(data), 8):
        part = data[at : at + 8]
        padded = part.ljust(8, bytes([filler]))
        last = int(at + 8 >= len(data))
        found.append(
            {"data": int.from_bytes(padded, "little"), "bytes": len(part), "last": last, **side}
        )
    return found


def joined(found: Sequence[Mapping[str, int]]) -> list[bytes]:
    """The frames in words that came out."""
    frames, data = [], b""
    for word in found:
        raw, count = word["data"].to_bytes(8, "little"), word["bytes"]
        assert count == 8 or word["last"], "a short word inside a frame"
        data += raw[:count]
        if word["last"]:
            frames.append(data)
            data = b""
    assert data == b"", "the last frame does not end"
    return frames


class Stream:
    """A block with words in at `s_*` and out at `m_*`, both held up at random."""

    def __init__(self, dut: Any, rng: random.Random, outputs: Sequence[str], **inputs: int) -> None:
        self.dut, self.rng = dut, rng
        self.outputs = outputs  # of the words that come out, without m_
        self.inputs = inputs  # all inputs, and their values while nothing is said
        self.pause = self.stall = 0.0
        self.found: list[Word] = []
        self.clocks = 0
        self.each_clock: Callable[[], None] = lambda: None  # before a rising edge, to read

    async def start(self) -> None:
        await start_clock_and_reset(self.dut, **self.inputs)

    async def clock(self, word: Word | None = None) -> bool:
        """One clock; whether `word` was taken."""
        dut = self.dut
        await FallingEdge(dut.clk)
        here = word is not None and self.rng.random() >= self.pause
        dut.s_valid.value = int(here)
        for name, value in (word or {}).items():
            getattr(dut, f"s_{name}" if hasattr(dut, f"s_{name}") else name).value = value
        ready = self.rng.random() >= self.stall
        if hasattr(dut, "m_ready"):
            dut.m_ready.value = int(ready)
        await ReadOnly()
        self.each_clock()
        self.clocks += 1
        if hasattr(dut, "m_valid") and ready and int(dut.m_valid.value):
            self.found.append({n: int(getattr(dut, f"m_{n}").value) for n in self.outputs})
        return bool(here and (not hasattr(dut, "s_ready") or int(dut.s_ready.value)))

    async def run(self, stream: Sequence[Word], quiet: int = 12) -> list[Word]:
        """All of `stream` in, then `quiet` clocks without anything more out; what came out."""
        self.found = []
        for word in stream:
            for _ in range(2000):
                if await self.clock(word):
                    break
            else:
                raise AssertionError("a word is not taken")
        seen, silent = -1, 0
        while silent < quiet:
            await self.clock()
            silent = 0 if len(self.found) != seen else silent + 1
            seen = len(self.found)
        return self.found
