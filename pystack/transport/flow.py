"""Addresses of datagram sockets: what bind takes, and where one datagram goes.

`__inet_bind`, `__ip4_datagram_connect` and the first half of `udp_sendmsg`, for UDP, raw and ping
sockets over both network layers.
"""

from __future__ import annotations

import errno
from socket import AF_INET
from typing import TYPE_CHECKING, NamedTuple

from pystack.net.inet import Inet
from pystack.net.route import Route
from pystack.transport import errqueue
from pystack.transport.control import SendControl
from pystack.transport.errqueue import SO_EE_ORIGIN_LOCAL, ErrorReport
from pystack.transport.inetaddr import Endpoint, endpoint, is_link_scope
from pystack.transport.inetsock import (
    DONTFRAG6,
    FREEBIND,
    PMTUDISC_DO,
    PMTUDISC_OMIT,
    PMTUDISC_PROBE,
    PMTUDISC_WANT,
    TRANSPARENT,
    bind_scope,
)
from pystack.transport.mcast import is_multicast
from pystack.transport.sock import Address, os_error
from pystack.transport.sockopt import SOCK_BROADCAST, SOF_TIMESTAMPING_TX

if TYPE_CHECKING:
    from pystack.transport.datagram import DatagramSock

IP_MAX = 0xFFFF


class Flow(NamedTuple):
    """The way of one datagram (`struct flowi` and its route).  `room` is what may follow the IP
    header; beyond `fits` it is fragmented."""

    inet: Inet
    route: Route
    saddr: bytes
    daddr: bytes
    dport: int
    ttl: int | None
    tos: int
    room: int
    fits: int
    want_df: bool
    always_df: bool
    tsflags: int = 0

    def dont_fragment(self, length: int) -> bool:
        """Shall IP set DF on a packet with `length` bytes behind its header?"""
        return self.always_df or (self.want_df and length <= self.fits)


def bind_address(sk: DatagramSock, address: Address) -> Endpoint:
    """Check what bind is given; EADDRNOTAVAIL, EINVAL, ENODEV."""
    target = endpoint(sk.inets, sk.family, address)
    inet, ip = target.inet, target.ip
    if len(ip) == 4 and sk.v6only:
        raise os_error(errno.EINVAL)
    if is_link_scope(ip) and inet.family != AF_INET:
        bind_scope(sk, target.scope_id)
    if any(ip) and inet.is_unicast(ip) and not inet.is_local(ip) and not _nonlocal(sk):
        raise os_error(errno.EADDRNOTAVAIL)
    return target


def _nonlocal(sk: DatagramSock) -> bool:
    return bool(
        sk.inet_flags & (FREEBIND | TRANSPARENT) or sk.kernel.sysctl["net.ipv4.ip_nonlocal_bind"]
    )


def find(sk: DatagramSock, target: Endpoint, cookie: SendControl) -> Flow:
    """The way to `target`; ENETUNREACH and the like, EACCES for a broadcast not asked for."""
    inet, daddr = target.inet, target.ip
    v4 = inet.family == AF_INET
    size = len(daddr)
    oif = cookie.oif or sk.sk_bound_dev_if
    if not v4:
        oif = oif or sk.sticky_oif
    if is_link_scope(daddr) and not v4:
        oif = target.scope_id or oif
    if sk.sk_bound_dev_if not in (0, oif):
        raise os_error(errno.EINVAL)
    saddr = cookie.saddr or sk.laddr
    if not any(saddr):
        saddr = b""
    elif len(saddr) != size:
        if not v4:  # bound to an address of IPv4
            raise os_error(errno.EAFNOSUPPORT)
        saddr = b""  # connect has chosen it; who is bound to one of IPv6 speaks that only
    ttl = sk.ttl if v4 else sk.hop_limit
    if is_multicast(daddr):
        mc = sk.mc
        ttl = 1 if mc is None else mc.ttl if v4 else mc.hops
        if mc is not None:
            oif = oif or (mc.index if v4 else mc.index6)
            saddr = saddr or (mc.address if v4 and any(mc.address) else b"")
    elif not any(daddr):  # this host
        daddr = saddr or inet.loopback_address
    mark = sk.sk_mark if cookie.mark is None else cookie.mark
    route = inet.route(daddr, saddr, oif=oif, mark=mark)
    if (
        v4
        and not sk.sk_flags & SOCK_BROADCAST
        and not (is_multicast(daddr) or inet.is_unicast(daddr))
    ):
        raise os_error(errno.EACCES)
    tos = cookie.tos
    if tos is None:
        tos = sk.tos if v4 else sk.tclass
    ttl = ttl if cookie.ttl is None else cookie.ttl
    flow = _flow(sk, target, route, saddr or route.saddr, daddr, ttl, tos)
    tsflags = sk.sk_tsflags if cookie.tsflags is None else cookie.tsflags
    return flow._replace(tsflags=tsflags) if tsflags & SOF_TIMESTAMPING_TX else flow


def _flow(
    sk: DatagramSock,
    target: Endpoint,
    route: Route,
    saddr: bytes,
    daddr: bytes,
    ttl: int | None,
    tos: int,
) -> Flow:
    inet = target.inet
    v4 = inet.family == AF_INET
    pmtudisc = sk.pmtudisc if v4 else sk.pmtudisc6
    fits = route.mtu - inet.header_length
    whole = PMTUDISC_DO <= pmtudisc < PMTUDISC_OMIT or (not v4 and sk.inet_flags & DONTFRAG6)
    most = IP_MAX - inet.header_length if v4 else IP_MAX
    return Flow(
        inet,
        route,
        saddr,
        daddr,
        target.port,
        ttl,
        tos,
        room=min(fits, most) if whole else most,
        fits=fits,
        want_df=pmtudisc == PMTUDISC_WANT and not route.mtu_locked,
        always_df=pmtudisc in (PMTUDISC_DO, PMTUDISC_PROBE),
    )


def check_length(sk: DatagramSock, flow: Flow, length: int) -> None:
    """EMSGSIZE for more than fits behind the IP header, in the error queue too if wanted."""
    if length <= flow.room:
        return
    if errqueue.wants(sk):
        mtu = min(flow.route.mtu, IP_MAX)
        errqueue.put(
            sk, ErrorReport(errno.EMSGSIZE, SO_EE_ORIGIN_LOCAL, flow.daddr, flow.dport, info=mtu)
        )
    raise os_error(errno.EMSGSIZE)
