"""The wire's far end of BUS=fast: frames go to the models in C, which pace and encode them."""

from __future__ import annotations

import ctypes
import struct
from collections import deque
from collections.abc import Callable, Iterable

from tb.fast import library
from tb.pins.xgmii_code import IFG, SOUND, Defect


class FastWire:
    """`woken` is told what the models said of the clock when they got work."""

    def __init__(
        self, lib: ctypes.CDLL, shared: library.Shared, woken: Callable[[int], None]
    ) -> None:
        self._lib = lib
        self._shared = shared
        self._woken = woken
        self._on_sent: deque[Callable[[], None]] = deque()
        self._ifg = IFG
        self.receive: Callable[[bytes, int, int], None] | None = None

    def reset(self) -> None:
        """Frames under way are lost, and nobody is told that they were sent."""
        self._on_sent.clear()

    @property
    def frames_sent(self) -> int:
        return int(self._shared.frames_sent)

    @property
    def frames_received(self) -> int:
        return int(self._shared.frames_received)

    @property
    def ordered_sets(self) -> int:
        return int(self._shared.ordered_sets)

    @property
    def ifg(self) -> int:
        return self._ifg

    @ifg.setter
    def ifg(self, lanes: int) -> None:
        self._ifg = lanes
        self._lib.bus_gap(lanes)

    def listen(self, receive: Callable[[bytes, int, int], None]) -> None:
        self.receive = receive

    def send(
        self, frame: bytes, on_sent: Callable[[], None] | None = None, defect: Defect = SOUND
    ) -> None:
        """ValueError, and nothing is sent, if the frame cannot have the defect."""
        wanted = on_sent is not None
        if defect is SOUND:
            was_running = self._lib.bus_send(frame, len(frame), wanted)
        else:
            fault = library.defect_struct(defect, len(frame))
            was_running = self._lib.bus_send_defect(frame, len(frame), wanted, ctypes.byref(fault))
        self._queued(on_sent, was_running)

    def send_columns(
        self, columns: Iterable[tuple[int, int]], on_sent: Callable[[], None] | None = None
    ) -> None:
        """ValueError, and nothing is sent, unless each column is 64 data and 8 control bits."""
        try:
            raw = b"".join(struct.pack("<QB", *column) for column in columns)
        except struct.error as error:
            raise ValueError(f"a column is 64 bits of data and 8 of control: {error}") from error
        was_running = self._lib.bus_send_columns(raw, len(raw) // 9, on_sent is not None)
        self._queued(on_sent, was_running)

    def _queued(self, on_sent: Callable[[], None] | None, was_running: int) -> None:
        if on_sent is not None:
            self._on_sent.append(on_sent)
        self._woken(was_running)

    def sent(self) -> None:
        """The oldest frame whose sender waits has left."""
        self._on_sent.popleft()()
