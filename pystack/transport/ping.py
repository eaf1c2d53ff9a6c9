"""Ping sockets: echo requests without privilege (`net/ipv4/ping.c`, `icmp(7)`).

`socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)` for the groups of `net.ipv4.ping_group_range`.  The
identifier of an echo is the port; ICMP hands replies to `receive`.
"""

from __future__ import annotations

import errno
import socket as so
from collections.abc import Sequence
from functools import partial

from pystack.core.checksum import checksum
from pystack.core.drop import Drop
from pystack.core.headers.icmp import ICMP_ECHO, ICMP_HLEN, IcmpHeader
from pystack.core.headers.icmpv6 import ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST
from pystack.core.headers.ipv4 import IPPROTO_ICMP
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.net.icmp import Icmp
from pystack.net.icmpv6 import Icmpv6
from pystack.net.inet import Inet, Inets
from pystack.transport import control as ctl
from pystack.transport import icmperr
from pystack.transport.flow import check_length, find
from pystack.transport.inetaddr import overlap
from pystack.transport.inetdgram import InetDatagramSock
from pystack.transport.sock import MSG_OOB, Address, Cmsg, os_error
from pystack.transport.udp.table import PortTable

_PROTOCOLS: dict[int, int] = {so.AF_INET: so.IPPROTO_ICMP, so.AF_INET6: so.IPPROTO_ICMPV6}
_REQUESTS: dict[int, int] = {so.AF_INET: ICMP_ECHO, so.AF_INET6: ICMPV6_ECHO_REQUEST}


class Ping:
    """The ping sockets of one network namespace."""

    def __init__(self, kernel: Kernel, inets: Inets, icmp: Icmp, icmpv6: Icmpv6) -> None:
        self.kernel = kernel
        self.inets = inets
        self.tables: dict[int, PortTable[PingSock]] = {f: PortTable(kernel) for f in _PROTOCOLS}
        self.sockets: dict[PingSock, None] = {}
        icmp.echo_reply = self.receive
        icmpv6.register(ICMPV6_ECHO_REPLY, lambda skb, header: self.receive(skb))
        for inet in inets.values():
            protocol = _PROTOCOLS[inet.family]
            inet.register_error(protocol, partial(self.receive_error, inet))

    def socket(self, family: int) -> PingSock:
        return PingSock(self, family)

    def alive(self) -> int:
        return len(self.sockets)

    def _lookup(self, family: int, ours: bytes, identifier: int, ifindex: int) -> PingSock | None:
        for sk in self.tables[family].at_port(identifier):
            if overlap(sk.rcv_saddr, True, ours, True) and sk.sk_bound_dev_if in (0, ifindex):
                return sk
        return None

    def receive(self, skb: SkBuff) -> None:
        """An echo reply; owns the packet (`ping_rcv`)."""
        header = IcmpHeader.parse(skb.buf, skb.off)
        family = so.AF_INET if len(skb.daddr) == 4 else so.AF_INET6
        sk = self._lookup(family, skb.daddr, header.word1, skb.dev.ifindex)
        if sk is None:
            self.kernel.drop(skb, Drop.PING_NO_SOCKET)
        else:
            sk.queue_rcv(skb)

    def receive_error(self, inet: Inet, icmp_type: int, code: int, info: int, skb: SkBuff) -> None:
        """About a request of ours, `skb.off` at its ICMP header (`ping_err`)."""
        header = IcmpHeader.parse(skb.buf, skb.off)
        ifindex = 0 if skb.dev is None else skb.dev.ifindex
        if header.type == _REQUESTS[inet.family]:
            sk = self._lookup(inet.family, skb.saddr, header.word1, ifindex)
            if sk is not None:
                icmperr.deliver(sk, inet, icmp_type, code, info, skb, 0, 0)


class PingSock(InetDatagramSock):
    __slots__ = ("ping",)
    rcvbuf_full = Drop.PING_RCVBUF_FULL

    def __init__(self, ping: Ping, family: int) -> None:
        protocol = _PROTOCOLS[family]
        super().__init__(ping.kernel, ping.inets, family, so.SOCK_DGRAM, protocol)
        self.ping = ping
        self.v6only = family == so.AF_INET6
        ping.sockets[self] = None

    def init(self) -> None:
        """EACCES for a user whose group may not; a user's number is that of the group, too."""
        low, high = self.kernel.sysctl.vector("net.ipv4.ping_group_range")
        if not low <= self.sk_uid <= high:
            raise os_error(errno.EACCES)

    @property
    def _table(self) -> PortTable[PingSock]:
        return self.ping.tables[self.family]

    def check_port(self, port: int) -> None:
        if self.lport:
            raise os_error(errno.EINVAL)

    def get_port(self, port: int) -> None:
        self._table.get_port(self, port)

    def put_port(self) -> None:
        self._table.put_port(self)

    def rehash(self, address: bytes) -> None:
        self._table.rehash(self, address)

    def autobind(self) -> None:
        self._table.autobind(self)

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """An echo request; identifier and checksum are filled in (`ping_v4_sendmsg`)."""
        if len(data) > 0xFFFF:
            raise os_error(errno.EMSGSIZE)
        if len(data) < ICMP_HLEN or data[0] != _REQUESTS[self.family] or data[1]:
            raise os_error(errno.EINVAL)
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        self.autobind()
        flow = find(self, self.target(address), ctl.sent(self, control))
        check_length(self, flow, len(data))
        self.check_can_send()
        message = bytes(data[:2]) + b"\0\0" + self.lport.to_bytes(2) + bytes(data[6:])
        start = 0
        if self.protocol != IPPROTO_ICMP:
            start = flow.inet.pseudo_sum(flow.saddr, flow.daddr, self.protocol, len(data))
        value = checksum(message, start)
        message = message[:2] + value.to_bytes(2) + message[4:]
        self.transmit(flow, self.packet(message), self.protocol)
        return len(data)

    def close(self) -> None:
        with self.lock:
            self.put_port()
            self.release()
            del self.ping.sockets[self]
