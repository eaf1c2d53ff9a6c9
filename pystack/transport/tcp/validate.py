"""Is a segment acceptable? (RFC 9293, 3.10.7.4, first to fourth check; RFC 5961; RFC 7323)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import TH_ACK, TH_RST, TH_SYN
from pystack.core.skb import SkBuff
from pystack.transport.tcp import data, delack, lifecycle, paws
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import after, before, seq_add
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.transmit import rate_limited, send_ack, send_challenge_ack
from pystack.transport.tcp.window import receive_window

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

HALF_CLOSED = (TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.CLOSING)


def validate(sk: TcpSock, skb: SkBuff) -> bool:
    """True: go on with the ACK.  False: the segment has been answered and freed.

    Compare `tcp_validate_incoming`; a RST is believed only at exactly RCV.NXT.
    """
    segment: RxSegment = skb.cb
    rst = bool(segment.flags & TH_RST)
    if not rst and paws.paws_discard(sk, segment):
        sk.kernel.mib["TcpExtPAWSEstab"] += 1
        if not _rate_limited(sk, segment, "TcpExtTCPACKSkippedPAWS"):
            _send_dupack(sk, segment)
        sk.kernel.drop(skb, Drop.TCP_PAWS)
        return False
    if not _in_sequence(sk, segment):
        _out_of_window(sk, skb, segment, rst)
        return False
    if rst:
        _check_reset(sk, skb, segment)
        return False
    if segment.flags & TH_SYN and not _completes_crossed_syn(sk, segment):
        sk.kernel.mib["TcpExtTCPSYNChallenge"] += 1
        send_challenge_ack(sk)
        sk.kernel.drop(skb, Drop.TCP_BAD_FLAGS)
        return False
    return True


def _in_sequence(sk: TcpSock, segment: RxSegment) -> bool:
    """Any part in the window, or just before it (`tcp_sequence`)."""
    return not before(segment.end_seq, sk.rcv_wup) and not after(
        segment.seq, seq_add(sk.rcv_nxt, receive_window(sk))
    )


def _out_of_window(sk: TcpSock, skb: SkBuff, segment: RxSegment, rst: bool) -> None:
    if rst and _resets_after_fin(sk, segment):
        skb.free()
        lifecycle.reset(sk)
        return
    if not rst:
        if segment.flags & TH_SYN:
            sk.kernel.mib["TcpExtTCPSYNChallenge"] += 1
            send_challenge_ack(sk)
        elif not _rate_limited(sk, segment, "TcpExtTCPACKSkippedSeq"):
            _send_dupack(sk, segment)
    old = segment.seq != segment.end_seq and not after(segment.end_seq, sk.rcv_nxt)
    sk.kernel.drop(skb, Drop.TCP_DUPLICATE_DATA if old else Drop.TCP_OUT_OF_WINDOW)


def _check_reset(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> None:
    """RFC 5961, 3.2, or the right edge of what we have SACKed: the sender's own idea of next."""
    edges = [sk.rcv_nxt]
    if sk.sacks.blocks:
        highest = sk.sacks.blocks[0][1]
        for _, right in sk.sacks.blocks:
            highest = right if after(right, highest) else highest
        edges.append(highest)
    if segment.seq in edges or _resets_after_fin(sk, segment):
        skb.free()
        lifecycle.reset(sk)
    else:
        send_challenge_ack(sk)
        sk.kernel.drop(skb, Drop.TCP_RESET)


def _resets_after_fin(sk: TcpSock, segment: RxSegment) -> bool:
    """Some stacks do not count their FIN in a RST that follows it (`tcp_reset_check`)."""
    return segment.seq == seq_add(sk.rcv_nxt, -1) and sk.state in HALF_CLOSED


def _completes_crossed_syn(sk: TcpSock, segment: RxSegment) -> bool:
    """The SYN-ACK of a simultaneous open repeats the SYN we have."""
    return (
        sk.state is TcpState.SYN_RECV
        and bool(segment.flags & TH_ACK)
        and seq_add(segment.seq, 1) == segment.end_seq == sk.rcv_nxt
        and segment.ack == sk.snd_nxt
    )


def _rate_limited(sk: TcpSock, segment: RxSegment, counter: str) -> bool:
    """Only what may be an answer to us can loop; data cannot."""
    if segment.seq != segment.end_seq and not segment.flags & TH_SYN:
        return False
    return rate_limited(sk, counter)


def _send_dupack(sk: TcpSock, segment: RxSegment) -> None:
    """`tcp_send_dupack`: an ACK, with a DSACK for data we have."""
    if segment.end_seq != segment.seq and before(segment.seq, sk.rcv_nxt):
        sk.kernel.mib["TcpExtDelayedACKLost"] += 1
        delack.enter_quickack(sk)
        end = sk.rcv_nxt if after(segment.end_seq, sk.rcv_nxt) else segment.end_seq
        data.set_dsack(sk, segment.seq, end)
    send_ack(sk)
