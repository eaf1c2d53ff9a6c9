"""IPv6 (RFC 8200) of one network namespace: its parts, its routes, and errors about its packets.

Transports call `send` (`ip6_output`) and `route`; Ethernet calls `receive` (`ip6_input`).
Addresses are `addrconf`'s, groups `mld`'s, neighbours `ndisc`'s, errors `icmp`'s.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable, Mapping
from socket import AF_INET6

from pystack.core.headers.ethernet import ETH_P_IPV6
from pystack.core.headers.icmpv6 import ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH
from pystack.core.headers.ipv4 import pseudo_header_sum
from pystack.core.headers.ipv6 import (
    ANY,
    IPV6_HLEN,
    IPV6_MIN_MTU,
    LOOPBACK,
    Ipv6Header,
    is_linklocal,
    is_multicast,
)
from pystack.core.skb import SkBuff
from pystack.dev.core import NetdevEvent
from pystack.dev.netdev import NetDevice
from pystack.link.ethernet import Ethernet
from pystack.net import exthdrs, ip6_input, ip6_output
from pystack.net.addrconf import Addrconf
from pystack.net.fib import ROUTE_ERRORS, Fib, FibEntry, Network, RouteType, os_error
from pystack.net.hooks import Hooks
from pystack.net.icmperrors import icmpv6_error
from pystack.net.icmpv6 import Icmpv6
from pystack.net.inet import ErrorHandler
from pystack.net.mld import Mld
from pystack.net.ndisc import Ndisc
from pystack.net.reassembly6 import Reassembly
from pystack.net.route import SECOND, PathMtu, Route

ROUTE_METRIC = 1024  # IP6_RT_PRIO_USER
_CACHED = 4096  # routes remembered


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
        self.fib = Fib(128)
        self.hooks = Hooks()
        self.handlers: dict[int, Callable[[SkBuff], None]] = {}
        self.raw_deliver: Callable[[SkBuff], bool] | None = None  # as Ipv4's
        self._error_handlers: dict[int, ErrorHandler] = {}
        self._paths: dict[bytes, PathMtu] = {}
        self._outputs: dict[tuple[bytes, bytes, int], Route] = {}
        self.tp_rcv = self.kernel.trace.point("ipv6_rcv", "packet_id", "length")
        self.fragments = Reassembly(self)
        self.icmp = Icmpv6(self)
        self.icmp_send: Callable[[SkBuff, int, int, int], None] = self.icmp.send_error
        self.mld = Mld(self)
        self.ndisc = Ndisc(self)
        self.addrconf = Addrconf(self)
        core = ethernet.core
        core.notifiers.append(self._netdev_event)
        for dev in core.devices.values():
            self.kernel.sysctl.add_device("net.ipv6.conf", dev.name)
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
        elif event is NetdevEvent.DOWN:
            self.addrconf.down(dev)
            self.ndisc.flush(dev)
            self.remove_routes(lambda entry: entry.dev is dev)

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

    def add_route(
        self,
        prefix: str,
        gateway: str = "",
        metric: int = ROUTE_METRIC,
        *,
        dev: NetDevice | None = None,
        kind: RouteType = RouteType.UNICAST,
    ) -> None:
        """`ip route add [KIND] PREFIX [via GATEWAY] [dev DEV] [metric METRIC]`.

        OSError: EHOSTUNREACH if the gateway is on no link of ours, EINVAL for a link-local one
        without `dev`, ENODEV, EEXIST.
        """
        via = ipaddress.IPv6Address(gateway).packed if gateway else b""
        if kind is not RouteType.UNICAST:
            dev = self.loopback
        elif dev is None and via:
            if is_linklocal(via):
                raise os_error(errno.EINVAL)
            link = self.fib.lookup(via)
            if link is None or link.gateway:
                raise os_error(errno.EHOSTUNREACH)
            dev = link.dev
        if dev is None:
            raise os_error(errno.ENODEV)
        self.add_entry(FibEntry(_network(prefix), dev, via, b"", metric, kind=kind))

    def add_entry(self, entry: FibEntry, *, append: bool = False) -> None:
        self.fib.add(entry, append=append)
        self.flush()

    def remove_routes(self, wanted: Callable[[FibEntry], bool]) -> int:
        """Take out the entries that are `wanted`; how many there were."""
        found = [entry for entry in self.fib if wanted(entry)]
        for entry in found:
            self.fib.remove(entry)
        self.flush()
        return len(found)

    def del_route(self, prefix: str, gateway: str = "") -> None:
        """`ip route del`; OSError(ESRCH)."""
        network = _network(prefix)
        via = ipaddress.IPv6Address(gateway).packed if gateway else None
        if not self.remove_routes(lambda e: e.network == network and via in (None, e.gateway)):
            raise os_error(errno.ESRCH)

    def set_route_metrics(self, prefix: str, **metrics: int) -> None:
        """`ip -6 route change PREFIX ... initcwnd 20`, for routes looked up from now on."""
        network = _network(prefix)
        entries = self.fib.find(network)
        if entries:
            entries[0].metrics.update(metrics)
            self.flush()
            return
        link = self.fib.lookup(network.network_address.packed)
        if link is None:
            raise os_error(errno.ENETUNREACH)
        self.add_entry(FibEntry(network, link.dev, link.gateway, b"", ROUTE_METRIC, metrics))

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

    def device_of(self, addr: bytes) -> NetDevice | None:
        found = self.addrconf.find(addr)
        return None if found is None else found.dev

    def join(self, dev: NetDevice, group: bytes) -> None:
        """Be a member of a multicast group on `dev`, as often as asked."""
        self.mld.join(dev, group)

    def leave(self, dev: NetDevice, group: bytes) -> None:
        self.mld.leave(dev, group)

    def port_unreachable(self, skb: SkBuff) -> None:
        """Nobody wants a received packet; does not free it."""
        self.icmp.send_error(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0)

    def default_ttl(self, route: Route | None = None) -> int:
        """The hop limit of a route, else what the link's router said, else the setting."""
        if route is None:
            return self.kernel.sysctl["net.ipv6.conf.default.hop_limit"]
        learnt = self.addrconf.hop_limit(route.dev)
        return route.metrics.get("hoplimit") or learnt

    # -- routes ----------------------------------------------------------------------------

    def route(self, daddr: bytes, saddr: bytes = b"", *, oif: int = 0, mark: int = 0) -> Route:
        """The way to `daddr`; ENETUNREACH, EADDRNOTAVAIL if there is no source address for it,
        EINVAL for a source that is not ours.

        `oif` is the only ifindex allowed: a link-local address needs it when the host has several
        links.  There are no routing rules, so `mark` changes nothing.
        """
        key = daddr, saddr, oif
        route = self._outputs.get(key)
        if route is None:
            if len(self._outputs) >= _CACHED:
                self.flush()
            route = self._outputs[key] = self._resolve(daddr, saddr if any(saddr) else b"", oif)
            route.path = self._paths.get(daddr)
        return route

    def flush(self) -> None:
        """Routes or addresses have changed: what was decided holds no longer."""
        for route in self._outputs.values():
            route.obsolete = True
        self._outputs.clear()

    def _resolve(self, daddr: bytes, saddr: bytes, oif: int) -> Route:
        if saddr and not self.is_local(saddr):
            raise os_error(errno.EINVAL)
        multicast = is_multicast(daddr)
        if not multicast and self.is_local(daddr):
            mtu = self.loopback.mtu
            return Route(self.loopback, saddr or daddr, b"", mtu, kind=RouteType.LOCAL)
        if multicast or is_linklocal(daddr):
            dev, gateway, metrics = self._link(saddr, oif), b"", {}
        else:
            entry = self.fib.lookup(daddr, oif)
            if entry is None:
                raise os_error(errno.ENETUNREACH)
            if entry.kind in ROUTE_ERRORS:
                raise os_error(ROUTE_ERRORS[entry.kind])
            dev, gateway, metrics = entry.dev, entry.gateway, entry.metrics
        source = saddr or self.addrconf.source_for(dev, daddr)
        if not source:
            raise os_error(errno.EADDRNOTAVAIL)
        kind = RouteType.MULTICAST if multicast else RouteType.UNICAST
        return Route(dev, source, gateway, self.link_mtu(dev, metrics), metrics, kind)

    def link_mtu(self, dev: NetDevice, metrics: Mapping[str, int]) -> int:
        return min(metrics.get("mtu", dev.mtu), self.addrconf.mtu(dev))

    def _link(self, saddr: bytes, oif: int) -> NetDevice:
        """For multicast and link-local destinations: the link named, or the source's, or the
        first."""
        if not oif and saddr and is_linklocal(saddr):
            found = self.addrconf.usable(saddr)
            oif = found.dev.ifindex if found is not None else 0
        for dev in self.addrconf.links():
            if oif in (0, dev.ifindex):
                return dev
        raise os_error(errno.ENETUNREACH)

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        """A router cannot pass on more than `mtu` bytes to `daddr` (RFC 8201): believed for
        mtu_expires seconds, not below 1280 (`__ip6_rt_update_pmtu`)."""
        try:
            known = self.route(daddr).mtu
        except OSError:
            return
        if not IPV6_MIN_MTU <= mtu < known:
            return
        lifetime = self.kernel.sysctl["net.ipv6.route.mtu_expires"] * SECOND
        self._paths = {d: p for d, p in self._paths.items() if p.valid and d != daddr}
        path = PathMtu(self.kernel, mtu, False, self.kernel.now + lifetime)
        self._paths[daddr] = path
        for (to, _, _), route in self._outputs.items():
            if to == daddr:
                route.path = path

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
        flow_label: int = 0,
    ) -> bool:
        """Send a transport packet; takes ownership.  False: the device's queue was full.

        Longer than the MTU it is cut into fragments, or dropped with `dont_fragment`.
        """
        hop_limit = self.default_ttl(route) if ttl is None else ttl
        skb.saddr, skb.daddr = saddr, daddr
        header = Ipv6Header(len(skb), protocol, saddr, daddr, hop_limit, tos, flow_label)
        return ip6_output.send(self, skb, route, header, dont_fragment)


def _network(prefix: str) -> Network:
    return ipaddress.IPv6Network("::/0" if prefix == "default" else prefix)
