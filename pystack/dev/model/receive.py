"""The model's way in: a frame from the wire, filtered, steered, into buffers (docs/rings.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from pystack.core.headers.ipv4 import IPPROTO_TCP, IPPROTO_UDP
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, HashType
from pystack.dev.model.dissect import TAGS, Dissected, dissect
from pystack.dev.model.ring import ModelRing, data_status, descriptor_status
from pystack.dev.model.toeplitz import Toeplitz
from pystack.dev.wire import MIN_FRAME

if TYPE_CHECKING:
    from pystack.dev.model.nic import ModelNic

_BROADCAST = b"\xff" * 6
_PAUSE = bytes.fromhex("0180c2000001"), bytes.fromhex("8808"), bytes.fromhex("0001")
_BUS_ERRORS = (
    CplStatus.DATA_SLVERR,
    CplStatus.DATA_DECERR,
    CplStatus.DESC_SLVERR,
    CplStatus.DESC_DECERR,
)


@dataclass
class RxFrame:
    """A frame on its way to a queue, and what every completion of it says."""

    data: bytes
    flags: int
    hash: int
    vlan_tci: int
    timestamp: int
    split: int  # bytes of headers that go into a buffer of their own; 0: none do


class Receiver:
    def __init__(self, nic: ModelNic) -> None:
        self._nic = nic
        self._toeplitz = Toeplitz(bytes(40))

    def arrived(self, frame: bytes, start: int, end: int) -> None:
        """A frame without FCS, sound so far, whose first byte was there at `start` ns."""
        nic = self._nic
        if not nic.registers[regs.CTRL] & regs.CTRL_RX_ENABLE:
            return
        if len(frame) < MIN_FRAME:
            nic.count("rx_runt")
        elif len(frame) > min(nic.registers[regs.MAX_FRAME], nic.max_frame):
            nic.count("rx_oversize")
        elif nic.features & regs.FEATURES_PAUSE and _is_pause(frame):
            nic.count("rx_pause")
            if nic.registers[regs.PAUSE] & regs.PAUSE_RX_ENABLE:
                nic.transmitter.pause(int.from_bytes(frame[16:18], "big"))
        elif not self._accepts(frame[:6]):
            nic.count("rx_filtered")
        else:
            stamp = nic.clock.at(start) if nic.features & regs.FEATURES_CLOCK else 0
            if nic.features & regs.FEATURES_RX_OFFLOAD:
                self._steer(frame, stamp)
            else:
                self.deliver(self._default_queue, RxFrame(frame, 0, 0, 0, stamp, 0))

    @property
    def _default_queue(self) -> int:
        steering = self._nic.registers[regs.RX_STEERING] & regs.RX_STEERING_DEFAULT_QUEUE
        return min(steering, len(self._nic.queues) - 1)

    def _accepts(self, dst: bytes) -> bool:
        read = self._nic.registers
        ctrl = read[regs.CTRL]
        if ctrl & regs.CTRL_PROMISCUOUS or dst in (self._address(), _BROADCAST):
            return True
        if dst[0] & 1 and ctrl & regs.CTRL_ALL_MULTICAST:
            return True
        if not self._nic.features & regs.FEATURES_RX_FILTERS:
            return False
        if dst[0] & 1:
            bit = multicast_bit(dst)
            if read[regs.MULTICAST_HASH_HI if bit & 32 else regs.MULTICAST_HASH_LO] >> bit % 32 & 1:
                return True
        return any(
            read[regs.MAC_FILTER_HI + at] & regs.MAC_FILTER_HI_VALID
            and dst
            == read[regs.MAC_FILTER_LO + at].to_bytes(4, "little")
            + (read[regs.MAC_FILTER_HI + at] & 0xFFFF).to_bytes(2, "little")
            for at in range(0, 4 * regs.MAC_FILTER_LO_COUNT, 4)
        )

    def _address(self) -> bytes:
        read = self._nic.registers
        return read[regs.MAC_LO].to_bytes(4, "little") + read[regs.MAC_HI].to_bytes(2, "little")

    # -- steering --------------------------------------------------------------------------

    def _steer(self, frame: bytes, timestamp: int) -> None:
        nic = self._nic
        found = dissect(frame)
        type_, hash_ = self._hash(frame, found)
        flags = type_ << regs.RX_CPL_HASH_TYPE_SHIFT
        flags |= regs.RX_CPL_IP_CSUM_OK if found.ip_ok else 0
        flags |= regs.RX_CPL_L4_CSUM_OK if found.l4_ok else 0
        flags |= regs.RX_CPL_L4_CSUM_BAD if found.l4_bad else 0
        offload = nic.registers[regs.RX_OFFLOAD]
        split = found.headers if offload & regs.RX_OFFLOAD_HEADER_SPLIT else 0
        tci = 0
        if offload & regs.RX_OFFLOAD_VLAN_STRIP and int.from_bytes(frame[12:14], "big") in TAGS:
            tci = int.from_bytes(frame[14:16], "big")
            flags |= regs.RX_CPL_VLAN_STRIPPED
            frame = frame[:12] + frame[16:]
            split -= 4 if split else 0
        if type_:
            entry = hash_ & 127
            word = nic.registers[regs.RSS_TABLE + (entry & ~3)]
            queue = min(word >> 8 * (entry & 3) & regs.RSS_TABLE_ENTRY0, len(nic.queues) - 1)
        else:
            queue = self._default_queue
        self.deliver(queue, RxFrame(frame, flags, hash_, tci, timestamp, split))

    def _hash(self, frame: bytes, found: Dissected) -> tuple[HashType, int]:
        if not found.addresses:
            return HashType.NONE, 0
        ctrl = self._nic.registers[regs.RSS_CTRL]
        if len(found.addresses) == 32:
            ctrl >>= 3
        if found.protocol == IPPROTO_TCP and found.ports and ctrl & regs.RSS_CTRL_IPV4_TCP:
            type_, data = HashType.TCP, found.addresses + found.ports
        elif found.protocol == IPPROTO_UDP and found.ports and ctrl & regs.RSS_CTRL_IPV4_UDP:
            type_, data = HashType.UDP, found.addresses + found.ports
        elif ctrl & regs.RSS_CTRL_IPV4:
            type_, data = HashType.ADDRESSES, found.addresses
        else:
            return HashType.NONE, 0
        return type_, self._toeplitz.hash(data)

    def key_changed(self) -> None:
        read = self._nic.registers
        words = (read[regs.RSS_KEY + 4 * n] for n in range(regs.RSS_KEY_COUNT))
        self._toeplitz = Toeplitz(b"".join(word.to_bytes(4, "little") for word in words))

    # -- buffers ---------------------------------------------------------------------------

    def deliver(self, queue: int, frame: RxFrame) -> None:
        """Into the buffers of a queue: the headers into the first, if they are to be split.

        What went wrong in one buffer is repeated in the completions behind it; a buffer that
        cannot be written at all ends the frame.
        """
        self._nic.count("rx_frames")
        self._nic.count("rx_bytes", len(frame.data))
        ring, count = self._nic.queues[queue].rx, self._nic.queues[queue].count
        if not ring.posted:
            count("rx_no_descriptor" if ring.running else "rx_disabled")
            return
        at, verdict = 0, CplStatus.OK
        while True:
            limit = frame.split if frame.split and not at else len(frame.data)
            index, resp, addr, room = self._descriptor(ring)
            piece = frame.data[at : min(at + room, limit)]
            status = descriptor_status(resp)
            if not status and not room:
                status = CplStatus.BAD_LENGTH
            elif not status:
                status = data_status(self._nic.bus.write(addr, piece))
            header = bool(frame.split) and not at and len(piece) == frame.split
            at += len(piece)
            last = at == len(frame.data) or not piece
            if not last and not ring.posted:
                last, status = True, status or CplStatus.TRUNCATED
            verdict = verdict or status
            self._complete(queue, index, len(piece), verdict, frame, last=last, header=header)
            if last:
                break
            if not ring.running:
                count("rx_disabled")
                return
        if verdict in _BUS_ERRORS or ring.broken:
            count("rx_bus_error")
        else:
            count("rx_truncated" if verdict else "rx_frames")

    def _descriptor(self, ring: ModelRing) -> tuple[int, int, int, int]:
        """(index, response, address, bytes) of the next buffer, taken."""
        data, resp = ring.descriptor()
        addr, room = (0, 0) if resp else regs.RX_DESC.unpack(data)
        return ring.take(), resp, addr, room

    def _complete(
        self,
        queue: int,
        index: int,
        length: int,
        status: CplStatus,
        frame: RxFrame,
        *,
        last: bool,
        header: bool,
    ) -> None:
        flags = frame.flags
        flags |= regs.RX_CPL_LAST if last else 0
        flags |= regs.RX_CPL_HEADER if header else 0
        who = status | queue << regs.RX_CPL_QUEUE_ID_SHIFT
        stamp = frame.timestamp & regs.RX_CPL_TIMESTAMP
        fields = index, length, who, flags, frame.hash, frame.vlan_tci, stamp
        self._nic.queues[queue].rx.complete(index, regs.RX_CPL.pack(*fields))


def multicast_bit(group: bytes) -> int:
    """Which of the 64 bits of the multicast hash stands for an address."""
    return int(f"{crc32(group) ^ 0xFFFFFFFF:032b}"[::-1], 2) >> 26


def _is_pause(frame: bytes) -> bool:
    return (frame[:6], frame[12:14], frame[14:16]) == _PAUSE
