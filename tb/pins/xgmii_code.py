"""Frames as XGMII columns and back (IEEE 802.3 clause 46): pure functions, no pins.

A column is 8 lanes: a bit string of 64 (lane 0 rightmost) and 8 control bits.  Byte places on the
wire are counted in lanes from time 0: `8 * slot + lane`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

IDLE, START, TERMINATE, ERROR, SEQUENCE = 0x07, 0xFB, 0xFD, 0xFE, 0x9C
PREAMBLE = bytes([START, *[0x55] * 6, 0xD5])
MIN_FRAME = 60  # without FCS
IFG = 12
MAX_DEFICIT = 3

Column = tuple[str, int]
IDLE_COLUMN: Column = (f"{int.from_bytes(bytes([IDLE] * 8), 'little'):064b}", 0xFF)


@dataclass(frozen=True)
class Defect:
    """What to do wrong with one frame.

    `fcs_xor` spoils the FCS; `pad` False leaves a short frame short; `error_at` puts an error
    character in place of that byte of the frame; `cut_to` ends the frame after that many bytes
    of frame and FCS, with `terminate` False by plain idle instead of a terminate character;
    `preamble` replaces the start column's 8 bytes.
    """

    fcs_xor: int = 0
    pad: bool = True
    error_at: int | None = None
    cut_to: int | None = None
    terminate: bool = True
    preamble: bytes = PREAMBLE


SOUND = Defect()


def fcs(frame: bytes) -> bytes:
    """CRC-32 as it stands on the wire."""
    return zlib.crc32(frame).to_bytes(4, "little")


def encode(frame: bytes, lane: int, defect: Defect = SOUND) -> tuple[list[Column], int]:
    """The columns of a frame (without FCS) that starts in `lane` 0 or 4.

    The second value is the place, in lanes from the first column, of the terminate character.
    """
    body = frame.ljust(MIN_FRAME, b"\0") if defect.pad else frame
    check = int.from_bytes(fcs(body), "little") ^ defect.fcs_xor
    body += check.to_bytes(4, "little")
    if defect.cut_to is not None:
        body = body[: defect.cut_to]
    lead = lane + len(defect.preamble)
    end = lead + len(body)
    stream = bytearray([IDLE] * lane + [*defect.preamble]) + body
    if defect.error_at is not None:
        stream[lead + defect.error_at] = ERROR
    stream.append(TERMINATE if defect.terminate else IDLE)
    stream += bytes([IDLE]) * (-len(stream) % 8)
    control = [0] * (len(stream) // 8)
    control[0] = (1 << lane + 1) - 1
    if defect.error_at is not None:
        at = lead + defect.error_at
        control[at // 8] |= 1 << at % 8
    for place in range(end, len(stream)):
        control[place // 8] |= 1 << place % 8
    bits = f"{int.from_bytes(stream, 'little'):0{8 * len(stream)}b}"
    words = [bits[i - 64 : i] for i in range(len(bits), 0, -64)]
    return list(zip(words, control, strict=True)), end


class GapKeeper:
    """Where the next frame may start: an inter-frame gap of 12 on average.

    A start is in lane 0 or 4, so gaps are stretched and, by the deficit idle count (46.3.1.4),
    shortened by at most 3 in sum.
    """

    def __init__(self, ifg: int = IFG) -> None:
        self.ifg = ifg
        self._deficit = 0
        self._end = -(1 << 62)  # place of the last terminate character

    def next_start(self, now: int) -> int:
        """The place of the next start; `now` is the first one still free, in lane 0."""
        ideal = self._end + self.ifg
        if ideal <= now:
            self._deficit = 0
            return now
        start = ideal - ideal % 4
        short = ideal - start
        if self._deficit + short <= MAX_DEFICIT:
            self._deficit += short
        else:
            self._deficit -= 4 - short
            start += 4
        return max(start, now)

    def ended(self, end: int) -> None:
        self._end = end


class GapChecker:
    """Whether a sender's gaps keep the average of 12 with a deficit of at most 3."""

    def __init__(self) -> None:
        self._deficit = 0
        self._end: int | None = None

    def problem(self, start: int) -> str | None:
        """What is wrong with a frame's start at this place."""
        if self._end is None:
            return None
        gap = start - self._end
        self._deficit = max(0, self._deficit + IFG - gap)
        if self._deficit > MAX_DEFICIT:
            deficit, self._deficit = self._deficit, 0
            return f"inter-frame gap of {gap} bytes, deficit {deficit} above {MAX_DEFICIT}"
        return None

    def ended(self, end: int) -> None:
        self._end = end
