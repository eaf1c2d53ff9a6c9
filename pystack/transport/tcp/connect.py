"""Active open: connect, and segments in SYN_SENT (RFC 9293, 3.10.1 and 3.10.7.3)."""

from __future__ import annotations

import errno
from socket import AF_INET6
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.tcp import TCP_HLEN, TCPOLEN_TSTAMP_ALIGNED, TH_ACK, TH_RST, TH_SYN
from pystack.core.skb import SkBuff
from pystack.transport.inetaddr import is_link_scope
from pystack.transport.inetsock import bind_scope
from pystack.transport.sock import Address, os_error
from pystack.transport.tcp import ack as ackmod
from pystack.transport.tcp import (
    congestion,
    delack,
    ecn,
    lifecycle,
    mtuprobe,
    output,
    paws,
    ports,
    rcvspace,
    reply,
)
from pystack.transport.tcp.ackevent import SLOWPATH
from pystack.transport.tcp.constants import MSEC, MSS_DEFAULT, TIMEOUT_MIN
from pystack.transport.tcp.mss import advertised_mss, sync_mss
from pystack.transport.tcp.rto import XmitTimer, arm
from pystack.transport.tcp.segment import RxSegment, TxSegment
from pystack.transport.tcp.seq import after, between, seq_add
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.transmit import send_ack, timestamp, transmit
from pystack.transport.tcp.window import full_space, init_buffer_space, initial_window, wanted_clamp

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def start(sk: TcpSock, address: Address) -> None:
    """Choose addresses and ports and send the SYN (`tcp_v4_connect`, `tcp_v6_connect`)."""
    inet, host, port, _, scope_id = sk.destination(address)
    bound = sk.rcv_saddr if any(sk.rcv_saddr) else b""
    if not any(host):
        host = bound or inet.loopback_address
    if not inet.is_unicast(host):
        raise os_error(errno.ENETUNREACH)
    if bound and len(bound) != len(host):
        raise os_error(errno.EAFNOSUPPORT)
    if inet.family == AF_INET6 and is_link_scope(host):
        bind_scope(sk, scope_id)
    route = inet.route(host, bound, oif=sk.sk_bound_dev_if, mark=sk.sk_mark)
    sk.inet, sk.route = inet, route
    sk.laddr = bound or route.saddr
    sk.raddr, sk.rport = host, port
    if sk.ts_recent_stamp is not None:
        sk.ts_recent, sk.ts_recent_stamp = 0, None
    try:
        ports.choose_for_connect(sk)
    except OSError:
        forget_peer(sk)
        raise
    sk.rcv_saddr = sk.laddr
    lifecycle.set_state(sk, TcpState.SYN_SENT)
    secrets = sk.tcp.secrets
    sk.iss = secrets.isn(sk.laddr, sk.raddr, sk.lport, sk.rport, sk.kernel.now)
    sk.inet_id = sk.inet.first_identification()
    sk.ts_offset = secrets.timestamp_offset(sk.laddr, sk.raddr)
    _send_syn(sk, route.mtu)


def forget_peer(sk: TcpSock) -> None:
    """Undo what `start` fixed, so that the socket may connect again."""
    sk.raddr, sk.rport = sk.inet.any_address, 0
    sk.route = None
    if not sk.bound_address:
        sk.unbind_address()


def _send_syn(sk: TcpSock, mtu: int) -> None:
    """`tcp_connect_init` and `tcp_connect`."""
    kernel = sk.kernel
    sk.sk_err = 0  # what became of an earlier attempt is no news about this one
    sk.advmss = advertised_mss(kernel.sysctl, sk.inet, mtu, sk.user_mss)
    sk.mss_clamp = sk.user_mss or 65535
    mtuprobe.init(sk)
    sync_mss(sk, mtu)
    delack.initialize_rcv_mss(sk)
    space = full_space(sk)
    scaling = bool(kernel.sysctl["net.ipv4.tcp_window_scaling"])
    window = initial_window(kernel.sysctl, space, sk.advmss, wanted_clamp(sk), scaling)
    sk.rcv_wnd, sk.window_clamp, sk.rcv_wscale = window
    sk.rcv_ssthresh = sk.rcv_wnd
    sk.snd_una = sk.snd_nxt = sk.snd_sml = sk.iss
    sk.write_seq = sk.pushed_seq = seq_add(sk.iss, 1)
    sk.syn_sent_at = kernel.now
    kernel.mib["TcpActiveOpens"] += 1
    output.queue_and_send(sk, TxSegment(sk.iss, sk.write_seq, TH_SYN | ecn.syn_flags(sk)))


# -- segments in SYN_SENT ------------------------------------------------------------------


