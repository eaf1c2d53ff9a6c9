"""Control data of datagrams: what a socket has asked to be told, and what a sender asks for.

`ip_cmsg_recv`, `ip_cmsg_send` (`net/ipv4/ip_sockglue.c`), `ip6_datagram_recv_ctl` and
`ip6_datagram_send_ctl` (`net/ipv6/datagram.c`), `sock_recv_cmsgs` (`net/socket.c`).
"""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystack.core.kernel import EPOCH_NS
from pystack.transport.inetaddr import V4MAPPED
from pystack.transport.inetsock import (
    ORIGDSTADDR,
    PKTINFO,
    PKTINFO6,
    RECVHOPLIMIT,
    RECVTCLASS,
    RECVTOS,
    RECVTTL,
    InetSock,
)
from pystack.transport.ipopt import IP_PKTINFO, IP_RECVORIGDSTADDR
from pystack.transport.sock import Cmsg, os_error
from pystack.transport.sockopt import (
    SO_RXQ_OVFL,
    SO_TIMESTAMP,
    SO_TIMESTAMPING,
    SO_TIMESTAMPNS,
    SOCK_RCVTSTAMP,
    SOCK_RCVTSTAMPNS,
    SOCK_RXQ_OVFL,
    SOF_TIMESTAMPING_RAW_HARDWARE,
    SOF_TIMESTAMPING_SOFTWARE,
)

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff

NS = 1_000_000_000
SOF_TIMESTAMPING_TX_RECORD = 0x303  # TX_HARDWARE, TX_SOFTWARE, TX_SCHED, TX_ACK
UDP_SEGMENT = 103
_INT = struct.Struct("=i")
_IN_PKTINFO = struct.Struct("=i4s4s")
_IN6_PKTINFO = struct.Struct("=16sI")
_SOCKADDR_IN = struct.Struct("=H2s4s8x")
_TIME = struct.Struct("=qq")
_TIMESTAMPING = struct.Struct("=6q")
_ASKED = PKTINFO | RECVTTL | RECVTOS | ORIGDSTADDR
_ASKED6 = PKTINFO6 | RECVHOPLIMIT | RECVTCLASS


# -- received ------------------------------------------------------------------------------


def received(sk: InetSock, skb: SkBuff) -> tuple[Cmsg, ...]:
    """What `sk` wants to know of `skb`, which is still as the network layer left it."""
    flags = sk.inet_flags
    if not (flags & (_ASKED | _ASKED6) or sk.sk_flags & (SOCK_RCVTSTAMP | SOCK_RXQ_OVFL)):
        return tuple(_timestamping(sk, skb)) if sk.sk_tsflags else ()
    control = [*_times(sk, skb), *_timestamping(sk, skb)]
    if sk.sk_flags & SOCK_RXQ_OVFL and sk.sk_drops:
        control.append((so.SOL_SOCKET, SO_RXQ_OVFL, sk.sk_drops.to_bytes(4, "little")))
    if len(skb.daddr) == 4:
        control += _ipv4(sk, skb, flags)
    if sk.family == so.AF_INET6:
        control += _ipv6(sk, skb, flags)
    return tuple(control)


