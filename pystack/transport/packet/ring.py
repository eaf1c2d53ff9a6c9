"""Memory shared with the application: rings of frames, TPACKET_V2 (`net/packet/af_packet.c`).

One `mmap` gives the whole ring; each frame's status says whose it is.  The kernel copies a frame's
bytes into its slot, as Linux does (`copied` counts them).  Or, for `pages`, it puts only the header
there and hands out the bytes where the NIC wrote them: `page(slot)` is a view of that very page,
which goes back to the driver when the slot's status is set to TP_STATUS_KERNEL.  A copy remains
for what is in no NIC's page: sent frames, and those of `lo`.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from pystack.core.headers.ethernet import ETH_HLEN
from pystack.core.kernel import EPOCH_NS
from pystack.core.memory import PAGE_SIZE
from pystack.transport.packet.constants import (
    TP_STATUS_KERNEL,
    TP_STATUS_LOSING,
    TP_STATUS_TS_SOFTWARE,
    TP_STATUS_USER,
)
from pystack.transport.packet.frame import Frame, PageRef
from pystack.transport.sock import os_error

ALIGNMENT = 16  # TPACKET_ALIGNMENT
SOCKADDR_LL = 20
NS = 1_000_000_000
_REQ = struct.Struct("=4I")
_REQ3 = struct.Struct("=7I")
_HDR2 = struct.Struct("=IIIHHIIHH4x")
_STATUS = struct.Struct("=I")
HDRLEN2 = _HDR2.size + SOCKADDR_LL  # TPACKET2_HDRLEN


class Request(NamedTuple):
    """`struct tpacket_req`, or `tpacket_req3` with the last three."""

    block_size: int
    block_nr: int
    frame_size: int
    frame_nr: int
    retire_ms: int = 0
    priv: int = 0
    features: int = 0

    @classmethod
    def parse(cls, data: bytes, version3: bool) -> Request:
        layout = _REQ3 if version3 else _REQ
        if len(data) < layout.size:
            raise os_error(errno.EINVAL)
        return cls(*layout.unpack_from(data))

    def check(self, header: int, reserve: int) -> None:
        """`packet_set_ring`"""
        if self.block_size <= 0 or self.block_size % PAGE_SIZE:
            raise os_error(errno.EINVAL)
        if self.frame_size < header + reserve or self.frame_size % ALIGNMENT:
            raise os_error(errno.EINVAL)
        per_block = self.block_size // self.frame_size
        if not per_block or per_block * self.block_nr != self.frame_nr:
            raise os_error(errno.EINVAL)


def offsets(header: int, reserve: int, cooked: bool) -> tuple[int, int]:
    """Where in a slot the link header and the network header begin (tp_mac, tp_net)."""
    if cooked:
        net = align(header) + 16 + reserve
        return net, net
    net = align(header + 16) + reserve
    return net - ETH_HLEN, net


def align(value: int, to: int = ALIGNMENT) -> int:
    return -(-value // to) * to


def wall(ns: int) -> tuple[int, int]:
    """Engine time as the clock shows it: seconds and ns."""
    return divmod(ns + EPOCH_NS, NS)


class FrameRing:
    """TPACKET_V2: slots of `frame_size` bytes, one frame each."""

    def __init__(self, request: Request, reserve: int, pages: bool) -> None:
        request.check(HDRLEN2, reserve)
        self.request = request
        self.reserve = reserve
        self.pages = pages
        self.memory = bytearray(request.block_size * request.block_nr)
        self.copied = 0
        self._head = 0
        self._held: dict[int, tuple[memoryview, PageRef]] = {}
        self._per_block = request.block_size // request.frame_size

    def slot(self, index: int) -> int:
        """Where the slot begins in the ring's memory."""
        block, frame = divmod(index, self._per_block)
        return block * self.request.block_size + frame * self.request.frame_size

    def status(self, index: int) -> int:
        return int(_STATUS.unpack_from(self.memory, self.slot(index))[0])

    def set_status(self, index: int, status: int) -> None:
        _STATUS.pack_into(self.memory, self.slot(index), status)

    def put(self, frame: Frame, keep: int, cooked: bool, losing: bool) -> bool:
        """False: no room.  `losing`: some have been lost since the statistics were read."""
        index = self._head
        if self.status(index) != TP_STATUS_KERNEL:
            return False
        self._let_go(index)
        self._head = (index + 1) % self.request.frame_nr
        mac, net = offsets(HDRLEN2, self.reserve, cooked)
        data = frame.data[ETH_HLEN:] if cooked else frame.data
        page = frame.hold() if self.pages else None
        if page is None:
            keep = min(keep, self.request.frame_size - mac)
            begin = self.slot(index) + mac
            self.memory[begin : begin + keep] = data[:keep]
            self.copied += keep
        else:
            self._held[index] = data[:keep], page
        status = frame.status | (TP_STATUS_LOSING if losing else 0)
        self._header(index, frame, status, (len(data), keep, mac, net))
        return True

    def _header(
        self, index: int, frame: Frame, status: int, lengths: tuple[int, int, int, int]
    ) -> None:
        """Everything first, the status last: then the slot is the application's."""
        begin = self.slot(index)
        seconds, ns = wall(frame.skb.tstamp or frame.skb.kernel.now)
        _HDR2.pack_into(self.memory, begin, TP_STATUS_KERNEL, *lengths, seconds, ns, *frame.vlan)
        address = begin + _HDR2.size
        self.memory[address : address + SOCKADDR_LL] = frame.sockaddr_ll
        self.set_status(index, TP_STATUS_USER | TP_STATUS_TS_SOFTWARE | status)

    def has_room(self) -> bool:
        return self.status(self._head) == TP_STATUS_KERNEL

    def page(self, index: int) -> memoryview | None:
        """The bytes of a slot's frame where the NIC wrote them; None if they were copied."""
        held = self._held.get(index)
        return None if held is None else held[0]

    def release(self, index: int) -> None:
        """The application is done with a slot."""
        self.set_status(index, TP_STATUS_KERNEL)
        self._let_go(index)

    def readable(self) -> bool:
        """The slot filled last has not been read yet."""
        return self.status((self._head - 1) % self.request.frame_nr) != TP_STATUS_KERNEL

    def close(self) -> None:
        for index in list(self._held):
            self._let_go(index)

    def _let_go(self, index: int) -> None:
        held = self._held.pop(index, None)
        if held is not None:
            held[1].put()
