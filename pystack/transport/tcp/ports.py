"""Local ports: bind, and the choice of an ephemeral port for connect (RFC 6056)."""

from __future__ import annotations

import errno
from socket import AF_INET6
from typing import TYPE_CHECKING

from pystack.transport.inetaddr import endpoint, is_link_scope
from pystack.transport.inetsock import bind_scope
from pystack.transport.sock import Address, os_error
from pystack.transport.tcp.state import TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock


def bind(sk: TcpSock, address: Address) -> None:
    """EADDRNOTAVAIL, EACCES, EINVAL (bound or connected already), EADDRINUSE: `__inet_bind`."""
    inet, host, port, _, scope_id = endpoint(sk.tcp.inets, sk.family, address)
    if len(host) == 4 and sk.v6only:
        raise os_error(errno.EINVAL)
    if inet.family == AF_INET6 and is_link_scope(host):
        bind_scope(sk, scope_id)
    if any(host) and not inet.is_local(host):
        raise os_error(errno.EADDRNOTAVAIL)
    if 0 < port < sk.kernel.sysctl["net.ipv4.ip_unprivileged_port_start"] and sk.sk_uid != 0:
        raise os_error(errno.EACCES)
    if sk.state is not TcpState.CLOSE or sk.holds_port:
        raise os_error(errno.EINVAL)
    sk.inet = inet
    sk.rcv_saddr = sk.laddr = host
    try:
        get_port(sk, port)
    except OSError:
        sk.unbind_address()
        raise
    sk.bound_to(host, port)
    sk.raddr, sk.rport, sk.route = inet.any_address, 0, None  # of a connect that failed


def get_port(sk: TcpSock, port: int) -> None:
    """Take local `port`, or any free one for 0 (`inet_csk_get_port`); EADDRINUSE."""
    tables = sk.tcp.tables
    if not port:
        port = _find_open_port(sk)
    elif tables.bind_conflict(sk, sk.rcv_saddr, port):
        raise os_error(errno.EADDRINUSE)
    take_port(sk, port, explicit=True)


def take_port(sk: TcpSock, port: int, explicit: bool) -> None:
    sk.lport = port
    sk.holds_port = True
    sk.tcp.tables.hold_port(sk, port, explicit)


def _range(sk: TcpSock) -> tuple[int, int]:
    low, high = sk.kernel.sysctl.vector("net.ipv4.ip_local_port_range")
    return low, high - low + 1


def _find_open_port(sk: TcpSock) -> int:
    """A random free port, odd ones first: connect prefers even ones."""
    low, count = _range(sk)
    start = sk.kernel.rng.randrange(count) | 1
    for parity in (0, 1):
        for step in range(0, count, 2):
            port = low + (start + parity + step) % count
            if not sk.tcp.tables.bind_conflict(sk, sk.rcv_saddr, port, named=False):
                return port
    raise os_error(errno.EADDRINUSE)


def choose_for_connect(sk: TcpSock) -> None:
    """Give a socket about to connect its port and its place in the table; EADDRNOTAVAIL.

    Starts where a keyed hash of the destination says, so that ports used towards one peer tell
    nothing about others, and moves on with each connection (`__inet_hash_connect`).
    """
    tcp, tables = sk.tcp, sk.tcp.tables
    if sk.holds_port:
        if sk.key in tables.connections:
            raise os_error(errno.EADDRNOTAVAIL)
        tables.connections[sk.key] = sk
        return
    low, count = _range(sk)
    start = tcp.secrets.port_offset(sk.laddr, sk.raddr, sk.rport) + tcp.port_perturbation
    start &= ~1
    laddr, _, raddr, rport, link = sk.key
    connections, bound = tables.connections, tables.bound
    for parity in (0, 1):
        for step in range(0, count, 2):
            port = low + (start + parity + step) % count
            if (
                laddr,
                port,
                raddr,
                rport,
                link,
            ) in connections:  # among thousands, mostly the reason
                continue
            bucket = bound.get(port)
            if bucket is not None and bucket.explicit:
                continue
            tcp.port_perturbation += step + 2
            take_port(sk, port, explicit=False)
            connections[sk.key] = sk
            return
    raise os_error(errno.EADDRNOTAVAIL)
