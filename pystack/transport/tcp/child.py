"""The socket of a passive open: made when its handshake is complete (`tcp_minisocks.c`).

Called by `protocol`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TCP_HLEN, TCPOLEN_TSTAMP_ALIGNED
from pystack.transport.tcp import delack
from pystack.transport.tcp.constants import MSS_DEFAULT, USEC
from pystack.transport.tcp.ecn import EcnState
from pystack.transport.tcp.mss import sync_mss
from pystack.transport.tcp.seq import seq_add
from pystack.transport.tcp.state import ConnState, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.request import RequestSock
    from pystack.transport.tcp.segment import RxSegment
    from pystack.transport.tcp.sock import TcpSock

_INHERITED = (
    *("sk_rcvbuf", "sk_sndbuf", "sk_rcvlowat", "rcvbuf_locked", "sndbuf_locked", "sk_uid"),
    *("sk_flags", "sk_tsflags", "sk_reuseport", "sk_bound_dev_if", "sk_mark"),
    *("sk_reuse", "sk_linger", "nonagle", "user_mss", "linger2", "sk_keepalive"),
    *(
        "keepalive_time",
        "keepalive_intvl",
        "keepalive_probes",
        "user_timeout",
        "notsent_lowat",
        "sk_max_pacing_rate",
    ),
    *("sk_priority", "tos", "ttl", "pmtudisc", "clamp_wanted"),
    *("v6only", "tclass", "hop_limit", "pmtudisc6", "inet_flags"),
)


def init_child(sk: TcpSock, req: RequestSock, segment: RxSegment) -> None:
    """Make `sk` the connection of a completed handshake (`tcp_create_openreq_child`)."""
    parent = req.listener
    sk.inet = req.inet
    sk.state = TcpState.SYN_RECV
    sk.conn_state = ConnState.CONNECTED
    sk.laddr, sk.lport, sk.raddr, sk.rport = req.four_tuple
    sk.rcv_saddr = sk.laddr
    sk.sk_cookie = req.sk_cookie
    sk.bound_address, sk.bound_port = parent.bound_address, False  # `sk_clone_lock`
    for name in _INHERITED:
        setattr(sk, name, getattr(parent, name))
    sk.sk_bound_dev_if = sk.sk_bound_dev_if or req.iif
    sk.iss = req.snt_isn
    sk.inet_id = sk.inet.first_identification()
    sk.snd_una = sk.snd_nxt = sk.write_seq = sk.snd_sml = seq_add(req.snt_isn, 1)
    sk.pushed_seq = sk.snd_nxt
    sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = req.rcv_nxt
    sk.rcv_wnd = sk.rcv_ssthresh = req.rcv_wnd
    sk.window_clamp = req.window_clamp
    sk.wscale_ok = req.snd_wscale is not None
    sk.snd_wscale = req.snd_wscale or 0
    sk.rcv_wscale = req.rcv_wscale
    sk.snd_wnd = sk.max_window = segment.window << sk.snd_wscale
    sk.snd_wl1 = req.rcv_isn
    sk.sack_ok, sk.tstamp_ok = req.sack_ok, req.tstamp_ok
    sk.ts_offset = req.ts_offset
    sk.ts_recent, sk.ts_recent_stamp = req.ts_recent, req.ts_recent_stamp
    sk.advmss = req.advmss
    if sk.tstamp_ok:
        sk.header_length = TCP_HLEN + TCPOLEN_TSTAMP_ALIGNED
    peer_mss = req.mss or MSS_DEFAULT
    sk.mss_clamp = min(peer_mss, sk.user_mss) if sk.user_mss else peer_mss
    sk.route = sk.find_route()
    sync_mss(sk, sk.route.mtu)
    delack.initialize_rcv_mss(sk)
    sk.ack.lrcvtime = sk.lsndtime = sk.kernel.now
    if parent.cw.chosen:
        sk.set_congestion_control(parent.cw.algorithm.name)
    if req.ecn_ok:
        sk.ecn = EcnState()
    sk.total_retrans = req.num_retrans
    if req.sent_at is not None and not req.num_retrans:
        rtt_us = (sk.kernel.now - req.sent_at) // USEC
        sk.rtt.sample(rtt_us, sk.snd_una, sk.snd_nxt)
