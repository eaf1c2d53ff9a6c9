"""Multicast of a socket: where it sends, the groups it has joined and whom it hears of them.

`ip_mc_join_group` and its like (`net/ipv4/igmp.c`, `net/ipv6/mcast.c`); membership of the host is
the network layer's (`Inet.join`, `Inet.leave`).  Made for a socket when it first needs it.
"""

from __future__ import annotations

import errno
import socket as so
from typing import TYPE_CHECKING

from pystack.net.source_filter import MCAST_EXCLUDE, MCAST_INCLUDE, Change
from pystack.transport.inetsock import MC_ALL, MC_ALL6
from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice
    from pystack.net.inet import Inet
    from pystack.transport.inetsock import InetSock

_MAX_MSF = {4: "net.ipv4.igmp_max_msf", 16: "net.ipv6.mld_max_msf"}


class SocketFilter:
    """Whom a socket wants to hear of a group it has joined: `sources` only, or all but them.  None
    until there has been one: the `mode` may still change."""

    __slots__ = ("mode", "sources")

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.sources: list[bytes] | None = None


class Multicast:
    """IPv4: `ttl`, source `address` and device `index`; IPv6: `hops` and `index6`.  `groups` are
    the memberships by (ifindex, group)."""

    __slots__ = ("address", "groups", "hops", "index", "index6", "ttl")

    def __init__(self) -> None:
        self.ttl = self.hops = 1
        self.address = bytes(4)
        self.index = self.index6 = 0
        self.groups: dict[tuple[int, bytes], SocketFilter] = {}


def settings(sk: InetSock) -> Multicast:
    if sk.mc is None:
        sk.mc = Multicast()
    return sk.mc


def forbid_stream(sk: InetSock) -> None:
    if sk.type == so.SOCK_STREAM:
        raise os_error(errno.EINVAL)


def set_interface(sk: InetSock, address: bytes, index: int) -> None:
    """IP_MULTICAST_IF: by index, or by one of its addresses; EADDRNOTAVAIL."""
    mc = settings(sk)
    if index:
        device(sk.inets[4], index, errno.EADDRNOTAVAIL)
    elif any(address):
        index = _device_of(sk.inets[4], address, errno.EADDRNOTAVAIL).ifindex
    if index and sk.sk_bound_dev_if not in (0, index):
        raise os_error(errno.EINVAL)
    mc.index, mc.address = index, address


def join(sk: InetSock, group: bytes, index: int, address: bytes, mode: int = MCAST_EXCLUDE) -> None:
    """EINVAL for no group, ENODEV, EADDRINUSE for one joined already, ENOBUFS for too many."""
    inet = sk.inets[len(group)]
    if not is_multicast(group):
        raise os_error(errno.EINVAL)
    dev = _find(inet, group, index, address)
    mc = settings(sk)
    if (dev.ifindex, group) in mc.groups:
        raise os_error(errno.EADDRINUSE)
    if len(group) == 4 and _joined(mc) >= sk.kernel.sysctl["net.ipv4.igmp_max_memberships"]:
        raise os_error(errno.ENOBUFS)
    inet.join(dev, group, mode)
    mc.groups[dev.ifindex, group] = SocketFilter(mode)


def _joined(mc: Multicast) -> int:
    """IPv4 groups a socket is a member of; there is no such limit for IPv6's."""
    return sum(len(group) == 4 for _, group in mc.groups)


def leave(sk: InetSock, group: bytes, index: int, address: bytes) -> None:
    """EADDRNOTAVAIL unless joined; without index and address the first such group will do."""
    inet = sk.inets[len(group)]
    if index or any(address):
        index = _find(inet, group, index, address).ifindex
    for joined in () if sk.mc is None else sk.mc.groups:
        if joined[1] == group and index in (0, joined[0]):
            _drop(sk, joined)
            return
    raise os_error(errno.EADDRNOTAVAIL)


def leave_all(sk: InetSock) -> None:
    """The socket is closed (`ip_mc_drop_socket`)."""
    if sk.mc is not None:
        for joined in list(sk.mc.groups):
            _drop(sk, joined)


# -- source filters ------------------------------------------------------------------------


def join_source(sk: InetSock, group: bytes, index: int, address: bytes, source: bytes) -> None:
    """Hear `source` of the group, which is joined for it if need be."""
    try:
        join(sk, group, index, address, MCAST_INCLUDE)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
    add_source(sk, group, index, address, source, MCAST_INCLUDE)


def leave_source(sk: InetSock, group: bytes, index: int, address: bytes, source: bytes) -> None:
    remove_source(sk, group, index, address, source, MCAST_INCLUDE)


def block_source(sk: InetSock, group: bytes, index: int, address: bytes, source: bytes) -> None:
    add_source(sk, group, index, address, source, MCAST_EXCLUDE)


def unblock_source(sk: InetSock, group: bytes, index: int, address: bytes, source: bytes) -> None:
    remove_source(sk, group, index, address, source, MCAST_EXCLUDE)


