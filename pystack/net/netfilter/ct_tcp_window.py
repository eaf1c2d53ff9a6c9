"""Which segments can belong to a TCP connection: windows as a middle box knows them.

After van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"; `tcp_in_window` of
`net/netfilter/nf_conntrack_proto_tcp.c`.  Called by `ct_tcp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ACK, TH_RST, TH_SYN
from pystack.net.netfilter.conn import Track
from pystack.net.netfilter.ct_tcp_types import (
    MASK,
    Flag,
    Kind,
    Seen,
    Segment,
    TcpState,
    TcpTrack,
    after,
    before,
    take_options,
)

if TYPE_CHECKING:
    from pystack.core.sysctl import Sysctl

PREFIX = "net.netfilter.nf_conntrack_tcp_"
MAXACKWINDOW = 66000


def _init_sender(segment: Segment, sender: Seen, receiver: Seen, direction: int) -> None:
    sender.td_end = sender.td_maxend = segment.end
    sender.td_maxwin = segment.header.window or 1
    take_options(segment.options, sender)
    if direction and not sender.flags & receiver.flags & Flag.WINDOW_SCALE:
        sender.td_scale = receiver.td_scale = 0  # RFC 7323, 2.2: both or none


def in_window(track: TcpTrack, segment: Segment, direction: int, sysctl: Sysctl) -> Track:
    """CONTINUE: it belongs to the connection.  ACCEPT: let it through and learn nothing of it."""
    sender, receiver = track.seen[direction], track.seen[1 - direction]
    header = segment.header
    syn, has_ack = header.flags & TH_SYN, header.flags & TH_ACK
    seq, ack, end = header.seq, header.ack, segment.end
    sack = segment.sack if receiver.flags & Flag.SACK_PERM else ack
    reinitialized = (
        syn and after(end, sender.td_end) and track.state in (TcpState.SYN_SENT, TcpState.SYN_RECV)
    )
    if sender.td_maxwin == 0 and not syn:
        _pick_up(sender, receiver, segment, sack)
    elif sender.td_maxwin == 0 or reinitialized:
        fresh = sender.td_maxwin == 0
        _init_sender(segment, sender, receiver, direction)
        if not has_ack and (fresh or direction):
            return Track.CONTINUE  # both have opened at once
    if not has_ack or (header.flags & TH_RST and ack == 0):
        ack = sack = receiver.td_end
    if header.flags & TH_RST and seq == 0 and track.state is TcpState.SYN_SENT:
        seq = end = sender.td_end  # it refuses a SYN
    verdict = _judge(sender, receiver, seq, end, sack)
    if verdict is not Track.CONTINUE:
        liberal = sender.flags & Flag.BE_LIBERAL or sysctl[PREFIX + "be_liberal"]
        return Track.CONTINUE if liberal else verdict
    window = header.window if syn else header.window << sender.td_scale
    _update(sender, receiver, end, ack if has_ack else None, sack, ack, window)
    if segment.kind is Kind.ACK:
        _count_retransmissions(track, direction, (seq, ack, end, window))
    return Track.CONTINUE


def _pick_up(sender: Seen, receiver: Seen, segment: Segment, sack: int) -> None:
    """The first segment of this end that we see, in the middle of the connection."""
    sender.td_end = segment.end
    sender.td_maxwin = segment.header.window << sender.td_scale or 1
    sender.td_maxend = (segment.end + sender.td_maxwin) & MASK
    if receiver.td_maxwin == 0:
        receiver.td_end = receiver.td_maxend = sack
    elif sack == (receiver.td_end + 1) & MASK:
        receiver.td_end = sack  # it answers a keepalive


def _judge(sender: Seen, receiver: Seen, seq: int, end: int, sack: int) -> Track:
    old_ack = not after(sack, receiver.td_end - max(sender.td_maxwin, MAXACKWINDOW) - 1)
    new_ack = not before(sack, receiver.td_end + 1)
    if not before(seq, sender.td_maxend + 1):
        overshot = (end - sender.td_maxend + 1) & MASK
        reached = receiver.td_maxwin and after(end, sender.td_end - receiver.td_maxwin - 1)
        if not reached or overshot > receiver.td_maxwin or new_ack or old_ack:
            return Track.INVALID
        # Should the peer take what is more than it allowed, its ACK shall be known.
        sender.td_end = end
        sender.flags |= Flag.DATA_UNACKNOWLEDGED
        return Track.ACCEPT
    if new_ack:
        return Track.INVALID
    in_window = not receiver.td_maxwin or after(end, sender.td_end - receiver.td_maxwin - 1)
    return Track.CONTINUE if in_window and not old_ack else Track.ACCEPT


def _update(
    sender: Seen, receiver: Seen, end: int, acked: int | None, sack: int, ack: int, window: int
) -> None:
    sender.td_maxwin = max(sender.td_maxwin, window + ((sack - ack) & MASK))
    if after(end, sender.td_end):
        sender.td_end = end
        sender.flags |= Flag.DATA_UNACKNOWLEDGED
    if acked is not None and (not sender.flags & Flag.MAXACK_SET or after(acked, sender.td_maxack)):
        sender.td_maxack = acked
        sender.flags |= Flag.MAXACK_SET
    if receiver.td_maxwin and after(end, sender.td_maxend):
        receiver.td_maxwin += (end - sender.td_maxend) & MASK
    if after(sack + window, receiver.td_maxend - 1):
        receiver.td_maxend = (sack + (window or 1)) & MASK
    if ack == receiver.td_end:
        receiver.flags &= ~Flag.DATA_UNACKNOWLEDGED


def _count_retransmissions(track: TcpTrack, direction: int, now: tuple[int, int, int, int]) -> None:
    last = (track.last_seq, track.last_ack, track.last_end, track.last_win)
    if track.last_dir == direction and last == now:
        track.retrans += 1
        return
    track.last_dir = direction
    track.last_seq, track.last_ack, track.last_end, track.last_win = now
    track.retrans = 0
