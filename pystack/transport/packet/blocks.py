"""TPACKET_V3: blocks of frames, handed over when full or after a time (`net/packet/af_packet.c`).

Within a block frames stand close together, so their bytes are copied there: no page a NIC wrote
has this layout.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from pystack.core.headers.ethernet import ETH_HLEN
from pystack.core.kernel import Kernel
from pystack.transport.packet.constants import (
    TP_STATUS_BLK_TMO,
    TP_STATUS_KERNEL,
    TP_STATUS_TS_SOFTWARE,
    TP_STATUS_USER,
)
from pystack.transport.packet.frame import Frame
from pystack.transport.packet.ring import SOCKADDR_LL, Request, align, offsets, wall
from pystack.transport.sock import os_error

BLOCK_ALIGN = 8
DEFAULT_RETIRE_MS = 8  # DEFAULT_PRB_RETIRE_TOV, of a link whose speed is not known
_BLOCK = struct.Struct("=IIIIIIQ4I")
_HDR3 = struct.Struct("=IIIIIIHHIIH2x8x")
_STATUS = struct.Struct("=I")
_STATUS_OFF, _VERSION = 8, 3
HDRLEN3 = _HDR3.size + SOCKADDR_LL
MS = 1_000_000  # ns


class BlockRing:
    """`wake` is called when a block has become the application's."""

    def __init__(
        self, kernel: Kernel, request: Request, reserve: int, wake: Callable[[], None]
    ) -> None:
        request.check(HDRLEN3, reserve)
        first = align(_BLOCK.size, BLOCK_ALIGN) + align(request.priv, BLOCK_ALIGN)
        if first + HDRLEN3 >= request.block_size or request.features & ~1:
            raise os_error(errno.EINVAL)
        self.kernel = kernel
        self.request = request
        self.reserve = reserve
        self.memory = bytearray(request.block_size * request.block_nr)
        self.copied = 0
        self.freezes = 0  # how often there was no block to go on with
        self._wake = wake
        self._first = first
        self._block = 0
        self._seq = 0
        self._open = False
        self._count = self._offset = self._last = 0
        self._times = (0, 0), (0, 0)
        self._retire = (request.retire_ms or DEFAULT_RETIRE_MS) * MS
        self._timer = kernel.timer(self._timeout)

    def status(self, block: int) -> int:
        at = block * self.request.block_size + _STATUS_OFF
        return int(_STATUS.unpack_from(self.memory, at)[0])

    def set_status(self, block: int, status: int) -> None:
        _STATUS.pack_into(self.memory, block * self.request.block_size + _STATUS_OFF, status)

    def put(self, frame: Frame, keep: int, cooked: bool, losing: bool) -> bool:
        """False: no block to go on with; `losing` is not told of (a V3 reader has `freezes`)."""
        mac, net = offsets(HDRLEN3, self.reserve, cooked)
        data = frame.data[ETH_HLEN:] if cooked else frame.data
        keep = min(keep, self.request.block_size - self._first - mac)
        total = align(mac + keep, BLOCK_ALIGN)
        if self._open and self._offset + total > self.request.block_size:
            self._retire_block(0)
        if not self._open and not self._open_block():
            return False
        begin = self._block * self.request.block_size + self._offset
        if self._count:
            struct.pack_into("=I", self.memory, self._last, begin - self._last)
        time = wall(frame.skb.tstamp or self.kernel.now)
        rxhash = frame.hash if self.request.features & 1 else 0
        status = TP_STATUS_USER | TP_STATUS_TS_SOFTWARE | frame.status
        fields = *time, keep, len(data), status, mac, net, rxhash, *frame.vlan
        _HDR3.pack_into(self.memory, begin, 0, *fields)
        address = begin + _HDR3.size
        self.memory[address : address + SOCKADDR_LL] = frame.sockaddr_ll
        self.memory[begin + mac : begin + mac + keep] = data[:keep]
        self.copied += keep
        self._times = (self._times[0] if self._count else time), time
        self._last, self._offset, self._count = begin, self._offset + total, self._count + 1
        return True

    def readable(self) -> bool:
        before = (self._block - 1) % self.request.block_nr
        return self.status(before) != TP_STATUS_KERNEL

    def close(self) -> None:
        self._timer.delete()

    def _open_block(self) -> bool:
        """Begin the next block if the application has given it back."""
        if self.status(self._block) != TP_STATUS_KERNEL:
            self.freezes += not self._count
            self._count = -1  # counted once, until it goes on
            return False
        self._open, self._count, self._offset = True, 0, self._first
        self._timer.mod(self.kernel.now + self._retire)
        return True

    def _retire_block(self, why: int) -> None:
        """Hand the block over: its descriptor, the status last."""
        self._timer.delete()
        self._seq += 1
        begin = self._block * self.request.block_size
        fields = self._count, self._first, self._offset, self._seq
        times = *self._times[0], *self._times[1]
        priv = align(_BLOCK.size, BLOCK_ALIGN)
        _BLOCK.pack_into(self.memory, begin, _VERSION, priv, TP_STATUS_KERNEL, *fields, *times)
        self.set_status(self._block, TP_STATUS_USER | why)
        self._open, self._count = False, 0
        self._block = (self._block + 1) % self.request.block_nr
        self._wake()

    def _timeout(self) -> None:
        if self._count > 0:
            self._retire_block(TP_STATUS_BLK_TMO)
        elif self._open:
            self._timer.mod(self.kernel.now + self._retire)
