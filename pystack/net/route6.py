"""Routes of IPv6: the table, and decisions remembered until it changes (`net/ipv6/route.c`).

Configured through `Ipv6` and by `addrconf` and `ra`; asked by transports (`route`) and by
`ip6_output`.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pystack.core.headers.ipv6 import IPV6_MIN_MTU, is_linklocal, is_multicast
from pystack.core.timer import Timer
from pystack.dev.netdev import NetDevice
from pystack.net.fib import ROUTE_ERRORS, Fib, FibEntry, Network, RouteType, os_error
from pystack.net.route import CACHED, SECOND, PathMtu, Route

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

ROUTE_METRIC = 1024  # IP6_RT_PRIO_USER


class _Redirect(NamedTuple):
    """Over `entry` a destination is reached through `gateway`, or directly if that is empty."""

    entry: FibEntry
    gateway: bytes
    timer: Timer


class Routing6:
    def __init__(self, ip: Ipv6) -> None:
        self.ip = ip
        self.fib = Fib(128)
        self._paths: dict[bytes, PathMtu] = {}
        self._redirects: dict[bytes, _Redirect] = {}
        self._outputs: dict[tuple[bytes, bytes, int], Route] = {}

    # -- the table -------------------------------------------------------------------------

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
            dev = self.ip.loopback
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

    # -- decisions -------------------------------------------------------------------------

    def route(self, daddr: bytes, saddr: bytes = b"", *, oif: int = 0, mark: int = 0) -> Route:
        """The way to `daddr`; ENETUNREACH, EADDRNOTAVAIL if there is no source address for it,
        EINVAL for a source that is not ours.

        `oif` is the only ifindex allowed: a link-local address needs it when the host has several
        links.  There are no routing rules, so `mark` changes nothing.
        """
        key = daddr, saddr, oif
        route = self._outputs.get(key)
        if route is None:
            if len(self._outputs) >= CACHED:
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
        if saddr and not self.ip.is_local(saddr):
            raise os_error(errno.EINVAL)
        multicast = is_multicast(daddr)
        if not multicast and self._is_own(daddr, oif):
            mtu = self.ip.loopback.mtu
            return Route(self.ip.loopback, saddr or daddr, b"", mtu, kind=RouteType.LOCAL)
        if multicast or is_linklocal(daddr):
            dev, gateway, metrics = self._link(saddr, oif), b"", {}
        else:
            entry = self.fib.lookup(daddr, oif)
            if entry is None:
                raise os_error(errno.ENETUNREACH)
            if entry.kind in ROUTE_ERRORS:
                raise os_error(ROUTE_ERRORS[entry.kind])
            dev, gateway, metrics = entry.dev, self._gateway(entry, daddr), entry.metrics
        source = saddr or self.ip.addrconf.source_for(dev, daddr)
        if not source:
            raise os_error(errno.EADDRNOTAVAIL)
        kind = RouteType.MULTICAST if multicast else RouteType.UNICAST
        return Route(dev, source, gateway, self.link_mtu(dev, metrics), metrics, kind)

    def _is_own(self, daddr: bytes, oif: int) -> bool:
        """Another link's link-local address is a neighbour's here."""
        if not oif or not is_linklocal(daddr):
            return self.ip.is_local(daddr)
        found = self.ip.addrconf.usable
        links = self.ip.addrconf.links()
        return any(dev.ifindex == oif and found(daddr, dev) for dev in links)

    def _gateway(self, entry: FibEntry, daddr: bytes) -> bytes:
        """The entry's, unless it has sent us to a better one for this destination."""
        redirect = self._redirects.get(daddr)
        if redirect is None or redirect.entry is not entry:
            return entry.gateway
        return redirect.gateway

    def redirect(self, dev: NetDevice, daddr: bytes, old: bytes, gateway: bytes) -> bool:
        """The router `old` says that `gateway`, empty for the destination itself, is nearer to
        `daddr` (`rt6_do_redirect`); False unless it is the one in use (RFC 4861, 8.1)."""
        entry = self.fib.lookup(daddr)
        if entry is None or entry.dev is not dev or entry.kind in ROUTE_ERRORS:
            return False
        if self.ip.is_local(daddr) or self._gateway(entry, daddr) != old:
            return False
        if len(self._redirects) >= CACHED:
            for to in list(self._redirects):
                self.link_failure(to)
        before = self._redirects.get(daddr)
        timer = self.ip.kernel.timer(partial(self._age, daddr)) if before is None else before.timer
        self._redirects[daddr] = _Redirect(entry, gateway, timer)
        timer.mod(self.ip.kernel.now + self._unused_time)
        self.flush()
        return True

    @property
    def _unused_time(self) -> int:
        return self.ip.kernel.sysctl["net.ipv6.route.gc_timeout"] * SECOND

    def _age(self, daddr: bytes) -> None:
        """Forget a redirect that nobody has used lately, or to what is a router no more
        (`rt6_age_examine_exception`).  Used: its neighbour was sent something."""
        entry, gateway, timer = self._redirects[daddr]
        neigh = self.ip.ndisc.table.get((entry.dev.name, gateway or daddr))
        until = 0 if neigh is None else neigh.used + self._unused_time
        if neigh is None or until <= self.ip.kernel.now or (gateway and not neigh.is_router):
            self.link_failure(daddr)
        else:
            timer.mod(until)

    def link_failure(self, daddr: bytes) -> None:
        """The next hop does not answer: the router had better choose again (`ip6_link_failure`)."""
        redirect = self._redirects.pop(daddr, None)
        if redirect is not None:
            redirect.timer.delete()
            self.flush()

    def link_mtu(self, dev: NetDevice, metrics: Mapping[str, int]) -> int:
        return min(metrics.get("mtu", dev.mtu), self.ip.addrconf.mtu(dev))

    def _link(self, saddr: bytes, oif: int) -> NetDevice:
        """For multicast and link-local destinations: the link named, or the source's, or the
        first."""
        if not oif and saddr and is_linklocal(saddr):
            found = self.ip.addrconf.usable(saddr)
            oif = found.dev.ifindex if found is not None else 0
        for dev in self.ip.addrconf.links():
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
        lifetime = self.ip.kernel.sysctl["net.ipv6.route.mtu_expires"] * SECOND
        self._paths = {d: p for d, p in self._paths.items() if p.valid and d != daddr}
        path = PathMtu(self.ip.kernel, mtu, False, self.ip.kernel.now + lifetime)
        self._paths[daddr] = path
        for (to, _, _), route in self._outputs.items():
            if to == daddr:
                route.path = path


def _network(prefix: str) -> Network:
    return ipaddress.IPv6Network("::/0" if prefix == "default" else prefix)
