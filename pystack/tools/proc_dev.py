"""Devices, neighbours and routes in /proc/net (`net/core/net-procfs.c`, `arp.c`, `fib_trie.c`)."""

from __future__ import annotations

import socket as so

from pystack.link.neighbour import NudState
from pystack.net.fib import FibEntry, RouteType
from pystack.tools.devices import counters
from pystack.tools.tool import Net

ATF_COM, ATF_PERM = 0x02, 0x04
RTF_UP, RTF_GATEWAY, RTF_HOST, RTF_REJECT = 1, 2, 4, 0x200
_DEV_HEADER = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|\
bytes    packets errs drop fifo colls carrier compressed
"""
_ARP_HEADER = "IP address       HW type     Flags       HW address            Mask     Device\n"
_ROUTE_HEADER = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
)


def softnet_stat(net: Net) -> str:
    """A line a CPU: processed, dropped, squeezed ..., times asked by others, backlog, CPU."""
    text = ""
    for data in net.core.softnet.data:
        waiting = len(data.input_queue)
        columns = (
            *(data.processed, data.dropped, data.time_squeeze, 0, 0, 0, 0, 0, 0),
            *(data.received_rps, 0, waiting, data.cpu.index, waiting, 0),
        )
        text += " ".join(f"{column:08x}" for column in columns) + "\n"
    return text


def dev(net: Net) -> str:
    text = _DEV_HEADER
    for device in net.core.devices.values():
        c = counters(net, device)
        text += (
            f"{device.name:>6}: {c.rx_bytes:7} {c.rx_packets:7} {c.rx_errors:4} "
            f"{c.rx_dropped + c.rx_missed:4} {c.rx_fifo:4} {c.rx_length + c.rx_crc + c.rx_frame:5} "
            f"{0:10} {c.multicast:9} {c.tx_bytes:8} {c.tx_packets:7} {c.tx_errors:4} "
            f"{c.tx_dropped:4} {c.tx_fifo:4} {0:5} {0:7} {0:10}\n"
        )
    return text


def arp(net: Net) -> str:
    text = _ARP_HEADER
    for neigh in net.arp.table.values():
        flags = ATF_COM if neigh.mac else 0
        if neigh.state is NudState.PERMANENT:
            flags |= ATF_PERM
        mac = (neigh.mac or bytes(6)).hex(":")
        ip = so.inet_ntoa(neigh.ip)
        text += f"{ip:<16} 0x{1:<10x}0x{flags:<10x}{mac:<17}     *        {neigh.dev.name}\n"
    return text


def route(net: Net) -> str:
    """The main table, by destination; addresses as the machine's integers."""
    text = f"{_ROUTE_HEADER:<127}\n"
    for entry in sorted(net.ipv4.main, key=lambda e: (int(e.network.network_address), e.metric)):
        if entry.kind in (RouteType.BROADCAST, RouteType.MULTICAST):
            continue
        line = "\t".join(_route_fields(entry))
        text += f"{line:<127}\n"
    return text


def _route_fields(entry: FibEntry) -> list[str]:
    flags = RTF_UP | (RTF_GATEWAY if entry.gateway else 0)
    flags |= RTF_HOST if entry.network.prefixlen == 32 else 0
    if entry.kind in (RouteType.UNREACHABLE, RouteType.PROHIBIT):
        flags |= RTF_REJECT
    through = entry.dev.name if entry.kind is RouteType.UNICAST else "*"
    advmss = entry.metrics.get("advmss", 0)
    return [
        *(through, _word(entry.network.network_address.packed), _word(entry.gateway or bytes(4))),
        *(f"{flags:04X}", "0", "0", str(entry.metric), _word(entry.network.netmask.packed)),
        *(str(advmss + 40 if advmss else 0), "0", "0"),
    ]


def _word(address: bytes) -> str:
    return f"{int.from_bytes(address, 'little'):08X}"


def if_inet6(net: Net) -> str:
    text = ""
    for address in net.ipv6.addrconf.all():
        scope = 0x10 if address.dev.loopback else 0x20 if address.ip[0] == 0xFE else 0
        flags = 0x80 | (0x40 if address.tentative else 0)
        text += (
            f"{address.ip.hex()} {address.dev.ifindex:02x} {address.prefix_length:02x} "
            f"{scope:02x} {flags:02x} {address.dev.name:>8}\n"
        )
    return text
