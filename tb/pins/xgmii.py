"""The far end of the wire on the XGMII pins: sends to the NIC, listens to the NIC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tb.gpi import Pin
from tb.pins.flags import Flag, edge_ns
from tb.pins.xgmii_code import (
    ERROR,
    IDLE,
    IDLE_COLUMN,
    PREAMBLE,
    SEQUENCE,
    SOUND,
    START,
    TERMINATE,
    Column,
    Defect,
    GapChecker,
    GapKeeper,
    encode,
    fcs,
)
from tb.reports import Reports

OnSent = Callable[[], None]


@dataclass
class _Transmission:
    """A frame, or raw columns if `frame` is None."""

    frame: bytes | None
    defect: Defect
    columns: list[Column]
    on_sent: OnSent | None


class XgmiiSource:
    """Sends frames to the NIC at line rate, in order.  `frames_sent` counts whole ones."""

    mask = 0
    restless = False

    def __init__(self, dut: Any, request: Callable[[], None]) -> None:
        self._request = request
        self._data, self._control = Pin(dut.xgmii_rxd), Pin(dut.xgmii_rxc)
        self.gap = GapKeeper()
        self.frames_sent = 0
        self.reset()

    def reset(self) -> None:
        self._queue: deque[_Transmission] = deque()
        self._columns: deque[Column] = deque()
        self._current: _Transmission | None = None
        self._last_control = 0xFF
        self.busy = False
        self._data.set_bits(IDLE_COLUMN[0])
        self._control.set_int(IDLE_COLUMN[1])

    def send(self, frame: bytes, on_sent: OnSent | None = None, defect: Defect = SOUND) -> None:
        """Queue a frame without FCS; `on_sent` is called when its last column has passed."""
        self._put(_Transmission(frame, defect, [], on_sent))

    def send_columns(
        self, columns: Iterable[tuple[int, int]], on_sent: OnSent | None = None
    ) -> None:
        """Queue raw (data, control) columns, whatever they mean."""
        raw = [(f"{data:064b}", control) for data, control in columns]
        self._put(_Transmission(None, SOUND, raw, on_sent))

    def _put(self, transmission: _Transmission) -> None:
        self._queue.append(transmission)
        self.busy = True
        self._request()

    def active(self) -> bool:
        return self.busy

    def tick(self, flags: int, slot: int) -> None:
        if not self._columns:
            self._sent()
            if self._queue:
                self._begin(self._queue.popleft(), slot)
        column = self._columns.popleft() if self._columns else IDLE_COLUMN
        self._data.set_bits(column[0])
        if column[1] != self._last_control:
            self._last_control = column[1]
            self._control.set_int(column[1])
        self.busy = self._current is not None or bool(self._queue)

    def _sent(self) -> None:
        current, self._current = self._current, None
        if current is None:
            return
        if current.frame is not None:
            self.frames_sent += 1
        if current.on_sent is not None:
            current.on_sent()

    def _begin(self, transmission: _Transmission, slot: int) -> None:
        self._current = transmission
        if transmission.frame is None:
            self._columns.extend(transmission.columns)
            return
        start = self.gap.next_start(8 * slot)
        self._columns.extend([IDLE_COLUMN] * (start // 8 - slot))
        columns, end = encode(transmission.frame, start % 8, transmission.defect)
        self._columns.extend(columns)
        self.gap.ended(start - start % 8 + end)


class XgmiiSink:
    """Receives frames from the NIC and holds its XGMII output to the rules.

    `receive(frame, start_ns, end_ns)` gets every frame with a good FCS, without it; the times are
    those of the edges before its first and behind its last column.  What breaks a rule is
    reported as "xgmii", a wrong FCS as "fcs".
    """

    mask = int(Flag.TX_COLUMN)
    restless = False

    def __init__(self, dut: Any, reports: Reports) -> None:
        self._data, self._control = Pin(dut.xgmii_txd), Pin(dut.xgmii_txc)
        self._reports = reports
        self.receive: Callable[[bytes, int, int], None] | None = None
        self.frames_received = 0
        self.ordered_sets = 0
        self.reset()

    def reset(self) -> None:
        self._gap = GapChecker()
        self._words: list[str] | None = None  # of the frame that is coming in
        self._lane = 0
        self._start = 0
        self.busy = False

    def active(self) -> bool:
        return self._words is not None

    def tick(self, flags: int, slot: int) -> None:
        control = self._control.get_int()
        words = self._words
        if words is None:
            self._outside(slot, control)
        elif control == 0:
            words.append(self._data.get_bits())
        else:
            self._last_column(words, slot, control)
        self.busy = self._words is not None

    def _lanes(self) -> bytes:
        try:
            return int(self._data.get_bits(), 2).to_bytes(8, "little")
        except ValueError:
            self._reports.add("xgmii", f"unknown bits on xgmii_txd: {self._data.get_bits()}")
            return bytes([ERROR] * 8)

    def _outside(self, slot: int, control: int) -> None:
        """A column between frames that is not all idle: a frame starts, or a fault is told."""
        lanes = self._lanes()
        if lanes[0] == SEQUENCE or lanes[4] == SEQUENCE:
            self.ordered_sets += 1
        elif lanes[0] == START and control == 0x01:
            self._begin(slot, 0)
        elif lanes[4] == START and control == 0x1F and lanes[:4] == bytes([IDLE] * 4):
            self._begin(slot, 4)
        else:
            self._reports.add("xgmii", f"column {lanes.hex()}/{control:02x} outside a frame")

    def _begin(self, slot: int, lane: int) -> None:
        problem = self._gap.problem(8 * slot + lane)
        if problem is not None:
            self._reports.add("xgmii", problem)
        self._words = [self._data.get_bits()]
        self._lane = lane
        self._start = slot

    def _broken(self, words: list[str], what: str) -> None:
        self._words = None
        self._reports.add("xgmii", f"{what}, in column {len(words)} of a frame")

    def _last_column(self, words: list[str], slot: int, control: int) -> None:
        lanes = self._lanes()
        size = (control & -control).bit_length() - 1  # data lanes before the first control
        if lanes[size] == ERROR:
            self._broken(words, "error character")
            return
        rest = bytes([TERMINATE] + [IDLE] * (7 - size))
        if control != 0xFF & 0xFF << size or lanes[size:] != rest:
            self._broken(words, f"column {lanes.hex()}/{control:02x} does not end a frame")
            return
        self._words = None
        self._gap.ended(8 * slot + size)
        bits = "".join(reversed(words))
        if not bits.isdecimal():
            self._reports.add("xgmii", "unknown bits inside a frame")
            return
        whole = int(bits, 2).to_bytes(8 * len(words), "little")
        stream = whole[self._lane :] + lanes[:size]
        self._frame(stream, edge_ns(self._start - 1), edge_ns(slot))

    def _frame(self, stream: bytes, start: int, end: int) -> None:
        """Preamble, frame, FCS; the column was on the wire since the edge before its sample."""
        if stream[:8] != PREAMBLE:
            self._reports.add("xgmii", f"preamble is {stream[:8].hex()}")
        frame, check = stream[8:-4], stream[-4:]
        if len(frame) < 60:
            self._reports.add("xgmii", f"frame of {len(frame)} bytes without FCS is a runt")
        if fcs(frame) != check:
            self._reports.add("fcs", f"frame of {len(frame)} bytes with FCS {check.hex()}")
            return
        self.frames_received += 1
        if self.receive is not None:
            self.receive(frame, start, end)
