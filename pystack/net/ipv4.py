"""IPv4 (RFC 791, RFC 1122 section 3): local delivery and sending.

Called by Ethernet for received packets; calls the transport registered for the protocol.  On the
way out transports call `send`, which calls ARP.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Callable, Mapping
from socket import AF_INET

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_P_IP
from pystack.core.headers.ipv4 import (
    ECN_MASK,
    IP_DF,
    IP_HLEN,
    IP_MF,
    IP_OFFSET_MASK,
    Ipv4Header,
    pack_header,
    pseudo_header_sum,
)
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.link.arp import Arp
from pystack.link.ethernet import Ethernet
from pystack.net.icmperrors import icmp_error
from pystack.net.inet import ErrorHandler
from pystack.net.route import Fib, FibEntry, Route

BROADCAST = b"\xff" * 4
_ECN_COUNTERS = ("IpExtInNoECTPkts", "IpExtInECT1Pkts", "IpExtInECT0Pkts", "IpExtInCEPkts")


class Ipv4:
    family = AF_INET
    any_address = bytes(4)
    loopback_address = b"\x7f\0\0\x01"
    header_length = IP_HLEN
    icmp_error = staticmethod(icmp_error)
    pseudo_sum = staticmethod(pseudo_header_sum)

    def __init__(self, ethernet: Ethernet, arp: Arp, loopback: NetDevice) -> None:
        self.ethernet = ethernet
        self.arp = arp
        self.kernel = ethernet.kernel
        self.loopback = loopback
        self.fib = Fib()
        self.addresses: dict[bytes, ipaddress.IPv4Interface] = {}
        self._address_dev: dict[bytes, NetDevice] = {}
        self._broadcasts: set[bytes] = {BROADCAST}
        self._handlers: dict[int, Callable[[SkBuff], None]] = {}
        self._error_handlers: dict[int, ErrorHandler] = {}
        self._pmtu: dict[bytes, int] = {}
        self._identification = self.kernel.rng.randrange(1 << 16)
        self.protocol_unreachable: Callable[[SkBuff], None] = lambda skb: None
        self._tp_rcv = self.kernel.trace.point("ip_rcv", "packet_id", "length")
        arp.is_local = lambda dev, ip: ip in self.addresses
        arp.source_for = self._arp_source
        ethernet.register(ETH_P_IP, self.receive)

    # -- configuration ---------------------------------------------------------------------

    def add_address(self, dev: NetDevice, interface: str) -> None:
        """`ip addr add 10.0.0.1/24 dev eth0`, with the route to its subnet."""
        address = ipaddress.IPv4Interface(interface)
        packed = address.ip.packed
        if packed in self.addresses:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        self.addresses[packed] = address
        self._address_dev[packed] = dev
        self._broadcasts.add(address.network.broadcast_address.packed)
        self.fib.add(FibEntry(address.network, dev, b"", packed, 0))

    def add_route(self, prefix: str, gateway: str, metric: int = 0) -> None:
        """`ip route add PREFIX via GATEWAY`; OSError(ENETUNREACH) if the gateway has no link."""
        via = ipaddress.IPv4Address(gateway).packed
        link = self.fib.lookup(via)
        network = ipaddress.IPv4Network("0.0.0.0/0" if prefix == "default" else prefix)
        self.fib.add(FibEntry(network, link.dev, via, link.saddr, metric))

    def set_route_metrics(self, prefix: str, **metrics: int) -> None:
        """`ip route change PREFIX ... initcwnd 20`, for routes looked up from now on.

        OSError(ENETUNREACH) if there is no route to the prefix.
        """
        network = ipaddress.IPv4Network("0.0.0.0/0" if prefix == "default" else prefix)
        entry = next((e for e in self.fib.entries if e.network == network), None)
        if entry is None:
            link = self.fib.lookup(network.network_address.packed)
            entry = FibEntry(network, link.dev, link.gateway, link.saddr, 0)
            self.fib.add(entry)
        entry.metrics.update(metrics)

    def register(self, protocol: int, receive: Callable[[SkBuff], None]) -> None:
        """`receive(skb)` owns the packet; `skb.off` is at the transport header."""
        self._handlers[protocol] = receive

    def register_error(self, protocol: int, handler: ErrorHandler) -> None:
        """`handler(icmp_type, code, mtu, skb)` hears of ICMP errors about our own packets."""
        self._error_handlers[protocol] = handler

    @property
    def devices(self) -> Mapping[str, NetDevice]:
        return self.ethernet.core.devices

    def is_local(self, addr: bytes) -> bool:
        return addr in self.addresses or addr[0] == 127

    def is_unicast(self, addr: bytes) -> bool:
        return addr not in self._broadcasts and not 224 <= addr[0] < 240

    def default_ttl(self, route: Route | None = None) -> int:
        return self.kernel.sysctl["net.ipv4.ip_default_ttl"]

    # -- receive ---------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> None:
        kernel, mib = self.kernel, self.kernel.mib
        kernel.charge(kernel.costs.ip_packet)
        mib["IpInReceives"] += 1
        mib["IpExtInOctets"] += skb.end - skb.off + skb.data_len
        mib[_ECN_COUNTERS[skb.headers[frame.TOS] & ECN_MASK]] += 1
        if self._tp_rcv.enabled:
            for part in skb.parts():
                self._tp_rcv(part.packet_id, len(part))
        reason = self._validate(skb)
        if reason is not None:
            kernel.drop(skb, reason)
            return
        handler = self._handlers.get(skb.protocol)
        mib["IpInDelivers"] += 1
        if handler is None:
            mib["IpInUnknownProtos"] += 1
            self.protocol_unreachable(skb)
            kernel.drop(skb, Drop.IP_UNKNOWN_PROTOCOL)
            return
        handler(skb)

    def _validate(self, skb: SkBuff) -> Drop | None:
        """RFC 1122, 3.2.1: header, checksum, length, addresses; advances `skb` if all is well."""
        off = skb.off
        length = skb.end - off
        if length < IP_HLEN:
            return Drop.IP_TOO_SHORT
        first, skb.tos, total, _, fragment, _, protocol, _, src, dst = skb.headers[frame.IPV4]
        hlen = (first & 15) << 2
        if first >> 4 != 4 or hlen < IP_HLEN:
            return Drop.IP_BAD_HEADER
        if length < total or length < hlen:
            return Drop.IP_TRUNCATED
        if total < hlen:
            return Drop.IP_BAD_HEADER
        if ones_sum(skb.buf[off : off + hlen]) != 0xFFFF:
            return Drop.IP_BAD_CHECKSUM
        if not self._source_valid(skb, src):
            return Drop.IP_BAD_SOURCE
        if dst not in self.addresses and not self.is_local(dst) and dst not in self._broadcasts:
            return Drop.IP_OTHER_ADDRESS
        if fragment & (IP_MF | IP_OFFSET_MASK):
            return Drop.IP_FRAGMENT
        skb.protocol = protocol
        skb.saddr, skb.daddr = src, dst
        skb.network_header = off
        skb.transport_header = skb.off = off + hlen
        skb.end = off + total
        return None

    def _source_valid(self, skb: SkBuff, src: bytes) -> bool:
        """No broadcast, multicast or loopback source, nor our own, from a link (RFC 1122)."""
        dev: NetDevice = skb.dev
        if dev.loopback:
            return True
        martian = src in self._broadcasts or src[0] in (0, 127) or src[0] >= 224
        return not martian and src not in self.addresses

    def is_unicast_to_us(self, skb: SkBuff) -> bool:
        """Neither broadcast nor multicast: an error about this packet may be answered."""
        return skb.daddr not in self._broadcasts

    # -- errors about what we sent ---------------------------------------------------------

    def receive_error(self, icmp_type: int, code: int, mtu: int, skb: SkBuff) -> None:
        """An ICMP error; `skb.off` is at the quoted IP header.  Does not free `skb`."""
        header = Ipv4Header.parse(skb.buf, skb.off)
        if header.src not in self.addresses:
            return
        if mtu:
            self._learn_mtu(header.dst, mtu)
        handler = self._error_handlers.get(header.protocol)
        if handler is not None:
            skb.saddr, skb.daddr = header.src, header.dst
            skb.pull(header.header_length)
            handler(icmp_type, code, mtu, skb)

    def _learn_mtu(self, daddr: bytes, mtu: int) -> None:
        """RFC 1191; never below Linux's min_pmtu of 552, never up."""
        if mtu < self.route(daddr).mtu:
            self._pmtu[daddr] = max(mtu, 552)

    # -- send ------------------------------------------------------------------------------

    def route(self, daddr: bytes, saddr: bytes = b"", *, oif: int = 0, mark: int = 0) -> Route:
        """The way to `daddr`; OSError(ENETUNREACH), or EINVAL for a source that is not ours.

        There is one table and no rules, so `mark` changes nothing.
        """
        if saddr == bytes(4):
            saddr = b""
        if saddr and not self.is_local(saddr):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if self.is_local(daddr):
            return Route(self.loopback, saddr or daddr, b"", self.loopback.mtu)
        entry = self.fib.lookup(daddr, oif)
        mtu = min(entry.metrics.get("mtu", entry.dev.mtu), entry.dev.mtu)
        mtu = min(mtu, self._pmtu.get(daddr, mtu))
        return Route(entry.dev, saddr or entry.saddr, entry.gateway, mtu, entry.metrics)

    def send(
        self,
        skb: SkBuff,
        route: Route,
        saddr: bytes,
        daddr: bytes,
        protocol: int,
        *,
        ttl: int | None = None,
        tos: int = 0,
        dont_fragment: bool = True,
    ) -> bool:
        """Send a transport packet; takes ownership.  Longer than the MTU is dropped here.

        False if the device's queue was full, so that the sender may wait a little.
        """
        kernel, mib = self.kernel, self.kernel.mib
        kernel.charge(kernel.costs.ip_packet)
        length = IP_HLEN + len(skb)
        mib["IpOutRequests"] += 1
        mib["IpExtOutOctets"] += length
        if length > route.mtu:
            kernel.drop(skb, Drop.IP_TOO_BIG)
            return True
        self._identification = (self._identification + 1) & 0xFFFF
        skb.push(
            pack_header(
                length,
                protocol,
                saddr,
                daddr,
                self.default_ttl() if ttl is None else ttl,
                self._identification,
                IP_DF if dont_fragment else 0,
                tos,
            )
        )
        skb.saddr, skb.daddr = saddr, daddr
        if route.dev.loopback:
            return self.ethernet.send(skb, route.dev, route.dev.mac, ETH_P_IP)
        if daddr in self._broadcasts:
            return self.ethernet.send(skb, route.dev, b"\xff" * 6, ETH_P_IP)
        return self.arp.send(skb, route.dev, route.gateway or daddr)

    def _arp_source(self, dev: NetDevice, target: bytes) -> bytes:
        """The sender address of an ARP request: ours in the target's subnet."""
        address = ipaddress.IPv4Address(target)
        candidates = [ip for ip, owner in self._address_dev.items() if owner is dev]
        for ip in candidates:
            if address in self.addresses[ip].network:
                return ip
        return candidates[0] if candidates else bytes(4)
