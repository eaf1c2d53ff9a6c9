"""PACKET_TX_RING: frames the application has written into shared memory (`tpacket_snd`).

A frame is sent from its slot: the driver reads it there, no copy is made before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial

from pystack.transport.packet.constants import (
    TP_STATUS_AVAILABLE,
    TP_STATUS_SEND_REQUEST,
    TP_STATUS_SENDING,
    TP_STATUS_WRONG_FORMAT,
)
from pystack.transport.packet.ring import HDRLEN2, SOCKADDR_LL, FrameRing, Request

_LENGTH = struct.Struct("=I")
_LENGTH_OFF = 4
_DATA_OFF = HDRLEN2 - SOCKADDR_LL


class TxRing:
    def __init__(self, request: Request) -> None:
        self._ring = FrameRing(request, 0, pages=False)
        self.memory = self._ring.memory
        self._head = 0
        self.pending = 0

    def requests(self, longest: int) -> Iterator[tuple[memoryview, Callable[[], None]] | None]:
        """(frame, what to call when it has left) of each slot to be sent; None: a bad length."""
        ring = self._ring
        while ring.status(self._head) == TP_STATUS_SEND_REQUEST:
            index = self._head
            begin = ring.slot(index)
            (length,) = _LENGTH.unpack_from(self.memory, begin + _LENGTH_OFF)
            room = ring.request.frame_size - _DATA_OFF
            self._head = (index + 1) % ring.request.frame_nr
            if not 0 < length <= min(longest, room):
                ring.set_status(index, TP_STATUS_WRONG_FORMAT)
                yield None
                continue
            ring.set_status(index, TP_STATUS_SENDING)
            self.pending += 1
            data = memoryview(self.memory)[begin + _DATA_OFF : begin + _DATA_OFF + length]
            yield data, partial(self._sent, index)

    def writable(self) -> bool:
        return self._ring.status(self._head) == TP_STATUS_AVAILABLE

    def _sent(self, index: int) -> None:
        self.pending -= 1
        self._ring.set_status(index, TP_STATUS_AVAILABLE)
