"""TIME_WAIT, and FIN_WAIT_2 of an orphan: a small object instead of the socket.

RFC 9293, 3.10.7.4 and 3.6.1, RFC 6191; `net/ipv4/tcp_minisocks.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import TH_ACK, TH_FIN, TH_RST, TH_SYN
from pystack.core.skb import SkBuff
from pystack.transport.tcp import lifecycle, listen, paws, reply
from pystack.transport.tcp.constants import INVALID_RATELIMIT, MSEC, TIMEWAIT_LEN
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import SEQ_MASK, after, before, seq_add, seq_diff
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.tables import FourTuple, Key

if TYPE_CHECKING:
    from pystack.transport.tcp.protocol import Tcp
    from pystack.transport.tcp.sock import TcpSock


class TimeWaitSock:
    """Keeps the four-tuple and the port until its timer ends (`struct tcp_timewait_sock`)."""

    __slots__ = (
        *("family", "four_tuple", "key", "last_oow_ack_time", "lport", "rcv_nxt", "rcv_saddr"),
        *(
            "rcv_wnd",
            "rcv_wscale",
            "sk_bound_dev_if",
            "sk_cookie",
            "sk_reuse",
            "sk_reuseport",
            "sk_uid",
            "snd_nxt",
        ),
        *("state", "substate", "tcp", "timer"),
        *("ts_offset", "ts_recent", "ts_recent_stamp", "tstamp_ok"),
    )

    v6only = False  # it has one address

    def __init__(self, sk: TcpSock, substate: TcpState) -> None:
        self.tcp: Tcp = sk.tcp
        self.family = sk.family
        self.four_tuple: FourTuple = sk.four_tuple
        self.key: Key = sk.key
        self.lport = sk.lport
        self.rcv_saddr = sk.rcv_saddr
        self.sk_reuse = sk.sk_reuse
        self.sk_reuseport = sk.sk_reuseport
        self.sk_bound_dev_if = sk.sk_bound_dev_if
        self.sk_uid = sk.sk_uid
        self.sk_cookie = sk.sk_cookie
        self.state = TcpState.TIME_WAIT
        self.substate = substate
        self.rcv_nxt = sk.rcv_nxt
        self.snd_nxt = sk.snd_nxt
        self.rcv_wnd = sk.rcv_wnd
        self.rcv_wscale = sk.rcv_wscale
        self.tstamp_ok = sk.tstamp_ok
        self.ts_recent = sk.ts_recent
        self.ts_recent_stamp = sk.ts_recent_stamp
        self.ts_offset = sk.ts_offset
        self.last_oow_ack_time: int | None = None
        self.timer = sk.kernel.timer(self.kill)

    def kill(self) -> None:
        """The time is over, or the connection is reborn."""
        self.timer.delete()
        tables = self.tcp.tables
        if tables.connections.get(self.key) is self:
            del tables.connections[self.key]
            tables.put_port(self, self.lport)

    def restart(self) -> None:
        self.timer.mod(self.tcp.kernel.now + TIMEWAIT_LEN)


def enter(sk: TcpSock, substate: TcpState, timeout: int = TIMEWAIT_LEN) -> None:
    """Replace the socket in the tables; it is done (`tcp_time_wait`).

    `timeout` in ns, at least three and a half RTO, so that a lost last ACK can be repeated.
    """
    tw = TimeWaitSock(sk, substate)
    sk.kernel.mib["TcpExtTW"] += 1
    tables = sk.tcp.tables
    tables.hold_port(tw, sk.lport, explicit=False)
    tables.connections[sk.key] = tw
    if substate is TcpState.TIME_WAIT:
        timeout = TIMEWAIT_LEN
    tw.timer.mod(sk.kernel.now + max(timeout, (sk.rtt.rto << 2) - (sk.rtt.rto >> 1)))
    lifecycle.done(sk)


def receive(tw: TimeWaitSock, skb: SkBuff) -> None:
    """A segment for a connection in TIME_WAIT (`tcp_timewait_state_process`)."""
    segment: RxSegment = skb.cb
    now = tw.tcp.kernel.now
    rejected = tw.ts_recent_stamp is not None and paws.paws_reject(
        tw, segment, bool(segment.flags & TH_RST), now
    )
    if tw.substate is TcpState.FIN_WAIT2:
        _fin_wait2(tw, skb, segment, rejected)
    else:
        _time_wait(tw, skb, segment, rejected)


def _fin_wait2(tw: TimeWaitSock, skb: SkBuff, segment: RxSegment, rejected: bool) -> None:
    """Only the peer's FIN is welcome; data has nobody to go to and is answered with a RST."""
    flags, kernel = segment.flags, tw.tcp.kernel
    if rejected or not _in_window(segment, tw.rcv_nxt, seq_add(tw.rcv_nxt, tw.rcv_wnd)):
        _ack_rate_limited(tw, "TcpExtTCPACKSkippedFinWait2")
        kernel.drop(skb, Drop.TCP_OUT_OF_WINDOW)
        return
    if flags & TH_RST:
        tw.kill()
        skb.free()
        return
    if flags & TH_SYN and not before(segment.seq, tw.rcv_nxt):
        _refuse(tw, skb)
        return
    new = after(segment.end_seq, tw.rcv_nxt) and segment.end_seq != segment.seq
    if not flags & TH_ACK or not new:
        skb.free()
        return
    if not flags & TH_FIN or segment.end_seq != seq_add(tw.rcv_nxt, 1):
        _refuse(tw, skb)
        return
    tw.substate = TcpState.TIME_WAIT
    tw.rcv_nxt = segment.end_seq
    _note_timestamp(tw, segment)
    tw.restart()
    skb.free()
    _send_ack(tw)


