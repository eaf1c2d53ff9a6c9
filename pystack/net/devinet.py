"""IPv4 addresses of devices, and the routes that come with them (`net/ipv4/devinet.c`).

Called by `Ipv4`; fills the local and the main table as `fib_add_ifaddr` does.
"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import dataclass

from pystack.dev.netdev import NetDevice
from pystack.net.fib import Fib, FibEntry, RouteType, os_error

SCOPE_GLOBAL, SCOPE_LINK, SCOPE_HOST = 0, 253, 254


@dataclass(frozen=True, eq=False)
class IfAddr:
    """`ip addr`: `secondary` is one in a subnet that an earlier address of the device opened."""

    dev: NetDevice
    interface: ipaddress.IPv4Interface
    scope: int
    secondary: bool

    @property
    def packed(self) -> bytes:
        return self.interface.ip.packed

    @property
    def network(self) -> ipaddress.IPv4Network:
        return self.interface.network

    @property
    def broadcast(self) -> bytes:
        """Empty for a prefix of 31 or 32, which has none (RFC 3021)."""
        return self.network.broadcast_address.packed if self.network.prefixlen < 31 else b""


class Devinet:
    """`addresses` holds every local address by its bytes."""

    def __init__(self, local: Fib, main: Fib) -> None:
        self._local = local
        self._main = main
        self.by_dev: dict[NetDevice, list[IfAddr]] = {}
        self.addresses: dict[bytes, IfAddr] = {}
        self.broadcasts: set[bytes] = set()

    def add(self, dev: NetDevice, text: str) -> None:
        """`ip addr add TEXT dev DEV`; OSError(EEXIST)."""
        interface = ipaddress.IPv4Interface(text)
        mine = self.by_dev.setdefault(dev, [])
        if any(a.interface.ip == interface.ip and a.network == interface.network for a in mine):
            raise os_error(errno.EEXIST)
        scope = SCOPE_HOST if interface.ip.is_loopback else SCOPE_GLOBAL
        secondary = any(a.network == interface.network for a in mine)
        mine.append(IfAddr(dev, interface, scope, secondary))
        self._sync()

    def delete(self, dev: NetDevice, text: str, *, promote: bool = False) -> None:
        """`ip addr del`: a primary takes its secondaries along unless they are promoted (sysctl
        promote_secondaries).  OSError(EADDRNOTAVAIL)."""
        interface = ipaddress.IPv4Interface(text)
        mine = self.by_dev.get(dev, [])
        gone = [a for a in mine if a.interface == interface]
        if not gone:
            raise os_error(errno.EADDRNOTAVAIL)
        mine.remove(gone[0])
        siblings = [a for a in mine if a.network == interface.network]
        if not gone[0].secondary and siblings:
            at = mine.index(siblings[0])
            if promote:
                mine[at] = IfAddr(dev, siblings[0].interface, siblings[0].scope, secondary=False)
            else:
                mine[:] = [a for a in mine if a not in siblings]
        self._sync()

    def select(self, dev: NetDevice | None, dst: bytes, scope: int) -> bytes:
        """The source for talking to `dst` through `dev` (`inet_select_addr`); empty: none."""
        target = ipaddress.IPv4Address(dst) if dst else None
        first = b""
        for address in self.by_dev.get(dev, []) if dev is not None else []:
            if address.secondary or min(address.scope, SCOPE_LINK) > scope:
                continue
            if target is None or target in address.network:
                return address.packed
            first = first or address.packed
        return first or self._of_any_device(scope)

    def on_link(self, dev: NetDevice, one: bytes, other: bytes) -> bool:
        """Are both in one subnet of `dev` (`inet_addr_onlink`)?"""
        first, second = ipaddress.IPv4Address(one), ipaddress.IPv4Address(other)
        return any(
            first in address.network and second in address.network
            for address in self.by_dev.get(dev, [])
        )

    def _of_any_device(self, scope: int) -> bytes:
        for addresses in self.by_dev.values():
            for address in addresses:
                if (
                    not address.secondary
                    and address.scope not in (SCOPE_LINK,)
                    and (address.scope <= scope)
                ):
                    return address.packed
        return b""

    def _sync(self) -> None:
        """Make the tables say what the addresses do."""
        everything = [a for addresses in self.by_dev.values() for a in addresses]
        self.addresses = {a.packed: a for a in reversed(everything)}
        self.broadcasts = {a.broadcast for a in everything if a.broadcast} | {b"\xff" * 4}
        wanted = {_key(e): (t, e) for a in everything for t, e in self._entries(a)}
        for table in (self._local, self._main):
            for entry in [e for e in table if e.kernel]:
                if wanted.pop(_key(entry), None) is None:
                    table.remove(entry)
        for table, entry in wanted.values():
            table.add(entry, append=True)

    def _entries(self, address: IfAddr) -> list[tuple[Fib, FibEntry]]:
        """What one address brings: itself, its broadcast address, its subnet."""
        dev, network, source = address.dev, address.network, address.packed

        def entry(to: ipaddress.IPv4Network, kind: RouteType) -> FibEntry:
            return FibEntry(to, dev, b"", source, 0, kind=kind, kernel=True)

        own = ipaddress.IPv4Network(address.interface.ip)
        found = [(self._local, entry(own, RouteType.LOCAL))]
        if address.secondary or not dev.up:
            return found
        if dev.loopback:
            found.append((self._local, entry(network, RouteType.LOCAL)))
        elif network.prefixlen < 32:
            found.append((self._main, entry(network, RouteType.UNICAST)))
        if address.broadcast:
            to = ipaddress.IPv4Network(address.broadcast)
            found.append((self._local, entry(to, RouteType.BROADCAST)))
        return found

    def sync(self) -> None:
        """A device went up or down: its subnets come and go, its addresses stay."""
        self._sync()


def _key(entry: FibEntry) -> tuple[object, ...]:
    return entry.network, entry.dev, entry.saddr, entry.kind
