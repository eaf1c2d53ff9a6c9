"""Raw sockets (`raw(7)`, `net/ipv4/raw.c`, `net/ipv6/raw.c`).

Every packet for this host is shown to them before its protocol's handler, and goes on to that.
"""

from __future__ import annotations

import errno
import socket as so
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pystack.core.checksum import checksum, ones_sum
from pystack.core.drop import Drop
from pystack.core.headers.ipv4 import IP_HLEN, Ipv4Header
from pystack.core.headers.ipv6 import IPV6_HLEN, Ipv6Header
from pystack.core.kernel import Kernel
from pystack.core.skb import CHECKSUM_NONE, SkBuff
from pystack.net import ip6_output
from pystack.net.ipv4 import Ipv4
from pystack.net.ipv6 import Ipv6
from pystack.transport import control as ctl
from pystack.transport import icmperr, mcast, sockopt
from pystack.transport.flow import Flow, check_length, find
from pystack.transport.inetaddr import overlap
from pystack.transport.inetdgram import InetDatagramSock
from pystack.transport.inetsock import HDRINCL
from pystack.transport.sock import MSG_OOB, Address, Cmsg, os_error

if TYPE_CHECKING:
    from pystack.net.inet import Inet

SOL_RAW = 255
_ICMPS = so.IPPROTO_ICMP, so.IPPROTO_ICMPV6
_ICMP_FILTER = SOL_RAW, 1, so.IPPROTO_ICMP  # level, option, protocol
_ICMP6_FILTER = so.IPPROTO_ICMPV6, 1, so.IPPROTO_ICMPV6


class Raw:
    """The raw sockets of one network namespace, by protocol."""

    def __init__(self, kernel: Kernel, ipv4: Ipv4, ipv6: Ipv6) -> None:
        self.kernel = kernel
        self.inets: dict[int, Inet] = {4: ipv4, 16: ipv6}
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.sockets: dict[int, list[RawSock]] = {}
        ipv4.raw_error = partial(self.error, ipv4)

    def socket(self, family: int, protocol: int) -> RawSock:
        sk = RawSock(self, family, protocol)
        self.sockets.setdefault(protocol, []).append(sk)
        self.ipv4.raw_deliver = self.ipv6.raw_deliver = self.deliver
        return sk

    def alive(self) -> int:
        return sum(map(len, self.sockets.values()))

    def forget(self, sk: RawSock) -> None:
        same = self.sockets[sk.protocol]
        same.remove(sk)
        if not same:
            del self.sockets[sk.protocol]
        if not self.sockets:
            self.ipv4.raw_deliver = self.ipv6.raw_deliver = None

    def deliver(self, skb: SkBuff) -> bool:
        """A copy for each socket that wants the packet; whether any did (`raw_v4_input`)."""
        found = False
        for sk in self.sockets.get(skb.protocol, ()):
            if sk.matches(skb.daddr, skb.saddr, skb.dev.ifindex):
                found = True
                if not sk.filters_out(skb):
                    sk.receive(skb.clone())
        return found

    def error(self, inet: Inet, icmp_type: int, code: int, info: int, skb: SkBuff) -> None:
        """An ICMP error, `skb.off` at the quoted IP header (`raw_err`)."""
        ifindex = 0 if skb.dev is None else skb.dev.ifindex
        for sk in self.sockets.get(skb.protocol, ()):
            if sk.matches(skb.saddr, skb.daddr, ifindex):
                header = 0 if sk.inet_flags & HDRINCL else (skb.buf[skb.off] & 15) << 2
                icmperr.deliver(sk, inet, icmp_type, code, info, skb, 0, header)


