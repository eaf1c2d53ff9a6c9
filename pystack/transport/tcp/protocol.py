"""TCP of one host: where segments come in and sockets come from (`net/ipv4/tcp_ipv4.c`).

Registered with IP for segments and for ICMP errors about ours; calls `input` for sockets,
`listen` for SYNs and requests, `timewait` for connections that are over.
"""

from __future__ import annotations

from functools import partial
from socket import AF_INET

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_TCP, pseudo_header_sum
from pystack.core.headers.ipv6 import IPV6_HLEN
from pystack.core.headers.tcp import (
    NO_OPTIONS,
    TCP_HLEN,
    TH_FIN,
    TH_SYN,
    TcpOptions,
    unpack_fields,
)
from pystack.core.kernel import Kernel
from pystack.core.skb import CHECKSUM_NONE, SkBuff
from pystack.net.inet import Inet, Inets
from pystack.transport.reuseport import FlowHash
from pystack.transport.tcp import icmp, listen, ports, reply, timewait
from pystack.transport.tcp.child import init_child
from pystack.transport.tcp.isn import Secrets
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.segment import RxSegment
from pystack.transport.tcp.seq import SEQ_MASK
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.tables import Tables, key_of

BACKLOG_SLACK = 64 * 1024  # tcp_add_backlog


class Tcp:
    def __init__(self, kernel: Kernel, inets: Inets) -> None:
        self.kernel = kernel
        self.inets = inets
        self.tables = Tables(FlowHash(kernel.rng))
        self.secrets = Secrets(kernel.rng)
        self.port_perturbation = 0
        self.sockets: dict[TcpSock, None] = {}  # every socket with a user or a life of its own
        point = kernel.trace.point
        self.tp_rcv = point("tcp_rcv", "packet_id", "seq", "length")
        self.tp_transmit = point("tcp_transmit", "packet_id", "seq", "length", "flags")
        self.tp_sock_queue = point("sock_queue", "packet_id", "length")
        self.tp_set_state = point("tcp_set_state", "sock", "old", "new")
        for inet in inets.values():
            inet.register(IPPROTO_TCP, self.receive)
            inet.register_error(IPPROTO_TCP, partial(icmp.receive_error, self, inet))

    def socket(self, family: int = AF_INET) -> TcpSock:
        """A new unconnected socket."""
        return TcpSock(self, family)

    def alive(self) -> int:
        """Sockets, requests and TIME_WAITs that exist; 0 when nothing has leaked."""
        mini = sum(not isinstance(sk, TcpSock) for sk in self.tables.connections.values())
        return len(self.sockets) + mini

    def make_child(self, req: RequestSock, skb: SkBuff) -> TcpSock:
        """The socket of a completed handshake, in SYN_RECV and in the table."""
        child = TcpSock(self, req.listener.family)
        init_child(child, req, skb.cb)
        self.tables.connections[child.key] = child
        ports.take_port(child, child.lport, explicit=True)
        self.kernel.mib["TcpPassiveOpens"] += 1
        return child

    # -- receive ---------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> None:
        """One segment from IP; owns the packet."""
        kernel = self.kernel
        kernel.charge(kernel.costs.tcp_packet)
        kernel.mib["TcpInSegs"] += 1
        reason = self._parse(skb)
        if reason is not None:
            kernel.mib["TcpInErrs"] += 1
            kernel.drop(skb, reason)
            return
        if self.tp_rcv.enabled:
            self._trace(skb)
        self._demultiplex(skb)

    def _trace(self, skb: SkBuff) -> None:
        seq = skb.cb.seq
        for part in skb.parts():
            length = part.end - part.off
            self.tp_rcv(part.packet_id, seq, length)
            seq = (seq + length) & SEQ_MASK

    def _parse(self, skb: SkBuff) -> Drop | None:
        """Check the header; `skb.cb` gets what it says, `skb.off` goes to the text."""
        buf, off = skb.buf, skb.off
        length = skb.end - off
        if length < TCP_HLEN:
            return Drop.TCP_TOO_SHORT
        # Put together from fragments, a packet comes without the fields of a frame.
        plain = IP_HLEN if len(skb.daddr) == 4 else IPV6_HLEN
        if skb.headers and off - skb.network_header == plain:
            fields = skb.headers[frame.TCP]
        else:
            fields = unpack_fields(buf, off)
        sport, dport, seq, ack, first, flags, window, _, _ = fields
        hlen = first >> 4 << 2
        if hlen < TCP_HLEN or hlen > length:
            return Drop.TCP_BAD_HEADER
        if skb.ip_summed == CHECKSUM_NONE:
            start = pseudo_header_sum(skb.saddr, skb.daddr, IPPROTO_TCP, length)
            if ones_sum(buf[off : skb.end], start) != 0xFFFF:
                self.kernel.mib["TcpInCsumErrors"] += 1
                return Drop.TCP_BAD_CHECKSUM
        options = NO_OPTIONS
        if hlen > TCP_HLEN:
            options = TcpOptions.parse(buf[off + TCP_HLEN : off + hlen])
        if skb.frags is not None:
            flags |= skb.frags[-1].headers[frame.FLAGS]
            length += skb.data_len
        end_seq = (seq + length - hlen + (flags & TH_FIN)) & SEQ_MASK
        if flags & TH_SYN:
            end_seq = (end_seq + 1) & SEQ_MASK
        skb.off = off + hlen
        skb.cb = RxSegment(sport, dport, seq, ack, flags, window, options, end_seq)
        return None

    def _demultiplex(self, skb: SkBuff) -> None:
        """An exact match goes before a listener (`__inet_lookup_skb`)."""
        segment: RxSegment = skb.cb
        ends = skb.daddr, segment.dport, skb.saddr, segment.sport
        sk = self.tables.connections.get(key_of(*ends, skb.dev.ifindex))
        if isinstance(sk, TcpSock):
            if skb.hash:
                sk.sk_rxhash = skb.hash
            limit = sk.sk_rcvbuf + (sk.sk_sndbuf >> 1) + BACKLOG_SLACK
            if not sk.lock.deliver(skb, limit):
                self.kernel.mib["TcpExtTCPBacklogDrop"] += 1
                self.kernel.drop(skb, Drop.TCP_BACKLOG_FULL)
        elif isinstance(sk, RequestSock):
            listen.receive_request(sk, skb)
        elif sk is not None:
            timewait.receive(sk, skb)
        else:
            self._no_connection(skb, segment)

    def lookup_listener(self, skb: SkBuff) -> TcpSock | None:
        segment: RxSegment = skb.cb
        return self.tables.lookup_listener(
            skb.daddr,
            segment.dport,
            skb.saddr,
            segment.sport,
            skb.dev.ifindex,
            self.kernel.cpu.index,
        )

    def _no_connection(self, skb: SkBuff, segment: RxSegment) -> None:
        inet: Inet = self.inets[len(skb.daddr)]
        if not inet.is_local(skb.daddr):
            self.kernel.drop(skb, Drop.TCP_NO_SOCKET)  # broadcast: TCP never answers (RFC 1122)
            return
        listener = self.lookup_listener(skb)
        if listener is not None and listener.state is TcpState.LISTEN:
            listen.receive(listener, skb)
            return
        reply.send_reset(self, skb)
        self.kernel.drop(skb, Drop.TCP_NO_SOCKET)
