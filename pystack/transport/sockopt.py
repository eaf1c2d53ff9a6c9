"""Options at SOL_SOCKET, the same for every family (`socket(7)`, `net/core/sock.c`).

Called by each socket's `setsockopt` and `getsockopt`, which add what the protocol does about it.
"""

from __future__ import annotations

import errno
import socket as so
import struct
import sys
from collections.abc import Callable
from select import EPOLLOUT, EPOLLWRNORM
from typing import TYPE_CHECKING, NoReturn, Protocol

from pystack.transport.sock import NO_LIMIT, SKB_MIN_TRUESIZE, os_error

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel
    from pystack.transport.sock import Sock


class Numbered(Protocol):
    """A socket, or what stands for one."""

    sk_cookie: int


SO_NO_CHECK = 11
SO_TIMESTAMP = 29
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SO_TIMESTAMPING = 37
SO_RXQ_OVFL = 40
SO_PEEK_OFF = 42
SO_SELECT_ERR_QUEUE = 45
SO_MAX_PACING_RATE = 47
SO_MEMINFO = 55
SO_COOKIE = 57
SO_BINDTOIFINDEX = 62
_SCM_OPTIONS = so.SO_PASSCRED, so.SO_PASSSEC, 76  # SO_PASSPIDFD

# `sk_flags`
SOCK_BROADCAST = 1 << 0
SOCK_DONTROUTE = 1 << 1
SOCK_RCVTSTAMP = 1 << 2
SOCK_RCVTSTAMPNS = 1 << 3
SOCK_OOBINLINE = 1 << 4
SOCK_RXQ_OVFL = 1 << 5
SOCK_SELECT_ERR_QUEUE = 1 << 6
SOCK_NO_CHECK = 1 << 7
SOCK_DBG = 1 << 8

# `sk_tsflags` (Documentation/networking/timestamping.rst)
SOF_TIMESTAMPING_TX_HARDWARE = 1 << 0
SOF_TIMESTAMPING_TX_SOFTWARE = 1 << 1
SOF_TIMESTAMPING_RX_HARDWARE = 1 << 2
SOF_TIMESTAMPING_RX_SOFTWARE = 1 << 3
SOF_TIMESTAMPING_SOFTWARE = 1 << 4
SOF_TIMESTAMPING_RAW_HARDWARE = 1 << 6
SOF_TIMESTAMPING_OPT_ID = 1 << 7
SOF_TIMESTAMPING_OPT_TSONLY = 1 << 11
SOF_TIMESTAMPING_TX = SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_TX_SOFTWARE
SOF_TIMESTAMPING_MASK = (1 << 19) - 1

SOCK_MIN_RCVBUF = SKB_MIN_TRUESIZE
SOCK_MIN_SNDBUF = 2 * SKB_MIN_TRUESIZE
MAX_PRIORITY = 6  # without CAP_NET_ADMIN
IFNAMSIZ = 16
_INT = struct.Struct("i")
_LINGER = struct.Struct("ii")
_MEMINFO = struct.Struct("=9I")
_TSTAMPS = SOCK_RCVTSTAMP | SOCK_RCVTSTAMPNS
_INT_MAX = 0x7FFFFFFF
_U32_MAX = 0xFFFFFFFF

_FLAGS: dict[int, int] = {
    so.SO_DEBUG: SOCK_DBG,
    so.SO_BROADCAST: SOCK_BROADCAST,
    so.SO_DONTROUTE: SOCK_DONTROUTE,
    so.SO_OOBINLINE: SOCK_OOBINLINE,
    SO_NO_CHECK: SOCK_NO_CHECK,
    SO_RXQ_OVFL: SOCK_RXQ_OVFL,
    SO_SELECT_ERR_QUEUE: SOCK_SELECT_ERR_QUEUE,
}


def set_option(sk: Sock, name: int, value: int | bytes) -> None:
    """ENOPROTOOPT for an option there is not, EINVAL for a bad value."""
    structured = _STRUCTURED.get(name)
    if structured is not None:
        structured(sk, value)
        return
    number = int_value(value)
    flag = _FLAGS.get(name)
    if flag is not None:
        sk.sk_flags = sk.sk_flags | flag if number else sk.sk_flags & ~flag
        return
    setter = _SETTERS.get(name)
    if setter is None:
        raise os_error(errno.ENOPROTOOPT)
    setter(sk, number)


def get_option(sk: Sock, name: int) -> int | bytes:
    """An int, or the bytes of a structure; ENOPROTOOPT."""
    flag = _FLAGS.get(name)
    if flag is not None:
        return int(bool(sk.sk_flags & flag))
    getter = _GETTERS.get(name)
    if getter is None:
        raise os_error(errno.ENOPROTOOPT)
    return getter(sk)


def int_value(value: int | bytes) -> int:
    """EINVAL for fewer bytes than an int has."""
    if isinstance(value, int):
        return value
    if len(value) < _INT.size:
        raise os_error(errno.EINVAL)
    return int(_INT.unpack_from(value)[0])


def _admin(sk: Sock) -> None:
    if sk.sk_uid != 0:
        raise os_error(errno.EPERM)


