"""UDP of one host: where datagrams and ICMP errors come in (`net/ipv4/udp.c`, `net/ipv6/udp.c`).

Registered with IP; puts datagrams into sockets' queues, from which the user takes them.
"""

from __future__ import annotations

from functools import partial
from socket import AF_INET

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop
from pystack.core.headers.ipv4 import IPPROTO_UDP
from pystack.core.headers.udp import UDP_HLEN, UdpHeader
from pystack.core.kernel import Kernel
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff
from pystack.net.inet import Inet, Inets
from pystack.transport import icmperr
from pystack.transport.udp.sock import UdpSock
from pystack.transport.udp.table import PortTable

_MIB = {4: "Udp", 16: "Udp6"}  # prefix of the counters, by the length of addresses


class Udp:
    def __init__(self, kernel: Kernel, inets: Inets) -> None:
        self.kernel = kernel
        self.inets = inets
        self.table: PortTable[UdpSock] = PortTable(kernel)
        self.sockets: dict[UdpSock, None] = {}
        self.tp_rcv = kernel.trace.point("udp_rcv", "packet_id", "length")
        self.tp_send = kernel.trace.point("udp_send", "packet_id", "length")
        for inet in inets.values():
            inet.register(IPPROTO_UDP, partial(self.receive, inet))
            inet.register_error(IPPROTO_UDP, partial(self.receive_error, inet))

    def socket(self, family: int = AF_INET) -> UdpSock:
        """A new unbound socket."""
        return UdpSock(self, family)

    def alive(self) -> int:
        """Sockets that exist; 0 when nothing has leaked."""
        return len(self.sockets)

    # -- receive ---------------------------------------------------------------------------

    def receive(self, inet: Inet, skb: SkBuff) -> None:
        """One datagram from IP; owns the packet (`__udp4_lib_rcv`)."""
        kernel = self.kernel
        kernel.charge(kernel.costs.udp_packet)
        if self.tp_rcv.enabled:
            self.tp_rcv(skb.packet_id, len(skb))
        if len(skb) < UDP_HLEN:
            self._bad(skb, Drop.UDP_TOO_SHORT)
            return
        header = UdpHeader.parse(skb.buf, skb.off)
        length = header.length or len(skb)  # 0: a jumbogram of IPv6 (RFC 2675, 4)
        if not UDP_HLEN <= length <= len(skb) or (not header.length and inet.family == AF_INET):
            self._bad(skb, Drop.UDP_BAD_LENGTH)
            return
        if length < len(skb):
            skb.trim(length)
        skb.cb = header
        if not inet.is_unicast(skb.daddr):
            self._deliver_to_all(inet, skb, header)
            return
        sk = self.table.lookup(skb.daddr, header.dport, skb.saddr, header.sport, skb.dev.ifindex)
        if not self._checksum_ok(inet, skb, header, sk):
            self._bad_checksum(skb)
        elif sk is None:
            kernel.mib[_MIB[len(skb.daddr)] + "NoPorts"] += 1
            inet.port_unreachable(skb)
            kernel.drop(skb, Drop.UDP_NO_SOCKET)
        else:
            self._queue(sk, skb)

    def _checksum_ok(self, inet: Inet, skb: SkBuff, header: UdpHeader, sk: UdpSock | None) -> bool:
        """0 means none: IPv4 takes that, IPv6 only for a socket with UDP_NO_CHECK6_RX."""
        if not header.checksum:
            return inet.family == AF_INET or (sk is not None and sk.no_check6_rx)
        if skb.ip_summed != CHECKSUM_NONE:
            return True
        start = inet.pseudo_sum(skb.saddr, skb.daddr, IPPROTO_UDP, len(skb))
        views = skb.views()
        data = views[0] if len(views) == 1 else b"".join(views)
        if ones_sum(data, start) != 0xFFFF:
            return False
        skb.ip_summed = CHECKSUM_UNNECESSARY
        return True

    def _queue(self, sk: UdpSock, skb: SkBuff) -> None:
        mib = _MIB[len(skb.daddr)]
        if sk.filter is not None and not sk.accepts(skb):
            sk.sk_drops += 1
            self._bad(skb, Drop.UDP_FILTER)
            return
        skb.pull(UDP_HLEN)
        if sk.has_peer:
            sk.sk_incoming_cpu = self.kernel.cpu.index
        if not sk.queue_rcv(skb):
            self.kernel.mib[mib + "RcvbufErrors"] += 1
            self.kernel.mib[mib + "InErrors"] += 1

    def _deliver_to_all(self, inet: Inet, skb: SkBuff, header: UdpHeader) -> None:
        """A copy for every socket but one (`udp4_lib_mcast_deliver`)."""
        socks = list(
            self.table.multicast(skb.daddr, header.dport, skb.saddr, header.sport, skb.dev.ifindex)
        )
        if not self._checksum_ok(inet, skb, header, socks[0] if socks else None):
            self._bad_checksum(skb)
        elif not socks:
            self.kernel.mib[_MIB[len(skb.daddr)] + "IgnoredMulti"] += 1
            self.kernel.drop(skb, Drop.UDP_IGNORED_MULTICAST)
        else:
            for sk in socks[1:]:
                self._queue(sk, skb.clone())
            self._queue(socks[0], skb)

    def _bad(self, skb: SkBuff, reason: Drop) -> None:
        self.kernel.mib[_MIB[len(skb.daddr)] + "InErrors"] += 1
        self.kernel.drop(skb, reason)

    def _bad_checksum(self, skb: SkBuff) -> None:
        self.kernel.mib[_MIB[len(skb.daddr)] + "InCsumErrors"] += 1
        self._bad(skb, Drop.UDP_BAD_CHECKSUM)

    # -- errors about what we sent ---------------------------------------------------------

    def receive_error(self, inet: Inet, icmp_type: int, code: int, info: int, skb: SkBuff) -> None:
        """`skb.off` is at the quoted header; does not free `skb` (`__udp4_lib_err`)."""
        header = UdpHeader.parse(skb.buf, skb.off)
        ifindex = 0 if skb.dev is None else skb.dev.ifindex
        sk = self.table.lookup(skb.saddr, header.sport, skb.daddr, header.dport, ifindex)
        if sk is None:
            self.kernel.mib["IcmpInErrors" if inet.family == AF_INET else "Icmp6InErrors"] += 1
        else:
            icmperr.deliver(sk, inet, icmp_type, code, info, skb, header.dport, UDP_HLEN)
