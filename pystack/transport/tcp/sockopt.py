"""Socket options of TCP sockets, at SOL_SOCKET and IPPROTO_TCP (`socket(7)`, `tcp(7)`)."""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from pystack.transport.sock import SKB_MIN_TRUESIZE, os_error
from pystack.transport.tcp import delack, ipopt, keepalive, output, stream
from pystack.transport.tcp.constants import MIN_MSS, RTO_MAX, SEC
from pystack.transport.tcp.info import NO_LIMIT, tcp_info
from pystack.transport.tcp.pacing import Pacing
from pystack.transport.tcp.state import UNCONNECTED, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

TCP_SYNCNT = 7
TCP_LINGER2 = 8
TCP_CONGESTION = 13
TCP_NOTSENT_LOWAT = 25
SO_MAX_PACING_RATE = 47
SO_MEMINFO = 55
MAX_PRIORITY = 6  # without CAP_NET_ADMIN
MAX_TCP_WINDOW = 32767
MAX_TCP_SYNCNT = 127
MAX_LINGER2 = 120
SOCK_MIN_RCVBUF = SKB_MIN_TRUESIZE
SOCK_MIN_SNDBUF = 2 * SKB_MIN_TRUESIZE
_LINGER = struct.Struct("ii")
_INT = struct.Struct("i")
_INT_MAX = 0x7FFFFFFF
_U32_MAX = 0xFFFFFFFF
_MEMINFO = struct.Struct("=9I")
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
    if level == so.SOL_SOCKET and name == SO_MAX_PACING_RATE:
        _set_max_pacing_rate(sk, value)
        return
    if level == so.IPPROTO_IP:
        ipopt.set_option(sk, name, value)
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
    elif name == so.SO_PRIORITY:
        if not 0 <= value <= MAX_PRIORITY and sk.sk_uid != 0:
            raise os_error(errno.EPERM)
        sk.priority = value
    else:
        raise os_error(errno.ENOPROTOOPT)


def _set_linger(sk: TcpSock, value: int | bytes) -> None:
    if isinstance(value, int) or len(value) < _LINGER.size:
        raise os_error(errno.EINVAL)
    onoff, seconds = _LINGER.unpack_from(value)
    sk.sk_linger = max(seconds, 0) if onoff else None


def _set_max_pacing_rate(sk: TcpSock, value: int | bytes) -> None:
    """Bytes a second, 4 or 8 bytes; all ones lift the limit.  From then on the socket paces."""
    if isinstance(value, int):
        rate = value & _U32_MAX
        rate = NO_LIMIT if rate == _U32_MAX else rate
    else:
        rate = int.from_bytes(value[:8], "little")
    sk.max_pacing_rate = rate
    if rate != NO_LIMIT and sk.pacing is None:
        sk.pacing = Pacing(sk)


def _set_congestion(sk: TcpSock, value: int | bytes) -> None:
    """ENOENT for an algorithm this host does not have, EPERM for one not for everybody."""
    name = b"" if isinstance(value, int) else value.split(b"\0")[0]
    algorithm = name.decode("ascii", "replace")
    sysctl = sk.kernel.sysctl
    if algorithm not in sysctl.text("net.ipv4.tcp_available_congestion_control").split():
        raise os_error(errno.ENOENT)
    allowed = sysctl.text("net.ipv4.tcp_allowed_congestion_control").split()
    if sk.sk_uid != 0 and algorithm not in allowed:
        raise os_error(errno.EPERM)
    sk.set_congestion_control(algorithm)


def _set_tcp_option(sk: TcpSock, name: int, value: int) -> None:
    setter = _TCP_SETTERS.get(name)
    if setter is None:
        _set_keepalive_option(sk, name, value)
    else:
        setter(sk, value)


def _set_nodelay(sk: TcpSock, value: int) -> None:
    """What is held back goes out; a cork stays, and gives way only this once."""
    if value:
        sk.nonagle |= output.NAGLE_OFF | output.NAGLE_PUSH
        output.push_pending(sk)
    else:
        sk.nonagle &= ~output.NAGLE_OFF


def _set_cork(sk: TcpSock, value: int) -> None:
    if value:
        sk.nonagle |= output.NAGLE_CORK
        return
    sk.nonagle &= ~output.NAGLE_CORK
    if sk.nonagle & output.NAGLE_OFF:
        sk.nonagle |= output.NAGLE_PUSH
    output.push_pending(sk)


def _set_maxseg(sk: TcpSock, value: int) -> None:
    _check(not value or MIN_MSS <= value <= MAX_TCP_WINDOW)
    sk.user_mss = value


def _set_syncnt(sk: TcpSock, value: int) -> None:
    _check(1 <= value <= MAX_TCP_SYNCNT)
    sk.syn_retries = value


def _set_linger2(sk: TcpSock, value: int) -> None:
    sk.linger2 = -1 if value < 0 else None if value == 0 else min(value, MAX_LINGER2)


