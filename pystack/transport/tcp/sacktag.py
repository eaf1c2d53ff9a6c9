"""SACK blocks that came in: mark what the receiver has (RFC 2018, 5; RFC 6675, 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp.ackevent import DATA_SACKED, DSACKING_ACK, AckEvent
from pystack.transport.tcp.congestion import reordering_seen
from pystack.transport.tcp.constants import MAX_REORDERING
from pystack.transport.tcp.segment import LOST, RETRANS, SACKED_ACKED, RxSegment
from pystack.transport.tcp.seq import after, before, seq_diff
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sackblocks import Block
    from pystack.transport.tcp.sock import TcpSock


def tag(sk: TcpSock, segment: RxSegment, event: AckEvent) -> None:
    """Take the blocks of an ACK into the scoreboard (`tcp_sacktag_write_queue`)."""
    blocks = segment.options.sack
    if _is_dsack(sk, segment.ack, blocks):
        event.flag |= DSACKING_ACK
        blocks = blocks[1:]
    valid = [block for block in blocks if _is_valid(sk, block)]
    sk.kernel.mib["TcpExtTCPSACKDiscard"] += len(blocks) - len(valid)
    if not sk.rtx or not valid:
        return
    valid.sort(key=lambda block: seq_diff(block[0], sk.snd_una))
    lowest = _mark(sk, valid, event)
    if lowest is not None and sk.cw.state is not CaState.LOSS:
        reordering_seen(sk, lowest, sk.rtx.highest_sack, MAX_REORDERING)


def _is_dsack(sk: TcpSock, ack: int, blocks: tuple[Block, ...]) -> bool:
    """Does the first block report a duplicate? (RFC 2883, 4)"""
    start, end = blocks[0]
    mib = sk.kernel.mib
    if before(start, ack):
        mib["TcpExtTCPDSACKRecv"] += 1
        return True
    if len(blocks) > 1 and not after(end, blocks[1][1]) and not before(start, blocks[1][0]):
        mib["TcpExtTCPDSACKOfoRecv"] += 1
        return True
    return False


def _is_valid(sk: TcpSock, block: Block) -> bool:
    """Within what is in flight, and above the cumulative ACK (`tcp_is_sackblock_valid`)."""
    start, end = block
    return before(start, end) and not after(end, sk.snd_nxt) and after(start, sk.snd_una)


def _mark(sk: TcpSock, blocks: list[Block], event: AckEvent) -> int | None:
    """Mark every segment that lies in a block; `blocks` ascend.

    Returns the lowest number that arrived behind later ones without having been sent twice.
    """
    rtx = sk.rtx
    lowest: int | None = None
    at = 0
    for segment in rtx.segments:
        while at < len(blocks) and not before(segment.seq, blocks[at][1]):
            at += 1
        if at == len(blocks):
            break
        start, end = blocks[at]
        if before(segment.seq, start) or after(segment.end_seq, end):
            continue
        if segment.sacked & SACKED_ACKED or not after(segment.end_seq, sk.snd_una):
            continue
        if not segment.sacked & RETRANS:
            behind = rtx.sacked_out and before(segment.seq, rtx.highest_sack)
            if behind and lowest is None:
                lowest = segment.seq
            # Of a segment already given up for lost only the report is late: no honest sample.
            if event.sack_sent is None and not segment.sacked & LOST:
                event.sack_sent = segment.sent_at
        rtx.mark_sacked(segment)
        event.delivered += 1
        event.flag |= DATA_SACKED
    return lowest
