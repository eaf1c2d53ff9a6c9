"""What the receiver reports: SACK blocks (RFC 2018, 4) and one duplicate (RFC 2883)."""

from __future__ import annotations

from pystack.transport.tcp.seq import after, before, seq_max

Block = tuple[int, int]
MAX_BLOCKS = 4


class SackBlocks:
    """Most recently changed first, disjoint."""

    __slots__ = ("blocks", "dsack")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.dsack: Block | None = None  # goes out with the next ACK, once

    def __bool__(self) -> bool:
        return bool(self.blocks) or self.dsack is not None

    def add(self, start: int, end: int) -> None:
        """A segment has gone into the out-of-order queue (`tcp_sack_new_ofo_skb`)."""
        rest = []
        for left, right in self.blocks:
            if after(left, end) or before(right, start):
                rest.append((left, right))
            else:
                start = left if before(left, start) else start
                end = seq_max(end, right)
        self.blocks = [(start, end), *rest][:MAX_BLOCKS]

    def advance(self, rcv_nxt: int) -> None:
        """Forget what the cumulative ACK covers now (`tcp_sack_remove`)."""
        self.blocks = [block for block in self.blocks if before(rcv_nxt, block[0])]

    def set_dsack(self, start: int, end: int) -> None:
        """A segment came that we had; the last one counts."""
        self.dsack = (start, end)

    def take(self, room: int) -> tuple[Block, ...]:
        """Up to `room` blocks for the next ACK; the duplicate goes first."""
        lead = () if self.dsack is None else (self.dsack,)
        return (*lead, *self.blocks)[:room]

    def clear(self) -> None:
        self.blocks = []
        self.dsack = None
