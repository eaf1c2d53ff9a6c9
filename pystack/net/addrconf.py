"""The addresses of IPv6 links: link-local ones, duplicate address detection, lifetimes.

RFC 4862, `net/ipv6/addrconf.c`.  Configured by `Ipv6` and by router advertisements (`ra`);
`ndisc` asks and answers for the addresses, and tells when somebody else claims one.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from typing import TYPE_CHECKING

from pystack.core.headers.ipv6 import (
    ALL_NODES,
    ALL_ROUTERS,
    LINKLOCAL,
    eui64,
    is_linklocal,
    solicited_node,
)
from pystack.core.wait import WaitQueue, wait_event
from pystack.dev.netdev import NetDevice
from pystack.net import srcaddr
from pystack.net.fib import FibEntry
from pystack.net.ra import RouterDiscovery

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

SECOND = 1_000_000_000
ADDRCONF_METRIC = 256  # IP6_RT_PRIO_ADDRCONF


class IfAddr:
    """An address of a device (`struct inet6_ifaddr`).  Times are ns, None: for ever."""

    __slots__ = (
        *("dev", "failed", "ip", "preferred_timer", "preferred_until", "prefix_length", "probes"),
        *("tentative", "timer", "valid_timer", "valid_until"),
    )

    def __init__(self, addrconf: Addrconf, dev: NetDevice, ip: bytes, prefix_length: int) -> None:
        kernel = addrconf.ip.kernel
        self.dev = dev
        self.ip = ip
        self.prefix_length = prefix_length
        self.tentative = True
        self.failed = False  # somebody else has it
        self.probes = 0
        self.preferred_until: int | None = None
        self.valid_until: int | None = None
        self.timer = kernel.timer(lambda: addrconf.dad_timer(self))
        self.preferred_timer = kernel.timer(addrconf.ip.routing.flush)
        self.valid_timer = kernel.timer(lambda: addrconf.remove(self))

    @property
    def network(self) -> ipaddress.IPv6Network:
        return ipaddress.IPv6Network((self.ip, self.prefix_length), strict=False)

    def deprecated(self, now: int) -> bool:
        """Good for what uses it, not for anything new (RFC 4862, 5.5.4)."""
        return self.preferred_until is not None and now >= self.preferred_until

    def live(self, now: int, valid: int | None, preferred: int | None) -> None:
        """Set lifetimes, in ns from `now`."""
        self.preferred_until = None if preferred is None else now + preferred
        self.valid_until = None if valid is None else now + valid
        for timer, until in (
            (self.preferred_timer, self.preferred_until),
            (self.valid_timer, self.valid_until),
        ):
            if until is None:
                timer.delete()
            else:
                timer.mod(until)


class Link:
    """What IPv6 knows of a device (`struct inet6_dev`); 0: as the settings say."""

    def __init__(self) -> None:
        self.hop_limit = 0
        self.mtu = 0


class Addrconf:
    def __init__(self, ip: Ipv6) -> None:
        self.ip = ip
        self.routers = RouterDiscovery(ip, self)
        self._links: dict[NetDevice, Link] = {}
        self._addresses: dict[bytes, list[IfAddr]] = {}
        self._settled = WaitQueue()

    # -- links -----------------------------------------------------------------------------

    def up(self, dev: NetDevice) -> None:
        """Once: groups, and a link-local address from the MAC (RFC 4862, 5.3)."""
        if dev in self._links or dev.loopback:
            return
        self._links[dev] = Link()
        self.ip.mld.join(dev, ALL_NODES)
        if self.ip.forwarding:
            self.ip.mld.join(dev, ALL_ROUTERS)
        self.add(dev, LINKLOCAL + eui64(dev.mac), 64)

    def down(self, dev: NetDevice) -> None:
        for address in [a for a in self.all() if a.dev is dev]:
            self.remove(address)
        if self._links.pop(dev, None) is not None:
            self.ip.mld.flush(dev)
            self.routers.stop(dev)

    def links(self) -> list[NetDevice]:
        """The devices that speak IPv6, in order."""
        return list(self._links)

    def link(self, dev: NetDevice) -> Link:
        return self._links[dev]

    def conf(self, dev: NetDevice, name: str) -> int:
        """The setting of the device."""
        return self.ip.kernel.sysctl[f"net.ipv6.conf.{dev.name}.{name}"]

    def mtu(self, dev: NetDevice) -> int:
        link = self._links.get(dev)
        return min(link.mtu or dev.mtu, dev.mtu) if link is not None else dev.mtu

    def hop_limit(self, dev: NetDevice) -> int:
        link = self._links.get(dev)
        learnt = link.hop_limit if link is not None else 0
        return learnt or self.conf(dev, "hop_limit")

    # -- addresses -------------------------------------------------------------------------

    def all(self) -> list[IfAddr]:
        return [address for same in self._addresses.values() for address in same]

    def find(self, ip: bytes, dev: NetDevice | None = None) -> IfAddr | None:
        """An address of the host, of `dev` if given, tentative or not."""
        for address in self._addresses.get(ip, ()):
            if dev is None or address.dev is dev:
                return address
        return None

    def usable(self, ip: bytes, dev: NetDevice | None = None) -> IfAddr | None:
        """`find`, but not while it is tentative."""
        for address in self._addresses.get(ip, ()):
            if not address.tentative and (dev is None or address.dev is dev):
                return address
        return None

    def source_for(self, dev: NetDevice, daddr: bytes) -> bytes | None:
        """The best source address for `daddr` through `dev` (RFC 6724)."""
        return srcaddr.select(self.all(), dev, daddr, self.ip.kernel.now)

    def add(
        self, dev: NetDevice, ip: bytes, prefix_length: int, *, dad: bool = True, route: bool = True
    ) -> IfAddr:
        """EEXIST.  Without `dad` it can be used at once."""
        if self.find(ip, dev) is not None:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        address = IfAddr(self, dev, ip, prefix_length)
        self._addresses.setdefault(ip, []).append(address)
        if route and not is_linklocal(ip) and prefix_length < 128:
            self.add_prefix_route(dev, address.network)
        if dev.loopback:
            address.tentative = False
            return address
        self.ip.mld.join(dev, solicited_node(ip))
        self._start_dad(address, dad)
        return address

    def remove(self, address: IfAddr) -> None:
        """`ip addr del`, or its valid lifetime is over."""
        same = self._addresses[address.ip]
        same.remove(address)
        if not same:
            del self._addresses[address.ip]
        for timer in (address.timer, address.preferred_timer, address.valid_timer):
            timer.delete()
        network, dev = address.network, address.dev
        if not any(a.dev is dev and a.network == network for a in self.all()):
            self.ip.routing.remove_routes(
                lambda e: e.dev is dev and e.network == network and e.metric == ADDRCONF_METRIC
            )
        self.ip.routing.flush()
        self.ip.mld.leave(dev, solicited_node(address.ip))
        self._settled.wake()

    def add_prefix_route(self, dev: NetDevice, network: ipaddress.IPv6Network) -> None:
        """The destinations of `network` are on the link; it may be known already."""
        entry = FibEntry(network, dev, b"", b"", ADDRCONF_METRIC)
        if not any(e.dev is dev for e in self.ip.routing.fib.find(network)):
            self.ip.routing.add_entry(entry)

    # -- duplicate address detection (RFC 4862, 5.4) -----------------------------------------

    def _start_dad(self, address: IfAddr, dad: bool) -> None:
        kernel, dev = self.ip.kernel, address.dev
        address.probes = self.conf(dev, "dad_transmits")
        if not dad or not address.probes or not self.conf(dev, "accept_dad"):
            self._dad_completed(address)
            return
        delay = self.conf(dev, "router_solicitation_delay") * SECOND
        address.timer.mod(kernel.now + kernel.rng.randrange(delay or 1))

    def dad_timer(self, address: IfAddr) -> None:
        """Ask once more, or nobody has answered."""
        if not address.probes:
            self._dad_completed(address)
            return
        address.probes -= 1
        retrans = self.ip.ndisc.setting(address.dev.name, "retrans_time_ms") * 1_000_000
        address.timer.mod(self.ip.kernel.now + retrans)
        self.ip.ndisc.solicit_duplicate(address.dev, address.ip)

    def _dad_completed(self, address: IfAddr) -> None:
        address.tentative = False
        self.ip.routing.flush()
        self._settled.wake()
        if is_linklocal(address.ip):
            self.routers.start(address.dev)

    def dad_failed(self, address: IfAddr) -> None:
        """Somebody has the address: it stays tentative, for `ip addr` to show (dadfailed)."""
        address.failed = True
        address.timer.delete()
        self._settled.wake()

    def settle(self, dev: NetDevice) -> None:
        """Wait until no address of `dev` is on trial (`settle-dad` of ifupdown); in a task."""
        wait_event(
            self.ip.kernel,
            self._settled,
            lambda: not any(a.dev is dev and a.tentative and not a.failed for a in self.all()),
        )
