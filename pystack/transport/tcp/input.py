"""A segment for a socket, by state (RFC 9293, 3.10.7.4; `tcp_v4_do_rcv`).

Called under the socket's lock, from softirq or from the backlog; owns the packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import TH_ACK, TH_CWR, TH_ECE, TH_FIN, TH_RST, TH_SYN, TH_URG
from pystack.core.skb import SkBuff
from pystack.transport.sock import RCV_SHUTDOWN, SEND_SHUTDOWN
from pystack.transport.tcp import (
    ack,
    close,
    data,
    lifecycle,
    rcvspace,
    reply,
    timers,
    timewait,
    urgent,
)
from pystack.transport.tcp.ackevent import (
    DATA,
    NO_CHALLENGE_ACK,
    SLOWPATH,
    UPDATE_TS_RECENT,
)
from pystack.transport.tcp.connect import finish_connect, rcv_synsent
from pystack.transport.tcp.constants import TIMEWAIT_LEN
from pystack.transport.tcp.delack import ack_check, initialize_rcv_mss
from pystack.transport.tcp.output import push_pending
from pystack.transport.tcp.paws import replace_ts_recent
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import after, before, seq_add
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.stream import check_space
from pystack.transport.tcp.transmit import send_challenge_ack
from pystack.transport.tcp.validate import validate

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

_PREDICTED = TH_FIN | TH_SYN | TH_RST | TH_ACK | TH_ECE | TH_CWR | TH_URG


def do_rcv(sk: TcpSock, skb: SkBuff) -> None:
    state, stats = sk.state, sk.stats
    segments = 1 if skb.frags is None else 1 + len(skb.frags)
    stats.segs_in += segments
    if skb.end > skb.off:
        stats.data_segs_in += segments
    if state is TcpState.ESTABLISHED:
        _established(sk, skb)
    elif state is TcpState.SYN_SENT:
        rcv_synsent(sk, skb)
    elif state in (TcpState.CLOSE, TcpState.LISTEN):
        sk.kernel.drop(skb, Drop.TCP_CLOSED)  # closed while the packet was in the backlog
    else:
        _other_state(sk, skb)


def _established(sk: TcpSock, skb: SkBuff) -> None:
    segment: RxSegment = skb.cb
    if _predicted(sk, segment):
        flag = UPDATE_TS_RECENT
        if segment.seq != segment.end_seq:
            sk.kernel.mib["TcpExtTCPHPHits"] += 1
            if segment.ack == sk.snd_una and sk.urgent is None:
                if sk.tstamp_ok:
                    replace_ts_recent(sk, segment)
                    rcvspace.measure_echo(sk, skb, segment)
                sk.snd_wl1 = segment.seq
                data.queue(sk, skb)
                after_segment(sk)
                return
            flag |= DATA
    else:
        if not _plausible(sk, skb, segment) or not validate(sk, skb):
            return
        flag = SLOWPATH | UPDATE_TS_RECENT
    if ack.process(sk, segment, flag) == ack.ACK_INVALID:
        sk.kernel.drop(skb, Drop.TCP_INVALID_ACK)
        return
    if sk.urgent is not None or segment.flags & TH_URG:
        urgent.receive_segment(sk, skb, segment)
    if sk.tstamp_ok:
        rcvspace.measure_echo(sk, skb, segment)
    data.queue(sk, skb)
    after_segment(sk)


def _predicted(sk: TcpSock, segment: RxSegment) -> bool:
    """Header prediction: nothing but what a plain transfer brings (RFC 7323, app. D)."""
    options = segment.options
    return (
        segment.flags & _PREDICTED == TH_ACK
        and segment.seq == sk.rcv_nxt
        and segment.window << sk.snd_wscale == sk.snd_wnd
        and not options.sack
        and not sk.ofo
        and (segment.ack != sk.snd_una or segment.seq != segment.end_seq)
        and (options.timestamps is None or not before(options.timestamps[0], sk.ts_recent))
    )


def after_segment(sk: TcpSock) -> None:
    """An ACK may let data go, data may want an ACK."""
    if sk.state is not TcpState.CLOSE:
        if sk.unsent:
            push_pending(sk)
        if sk.nospace:
            check_space(sk)
        ack_check(sk)


def _plausible(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> bool:
    """Every segment of a connection carries ACK, RST or SYN."""
    if segment.flags & (TH_ACK | TH_RST | TH_SYN):
        return True
    sk.kernel.drop(skb, Drop.TCP_BAD_FLAGS)
    return False


# -- every other synchronised state --------------------------------------------------------


def _other_state(sk: TcpSock, skb: SkBuff) -> None:
    """SYN_RECV and the closing states (`tcp_rcv_state_process`)."""
    segment: RxSegment = skb.cb
    if not _plausible(sk, skb, segment) or not validate(sk, skb):
        return
    verdict = ack.process(sk, segment, SLOWPATH | UPDATE_TS_RECENT | NO_CHALLENGE_ACK)
    if verdict != ack.ACK_OK:
        if sk.state is TcpState.SYN_RECV:
            reply.send_reset(sk.tcp, skb)
            sk.kernel.drop(skb, Drop.TCP_INVALID_ACK)
            return
        if verdict == ack.ACK_INVALID:
            send_challenge_ack(sk)
            sk.kernel.drop(skb, Drop.TCP_INVALID_ACK)
            return
    if sk.state is TcpState.SYN_RECV:
        _handshake_complete(sk, segment)
    elif not _our_fin_acked(sk, skb, segment):
        return
    _text(sk, skb, segment)


def _handshake_complete(sk: TcpSock, segment: RxSegment) -> None:
    sk.snd_una = segment.ack
    sk.snd_wnd = segment.window << sk.snd_wscale
    sk.max_window = max(sk.max_window, sk.snd_wnd)
    sk.snd_wl1 = segment.seq
    sk.copied_seq = sk.rcv_nxt
    finish_connect(sk)
    initialize_rcv_mss(sk)
    sk.wake()
    if sk.sk_shutdown & SEND_SHUTDOWN:  # before it was connected
        close.close_sending(sk)


def _our_fin_acked(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> bool:
    """Once all we sent is acknowledged, FIN included, the state moves on.

    False: the connection is over for this socket and `skb` freed.
    """
    if sk.snd_una != sk.write_seq:
        return True
    if sk.state is TcpState.FIN_WAIT1:
        return _fin_wait1_acked(sk, skb, segment)
    if sk.state is TcpState.CLOSING:
        skb.free()
        timewait.enter(sk, TcpState.TIME_WAIT)
        return False
    if sk.state is TcpState.LAST_ACK:
        skb.free()
        lifecycle.done(sk)
        return False
    return True


def _fin_wait1_acked(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> bool:
    lifecycle.set_state(sk, TcpState.FIN_WAIT2)
    sk.sk_shutdown |= SEND_SHUTDOWN
    if not sk.dead:
        sk.wake()
        return True
    if sk.linger2 is not None and sk.linger2 < 0:
        sk.kernel.mib["TcpExtTCPAbortOnData"] += 1
        lifecycle.done(sk)
        skb.free()
        return False
    fin = bool(segment.flags & TH_FIN)
    if _has_new_data(sk, segment):
        sk.kernel.mib["TcpExtTCPAbortOnData"] += 1
        lifecycle.done(sk)
        reply.send_reset(sk.tcp, skb)
        sk.kernel.drop(skb, Drop.TCP_CLOSED)
        return False
    timeout = timers.fin_time(sk)
    if timeout > TIMEWAIT_LEN:
        sk.sk_timer.mod(sk.kernel.now + timeout - TIMEWAIT_LEN)
    elif fin:
        sk.sk_timer.mod(sk.kernel.now + timeout)  # the FIN is dealt with below
    else:
        skb.free()
        timewait.enter(sk, TcpState.FIN_WAIT2, timeout)
        return False
    return True


def _has_new_data(sk: TcpSock, segment: RxSegment) -> bool:
    fin = bool(segment.flags & TH_FIN)
    end = seq_add(segment.end_seq, -fin)
    return segment.end_seq != segment.seq and after(end, sk.rcv_nxt)


def _text(sk: TcpSock, skb: SkBuff, segment: RxSegment) -> None:
    state = sk.state
    if sk.urgent is not None or segment.flags & TH_URG:
        urgent.receive_segment(sk, skb, segment)
    if state in (TcpState.CLOSE_WAIT, TcpState.CLOSING, TcpState.LAST_ACK):
        if not before(segment.seq, sk.rcv_nxt):
            skb.free()  # nothing can follow the peer's FIN
            after_segment(sk)
            return
    elif (
        state in (TcpState.FIN_WAIT1, TcpState.FIN_WAIT2)
        and sk.sk_shutdown & RCV_SHUTDOWN
        and _has_new_data(sk, segment)
    ):
        # RFC 1122, 4.2.2.13: data for a socket that is closed means it is lost: say so.
        sk.kernel.mib["TcpExtTCPAbortOnData"] += 1
        reply.send_reset(sk.tcp, skb)
        sk.kernel.drop(skb, Drop.TCP_CLOSED)
        lifecycle.reset(sk)
        return
    data.queue(sk, skb)
    after_segment(sk)
