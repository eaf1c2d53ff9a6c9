"""Who gets a datagram: sockets by port and bound address (`net/ipv4/udp.c`).

A port's sockets stand newest first, and of equals the first one wins, as in Linux.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from socket import AF_INET
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from pystack.transport import mcast
from pystack.transport.inetaddr import overlap
from pystack.transport.reuseport import FlowHash, join, leave
from pystack.transport.sock import NoWaiting, os_error

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel
    from pystack.transport.inetdgram import InetDatagramSock

ANY = b""  # the key of what is bound to no address
S = TypeVar("S", bound="InetDatagramSock")


class PortTable(Generic[S]):
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.flow_hash = FlowHash(kernel.rng)
        self._by_port: dict[int, list[S]] = {}
        self._by_address: dict[tuple[int, bytes], list[S]] = {}

    # -- ports -----------------------------------------------------------------------------

    def check_port(self, sk: S, port: int) -> None:
        """EACCES for a privileged port, EINVAL for a socket that has one."""
        least = self.kernel.sysctl["net.ipv4.ip_unprivileged_port_start"]
        if 0 < port < least and sk.sk_uid != 0:
            raise os_error(errno.EACCES)
        if sk.lport:
            raise os_error(errno.EINVAL)

    def autobind(self, sk: S) -> None:
        """An ephemeral port, if it has none; EAGAIN when all are taken (`inet_autobind`)."""
        if not sk.lport:
            try:
                self.get_port(sk, 0)
            except OSError:
                raise NoWaiting from None

    def at_port(self, port: int) -> Sequence[S]:
        return self._by_port.get(port, ())

    def get_port(self, sk: S, port: int) -> None:
        """Take local `port`, or any free one for 0; EADDRINUSE (`udp_lib_get_port`)."""
        if not port:
            port = self._free_port(sk)
        elif self._conflict(sk, port):
            raise os_error(errno.EADDRINUSE)
        sk.lport = port
        self._by_port.setdefault(port, []).insert(0, sk)
        self._hash_address(sk)
        if sk.sk_reuseport:
            join(sk, self._by_port[port])

    def _free_port(self, sk: S) -> int:
        low, high = self.kernel.sysctl.vector("net.ipv4.ip_local_port_range")
        count = high - low + 1
        start = self.kernel.rng.randrange(count)
        for step in range(count):
            port = low + (start + step) % count
            if not self._conflict(sk, port):
                return port
        raise os_error(errno.EADDRINUSE)

    def _conflict(self, sk: S, port: int) -> bool:
        """`udp_lib_lport_inuse`: SO_REUSEADDR on both sides allows it, SO_REUSEPORT on both
        sides to the same user."""
        for other in self._by_port.get(port, ()):
            if sk.sk_reuse and other.sk_reuse:
                continue
            if 0 not in (sk.sk_bound_dev_if, other.sk_bound_dev_if) and (
                sk.sk_bound_dev_if != other.sk_bound_dev_if
            ):
                continue
            if sk.sk_reuseport and other.sk_reuseport and sk.sk_uid == other.sk_uid:
                continue
            if overlap(sk.rcv_saddr, sk.v6only, other.rcv_saddr, other.v6only):
                return True
        return False

    def put_port(self, sk: S) -> None:
        """Take a socket out of the table; it may not be there."""
        if not sk.lport:
            return
        leave(sk)
        self._unhash_address(sk)
        same = self._by_port[sk.lport]
        same.remove(sk)
        if not same:
            del self._by_port[sk.lport]
        sk.lport = 0

    def rehash(self, sk: S, address: bytes) -> None:
        """`sk` is bound to `address` from now on (`udp_lib_rehash`)."""
        if sk.lport:
            self._unhash_address(sk)
        sk.rcv_saddr = address
        if sk.lport:
            self._hash_address(sk)

    def _hash_address(self, sk: S) -> None:
        self._by_address.setdefault(_key(sk), []).insert(0, sk)

    def _unhash_address(self, sk: S) -> None:
        same = self._by_address[_key(sk)]
        same.remove(sk)
        if not same:
            del self._by_address[_key(sk)]

    # -- lookup ----------------------------------------------------------------------------

    def lookup(self, daddr: bytes, dport: int, saddr: bytes, sport: int, ifindex: int) -> S | None:
        """The best match for a packet from `saddr` to `daddr` (`__udp4_lib_lookup`)."""
        for key in ((dport, daddr), (dport, ANY)):
            socks = self._by_address.get(key)
            if socks is not None:
                found = self._best(socks, daddr, dport, saddr, sport, ifindex)
                if found is not None:
                    return found
        return None

    def _best(
        self,
        socks: list[S],
        daddr: bytes,
        dport: int,
        saddr: bytes,
        sport: int,
        ifindex: int,
    ) -> S | None:
        """The highest score; a group of SO_REUSEPORT without peers chooses by hash instead."""
        cpu = self.kernel.cpu.index
        best, badness = None, 0
        for sk in socks:
            score = _score(sk, daddr, saddr, sport, ifindex, cpu)
            if score <= badness:
                continue
            best, badness = sk, score
            group = sk.reuseport
            if group is not None and not sk.has_peer:
                flow = self.flow_hash(daddr, dport, saddr, sport)
                best = cast("S", group.select(flow, cpu))
                if not group.connected:
                    return best
        return best

    def multicast(
        self, daddr: bytes, dport: int, saddr: bytes, sport: int, ifindex: int
    ) -> Iterator[S]:
        """All sockets a multicast or broadcast datagram is for (`__udp_is_mcast_sock`)."""
        for sk in self._by_port.get(dport, ()):
            if (
                _score(sk, daddr, saddr, sport, ifindex, -1) > 0
                and overlap(sk.rcv_saddr, sk.v6only, daddr, False)
                and (not mcast.is_multicast(daddr) or mcast.allows(sk, daddr, saddr, ifindex))
            ):
                yield sk


def _key(sk: InetDatagramSock) -> tuple[int, bytes]:
    return sk.lport, sk.rcv_saddr if any(sk.rcv_saddr) else ANY


def _score(
    sk: InetDatagramSock, daddr: bytes, saddr: bytes, sport: int, ifindex: int, cpu: int
) -> int:
    """How well a socket whose bound address fits matches; 0: not at all (`compute_score`)."""
    if len(daddr) == 4:
        if len(sk.rcv_saddr) == 16 and sk.v6only:
            return 0
        score = 2 if sk.family == AF_INET else 1
    elif len(sk.rcv_saddr) == 4:
        return 0
    else:
        score = 1
    if sk.has_peer:
        if sk.raddr != saddr or sk.rport != sport:
            return 0
        score += 8
    if sk.sk_bound_dev_if:
        if sk.sk_bound_dev_if != ifindex:
            return 0
        score += 4
    if sk.sk_incoming_cpu == cpu:
        score += 1
    return score