def _set_defer_accept(sk: TcpSock, value: int) -> None:
    """Kept as the number of SYN-ACKs that take so long (`secs_to_retrans`)."""
    count, period, timeout = 0, 1, 1
    if value > 0:
        count = 1
        while value > period and count < 255:
            count += 1
            timeout = min(timeout << 1, RTO_MAX // SEC)
            period += timeout
    sk.defer_accept = count


def _defer_accept_seconds(sk: TcpSock) -> int:
    """`retrans_to_secs`."""
    return sum(min(1 << n, RTO_MAX // SEC) for n in range(sk.defer_accept))


def _set_window_clamp(sk: TcpSock, value: int) -> None:
    """0 takes the clamp away, which only a closed socket may do."""
    if not value:
        _check(sk.state is TcpState.CLOSE)
        sk.clamp_wanted = sk.window_clamp = 0
        return
    clamp = max(SOCK_MIN_RCVBUF // 2, value)
    sk.clamp_wanted = sk.window_clamp = clamp
    sk.rcv_ssthresh = min(sk.rcv_ssthresh or sk.rcv_wnd, clamp)


def _set_quickack(sk: TcpSock, value: int) -> None:
    delack.set_quickack(sk, value)


def _set_user_timeout(sk: TcpSock, value: int) -> None:
    _check(value >= 0)
    sk.user_timeout = value


def _set_notsent_lowat(sk: TcpSock, value: int) -> None:
    sk.notsent_lowat = value & _U32_MAX
    stream.wake_writers(sk)


_TCP_SETTERS: dict[int, Callable[[TcpSock, int], None]] = {
    so.TCP_NODELAY: _set_nodelay,
    so.TCP_MAXSEG: _set_maxseg,
    so.TCP_CORK: _set_cork,
    TCP_SYNCNT: _set_syncnt,
    TCP_LINGER2: _set_linger2,
    so.TCP_DEFER_ACCEPT: _set_defer_accept,
    so.TCP_WINDOW_CLAMP: _set_window_clamp,
    so.TCP_QUICKACK: _set_quickack,
    so.TCP_USER_TIMEOUT: _set_user_timeout,
    TCP_NOTSENT_LOWAT: _set_notsent_lowat,
}


def _check(valid: bool) -> None:
    if not valid:
        raise os_error(errno.EINVAL)


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
        return _get_socket_option(sk, name)
    if level == so.IPPROTO_IP:
        return ipopt.get_option(sk, name)
    if level != so.IPPROTO_TCP:
        raise os_error(errno.ENOPROTOOPT)
    if name == TCP_CONGESTION:
        return sk.cw.algorithm.name.encode().ljust(16, b"\0")
    if name == so.TCP_INFO:
        return tcp_info(sk)
    return _get(_tcp_getters(), sk, name)


def _get_socket_option(sk: TcpSock, name: int) -> int | bytes:
    if name == so.SO_LINGER:
        return _LINGER.pack(sk.sk_linger is not None, sk.sk_linger or 0)
    if name == SO_MEMINFO:
        return _MEMINFO.pack(
            *(sk.rmem_alloc, sk.sk_rcvbuf, 0, sk.sk_sndbuf, 0, sk.wmem_queued, 0),
            *(sk.lock.backlog_len, 0),
        )
    return _get(_socket_getters(), sk, name)


def _error(sk: TcpSock) -> int:
    error = sk.sock_error()
    if not error:
        error, sk.sk_err_soft = sk.sk_err_soft, 0
    return error


def _maxseg(sk: TcpSock) -> int:
    return sk.user_mss if sk.state in UNCONNECTED and sk.user_mss else sk.mss_cache


Getters = Mapping[int, Callable[["TcpSock"], int]]


@cache
def _socket_getters() -> Getters:
    return {
        so.SO_TYPE: lambda sk: sk.type,
        so.SO_DOMAIN: lambda sk: sk.family,
        so.SO_PROTOCOL: lambda sk: sk.protocol,
        so.SO_ERROR: _error,
        so.SO_REUSEADDR: lambda sk: int(sk.sk_reuse),
        so.SO_KEEPALIVE: lambda sk: int(sk.sk_keepalive),
        so.SO_RCVBUF: lambda sk: sk.sk_rcvbuf,
        so.SO_SNDBUF: lambda sk: sk.sk_sndbuf,
        so.SO_RCVLOWAT: lambda sk: sk.sk_rcvlowat,
        so.SO_ACCEPTCONN: lambda sk: int(sk.state is TcpState.LISTEN),
        so.SO_PRIORITY: lambda sk: sk.priority,
        SO_MAX_PACING_RATE: lambda sk: min(sk.max_pacing_rate, _U32_MAX),
    }


@cache
def _tcp_getters() -> Getters:
    return {
        so.TCP_NODELAY: lambda sk: int(bool(sk.nonagle & output.NAGLE_OFF)),
        so.TCP_MAXSEG: _maxseg,
        so.TCP_CORK: lambda sk: int(bool(sk.nonagle & output.NAGLE_CORK)),
        so.TCP_KEEPIDLE: keepalive.idle_seconds,
        so.TCP_KEEPINTVL: keepalive.interval_seconds,
        so.TCP_KEEPCNT: keepalive.probe_limit,
        TCP_SYNCNT: lambda sk: sk.syn_retries or sk.kernel.sysctl["net.ipv4.tcp_syn_retries"],
        TCP_LINGER2: lambda sk: sk.linger2 or sk.kernel.sysctl["net.ipv4.tcp_fin_timeout"],
        so.TCP_DEFER_ACCEPT: _defer_accept_seconds,
        so.TCP_WINDOW_CLAMP: lambda sk: sk.window_clamp,
        so.TCP_QUICKACK: lambda sk: int(not sk.ack.interactive),
        so.TCP_USER_TIMEOUT: lambda sk: sk.user_timeout,
        TCP_NOTSENT_LOWAT: lambda sk: sk.notsent_lowat,
    }


def _get(getters: Getters, sk: TcpSock, name: int) -> int:
    getter = getters.get(name)
    if getter is None:
        raise os_error(errno.ENOPROTOOPT)
    return getter(sk)
