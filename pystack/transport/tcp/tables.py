"""Who gets a segment: connections by their four-tuple, listeners by port, and bound ports.

Compare `net/ipv4/inet_hashtables.c`.
"""

from __future__ import annotations

from socket import AF_INET
from typing import TYPE_CHECKING, Union

from pystack.transport.inetaddr import overlap
from pystack.transport.tcp.state import TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.request import RequestSock
    from pystack.transport.tcp.sock import TcpSock
    from pystack.transport.tcp.timewait import TimeWaitSock

FourTuple = tuple[bytes, int, bytes, int]
"""Local address and port, remote address and port."""

Connection = Union["TcpSock", "RequestSock", "TimeWaitSock"]
BindOwner = Union["TcpSock", "TimeWaitSock"]


class BindBucket:
    """The owners of one local port.  `explicit`: somebody named it in bind or listens on it."""

    __slots__ = ("explicit", "owners")

    def __init__(self) -> None:
        self.owners: dict[BindOwner, None] = {}
        self.explicit = False


class Tables:
    def __init__(self) -> None:
        self.connections: dict[FourTuple, Connection] = {}
        self.listeners: dict[int, list[TcpSock]] = {}
        self.bound: dict[int, BindBucket] = {}

    # -- connections and listeners ---------------------------------------------------------

    def lookup_listener(self, laddr: bytes, lport: int) -> TcpSock | None:
        """One bound to the very address goes before one bound to any, one of IPv4 alone before
        one of both families."""
        wildcard = None
        for sk in self.listeners.get(lport, ()):
            if sk.rcv_saddr == laddr:
                return sk
            if overlap(sk.rcv_saddr, sk.v6only, laddr, False) and (
                wildcard is None or sk.family == AF_INET
            ):
                wildcard = sk
        return wildcard

    def listen(self, sk: TcpSock) -> None:
        self.listeners.setdefault(sk.lport, []).append(sk)

    def unhash(self, sk: TcpSock) -> None:
        """Take a socket out of either table; it may be in none."""
        same_port = self.listeners.get(sk.lport, [])
        if sk in same_port:
            same_port.remove(sk)
            if not same_port:
                del self.listeners[sk.lport]
        elif self.connections.get(sk.four_tuple) is sk:
            del self.connections[sk.four_tuple]

    # -- ports -----------------------------------------------------------------------------

    def hold_port(self, owner: BindOwner, port: int, explicit: bool) -> None:
        bucket = self.bound.setdefault(port, BindBucket())
        bucket.owners[owner] = None
        bucket.explicit = bucket.explicit or explicit

    def put_port(self, owner: BindOwner, port: int) -> None:
        bucket = self.bound.get(port)
        if bucket is not None:
            bucket.owners.pop(owner, None)
            if not bucket.owners:
                del self.bound[port]

    def bind_conflict(self, sk: TcpSock, address: bytes, port: int) -> bool:
        """May `sk` not have the port? (`inet_csk_bind_conflict`)

        SO_REUSEADDR on both sides allows it, unless the other one listens.
        """
        bucket = self.bound.get(port)
        if bucket is None:
            return False
        for other in bucket.owners:
            if other is sk:
                continue
            shared = sk.sk_reuse and other.sk_reuse and other.state is not TcpState.LISTEN
            if not shared and overlap(address, sk.v6only, other.rcv_saddr, other.v6only):
                return True
        return False
