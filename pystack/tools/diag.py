"""The sockets of a namespace as `ss`, `netstat`, `lsof` and /proc/net show them.

What `inet_diag` and its like report (`net/ipv4/inet_diag.c`, `net/unix/diag.c`): `Entry` is one
line.  Everything is read from the transports' own tables at the moment of the question.
"""

from __future__ import annotations

import socket as so
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pystack.transport.datagram import DatagramSock
from pystack.transport.inetaddr import V4MAPPED
from pystack.transport.sock import Sock
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.rto import XmitTimer
from pystack.transport.tcp.seq import seq_diff
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.timewait import TimeWaitSock
from pystack.uapi.sockfile import SocketFile

if TYPE_CHECKING:
    from pystack.tools.tool import Net
    from pystack.uapi.files import File
    from pystack.uapi.process import Process

TIMERS = ("off", "on", "keepalive", "timewait", "persist")  # IDIAG_TIMER_*
OFF, ON, KEEPALIVE, TIMEWAIT, PERSIST = range(5)


class Owner(NamedTuple):
    """Who holds a socket under which descriptor."""

    process: Process
    fd: int


class Timing(NamedTuple):
    """The timer that runs, when it expires (ns from now), and how often it has."""

    kind: int = OFF
    left: int = 0
    retrans: int = 0


NO_TIMER = Timing()


@dataclass(frozen=True, slots=True)
class Entry:
    """`netid` is ss's name for the kind of socket; addresses are as the socket's family has them.

    `sk` is the socket itself, or what stands for it.  `ino` is 0 for one without a file.
    """

    netid: str
    sk: Sock | RequestSock | TimeWaitSock
    state: TcpState
    family: int
    laddr: bytes
    lport: int
    raddr: bytes
    rport: int
    recvq: int
    sendq: int
    ino: int
    uid: int = 0
    ifindex: int = 0
    v6only: bool = False
    timer: Timing = NO_TIMER


class Files:
    """Which files are sockets, and who has them open: one look at all descriptor tables."""

    def __init__(self, net: Net) -> None:
        self._by_sock: dict[int, tuple[File, list[Owner]]] = {}
        for process in net.system.processes.values():
            for fd, file in process.files:
                if isinstance(file, SocketFile):
                    _, owners = self._by_sock.setdefault(id(file.sk), (file, []))
                    owners.append(Owner(process, fd))

    def ino(self, sk: object) -> int:
        """The inode of its file; 0: it has none any more, or not yet."""
        found = self._by_sock.get(id(sk))
        return 0 if found is None else found[0].ino

    def owners(self, sk: object) -> list[Owner]:
        found = self._by_sock.get(id(sk))
        return [] if found is None else found[1]


# -- TCP -----------------------------------------------------------------------------------


def tcp(net: Net, files: Files) -> Iterator[Entry]:
    """Listeners first, then connections, of both families, as the tables have them."""
    for same_port in net.tcp.tables.listeners.values():
        for sk in same_port:
            yield _tcp_sock(sk, files)
    for connection in net.tcp.tables.connections.values():
        if isinstance(connection, TcpSock):
            yield _tcp_sock(connection, files)
        else:
            yield _mini(connection)


def _tcp_sock(sk: TcpSock, files: Files) -> Entry:
    if sk.state is TcpState.LISTEN:
        recvq, sendq = len(sk.accept_queue), sk.max_ack_backlog
    else:
        recvq = max(seq_diff(sk.rcv_nxt, sk.copied_seq), 0)
        sendq = seq_diff(sk.write_seq, sk.snd_una)
    return Entry(
        *("tcp", sk, sk.state, sk.family, shown(sk.family, sk.rcv_saddr), sk.lport),
        *(shown(sk.family, sk.raddr), sk.rport, recvq, sendq, files.ino(sk)),
        uid=sk.sk_uid,
        ifindex=sk.sk_bound_dev_if,
        v6only=sk.v6only,
        timer=_tcp_timer(sk),
    )


def _tcp_timer(sk: TcpSock) -> Timing:
    """`inet_sk_diag_fill`: the transmit timer before keepalive's; delayed ACKs are not shown."""
    now = sk.kernel.now
    if sk.xmit_pending is XmitTimer.PROBE0:
        return Timing(PERSIST, sk.xmit_timer.expires - now, sk.probes_out)
    if sk.xmit_pending is not None:
        return Timing(ON, sk.xmit_timer.expires - now, sk.retransmits)
    if sk.sk_timer.pending:
        return Timing(KEEPALIVE, sk.sk_timer.expires - now, sk.probes_out)
    return NO_TIMER


def _mini(sk: RequestSock | TimeWaitSock) -> Entry:
    laddr, lport, raddr, rport = sk.four_tuple
    expires, now = sk.timer.expires, sk.tcp.kernel.now
    left = expires - now if sk.timer.pending else 0
    if isinstance(sk, RequestSock):
        state, timer = sk.state, Timing(ON, left, sk.num_retrans)
        family, uid, ifindex = sk.listener.family, sk.listener.sk_uid, sk.iif
    else:
        state, timer = sk.substate, Timing(TIMEWAIT, left, 0)
        family, uid, ifindex = sk.family, 0, sk.sk_bound_dev_if
    ours, theirs = shown(family, laddr), shown(family, raddr)
    return Entry(
        *("tcp", sk, state, family, ours, lport, theirs, rport, 0, 0, 0),
        uid=uid,
        ifindex=ifindex,
        timer=timer,
    )


# -- UDP, raw, packet ----------------------------------------------------------------------


def udp(net: Net, files: Files) -> Iterator[Entry]:
    """Those with a port; a socket without one is in no table."""
    for sk in net.udp.sockets:
        if sk.lport:
            yield _datagram("udp", sk, sk.lport, sk.rport, files)


def raw(net: Net, files: Files) -> Iterator[Entry]:
    """The port is the protocol."""
    for protocol, socks in net.raw.sockets.items():
        for sk in socks:
            yield _datagram("raw", sk, protocol, 0, files)


def _datagram(netid: str, sk: DatagramSock, lport: int, rport: int, files: Files) -> Entry:
    """The queues are counted in memory, not in bytes of data."""
    state = TcpState.ESTABLISHED if sk.has_peer else TcpState.CLOSE
    return Entry(
        *(netid, sk, state, sk.family, shown(sk.family, sk.rcv_saddr), lport),
        *(shown(sk.family, sk.raddr), rport, sk.rmem_alloc, sk.wmem_queued, files.ino(sk)),
        uid=sk.sk_uid,
        ifindex=sk.sk_bound_dev_if,
        v6only=sk.v6only,
    )


def shown(family: int, address: bytes) -> bytes:
    """An address as the socket's family has it: IPv4's, on an IPv6 socket, mapped."""
    return V4MAPPED + address if family == so.AF_INET6 and len(address) == 4 else address