def add_source(
    sk: InetSock, group: bytes, index: int, address: bytes, source: bytes, mode: int
) -> None:
    """EADDRNOTAVAIL for one that is there, ENOBUFS for too many, what `_member` raises."""
    dev, found = _member(sk, group, index, address, mode)
    sources = found.sources or []
    if len(sources) >= _most_sources(sk, group):
        raise os_error(errno.ENOBUFS)
    found.sources = sources
    if source in sources:
        raise os_error(errno.EADDRNOTAVAIL)
    sources.append(source)
    sk.inets[len(group)].change_filter(dev, group, Change(mode, (source,)))


def remove_source(
    sk: InetSock, group: bytes, index: int, address: bytes, source: bytes, mode: int
) -> None:
    """EADDRNOTAVAIL for one that is not there; to include nobody is to leave."""
    dev, found = _member(sk, group, index, address, mode)
    if not found.sources or source not in found.sources:
        raise os_error(errno.EADDRNOTAVAIL)
    if mode == MCAST_INCLUDE and len(found.sources) == 1:
        _drop(sk, (dev.ifindex, group))
        return
    found.sources.remove(source)
    sk.inets[len(group)].change_filter(dev, group, Change(mode, (source,), -1))


def set_filter(
    sk: InetSock, group: bytes, index: int, address: bytes, mode: int, sources: list[bytes]
) -> None:
    """All of it at once (`ip_mc_msfilter`); EINVAL, ENODEV, ENOBUFS."""
    if not is_multicast(group) or mode not in (MCAST_INCLUDE, MCAST_EXCLUDE):
        raise os_error(errno.EINVAL)
    dev = _find(sk.inets[len(group)], group, index, address)
    if mode == MCAST_INCLUDE and not sources:
        leave(sk, group, dev.ifindex, address)
        return
    found = None if sk.mc is None else sk.mc.groups.get((dev.ifindex, group))
    if found is None:
        raise os_error(errno.EINVAL)
    _replace(sk, dev, group, found, mode, sources or None)


def _member(
    sk: InetSock, group: bytes, index: int, address: bytes, mode: int
) -> tuple[NetDevice, SocketFilter]:
    """The filter of a group that was joined, of `mode` if a source has ever been in it: an empty
    one changes over (`ip_mc_source`).  EINVAL, ENODEV."""
    if not is_multicast(group):
        raise os_error(errno.EINVAL)
    dev = _find(sk.inets[len(group)], group, index, address)
    found = None if sk.mc is None else sk.mc.groups.get((dev.ifindex, group))
    if found is None or (found.mode != mode and found.sources is not None):
        raise os_error(errno.EINVAL)
    if found.mode != mode:
        _replace(sk, dev, group, found, mode, None)
    return dev, found


def _replace(
    sk: InetSock,
    dev: NetDevice,
    group: bytes,
    found: SocketFilter,
    mode: int,
    sources: list[bytes] | None,
) -> None:
    """The new filter counts before the old one ceases to."""
    change = sk.inets[len(group)].change_filter
    change(dev, group, Change(mode, sources or (), users=1))
    change(dev, group, Change(found.mode, found.sources or (), -1, -1))
    found.mode, found.sources = mode, sources


def _most_sources(sk: InetSock, group: bytes) -> int:
    return sk.kernel.sysctl[_MAX_MSF[len(group)]]


def allows(sk: InetSock, group: bytes, source: bytes, ifindex: int) -> bool:
    """May a socket that is bound right have a packet to `group`? (`ip_mc_sf_allow`,
    `inet6_mc_check`, which does not ask where it was joined)

    If it was joined, as the filter says; otherwise as IP_MULTICAST_ALL: any somebody here joined.
    """
    if sk.mc is not None:
        for (index, joined), found in reversed(sk.mc.groups.items()):
            if joined == group and (index == ifindex or len(group) == 16):
                return (source in (found.sources or ())) == (found.mode == MCAST_INCLUDE)
    return bool(sk.inet_flags & (MC_ALL if len(group) == 4 else MC_ALL6))


def is_multicast(ip: bytes) -> bool:
    return ip[0] & 0xF0 == 0xE0 if len(ip) == 4 else ip[0] == 0xFF


def _drop(sk: InetSock, joined: tuple[int, bytes]) -> None:
    index, group = joined
    assert sk.mc is not None
    found = sk.mc.groups.pop(joined)
    inet = sk.inets[len(group)]
    for dev in inet.devices.values():
        if dev.ifindex == index:
            inet.leave(dev, group, found.mode, found.sources or ())


def _find(inet: Inet, group: bytes, index: int, address: bytes) -> NetDevice:
    """The device meant: by index, address, or the route to the group (`ip_mc_find_dev`)."""
    if index:
        return device(inet, index, errno.ENODEV)
    if any(address):
        return _device_of(inet, address, errno.ENODEV)
    try:
        return inet.route(group).dev
    except OSError:
        raise os_error(errno.ENODEV) from None


def device(inet: Inet, index: int, error: int) -> NetDevice:
    for dev in inet.devices.values():
        if dev.ifindex == index:
            return dev
    raise os_error(error)


def _device_of(inet: Inet, address: bytes, error: int) -> NetDevice:
    dev = inet.device_of(address)
    if dev is None:
        raise os_error(error)
    return dev
