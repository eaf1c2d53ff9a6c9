"""Explicit congestion notification of a connection (RFC 3168, with Linux's choices).

Called by `connect`, `listen` and `sock` for its negotiation, by `transmit` for what leaves and by
`input` and `data` for what comes.  A socket whose `ecn` is None has not negotiated it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.ipv4 import ECN_CE, ECN_ECT0, ECN_MASK, ECN_NOT_ECT
from pystack.core.headers.tcp import TH_CWR, TH_ECE
from pystack.transport.tcp import delack
from pystack.transport.tcp.seq import before

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.core.sysctl import Sysctl
    from pystack.transport.tcp.segment import RxSegment
    from pystack.transport.tcp.sock import TcpSock

TH_SYN_ECN = TH_ECE | TH_CWR
QUICK_ACKS = 2


class EcnState:
    """`tcp_sock.ecn_flags` of a connection on which both ends use ECN."""

    __slots__ = ("demand_cwr", "queue_cwr", "seen")

    def __init__(self) -> None:
        self.demand_cwr = False  # CE has come: ECE on every ACK until CWR comes
        self.queue_cwr = False  # we have reduced the window: CWR on the next new data
        self.seen = False  # the peer's data has come with ECT


# -- negotiation (RFC 3168, 6.1.1) ---------------------------------------------------------


def syn_flags(sk: TcpSock) -> int:
    """What a SYN says beside SYN; 0 unless we ask for ECN (`tcp_ecn_send_syn`)."""
    sk.ecn = None
    if sk.kernel.sysctl["net.ipv4.tcp_ecn"] != 1:
        return 0
    sk.ecn = EcnState()
    return TH_SYN_ECN


def synack_flags(sk: TcpSock, flags: int) -> int:
    """Of the SYN that goes out again as a SYN-ACK, for SYNs crossed (`tcp_ecn_send_synack`)."""
    flags &= ~TH_CWR
    return flags if sk.ecn is not None else flags & ~TH_ECE


def fallback(sk: TcpSock, flags: int) -> int:
    """A SYN that must be repeated: perhaps its ECN bits were what lost it (RFC 3168, 6.1.1.1)."""
    if sk.kernel.sysctl["net.ipv4.tcp_ecn_fallback"]:
        flags &= ~TH_SYN_ECN
    return flags


def receive_synack(sk: TcpSock, segment: RxSegment) -> None:
    if segment.flags & TH_SYN_ECN != TH_ECE:
        sk.ecn = None


def receive_crossed_syn(sk: TcpSock, segment: RxSegment) -> None:
    if segment.flags & TH_SYN_ECN != TH_SYN_ECN:
        sk.ecn = None


def request_agrees(sysctl: Sysctl, skb: SkBuff, segment: RxSegment) -> bool:
    """Whether a SYN asks for ECN and we grant it (`tcp_ecn_create_request`).

    A SYN that itself bears ECT comes through something that mangles the bits.
    """
    if segment.flags & TH_SYN_ECN != TH_SYN_ECN or not sysctl["net.ipv4.tcp_ecn"]:
        return False
    return codepoint(skb) == ECN_NOT_ECT


def codepoint(skb: SkBuff) -> int:
    """The two bits of the IP header."""
    return skb.tos & ECN_MASK


# -- sending -------------------------------------------------------------------------------


def mark(sk: TcpSock, state: EcnState, seq: int, has_data: bool) -> tuple[int, int]:
    """TCP flags and IP codepoint of a segment that leaves (`tcp_ecn_send`).

    New data bears ECT; ACKs and retransmissions never do (RFC 3168, 6.1.4 and 6.1.5).
    """
    flags = TH_ECE if state.demand_cwr else 0
    if not has_data or before(seq, sk.snd_nxt):
        return flags, ECN_NOT_ECT
    if state.queue_cwr:
        state.queue_cwr = False
        flags |= TH_CWR
    return flags, ECN_ECT0


def queue_cwr(sk: TcpSock) -> None:
    """The window has been reduced, for whatever reason: tell the peer once."""
    if sk.ecn is not None:
        sk.ecn.queue_cwr = True


# -- receiving -----------------------------------------------------------------------------


def accept_cwr(sk: TcpSock, state: EcnState, segment: RxSegment) -> None:
    """The sender has answered our ECE; its window may be one segment: do not delay ACKs."""
    if segment.flags & TH_CWR:
        state.demand_cwr = False
        if segment.seq != segment.end_seq:
            sk.ack.pending |= delack.ACK_NOW


def check_ce(sk: TcpSock, state: EcnState, skb: SkBuff) -> None:
    """Data has come; did a router mark it? (`__tcp_ecn_check_ce`)"""
    found = codepoint(skb)
    if found == ECN_NOT_ECT:
        if state.seen:
            delack.enter_quickack(sk, QUICK_ACKS)  # probably a retransmission
        return
    if found == ECN_CE and not state.demand_cwr:
        delack.enter_quickack(sk, QUICK_ACKS)
        state.demand_cwr = True
    state.seen = True
