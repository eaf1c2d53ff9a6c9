"""What the tests of the wire-side RTL share: XGMII lines to send, XGMII words decoded, beats.

Reference for the FCS is zlib.crc32; the rules are those of IEEE 802.3 clause 46.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

IDLE, SEQUENCE, START, TERMINATE, ERROR = 0x07, 0x9C, 0xFB, 0xFD, 0xFE
IDLE_WORD = (0x0707070707070707, 0xFF)
PREAMBLE = bytes([START, *[0x55] * 6, 0xD5])
LOCAL_FAULT = bytes([SEQUENCE, 0, 0, 1])
REMOTE_FAULT = bytes([SEQUENCE, 0, 0, 2])

OK, BAD_FCS, RUNT, OVERSIZE, CODED_ERROR, FILTERED, OVERFLOW, PAUSE = range(8)

CLOCK_PS = 6400


def fcs(data: bytes) -> bytes:
    """The four FCS bytes in the order they go on the wire."""
    return zlib.crc32(data).to_bytes(4, "little")


def some_bytes(rng: random.Random, length: int) -> bytes:
    return rng.randbytes(length)


class XgmiiLine:
    """A row of XGMII lanes to be sent: bytes and their control flags, position 0 is lane 0."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.control = bytearray()

    def symbols(self, data: Iterable[int], control: Iterable[int]) -> None:
        self.data += bytes(data)
        self.control += bytes(control)

    def idle(self, lanes: int) -> None:
        self.symbols([IDLE] * lanes, [1] * lanes)

    def align(self, lane: int, step: int = 8) -> None:
        """Idle until the next lane modulo `step` is `lane`."""
        self.idle((lane - len(self.data)) % step)

    def ordered_set(self, column: bytes) -> None:
        self.align(0, 4)
        self.symbols(column, [1, 0, 0, 0])

    def start(self) -> None:
        """Start, preamble and SFD here; the position is a multiple of 4."""
        assert len(self.data) % 4 == 0
        self.symbols(PREAMBLE, [1] + [0] * 7)

    def body(self, data: bytes) -> None:
        self.symbols(data, bytes(len(data)))

    def terminate(self) -> None:
        self.symbols([TERMINATE], [1])

    def frame(self, data: bytes, lane: int | None = None, gap: int = 12) -> None:
        """A good frame: at least `gap` lanes of idle (or terminate) before it, then in `lane`
        (0, 4 or None: the next of both)."""
        self.idle(max(0, gap - 1))
        self.align(lane or 0, 4 if lane is None else 8)
        self.raw(data + fcs(data))

    def raw(self, data_and_fcs: bytes) -> None:
        self.start()
        self.body(data_and_fcs)
        self.terminate()

    def words(self) -> Iterator[tuple[int, int]]:
        """(rxd, rxc) per clock; the last is filled up with idle."""
        self.align(0)
        for i in range(0, len(self.data), 8):
            control = sum(bit << n for n, bit in enumerate(self.control[i : i + 8]))
            yield int.from_bytes(self.data[i : i + 8], "little"), control


@dataclass
class XgmiiFrame:
    """A frame found in XGMII words.  Positions count lanes from the first word on."""

    start: int
    data: bytearray = field(default_factory=bytearray)  # after the SFD, with FCS
    end: int = -1  # position of the terminate
    errors: int = 0

    @property
    def payload(self) -> bytes:
        """The frame without FCS, which is checked."""
        assert not self.errors, f"error characters in the frame at lane {self.start}"
        assert fcs(bytes(self.data[:-4])) == self.data[-4:], f"bad FCS at lane {self.start}"
        return bytes(self.data[:-4])


def decode(words: Sequence[tuple[int, int]]) -> list[XgmiiFrame]:
    """The frames in `words`; asserts that everything outside them is idle."""
    frames: list[XgmiiFrame] = []
    frame: XgmiiFrame | None = None
    for index, (data, control) in enumerate(words):
        if (data, control) == IDLE_WORD and frame is None:
            continue
        lanes = data.to_bytes(8, "little")
        if control == 0 and frame is not None:
            frame.data += lanes
            continue
        for lane, byte in enumerate(lanes):
            position = 8 * index + lane
            is_control = control >> lane & 1
            if frame is None:
                if is_control and byte == START:
                    assert lane % 4 == 0, f"start in lane {lane}"
                    frame = XgmiiFrame(position)
                else:
                    assert is_control and byte == IDLE, f"{byte:#x} in the gap at {position}"
            elif not is_control:
                frame.data.append(byte)
            elif byte == ERROR:
                frame.errors += 1
            else:
                assert byte == TERMINATE, f"control {byte:#x} in the frame at {position}"
                assert frame.data[:7] == PREAMBLE[1:], "preamble"
                del frame.data[:7]
                frame.end = position
                frames.append(frame)
                frame = None
    assert frame is None, "the last frame does not end"
    return frames


@dataclass(frozen=True)
class Beat:
    data: int
    keep: int
    last: bool
    user: int = 0


def beats(data: bytes, width: int = 8, user: int = 0) -> list[Beat]:
    """`data` as AXI-stream beats of `width` bytes; `user` goes with the last."""
    result = []
    for i in range(0, len(data), width):
        part = data[i : i + width]
        last = i + width >= len(data)
        keep = (1 << len(part)) - 1
        result.append(Beat(int.from_bytes(part, "little"), keep, last, user if last else 0))
    return result


def beat_bytes(data: int, keep: int) -> bytes:
    """The bytes of a beat; asserts that tkeep is contiguous from bit 0."""
    assert keep & (keep + 1) == 0, f"tkeep {keep:#x} is not contiguous"
    count = keep.bit_count()
    return (data & ((1 << 8 * count) - 1)).to_bytes(count, "little")


async def start_clock_and_reset(dut: Any, **inputs: int) -> None:
    """Give every input a value, start the clock, reset for two clocks."""
    for name, value in inputs.items():
        getattr(dut, name).value = value
    dut.rst.value = 1
    Clock(dut.clk, CLOCK_PS, "ps").start()
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
