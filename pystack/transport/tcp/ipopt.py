"""IP-level options of TCP sockets (`ip(7)`, `do_ip_setsockopt`).

Called by `sockopt`; `transmit` puts what they say into every packet.
"""

from __future__ import annotations

import errno
import socket as so
import struct
from typing import TYPE_CHECKING

from pystack.core.headers.ipv4 import ECN_MASK
from pystack.transport.sock import os_error
from pystack.transport.tcp.state import UNCONNECTED

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

IP_MTU_DISCOVER = 10
IP_RECVERR = 11
IP_MTU = 14
PMTUDISC_OMIT = 5  # the highest
_INT = struct.Struct("i")


def set_option(sk: TcpSock, name: int, value: int | bytes) -> None:
    """One byte will do for a value, too; EINVAL, ENOPROTOOPT."""
    number = _number(value)
    if name == so.IP_TOS:
        sk.tos = number & 0xFF & ~ECN_MASK  # the two low bits belong to ECN
        sk.route = None
    elif name == so.IP_TTL:
        if number != -1 and not 1 <= number <= 255:
            raise os_error(errno.EINVAL)
        sk.ttl = None if number == -1 else number
    elif name == IP_MTU_DISCOVER:
        if not 0 <= number <= PMTUDISC_OMIT:
            raise os_error(errno.EINVAL)
        sk.pmtudisc = number
    else:
        raise os_error(errno.ENOPROTOOPT)


def _number(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    if not value:
        raise os_error(errno.EINVAL)
    return int(_INT.unpack_from(value)[0]) if len(value) >= _INT.size else value[0]


def get_option(sk: TcpSock, name: int) -> int:
    if name == so.IP_TOS:
        return sk.tos
    if name == so.IP_TTL:
        return sk.kernel.sysctl["net.ipv4.ip_default_ttl"] if sk.ttl is None else sk.ttl
    if name == IP_MTU_DISCOVER:
        return sk.pmtudisc
    if name == IP_MTU:
        if sk.state in UNCONNECTED:
            raise os_error(errno.ENOTCONN)
        return sk.pmtu
    raise os_error(errno.ENOPROTOOPT)
