"""BSD's names for settings of Linux, in BSD's units: bytes, and milliseconds for times.

kern.ipc.somaxconn           net.core.somaxconn
kern.ipc.maxsockbuf          net.core.rmem_max and net.core.wmem_max
net.inet.ip.forwarding       net.ipv4.ip_forward
net.inet.ip.ttl              net.ipv4.ip_default_ttl
net.inet.tcp.recvspace       the default of net.ipv4.tcp_rmem
net.inet.tcp.sendspace       the default of net.ipv4.tcp_wmem
net.inet.tcp.keepidle        net.ipv4.tcp_keepalive_time
net.inet.tcp.keepintvl       net.ipv4.tcp_keepalive_intvl
net.inet.tcp.keepcnt         net.ipv4.tcp_keepalive_probes
net.inet.tcp.keepinit        how long net.ipv4.tcp_syn_retries make `connect` wait; set, it is
                             the smallest number of them that waits as long
net.inet.tcp.fin_timeout     net.ipv4.tcp_fin_timeout
net.inet.tcp.msl             half of TIME_WAIT's 60 s, which Linux lets nobody set
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystack.core.sysctl import Sysctl

_MS = 1000
_TIME_WAIT_MS = 60_000
_RETRIES = "net.ipv4.tcp_syn_retries"
_LINEAR = "net.ipv4.tcp_syn_linear_timeouts"
_MAX_RETRIES = 127


class Alias(NamedTuple):
    """`set` is None for what can only be read."""

    get: Callable[[Sysctl], int]
    set: Callable[[Sysctl, int], None] | None


def _scaled(factor: int, *names: str) -> Alias:
    """`factor` of our units make one of Linux's."""

    def put(sysctl: Sysctl, value: int) -> None:
        for name in names:
            sysctl.write(name, str(value // factor))

    return Alias(lambda sysctl: sysctl[names[0]] * factor, put)


def _default_of(name: str) -> Alias:
    def put(sysctl: Sysctl, value: int) -> None:
        low, _, high = sysctl.vector(name)
        sysctl.write(name, f"{low} {value} {high}")

    return Alias(lambda sysctl: sysctl.vector(name)[1], put)


def _connect_ms(retries: int, linear: int) -> int:
    """SYNs go out every second at first, then after twice as long each time."""
    return (linear + (2 << retries) - 1) * _MS


def _set_connect_ms(sysctl: Sysctl, value: int) -> None:
    linear = sysctl[_LINEAR]
    enough = (n for n in range(1, _MAX_RETRIES) if _connect_ms(n, linear) >= value)
    sysctl.write(_RETRIES, str(next(enough, _MAX_RETRIES)))


ALIASES = {
    "kern.ipc.somaxconn": _scaled(1, "net.core.somaxconn"),
    "kern.ipc.maxsockbuf": _scaled(1, "net.core.rmem_max", "net.core.wmem_max"),
    "net.inet.ip.forwarding": _scaled(1, "net.ipv4.ip_forward"),
    "net.inet.ip.ttl": _scaled(1, "net.ipv4.ip_default_ttl"),
    "net.inet.tcp.recvspace": _default_of("net.ipv4.tcp_rmem"),
    "net.inet.tcp.sendspace": _default_of("net.ipv4.tcp_wmem"),
    "net.inet.tcp.keepidle": _scaled(_MS, "net.ipv4.tcp_keepalive_time"),
    "net.inet.tcp.keepintvl": _scaled(_MS, "net.ipv4.tcp_keepalive_intvl"),
    "net.inet.tcp.keepcnt": _scaled(1, "net.ipv4.tcp_keepalive_probes"),
    "net.inet.tcp.keepinit": Alias(
        lambda sysctl: _connect_ms(sysctl[_RETRIES], sysctl[_LINEAR]), _set_connect_ms
    ),
    "net.inet.tcp.fin_timeout": _scaled(_MS, "net.ipv4.tcp_fin_timeout"),
    "net.inet.tcp.msl": Alias(lambda sysctl: _TIME_WAIT_MS // 2, None),
}
