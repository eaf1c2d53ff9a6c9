"""IPv4 routing decisions, remembered until a table changes (`net/ipv4/route.c`).

Asked for ways out (`Routing.output`); `route_input` decides about received packets.  A `Route` is
shared by all who talk to the same destination, so that what is learned of its path (RFC 1191)
reaches them all; one that no longer holds is marked `obsolete`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.core.timer import Timer
from pystack.dev.netdev import NetDevice
from pystack.net.devinet import SCOPE_GLOBAL, SCOPE_LINK, Devinet
from pystack.net.fib import ROUTE_ERRORS, Fib, FibEntry, RouteType, os_error

_NO_METRICS: Mapping[str, int] = MappingProxyType({})
CACHED = 4096  # routes remembered in each direction
BROADCAST = b"\xff" * 4
ANY = bytes(4)
SECOND = 1_000_000_000


class PathMtu:
    """What a router has told of the path to one destination (`struct fib_nh_exception`).

    `locked`: it is below min_pmtu, and packets go out without DF.  `expires` is in ns.
    """

    __slots__ = ("_kernel", "expires", "locked", "mtu")

    def __init__(self, kernel: Kernel, mtu: int, locked: bool, expires: int) -> None:
        self._kernel = kernel
        self.mtu = mtu
        self.locked = locked
        self.expires = expires

    @property
    def valid(self) -> bool:
        return self._kernel.now < self.expires


class Route:
    """How to reach a destination: `gateway` empty when it is on the link (`struct rtable`).

    `metrics` are those of `ip route` that a transport asks for by name, as `initcwnd`.
    `input` takes a received packet on.
    `error` is the errno of a destination that is refused.
    """

    __slots__ = (
        "dev",
        "error",
        "gateway",
        "input",
        "kind",
        "metric_mtu",
        "metrics",
        "obsolete",
        "path",
        "saddr",
    )

    def __init__(
        self,
        dev: NetDevice,
        saddr: bytes,
        gateway: bytes,
        mtu: int,
        metrics: Mapping[str, int] = _NO_METRICS,
        kind: RouteType = RouteType.UNICAST,
    ) -> None:
        self.dev = dev
        self.saddr = saddr
        self.gateway = gateway
        self.metric_mtu = mtu if mtu < dev.mtu else 0  # less than the device's, or 0
        self.metrics = metrics
        self.kind = kind
        self.path: PathMtu | None = None
        self.error = 0
        self.obsolete = False
        self.input: Callable[[SkBuff], None] | None = None

    @property
    def link_mtu(self) -> int:
        """The MTU without what routers have told."""
        return self.metric_mtu or self.dev.mtu

    @property
    def mtu(self) -> int:
        """Bytes of IP packet that get through as far as is known."""
        path = self.path
        mtu = self.metric_mtu or self.dev.mtu
        return path.mtu if path is not None and path.mtu < mtu and path.valid else mtu

    @property
    def mtu_locked(self) -> bool:
        """Fragments are allowed here whatever path MTU discovery wants (`ip_mtu_locked`)."""
        return self.path is not None and self.path.locked and self.path.valid


class Redirect(NamedTuple):
    """In place of the configured gateway `old` the next hop is `gateway`, until `timer` says
    otherwise (`struct fib_nh_exception`)."""

    old: bytes
    gateway: bytes
    timer: Timer


InputKey = tuple[bytes, bytes, NetDevice]


class Routing:
    """`inputs` are the decisions of `RouteInput`, remembered until something changes."""

    def __init__(
        self, kernel: Kernel, loopback: NetDevice, devinet: Devinet, local: Fib, main: Fib
    ) -> None:
        self._kernel = kernel
        self._loopback = loopback
        self._devinet = devinet
        self._local = local
        self._main = main
        self.paths: dict[bytes, PathMtu] = {}
        self._redirects: dict[bytes, Redirect] = {}
        self._outputs: dict[tuple[bytes, bytes, int], Route] = {}
        self.inputs: dict[InputKey, Route] = {}
        self.device: Callable[[int], NetDevice | None] = lambda ifindex: None

    def flush(self) -> None:
        """A table, an address or a device has changed: nobody shall use what it said before
        (`rt_cache_flush`)."""
        for route in self._outputs.values():
            route.obsolete = True
        self._outputs.clear()
        self.inputs.clear()

    # -- output ----------------------------------------------------------------------------

    def output(self, daddr: bytes, saddr: bytes = b"", oif: int = 0) -> Route:
        """The way to `daddr` (`ip_route_output_key`).

        OSError: ENETUNREACH, EINVAL for a source that is not ours, ENODEV, and what a route that
        refuses says.
        """
        key = daddr, saddr, oif
        route = self._outputs.get(key)
        if route is None:
            if saddr == ANY:
                return self.output(daddr, b"", oif)
            if len(self._outputs) >= CACHED:
                self.flush()
            route = self._outputs[key] = self._resolve(daddr, saddr, oif)
            route.path = self.paths.get(daddr)
            redirect = self._redirects.get(daddr)
            if redirect is not None and redirect.old == route.gateway:
                route.gateway = redirect.gateway
        return route

    def _resolve(self, daddr: bytes, saddr: bytes, oif: int) -> Route:
        limited = daddr == BROADCAST
        if saddr:
            own = self._devinet.addresses.get(saddr)
            if own is None and not self.is_local(saddr):
                foreign = self.address_type(saddr) is RouteType.UNICAST
                raise os_error(errno.ENETUNREACH if foreign else errno.EINVAL)
            if own is not None and not oif and (limited or daddr[0] & 0xF0 == 0xE0):
                oif = own.dev.ifindex
        if daddr == ANY:
            daddr = saddr or b"\x7f\0\0\x01"
        elif not daddr[0]:
            raise os_error(errno.EINVAL)
        if oif:
            return self._out_of(self._bound(oif), daddr, saddr, limited)
        entry = self.lookup(daddr)
        if entry is None:
            raise os_error(errno.ENETUNREACH)
        return self._from_entry(entry, daddr, saddr)

    def _bound(self, oif: int) -> NetDevice:
        dev = self.device(oif)
        if dev is None:
            raise os_error(errno.ENODEV)
        if not dev.up:
            raise os_error(errno.ENETUNREACH)
        return dev

    def _out_of(self, dev: NetDevice, daddr: bytes, saddr: bytes, limited: bool) -> Route:
        """The device is given: a destination without a route is taken to be on its link."""
        if limited or daddr[0] & 0xF0 == 0xE0:
            scope = SCOPE_LINK if limited or daddr[:3] == b"\xe0\0\0" else SCOPE_GLOBAL
            kind = RouteType.BROADCAST if limited else RouteType.MULTICAST
            saddr = saddr or self._devinet.select(dev, b"", scope)
            return Route(dev, saddr, b"", dev.mtu, kind=kind)
        entry = self.lookup(daddr, dev.ifindex)
        if entry is None:
            saddr = saddr or self._devinet.select(dev, b"", SCOPE_LINK)
            return Route(dev, saddr, b"", dev.mtu)
        return self._from_entry(entry, daddr, saddr)

    def _from_entry(self, entry: FibEntry, daddr: bytes, saddr: bytes) -> Route:
        if entry.kind in ROUTE_ERRORS:
            raise os_error(ROUTE_ERRORS[entry.kind])
        if entry.kind is RouteType.LOCAL:
            dev = self._loopback
            return Route(dev, saddr or entry.saddr or daddr, b"", dev.mtu, kind=RouteType.LOCAL)
        kind = entry.kind
        if daddr == BROADCAST:
            kind = RouteType.BROADCAST
        elif daddr[0] & 0xF0 == 0xE0:
            kind = RouteType.MULTICAST
        if not saddr:
            saddr = entry.saddr or self._devinet.select(
                entry.dev, entry.gateway or daddr, SCOPE_GLOBAL
            )
        mtu = entry.metrics.get("mtu", entry.dev.mtu)
        gateway = entry.gateway if kind is RouteType.UNICAST else b""
        return Route(entry.dev, saddr, gateway, mtu, entry.metrics, kind)

    def lookup(self, daddr: bytes, oif: int = 0) -> FibEntry | None:
        """The tables in the order of `ip rule`."""
        entry = self._local.lookup(daddr)
        return entry if entry is not None else self._main.lookup(daddr, oif)

    # -- what is configured ----------------------------------------------------------------

    def forwarding(self, dev: NetDevice) -> bool:
        return bool(self._kernel.sysctl[f"net.ipv4.conf.{dev.name}.forwarding"])

    def address_type(self, addr: bytes) -> RouteType:
        """`inet_addr_type`: what the local table makes of an address."""
        if addr == BROADCAST or not addr[0]:
            return RouteType.BROADCAST
        if addr[0] & 0xF0 == 0xE0:
            return RouteType.MULTICAST
        entry = self._local.lookup(addr)
        return RouteType.UNICAST if entry is None else entry.kind

    def is_local(self, addr: bytes) -> bool:
        return self.address_type(addr) is RouteType.LOCAL

    # -- path MTU --------------------------------------------------------------------------

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        """A router cannot pass on more than `mtu` bytes to `daddr` (RFC 1191;
        `__ip_rt_update_pmtu`): believed for mtu_expires seconds, down to min_pmtu."""
        try:
            route = self.output(daddr)
        except OSError:
            return
        old = route.mtu
        if route.mtu_locked or old < mtu:
            return
        sysctl, now = self._kernel.sysctl, self._kernel.now
        least = sysctl["net.ipv4.route.min_pmtu"]
        locked = mtu < least
        if locked:
            mtu = min(old, least)
        lifetime = sysctl["net.ipv4.route.mtu_expires"] * SECOND
        self.paths = {d: p for d, p in self.paths.items() if p.valid and d != daddr}
        path = self.paths[daddr] = PathMtu(self._kernel, mtu, locked, now + lifetime)
        for (to, _, _), cached in self._outputs.items():
            if to == daddr:
                cached.path = path

    def redirect(self, dev: NetDevice, daddr: bytes, old: bytes, gateway: bytes) -> None:
        """The router `old` says that `gateway` is nearer to `daddr` (`__ip_do_redirect`): believed
        if it is the one in use, and the new one a neighbour."""
        if not self._conf_redirects(dev) or self.address_type(gateway) is not RouteType.UNICAST:
            return
        try:
            route = self.output(daddr)
        except OSError:
            return
        link = self._main.lookup(gateway, dev.ifindex)
        if route.dev is not dev or route.gateway != old or link is None or link.gateway:
            return
        if not self.conf_any("shared_media", dev) and not self._secure(dev, old, gateway):
            return
        if len(self._redirects) >= CACHED:
            for to in list(self._redirects):
                self._forget(to)
        before = self._redirects.get(daddr)
        if before is None:
            timer = self._kernel.timer(partial(self._forget, daddr))
        else:
            timer = before.timer
            old = before.old if before.gateway == old else old
        self._redirects[daddr] = Redirect(old, gateway, timer)
        lifetime = self._kernel.sysctl["net.ipv4.route.gc_timeout"] * SECOND
        timer.mod(self._kernel.now + lifetime)
        self.flush()

    def _forget(self, daddr: bytes) -> None:
        """The way is the configured one again."""
        self._redirects.pop(daddr).timer.delete()
        self.flush()

    def _secure(self, dev: NetDevice, old: bytes, gateway: bytes) -> bool:
        """Is the link one subnet to both, and with secure_redirects the new one a router that is
        configured (`ip_fib_check_default`)?"""
        if not self._devinet.on_link(dev, gateway, old):
            return False
        known = any(entry.gateway == gateway and entry.dev is dev for entry in self._main)
        return known or not self.conf_any("secure_redirects", dev)

    def conf_any(self, name: str, dev: NetDevice) -> bool:
        """Do all devices, or this one, ask for it (`IN_DEV_ORCONF`)?"""
        return any(self._kernel.sysctl[f"net.ipv4.conf.{n}.{name}"] for n in ("all", dev.name))

    def _conf_redirects(self, dev: NetDevice) -> bool:
        """Routers need all and the device to agree, hosts one of them (`IN_DEV_RX_REDIRECTS`)."""
        sysctl = self._kernel.sysctl
        wanted = [sysctl[f"net.ipv4.conf.{n}.accept_redirects"] for n in ("all", dev.name)]
        return all(wanted) if self.forwarding(dev) else any(wanted)
