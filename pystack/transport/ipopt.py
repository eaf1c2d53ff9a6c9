"""Options at IPPROTO_IP, for sockets of every transport (`ip(7)`, `do_ip_setsockopt`)."""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Callable

from pystack.core.headers.ipv4 import ECN_MASK
from pystack.transport import mcast, mcastopt
from pystack.transport.inetflag import Flag, get_flag, set_flag
from pystack.transport.inetsock import (
    FREEBIND,
    HDRINCL,
    MC_ALL,
    MC_LOOP,
    NO_PORT,
    ORIGDSTADDR,
    PKTINFO,
    PMTUDISC_OMIT,
    RECVERR,
    RECVTOS,
    RECVTTL,
    TRANSPARENT,
    InetSock,
)
from pystack.transport.sock import os_error

IP_PKTINFO = 8
IP_MTU_DISCOVER = 10
IP_RECVERR = 11
IP_RECVTTL = 12
IP_MTU = 14
IP_FREEBIND = 15
IP_TRANSPARENT = 19
IP_RECVORIGDSTADDR = 20
IP_BIND_ADDRESS_NO_PORT = 24
IP_MULTICAST_ALL = 49
IP_MAX_MTU = 0xFFFF
_INT = struct.Struct("i")
_FLAGS: dict[int, Flag] = {
    IP_PKTINFO: Flag(PKTINFO),
    IP_RECVTTL: Flag(RECVTTL),
    so.IP_RECVTOS: Flag(RECVTOS),
    IP_RECVERR: Flag(RECVERR),
    so.IP_HDRINCL: Flag(HDRINCL, raw=errno.ENOPROTOOPT),
    IP_FREEBIND: Flag(FREEBIND),
    IP_TRANSPARENT: Flag(TRANSPARENT, admin=True),
    IP_RECVORIGDSTADDR: Flag(ORIGDSTADDR),
    IP_BIND_ADDRESS_NO_PORT: Flag(NO_PORT),
    so.IP_MULTICAST_LOOP: Flag(MC_LOOP),
    IP_MULTICAST_ALL: Flag(MC_ALL, binary=True),
}


def set_option(sk: InetSock, name: int, value: int | bytes) -> None:
    """One byte will do for a number, too; EINVAL, ENOPROTOOPT, EPERM."""
    structured = _STRUCTURED.get(name)
    if structured is not None:
        structured(sk, value)
        return
    number = _number(value)
    setter = _SETTERS.get(name)
    if setter is not None:
        setter(sk, number)
    elif name in _FLAGS:
        set_flag(sk, _FLAGS[name], number)
    else:
        raise os_error(errno.ENOPROTOOPT)


def get_option(sk: InetSock, name: int) -> int | bytes:
    flag = _FLAGS.get(name)
    if flag is not None:
        return get_flag(sk, flag)
    getter = _GETTERS.get(name)
    if getter is None:
        raise os_error(errno.ENOPROTOOPT)
    return getter(sk)


def _number(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    if not value:
        raise os_error(errno.EINVAL)
    return int(_INT.unpack_from(value)[0]) if len(value) >= _INT.size else value[0]


def _set_tos(sk: InetSock, value: int) -> None:
    """Of TCP the two low bits belong to ECN."""
    value &= 0xFF
    sk.tos = value & ~ECN_MASK if sk.type == so.SOCK_STREAM else value


def _set_ttl(sk: InetSock, value: int) -> None:
    if value != -1 and not 1 <= value <= 255:
        raise os_error(errno.EINVAL)
    sk.ttl = None if value == -1 else value


def _set_pmtudisc(sk: InetSock, value: int) -> None:
    if not 0 <= value <= PMTUDISC_OMIT:
        raise os_error(errno.EINVAL)
    sk.pmtudisc = value


def _set_multicast_ttl(sk: InetSock, value: int) -> None:
    mcast.forbid_stream(sk)
    if not -1 <= value <= 255:
        raise os_error(errno.EINVAL)
    mcast.settings(sk).ttl = 1 if value == -1 else value


def _set_multicast_if(sk: InetSock, value: int | bytes) -> None:
    """struct in_addr, ip_mreq or ip_mreqn: an address of the device, or its index."""
    mcast.forbid_stream(sk)
    data = value if isinstance(value, bytes) else _INT.pack(value)
    if len(data) >= 12:
        address, index = data[4:8], int(_INT.unpack_from(data, 8)[0])
    elif len(data) >= 4:
        address, index = (data[4:8] if len(data) >= 8 else data[:4]), 0
    else:
        raise os_error(errno.EINVAL)
    mcast.set_interface(sk, address, index)


def _membership(change: Callable[[InetSock, bytes, int, bytes], None]) -> mcastopt.Setter:
    def set_it(sk: InetSock, value: int | bytes) -> None:
        """struct ip_mreq or ip_mreqn; EPROTO of a stream, which MCAST_* allow to join."""
        if sk.type == so.SOCK_STREAM:
            raise os_error(errno.EPROTO)
        if isinstance(value, int) or len(value) < 8:
            raise os_error(errno.EINVAL)
        index = int(_INT.unpack_from(value, 8)[0]) if len(value) >= 12 else 0
        change(sk, value[:4], index, value[4:8])

    return set_it


def path_mtu(sk: InetSock) -> int:
    """Of the path to the peer; ENOTCONN."""
    if not sk.rport:
        raise os_error(errno.ENOTCONN)
    mtu = sk.inet.route(sk.raddr, sk.laddr, oif=sk.sk_bound_dev_if).mtu
    return mtu if sk.inet.family == so.AF_INET6 else min(mtu, IP_MAX_MTU)


def _multicast_if(sk: InetSock) -> bytes:
    return bytes(4) if sk.mc is None else sk.mc.address


_STRUCTURED: dict[int, mcastopt.Setter] = {
    so.IP_MULTICAST_IF: _set_multicast_if,
    so.IP_ADD_MEMBERSHIP: _membership(mcast.join),
    so.IP_DROP_MEMBERSHIP: _membership(mcast.leave),
    **mcastopt.OF_IP,
    **mcastopt.of_family(so.AF_INET),
}
_SETTERS: dict[int, Callable[[InetSock, int], None]] = {
    so.IP_TOS: _set_tos,
    so.IP_TTL: _set_ttl,
    IP_MTU_DISCOVER: _set_pmtudisc,
    so.IP_MULTICAST_TTL: _set_multicast_ttl,
}
_GETTERS: dict[int, Callable[[InetSock], int | bytes]] = {
    so.IP_TOS: lambda sk: sk.tos,
    so.IP_TTL: lambda sk: sk.inets[4].default_ttl() if sk.ttl is None else sk.ttl,
    IP_MTU_DISCOVER: lambda sk: sk.pmtudisc,
    IP_MTU: path_mtu,
    so.IP_MULTICAST_TTL: lambda sk: 1 if sk.mc is None else sk.mc.ttl,
    so.IP_MULTICAST_IF: _multicast_if,
}
