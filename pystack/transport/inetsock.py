"""What sockets of AF_INET and AF_INET6 have in common, TCP's too (`struct inet_sock`).

Addresses here are the network layer's: `inetaddr` translates at the user's edge.  An AF_INET6
socket that speaks IPv4 has IPv4's `inet` and addresses of four bytes.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from socket import AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_RAW
from typing import TYPE_CHECKING

from pystack.core.kernel import Kernel
from pystack.net.inet import Inet, Inets
from pystack.transport.inetaddr import Endpoint, endpoint
from pystack.transport.sock import Address, Sock, os_error

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice
    from pystack.net.route import Route
    from pystack.transport.errqueue import ErrorReport
    from pystack.transport.mcast import Multicast

PMTUDISC_DONT = 0  # IP_MTU_DISCOVER and IPV6_MTU_DISCOVER
PMTUDISC_WANT = 1
PMTUDISC_DO = 2
PMTUDISC_PROBE = 3
PMTUDISC_INTERFACE = 4
PMTUDISC_OMIT = 5

# `inet_flags`, set by `ipopt` and `ip6opt`
PKTINFO = 1 << 0
RECVTTL = 1 << 1
RECVTOS = 1 << 2
RECVERR = 1 << 3
HDRINCL = 1 << 4
FREEBIND = 1 << 5
TRANSPARENT = 1 << 6
MC_LOOP = 1 << 7
MC_ALL = 1 << 8
ORIGDSTADDR = 1 << 9
NO_PORT = 1 << 10  # IP_BIND_ADDRESS_NO_PORT
PKTINFO6 = 1 << 16
RECVHOPLIMIT = 1 << 17
RECVTCLASS = 1 << 18
RECVERR6 = 1 << 19
MC_LOOP6 = 1 << 20
MC_ALL6 = 1 << 21
DONTFRAG6 = 1 << 22


class InetSock(Sock):
    """`ttl`, `hop_limit`: None means what the route says.  `tclass` and `pmtudisc6` are the
    settings of IPPROTO_IPV6, `tos` and `pmtudisc` those of IPPROTO_IP."""

    __slots__ = (
        *("bound_address", "bound_port", "error_queue", "hop_limit", "inet", "inet_flags"),
        *(
            "inet_id",
            "inets",
            "laddr",
            "lport",
            "mc",
            "pmtudisc",
            "pmtudisc6",
            "raddr",
            "rcv_saddr",
        ),
        *("rport", "sticky_oif", "tclass", "tos", "ttl", "v6only"),
    )

    def __init__(
        self, kernel: Kernel, inets: Inets, family: int, type_: int, protocol: int
    ) -> None:
        super().__init__(kernel, family, type_, protocol)
        self.inets = inets
        self.v6only = family == AF_INET6 and bool(kernel.sysctl["net.ipv6.bindv6only"])
        self.unbind_address()
        self.lport = 0
        self.raddr = self.inet.any_address
        self.rport = 0
        self.inet_id = 0
        self.bound_address = False  # by bind, so that it outlives a connection
        self.bound_port = False
        self.tos = self.tclass = 0
        self.sticky_oif = 0  # IPV6_PKTINFO: the device packets of IPv6 leave by
        self.ttl: int | None = None
        self.hop_limit: int | None = None
        self.pmtudisc = self.pmtudisc6 = PMTUDISC_WANT
        self.inet_flags = MC_LOOP | MC_ALL | MC_LOOP6 | MC_ALL6
        self.mc: Multicast | None = None
        self.error_queue: deque[ErrorReport] | None = None

    def number_packets(self, packets: int = 1) -> int:
        """The identification of the first of so many: a connected socket counts, so that nobody
        else can guess (`ip_select_ident_segs`)."""
        number = self.inet_id
        self.inet_id = (number + packets) & 0xFFFF
        return number

    @property
    def peeks_at_offset(self) -> bool:
        return self.type != SOCK_RAW and self.protocol in (IPPROTO_TCP, IPPROTO_UDP)

    @property
    def mc_loop(self) -> bool:
        """Shall this host hear what the socket sends to a group (`sk_mc_loop`)?"""
        return bool(self.inet_flags & (MC_LOOP if len(self.inet.any_address) == 4 else MC_LOOP6))

    def unbind_address(self) -> None:
        """Be bound to no address; an IPv6 socket may then speak IPv4 or IPv6."""
        self.inet: Inet = self.inets[16 if self.family == AF_INET6 else 4]
        self.rcv_saddr = self.inet.any_address  # what it is bound to
        self.laddr = self.rcv_saddr  # what it sends from

    def destination(self, address: Address) -> Endpoint:
        """Where the user wants to go; :: is this host by the family it is bound to."""
        target = endpoint(self.inets, self.family, address, self.v6only)
        if self.family == AF_INET6 and not any(target.ip) and len(target.ip) == 16:
            inet = self.inets[len(self.rcv_saddr)]
            return target._replace(inet=inet, ip=inet.loopback_address)
        return target

    def bound_to(self, ip: bytes, port: int) -> None:
        """Bind has succeeded.  With an address of IPv6 that is the only family from now on, which
        IPV6_V6ONLY tells (`__inet6_bind`)."""
        self.bound_address, self.bound_port = any(ip), port != 0
        if self.bound_address and len(ip) == 16:
            self.v6only = True

    def devices(self) -> Iterable[NetDevice]:
        return self.inet.devices.values()


def ip_dont_fragment(sk: InetSock, route: Route) -> bool:
    """Shall a packet of `sk` leave in one piece or not at all?  Not with IP_PMTUDISC_WANT where
    the path's MTU cannot be believed."""
    if sk.inet.family == AF_INET6:
        return sk.pmtudisc6 != PMTUDISC_DONT
    wanted = sk.pmtudisc == PMTUDISC_WANT and not route.mtu_locked
    return wanted or sk.pmtudisc == PMTUDISC_DO


def bind_scope(sk: InetSock, scope_id: int) -> None:
    """An address of one link needs to be told which; the socket is then bound to it.

    EINVAL, ENODEV.
    """
    if scope_id and sk.sk_bound_dev_if not in (0, scope_id):
        raise os_error(errno.EINVAL)
    index = scope_id or sk.sk_bound_dev_if
    if not index:
        raise os_error(errno.EINVAL)
    if all(dev.ifindex != index for dev in sk.devices()):
        raise os_error(errno.ENODEV)
    sk.sk_bound_dev_if = index