def _times(sk: InetSock, skb: SkBuff) -> Iterator[Cmsg]:
    seconds, ns = divmod(skb.tstamp + EPOCH_NS, NS)
    if sk.sk_flags & SOCK_RCVTSTAMPNS:
        yield so.SOL_SOCKET, SO_TIMESTAMPNS, _TIME.pack(seconds, ns)
    elif sk.sk_flags & SOCK_RCVTSTAMP:
        yield so.SOL_SOCKET, SO_TIMESTAMP, _TIME.pack(seconds, ns // 1000)


def _timestamping(sk: InetSock, skb: SkBuff) -> Iterator[Cmsg]:
    """struct scm_timestamping: software, legacy, raw hardware."""
    software = sk.sk_tsflags & SOF_TIMESTAMPING_SOFTWARE and skb.tstamp
    hardware = sk.sk_tsflags & SOF_TIMESTAMPING_RAW_HARDWARE and skb.hwtstamp
    if software or hardware:
        stamps = [0] * 6
        if software:
            stamps[0:2] = divmod(skb.tstamp + EPOCH_NS, NS)
        if hardware:
            stamps[4:6] = divmod(skb.hwtstamp, NS)
        yield so.SOL_SOCKET, SO_TIMESTAMPING, _TIMESTAMPING.pack(*stamps)


def _ipv4(sk: InetSock, skb: SkBuff, flags: int) -> Iterator[Cmsg]:
    header = skb.buf[skb.network_header : skb.network_header + 20]
    if flags & PKTINFO and sk.family == so.AF_INET:
        local = skb.daddr if sk.inet.is_local(skb.daddr) else sk.inet.route(skb.saddr).saddr
        info = _IN_PKTINFO.pack(skb.dev.ifindex, local, skb.daddr)
        yield so.IPPROTO_IP, IP_PKTINFO, info
    if flags & RECVTTL:
        yield so.IPPROTO_IP, so.IP_TTL, _INT.pack(header[8])
    if flags & RECVTOS:
        yield so.IPPROTO_IP, so.IP_TOS, bytes(header[1:2])
    if flags & ORIGDSTADDR:
        port = bytes(skb.buf[skb.transport_header + 2 : skb.transport_header + 4])
        address = _SOCKADDR_IN.pack(so.AF_INET, port, skb.daddr)
        yield so.IPPROTO_IP, IP_RECVORIGDSTADDR, address


def _ipv6(sk: InetSock, skb: SkBuff, flags: int) -> Iterator[Cmsg]:
    """For a packet of IPv4 only the addresses, in IPv6's form."""
    mapped = len(skb.daddr) == 4
    if flags & PKTINFO6:
        ip = V4MAPPED + skb.daddr if mapped else skb.daddr
        yield so.IPPROTO_IPV6, so.IPV6_PKTINFO, _IN6_PKTINFO.pack(ip, skb.dev.ifindex)
    if mapped:
        return
    header = skb.buf[skb.network_header : skb.network_header + 8]
    if flags & RECVHOPLIMIT:
        yield so.IPPROTO_IPV6, so.IPV6_HOPLIMIT, _INT.pack(header[7])
    if flags & RECVTCLASS:
        tclass = int.from_bytes(header[:2]) >> 4 & 0xFF
        yield so.IPPROTO_IPV6, so.IPV6_TCLASS, _INT.pack(tclass)


# -- sent ----------------------------------------------------------------------------------


@dataclass(slots=True)
class SendControl:
    """`struct ipcm_cookie`: what holds for one datagram; None as the socket has it."""

    saddr: bytes = b""
    oif: int = 0
    ttl: int | None = None
    tos: int | None = None
    mark: int | None = None
    tsflags: int | None = None
    gso_size: int | None = None


NOTHING = SendControl()


def sent(sk: InetSock, control: Sequence[Cmsg]) -> SendControl:
    """EINVAL for what is malformed or unknown at these levels; other levels are passed over."""
    if not control:
        return NOTHING
    cookie = SendControl()
    for level, type_, data in control:
        if level == so.SOL_SOCKET:
            _socket_control(sk, cookie, type_, data)
        elif level == so.IPPROTO_IP:
            _ipv4_control(cookie, type_, data)
        elif level == so.IPPROTO_UDP and sk.protocol == so.IPPROTO_UDP:
            cookie.gso_size = _gso_size(type_, data)
        elif level == so.IPPROTO_IPV6 and sk.family == so.AF_INET6:
            _ipv6_control(cookie, type_, data)
    return cookie


def _gso_size(type_: int, data: bytes) -> int:
    """`__udp_cmsg_send`"""
    if type_ != UDP_SEGMENT or len(data) != 2:
        raise os_error(errno.EINVAL)
    return int.from_bytes(data, "little")


def _number(data: bytes) -> int:
    if len(data) != _INT.size:
        raise os_error(errno.EINVAL)
    return int(_INT.unpack(data)[0])


def _within(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise os_error(errno.EINVAL)
    return value


def _socket_control(sk: InetSock, cookie: SendControl, type_: int, data: bytes) -> None:
    """`__sock_cmsg_send`."""
    if type_ == so.SO_MARK:
        if sk.sk_uid != 0:
            raise os_error(errno.EPERM)
        cookie.mark = _number(data) & 0xFFFFFFFF
    elif type_ == SO_TIMESTAMPING:
        cookie.tsflags = _number(data)
        if cookie.tsflags & ~SOF_TIMESTAMPING_TX_RECORD:
            raise os_error(errno.EINVAL)
    elif type_ == so.SO_PRIORITY:
        _number(data)  # no queueing discipline here tells packets of one socket apart
    elif type_ not in (so.SCM_RIGHTS, so.SCM_CREDENTIALS):
        raise os_error(errno.EINVAL)


def _ipv4_control(cookie: SendControl, type_: int, data: bytes) -> None:
    if type_ == IP_PKTINFO:
        if len(data) != _IN_PKTINFO.size:
            raise os_error(errno.EINVAL)
        index, source, _ = _IN_PKTINFO.unpack(data)
        cookie.oif = index or cookie.oif
        cookie.saddr = source if any(source) else b""
    elif type_ == so.IP_TTL:
        cookie.ttl = _within(_number(data), 1, 255)
    elif type_ == so.IP_TOS:
        cookie.tos = _within(data[0] if len(data) == 1 else _number(data), 0, 255)
    else:
        raise os_error(errno.EINVAL)


def _ipv6_control(cookie: SendControl, type_: int, data: bytes) -> None:
    if type_ == so.IPV6_PKTINFO:
        if len(data) < _IN6_PKTINFO.size:
            raise os_error(errno.EINVAL)
        source, index = _IN6_PKTINFO.unpack_from(data)
        cookie.oif = index or cookie.oif
        if source.startswith(V4MAPPED):
            source = source[12:]
        cookie.saddr = source if any(source) else b""
    elif type_ == so.IPV6_HOPLIMIT:
        value = _within(_number(data), -1, 255)
        cookie.ttl = None if value == -1 else value
    elif type_ == so.IPV6_TCLASS:
        value = _within(_number(data), -1, 255)
        cookie.tos = None if value == -1 else value
    else:
        raise os_error(errno.EINVAL)
