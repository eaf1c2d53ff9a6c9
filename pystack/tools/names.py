"""Numbers as words: addresses, services, and the names of protocols.

Services are those of /etc/services of the machine this runs on, as for the real programs.
"""

from __future__ import annotations

import socket as so
from functools import cache

_FAMILIES = {4: so.AF_INET, 16: so.AF_INET6}


def ip_text(address: bytes) -> str:
    return so.inet_ntop(_FAMILIES[len(address)], address)


@cache
def service(port: int, protocol: str) -> str:
    """The service of `port`, or the number; `protocol` is tcp or udp."""
    try:
        return so.getservbyport(port, protocol)
    except OSError:
        return str(port)


def port_of(word: str) -> int | None:
    """A port by number or by the name of its service."""
    try:
        return int(word, 0)
    except ValueError:
        pass
    for protocol in ("tcp", "udp"):
        try:
            return so.getservbyname(word, protocol)
        except OSError:
            continue
    return None


@cache
def protocol_name(number: int) -> str:
    """Of an IP protocol (/etc/protocols), as `ss -w` shows it."""
    for name in ("ICMP", "IGMP", "TCP", "UDP", "ICMPV6", "GRE", "ESP", "AH", "SCTP"):
        if getattr(so, f"IPPROTO_{name}", -1) == number:
            return {"ICMPV6": "ipv6-icmp"}.get(name, name.lower())
    return str(number)
