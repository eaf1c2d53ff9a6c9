"""Options of IPPROTO_IP and IPPROTO_IPV6 that are a bit of a socket (`inet_assign_bit`)."""

from __future__ import annotations

import errno
import socket as so
from typing import TYPE_CHECKING, NamedTuple

from pystack.transport.inetsock import RECVERR, RECVERR6
from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.transport.inetsock import InetSock


class Flag(NamedTuple):
    """`bit` of `inet_flags`.  `binary`: 0 and 1 are its only values; `admin`: only root may set
    it; `raw`: raw sockets alone have it, others fail with that errno."""

    bit: int
    binary: bool = False
    admin: bool = False
    raw: int = 0


def set_flag(sk: InetSock, flag: Flag, value: int) -> None:
    """EINVAL, EPERM; without IP_RECVERR there is no error queue."""
    if flag.raw and sk.type != so.SOCK_RAW:
        raise os_error(flag.raw)
    if flag.binary and value not in (0, 1):
        raise os_error(errno.EINVAL)
    if flag.admin and value and sk.sk_uid != 0:
        raise os_error(errno.EPERM)
    sk.inet_flags = sk.inet_flags | flag.bit if value else sk.inet_flags & ~flag.bit
    if flag.bit in (RECVERR, RECVERR6) and not value:
        sk.error_queue = None


def get_flag(sk: InetSock, flag: Flag) -> int:
    return int(bool(sk.inet_flags & flag.bit))
