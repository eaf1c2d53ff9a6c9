"""Routers on the link and what they advertise (RFC 4861, 6.3; RFC 4862, 5.5): the host's side.

`addrconf` starts it when a link-local address is good; `ndisc` passes advertisements on.  Makes
default routes, prefix routes and addresses, and lets them expire.
"""

from __future__ import annotations

import ipaddress
from functools import partial
from typing import TYPE_CHECKING

from pystack.core.headers.icmpv6 import (
    ND_INFINITY,
    ND_OPT_MTU,
    ND_OPT_PREFIX_INFO,
    ND_OPT_SOURCE_LL_ADDR,
    NDISC_ROUTER_SOLICITATION,
    PrefixInfo,
    RouterAdvert,
    link_address_option,
)
from pystack.core.headers.ipv6 import ALL_ROUTERS, IPV6_MIN_MTU, eui64, is_linklocal
from pystack.core.skb import SkBuff
from pystack.core.timer import Timer
from pystack.dev.netdev import NetDevice
from pystack.net.fib import FibEntry

if TYPE_CHECKING:
    from pystack.net.addrconf import Addrconf
    from pystack.net.ipv6 import Ipv6

SECOND = 1_000_000_000
ROUTE_METRIC = 1024  # IP6_RT_PRIO_USER
TWO_HOURS = 7200 * SECOND
MAX_SOLICITATION_INTERVAL = 3600 * SECOND
MIN_RETRANS_MS = 10  # HZ / 100
MAX_ROUTERS = 16
MAX_ADDRESSES = 16  # net.ipv6.conf.*.max_addresses
_DEFAULT = ipaddress.IPv6Network("::/0")


