"""The out-of-order queue: segments behind a gap (`tcp_data_queue_ofo`)."""

from __future__ import annotations

from collections.abc import Iterator

from pystack.core.skb import SkBuff
from pystack.transport.tcp.seq import after, before


class OutOfOrderQueue:
    """Sorted by sequence number; no segment is covered by another one."""

    __slots__ = ("_skbs",)

    def __init__(self) -> None:
        self._skbs: list[SkBuff] = []

    def __bool__(self) -> bool:
        return bool(self._skbs)

    def __len__(self) -> int:
        return len(self._skbs)

    def __iter__(self) -> Iterator[SkBuff]:
        return iter(self._skbs)

    @property
    def first(self) -> SkBuff:
        return self._skbs[0]

    @property
    def last_end(self) -> int:
        """The number behind the last byte."""
        return int(self._skbs[-1].cb.end_seq)

    def insert(self, skb: SkBuff) -> list[SkBuff] | None:
        """None if all of it is here already, else the segments it makes superfluous.

        Those are out of the queue.  Most segments belong at the end, so the search starts there.
        """
        seq, end_seq = skb.cb.seq, skb.cb.end_seq
        queue = self._skbs
        at = len(queue)
        while at and before(seq, queue[at - 1].cb.seq):
            at -= 1
        if at and not after(end_seq, queue[at - 1].cb.end_seq):
            return None
        if at and queue[at - 1].cb.seq == seq:
            at -= 1
        stop = at
        while stop < len(queue) and not after(queue[stop].cb.end_seq, end_seq):
            stop += 1
        covered = queue[at:stop]
        queue[at:stop] = [skb]
        return covered

    def pop_first(self) -> SkBuff:
        return self._skbs.pop(0)

    def pop_last(self) -> SkBuff:
        return self._skbs.pop()

    def drain(self) -> list[SkBuff]:
        """All of them, out of the queue."""
        skbs, self._skbs = self._skbs, []
        return skbs
