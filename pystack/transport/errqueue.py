"""The error queue of a socket: what IP_RECVERR and transmit time stamps put there.

`ip_icmp_error`, `ip_local_error`, `ip_recv_error` (`net/ipv4/ip_sockglue.c`, and IPv6's
`datagram.c`), `sock_dequeue_err_skb`.  Filled by the transports' error handlers, read with
MSG_ERRQUEUE.
"""

from __future__ import annotations

import socket as so
import struct
from collections import deque
from select import EPOLLERR
from typing import TYPE_CHECKING, NamedTuple

from pystack.transport.inetaddr import V4MAPPED, to_user
from pystack.transport.inetsock import RECVERR, RECVERR6
from pystack.transport.sock import MSG_ERRQUEUE, MSG_TRUNC, Cmsg, Message, NoWaiting

if TYPE_CHECKING:
    from pystack.transport.inetsock import InetSock

IP_RECVERR = 11
IPV6_RECVERR = 25
SO_EE_ORIGIN_LOCAL = 1
SO_EE_ORIGIN_ICMP = 2
SO_EE_ORIGIN_ICMP6 = 3
SO_EE_ORIGIN_TIMESTAMPING = 4
MAX_REPORTS = 256  # Linux bounds them by the receive buffer

_EXTENDED_ERR = struct.Struct("=IBBBBII")  # struct sock_extended_err
_SOCKADDR_IN = struct.Struct("=H2x4s8x")
_SOCKADDR_IN6 = struct.Struct("=H2xI16sI")


class ErrorReport(NamedTuple):
    """`info` is the MTU for EMSGSIZE; `daddr` and `dport` say where the packet went, `offender`
    who complained, `data` what is known of its payload; `control` goes with it.  `key` numbers the
    packet a time stamp is of, which tells no address."""

    number: int
    origin: int
    daddr: bytes
    dport: int
    data: bytes = b""
    type: int = 0
    code: int = 0
    info: int = 0
    offender: bytes = b""
    control: tuple[Cmsg, ...] = ()
    key: int = 0

    @property
    def is_icmp(self) -> bool:
        return self.origin in (SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6)


def wants(sk: InetSock) -> bool:
    """IP_RECVERR, or IPV6_RECVERR, is set for the layer the socket speaks."""
    return bool(sk.inet_flags & (RECVERR if sk.inet.family == so.AF_INET else RECVERR6))


def put(sk: InetSock, report: ErrorReport) -> None:
    """Queue it and tell the user (`sock_queue_err_skb`)."""
    if sk.error_queue is None:
        sk.error_queue = deque()
    if len(sk.error_queue) >= MAX_REPORTS:
        sk.sk_drops += 1
        return
    sk.error_queue.append(report)
    sk.wake(EPOLLERR)


def receive(sk: InetSock, n: int) -> Message:
    """The oldest report; EAGAIN.  A later ICMP error becomes the socket's pending one."""
    queue = sk.error_queue
    if not queue:
        raise NoWaiting
    report = queue.popleft()
    if queue and queue[0].is_icmp:
        sk.sk_err = queue[0].number
    elif report.is_icmp:
        sk.sk_err = 0
    if not queue:
        sk.error_queue = None
    flags = MSG_ERRQUEUE | (MSG_TRUNC if n < len(report.data) else 0)
    address = to_user(sk.family, report.daddr, report.dport) if report.daddr else None
    control = (*report.control, _control(sk, report))
    return Message(report.data[:n], address, control, flags, len(report.data))


def _control(sk: InetSock, report: ErrorReport) -> Cmsg:
    """The extended error and the offender's address, none for a local error."""
    error = _EXTENDED_ERR.pack(
        report.number, report.origin, report.type, report.code, 0, report.info, report.key
    )
    offender = report.offender
    if sk.family == so.AF_INET:
        family = so.AF_INET if offender else so.AF_UNSPEC
        return so.IPPROTO_IP, IP_RECVERR, error + _SOCKADDR_IN.pack(family, offender or bytes(4))
    family = so.AF_INET6 if offender else so.AF_UNSPEC
    ip = V4MAPPED + offender if len(offender) == 4 else offender or bytes(16)
    return so.IPPROTO_IPV6, IPV6_RECVERR, error + _SOCKADDR_IN6.pack(family, 0, ip, 0)