class RouterDiscovery:
    def __init__(self, ip: Ipv6, addrconf: Addrconf) -> None:
        self.ip = ip
        self.kernel = ip.kernel
        self.addrconf = addrconf
        self._routers: dict[tuple[NetDevice, bytes], Timer] = {}
        self._prefixes: dict[tuple[NetDevice, ipaddress.IPv6Network], Timer] = {}
        self._searches: dict[NetDevice, tuple[Timer, int]] = {}  # and the last interval in ns

    # -- solicitations ---------------------------------------------------------------------

    def start(self, dev: NetDevice) -> None:
        """Look for routers, less and less often, until one answers (RFC 7559)."""
        conf = partial(self.addrconf.conf, dev)
        if self.ip.forwarding or not conf("accept_ra") or dev in self._searches:
            return
        if conf("router_solicitations"):
            timer = self.kernel.timer(partial(self._solicit, dev))
            self._searches[dev] = timer, 0
            delay = conf("router_solicitation_delay") * SECOND
            timer.mod(self.kernel.now + self.kernel.rng.randrange(delay or 1))

    def _solicit(self, dev: NetDevice) -> None:
        timer, interval = self._searches[dev]
        first = self.addrconf.conf(dev, "router_solicitation_interval") * SECOND
        interval = min(2 * interval or first, MAX_SOLICITATION_INTERVAL)
        interval = interval * self.kernel.rng.randrange(90, 111) // 100
        self._searches[dev] = timer, interval
        timer.mod(self.kernel.now + interval)
        source = self.addrconf.source_for(dev, ALL_ROUTERS)
        if source is not None:
            option = link_address_option(ND_OPT_SOURCE_LL_ADDR, dev.mac)
            self.ip.ndisc.transmit(dev, source, ALL_ROUTERS, NDISC_ROUTER_SOLICITATION, 0, option)

    def stop(self, dev: NetDevice) -> None:
        """`dev` goes down."""
        found = self._searches.pop(dev, None)
        if found is not None:
            found[0].delete()
        for key in [key for key in self._routers if key[0] is dev]:
            self._routers.pop(key).delete()
        for prefix in [key for key in self._prefixes if key[0] is dev]:
            self._prefixes.pop(prefix).delete()

    # -- advertisements --------------------------------------------------------------------

    def receive(
        self,
        skb: SkBuff,
        message: bytes,
        first: dict[int, bytes],
        options: list[tuple[int, bytes]],
    ) -> bool:
        """`ndisc_router_discovery`; False if it is not to be believed (RFC 4861, 6.1.2)."""
        dev: NetDevice = skb.dev
        if not is_linklocal(skb.saddr):
            return False
        if dev not in self.addrconf.links() or self.ip.forwarding:
            return True
        if not self.addrconf.conf(dev, "accept_ra"):
            return True
        advert = RouterAdvert.parse(message, 4)
        if advert.lifetime and dev in self._searches:
            self._searches[dev][0].delete()
        self._default_route(dev, skb.saddr, advert.lifetime)
        self._link_parameters(dev, advert, first)
        mac = first.get(ND_OPT_SOURCE_LL_ADDR)
        if mac is not None and len(mac) == 6:
            neigh = self.ip.ndisc.update(dev, skb.saddr, mac, create=True)
            if neigh is not None:
                neigh.is_router = True
        for kind, value in options:
            if kind == ND_OPT_PREFIX_INFO and len(value) == 30:
                self._prefix(dev, PrefixInfo.parse(value))
        return True

    def _link_parameters(
        self, dev: NetDevice, advert: RouterAdvert, first: dict[int, bytes]
    ) -> None:
        link, sysctl = self.addrconf.link(dev), self.kernel.sysctl
        if advert.hop_limit:
            link.hop_limit = advert.hop_limit
        if advert.reachable_time:
            sysctl[f"net.ipv6.neigh.{dev.name}.base_reachable_time_ms"] = advert.reachable_time
        if advert.retrans_timer:
            retrans = max(advert.retrans_timer, MIN_RETRANS_MS)
            sysctl[f"net.ipv6.neigh.{dev.name}.retrans_time_ms"] = retrans
        option = first.get(ND_OPT_MTU)
        if option is not None and len(option) == 6:
            mtu = int.from_bytes(option[2:], "big")
            if IPV6_MIN_MTU <= mtu <= dev.mtu:
                link.mtu = mtu
        self.ip.routing.flush()

    def _default_route(self, dev: NetDevice, router: bytes, lifetime: int) -> None:
        if not lifetime:
            self.forget(dev, router)
            return
        timer = self._routers.get((dev, router))
        if timer is None:
            if len(self._routers) >= MAX_ROUTERS:
                return
            timer = self.kernel.timer(partial(self.forget, dev, router))
            self._routers[dev, router] = timer
            entry = FibEntry(_DEFAULT, dev, router, b"", ROUTE_METRIC)
            self.ip.routing.add_entry(entry, append=True)
        timer.mod(self.kernel.now + lifetime * SECOND)

    def forget(self, dev: NetDevice, router: bytes) -> None:
        """No default router any more."""
        timer = self._routers.pop((dev, router), None)
        if timer is not None:
            timer.delete()
            self.ip.routing.remove_routes(
                lambda e: e.network == _DEFAULT and e.dev is dev and e.gateway == router
            )

    # -- prefixes --------------------------------------------------------------------------

    def _prefix(self, dev: NetDevice, info: PrefixInfo) -> None:
        """RFC 4861, 6.3.4, and RFC 4862, 5.5.3 (`addrconf_prefix_rcv`)."""
        if info.length > 128 or is_linklocal(info.prefix) or info.prefix[0] == 0xFF:
            return
        if info.preferred > info.valid:
            return
        network = ipaddress.IPv6Network((info.prefix, info.length), strict=False)
        if info.on_link:
            self._on_link(dev, network, info.valid)
        if info.autonomous and info.length == 64 and self.addrconf.conf(dev, "autoconf"):
            self._autoconf(dev, network, info)

    def _on_link(self, dev: NetDevice, network: ipaddress.IPv6Network, valid: int) -> None:
        timer = self._prefixes.get((dev, network))
        if not valid:
            if timer is not None:
                self._prefix_expired(dev, network)
            return
        self.addrconf.add_prefix_route(dev, network)
        if timer is None:
            timer = self.kernel.timer(partial(self._prefix_expired, dev, network))
            self._prefixes[dev, network] = timer
        if valid == ND_INFINITY:
            timer.delete()
        else:
            timer.mod(self.kernel.now + valid * SECOND)

    def _prefix_expired(self, dev: NetDevice, network: ipaddress.IPv6Network) -> None:
        self._prefixes.pop((dev, network)).delete()
        self.ip.routing.remove_routes(
            lambda e: e.network == network and e.dev is dev and not e.gateway
        )

    def _autoconf(self, dev: NetDevice, network: ipaddress.IPv6Network, info: PrefixInfo) -> None:
        ip = network.network_address.packed[:8] + eui64(dev.mac)
        address, now = self.addrconf.find(ip, dev), self.kernel.now
        valid = None if info.valid == ND_INFINITY else info.valid * SECOND
        preferred = None if info.preferred == ND_INFINITY else info.preferred * SECOND
        if address is None:
            mine = sum(a.dev is dev for a in self.addrconf.all())
            if not info.valid or mine >= MAX_ADDRESSES:
                return
            address = self.addrconf.add(dev, ip, 64, route=False)
        elif valid is not None and address.valid_until is not None:
            # RFC 4862, 5.5.3 e): nobody takes an address away at once without authentication.
            left = address.valid_until - now
            if valid < TWO_HOURS and valid <= left:
                valid = min(left, TWO_HOURS)
        address.live(now, valid, preferred)