def _time_wait(tw: TimeWaitSock, skb: SkBuff, segment: RxSegment, rejected: bool) -> None:
    flags, kernel = segment.flags, tw.tcp.kernel
    bare = segment.seq == tw.rcv_nxt and (segment.seq == segment.end_seq or flags & TH_RST)
    if not rejected and bare:
        if flags & TH_RST:
            if not kernel.sysctl["net.ipv4.tcp_rfc1337"]:
                tw.kill()  # assassination: RFC 1337 says how, and why not to allow it
        else:
            tw.restart()
            _note_timestamp(tw, segment)
        skb.free()
        return
    if not rejected and flags & (TH_SYN | TH_RST | TH_ACK) == TH_SYN and _is_newer(tw, segment):
        _reborn(tw, skb)
        return
    if rejected:
        kernel.mib["TcpExtPAWSEstab"] += 1
    if not flags & TH_RST:
        if rejected or flags & TH_ACK:
            tw.restart()
        _ack_rate_limited(tw, "TcpExtTCPACKSkippedTimeWait")
    kernel.drop(skb, Drop.TCP_PAWS if rejected else Drop.TCP_OUT_OF_WINDOW)


def _in_window(segment: RxSegment, start: int, end: int) -> bool:
    """`tcp_in_window`: RFC 9293's four cases of acceptability."""
    seq, end_seq = segment.seq, segment.end_seq
    if seq == start:
        return True
    if after(end_seq, start) and before(seq, end):
        return True
    return seq == end and seq == end_seq


def _is_newer(tw: TimeWaitSock, segment: RxSegment) -> bool:
    """A SYN that cannot belong to the old connection (RFC 1122, 4.2.2.13; RFC 6191, 2)."""
    stamps = segment.options.timestamps
    newer_stamp = (
        stamps is not None
        and tw.ts_recent_stamp is not None
        and seq_diff(tw.ts_recent, stamps[0]) < 0
    )
    return after(segment.seq, tw.rcv_nxt) or newer_stamp


def _reborn(tw: TimeWaitSock, skb: SkBuff) -> None:
    """A new connection between the same two ports, if somebody still listens."""
    listener = tw.tcp.lookup_listener(skb)
    if listener is None:
        tw.tcp.kernel.drop(skb, Drop.TCP_OUT_OF_WINDOW)
        _ack_rate_limited(tw, "TcpExtTCPACKSkippedTimeWait")
        return
    tw.kill()
    isn = seq_add(tw.snd_nxt, 65535 + 2) or 1
    listen.receive(listener, skb, isn)


def _refuse(tw: TimeWaitSock, skb: SkBuff) -> None:
    tw.kill()
    reply.send_reset(tw.tcp, skb)
    tw.tcp.kernel.drop(skb, Drop.TCP_CLOSED)


def _note_timestamp(tw: TimeWaitSock, segment: RxSegment) -> None:
    if segment.options.timestamps is not None:
        tw.ts_recent = segment.options.timestamps[0]
        tw.ts_recent_stamp = tw.tcp.kernel.now


def _ack_rate_limited(tw: TimeWaitSock, counter: str) -> None:
    now = tw.tcp.kernel.now
    if tw.last_oow_ack_time is not None and now - tw.last_oow_ack_time < INVALID_RATELIMIT:
        tw.tcp.kernel.mib[counter] += 1
        return
    tw.last_oow_ack_time = now
    _send_ack(tw)


def _send_ack(tw: TimeWaitSock) -> None:
    stamps = None
    if tw.tstamp_ok:
        tsval = (tw.tcp.kernel.now // MSEC + tw.ts_offset) & SEQ_MASK
        stamps = (tsval, tw.ts_recent)
    window = tw.rcv_wnd >> tw.rcv_wscale
    reply.send_bare_ack(tw.tcp, reply.BareAck(tw.key, tw.snd_nxt, tw.rcv_nxt, window, stamps))
