"""A connection request in SYN_RECV: a small object until the handshake is complete.

`struct tcp_request_sock`; `listen` makes them and deals with segments for them.
"""

from __future__ import annotations

from socket import AF_INET6
from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ACK, TH_ECE, TH_SYN, TcpOptions
from pystack.transport.inetaddr import is_link_scope
from pystack.transport.tcp import ecn, reply
from pystack.transport.tcp.constants import MSEC, RTO_MAX, TIMEOUT_INIT
from pystack.transport.tcp.seq import SEQ_MASK, seq_add
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.tables import key_of

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.transport.tcp.segment import RxSegment
    from pystack.transport.tcp.sock import TcpSock


class RequestSock:
    """What the SYN said and what the SYN-ACK says; a timer repeats that."""

    __slots__ = (
        *("advmss", "ecn_ok", "four_tuple", "last_oow_ack_time", "listener", "mss", "num_retrans"),
        *("num_timeout", "rcv_isn", "rcv_wnd", "rcv_wscale", "sack_ok", "sent_at", "snd_wnd"),
        *("snd_wscale", "snt_isn", "state", "tcp", "timer", "ts_offset", "ts_recent"),
        *("acked", "iif", "inet", "key", "sk_cookie", "ts_recent_stamp", "tstamp_ok"),
        "window_clamp",
    )

    def __init__(self, listener: TcpSock, skb: SkBuff, segment: RxSegment, isn: int) -> None:
        sysctl = listener.kernel.sysctl
        options = segment.options
        self.listener = listener
        self.tcp = listener.tcp
        self.inet = self.tcp.inets[len(skb.daddr)]
        self.four_tuple = (skb.daddr, segment.dport, skb.saddr, segment.sport)
        link_scope = self.inet.family == AF_INET6 and is_link_scope(skb.saddr)
        self.key = key_of(*self.four_tuple, skb.dev.ifindex)
        self.iif = skb.dev.ifindex if link_scope else 0  # such an address needs a device
        self.state = TcpState.SYN_RECV
        self.rcv_isn = segment.seq
        self.snt_isn = isn
        self.snd_wnd = segment.window
        self.mss = options.mss
        self.tstamp_ok = options.timestamps is not None and bool(sysctl["net.ipv4.tcp_timestamps"])
        self.sack_ok = options.sack_permitted and bool(sysctl["net.ipv4.tcp_sack"])
        self.ecn_ok = ecn.request_agrees(sysctl, skb, segment)
        self.snd_wscale: int | None = None
        if sysctl["net.ipv4.tcp_window_scaling"]:
            self.snd_wscale = options.wscale
        self.ts_recent = options.timestamps[0] if options.timestamps and self.tstamp_ok else 0
        self.ts_recent_stamp: int | None = listener.kernel.now if self.tstamp_ok else None
        self.ts_offset = self.tcp.secrets.timestamp_offset(skb.daddr, skb.saddr)
        self.advmss = 0
        self.rcv_wnd = 0
        self.window_clamp = 0
        self.rcv_wscale = 0
        self.sent_at: int | None = listener.kernel.now
        self.acked = False  # the bare ACK has come; TCP_DEFER_ACCEPT waits for data
        self.sk_cookie = 0
        self.num_timeout = 0
        self.num_retrans = 0
        self.last_oow_ack_time: int | None = None
        self.timer = listener.kernel.timer(self._expired)

    @property
    def rcv_nxt(self) -> int:
        return seq_add(self.rcv_isn, 1)

    def timeout(self) -> int:
        return min(TIMEOUT_INIT << self.num_timeout, RTO_MAX)

    def unlink(self) -> None:
        """Forget the request."""
        self.timer.delete()
        if self.tcp.tables.connections.get(self.key) is self:
            del self.tcp.tables.connections[self.key]
        self.listener.requests.pop(self, None)

    def _expired(self) -> None:
        """No ACK came: repeat the SYN-ACK, five times (`reqsk_timer_handler`)."""
        defer = self.listener.defer_accept
        if self.num_timeout >= self.tcp.kernel.sysctl["net.ipv4.tcp_synack_retries"] and (
            not self.acked or self.num_timeout >= defer
        ):
            self.unlink()
            return
        resend = not self.acked or self.num_timeout >= defer - 1
        self.num_timeout += 1
        self.timer.mod(self.tcp.kernel.now + self.timeout())
        if resend:
            self.retransmit_synack()

    def defers(self, segment: RxSegment) -> bool:
        """TCP_DEFER_ACCEPT: the ACK alone makes no socket, data will; for some time."""
        if self.num_timeout >= self.listener.defer_accept or segment.end_seq != self.rcv_nxt:
            return False
        self.acked = True
        self.tcp.kernel.mib["TcpExtTCPDeferAcceptDrop"] += 1
        return True

    def retransmit_synack(self) -> None:
        self.num_retrans += 1
        mib = self.tcp.kernel.mib
        mib["TcpRetransSegs"] += 1
        mib["TcpExtTCPSynRetrans"] += 1
        self.send_synack()

    def send_synack(self, clock: int | None = None) -> None:
        """`clock`: in milliseconds, what TSval is made of instead of now."""
        options = TcpOptions(
            mss=self.advmss,
            wscale=None if self.snd_wscale is None else self.rcv_wscale,
            sack_permitted=self.sack_ok,
            timestamps=self._timestamps(clock),
        ).pack()
        flags, window = TH_SYN | TH_ACK, min(self.rcv_wnd, 65535)
        if self.ecn_ok:
            flags |= TH_ECE
        seq, ack = self.snt_isn, self.rcv_nxt
        reply.send(self.tcp, self.key, seq, ack, flags, window, options, self.listener)

    def send_ack(self) -> None:
        """To a segment out of the window (`tcp_v4_reqsk_send_ack`)."""
        window = self.rcv_wnd >> self.rcv_wscale
        seq = seq_add(self.snt_isn, 1)
        reply.send_bare_ack(
            self.tcp,
            reply.BareAck(self.key, seq, self.rcv_nxt, window, self._timestamps()),
        )

    def _timestamps(self, clock: int | None = None) -> tuple[int, int] | None:
        if not self.tstamp_ok:
            return None
        clock = self.tcp.kernel.now // MSEC if clock is None else clock
        return (clock + self.ts_offset) & SEQ_MASK, self.ts_recent
