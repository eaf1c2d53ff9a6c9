"""Counters in /proc/net: a line of names and one of values a group (`net/ipv4/proc.c`)."""

from __future__ import annotations

import socket as so

from pystack.tools.mib import NETSTAT, SNMP, SNMP6, groups
from pystack.tools.ss_summary import sockstat
from pystack.tools.tool import Net
from pystack.transport.tcp.constants import MSEC, RTO_MAX, RTO_MIN

_FIXED_TCP = {
    **{"RtoAlgorithm": 1, "RtoMin": RTO_MIN // MSEC},
    **{"RtoMax": RTO_MAX // MSEC, "MaxConn": -1},
}


def _two_lines(name: str, values: dict[str, int]) -> str:
    names, numbers = " ".join(values), " ".join(map(str, values.values()))
    return f"{name}: {names}\n{name}: {numbers}\n"


def snmp(net: Net) -> str:
    """The groups of RFC 4293, 4022 and 4113, with the settings that belong to them."""
    sysctl = net.kernel.sysctl
    first = {
        "Ip": {
            "Forwarding": 1 if sysctl["net.ipv4.ip_forward"] else 2,
            "DefaultTTL": sysctl["net.ipv4.ip_default_ttl"],
        },
        "Tcp": _FIXED_TCP,
    }
    return "".join(
        _two_lines(name, first.get(name, {}) | values)
        for name, values in groups(net, SNMP)
        if values
    )


def netstat(net: Net) -> str:
    return "".join(_two_lines(name, values) for name, values in groups(net, NETSTAT))


def snmp6(net: Net) -> str:
    return "".join(
        f"{name + last:<32}\t{value}\n"
        for name, values in groups(net, SNMP6)
        for last, value in values.items()
    )


def sockstat4(net: Net) -> str:
    stat = sockstat(net)
    return (
        f"sockets: used {stat.used}\n"
        f"TCP: inuse {stat.tcp[so.AF_INET]} orphan {stat.tcp_orphans} tw {stat.tcp_tw} "
        f"alloc {stat.tcp_alloc} mem {stat.tcp_pages}\n"
        f"UDP: inuse {stat.udp[so.AF_INET]} mem {stat.udp_pages}\n"
        f"RAW: inuse {stat.raw[so.AF_INET]}\n"
        f"FRAG: inuse {stat.frag[so.AF_INET]} memory {stat.frag_memory[so.AF_INET]}\n"
    )


def sockstat6(net: Net) -> str:
    stat = sockstat(net)
    return (
        f"TCP6: inuse {stat.tcp[so.AF_INET6]}\n"
        f"UDP6: inuse {stat.udp[so.AF_INET6]}\n"
        f"RAW6: inuse {stat.raw[so.AF_INET6]}\n"
        f"FRAG6: inuse {stat.frag[so.AF_INET6]} memory {stat.frag_memory[so.AF_INET6]}\n"
    )
