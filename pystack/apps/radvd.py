"""A router's advertisements (RFC 4861, 6.2): an ordinary blocking function on a raw socket, for
the kernel of a router leaves them to a program.

`advertise(socket, time, ...)` tells a link's hosts of prefixes and of the router, now and then and
when one asks; the last word, when it is stopped, is that it is no router any more.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Network
from typing import Any

SOLICITATION, ADVERTISEMENT = 133, 134
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
HOP_LIMIT = 255  # proves that a message comes from the link
MAX_INITIAL, MAX_INITIAL_INTERVAL = 3, 16.0  # RFC 4861, 10
MIN_DELAY, MAX_ANSWER_DELAY = 3.0, 0.5
_SOURCE_LINK_ADDRESS, _PREFIX, _MTU = 1, 3, 5
_ON_LINK_AUTONOMOUS = 0xC0


@dataclass(frozen=True)
class Advertisement:
    """What is said.  `prefixes` as "fd00:1::/64" are on the link, and hosts make addresses of
    them; lifetimes in s, `reachable_time` and `retrans_timer` in ms; 0: nothing about it."""

    prefixes: Sequence[str] = ()
    lifetime: int = 1800
    valid: int = 86400
    preferred: int = 14400
    hop_limit: int = 64
    mtu: int = 0
    reachable_time: int = 0
    retrans_timer: int = 0

    def pack(self, mac: bytes) -> bytes:
        """The message from the router with this link address, without its checksum."""
        fields = self.hop_limit, 0, self.lifetime, self.reachable_time, self.retrans_timer
        message = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, *fields)
        message += bytes((_SOURCE_LINK_ADDRESS, 1)) + mac
        if self.mtu:
            message += struct.pack("!BBHI", _MTU, 1, 0, self.mtu)
        for text in self.prefixes:
            network = IPv6Network(text)
            lifetimes = self.valid, self.preferred, 0
            flags = _ON_LINK_AUTONOMOUS
            message += struct.pack("!BBBBIII", _PREFIX, 4, network.prefixlen, flags, *lifetimes)
            message += network.network_address.packed
        return message


def advertise(
    socket: Any,
    time: Any,
    interface: str,
    mac: bytes,
    what: Advertisement,
    *,
    interval: tuple[float, float] = (200.0, 600.0),
    rng: random.Random,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """On the module-like `socket` and `time`, until `stop()`, which is asked about every second.

    `interval`: seconds between two of them, at random.  OSError if there is no such interface.
    """
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sk:
        sk.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        _prepare(socket, sk, index)
        sent, last, due = 0, -MIN_DELAY, time.monotonic()
        while not stop():
            now = time.monotonic()
            if now >= due:
                _send(sk, what.pack(mac), index)
                sent, last = sent + 1, now
                due = now + rng.uniform(*interval)
                if sent < MAX_INITIAL:
                    due = min(due, now + MAX_INITIAL_INTERVAL)
            elif _solicited(sk, min(due - now, 1.0)):
                answer = time.monotonic() + rng.uniform(0, MAX_ANSWER_DELAY)
                due = min(due, max(answer, last + MIN_DELAY))
        _send(sk, replace(what, lifetime=0).pack(mac), index)  # RFC 4861, 6.2.5


def _prepare(socket: Any, sk: Any, index: int) -> None:
    level = socket.IPPROTO_IPV6
    sk.setsockopt(level, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
    sk.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
    sk.setsockopt(level, socket.IPV6_RECVHOPLIMIT, 1)
    group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS)
    sk.setsockopt(level, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))


def _send(sk: Any, message: bytes, index: int) -> None:
    sk.sendto(message, (ALL_NODES, 0, 0, index))


def _solicited(sk: Any, seconds: float) -> bool:
    """Wait so long at most; True if a host has asked (RFC 4861, 6.1.1)."""
    sk.settimeout(max(seconds, 0.001))
    try:
        data, control, _, _ = sk.recvmsg(1500, 64)
    except TimeoutError:
        return False
    hops = [struct.unpack("@i", value)[0] for _, _, value in control if len(value) == 4]
    return bool(data) and data[0] == SOLICITATION and hops == [HOP_LIMIT]
