"""Where received IPv4 packets go, and which sources nobody can have (`net/ipv4/route.c`,
`fib_validate_source` of `net/ipv4/fib_frontend.c`; RFC 1812, 5.3.7 and RFC 3704).

Asked by `ip_input` for what it does not find in `Routing.inputs`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.net.fib import ROUTE_ERRORS, Fib, RouteType
from pystack.net.route import ANY, BROADCAST, CACHED, InputKey, Route, Routing


class RouteInput:
    """`receivers` names who takes packets on, by the type of their route; `is_member` knows of a
    device, multicast group, source and protocol whether such a packet is wanted."""

    def __init__(self, kernel: Kernel, routing: Routing, local: Fib, main: Fib) -> None:
        self._kernel = kernel
        self._routing = routing
        self._local = local
        self._main = main
        self.receivers: dict[RouteType, Callable[[SkBuff], None]] = {}
        self.is_member: Callable[[NetDevice, bytes, bytes, int], bool] = lambda *packet: False

    # -- input -----------------------------------------------------------------------------

    def resolve(self, skb: SkBuff) -> Route | Drop:
        """Where a received packet goes, or why nowhere (`ip_route_input_slow`)."""
        saddr, daddr = skb.saddr, skb.daddr
        dev: NetDevice = skb.dev
        if daddr[0] & 0xF0 == 0xE0:
            return self._multicast_input(skb, dev)
        if (daddr == BROADCAST or (saddr == ANY and daddr == ANY)) and _plausible(saddr):
            result = self._checked(dev, saddr, RouteType.BROADCAST)
        elif not _plausible(saddr) or not saddr[0]:
            return Drop.IP_MARTIAN_SOURCE
        elif not daddr[0]:
            return Drop.IP_MARTIAN_DESTINATION
        elif (
            not dev.loopback
            and 127 in (saddr[0], daddr[0])
            and not self._conf(dev, "route_localnet")
        ):
            return Drop.IP_MARTIAN_SOURCE if saddr[0] == 127 else Drop.IP_MARTIAN_DESTINATION
        else:
            result = self._unicast_input(dev, saddr, daddr)
        if isinstance(result, Route):
            self._remember((saddr, daddr, dev), result)
        return result

    def _remember(self, key: InputKey, route: Route) -> None:
        route.input = self.receivers[route.kind]
        if len(self._routing.inputs) >= CACHED:
            self._routing.inputs.clear()
        self._routing.inputs[key] = route

    def _unicast_input(self, dev: NetDevice, saddr: bytes, daddr: bytes) -> Route | Drop:
        entry = self._routing.lookup(daddr)
        if entry is not None and entry.kind in (RouteType.LOCAL, RouteType.BROADCAST):
            return self._checked(dev, saddr, entry.kind)
        if not self._routing.forwarding(dev):
            return Drop.IP_OTHER_ADDRESS
        drop = self._validate_source(dev, saddr)
        if drop is not None:
            return drop
        if entry is None or entry.kind in ROUTE_ERRORS:
            route = Route(dev, b"", b"", dev.mtu, kind=RouteType.UNREACHABLE)
            route.error = errno.ENETUNREACH if entry is None else ROUTE_ERRORS[entry.kind]
            return route
        mtu = entry.metrics.get("mtu", entry.dev.mtu)
        route = Route(entry.dev, b"", entry.gateway, mtu, entry.metrics)
        route.path = self._routing.paths.get(daddr)
        return route

    def _checked(self, dev: NetDevice, saddr: bytes, kind: RouteType) -> Route | Drop:
        """To us, if the source is credible."""
        if saddr[0] and not dev.loopback:
            drop = self._validate_source(dev, saddr)
            if drop is not None:
                return drop
        return Route(dev, b"", b"", dev.mtu, kind=kind)

    def _multicast_input(self, skb: SkBuff, dev: NetDevice) -> Route | Drop:
        saddr, group = skb.saddr, skb.daddr
        if not self.is_member(dev, group, saddr, skb.protocol):
            return Drop.IP_NOT_MEMBER
        if not _plausible(saddr) or (saddr[0] == 127 and not dev.loopback):
            return Drop.IP_MARTIAN_SOURCE
        if not saddr[0] and group[:3] != b"\xe0\0\0":
            return Drop.IP_MARTIAN_SOURCE
        result = self._checked(dev, saddr, RouteType.MULTICAST)
        if isinstance(result, Route):
            result.input = self.receivers[RouteType.MULTICAST]
        return result

    def _conf(self, dev: NetDevice, name: str) -> int:
        """The larger of what all devices and this one say (`IN_DEV_MAXCONF`)."""
        sysctl = self._kernel.sysctl
        return max(sysctl[f"net.ipv4.conf.all.{name}"], sysctl[f"net.ipv4.conf.{dev.name}.{name}"])

    def _validate_source(self, dev: NetDevice, saddr: bytes) -> Drop | None:
        """No source of our own, and with rp_filter only one that answers would go back to
        (`fib_validate_source`; RFC 3704): 1 strictly the same way, 2 any way."""
        own = self._local.lookup(saddr)
        if own is not None:
            accepted = own.kind is RouteType.LOCAL and self._conf(dev, "accept_local")
            return None if accepted else Drop.IP_MARTIAN_SOURCE
        filtering = self._conf(dev, "rp_filter")
        if not filtering:
            return None
        back = self._main.lookup(saddr, dev.ifindex if filtering == 1 else 0)
        best = self._main.lookup(saddr)
        if back is None or (filtering == 1 and best is not None and back.dev is not best.dev):
            self._kernel.mib["TcpExtIPReversePathFilter"] += 1
            return Drop.IP_RPFILTER
        return None


def _plausible(saddr: bytes) -> bool:
    """A source may not be multicast, reserved or the limited broadcast address."""
    return saddr[0] < 224 or (saddr[0] >= 240 and saddr != BROADCAST)