def rcv_synsent(sk: TcpSock, skb: SkBuff) -> None:
    """`tcp_rcv_synsent_state_process`."""
    segment: RxSegment = skb.cb
    flags, kernel = segment.flags, sk.kernel
    if flags & TH_ACK:
        if not _ack_acceptable(sk, segment):
            reply.send_reset(sk.tcp, skb)
            kernel.drop(skb, Drop.TCP_INVALID_ACK)
        elif flags & TH_RST:
            skb.free()
            lifecycle.reset(sk)
        elif not flags & TH_SYN:
            kernel.drop(skb, Drop.TCP_BAD_FLAGS)
        else:
            _established(sk, segment)
            skb.free()
    elif flags & TH_RST:
        kernel.drop(skb, Drop.TCP_RESET)
    elif flags & TH_SYN:
        _crossed_syn(sk, segment)
        skb.free()
    else:
        kernel.drop(skb, Drop.TCP_BAD_FLAGS)


def _ack_acceptable(sk: TcpSock, segment: RxSegment) -> bool:
    if not after(segment.ack, sk.snd_una) or after(segment.ack, sk.snd_nxt):
        if not sk.retransmits:
            arm(sk, XmitTimer.RETRANS, TIMEOUT_MIN)  # an old incarnation: try again soon
        return False
    stamps = segment.options.timestamps
    if stamps is not None and stamps[1]:
        oldest = seq_add(sk.syn_sent_at // MSEC, sk.ts_offset)
        if not between(stamps[1], oldest, timestamp(sk)):
            sk.kernel.mib["TcpExtPAWSActive"] += 1
            return False
    return True


def _take_options(sk: TcpSock, segment: RxSegment) -> None:
    """What both ends offered holds from now on."""
    options, sysctl = segment.options, sk.kernel.sysctl
    peer_mss = MSS_DEFAULT if not options.mss else options.mss
    sk.mss_clamp = min(peer_mss, sk.user_mss) if sk.user_mss else peer_mss
    sk.wscale_ok = options.wscale is not None and bool(sysctl["net.ipv4.tcp_window_scaling"])
    if sk.wscale_ok:
        sk.snd_wscale = options.wscale or 0
    else:
        sk.snd_wscale = sk.rcv_wscale = 0
        sk.window_clamp = min(sk.window_clamp, 65535)
    sk.sack_ok = options.sack_permitted and bool(sysctl["net.ipv4.tcp_sack"])
    if options.timestamps is not None and sysctl["net.ipv4.tcp_timestamps"]:
        sk.tstamp_ok = True
        sk.header_length = TCP_HLEN + TCPOLEN_TSTAMP_ALIGNED
        paws.store_ts_recent(sk, options.timestamps[0])


def _sequence_numbers(sk: TcpSock, segment: RxSegment) -> None:
    sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = seq_add(segment.seq, 1)
    sk.snd_wnd = segment.window  # the window of a SYN is never scaled
    sk.max_window = sk.snd_wnd
    sk.snd_wl1 = segment.seq


def _established(sk: TcpSock, segment: RxSegment) -> None:
    ecn.receive_synack(sk, segment)
    _take_options(sk, segment)
    sk.snd_wl1 = segment.seq
    ackmod.process(sk, segment, SLOWPATH)
    _sequence_numbers(sk, segment)
    mtuprobe.init(sk)
    sync_mss(sk, sk.pmtu)
    delack.initialize_rcv_mss(sk)
    sk.ack.lrcvtime = sk.kernel.now
    finish_connect(sk)
    sk.wake()
    send_ack(sk)


def finish_connect(sk: TcpSock) -> None:
    """The handshake is complete: start the transfer (`tcp_init_transfer`).

    Only now a segment is known to carry a time stamp: `advmss` was the one of the SYN.
    """
    if sk.tstamp_ok:
        sk.advmss -= TCPOLEN_TSTAMP_ALIGNED
    lifecycle.set_state(sk, TcpState.ESTABLISHED)
    mtuprobe.init(sk)
    congestion.init_cwnd(sk)
    sk.lsndtime = sk.kernel.now
    init_buffer_space(sk)
    rcvspace.init(sk)


def _crossed_syn(sk: TcpSock, segment: RxSegment) -> None:
    """Simultaneous open (RFC 9293, 3.5, figure 7): our SYN goes out again, with an ACK."""
    lifecycle.set_state(sk, TcpState.SYN_RECV)
    ecn.receive_crossed_syn(sk, segment)
    _take_options(sk, segment)
    _sequence_numbers(sk, segment)
    mtuprobe.init(sk)
    sync_mss(sk, sk.pmtu)
    delack.initialize_rcv_mss(sk)
    syn = sk.rtx.head
    syn.flags = ecn.synack_flags(sk, syn.flags | TH_ACK)
    transmit(sk, syn.seq, syn.flags)