# -- buffers -------------------------------------------------------------------------------


def _set_rcvbuf(sk: Sock, value: int, limit: int) -> None:
    """Doubled, for half of it is taken by overhead; a value beyond the limit is not an error."""
    value = min(value & 0xFFFFFFFF, limit, _INT_MAX // 2)  # taken as unsigned
    sk.rcvbuf_locked = True
    sk.sk_rcvbuf = max(value * 2, SOCK_MIN_RCVBUF)


def _set_sndbuf(sk: Sock, value: int, limit: int) -> None:
    value = min(value & 0xFFFFFFFF, limit, _INT_MAX // 2)  # taken as unsigned
    sk.sndbuf_locked = True
    sk.sk_sndbuf = max(value * 2, SOCK_MIN_SNDBUF)
    if sk.poll() & EPOLLOUT:
        sk.wake(EPOLLOUT | EPOLLWRNORM)


def _force_rcvbuf(sk: Sock, value: int) -> None:
    _admin(sk)
    _set_rcvbuf(sk, max(value, 0), _INT_MAX)


def _force_sndbuf(sk: Sock, value: int) -> None:
    _admin(sk)
    _set_sndbuf(sk, max(value, 0), _INT_MAX)


def _set_rcvlowat(sk: Sock, value: int) -> None:
    sk.sk_rcvlowat = (_INT_MAX if value < 0 else value) or 1


# -- addresses and devices -----------------------------------------------------------------


def _set_reuse(sk: Sock, value: int) -> None:
    sk.sk_reuse = bool(value)


def _set_reuseport(sk: Sock, value: int) -> None:
    """EOPNOTSUPP for what has no ports."""
    if value and sk.family not in (so.AF_INET, so.AF_INET6):
        raise os_error(errno.EOPNOTSUPP)
    sk.sk_reuseport = bool(value)


def _bind_to_device(sk: Sock, value: int | bytes) -> None:
    """By name, an empty one unbinds; ENODEV.  Only root may change it (`sock_bindtoindex`)."""
    if isinstance(value, int):
        raise os_error(errno.EINVAL)
    name = value[: IFNAMSIZ - 1].split(b"\0")[0].decode("ascii", "replace")
    index = next((dev.ifindex for dev in sk.devices() if dev.name == name), 0)
    if name and not index:
        raise os_error(errno.ENODEV)
    _bind_to_index(sk, index)


def _bind_to_index(sk: Sock, index: int) -> None:
    if sk.sk_bound_dev_if and sk.sk_uid != 0:
        raise os_error(errno.EPERM)
    if index < 0:
        raise os_error(errno.EINVAL)
    sk.sk_bound_dev_if = index


def _bound_device(sk: Sock) -> bytes:
    for dev in sk.devices():
        if dev.ifindex == sk.sk_bound_dev_if:
            return dev.name.encode() + b"\0"
    return b""


# -- the rest ------------------------------------------------------------------------------


def _set_keepalive(sk: Sock, value: int) -> None:
    sk.sk_keepalive = bool(value)


def _set_priority(sk: Sock, value: int) -> None:
    if not 0 <= value <= MAX_PRIORITY:
        _admin(sk)
    sk.sk_priority = value


def _set_mark(sk: Sock, value: int) -> None:
    _admin(sk)
    sk.sk_mark = value & _U32_MAX


def _set_linger(sk: Sock, value: int | bytes) -> None:
    if isinstance(value, int) or len(value) < _LINGER.size:
        raise os_error(errno.EINVAL)
    onoff, seconds = _LINGER.unpack_from(value)
    sk.sk_linger = max(seconds, 0) if onoff else None


def _set_pacing_rate(sk: Sock, value: int | bytes) -> None:
    """Bytes a second, 4 or 8 bytes; all ones lift the limit."""
    if isinstance(value, int):
        rate = value & _U32_MAX
        sk.sk_max_pacing_rate = NO_LIMIT if rate == _U32_MAX else rate
    else:
        sk.sk_max_pacing_rate = int.from_bytes(value[:8], "little")


def _set_incoming_cpu(sk: Sock, value: int) -> None:
    sk.sk_incoming_cpu = value


def _set_peek_off(sk: Sock, value: int) -> None:
    _check_peek_off(sk)
    sk.sk_peek_off = value


def _check_peek_off(sk: Sock) -> int:
    """Its value; EOPNOTSUPP where there is none (`sk_set_peek_off`)."""
    if not sk.peeks_at_offset:
        raise os_error(errno.EOPNOTSUPP)
    return sk.sk_peek_off


def _of_unix_alone(sk: Sock, value: int = 0) -> NoReturn:
    """`sk_may_scm_recv`"""
    raise os_error(errno.EOPNOTSUPP)


def _set_timestamp(sk: Sock, value: int, flags: int) -> None:
    """SO_TIMESTAMP and SO_TIMESTAMPNS shut each other off (`sock_set_timestamp`)."""
    sk.sk_flags &= ~_TSTAMPS
    if value:
        sk.sk_flags |= flags


def _set_timestamping(sk: Sock, value: int | bytes) -> None:
    """The flags, perhaps as a `struct so_timestamping`; EINVAL for ones there are not."""
    flags = int_value(value)
    if flags & ~SOF_TIMESTAMPING_MASK:
        raise os_error(errno.EINVAL)
    if flags & SOF_TIMESTAMPING_OPT_ID and not sk.sk_tsflags & SOF_TIMESTAMPING_OPT_ID:
        sk.sk_tskey = 0
    sk.sk_tsflags = flags


def meminfo(sk: Sock) -> tuple[int, ...]:
    """SK_MEMINFO_*, which is what `ss -m` shows (`sk_get_meminfo`)."""
    return (
        *(sk.rmem_alloc, sk.sk_rcvbuf, 0, sk.sk_sndbuf, 0, sk.wmem_queued, 0),
        *(sk.lock.backlog_len, sk.sk_drops),
    )


def cookie(kernel: Kernel, sk: Numbered) -> int:
    """A number of the socket's own while the machine runs (`sock_gen_cookie`)."""
    if not sk.sk_cookie:
        sk.sk_cookie = next(kernel.sock_cookies)
    return sk.sk_cookie


def _error(sk: Sock) -> int:
    error = sk.sock_error()
    if not error:
        error, sk.sk_err_soft = sk.sk_err_soft, 0
    return error


_STRUCTURED: dict[int, Callable[[Sock, int | bytes], None]] = {
    so.SO_LINGER: _set_linger,
    so.SO_BINDTODEVICE: _bind_to_device,
    SO_MAX_PACING_RATE: _set_pacing_rate,
    SO_TIMESTAMPING: _set_timestamping,
}

_SETTERS: dict[int, Callable[[Sock, int], None]] = {
    so.SO_REUSEADDR: _set_reuse,
    so.SO_REUSEPORT: _set_reuseport,
    so.SO_KEEPALIVE: _set_keepalive,
    so.SO_RCVBUF: lambda sk, n: _set_rcvbuf(sk, n, sk.kernel.sysctl["net.core.rmem_max"]),
    so.SO_SNDBUF: lambda sk, n: _set_sndbuf(sk, n, sk.kernel.sysctl["net.core.wmem_max"]),
    SO_RCVBUFFORCE: _force_rcvbuf,
    SO_SNDBUFFORCE: _force_sndbuf,
    so.SO_RCVLOWAT: _set_rcvlowat,
    so.SO_PRIORITY: _set_priority,
    so.SO_MARK: _set_mark,
    so.SO_INCOMING_CPU: _set_incoming_cpu,
    SO_TIMESTAMP: lambda sk, n: _set_timestamp(sk, n, SOCK_RCVTSTAMP),
    SO_TIMESTAMPNS: lambda sk, n: _set_timestamp(sk, n, _TSTAMPS),
    SO_PEEK_OFF: _set_peek_off,
    SO_BINDTOIFINDEX: _bind_to_index,
    **dict.fromkeys(_SCM_OPTIONS, _of_unix_alone),
}

_GETTERS: dict[int, Callable[[Sock], int | bytes]] = {
    so.SO_TYPE: lambda sk: sk.type,
    so.SO_DOMAIN: lambda sk: sk.family,
    so.SO_PROTOCOL: lambda sk: sk.protocol,
    so.SO_ERROR: _error,
    so.SO_REUSEADDR: lambda sk: int(sk.sk_reuse),
    so.SO_REUSEPORT: lambda sk: int(sk.sk_reuseport),
    so.SO_KEEPALIVE: lambda sk: int(sk.sk_keepalive),
    so.SO_RCVBUF: lambda sk: sk.sk_rcvbuf,
    so.SO_SNDBUF: lambda sk: sk.sk_sndbuf,
    so.SO_RCVLOWAT: lambda sk: sk.sk_rcvlowat,
    so.SO_ACCEPTCONN: lambda sk: int(sk.listening),
    so.SO_PRIORITY: lambda sk: sk.sk_priority,
    so.SO_MARK: lambda sk: sk.sk_mark,
    so.SO_INCOMING_CPU: lambda sk: sk.sk_incoming_cpu,
    so.SO_LINGER: lambda sk: _LINGER.pack(sk.sk_linger is not None, sk.sk_linger or 0),
    so.SO_BINDTODEVICE: _bound_device,
    SO_BINDTOIFINDEX: lambda sk: sk.sk_bound_dev_if,
    SO_MAX_PACING_RATE: lambda sk: min(sk.sk_max_pacing_rate, _U32_MAX),
    SO_MEMINFO: lambda sk: _MEMINFO.pack(*meminfo(sk)),
    SO_COOKIE: lambda sk: cookie(sk.kernel, sk).to_bytes(8, sys.byteorder),
    SO_TIMESTAMP: lambda sk: int(sk.sk_flags & _TSTAMPS == SOCK_RCVTSTAMP),
    SO_TIMESTAMPNS: lambda sk: int(bool(sk.sk_flags & SOCK_RCVTSTAMPNS)),
    SO_TIMESTAMPING: lambda sk: sk.sk_tsflags,
    SO_PEEK_OFF: _check_peek_off,
    **dict.fromkeys(_SCM_OPTIONS, _of_unix_alone),
}