class RawSock(InetDatagramSock):
    """`lport` is the protocol, as getsockname shows it.  `checksum_offset`: where the kernel fills
    in an IPv6 payload's checksum, None for nowhere.  `filter`: types of ICMP not wanted, a bit
    each."""

    __slots__ = ("checksum_offset", "filter", "raw")
    rcvbuf_full = Drop.RAW_RCVBUF_FULL

    def __init__(self, raw: Raw, family: int, protocol: int) -> None:
        super().__init__(raw.kernel, raw.inets, family, so.SOCK_RAW, protocol)
        self.raw = raw
        self.v6only = family == so.AF_INET6
        self.lport = protocol
        self.filter = 0
        icmpv6 = family == so.AF_INET6 and protocol == so.IPPROTO_ICMPV6
        self.checksum_offset = 2 if icmpv6 else None
        if protocol == so.IPPROTO_RAW:
            self.inet_flags |= HDRINCL

    def init(self) -> None:
        if self.sk_uid != 0:
            raise os_error(errno.EPERM)

    # -- receive ---------------------------------------------------------------------------

    def matches(self, ours: bytes, theirs: bytes, ifindex: int) -> bool:
        """Is a packet between these addresses for this socket? (`raw_v4_match`)"""
        return (
            len(ours) == len(self.inet.any_address)
            and overlap(self.rcv_saddr, True, ours, True)
            and (not self.has_peer or self.raddr == theirs)
            and self.sk_bound_dev_if in (0, ifindex)
            and (not mcast.is_multicast(ours) or mcast.allows(self, ours, theirs, ifindex))
        )

    def filters_out(self, skb: SkBuff) -> bool:
        """By ICMP_FILTER or ICMP6_FILTER."""
        return (
            self.protocol in _ICMPS
            and skb.off < skb.end
            and bool(self.filter >> skb.buf[skb.off] & 1)
        )

    def receive(self, skb: SkBuff) -> None:
        """An IPv4 packet begins with its header, one of IPv6 behind it."""
        if len(skb.daddr) == 4:
            skb.off = skb.network_header
        elif self.checksum_offset is not None and skb.ip_summed == CHECKSUM_NONE:
            start = self.inet.pseudo_sum(skb.saddr, skb.daddr, self.protocol, len(skb))
            if ones_sum(skb.data, start) != 0xFFFF:
                self.sk_drops += 1
                self.kernel.drop(skb, Drop.RAW_BAD_CHECKSUM)
                return
        self.queue_rcv(skb)

    # -- send ------------------------------------------------------------------------------

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """One packet's payload, or with IP_HDRINCL the packet (`raw_sendmsg`)."""
        if len(data) > 0xFFFF:
            raise os_error(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        flow = find(self, self.target(address), ctl.sent(self, control))
        if self.inet_flags & HDRINCL and self.family == so.AF_INET:
            self._send_whole(flow, bytes(data))
        elif self.inet_flags & HDRINCL:
            self._send_whole6(flow, bytes(data))
        else:
            check_length(self, flow, len(data))
            self._send_payload(flow, bytes(data))
        return len(data)

    def _send_payload(self, flow: Flow, data: bytes) -> None:
        if self.protocol in _ICMPS and len(data) < 2:
            raise os_error(errno.EFAULT)  # Linux looks at type and code for its policies
        at = self.checksum_offset
        if at is not None:
            if at + 2 > len(data):
                raise os_error(errno.EINVAL)
            data = data[:at] + b"\0\0" + data[at + 2 :]
            start = flow.inet.pseudo_sum(flow.saddr, flow.daddr, self.protocol, len(data))
            value = checksum(data, start) or 0xFFFF
            data = data[:at] + value.to_bytes(2) + data[at + 2 :]
        self.check_can_send()
        self.transmit(flow, self.packet(data), self.protocol)

    def _send_whole(self, flow: Flow, data: bytes) -> None:
        """The user's header, of which the kernel fills in length, checksum, and a source or an
        identification of 0 (`raw_send_hdrinc`)."""
        mtu = min(flow.route.mtu, 0xFFFF)
        if len(data) > mtu:
            raise os_error(errno.EMSGSIZE)
        if len(data) < IP_HLEN:
            raise os_error(errno.EINVAL)
        hlen = (data[0] & 15) << 2
        if hlen > len(data) or hlen < IP_HLEN:
            raise os_error(errno.EINVAL)
        self.check_can_send()
        header = Ipv4Header.parse(data)
        fixed = bytearray(data[:hlen])
        fixed[2:4] = len(data).to_bytes(2)
        if not any(header.src):
            fixed[12:16] = flow.saddr
        if not header.identification:
            fixed[4:6] = self.kernel.rng.randrange(1, 1 << 16).to_bytes(2)
        fixed[10:12] = bytes(2)
        fixed[10:12] = checksum(bytes(fixed)).to_bytes(2)
        skb = self.packet(data[hlen:])
        skb.head = bytes(fixed)
        skb.saddr, skb.daddr = bytes(fixed[12:16]), header.dst
        skb.protocol, skb.dst = header.protocol, flow.route
        self.sent(self.raw.ipv4.output.ip_local_out(skb))

    def _send_whole6(self, flow: Flow, data: bytes) -> None:
        """The user's header as it is, whatever it says (`rawv6_send_hdrinc`)."""
        if len(data) > flow.route.dev.mtu:
            raise os_error(errno.EMSGSIZE)
        if len(data) < IPV6_HLEN:
            raise os_error(errno.EINVAL)
        self.check_can_send()
        header = Ipv6Header.parse(data)
        skb = self.packet(data[IPV6_HLEN:])
        skb.saddr, skb.daddr = header.src, header.dst
        self.sent(ip6_output.send(self.raw.ipv6, skb, flow.route, header, True))

    # -- the rest --------------------------------------------------------------------------

    def close(self) -> None:
        with self.lock:
            self.raw.forget(self)
            self.release()

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> bool:
        option = level, name, self.protocol
        if option == _ICMP_FILTER:
            data = value.to_bytes(4, "little") if isinstance(value, int) else value
            self.filter = int.from_bytes(data[:4], "little")
        elif option == _ICMP6_FILTER and isinstance(value, bytes):
            self.filter = int.from_bytes(value[:32], "little")
        elif level == so.IPPROTO_IPV6 and name == so.IPV6_CHECKSUM:
            self._set_checksum(sockopt.int_value(value))
        else:
            return False
        return True

    def _set_checksum(self, offset: int) -> None:
        """IPV6_CHECKSUM: an even offset, or -1 for none; ICMPv6's is the kernel's business."""
        if self.family != so.AF_INET6:
            raise os_error(errno.ENOPROTOOPT)
        if self.protocol == so.IPPROTO_ICMPV6 or (offset > 0 and offset & 1):
            raise os_error(errno.EINVAL)
        self.checksum_offset = None if offset < 0 else offset

    def get_protocol_option(self, level: int, name: int) -> int | bytes | None:
        option = level, name, self.protocol
        if option == _ICMP_FILTER:
            return self.filter.to_bytes(4, "little")
        if option == _ICMP6_FILTER:
            return self.filter.to_bytes(32, "little")
        if level == so.IPPROTO_IPV6 and name == so.IPV6_CHECKSUM and self.family == so.AF_INET6:
            return -1 if self.checksum_offset is None else self.checksum_offset
        return None
