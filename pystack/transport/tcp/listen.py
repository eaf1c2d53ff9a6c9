"""Passive open: SYNs to a listener, the SYN queue, and the accept queue (RFC 9293, 3.10.7.2).

Called by `protocol` without any lock: requests are in the connection table themselves, so a
listener's own state hardly matters to their segments, as in Linux since 4.4.
"""

from __future__ import annotations

from select import EPOLLIN, EPOLLRDNORM
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import (
    TCPOLEN_TSTAMP_ALIGNED,
    TH_ACK,
    TH_FIN,
    TH_RST,
    TH_SYN,
)
from pystack.core.skb import SkBuff
from pystack.transport.tcp import paws, reply, syncookies
from pystack.transport.tcp.constants import INVALID_RATELIMIT
from pystack.transport.tcp.mss import advertised_mss
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import after, before, seq_add
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.window import full_space, initial_window, wanted_clamp

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def receive(listener: TcpSock, skb: SkBuff, isn: int | None = None) -> None:
    """A segment for a listening socket; `isn` continues after a TIME_WAIT's numbers."""
    kernel = listener.kernel
    flags = skb.cb.flags
    if flags & TH_ACK:
        req = syncookies.check(listener, skb)
        if req is not None and _route_request(req, skb):
            _complete(req, skb)
            return
        reply.send_reset(listener.tcp, skb)
        kernel.drop(skb, Drop.TCP_BAD_FLAGS)
    elif flags & TH_RST:
        kernel.drop(skb, Drop.TCP_RESET)
    elif not flags & TH_SYN or flags & TH_FIN:
        kernel.drop(skb, Drop.TCP_BAD_FLAGS)
    else:
        _conn_request(listener, skb, isn)


def _conn_request(listener: TcpSock, skb: SkBuff, isn: int | None) -> None:
    """A SYN: remember it and answer (`tcp_conn_request`)."""
    kernel, tcp = listener.kernel, listener.tcp
    segment: RxSegment = skb.cb
    want_cookie = _want_cookie(listener)
    refused = None if want_cookie else _refusal(listener)
    if acceptq_is_full(listener):
        kernel.mib["TcpExtListenOverflows"] += 1
        refused = Drop.TCP_LISTEN_OVERFLOW
    if refused is not None:
        kernel.mib["TcpExtListenDrops"] += 1
        kernel.drop(skb, refused)
        return
    if isn is None:
        isn = tcp.secrets.isn(skb.daddr, skb.saddr, segment.dport, segment.sport, kernel.now)
    req = RequestSock(listener, skb, segment, isn)
    if not _route_request(req, skb):
        kernel.mib["TcpExtListenDrops"] += 1
        kernel.drop(skb, Drop.IP_NO_ROUTE)
        return
    if want_cookie:
        skb.free()
        syncookies.send(req)
        return
    tcp.tables.connections[req.key] = req
    listener.requests[req] = None
    req.timer.mod(kernel.now + req.timeout())
    skb.free()
    req.send_synack()


def _route_request(req: RequestSock, skb: SkBuff) -> bool:
    """What the way back and the listener's buffer allow; False if there is no way."""
    listener, sysctl = req.listener, req.tcp.kernel.sysctl
    try:
        route = req.inet.route(skb.saddr, skb.daddr, oif=req.iif or listener.sk_bound_dev_if)
    except OSError:
        return False
    req.advmss = advertised_mss(sysctl, req.inet, route.mtu, listener.user_mss)
    space = full_space(listener)
    clamp = wanted_clamp(listener)
    mss = req.advmss - (TCPOLEN_TSTAMP_ALIGNED if req.tstamp_ok else 0)
    window = initial_window(sysctl, space, mss, clamp, req.snd_wscale is not None)
    req.rcv_wnd, req.window_clamp, req.rcv_wscale = window
    return True


def _queue_is_full(listener: TcpSock) -> bool:
    return len(listener.requests) > listener.max_ack_backlog


def _want_cookie(listener: TcpSock) -> bool:
    """No room to remember the SYN, or no wish to (`tcp_syn_flood_action`)."""
    cookies = listener.kernel.sysctl["net.ipv4.tcp_syncookies"]
    if cookies == 2 or (cookies and _queue_is_full(listener)):
        listener.kernel.mib["TcpExtTCPReqQFullDoCookies"] += 1
        return True
    return False


def _refusal(listener: TcpSock) -> Drop | None:
    """Is the queue of requests full?  The peer's SYN will come again."""
    sysctl = listener.kernel.sysctl
    if _queue_is_full(listener):
        listener.kernel.mib["TcpExtTCPReqQFullDrop"] += 1
        return Drop.TCP_SYN_QUEUE_FULL
    limit = sysctl["net.ipv4.tcp_max_syn_backlog"]
    crowded = limit - len(listener.requests) < limit >> 2
    if crowded and not sysctl["net.ipv4.tcp_syncookies"]:
        return Drop.TCP_SYN_QUEUE_FULL
    return None


