"""Options at IPPROTO_IPV6, for sockets of every transport (`ipv6(7)`, `do_ipv6_setsockopt`)."""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Callable

from pystack.core.headers.ipv4 import ECN_MASK
from pystack.transport import mcast, mcastopt
from pystack.transport.inetflag import Flag, get_flag, set_flag
from pystack.transport.inetsock import (
    DONTFRAG6,
    FREEBIND,
    HDRINCL,
    MC_ALL6,
    MC_LOOP6,
    PKTINFO6,
    PMTUDISC_OMIT,
    RECVERR6,
    RECVHOPLIMIT,
    RECVTCLASS,
    TRANSPARENT,
    InetSock,
)
from pystack.transport.ipopt import path_mtu
from pystack.transport.sock import os_error
from pystack.transport.sockopt import int_value

IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
IPV6_RECVERR = 25
IPV6_MULTICAST_ALL = 29
IPV6_TRANSPARENT = 75
IPV6_FREEBIND = 78
IPV6_HDRINCL = 36
_INT = struct.Struct("i")
_FLAGS: dict[int, Flag] = {
    so.IPV6_RECVPKTINFO: Flag(PKTINFO6),
    so.IPV6_RECVHOPLIMIT: Flag(RECVHOPLIMIT),
    so.IPV6_RECVTCLASS: Flag(RECVTCLASS),
    IPV6_RECVERR: Flag(RECVERR6),
    IPV6_HDRINCL: Flag(HDRINCL, raw=errno.ENOPROTOOPT),
    so.IPV6_DONTFRAG: Flag(DONTFRAG6),
    so.IPV6_MULTICAST_LOOP: Flag(MC_LOOP6, binary=True),
    IPV6_MULTICAST_ALL: Flag(MC_ALL6, binary=True),
    IPV6_FREEBIND: Flag(FREEBIND),
    IPV6_TRANSPARENT: Flag(TRANSPARENT, admin=True),
}


def set_option(sk: InetSock, name: int, value: int | bytes) -> None:
    """EINVAL, ENOPROTOOPT (of an AF_INET socket, any), EPERM."""
    if sk.family != so.AF_INET6:
        raise os_error(errno.ENOPROTOOPT)
    if name == so.IPV6_PKTINFO:
        _set_pktinfo(sk, value)
        return
    if name in _MEMBERSHIPS:
        _change_membership(sk, name, value)
        return
    if name in _MCAST:
        _MCAST[name](sk, value)
        return
    number = int_value(value)
    setter = _SETTERS.get(name)
    if setter is not None:
        setter(sk, number)
    elif name in _FLAGS:
        set_flag(sk, _FLAGS[name], number)
    else:
        raise os_error(errno.ENOPROTOOPT)


def get_option(sk: InetSock, level: int, name: int) -> int:
    """EOPNOTSUPP from an AF_INET socket, whatever the level, as Linux has it; ENOPROTOOPT."""
    if sk.family != so.AF_INET6:
        raise os_error(errno.EOPNOTSUPP)
    if level != so.IPPROTO_IPV6:
        raise os_error(errno.ENOPROTOOPT)
    flag = _FLAGS.get(name)
    if flag is not None:
        return get_flag(sk, flag)
    getter = _GETTERS.get(name)
    if getter is None:
        raise os_error(errno.ENOPROTOOPT)
    return getter(sk)


def _set_pktinfo(sk: InetSock, value: int | bytes) -> None:
    """struct in6_pktinfo that holds for every packet; Linux takes the device of it, not the
    address."""
    if isinstance(value, int) or len(value) < 20:
        raise os_error(errno.EINVAL)
    index = int(_INT.unpack_from(value, 16)[0])
    if index and sk.sk_bound_dev_if not in (0, index):
        raise os_error(errno.EINVAL)
    sk.sticky_oif = index


def _set_v6only(sk: InetSock, value: int) -> None:
    """Only before bind."""
    if sk.lport:
        raise os_error(errno.EINVAL)
    sk.v6only = bool(value)


def _set_unicast_hops(sk: InetSock, value: int) -> None:
    if not -1 <= value <= 255:
        raise os_error(errno.EINVAL)
    sk.hop_limit = None if value == -1 else value


def _set_tclass(sk: InetSock, value: int) -> None:
    if not -1 <= value <= 0xFF:
        raise os_error(errno.EINVAL)
    value = max(value, 0)
    sk.tclass = value & ~ECN_MASK if sk.type == so.SOCK_STREAM else value


def _set_pmtudisc(sk: InetSock, value: int) -> None:
    if not 0 <= value <= PMTUDISC_OMIT:
        raise os_error(errno.EINVAL)
    sk.pmtudisc6 = value


def _set_multicast_hops(sk: InetSock, value: int) -> None:
    if sk.type == so.SOCK_STREAM:
        raise os_error(errno.ENOPROTOOPT)
    if not -1 <= value <= 255:
        raise os_error(errno.EINVAL)
    mcast.settings(sk).hops = 1 if value == -1 else value


def _set_multicast_if(sk: InetSock, value: int) -> None:
    """ENODEV; a socket bound to a device can have no other (EINVAL)."""
    if sk.type == so.SOCK_STREAM:
        raise os_error(errno.ENOPROTOOPT)
    if value:
        if all(dev.ifindex != value for dev in sk.devices()):
            raise os_error(errno.ENODEV)
        if sk.sk_bound_dev_if not in (0, value):
            raise os_error(errno.EINVAL)
    mcast.settings(sk).index6 = value


def _change_membership(sk: InetSock, name: int, value: int | bytes) -> None:
    """struct ipv6_mreq: group and ifindex."""
    if isinstance(value, int) or len(value) < 20:
        raise os_error(errno.EINVAL)
    if sk.type == so.SOCK_STREAM:
        raise os_error(errno.EPROTO)
    _MEMBERSHIPS[name](sk, value[:16], int(_INT.unpack_from(value, 16)[0]), b"")


_MCAST = mcastopt.of_family(so.AF_INET6)
_MEMBERSHIPS = {so.IPV6_JOIN_GROUP: mcast.join, so.IPV6_LEAVE_GROUP: mcast.leave}
_SETTERS: dict[int, Callable[[InetSock, int], None]] = {
    so.IPV6_V6ONLY: _set_v6only,
    so.IPV6_UNICAST_HOPS: _set_unicast_hops,
    so.IPV6_TCLASS: _set_tclass,
    IPV6_MTU_DISCOVER: _set_pmtudisc,
    so.IPV6_MULTICAST_HOPS: _set_multicast_hops,
    so.IPV6_MULTICAST_IF: _set_multicast_if,
}
_GETTERS: dict[int, Callable[[InetSock], int]] = {
    so.IPV6_V6ONLY: lambda sk: int(sk.v6only),
    so.IPV6_UNICAST_HOPS: lambda sk: (
        sk.inets[16].default_ttl() if sk.hop_limit is None else sk.hop_limit
    ),
    so.IPV6_TCLASS: lambda sk: sk.tclass,
    IPV6_MTU_DISCOVER: lambda sk: sk.pmtudisc6,
    IPV6_MTU: path_mtu,
    so.IPV6_MULTICAST_HOPS: lambda sk: 1 if sk.mc is None else sk.mc.hops,
    so.IPV6_MULTICAST_IF: lambda sk: 0 if sk.mc is None else sk.mc.index6,
}
