"""The TCP socket: its variables, and the calls of its user.

`struct tcp_sock` with everything it inherits.  The verbs are in the other files of this package,
as functions of a `TcpSock`; the names of variables are Linux's and RFC 9293's.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Sequence
from socket import AF_INET, IPPROTO_TCP, SOCK_STREAM
from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TCP_HLEN
from pystack.core.skb import SkBuff
from pystack.net.route import Route
from pystack.transport import errqueue, mcast
from pystack.transport.inetaddr import to_user
from pystack.transport.inetsock import InetSock
from pystack.transport.sock import (
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_TRUNC,
    Address,
    Cmsg,
    Message,
    os_error,
)
from pystack.transport.tcp import (
    cc,
    close,
    connect,
    delack,
    input,
    lifecycle,
    output,
    ports,
    receive,
    sockopt,
    stream,
    timers,
    urgent,
)
from pystack.transport.tcp.congestion import CongestionWindow
from pystack.transport.tcp.constants import MSS_DEFAULT
from pystack.transport.tcp.delack import AckState
from pystack.transport.tcp.ecn import EcnState
from pystack.transport.tcp.mtuprobe import MtuSearch
from pystack.transport.tcp.ofo import OutOfOrderQueue
from pystack.transport.tcp.pacing import Pacing
from pystack.transport.tcp.rack import Rack
from pystack.transport.tcp.rate import DeliveryRate
from pystack.transport.tcp.rcvspace import RcvSpace
from pystack.transport.tcp.rto import XmitTimer
from pystack.transport.tcp.rtt import RttEstimator
from pystack.transport.tcp.sackblocks import SackBlocks
from pystack.transport.tcp.sendqueue import RtxQueue
from pystack.transport.tcp.seq import seq_add
from pystack.transport.tcp.state import OPENING, UNCONNECTED, ConnState, TcpState
from pystack.transport.tcp.stats import ConnStats
from pystack.transport.tcp.tables import FourTuple, Key, key_of
from pystack.transport.tcp.undo import Undo
from pystack.transport.tcp.urgent import Urgent
from pystack.transport.tcp.writequeue import WriteQueue

if TYPE_CHECKING:
    from pystack.transport.tcp.protocol import Tcp
    from pystack.transport.tcp.request import RequestSock


NO_REQUESTS: dict[RequestSock, None] = {}
NOBODY: deque[TcpSock] = deque(maxlen=0)  # takes nothing


class TcpSock(InetSock):
    __slots__ = (
        *("tcp", "state", "conn_state", "holds_port", "route"),
        *("nonagle", "user_mss", "syn_retries", "linger2"),
        *("keepalive_time", "keepalive_intvl", "keepalive_probes"),
        *("receive_queue", "ofo", "unsent", "rtx", "requests", "accept_queue"),
        *("max_ack_backlog", "xmit_timer", "delack_timer", "sk_timer", "xmit_pending"),
        *("done", "nospace", "iss", "snd_una", "snd_nxt", "write_seq", "snd_wnd", "snd_wl1"),
        *("max_window", "snd_sml", "pushed_seq", "bytes_acked", "lsndtime", "rcv_tstamp"),
        *("rcv_nxt", "rcv_wup", "copied_seq", "rcv_wnd", "rcv_ssthresh", "window_clamp"),
        *("wscale_ok", "tstamp_ok", "sack_ok", "snd_wscale", "rcv_wscale", "ts_offset"),
        *("ts_recent", "ts_recent_stamp", "header_length", "advmss", "mss_cache", "mss_clamp"),
        *(
            "pmtu",
            "mtup",
            "ack",
            "sacks",
            "last_oow_ack_time",
            "rtt",
            "cw",
            "reordering",
            "high_seq",
        ),
        *("pacing", "ecn", "prior_cwnd", "prr_delivered", "prr_out", "rack", "undo"),
        *("retransmits", "first_timeout", "syn_sent_at"),
        *("total_retrans", "backoff", "probes_out", "probes_since", "stats"),
        *("user_timeout", "notsent_lowat", "urgent", "rate", "rcv_space"),
        *("defer_accept", "clamp_wanted", "dst_pending_confirm"),
    )

    def __init__(self, tcp: Tcp, family: int = AF_INET) -> None:
        super().__init__(tcp.kernel, tcp.inets, family, SOCK_STREAM, IPPROTO_TCP)
        self.tcp = tcp
        self.holds_port = False
        self.route: Route | None = None
        self.state = TcpState.CLOSE
        self.conn_state = ConnState.UNCONNECTED
        self.sk_rcvbuf = self.kernel.sysctl.vector("net.ipv4.tcp_rmem")[1]
        self.sk_sndbuf = self.kernel.sysctl.vector("net.ipv4.tcp_wmem")[1]
        self._init_settings()
        self._init_queues()
        self.init_connection()
        tcp.sockets[self] = None

    def _init_settings(self) -> None:
        self.nonagle = 0
        self.user_mss = 0
        self.syn_retries = 0
        self.linger2: int | None = None
        self.user_timeout = 0  # ms; 0: as long as tcp_retries2 says
        self.notsent_lowat = 0  # bytes; 0: as the sysctl says
        self.defer_accept = 0  # retransmissions of the SYN-ACK that wait for data
        self.clamp_wanted = 0  # TCP_WINDOW_CLAMP
        self.keepalive_time = self.keepalive_intvl = 0  # seconds; 0: as the sysctl says
        self.keepalive_probes = 0

    def _init_queues(self) -> None:
        self.receive_queue: list[SkBuff] = []
        self.ofo = OutOfOrderQueue()
        self.unsent = WriteQueue()
        self.rtx = RtxQueue()
        self.requests = NO_REQUESTS  # of a listener: the SYN queue
        self.accept_queue = NOBODY
        self.max_ack_backlog = 0
        self.xmit_timer = self.kernel.timer(self._xmit_timer_expired)
        self.delack_timer = self.kernel.timer(self._delack_timer_expired)
        self.sk_timer = self.kernel.timer(self._sk_timer_expired)

    def init_connection(self) -> None:
        """The variables of one connection; a socket may have several, one after another."""
        self.xmit_pending: XmitTimer | None = None
        self.dst_pending_confirm = False  # progress, of which the neighbour's entry shall hear
        self.done = False  # SOCK_DONE: the peer's FIN has been received
        self.nospace = False  # SOCK_NOSPACE: somebody waits for room
        # send sequence space (RFC 9293, 3.3.1)
        self.iss = self.snd_una = self.snd_nxt = self.write_seq = 0
        self.snd_wnd = self.snd_wl1 = self.max_window = 0
        self.snd_sml = 0  # end of the last small segment (Minshall)
        self.pushed_seq = 0  # end of what was last pushed
        self.bytes_acked = 0
        self.urgent: Urgent | None = None
        self.lsndtime = self.rcv_tstamp = self.syn_sent_at = 0  # ns
        # receive sequence space
        self.rcv_nxt = self.rcv_wup = self.copied_seq = 0
        self.rcv_wnd = self.rcv_ssthresh = self.window_clamp = 0
        # options
        self.wscale_ok = self.tstamp_ok = self.sack_ok = False
        self.snd_wscale = self.rcv_wscale = 0
        self.ts_offset = self.ts_recent = 0
        self.ts_recent_stamp: int | None = None
        self.header_length = TCP_HLEN
        self.advmss = self.mss_cache = self.mss_clamp = MSS_DEFAULT
        self.pmtu = 0
        self.mtup: MtuSearch | None = None  # while the path's MTU is searched for by segments
        # acknowledging
        self.ack = AckState()
        self.sacks = SackBlocks()
        self.last_oow_ack_time: int | None = None
        # loss and congestion
        self.rtt = RttEstimator()
        default = self.kernel.sysctl.text("net.ipv4.tcp_congestion_control")
        self.cw = CongestionWindow(cc.create(default, self))
        self.pacing: Pacing | None = None
        self.ecn: EcnState | None = None
        self.reordering = self.kernel.sysctl["net.ipv4.tcp_reordering"]
        self.rack = Rack()
        self.undo = Undo()
        self.high_seq = 0  # snd_nxt when the current trouble began
        self.prior_cwnd = self.prr_delivered = self.prr_out = 0
        self.retransmits = 0  # timeouts in a row
        self.first_timeout = 0  # ns: when the first of these was
        self.total_retrans = 0
        self.backoff = 0
        self.probes_out = 0
        self.probes_since: int | None = None  # ns: when the peer's window was found closed
        self.stats = ConnStats()
        self.rate = DeliveryRate()
        self.rcv_space = RcvSpace()

    def set_congestion_control(self, name: str) -> None:
        """Change the algorithm; KeyError (`tcp_set_congestion_control`)."""
        self.cw.algorithm = cc.create(name, self)
        self.cw.chosen = True
        if self.state not in UNCONNECTED:
            self.cw.algorithm.init()

    @property
    def four_tuple(self) -> FourTuple:
        return self.laddr, self.lport, self.raddr, self.rport

    @property
    def key(self) -> Key:
        return key_of(self.laddr, self.lport, self.raddr, self.rport, self.sk_bound_dev_if)

    @property
    def wnd_end(self) -> int:
        """The first number the peer does not allow."""
        return seq_add(self.snd_una, self.snd_wnd)

    def find_route(self) -> Route:
        """The way to the peer, now; OSError."""
        return self.inet.route(self.raddr, self.laddr, oif=self.sk_bound_dev_if, mark=self.sk_mark)

    # -- softirq side ----------------------------------------------------------------------

    def backlog_rcv(self, skb: SkBuff) -> None:
        input.do_rcv(self, skb)

    def _xmit_timer_expired(self) -> None:
        self.lock.run(self._write_timer)

    def _write_timer(self) -> None:
        timers.write_timer(self)

    def continue_sending(self) -> None:
        """Pacing allows the next burst."""
        output.push_pending(self)

    def _delack_timer_expired(self) -> None:
        self.lock.run(self._delack_timer)

    def _delack_timer(self) -> None:
        delack.delack_timer(self)

    def _sk_timer_expired(self) -> None:
        self.lock.run(self._sk_timer)

    def _sk_timer(self) -> None:
        timers.sk_timer(self)

    # -- the user's calls ------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        """EADDRINUSE, EADDRNOTAVAIL, EACCES; EINVAL if bound."""
        with self.lock:
            ports.bind(self, address)

    def listen(self, backlog: int) -> None:
        """`backlog` is capped by somaxconn, a negative one means that; EINVAL, EADDRINUSE."""
        with self.lock:
            somaxconn = self.kernel.sysctl["net.core.somaxconn"]
            if self.state not in UNCONNECTED or self.conn_state is not ConnState.UNCONNECTED:
                raise os_error(errno.EINVAL)
            self.max_ack_backlog = min(backlog & 0xFFFFFFFF, somaxconn)
            if self.state is TcpState.LISTEN:
                return
            if not self.holds_port:
                ports.get_port(self, 0)
            elif self.tcp.tables.bind_conflict(self, self.rcv_saddr, self.lport):
                raise os_error(errno.EADDRINUSE)
            self.sk_shutdown = 0
            self.requests, self.accept_queue = {}, deque()
            lifecycle.set_state(self, TcpState.LISTEN)
            self.tcp.tables.listen(self)

    def connect(self, address: Address | None) -> None:
        """EINPROGRESS, EALREADY, EISCONN, or why it failed (`__inet_stream_connect`)."""
        with self.lock:
            if address is None:
                close.disconnect(self)
                self.conn_state = ConnState.UNCONNECTED
                return
            if self.conn_state is ConnState.CONNECTED:
                raise os_error(errno.EISCONN)
            if self.conn_state is ConnState.DISCONNECTING:
                raise os_error(errno.EINVAL)
            again = self.conn_state is ConnState.CONNECTING
            if not again:
                if self.state is not TcpState.CLOSE:
                    raise os_error(errno.EISCONN)
                connect.start(self, address)
                self.conn_state = ConnState.CONNECTING
            if self.state in OPENING:
                raise os_error(errno.EALREADY if again else errno.EINPROGRESS)
            if self.state is TcpState.CLOSE:
                error = self.sock_error() or errno.ECONNABORTED
                self.conn_state = ConnState.UNCONNECTED
                close.disconnect(self)
                raise os_error(error)
            self.conn_state = ConnState.CONNECTED

    @property
    def connecting(self) -> bool:
        return self.conn_state is ConnState.CONNECTING

    @property
    def opening(self) -> bool:
        return self.state in OPENING

    @property
    def listening(self) -> bool:
        return self.state is TcpState.LISTEN

    def accept(self, flags: int = 0) -> TcpSock:
        """The next connection; EAGAIN when there is none, EINVAL unless listening."""
        if self.state is not TcpState.LISTEN:
            raise os_error(errno.EINVAL)
        if not self.accept_queue:
            raise self.would_block()
        return self.accept_queue.popleft()

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """`address` is ignored, as by `tcp_sendmsg`."""
        with self.lock:
            return stream.sendmsg(self, data, flags)

    def recvmsg(self, n: int, flags: int) -> Message:
        if flags & MSG_ERRQUEUE:
            return errqueue.receive(self, n)
        with self.lock:
            data = receive.recvmsg(self, n, flags)
        if flags & MSG_OOB:  # which is lost on who has no room for it
            return Message(data, flags=MSG_OOB if n else MSG_OOB | MSG_TRUNC)
        return Message(data)

    def shutdown(self, how: int) -> None:
        with self.lock:
            close.shutdown(self, how)

    def begin_close(self) -> bool:
        with self.lock:
            close.begin(self)
            return self.closing

    @property
    def closing(self) -> bool:
        return self.state in (TcpState.FIN_WAIT1, TcpState.CLOSING, TcpState.LAST_ACK)

    def close(self) -> None:
        with self.lock:
            mcast.leave_all(self)
            close.close(self)

    def poll(self) -> int:
        return stream.poll(self)

    def inq(self) -> int:
        return receive.inq(self)

    def at_mark(self) -> bool:
        return urgent.at_mark(self)

    def outq(self) -> int:
        return stream.outq(self)

    def outq_nsd(self) -> int:
        return stream.outq_nsd(self)

    def getsockname(self) -> Address:
        return to_user(self.family, self.laddr, self.lport, self.sk_bound_dev_if)

    def getpeername(self) -> Address:
        """ENOTCONN unless there is one."""
        if self.state in (TcpState.CLOSE, TcpState.SYN_SENT):
            raise os_error(errno.ENOTCONN)
        return self.accepted_from()

    def accepted_from(self) -> Address:
        if not self.rport:
            raise os_error(errno.ENOTCONN)
        return to_user(self.family, self.raddr, self.rport, self.sk_bound_dev_if)

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        with self.lock:
            sockopt.set_option(self, level, name, value)

    def getsockopt(self, level: int, name: int) -> int | bytes:
        with self.lock:
            return sockopt.get_option(self, level, name)
