"""Which of our addresses to send from (RFC 6724, 5; `__ipv6_dev_get_saddr`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pystack.core.headers.ipv6 import LOOPBACK, is_linklocal, is_multicast
from pystack.dev.netdev import NetDevice

if TYPE_CHECKING:
    from pystack.net.addrconf import IfAddr

_LABELS = [  # RFC 6724, 2.1, and Linux's of Teredo and ORCHID; the longest prefix first
    (ipaddress.IPv6Network(prefix), label)
    for prefix, label in (
        *(("::1/128", 0), ("::/96", 3), ("::ffff:0:0/96", 4), ("2001::/32", 6)),
        *(("2001:10::/28", 7), ("2002::/16", 2), ("fc00::/7", 5), ("::/0", 1)),
    )
]
SCOPE_LINK, SCOPE_SITE, SCOPE_GLOBAL = 2, 5, 14


def scope(addr: bytes) -> int:
    """RFC 4007, 6, by RFC 4291's number."""
    if is_multicast(addr):
        return addr[1] & 15
    if is_linklocal(addr) or addr == LOOPBACK:
        return SCOPE_LINK
    return SCOPE_SITE if addr[0] == 0xFE and addr[1] & 0xC0 == 0xC0 else SCOPE_GLOBAL


def label(addr: bytes) -> int:
    address = ipaddress.IPv6Address(addr)
    return next(label for network, label in _LABELS if address in network)


def select(addresses: Iterable[IfAddr], dev: NetDevice, daddr: bytes, now: int) -> bytes | None:
    """The best source for `daddr` through `dev`; None if there is none."""
    local = is_multicast(daddr) or is_linklocal(daddr)
    candidates = [
        a for a in addresses if not a.tentative and a.ip != LOOPBACK and (a.dev is dev or not local)
    ]
    if not candidates:
        return None
    wanted, wanted_label = scope(daddr), label(daddr)

    def rank(a: IfAddr) -> tuple[int, ...]:
        reach = scope(a.ip)
        return (
            a.ip == daddr,
            -reach if reach >= wanted else reach - 128,  # the smallest that is large enough
            not a.deprecated(now),
            a.dev is dev,
            label(a.ip) == wanted_label,
            min(_common_prefix(a.ip, daddr), a.prefix_length),
        )

    return max(candidates, key=rank).ip


def _common_prefix(a: bytes, b: bytes) -> int:
    return 128 - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()
