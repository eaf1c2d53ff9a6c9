"""IPv4 of one host (RFC 791, RFC 1122 section 3): what other layers and the configuration use.

Received packets go through `ip_input`, `ip_forward` and `ip_output`; `route` says where packets
go, `devinet` has the addresses.  Transports register here, and call `route` and `send`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from socket import AF_INET

from pystack.core.headers import frame
from pystack.core.headers.icmp import ICMP_DEST_UNREACH, ICMP_PORT_UNREACH
from pystack.core.headers.ipv4 import IP_HLEN, IP_MF, IP_OFFSET_MASK, Ipv4Header, pseudo_header_sum
from pystack.core.skb import SkBuff
from pystack.dev.core import NetdevEvent
from pystack.dev.netdev import NetDevice
from pystack.link.arp import Arp
from pystack.link.ethernet import Ethernet
from pystack.net.devinet import SCOPE_GLOBAL, SCOPE_LINK, Devinet, IfAddr
from pystack.net.fib import Fib, RouteType
from pystack.net.fib_frontend import FibFrontend
from pystack.net.hooks import Hooks
from pystack.net.icmperrors import icmp_error
from pystack.net.igmp import Igmp
from pystack.net.inet import ErrorHandler
from pystack.net.inet_fragment import DefragUser
from pystack.net.ip_forward import Forward
from pystack.net.ip_fragment import Reassembly
from pystack.net.ip_input import Input
from pystack.net.ip_options import Recorder, echo, milliseconds
from pystack.net.ip_output import Output
from pystack.net.route import Route, Routing
from pystack.net.route_input import RouteInput
from pystack.net.source_filter import MCAST_EXCLUDE, Change

CONF, NEIGH = "net.ipv4.conf", "net.ipv4.neigh"
IP_FORWARD = "net.ipv4.ip_forward"


class Ipv4:
    """`icmp_send(skb, type, code, word2)` answers a received packet with an error.

    `raw_deliver(skb)` shows a packet for us to raw sockets, `skb.off` at the transport header:
    whether any wanted it; it must copy what it keeps.  `raw_error(type, code, info, skb)` tells
    them of errors, `skb.off` at the quoted IP header.
    """

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
        self.hooks = Hooks()
        self.local, self.main = Fib(), Fib()
        self.devinet = Devinet(self.local, self.main)
        self.routing = Routing(self.kernel, loopback, self.devinet, self.local, self.main)
        self.route_input = RouteInput(self.kernel, self.routing, self.local, self.main)
        routes = FibFrontend(self.routing, self.main, loopback)
        self.add_route, self.del_route = routes.add_route, routes.del_route
        self.replace_route = routes.replace_route
        self.set_route_metrics = routes.set_route_metrics
        self.handlers: dict[int, Callable[[SkBuff], None]] = {}
        self.raw_deliver: Callable[[SkBuff], bool] | None = None
        self.raw_error: ErrorHandler = lambda icmp_type, code, info, skb: None
        self.icmp_send: Callable[[SkBuff, int, int, int], None] = lambda skb, kind, code, info: None
        self._error_handlers: dict[int, ErrorHandler] = {}
        self.reassembly = Reassembly(self)
        self.input = Input(self)
        self.forward = Forward(self)
        self.output = Output(self)
        self.send = self.output.send
        self.route_input.receivers.update(
            {
                RouteType.LOCAL: self.input.ip_local_deliver,
                RouteType.BROADCAST: self.input.ip_local_deliver,
                RouteType.MULTICAST: self.input.ip_local_deliver,
                RouteType.UNREACHABLE: self.input.ip_error,
                RouteType.UNICAST: self.forward.ip_forward,
            }
        )
        self.routing.device = self._device
        self.igmp = Igmp(self)
        self.route_input.is_member = self.igmp.is_member
        arp.is_local = lambda dev, ip: ip in self.devinet.addresses
        arp.source_for = self._arp_source
        arp.accepts = lambda dev: bool(self._conf(dev, "arp_accept"))
        core, sysctl = ethernet.core, self.kernel.sysctl
        core.notifiers.append(self._netdev_event)
        for dev in core.devices.values():
            sysctl.add_device(CONF, dev.name)
            sysctl.add_device(NEIGH, dev.name)
        for name in (f"{CONF}.", IP_FORWARD):
            sysctl.watch(name, self._conf_changed)
        self.add_address(loopback, "127.0.0.1/8")

    @property
    def addresses(self) -> dict[bytes, IfAddr]:
        return self.devinet.addresses

    # -- configuration ---------------------------------------------------------------------

    def add_address(self, dev: NetDevice, interface: str) -> None:
        """`ip addr add 10.0.0.1/24 dev eth0`, with the route to its subnet; OSError(EEXIST)."""
        self.devinet.add(dev, interface)
        self.kernel.sysctl.own_settings(CONF, dev.name)
        self.routing.flush()

    def del_address(self, dev: NetDevice, interface: str) -> None:
        """`ip addr del`; OSError(EADDRNOTAVAIL)."""
        promote = bool(self._conf(dev, "promote_secondaries"))
        self.devinet.delete(dev, interface, promote=promote)
        self.routing.flush()

    def register(self, protocol: int, receive: Callable[[SkBuff], None]) -> None:
        """`receive(skb)` owns the packet; `skb.off` is at the transport header."""
        self.handlers[protocol] = receive

    def register_error(self, protocol: int, handler: ErrorHandler) -> None:
        """`handler(icmp_type, code, info, skb)` hears of ICMP errors about our own packets."""
        self._error_handlers[protocol] = handler

    @property
    def devices(self) -> Mapping[str, NetDevice]:
        return self.ethernet.core.devices

    def is_local(self, addr: bytes) -> bool:
        """Is it one of the host's own unicast addresses?"""
        return addr in self.devinet.addresses or self.routing.is_local(addr)

    def is_unicast(self, addr: bytes) -> bool:
        """Neither multicast nor broadcast."""
        return self.routing.address_type(addr) in (RouteType.UNICAST, RouteType.LOCAL)

    def device_of(self, addr: bytes) -> NetDevice | None:
        own = self.devinet.addresses.get(addr)
        return None if own is None else own.dev

    def join(self, dev: NetDevice, group: bytes, mode: int = MCAST_EXCLUDE) -> None:
        self.igmp.join(dev, group, mode)
        self.routing.flush()

    def leave(
        self,
        dev: NetDevice,
        group: bytes,
        mode: int = MCAST_EXCLUDE,
        sources: Collection[bytes] = (),
    ) -> None:
        self.igmp.leave(dev, group, mode, sources)
        self.routing.flush()

    def change_filter(self, dev: NetDevice, group: bytes, change: Change) -> None:
        self.igmp.change_filter(dev, group, change)
        self.routing.flush()

    def port_unreachable(self, skb: SkBuff) -> None:
        self.icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0)

    def address_type(self, addr: bytes, dev: NetDevice | None = None) -> str:
        """For `-m addrtype`: LOCAL, UNICAST, BROADCAST or MULTICAST; `dev`: as that device has it
        (`inet_dev_addr_type`)."""
        kind = self.routing.address_type(addr)
        if dev is not None and kind in (RouteType.LOCAL, RouteType.BROADCAST):
            entry = self.local.lookup(addr)
            if entry is not None and entry.dev is not dev:
                kind = RouteType.UNICAST
        return kind.name

    def select_address(self, dev: NetDevice, daddr: bytes) -> bytes:
        """The address of `dev` for talking to `daddr`; empty if no device has one."""
        return self.devinet.select(dev, daddr, SCOPE_GLOBAL)

    def defragment(self, skb: SkBuff) -> SkBuff | None:
        """For netfilter's hook PRE_ROUTING: a packet, put together first if it is a fragment."""
        if not skb.headers[frame.FRAGMENT] & (IP_MF | IP_OFFSET_MASK):
            return skb
        return self.reassembly.ip_defrag(skb, DefragUser.CONNTRACK_IN)

    def confirm_neigh(self, route: Route, daddr: bytes) -> None:
        """A transport made progress on the way to `daddr`: its next hop is reachable."""
        self.arp.confirm(route.dev, route.gateway or daddr)

    def default_ttl(self, route: Route | None = None) -> int:
        return self.kernel.sysctl["net.ipv4.ip_default_ttl"]

    def route(self, daddr: bytes, saddr: bytes = b"", *, oif: int = 0, mark: int = 0) -> Route:
        """The way to `daddr`; OSError as `Routing.output`.  No rule looks at `mark`."""
        return self.routing.output(daddr, saddr, oif)

    def first_identification(self) -> int:
        return self.output.identifications.first()

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        """A transport believes that `mtu` is all that gets to `daddr` (RFC 1191)."""
        self.routing.update_pmtu(daddr, mtu)

    def forward_mtu(self, route: Route) -> int:
        """What fits the way out of a forwarded packet (`ip_dst_mtu_maybe_forward`): routers'
        tales could make us break others' path MTU discovery."""
        use_pmtu = self.kernel.sysctl["net.ipv4.ip_forward_use_pmtu"]
        return route.mtu if use_pmtu else route.link_mtu

    def receive_error(self, icmp_type: int, code: int, info: int, skb: SkBuff) -> None:
        """An ICMP error about a packet of ours, `skb.off` at the quoted IP header, of which eight
        bytes more are there (`icmp_socket_deliver`).  Does not free `skb`."""
        header = Ipv4Header.parse(skb.buf, skb.off)
        skb.saddr, skb.daddr, skb.protocol = header.src, header.dst, header.protocol
        self.raw_error(icmp_type, code, info, skb)
        handler = self._error_handlers.get(header.protocol)
        if handler is not None:
            skb.pull(header.header_length)
            handler(icmp_type, code, info, skb)

    # -- about received packets ------------------------------------------------------------

    def specific_destination(self, skb: SkBuff) -> bytes:
        """Our address that `skb` was for, or would have been (RFC 1122, 3.2.1.3;
        `fib_compute_spec_dst`)."""
        if skb.dst.kind is RouteType.LOCAL:
            return skb.daddr
        entry = self.main.lookup(skb.saddr, skb.dev.ifindex)
        if entry is not None and entry.saddr:
            return entry.saddr
        return self.devinet.select(skb.dev, skb.saddr, SCOPE_LINK) or bytes(4)

    def recorder(self, address: bytes) -> Recorder:
        """Who writes `address` into record route and timestamp options."""
        return Recorder(address, milliseconds(self.kernel.now), self.is_local)

    def echo_options(self, request: SkBuff, saddr: bytes) -> bytes:
        """The options of an answer from `saddr`."""
        start = request.network_header + IP_HLEN
        if start == request.transport_header:
            return b""
        return echo(bytes(request.buf[start : request.transport_header]), self.recorder(saddr))

    # -- inside ----------------------------------------------------------------------------

    def _netdev_event(self, event: NetdevEvent, dev: NetDevice) -> None:
        """A device that goes down takes its routes along (`fib_disable_ip`)."""
        if event is NetdevEvent.REGISTER:
            self.kernel.sysctl.add_device(CONF, dev.name)
            self.kernel.sysctl.add_device(NEIGH, dev.name)
            return
        if event is NetdevEvent.UP:
            self.igmp.up(dev)
            if self._conf(dev, "arp_notify"):
                for address in self.devinet.by_dev.get(dev, ()):
                    self.arp.announce(dev, address.packed)
        elif event is NetdevEvent.DOWN:
            self.igmp.down(dev)
            for entry in [e for e in self.main if e.dev is dev]:
                self.main.remove(entry)
        self.devinet.sync()
        self.routing.flush()

    def _conf(self, dev: NetDevice, name: str) -> int:
        """The device's setting, or that for all if it is more (`IN_DEV_MAXCONF`)."""
        return max(self.kernel.sysctl[f"{CONF}.{n}.{name}"] for n in ("all", dev.name))

    def _conf_changed(self, name: str) -> None:
        """ip_forward and conf.all.forwarding are one, and go for every device
        (`inet_forward_change`); a router does not listen to redirects."""
        sysctl = self.kernel.sysctl
        if name in (IP_FORWARD, f"{CONF}.all.forwarding"):
            on = sysctl[name]
            for dev in ("all", "default", *sysctl.devices(CONF)):
                sysctl.store(f"{CONF}.{dev}.forwarding", on)
            sysctl.store(IP_FORWARD, on)
            sysctl.store(f"{CONF}.all.accept_redirects", int(not on))
        self.routing.flush()

    def _device(self, ifindex: int) -> NetDevice | None:
        return next((dev for dev in self.devices.values() if dev.ifindex == ifindex), None)

    def _arp_source(self, dev: NetDevice, target: bytes) -> bytes:
        """The sender address of an ARP request: ours in the target's subnet."""
        return self.devinet.select(dev, target, SCOPE_LINK) or bytes(4)
