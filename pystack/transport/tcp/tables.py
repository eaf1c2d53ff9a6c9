"""Who gets a segment: connections by their addresses and ports, listeners by port, and bound ports.

Compare `net/ipv4/inet_hashtables.c`.
"""

from __future__ import annotations

from socket import AF_INET
from typing import TYPE_CHECKING, Union, cast

from pystack.transport.inetaddr import is_link_scope, overlap
from pystack.transport.reuseport import FlowHash, join, leave
from pystack.transport.tcp.state import TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.request import RequestSock
    from pystack.transport.tcp.sock import TcpSock
    from pystack.transport.tcp.timewait import TimeWaitSock

FourTuple = tuple[bytes, int, bytes, int]
"""Local address and port, remote address and port."""

Key = tuple[bytes, int, bytes, int, int]
"""A connection's place in the table: `FourTuple`, and the link of a peer that is link-local."""

Connection = Union["TcpSock", "RequestSock", "TimeWaitSock"]
BindOwner = Union["TcpSock", "TimeWaitSock"]


def key_of(laddr: bytes, lport: int, raddr: bytes, rport: int, ifindex: int) -> Key:
    """Another link may have the same link-local address (`INET6_MATCH`)."""
    return laddr, lport, raddr, rport, ifindex if is_link_scope(raddr) else 0


class BindBucket:
    """The owners of one local port.  `explicit`: somebody named it in bind or listens on it."""

    __slots__ = ("explicit", "owners")

    def __init__(self) -> None:
        self.owners: dict[BindOwner, None] = {}
        self.explicit = False


class Tables:
    def __init__(self, flow_hash: FlowHash) -> None:
        self.flow_hash = flow_hash
        self.connections: dict[Key, Connection] = {}
        self.listeners: dict[int, list[TcpSock]] = {}
        self.bound: dict[int, BindBucket] = {}

    # -- connections and listeners ---------------------------------------------------------

    def lookup_listener(
        self,
        laddr: bytes,
        lport: int,
        raddr: bytes = b"",
        rport: int = 0,
        ifindex: int = 0,
        cpu: int = -1,
    ) -> TcpSock | None:
        """The listener for a SYN from `raddr`: one bound to the very address goes before one bound
        to any, then the best score, and of a group of SO_REUSEPORT whom the hash names."""
        best, badness = None, 0
        for sk in self.listeners.get(lport, ()):
            score = _score(sk, laddr, ifindex, cpu)
            if score > badness:
                best, badness = sk, score
        if best is not None and best.reuseport is not None:
            flow = self.flow_hash(laddr, lport, raddr, rport)
            return cast("TcpSock", best.reuseport.select(flow, cpu))
        return best

    def listen(self, sk: TcpSock) -> None:
        same_port = self.listeners.setdefault(sk.lport, [])
        if sk.sk_reuseport:
            join(sk, same_port)
        same_port.insert(0, sk)

    def unhash(self, sk: TcpSock) -> None:
        """Take a socket out of either table; it may be in none."""
        same_port = self.listeners.get(sk.lport, [])
        if sk in same_port:
            leave(sk)
            same_port.remove(sk)
            if not same_port:
                del self.listeners[sk.lport]
        elif self.connections.get(sk.key) is sk:
            del self.connections[sk.key]

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

    def bind_conflict(self, sk: TcpSock, address: bytes, port: int, named: bool = True) -> bool:
        """May `sk` not have the port? (`inet_csk_bind_conflict`)

        If it was `named`, SO_REUSEADDR on both sides allows it, unless the other one listens, and
        SO_REUSEPORT on both sides does to the same user.
        """
        bucket = self.bound.get(port)
        if bucket is None:
            return False
        for other in bucket.owners:
            if other is sk or not _same_device(sk, other):
                continue
            if named and (_both_reuse(sk, other) or _both_reuseport(sk, other)):
                continue
            if overlap(address, sk.v6only, other.rcv_saddr, other.v6only):
                return True
        return False


def _same_device(sk: TcpSock, other: BindOwner) -> bool:
    ours, theirs = sk.sk_bound_dev_if, other.sk_bound_dev_if
    return not ours or not theirs or ours == theirs


def _both_reuse(sk: TcpSock, other: BindOwner) -> bool:
    return sk.sk_reuse and other.sk_reuse and other.state is not TcpState.LISTEN


def _both_reuseport(sk: TcpSock, other: BindOwner) -> bool:
    """Of the same user; a TIME_WAIT has none any more."""
    if not sk.sk_reuseport or not other.sk_reuseport:
        return False
    return other.state is TcpState.TIME_WAIT or sk.sk_uid == other.sk_uid


def _score(sk: TcpSock, laddr: bytes, ifindex: int, cpu: int) -> int:
    """How well a listener matches; 0: not at all (`compute_score`)."""
    if sk.rcv_saddr == laddr:
        score = 8
    elif overlap(sk.rcv_saddr, sk.v6only, laddr, False):
        score = 1
    else:
        return 0
    if sk.sk_bound_dev_if:
        if sk.sk_bound_dev_if != ifindex:
            return 0
        score += 1
    if sk.family == AF_INET:
        score += 1
    if sk.sk_incoming_cpu == cpu:
        score += 1
    return score
