"""Options of TCP sockets at IPPROTO_TCP (`tcp(7)`), and the way to those of the levels below."""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from pystack.transport import ip6opt, ipopt, sockopt
from pystack.transport.sock import NO_LIMIT, os_error
from pystack.transport.sockopt import SOCK_MIN_RCVBUF
from pystack.transport.tcp import delack, keepalive, output, stream
from pystack.transport.tcp.constants import MIN_MSS, RTO_MAX, SEC
from pystack.transport.tcp.info import tcp_info
from pystack.transport.tcp.pacing import Pacing
from pystack.transport.tcp.state import UNCONNECTED, TcpState

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

TCP_SYNCNT = 7
TCP_LINGER2 = 8
TCP_CONGESTION = 13
TCP_NOTSENT_LOWAT = 25
MAX_TCP_WINDOW = 32767
MAX_TCP_SYNCNT = 127
MAX_LINGER2 = 120
_INT = struct.Struct("i")
_U32_MAX = 0xFFFFFFFF
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
    if level == so.SOL_SOCKET:
        _set_socket_option(sk, name, value)
        return
    if level == so.IPPROTO_IP:
        ipopt.set_option(sk, name, value)
        return
    if level == so.IPPROTO_IPV6:
        ip6opt.set_option(sk, name, value)
        return
    number = value if isinstance(value, int) else _INT.unpack_from(value)[0]
    if level == so.IPPROTO_TCP:
        _set_tcp_option(sk, name, number)
    else:
        raise os_error(errno.ENOPROTOOPT)


def _set_socket_option(sk: TcpSock, name: int, value: int | bytes) -> None:
    was_alive = sk.sk_keepalive
    sockopt.set_option(sk, name, value)
    if name == so.SO_KEEPALIVE:
        keepalive.switched(sk, was_alive)
    elif sk.sk_max_pacing_rate != NO_LIMIT and sk.pacing is None:
        sk.pacing = Pacing(sk)  # from now on the socket paces


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
        return sockopt.get_option(sk, name)
    if level == so.IPPROTO_IP:
        return ipopt.get_option(sk, name)
    if level != so.IPPROTO_TCP:
        return ip6opt.get_option(sk, level, name)
    if name == TCP_CONGESTION:
        return sk.cw.algorithm.name.encode().ljust(16, b"\0")
    if name == so.TCP_INFO:
        return tcp_info(sk)
    return _get(_tcp_getters(), sk, name)


def _maxseg(sk: TcpSock) -> int:
    return sk.user_mss if sk.state in UNCONNECTED and sk.user_mss else sk.mss_cache


Getters = Mapping[int, Callable[["TcpSock"], int]]


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
