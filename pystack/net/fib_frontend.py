"""`ip route`: adding, replacing and deleting IPv4 routes (`net/ipv4/fib_frontend.c`,
`fib_create_info` of `net/ipv4/fib_semantics.c`).

Offered to the configuration as methods of `Ipv4`; changes the main table.
"""

from __future__ import annotations

import errno
import ipaddress

from pystack.dev.netdev import NetDevice
from pystack.net.fib import Fib, FibEntry, RouteType, os_error
from pystack.net.route import Routing


class FibFrontend:
    def __init__(self, routing: Routing, main: Fib, loopback: NetDevice) -> None:
        self._routing = routing
        self._main = main
        self._loopback = loopback

    def add_route(
        self,
        prefix: str,
        gateway: str = "",
        metric: int = 0,
        *,
        dev: NetDevice | None = None,
        src: str = "",
        onlink: bool = False,
        kind: RouteType = RouteType.UNICAST,
        metrics: dict[str, int] | None = None,
    ) -> None:
        """`ip route add [KIND] PREFIX via GATEWAY dev DEV src SRC metric METRIC [onlink]`.

        OSError: EEXIST, ENETUNREACH if the gateway has no link, EINVAL for a foreign `src` or a
        gateway that is not a neighbour's.
        """
        entry = self._create_info(prefix, gateway, metric, dev, src, onlink, kind, metrics or {})
        self._main.add(entry)
        self._routing.flush()

    def replace_route(self, prefix: str, gateway: str = "", metric: int = 0, **how: object) -> None:
        """`ip route replace`: the route of this prefix and metric becomes this one."""
        old = self._main.find(network(prefix), metric)
        for entry in old[:1]:
            self._main.remove(entry)
        try:
            self.add_route(prefix, gateway, metric, **how)  # type: ignore[arg-type]
        except OSError:
            for entry in old[:1]:
                self._main.add(entry, append=True)
            raise

    def del_route(
        self,
        prefix: str,
        gateway: str = "",
        metric: int | None = None,
        dev: NetDevice | None = None,
    ) -> None:
        """`ip route del`: the first that fits what is given; OSError(ESRCH)."""
        via = ipaddress.IPv4Address(gateway).packed if gateway else b""
        for entry in self._main.find(network(prefix), metric):
            if (not via or entry.gateway == via) and dev in (None, entry.dev):
                self._main.remove(entry)
                self._routing.flush()
                return
        raise os_error(errno.ESRCH)

    def _create_info(
        self,
        prefix: str,
        gateway: str,
        metric: int,
        dev: NetDevice | None,
        src: str,
        onlink: bool,
        kind: RouteType,
        metrics: dict[str, int],
    ) -> FibEntry:
        """`fib_create_info`, with `fib_check_nh` for the gateway."""
        source = ipaddress.IPv4Address(src).packed if src else b""
        if source and not self._routing.is_local(source):
            raise os_error(errno.EINVAL)
        via = ipaddress.IPv4Address(gateway).packed if gateway else b""
        if kind is not RouteType.UNICAST:
            dev = self._loopback
        elif via and not (onlink and dev is not None):
            link = self._main.lookup(via, dev.ifindex if dev is not None else 0)
            if self._routing.address_type(via) is not RouteType.UNICAST:
                raise os_error(errno.EINVAL)
            if link is None or link.gateway:
                raise os_error(errno.ENETUNREACH)
            dev = link.dev
        if dev is None:
            raise os_error(errno.ENODEV)
        if not dev.up:
            raise os_error(errno.ENETDOWN)
        return FibEntry(network(prefix), dev, via, source, metric, metrics, kind)

    def set_route_metrics(self, prefix: str, **metrics: int) -> None:
        """`ip route change PREFIX ... initcwnd 20`, for routes looked up from now on.

        OSError(ENETUNREACH) if there is no route to the prefix.
        """
        to = network(prefix)
        for entry in self._main.find(to)[:1]:
            entry.metrics.update(metrics)
            break
        else:
            link = self._main.lookup(to.network_address.packed)
            if link is None:
                raise os_error(errno.ENETUNREACH)
            self._main.add(FibEntry(to, link.dev, link.gateway, link.saddr, 0, metrics))
        self._routing.flush()


def network(prefix: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network("0.0.0.0/0" if prefix == "default" else prefix)
