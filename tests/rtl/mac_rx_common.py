"""What the tests of mac_rx share: a receiver of its frames, and a model of its rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cocotb.triggers import RisingEdge
from wire_side_common import (
    BAD_FCS,
    CODED_ERROR,
    ERROR,
    IDLE_WORD,
    OK,
    OVERSIZE,
    PREAMBLE,
    RUNT,
    START,
    TERMINATE,
    XgmiiLine,
    beat_bytes,
    fcs,
    start_clock_and_reset,
)

MAX_FRAME = 1518
Received = tuple[bytes, int]


async def reset(dut: Any, max_frame: int = MAX_FRAME) -> None:
    await start_clock_and_reset(
        dut, xgmii_rxd=IDLE_WORD[0], xgmii_rxc=IDLE_WORD[1], cfg_max_frame=max_frame
    )


class Receiver:
    """Sends words and collects what comes out: (data, verdict) per frame."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.frames: list[Received] = []
        self.partial = bytearray()

    def sample(self) -> None:
        dut = self.dut
        if dut.m_axis_tvalid.value != 1:
            return
        assert dut.busy.value == 1
        keep, last = int(dut.m_axis_tkeep.value), bool(dut.m_axis_tlast.value)
        assert last or keep == 0xFF
        if keep:  # an empty last beat may carry anything
            self.partial += beat_bytes(int(dut.m_axis_tdata.value), keep)
        if last:
            self.frames.append((bytes(self.partial), int(dut.m_axis_tuser.value)))
            self.partial.clear()

    async def send(self, words: Iterable[tuple[int, int]]) -> None:
        rxd, rxc, edge = self.dut.xgmii_rxd, self.dut.xgmii_rxc, RisingEdge(self.dut.clk)
        for data, control in words:
            rxd.value = data
            rxc.value = control
            await edge
            self.sample()

    async def run(self, line: XgmiiLine, tail: int = 8) -> list[Received]:
        """Send the line and some idle; the frames that came out since the last run."""
        self.frames = []
        await self.send([*line.words(), *[IDLE_WORD] * tail])
        assert not self.partial, "the last frame has no tlast"
        return self.frames


def model(line: XgmiiLine, max_frame: int = MAX_FRAME) -> list[tuple[bytes | None, int]]:
    """What the rules of mac_rx_align make of a line, column by column.

    Data is None where the receiver is free to cut the frame short.
    """
    result: list[tuple[bytes | None, int]] = []
    line.align(0)
    data, control = bytes(line.data), bytes(line.control)
    starts = [i for i in range(0, len(data), 4) if control[i] and data[i] == START]
    restarted = False
    for index, start in enumerate(starts):
        limit = starts[index + 1] if index + 1 < len(starts) else len(data)
        if limit == start + 4:
            restarted = True
            continue
        whole = data[start : start + 8] == PREAMBLE and not any(control[start + 1 : start + 8])
        if restarted or not whole:
            result.append((None, CODED_ERROR))
        else:
            result.append(model_body(data[start + 8 : limit], control[start + 8 :], max_frame))
        restarted = False
    return result


def model_body(data: bytes, control: bytes, max_frame: int) -> tuple[bytes | None, int]:
    """The verdict on what follows the SFD, up to the next start at most."""
    length = next((i for i, byte in enumerate(data) if control[i] and byte != ERROR), -1)
    if length < 0 or data[length] != TERMINATE or any(control[:length]):
        return None, CODED_ERROR
    frame = data[:length]
    if length > max_frame + 4:
        return None, OVERSIZE
    payload = frame[: max(0, length - 4)]
    if length < 8:
        return None, RUNT
    if length < 64:
        return payload, RUNT
    return payload, OK if fcs(payload) == frame[-4:] else BAD_FCS


def check(got: list[Received], expected: list[tuple[bytes | None, int]]) -> None:
    """Same frames in the same order; data compared where the model knows it."""
    assert [v for _, v in got] == [v for _, v in expected]
    for index, ((data, verdict), (want, _)) in enumerate(zip(got, expected, strict=True)):
        assert want is None or data == want, f"frame {index}, verdict {verdict}"


async def run_and_check(dut: Any, line: XgmiiLine, max_frame: int = MAX_FRAME) -> list[int]:
    """Send the line, compare with the model; the verdicts."""
    got = await Receiver(dut).run(line)
    check(got, model(line, max_frame))
    return [verdict for _, verdict in got]
