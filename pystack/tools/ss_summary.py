"""`ss -s` and /proc/net/sockstat: how many sockets there are (`net/ipv4/proc.c`)."""

from __future__ import annotations

import socket as so
from collections.abc import Sequence
from dataclasses import dataclass

from pystack.tools.tool import Net
from pystack.transport.sock import Sock
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState
from pystack.uapi.sockfile import SocketFile

PAGE = 4096


@dataclass(frozen=True, slots=True)
class SockStat:
    """`inuse` and `raw`, `udp`, `frag` by family; memory in pages, of fragments in bytes."""

    used: int
    tcp: dict[int, int]  # in a table: listening, connected, or waiting
    tcp_orphans: int
    tcp_tw: int
    tcp_alloc: int
    tcp_pages: int
    udp: dict[int, int]
    udp_pages: int
    raw: dict[int, int]
    frag: dict[int, int]
    frag_memory: dict[int, int]


def sockstat(net: Net) -> SockStat:
    files = {
        id(file): file
        for process in net.system.processes.values()
        for _, file in process.files
        if isinstance(file, SocketFile)
    }
    socks = list(net.tcp.sockets)
    hashed = [sk for sk in socks if sk.state is not TcpState.CLOSE]
    mini = [sk for sk in net.tcp.tables.connections.values() if not isinstance(sk, TcpSock)]
    udp = [sk for sk in net.udp.sockets if sk.lport]
    raw = [sk for same in net.raw.sockets.values() for sk in same]
    queues = {so.AF_INET: net.ipv4.reassembly.queues, so.AF_INET6: net.ipv6.reassembly.queues}
    return SockStat(
        used=sum(file.sk.kernel is net.kernel for file in files.values()),
        tcp=_by_family(hashed),
        tcp_orphans=sum(sk.dead for sk in hashed),
        tcp_tw=sum(not isinstance(sk, RequestSock) for sk in mini),
        tcp_alloc=len(socks),
        tcp_pages=_pages(sum(sk.rmem_alloc + sk.wmem_queued for sk in socks)),
        udp=_by_family(udp),
        udp_pages=_pages(sum(sk.rmem_alloc for sk in udp)),
        raw=_by_family(raw),
        frag={family: len(waiting.queues) for family, waiting in queues.items()},
        frag_memory={family: waiting.memory for family, waiting in queues.items()},
    )


def _by_family(socks: Sequence[Sock]) -> dict[int, int]:
    return {
        family: sum(sk.family == family for sk in socks) for family in (so.AF_INET, so.AF_INET6)
    }


def _pages(size: int) -> int:
    return -(-size // PAGE)


def summary(net: Net) -> str:
    """`ss -s`."""
    stat = sockstat(net)
    tcp, udp, raw, frag = stat.tcp, stat.udp, stat.raw, stat.frag
    inet = {family: tcp[family] + udp[family] + raw[family] for family in tcp}
    closed = stat.tcp_alloc - sum(tcp.values()) + stat.tcp_tw
    lines = [
        f"Total: {stat.used}",
        f"TCP:   {stat.tcp_alloc + stat.tcp_tw} (estab {net.kernel.mib['TcpCurrEstab']}, "
        f"closed {closed}, orphaned {stat.tcp_orphans}, timewait {stat.tcp_tw})",
        "",
        "Transport Total     IP        IPv6",
    ]
    for name, count in (("RAW", raw), ("UDP", udp), ("TCP", tcp), ("INET", inet), ("FRAG", frag)):
        four, six = count[so.AF_INET], count[so.AF_INET6]
        lines.append(f"{name}\t  {four + six:<9} {four:<9} {six:<9}")
    return "\n".join(lines) + "\n\n"
