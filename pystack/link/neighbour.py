"""Neighbours on a link and the packets that wait for them (`net/core/neighbour.c`; RFC 4861, 7.3).

Called by the network layers (`send`) for every packet on a link.  `Arp` and `Ndisc` derive from
`NeighbourTable`: they ask (`solicit`), and tell what they have heard (`update`).  Calls
`Ethernet.send` once the link address is known, `unreachable` for packets it gives up on.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.link.ethernet import Ethernet

MS = 1_000_000


class NudState(enum.Enum):
    INCOMPLETE = "INCOMPLETE"  # asked, no answer yet
    REACHABLE = "REACHABLE"  # confirmed lately
    STALE = "STALE"  # known, not confirmed lately
    DELAY = "DELAY"  # stale and in use: give the upper layer a chance to confirm
    PROBE = "PROBE"  # asking again, by unicast
    FAILED = "FAILED"
    PERMANENT = "PERMANENT"  # somebody has set it by hand


class Neighbour:
    """One entry of the table; `queue` holds packets that wait for the address."""

    def __init__(self, table: NeighbourTable, dev: NetDevice, ip: bytes) -> None:
        self.dev = dev
        self.ip = ip
        self.mac = b""
        self.state = NudState.INCOMPLETE
        self.is_router = False
        self.queue: deque[SkBuff] = deque()
        self.probes = 0
        self.used = table.kernel.now
        self.confirmed = table.never_confirmed(dev)
        self.timer = table.kernel.timer(lambda: table.timer_expired(self))


class NeighbourTable(ABC):
    """`unreachable(skb)` hears of a packet that found no neighbour, and must not free it."""

    def __init__(self, ethernet: Ethernet, ethertype: int) -> None:
        self.ethernet = ethernet
        self.kernel = ethernet.kernel
        self.unreachable: Callable[[SkBuff], None] = lambda skb: None
        self.table: dict[tuple[str, bytes], Neighbour] = {}
        self._ethertype = ethertype

    @abstractmethod
    def solicit(self, neigh: Neighbour, mac: bytes) -> None:
        """Ask for the neighbour's address: everybody if `mac` is empty, else the one it had."""

    @abstractmethod
    def setting(self, dev: str, name: str) -> int:
        """The family's, of a device by name: a router may have told what holds on its link; those
        of the whole table are `default`'s."""

    def send(self, skb: SkBuff, dev: NetDevice, next_hop: bytes) -> bool:
        """Send a packet to the neighbour `next_hop` on `dev`; takes ownership.

        False if the device's queue is full; a packet may be lost otherwise, too.
        """
        neigh = self.table.get((dev.name, next_hop))
        if neigh is None:
            neigh = self._create(dev, next_hop)
            if neigh is None:
                self.kernel.drop(skb, Drop.NEIGH_QUEUE_FULL)
                return True
        neigh.used = self.kernel.now
        if neigh.state is NudState.FAILED:
            neigh.state = NudState.INCOMPLETE
            neigh.probes = 0
        if neigh.state is NudState.INCOMPLETE:
            if len(neigh.queue) >= self.setting(dev.name, "unres_qlen"):
                self.kernel.drop(neigh.queue.popleft(), Drop.NEIGH_QUEUE_FULL)
            neigh.queue.append(skb)
            if not neigh.timer.pending:
                self._probe(neigh)
            return True
        if neigh.state is NudState.STALE:
            neigh.state = NudState.DELAY
            neigh.timer.mod(self.kernel.now + self._delay(neigh))
        return self.ethernet.send(skb, dev, neigh.mac, self._ethertype)

    def confirm(self, dev: NetDevice, ip: bytes) -> None:
        """A transport made progress through this neighbour (`dst_confirm`): the timer will see."""
        neigh = self.table.get((dev.name, ip))
        if neigh is not None:
            neigh.confirmed = self.kernel.now

    def update(
        self,
        dev: NetDevice,
        ip: bytes,
        mac: bytes,
        *,
        reachable: bool = False,
        override: bool = True,
        create: bool = False,
    ) -> Neighbour | None:
        """Somebody said that `ip` has `mac` (`neigh_update`); None if we do not care.

        `reachable`: it was an answer to us.  Without `override` another address than the one
        known only casts doubt on it (RFC 4861, 7.2.5).
        """
        neigh = self.table.get((dev.name, ip))
        if neigh is None:
            neigh = self._create(dev, ip) if create else None
            if neigh is None:
                return None
        if neigh.state is NudState.PERMANENT:
            return neigh
        known = neigh.state not in (NudState.INCOMPLETE, NudState.FAILED)
        if known and mac != neigh.mac and not override:
            if neigh.state is NudState.REACHABLE:
                self._stale(neigh)
            return neigh
        changed = neigh.mac != mac
        if changed:
            neigh.confirmed = self.never_confirmed(dev)
        neigh.mac = mac
        if reachable:
            self._reachable(neigh)
        elif changed or not known:
            self._stale(neigh)
        while neigh.queue:
            self.ethernet.send(neigh.queue.popleft(), dev, neigh.mac, self._ethertype)
        return neigh

    def timer_expired(self, neigh: Neighbour) -> None:
        now = self.kernel.now
        if neigh.state is NudState.REACHABLE:
            if now < self._reachable_until(neigh):
                neigh.timer.mod(self._reachable_until(neigh))
            else:
                neigh.state = NudState.STALE
        elif neigh.state is NudState.DELAY and now <= neigh.confirmed + self._delay(neigh):
            neigh.state = NudState.REACHABLE
            neigh.timer.mod(self._reachable_until(neigh))
        elif neigh.state is NudState.DELAY:
            neigh.state = NudState.PROBE
            neigh.probes = 0
            self._probe(neigh)
        elif neigh.state in (NudState.INCOMPLETE, NudState.PROBE):
            unicast = neigh.state is NudState.PROBE
            if neigh.probes < self.setting(
                neigh.dev.name, "ucast_solicit" if unicast else "mcast_solicit"
            ):
                self._probe(neigh)
            else:
                self._fail(neigh)
        neigh.used = max(neigh.used, now)

    def set_permanent(self, dev: NetDevice, ip: bytes, mac: bytes) -> None:
        """`ip neigh replace IP lladdr MAC dev DEV`: nobody changes it but who sets it."""
        self.delete(dev, ip)
        neigh = self.table[dev.name, ip] = Neighbour(self, dev, ip)
        neigh.mac = mac
        neigh.state = NudState.PERMANENT

    def delete(self, dev: NetDevice, ip: bytes) -> bool:
        """Forget an entry, and lose what waits for it; whether it was there."""
        neigh = self.table.pop((dev.name, ip), None)
        if neigh is None:
            return False
        neigh.timer.delete()
        while neigh.queue:
            self.kernel.drop(neigh.queue.popleft(), Drop.NEIGH_FAILED)
        return True

    def flush(self, dev: NetDevice) -> None:
        """Forget everything about `dev`, which goes down."""
        for key in [key for key in self.table if key[0] == dev.name]:
            neigh = self.table.pop(key)
            neigh.timer.delete()
            while neigh.queue:
                self.kernel.drop(neigh.queue.popleft(), Drop.DEV_DOWN)

    # -- inside ----------------------------------------------------------------------------

    def _create(self, dev: NetDevice, ip: bytes) -> Neighbour | None:
        if len(self.table) >= self.setting("default", "gc_thresh3"):
            victims = [
                n for n in self.table.values() if n.state in (NudState.STALE, NudState.FAILED)
            ]
            if not victims:
                return None
            oldest = min(victims, key=lambda n: n.used)
            oldest.timer.delete()
            del self.table[oldest.dev.name, oldest.ip]
        neigh = self.table[dev.name, ip] = Neighbour(self, dev, ip)
        return neigh

    def _reachable(self, neigh: Neighbour) -> None:
        neigh.state = NudState.REACHABLE
        neigh.confirmed = self.kernel.now
        neigh.timer.mod(self._reachable_until(neigh))

    def never_confirmed(self, dev: NetDevice) -> int:
        """A time too long ago to mean anything (`neigh_create`)."""
        return self.kernel.now - 2 * self.setting(dev.name, "base_reachable_time_ms") * MS

    def _reachable_until(self, neigh: Neighbour) -> int:
        return neigh.confirmed + self.setting(neigh.dev.name, "base_reachable_time_ms") * MS

    def _delay(self, neigh: Neighbour) -> int:
        return self.setting(neigh.dev.name, "delay_first_probe_time") * 1000 * MS

    def _stale(self, neigh: Neighbour) -> None:
        neigh.state = NudState.STALE
        neigh.timer.delete()

    def _probe(self, neigh: Neighbour) -> None:
        neigh.probes += 1
        neigh.timer.mod(self.kernel.now + self.setting(neigh.dev.name, "retrans_time_ms") * MS)
        self.solicit(neigh, neigh.mac if neigh.state is NudState.PROBE else b"")

    def _fail(self, neigh: Neighbour) -> None:
        neigh.state = NudState.FAILED
        neigh.mac = b""
        while neigh.queue:
            skb = neigh.queue.popleft()
            self.unreachable(skb)
            self.kernel.drop(skb, Drop.NEIGH_FAILED)
