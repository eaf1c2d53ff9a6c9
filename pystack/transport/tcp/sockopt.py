"""Socket options of TCP sockets, at SOL_SOCKET and IPPROTO_TCP (`socket(7)`, `tcp(7)`)."""

from __future__ import annotations

import errno
import socket as so
import struct
from typing import TYPE_CHECKING

from pystack.transport.sock import SKB_MIN_TRUESIZE, os_error
from pystack.transport.tcp import keepalive, output
from pystack.transport.tcp.congestion import ALGORITHMS
from pystack.transport.tcp.constants import MIN_MSS
from pystack.transport.tcp.state import UNCONNECTED, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

TCP_SYNCNT = 7
TCP_LINGER2 = 8
TCP_CONGESTION = 13
MAX_TCP_SYNCNT = 127
MAX_LINGER2 = 120
SOCK_MIN_RCVBUF = SKB_MIN_TRUESIZE
SOCK_MIN_SNDBUF = 2 * SKB_MIN_TRUESIZE
_LINGER = struct.Struct("ii")
_INT = struct.Struct("i")
_INT_MAX = 0x7FFFFFFF
_KEEPALIVE_LIMITS = {
    so.TCP_KEEPIDLE: keepalive.MAX_KEEPIDLE,
    so.TCP_KEEPINTVL: keepalive.MAX_KEEPINTVL,
    so.TCP_KEEPCNT: keepalive.MAX_KEEPCNT,
}


def set_option(sk: TcpSock, level: int, name: int, value: int | bytes) -> None:
    """ENOPROTOOPT for an option there is not, EINVAL for a bad value."""
    if level == so.IPPROTO_TCP and name == TCP_CONGESTION:
        _set_congestion(sk, value)
        return
    if level == so.SOL_SOCKET and name == so.SO_LINGER:
        _set_linger(sk, value)
        return
    number = value if isinstance(value, int) else _INT.unpack_from(value)[0]
    if level == so.SOL_SOCKET:
        _set_socket_option(sk, name, number)
    elif level == so.IPPROTO_TCP:
        _set_tcp_option(sk, name, number)
    else:
        raise os_error(errno.ENOPROTOOPT)


def _set_socket_option(sk: TcpSock, name: int, value: int) -> None:
    sysctl = sk.kernel.sysctl
    if name == so.SO_REUSEADDR:
        sk.sk_reuse = bool(value)
    elif name == so.SO_KEEPALIVE:
        keepalive.switch(sk, bool(value))
    elif name == so.SO_RCVBUF:
        # Doubled, for half of it is taken by overhead; a value beyond the limit is not an error.
        value = min(value, sysctl["net.core.rmem_max"], _INT_MAX // 2)
        sk.rcvbuf_locked = True
        sk.sk_rcvbuf = max(value * 2, SOCK_MIN_RCVBUF)
    elif name == so.SO_SNDBUF:
        value = min(value, sysctl["net.core.wmem_max"], _INT_MAX // 2)
        sk.sndbuf_locked = True
        sk.sk_sndbuf = max(value * 2, SOCK_MIN_SNDBUF)
    elif name == so.SO_RCVLOWAT:
        sk.sk_rcvlowat = (_INT_MAX if value < 0 else value) or 1
    else:
        raise os_error(errno.ENOPROTOOPT)


def _set_linger(sk: TcpSock, value: int | bytes) -> None:
    if isinstance(value, int) or len(value) < _LINGER.size:
        raise os_error(errno.EINVAL)
    onoff, seconds = _LINGER.unpack_from(value)
    sk.sk_linger = max(seconds, 0) if onoff else None


def _set_congestion(sk: TcpSock, value: int | bytes) -> None:
    """ENOENT for an algorithm this host does not have."""
    name = b"" if isinstance(value, int) else value.rstrip(b"\0")
    algorithm = ALGORITHMS.get(name.decode("ascii", "replace"))
    if algorithm is None:
        raise os_error(errno.ENOENT)
    sk.cw.algorithm = algorithm()


def _set_tcp_option(sk: TcpSock, name: int, value: int) -> None:
    if name == so.TCP_NODELAY:
        sk.nonagle = output.NAGLE_OFF if value else 0
        if value:
            output.push_pending(sk, output.NAGLE_PUSH)
    elif name == so.TCP_MAXSEG:
        if value and not MIN_MSS <= value <= 32767:
            raise os_error(errno.EINVAL)
        sk.user_mss = value
    elif name == TCP_SYNCNT:
        if not 1 <= value <= MAX_TCP_SYNCNT:
            raise os_error(errno.EINVAL)
        sk.syn_retries = value
    elif name == TCP_LINGER2:
        sk.linger2 = -1 if value < 0 else None if value == 0 else min(value, MAX_LINGER2)
    else:
        _set_keepalive_option(sk, name, value)


def _set_keepalive_option(sk: TcpSock, name: int, value: int) -> None:
    limit = _KEEPALIVE_LIMITS.get(name)
    if limit is None:
        raise os_error(errno.ENOPROTOOPT)
    if not 1 <= value <= limit:
        raise os_error(errno.EINVAL)
    if name == so.TCP_KEEPIDLE:
        keepalive.set_idle(sk, value)
    elif name == so.TCP_KEEPINTVL:
        sk.keepalive_intvl = value
    else:
        sk.keepalive_probes = value


def get_option(sk: TcpSock, level: int, name: int) -> int | bytes:
    """An int, or the bytes of a structure."""
    if level == so.SOL_SOCKET:
        if name == so.SO_LINGER:
            return _LINGER.pack(sk.sk_linger is not None, sk.sk_linger or 0)
        if name == so.SO_ERROR:
            error = sk.sock_error()
            if not error:
                error, sk.sk_err_soft = sk.sk_err_soft, 0
            return error
        return _get(
            {
                so.SO_TYPE: sk.type,
                so.SO_DOMAIN: sk.family,
                so.SO_PROTOCOL: sk.protocol,
                so.SO_REUSEADDR: int(sk.sk_reuse),
                so.SO_KEEPALIVE: int(sk.sk_keepalive),
                so.SO_RCVBUF: sk.sk_rcvbuf,
                so.SO_SNDBUF: sk.sk_sndbuf,
                so.SO_RCVLOWAT: sk.sk_rcvlowat,
                so.SO_ACCEPTCONN: int(sk.state is TcpState.LISTEN),
            },
            name,
        )
    if level == so.IPPROTO_TCP:
        if name == TCP_CONGESTION:
            return sk.cw.algorithm.name.encode().ljust(16, b"\0")
        unconnected = sk.state in UNCONNECTED
        sysctl = sk.kernel.sysctl
        return _get(
            {
                so.TCP_NODELAY: int(bool(sk.nonagle & output.NAGLE_OFF)),
                so.TCP_MAXSEG: sk.user_mss if unconnected and sk.user_mss else sk.mss_cache,
                TCP_SYNCNT: sk.syn_retries or sysctl["net.ipv4.tcp_syn_retries"],
                TCP_LINGER2: sk.linger2 or sysctl["net.ipv4.tcp_fin_timeout"],
                so.TCP_KEEPIDLE: keepalive.idle_seconds(sk),
                so.TCP_KEEPINTVL: keepalive.interval_seconds(sk),
                so.TCP_KEEPCNT: keepalive.probe_limit(sk),
            },
            name,
        )
    raise os_error(errno.ENOPROTOOPT)


def _get(values: dict[int, int], name: int) -> int:
    try:
        return values[name]
    except KeyError:
        raise os_error(errno.ENOPROTOOPT) from None
