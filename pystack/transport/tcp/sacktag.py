"""SACK blocks that came in: mark what the receiver has (RFC 2018, 5; RFC 6675, 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.transport.tcp import rack, rate
from pystack.transport.tcp.ackevent import (
    DATA_SACKED,
    DSACK_TLP,
    DSACKING_ACK,
    ORIG_SACK_ACKED,
    AckEvent,
)
from pystack.transport.tcp.segment import (
    LOST,
    RETRANS,
    SACKED_ACKED,
    SACKED_RETRANS,
    RxSegment,
    TxSegment,
)
from pystack.transport.tcp.seq import after, before, seq_diff
from pystack.transport.tcp.state import CaState

if TYPE_CHECKING:
    from pystack.transport.tcp.sackblocks import Block
    from pystack.transport.tcp.sock import TcpSock


def tag(sk: TcpSock, segment: RxSegment, event: AckEvent) -> None:
    """Take the blocks of an ACK into the scoreboard (`tcp_sacktag_write_queue`)."""
    blocks = segment.options.sack
    if _is_dsack(sk, segment.ack, blocks, event):
        if after(blocks[0][1], event.prior_una):
            _unmark_duplicate(sk, blocks[0])
        blocks = blocks[1:]
    valid = [block for block in blocks if _is_valid(sk, block)]
    sk.kernel.mib["TcpExtTCPSACKDiscard"] += len(blocks) - len(valid)
    if not sk.rtx or not valid:
        return
    valid.sort(key=lambda block: seq_diff(block[0], sk.snd_una))
    lowest = _mark(sk, valid, event)
    if lowest is not None and (sk.cw.state is not CaState.LOSS or sk.undo.marker is not None):
        rack.check_sack_reordering(sk, lowest)


# -- duplicates (RFC 2883) -----------------------------------------------------------------


def _is_dsack(sk: TcpSock, ack: int, blocks: tuple[Block, ...], event: AckEvent) -> bool:
    """Does the first block report a duplicate? (`tcp_check_dsack`)"""
    start, end = blocks[0]
    mib = sk.kernel.mib
    if before(start, ack):
        mib["TcpExtTCPDSACKRecv"] += 1
    elif len(blocks) > 1 and not after(end, blocks[1][1]) and not before(start, blocks[1][0]):
        mib["TcpExtTCPDSACKOfoRecv"] += 1
    else:
        return False
    count = _duplicates(sk, start, end, event)
    if not count:
        mib["TcpExtTCPDSACKIgnoredDubious"] += 1
        return True
    mib["TcpExtTCPDSACKRecvSegs"] += count
    undo = sk.undo
    if (
        undo.marker is not None
        and undo.retrans > 0
        and not after(end, event.prior_una)
        and after(end, undo.marker)
    ):
        undo.retrans = max(0, undo.retrans - count)
    return True


def _duplicates(sk: TcpSock, start: int, end: int, event: AckEvent) -> int:
    """Segments of ours that arrived twice; 0 if it cannot be (`tcp_dsack_seen`)."""
    length = seq_diff(end, start)
    if not 0 < length <= sk.max_window:
        return 0
    count = max(1, -(-length // sk.mss_cache))
    of_probe = count == 1 and sk.undo.tlp_high_seq == end
    if of_probe:
        event.flag |= DSACK_TLP
    stats = sk.stats
    stats.dsack_dups += count
    if stats.dsack_dups > sk.total_retrans:
        return 0  # the network duplicates: not of our making
    if stats.reord_seen and not of_probe:
        sk.rack.dsack_seen = True
    event.flag |= DSACKING_ACK
    event.delivered += count
    return count


def _unmark_duplicate(sk: TcpSock, block: Block) -> None:
    """The duplicate of a SACKed segment: its retransmission is no longer under way."""
    start, end = block
    undo, rtx = sk.undo, sk.rtx
    for segment in rtx.segments:
        if not before(segment.seq, end):
            break
        if before(segment.seq, start) or after(segment.end_seq, end):
            continue
        if segment.sacked & RETRANS and undo.marker is not None and undo.retrans > 0:
            undo.retrans -= after(segment.end_seq, undo.marker)
        both = SACKED_ACKED | SACKED_RETRANS
        if segment.sacked & both == both:
            segment.sacked &= ~SACKED_RETRANS
            rtx.retrans_out -= 1


# -- new ones ------------------------------------------------------------------------------


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
        rack.advance(sk, segment)
        if not segment.sacked & RETRANS:
            behind = rtx.sacked_out and before(segment.seq, rtx.highest_sack)
            if behind and lowest is None:
                lowest = segment.seq
            _original_arrived(sk, segment, event)
        rate.delivered(sk, segment)
        rtx.mark_sacked(segment)
        event.delivered += 1
        event.flag |= DATA_SACKED
    return lowest


def _original_arrived(sk: TcpSock, segment: TxSegment, event: AckEvent) -> None:
    """A segment that was sent once: a sample of the RTT."""
    if not after(segment.end_seq, sk.high_seq):
        event.flag |= ORIG_SACK_ACKED
    # Of a segment already given up for lost only the report is late: no honest sample.
    if not segment.sacked & LOST:
        if event.sack_sent is None:
            event.sack_sent = segment.sent_at
        event.last_sacked = segment.sent_at
