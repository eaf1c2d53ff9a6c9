"""`route -n` and `netstat -rn`: the main table of IPv4 (net-tools' `inet_gr.c`)."""

from __future__ import annotations

import socket as so
from collections.abc import Sequence

from pystack.net.fib import FibEntry, RouteType
from pystack.tools.tool import Net, Options


def _entries(net: Net) -> list[FibEntry]:
    return sorted(net.ipv4.main, key=lambda e: (int(e.network.network_address), e.metric))


def _fields(entry: FibEntry) -> tuple[str, str, str, str, str]:
    """Destination, gateway, mask, flags, device."""
    refused = entry.kind in (RouteType.UNREACHABLE, RouteType.PROHIBIT)
    gateway = "-" if refused else so.inet_ntoa(entry.gateway or bytes(4))
    flags = "!" if refused else "U"
    if not refused:
        flags += "G" * bool(entry.gateway) + "H" * (entry.network.prefixlen == 32)
    device = entry.dev.name if entry.kind is RouteType.UNICAST else "-" if refused else "*"
    network = entry.network
    return str(network.network_address), gateway, str(network.netmask), flags, device


def netstat_routes(net: Net) -> str:
    text = "Kernel IP routing table\n"
    text += "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n"
    for entry in _entries(net):
        to, gateway, mask, flags, device = _fields(entry)
        refused = flags.startswith("!")
        mss = entry.metrics.get("advmss", 0)
        text += f"{to:<15} {gateway:<15} {mask:<15} {flags:<5} "
        text += f"{'-':>5} {'-':<5} {'-':>6} " if refused else f"{mss:5} {0:<5} {0:6} "
        text += f"{device}\n"
    return text


def route(net: Net, args: Sequence[str]) -> str:
    """`route -n`"""
    Options("route", args, "n", {})
    text = "Kernel IP routing table\n"
    text += "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
    for entry in _entries(net):
        to, gateway, mask, flags, device = _fields(entry)
        refused = flags.startswith("!")
        count = "-" if refused else "0"
        text += f"{to:<15} {gateway:<15} {mask:<15} {flags:<5} {entry.metric:<6} {count:<3} "
        text += f"{0:6} {device}\n"
    return text
