"""The model's way out: frames of the queues in turn, gathered, cut, to the wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from pystack.dev.model.ring import STOPS, ModelRing, data_status, descriptor_status
from pystack.dev.model.txoffload import TxOrder, bad_header, bad_length, frames
from pystack.dev.wire import MIN_FRAME, WIRE_OVERHEAD

if TYPE_CHECKING:
    from pystack.dev.model.nic import ModelNic

_QUANTUM_BITS = 512
BUFFER = 32 << 10  # bytes that wait for the wire
MAX_FRAGMENTS = 24
_UNREAD = (CplStatus.DESC_SLVERR, CplStatus.DESC_DECERR)


_NEEDS = {
    regs.FEATURES_TX_CHECKSUM: regs.TX_DESC_CSUM_START | regs.TX_DESC_CSUM_OFFSET,
    regs.FEATURES_TX_SEGMENT: regs.TX_DESC_SEGMENT,
    regs.FEATURES_TX_VLAN: regs.TX_DESC_VLAN_INSERT,
    regs.FEATURES_TX_TIMESTAMP: regs.TX_DESC_TIMESTAMP,
}


@dataclass
class _Frame:
    """(index, bytes) of the descriptors of one frame; they are completed when `ready`."""

    fragments: list[tuple[int, int]]
    order: TxOrder
    part: bool = False  # of a refused frame: its end, which is counted, is not in it
    status: CplStatus = CplStatus.OK
    data: bytes = b""
    ready: bool = False
    stamp: int | None = None


@dataclass
class _Queue:
    """What a queue has handed on, oldest first; `rest`: what follows up to the next end belongs
    to a frame that had too many descriptors."""

    waiting: deque[_Frame] = field(default_factory=deque)
    rest: bool = False


class Transmitter:
    def __init__(self, nic: ModelNic) -> None:
        self._nic = nic
        self.reset()

    def reset(self) -> None:
        self._next = 0
        self._in_buffer = 0
        self._queues = [_Queue() for _ in self._nic.queues]
        self._serving = False
        self._paused_until = 0
        self._held: list[Callable[[], None]] = []  # frames in the buffer, the transmitter is off
        self._era = getattr(self, "_era", 0) + 1  # frames of before a reset are nobody's

    @property
    def idle(self) -> bool:
        return not self._in_buffer

    def serve(self) -> None:
        """Take frames while there are any and room for them; one a queue, in turn."""
        if self._serving or self._nic.engine.now < self._paused_until:
            return
        self._serving = True
        count = len(self._queues)
        passed = 0
        while passed < count and self._in_buffer < BUFFER:
            queue, self._next = self._next, (self._next + 1) % count
            passed = 0 if self._one(queue) else passed + 1
        self._serving = False

    def pause(self, quanta: int) -> None:
        """Nothing is begun for that time (IEEE 802.3 annex 31B); 0 ends it."""
        engine = self._nic.engine
        self._paused_until = engine.now + quanta * _QUANTUM_BITS // self._nic.gbit
        engine.call_at(self._paused_until, self.serve)

    def _one(self, number: int) -> bool:
        """A frame of this queue, if it has a whole one."""
        ring = self._nic.queues[number].tx
        frame = self._fetch(self._queues[number], ring) if ring.posted else None
        if frame is None:
            return False
        self._queues[number].waiting.append(frame)
        if frame.status:
            bad_length = frame.status is CplStatus.BAD_LENGTH
            if not frame.part:
                self._nic.queues[number].count("tx_bad_length" if bad_length else "tx_bus_error")
            frame.ready = True
        else:
            self._nic.queues[number].count("tx_frames")
            frame.ready = not frame.order.timestamp
            self._send(number, frame)
        self._complete(number)
        if frame.status in _UNREAD:  # nobody knows where the next frame begins
            ring.stop(STOPS[frame.status])
        return True

    # -- descriptors and data ----------------------------------------------------------------

    def _posted(self, queue: _Queue, ring: ModelRing) -> list[tuple[tuple[int, ...], int]]:
        """Fields and response of the descriptors of a frame that is posted whole, or can never be
        whole; else none."""
        fetched: list[tuple[tuple[int, ...], int]] = []
        for ahead in range(min(ring.posted, MAX_FRAGMENTS)):
            data, resp = ring.descriptor(ahead)
            fetched.append(((0, 0, 0, 0, 0) if resp else regs.TX_DESC.unpack(data), resp))
            if resp or fetched[-1][0][2] & regs.TX_DESC_LAST:
                return fetched
        too_many = ring.posted > MAX_FRAGMENTS or len(fetched) == ring.entries
        return fetched if too_many or queue.rest else []

    def _fetch(self, queue: _Queue, ring: ModelRing) -> _Frame | None:
        """Gather a frame."""
        queue.rest &= ring.consumed > 0
        fetched = self._posted(queue, ring)
        if not fetched:
            return None
        fields, resp = fetched[-1]
        order = _order(fetched[0][0], self._nic.features)
        cut = not (resp or fields[2] & regs.TX_DESC_LAST)
        frame = _Frame([], order, cut, descriptor_status(resp))
        limit = min(self._nic.registers[regs.MAX_FRAME], self._nic.max_frame)
        lengths = [fields[1] for fields, _ in fetched]
        refused = cut or queue.rest or not all(lengths)
        queue.rest = cut
        for length in lengths:
            frame.fragments.append((ring.take(), length))
        if frame.status:
            return frame
        if refused or bad_length(frame.order, sum(lengths), limit):
            frame.status = CplStatus.BAD_LENGTH
            return frame
        read = [self._nic.bus.read(fields[0], fields[1]) for fields, _ in fetched]
        frame.status = data_status(max(resp for _, resp in read))
        frame.data = b"".join(piece for piece, _ in read)
        if not frame.status and frame.order.segment and bad_header(frame.data, frame.order, limit):
            frame.status = CplStatus.BAD_LENGTH
        return frame

    def enable(self) -> None:
        """The transmitter is on: what was kept in the buffer leaves."""
        held, self._held = self._held, []
        for send in held:
            send()

    def _send(self, number: int, frame: _Frame) -> None:
        """While the transmitter is off frames stay in the buffer, and nobody waits for a stamp."""
        nic = self._nic
        on = nic.registers[regs.CTRL] & regs.CTRL_TX_ENABLE
        frame.ready = frame.ready or not on
        made = frames(frame.data, frame.order)
        for place, data in enumerate(made):
            length = max(len(data), MIN_FRAME)
            self._in_buffer += length
            done = partial(self._sent, self._era, number, length, None if place else frame)
            send = partial(nic.port.send, data, done)
            if on:
                send()
            else:
                self._held.append(send)

    def _sent(self, era: int, number: int, length: int, first: _Frame | None) -> None:
        """A frame has left the wire."""
        if era != self._era:
            return
        nic = self._nic
        self._in_buffer -= length
        nic.count("tx_frames")
        nic.count("tx_bytes", length)
        if first is not None and first.order.timestamp:
            began = nic.engine.now - (length + WIRE_OVERHEAD - 12) * 8 // nic.gbit
            first.stamp, first.ready = nic.clock.at(began), True
            self._complete(number)
        self.serve()

    # -- completions -------------------------------------------------------------------------

    def _complete(self, number: int) -> None:
        """Tell of frames that are through, in their order."""
        waiting = self._queues[number].waiting
        while waiting and waiting[0].ready:
            frame = waiting.popleft()
            who = number << regs.TX_CPL_QUEUE_ID_SHIFT
            last = frame.fragments[-1][0]
            for index, length in frame.fragments:
                flags = stamp = 0
                if frame.stamp is not None and index == last:
                    flags, stamp = regs.TX_CPL_TIMESTAMP_VALID, frame.stamp & regs.TX_CPL_TIMESTAMP
                entry = regs.TX_CPL.pack(index, length, frame.status | who, flags, stamp)
                self._nic.queues[number].tx.complete(index, entry)


def _order(fields: tuple[int, ...], features: int) -> TxOrder:
    """What the words of a frame's first descriptor ask for, as far as the device can do it."""
    _, _, what, tci, mss = fields
    for feature, bits in _NEEDS.items():
        if not features & feature:
            what &= ~bits
    start = (what & regs.TX_DESC_CSUM_START) >> regs.TX_DESC_CSUM_START_SHIFT
    offset = (what & regs.TX_DESC_CSUM_OFFSET) >> regs.TX_DESC_CSUM_OFFSET_SHIFT
    return TxOrder(
        csum_start=2 * start,
        csum_offset=2 * offset,
        segment=bool(what & regs.TX_DESC_SEGMENT),
        mss=mss & regs.TX_DESC_MSS,
        vlan_tci=tci if what & regs.TX_DESC_VLAN_INSERT else None,
        timestamp=bool(what & regs.TX_DESC_TIMESTAMP),
    )
