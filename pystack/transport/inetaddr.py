"""Addresses of sockets of both families, between the user's form and the network layer's.

An AF_INET6 socket may speak IPv4, too: its user sees `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2), the
network layer below sees four bytes (`sk.inet` is then IPv4's).  Used by every transport at its
edge; inside, the length of an address says which layer it belongs to.
"""

from __future__ import annotations

import errno
from socket import AF_INET, AF_INET6
from typing import NamedTuple

from pystack.net.inet import Inet, Inets
from pystack.transport.sock import Address, os_error

V4MAPPED = bytes(10) + b"\xff\xff"


class Endpoint(NamedTuple):
    """An address as the network layer `inet` has it; `scope_id` is an ifindex or 0."""

    inet: Inet
    ip: bytes
    port: int
    flowinfo: int = 0
    scope_id: int = 0


def endpoint(inets: Inets, family: int, address: Address, v6only: bool = False) -> Endpoint:
    """What `address`, given by the user of a socket of `family`, means.

    EAFNOSUPPORT for the other family's form, ENETUNREACH for a mapped one with IPV6_V6ONLY.
    """
    ip, port = address[0], address[1]
    if len(ip) != (16 if family == AF_INET6 else 4):
        raise os_error(errno.EAFNOSUPPORT)
    if family == AF_INET or not ip.startswith(V4MAPPED):
        flowinfo, scope_id = address[2:4] if len(address) == 4 else (0, 0)
        return Endpoint(inets[len(ip)], ip, port, flowinfo, scope_id)
    if v6only:
        raise os_error(errno.ENETUNREACH)
    return Endpoint(inets[4], ip[12:], port)


def to_user(family: int, ip: bytes, port: int, scope_id: int = 0, flowinfo: int = 0) -> Address:
    """The form the user of a socket of `family` sees."""
    if family == AF_INET:
        return ip, port
    if len(ip) == 4:
        return V4MAPPED + ip, port, 0, 0
    return ip, port, flowinfo, scope_id if is_link_scope(ip) else 0


def is_link_scope(ip: bytes) -> bool:
    """An address of IPv6 that means something on one link only: a scope id goes with it."""
    if ip[0] == 0xFF:
        return ip[1] & 15 in (1, 2)
    return len(ip) == 16 and ip[0] == 0xFE and ip[1] & 0xC0 == 0x80


def overlap(ours: bytes, our_v6only: bool, theirs: bytes, their_v6only: bool) -> bool:
    """Would two sockets bound to these addresses hear the same packets?

    (`inet_rcv_saddr_equal`)  The unspecified IPv6 address takes in all of IPv4 unless its socket
    has IPV6_V6ONLY.
    """
    if len(ours) == len(theirs):
        return ours == theirs or not (any(ours) and any(theirs))
    six, v6only = (ours, our_v6only) if len(ours) == 16 else (theirs, their_v6only)
    return not any(six) and not v6only
