"""SO_REUSEPORT: sockets that share an address and port, and which of them gets a packet.

`net/core/sock_reuseport.c`.  UDP's table and TCP's listeners put sockets into groups and ask
`select` for every packet or SYN of a group.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.transport.inetsock import InetSock
    from pystack.transport.sock import Sock


class FlowHash:
    """The keyed hash of a flow that both transports choose by (`inet_ehashfn`)."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._key = b""

    def __call__(self, laddr: bytes, lport: int, raddr: bytes, rport: int) -> int:
        """32 bits.  The key is drawn when it is first needed."""
        if not self._key:
            self._key = self._rng.randbytes(16)
        flow = b"".join((laddr, lport.to_bytes(2), raddr, rport.to_bytes(2)))
        return int.from_bytes(blake2s(flow, key=self._key, digest_size=4).digest())


class ReuseportGroup:
    """`connected`: one of them has had a peer, so that scores go before the hash."""

    __slots__ = ("connected", "socks")

    def __init__(self) -> None:
        self.socks: list[Sock] = []
        self.connected = False

    def add(self, sk: Sock) -> None:
        self.socks.append(sk)
        sk.reuseport = self

    def select(self, flow_hash: int, cpu: int) -> Sock | None:
        """By hash; if some ask for a CPU, the next one in turn that asks for this one."""
        socks = [sk for sk in self.socks if not sk.has_peer]
        if not socks:
            return None
        first = flow_hash * len(socks) >> 32
        if all(sk.sk_incoming_cpu < 0 for sk in socks):
            return socks[first]
        for sk in socks[first:] + socks[:first]:
            if sk.sk_incoming_cpu == cpu:
                return sk
        return socks[first]


def join(sk: InetSock, others: Iterable[InetSock]) -> None:
    """Enter the group of those of `others`, bound to the same port, that are like it, or a new
    one: same address, device and user (`reuseport_add_sock`)."""
    for other in others:
        if other is not sk and other.reuseport is not None and _identity(other) == _identity(sk):
            other.reuseport.add(sk)
            return
    ReuseportGroup().add(sk)


def _identity(sk: InetSock) -> tuple[object, ...]:
    return sk.family, sk.v6only, sk.sk_bound_dev_if, sk.sk_uid, sk.rcv_saddr


def leave(sk: Sock) -> None:
    """`reuseport_detach_sock`; a socket in no group stays as it is."""
    if sk.reuseport is not None:
        sk.reuseport.socks.remove(sk)
        sk.reuseport = None
