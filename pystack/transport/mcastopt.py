"""Options that join and leave multicast groups, and say which sources of them are heard (RFC 3678).

IPPROTO_IP has some of its own, whose structures hold IPv4 addresses; MCAST_* are the same at
IPPROTO_IP and IPPROTO_IPV6 (`do_ip_setsockopt`, `do_ipv6_setsockopt`).  Used by `ipopt`, `ip6opt`.
"""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pystack.transport import mcast
from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.transport.inetsock import InetSock

IP_UNBLOCK_SOURCE = 37
IP_BLOCK_SOURCE = 38
IP_ADD_SOURCE_MEMBERSHIP = 39
IP_DROP_SOURCE_MEMBERSHIP = 40
IP_MSFILTER = 41
MCAST_JOIN_GROUP = 42
MCAST_BLOCK_SOURCE = 43
MCAST_UNBLOCK_SOURCE = 44
MCAST_LEAVE_GROUP = 45
MCAST_JOIN_SOURCE_GROUP = 46
MCAST_LEAVE_SOURCE_GROUP = 47
MCAST_MSFILTER = 48
Setter = Callable[["InetSock", int | bytes], None]
_Join = Callable[["InetSock", bytes, int, bytes], None]
_Source = Callable[["InetSock", bytes, int, bytes, bytes], None]
_U32 = struct.Struct("I")
_STORAGE = 128  # struct sockaddr_storage
_GROUP = 8  # of struct group_req: the index, padded
_SOURCE = _GROUP + _STORAGE
_ADDRESS = {so.AF_INET: slice(4, 8), so.AF_INET6: slice(8, 24)}  # within a sockaddr
_MSFILTER = struct.Struct("4s4sII")
_LIST = _SOURCE + 8  # of struct group_filter, behind mode and number
_MAX_MSF = {so.AF_INET: "net.ipv4.igmp_max_msf", so.AF_INET6: "net.ipv6.mld_max_msf"}


def _data(value: int | bytes, least: int) -> bytes:
    if isinstance(value, int) or len(value) < least:
        raise os_error(errno.EINVAL)
    return value


def _sockaddr(data: bytes, at: int, family: int, error: int) -> bytes:
    """The address in the `struct sockaddr_storage` there, which has to be of `family`."""
    found = data[at : at + _STORAGE]
    if int.from_bytes(found[:2], "little") != family:
        raise os_error(error)
    return found[_ADDRESS[so.AddressFamily(family)]]


def _ip_source(change: _Source, sk: InetSock, value: int | bytes) -> None:
    """struct ip_mreq_source: group, address of the device, source."""
    data = _data(value, 12)
    if len(data) != 12:
        raise os_error(errno.EINVAL)
    change(sk, data[:4], 0, data[4:8], data[8:])


def _ip_msfilter(sk: InetSock, value: int | bytes) -> None:
    """struct ip_msfilter"""
    data = _data(value, _MSFILTER.size)
    group, address, mode, count = _MSFILTER.unpack_from(data)
    sources = _sources(sk, so.AF_INET, data[_MSFILTER.size :], count, 4)
    mcast.set_filter(sk, group, 0, address, mode, sources)


def _sources(sk: InetSock, family: int, data: bytes, count: int, size: int) -> list[bytes]:
    """`count` pieces of `size` bytes; ENOBUFS, EINVAL."""
    if count > sk.kernel.sysctl[_MAX_MSF[so.AddressFamily(family)]]:
        raise os_error(errno.ENOBUFS)
    if count * size > len(data):
        raise os_error(errno.EINVAL)
    return [data[at : at + size] for at in range(0, count * size, size)]


def _group(family: int, change: _Join, sk: InetSock, value: int | bytes) -> None:
    """struct group_req: device and group.  What another family is called differs."""
    data = _data(value, _SOURCE)
    error = errno.EINVAL if family == so.AF_INET else errno.EADDRNOTAVAIL
    group = _sockaddr(data, _GROUP, family, error)
    change(sk, group, _U32.unpack_from(data)[0], b"")


def _group_source(family: int, change: _Source, sk: InetSock, value: int | bytes) -> None:
    """struct group_source_req: device, group, source."""
    data = _data(value, _SOURCE + _STORAGE)
    group = _sockaddr(data, _GROUP, family, errno.EADDRNOTAVAIL)
    source = _sockaddr(data, _SOURCE, family, errno.EADDRNOTAVAIL)
    change(sk, group, _U32.unpack_from(data)[0], b"", source)


def _group_filter(family: int, sk: InetSock, value: int | bytes) -> None:
    """struct group_filter"""
    data = _data(value, _LIST)
    mode, count = struct.unpack_from("II", data, _SOURCE)
    pieces = _sources(sk, family, data[_LIST:], count, _STORAGE)
    group = _sockaddr(data, _GROUP, family, errno.EADDRNOTAVAIL)
    sources = [_sockaddr(piece, 0, family, errno.EADDRNOTAVAIL) for piece in pieces]
    mcast.set_filter(sk, group, _U32.unpack_from(data)[0], b"", mode, sources)


_SOURCE_CHANGES: dict[int, _Source] = {
    MCAST_JOIN_SOURCE_GROUP: mcast.join_source,
    MCAST_LEAVE_SOURCE_GROUP: mcast.leave_source,
    MCAST_BLOCK_SOURCE: mcast.block_source,
    MCAST_UNBLOCK_SOURCE: mcast.unblock_source,
}


def of_family(family: int) -> Mapping[int, Setter]:
    """MCAST_*, with addresses of `family`."""
    return {
        MCAST_JOIN_GROUP: partial(_group, family, mcast.join),
        MCAST_LEAVE_GROUP: partial(_group, family, mcast.leave),
        MCAST_MSFILTER: partial(_group_filter, family),
    } | {name: partial(_group_source, family, it) for name, it in _SOURCE_CHANGES.items()}


OF_IP: Mapping[int, Setter] = {
    IP_ADD_SOURCE_MEMBERSHIP: partial(_ip_source, mcast.join_source),
    IP_DROP_SOURCE_MEMBERSHIP: partial(_ip_source, mcast.leave_source),
    IP_BLOCK_SOURCE: partial(_ip_source, mcast.block_source),
    IP_UNBLOCK_SOURCE: partial(_ip_source, mcast.unblock_source),
    IP_MSFILTER: _ip_msfilter,
}
