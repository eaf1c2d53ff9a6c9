"""Sending: the datagram, whole or put together under a cork (`udp_sendmsg`, `udp_send_skb`).

Called by `UdpSock`; calls the network layer's `send`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from socket import AF_INET
from typing import TYPE_CHECKING

from pystack.core.checksum import ones_sum
from pystack.core.headers.ipv4 import IPPROTO_UDP
from pystack.core.headers.udp import UDP_HLEN, UDP_MAX, UdpHeader
from pystack.core.skb import CHECKSUM_PARTIAL
from pystack.transport import control as ctl
from pystack.transport import flow as flowmod
from pystack.transport.flow import Flow
from pystack.transport.inetaddr import Endpoint
from pystack.transport.sock import MSG_MORE, MSG_OOB, Address, Cmsg, os_error
from pystack.transport.sockopt import SOCK_NO_CHECK

if TYPE_CHECKING:
    from pystack.transport.udp.sock import UdpSock


UDP_MAX_SEGMENTS = 128


class Cork:
    """A datagram in the making; its first piece has fixed where it goes."""

    __slots__ = ("flow", "gso_size", "length", "pieces")

    def __init__(self, flow: Flow, gso_size: int) -> None:
        self.flow = flow
        self.gso_size = gso_size
        self.pieces: list[bytes] = []
        self.length = 0

    def needs_packet(self, length: int) -> bool:
        """So many bytes more do not fit into the packet begun (`__ip_append_data`)."""
        most = self.flow.fits
        begun = UDP_HLEN + self.length
        return not self.pieces or (begun + length - 1) // most > (begun - 1) // most


def sendmsg(
    sk: UdpSock, data: memoryview, flags: int, address: Address | None, control: Sequence[Cmsg]
) -> int:
    """One datagram, or a piece of one; never waits.  All of it is taken."""
    sk.autobind()
    length = len(data)
    if length > UDP_MAX:
        raise os_error(errno.EMSGSIZE)
    if flags & MSG_OOB and _over_ipv4(sk, address):
        raise os_error(errno.EOPNOTSUPP)
    more = sk.corked or bool(flags & MSG_MORE)
    if more or sk.pending is not None:
        with sk.lock:
            _append(sk, data, address, control, more)
        return length
    cookie = ctl.sent(sk, control)
    flow = flowmod.find(sk, _target(sk, address), cookie)
    flowmod.check_length(sk, flow, UDP_HLEN + length)
    sk.check_can_send()
    _transmit_segments(sk, flow, bytes(data), _gso_size(sk, cookie))
    return length


def _gso_size(sk: UdpSock, cookie: ctl.SendControl) -> int:
    return sk.gso_size if cookie.gso_size is None else cookie.gso_size


def _mapped(sk: UdpSock, address: Address | None) -> bool:
    return address is not None and sk.target(address).inet.family == AF_INET


def _over_ipv4(sk: UdpSock, address: Address | None) -> bool:
    """IPv6's sendmsg takes no notice of MSG_OOB."""
    return sk.family == AF_INET or sk.target(address).inet.family == AF_INET


def _target(sk: UdpSock, address: Address | None) -> Endpoint:
    """EDESTADDRREQ without an address or peer, EINVAL for port 0."""
    target = sk.target(address)
    if not target.port:
        raise os_error(errno.EINVAL)
    return target


# -- corking -------------------------------------------------------------------------------


def _append(
    sk: UdpSock,
    data: memoryview,
    address: Address | None,
    control: Sequence[Cmsg],
    more: bool,
) -> None:
    """The first piece chooses the way; what goes wrong with a later one loses them all."""
    cork = sk.pending
    if cork is not None and cork.flow.inet.family != AF_INET and _mapped(sk, address):
        raise os_error(errno.EINVAL)
    if cork is None:
        cookie = ctl.sent(sk, control)
        cork = Cork(flowmod.find(sk, _target(sk, address), cookie), _gso_size(sk, cookie))
    try:
        flowmod.check_length(sk, cork.flow, UDP_HLEN + cork.length + len(data))
        if cork.needs_packet(len(data)):
            sk.check_can_send()
    except BlockingIOError:
        raise
    except OSError:
        sk.pending = None
        raise
    cork.pieces.append(bytes(data))
    cork.length += len(data)
    sk.pending = cork
    if not more:
        push(sk)


def push(sk: UdpSock) -> None:
    """The cork is out: send what there is (`udp_push_pending_frames`)."""
    cork, sk.pending = sk.pending, None
    if cork is not None:
        _transmit_segments(sk, cork.flow, b"".join(cork.pieces), cork.gso_size)


def _transmit_segments(sk: UdpSock, flow: Flow, data: bytes, gso_size: int) -> None:
    """UDP_SEGMENT: a datagram for each `gso_size` bytes.  EMSGSIZE if one would be fragmented,
    EINVAL for too many."""
    if gso_size:
        if UDP_HLEN + min(len(data), gso_size) > flow.fits:
            raise os_error(errno.EMSGSIZE)
        if len(data) > gso_size * UDP_MAX_SEGMENTS or sk.sk_flags & SOCK_NO_CHECK:
            raise os_error(errno.EINVAL)
    for start in range(0, len(data) or 1, gso_size or UDP_MAX + 1):
        _transmit(sk, flow, data[start : start + gso_size] if gso_size else data)


# -- one datagram --------------------------------------------------------------------------


def _transmit(sk: UdpSock, flow: Flow, data: bytes) -> None:
    """Header, checksum, and off (`udp_send_skb`); ENOBUFS if a queue is full and errors are
    asked for, EPERM if netfilter drops it."""
    kernel = sk.kernel
    kernel.charge(kernel.costs.udp_packet)
    skb = sk.packet(data)
    length = UDP_HLEN + len(data)
    header = UdpHeader(sk.lport, flow.dport, length)
    if _left_to_device(sk, flow, length):
        pseudo = flow.inet.pseudo_sum(flow.saddr, flow.daddr, IPPROTO_UDP, length)
        skb.ip_summed, skb.csum_length, skb.csum_offset = CHECKSUM_PARTIAL, length, 6
        skb.push(header._replace(checksum=ones_sum(b"", pseudo)).pack())
    else:
        skb.push(header._replace(checksum=_checksum(sk, flow, header, data)).pack())
    if sk.udp.tp_send.enabled:
        sk.udp.tp_send(skb.packet_id, length)
    mib = "Udp" if flow.inet.family == AF_INET else "Udp6"
    sent = sk.transmit(flow, skb, IPPROTO_UDP)
    kernel.mib[mib + ("OutDatagrams" if sent else "SndbufErrors")] += 1


def _left_to_device(sk: UdpSock, flow: Flow, length: int) -> bool:
    """Can the device make the checksum?  Not that of a datagram which leaves in pieces."""
    v4 = flow.inet.family == AF_INET
    none = sk.sk_flags & SOCK_NO_CHECK if v4 else sk.no_check6_tx
    return flow.route.dev.features["tx"] and not none and length <= flow.fits


def _checksum(sk: UdpSock, flow: Flow, header: UdpHeader, data: bytes) -> int:
    """A sum of 0 is sent as all ones: 0 says that there is none."""
    v4 = flow.inet.family == AF_INET
    if sk.sk_flags & SOCK_NO_CHECK if v4 else sk.no_check6_tx:
        return 0
    start = flow.inet.pseudo_sum(flow.saddr, flow.daddr, IPPROTO_UDP, header.length)
    start += header.sport + header.dport + header.length
    return 0xFFFF - ones_sum(data, start) or 0xFFFF