def acceptq_is_full(listener: TcpSock) -> bool:
    return len(listener.accept_queue) > listener.max_ack_backlog


# -- segments for a request ----------------------------------------------------------------


def receive_request(req: RequestSock, skb: SkBuff) -> None:
    """Complete the handshake, or not (`tcp_check_req`)."""
    kernel = req.tcp.kernel
    segment: RxSegment = skb.cb
    flags = segment.flags & (TH_RST | TH_SYN | TH_ACK | TH_FIN)
    rejected = req.ts_recent_stamp is not None and paws.paws_reject(
        req, segment, bool(flags & TH_RST), kernel.now
    )
    if segment.seq == req.rcv_isn and flags == TH_SYN and not rejected:
        kernel.drop(skb, Drop.TCP_DUPLICATE_DATA)
        if not _rate_limited(req):
            req.timer.mod(kernel.now + req.timeout())
            req.retransmit_synack()
        return
    if flags & TH_ACK and segment.ack != seq_add(req.snt_isn, 1):
        reply.send_reset(req.tcp, skb)
        kernel.drop(skb, Drop.TCP_INVALID_ACK)
        return
    if rejected or not _in_window(req, segment):
        kernel.mib["TcpExtPAWSEstab"] += rejected
        kernel.drop(skb, Drop.TCP_PAWS if rejected else Drop.TCP_OUT_OF_WINDOW)
        if not flags & TH_RST and not _rate_limited(req):
            req.send_ack()
        return
    stamps = segment.options.timestamps
    if req.tstamp_ok and stamps is not None and not after(segment.seq, req.rcv_nxt):
        req.ts_recent = stamps[0]
        req.ts_recent_stamp = kernel.now
    if flags & TH_RST and segment.seq != req.rcv_nxt:  # RFC 5961, 3.2
        kernel.drop(skb, Drop.TCP_RESET)
        if not _rate_limited(req, "TcpExtTCPACKSkippedChallenge"):
            kernel.mib["TcpExtTCPChallengeACK"] += 1
            req.send_ack()
    elif flags & (TH_RST | TH_SYN):
        _embryonic_reset(req, skb, bool(flags & TH_RST))
    elif not flags & TH_ACK:
        kernel.drop(skb, Drop.TCP_BAD_FLAGS)
    elif req.defers(segment):
        skb.free()
    else:
        _complete(req, skb)


def _in_window(req: RequestSock, segment: RxSegment) -> bool:
    seq, end_seq, start = segment.seq, segment.end_seq, req.rcv_nxt
    end = seq_add(start, req.rcv_wnd)
    if seq == start or (after(end_seq, start) and before(seq, end)):
        return True
    return seq == end == end_seq


def _rate_limited(req: RequestSock, counter: str = "TcpExtTCPACKSkippedSynRecv") -> bool:
    now = req.tcp.kernel.now
    if req.last_oow_ack_time is not None and now - req.last_oow_ack_time < INVALID_RATELIMIT:
        req.tcp.kernel.mib[counter] += 1
        return True
    req.last_oow_ack_time = now
    return False


def _embryonic_reset(req: RequestSock, skb: SkBuff, by_peer: bool) -> None:
    mib = req.tcp.kernel.mib
    mib["TcpAttemptFails"] += 1
    mib["TcpExtEmbryonicRsts"] += 1
    req.unlink()
    if not by_peer:
        reply.send_reset(req.tcp, skb)
    req.tcp.kernel.drop(skb, Drop.TCP_RESET)


def _complete(req: RequestSock, skb: SkBuff) -> None:
    """The ACK of our SYN-ACK: a socket, if the accept queue has room."""
    listener, kernel = req.listener, req.tcp.kernel
    if acceptq_is_full(listener):
        kernel.mib["TcpExtListenOverflows"] += 1
        kernel.mib["TcpExtListenDrops"] += 1
        if kernel.sysctl["net.ipv4.tcp_abort_on_overflow"]:
            _embryonic_reset(req, skb, by_peer=False)
        else:
            req.acked = True
            kernel.drop(skb, Drop.TCP_LISTEN_OVERFLOW)
        return
    req.unlink()
    child = req.tcp.make_child(req, skb)
    listener.accept_queue.append(child)
    child.lock.deliver(skb, 0)  # takes it from SYN_RECV to ESTABLISHED
    if child.state is not TcpState.SYN_RECV:
        listener.wake(EPOLLIN | EPOLLRDNORM)
