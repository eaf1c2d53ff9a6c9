"""Multicast of a socket: where it sends and the groups it has joined.

`ip_mc_join_group` and its like (`net/ipv4/igmp.c`, `net/ipv6/mcast.c`); membership of the host is
the network layer's (`Inet.join`, `Inet.leave`).  Made for a socket when it first needs it.
"""

from __future__ import annotations

import errno
import socket as so
from typing import TYPE_CHECKING

from pystack.transport.inetsock import MC_ALL, MC_ALL6
from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice
    from pystack.net.inet import Inet
    from pystack.transport.inetsock import InetSock


class Multicast:
    """IPv4: `ttl`, source `address` and device `index`; IPv6: `hops` and `index6`.  `groups` are
    the memberships as (ifindex, group)."""

    __slots__ = ("address", "groups", "hops", "index", "index6", "ttl")

    def __init__(self) -> None:
        self.ttl = self.hops = 1
        self.address = bytes(4)
        self.index = self.index6 = 0
        self.groups: list[tuple[int, bytes]] = []


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


def join(sk: InetSock, group: bytes, index: int, address: bytes) -> None:
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
    inet.join(dev, group)
    mc.groups.append((dev.ifindex, group))


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


def allows(sk: InetSock, group: bytes, ifindex: int) -> bool:
    """May a socket that is bound right have a packet to `group`? (`ip_mc_sf_allow`)

    Joined, yes; otherwise as IP_MULTICAST_ALL says: any group somebody here has joined.
    """
    if sk.mc is not None and (ifindex, group) in sk.mc.groups:
        return True
    return bool(sk.inet_flags & (MC_ALL if len(group) == 4 else MC_ALL6))


def is_multicast(ip: bytes) -> bool:
    return ip[0] & 0xF0 == 0xE0 if len(ip) == 4 else ip[0] == 0xFF


def _drop(sk: InetSock, joined: tuple[int, bytes]) -> None:
    index, group = joined
    assert sk.mc is not None
    sk.mc.groups.remove(joined)
    inet = sk.inets[len(group)]
    for dev in inet.devices.values():
        if dev.ifindex == index:
            inet.leave(dev, group)


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
