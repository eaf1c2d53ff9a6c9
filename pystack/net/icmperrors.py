"""What ICMP errors mean to sockets, by type and code (`net/ipv4/icmp.c`, `net/ipv6/icmp.c`)."""

from __future__ import annotations

import errno

from pystack.core.headers.icmp import (
    ICMP_DEST_UNREACH,
    ICMP_HOST_UNREACH,
    ICMP_NET_UNREACH,
    ICMP_PARAMETERPROB,
    ICMP_TIME_EXCEEDED,
)
from pystack.core.headers.icmpv6 import (
    ICMPV6_DEST_UNREACH,
    ICMPV6_PARAMPROB,
    ICMPV6_PKT_TOOBIG,
    ICMPV6_TIME_EXCEED,
)
from pystack.net.inet import IcmpError

NO_ERROR = IcmpError(0, fatal=False, refuses=False)

# ICMP destination unreachable, by code (`icmp_err_convert`): errno, fatal
_UNREACHABLE = (
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ENOPROTOOPT, True),
    (errno.ECONNREFUSED, True),
    (errno.EMSGSIZE, False),
    (errno.EOPNOTSUPP, False),
    (errno.ENETUNREACH, True),
    (errno.EHOSTDOWN, True),
    (errno.ENONET, True),
    (errno.ENETUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
)


def icmp_error(icmp_type: int, code: int) -> IcmpError:
    if icmp_type == ICMP_DEST_UNREACH and code < len(_UNREACHABLE):
        number, fatal = _UNREACHABLE[code]
        return IcmpError(number, fatal, code in (ICMP_NET_UNREACH, ICMP_HOST_UNREACH))
    if icmp_type == ICMP_PARAMETERPROB:
        return IcmpError(errno.EPROTO, fatal=True, refuses=True)
    if icmp_type == ICMP_TIME_EXCEEDED:
        return IcmpError(errno.EHOSTUNREACH, fatal=False, refuses=True)
    return NO_ERROR


# ICMPv6 destination unreachable, by code (`tab_unreach`): errno, fatal
_UNREACHABLE6 = (
    (errno.ENETUNREACH, False),
    (errno.EACCES, True),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ECONNREFUSED, True),
    (errno.EACCES, True),
    (errno.EACCES, True),
)


def icmpv6_error(icmp_type: int, code: int) -> IcmpError:
    if icmp_type == ICMPV6_DEST_UNREACH and code < len(_UNREACHABLE6):
        number, fatal = _UNREACHABLE6[code]
        return IcmpError(number, fatal, refuses=fatal)
    if icmp_type == ICMPV6_PKT_TOOBIG:
        return IcmpError(errno.EMSGSIZE, fatal=False, refuses=False)
    if icmp_type == ICMPV6_PARAMPROB:
        return IcmpError(errno.EPROTO, fatal=True, refuses=True)
    if icmp_type == ICMPV6_TIME_EXCEED:
        return IcmpError(errno.EHOSTUNREACH, fatal=False, refuses=False)
    return IcmpError(errno.EPROTO, fatal=False, refuses=False)
