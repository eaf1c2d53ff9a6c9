"""IPv6 (RFC 8200) of one network namespace: its parts, its routes, and errors about its packets.

Transports call `send` (`ip6_output`) and `route`; Ethernet calls `receive` (`ip6_input`).
Addresses are `addrconf`'s, groups `mld`'s, neighbours `ndisc`'s, errors `icmp`'s.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable, Collection, Mapping
from socket import AF_INET6

from pystack.core.headers.ethernet import ETH_P_IPV6
from pystack.core.headers.icmpv6 import ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH
from pystack.core.headers.ipv4 import pseudo_header_sum
from pystack.core.headers.ipv6 import (
    ANY,
    IPV6_HLEN,
    LOOPBACK,
    Ipv6Header,
    is_multicast,
)
from pystack.core.skb import SkBuff
from pystack.dev.core import NetdevEvent
from pystack.dev.netdev import NetDevice
from pystack.link.ethernet import Ethernet
from pystack.net import exthdrs, ip6_input, ip6_output
from pystack.net.addrconf import Addrconf
from pystack.net.fib import os_error
from pystack.net.hooks import Hooks
from pystack.net.icmperrors import icmpv6_error
from pystack.net.icmpv6 import Icmpv6
from pystack.net.inet import ErrorHandler
from pystack.net.mld import Mld
from pystack.net.ndisc import Ndisc
from pystack.net.reassembly6 import Reassembly
from pystack.net.route import Route
from pystack.net.route6 import Routing6
from pystack.net.source_filter import MCAST_EXCLUDE, Change


class Ipv6:
    family = AF_INET6
    any_address = ANY
    loopback_address = LOOPBACK
    header_length = IPV6_HLEN
    icmp_error = staticmethod(icmpv6_error)
    pseudo_sum = staticmethod(pseudo_header_sum)

    def __init__(self, ethernet: Ethernet, loopback: NetDevice) -> None:
        self.ethernet = ethernet
        self.kernel = ethernet.kernel
        self.loopback = loopback
        self.routing = Routing6(self)
        self.route = self.routing.route
        self.update_pmtu = self.routing.update_pmtu
        self.add_route = self.routing.add_route
        self.del_route = self.routing.del_route
        self.set_route_metrics = self.routing.set_route_metrics
        self.hooks = Hooks()
        self.handlers: dict[int, Callable[[SkBuff], None]] = {}
        self.raw_deliver: Callable[[SkBuff], bool] | None = None  # as Ipv4's
        self._error_handlers: dict[int, ErrorHandler] = {}
        self.tp_rcv = self.kernel.trace.point("ipv6_rcv", "packet_id", "length")
        self.reassembly = Reassembly(self)
        self.icmp = Icmpv6(self)
        self.icmp_send: Callable[[SkBuff, int, int, int], None] = self.icmp.send_error
        self.mld = Mld(self)
        self.ndisc = Ndisc(self)
        self.addrconf = Addrconf(self)
        core = ethernet.core
        core.notifiers.append(self._netdev_event)
        for dev in core.devices.values():
            self.kernel.sysctl.add_device("net.ipv6.conf", dev.name)
            self.kernel.sysctl.add_device("net.ipv6.neigh", dev.name)
        self.addrconf.add(loopback, LOOPBACK, 128, dad=False)
        ethernet.register(ETH_P_IPV6, self.receive)

    def receive(self, skb: SkBuff) -> None:
        """From Ethernet, `skb.off` at the IPv6 header; owns the packet."""
        ip6_input.receive(self, skb)

    # -- configuration ---------------------------------------------------------------------

    def up(self, dev: NetDevice) -> None:
        """Speak IPv6 on `dev`, which is up: a link-local address, and the search for routers."""
        self.addrconf.up(dev)

    def _netdev_event(self, event: NetdevEvent, dev: NetDevice) -> None:
        """A device that goes down loses addresses, routes and neighbours (`addrconf_ifdown`)."""
        if event is NetdevEvent.REGISTER:
            self.kernel.sysctl.add_device("net.ipv6.conf", dev.name)
            self.kernel.sysctl.add_device("net.ipv6.neigh", dev.name)
        elif event is NetdevEvent.DOWN:
            self.addrconf.down(dev)
            self.ndisc.flush(dev)
            self.routing.remove_routes(lambda entry: entry.dev is dev)

    def add_address(self, dev: NetDevice, interface: str, *, nodad: bool = False) -> None:
        """`ip addr add fd00::1/64 dev eth0 [nodad]`, with the route to its prefix; EEXIST.

        It is tentative, and cannot be used, until nobody has claimed it for a while.
        """
        address = ipaddress.IPv6Interface(interface)
        self.addrconf.up(dev)
        self.addrconf.add(dev, address.ip.packed, address.network.prefixlen, dad=not nodad)

    def del_address(self, dev: NetDevice, address: str) -> None:
        """EADDRNOTAVAIL if it is not there."""
        found = self.addrconf.find(ipaddress.IPv6Address(address).packed, dev)
        if found is None:
            raise os_error(errno.EADDRNOTAVAIL)
        self.addrconf.remove(found)

    def register(self, protocol: int, receive: Callable[[SkBuff], None]) -> None:
        """`receive(skb)` owns the packet; `skb.off` is at the transport header."""
        self.handlers[protocol] = receive

    def register_error(self, protocol: int, handler: ErrorHandler) -> None:
        self._error_handlers[protocol] = handler

    @property
    def forwarding(self) -> bool:
        return bool(self.kernel.sysctl["net.ipv6.conf.all.forwarding"])

    @property
    def devices(self) -> Mapping[str, NetDevice]:
        return self.ethernet.core.devices

    # -- what addresses mean ---------------------------------------------------------------

    def is_local(self, addr: bytes) -> bool:
        """Ours, and not tentative."""
        return self.addrconf.usable(addr) is not None

    def is_unicast(self, addr: bytes) -> bool:
        return not is_multicast(addr)

    def address_type(self, addr: bytes, dev: NetDevice | None = None) -> str:
        """For `-m addrtype`: LOCAL, UNICAST, MULTICAST, UNSPEC."""
        if not any(addr):
            return "UNSPEC"
        if is_multicast(addr):
            return "MULTICAST"
        return "LOCAL" if self.addrconf.usable(addr, dev) is not None else "UNICAST"

    def select_address(self, dev: NetDevice, daddr: bytes) -> bytes:
        """The address of `dev` for talking to `daddr`; empty if it has none."""
        return self.addrconf.source_for(dev, daddr) or b""

    def defragment(self, skb: SkBuff) -> SkBuff | None:
        """For netfilter's hook PRE_ROUTING: a packet, put together first if it is a fragment."""
        return self.reassembly.defragment(skb)

    def device_of(self, addr: bytes) -> NetDevice | None:
        found = self.addrconf.find(addr)
        return None if found is None else found.dev

    def join(self, dev: NetDevice, group: bytes, mode: int = MCAST_EXCLUDE) -> None:
        self.mld.join(dev, group, mode)

    def leave(
        self,
        dev: NetDevice,
        group: bytes,
        mode: int = MCAST_EXCLUDE,
        sources: Collection[bytes] = (),
    ) -> None:
        self.mld.leave(dev, group, mode, sources)

    def change_filter(self, dev: NetDevice, group: bytes, change: Change) -> None:
        self.mld.change_filter(dev, group, change)

    def port_unreachable(self, skb: SkBuff) -> None:
        """Nobody wants a received packet; does not free it."""
        self.icmp.send_error(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0)

    def confirm_neigh(self, route: Route, daddr: bytes) -> None:
        """A transport made progress on the way to `daddr`: its next hop is reachable."""
        self.ndisc.confirm(route.dev, route.gateway or daddr)

    def default_ttl(self, route: Route | None = None) -> int:
        """The hop limit of a route, else what the link's router said, else the setting."""
        if route is None:
            return self.kernel.sysctl["net.ipv6.conf.default.hop_limit"]
        learnt = self.addrconf.hop_limit(route.dev)
        return route.metrics.get("hoplimit") or learnt

    # -- errors about what we sent ---------------------------------------------------------

    def receive_error(self, icmp_type: int, code: int, info: int, skb: SkBuff) -> None:
        """An ICMPv6 error; `skb.off` is at the quoted IPv6 header.  Does not free `skb`."""
        if len(skb) < IPV6_HLEN:
            return
        header = Ipv6Header.parse(skb.buf, skb.off)
        found = exthdrs.upper_protocol(skb.buf, skb.off, skb.end)
        if not self.is_local(header.src) or found is None:
            return
        protocol, at = found
        handler = self._error_handlers.get(protocol)
        if handler is not None and skb.end - at >= 8:
            skb.saddr, skb.daddr = header.src, header.dst
            skb.pull(at - skb.off)
            handler(icmp_type, code, info, skb)

    def first_identification(self) -> int:
        """Only fragments have one."""
        return 0

    # -- send ------------------------------------------------------------------------------

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
        identification: int | None = None,
        flow_label: int = 0,
    ) -> int:
        """Send a transport packet; takes ownership.  0, or an errno, as `Inet.send`.

        Longer than the MTU it is cut into fragments, or dropped with `dont_fragment`.
        """
        hop_limit = self.default_ttl(route) if ttl is None else ttl
        skb.saddr, skb.daddr = saddr, daddr
        header = Ipv6Header(len(skb), protocol, saddr, daddr, hop_limit, tos, flow_label)
        return ip6_output.send(self, skb, route, header, dont_fragment)
