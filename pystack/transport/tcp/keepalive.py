"""Keepalive: is the peer of a silent connection still there? (RFC 9293, 3.8.4)

`sockopt` switches it, `lifecycle` starts it with the connection, `timers` calls `expired`.  Times
are the option's if it was set (`tp->keepalive_time` and its like), else the host's sysctl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.headers.tcp import TH_ACK
from pystack.transport.tcp.constants import SEC
from pystack.transport.tcp.seq import seq_add
from pystack.transport.tcp.state import UNCONNECTED, TcpState
from pystack.transport.tcp.transmit import transmit

if TYPE_CHECKING:
    from pystack.transport.tcp.sock import TcpSock

MAX_KEEPIDLE = MAX_KEEPINTVL = 32767  # seconds
MAX_KEEPCNT = 127


def idle_seconds(sk: TcpSock) -> int:
    """Silence before the first probe."""
    return sk.keepalive_time or sk.kernel.sysctl["net.ipv4.tcp_keepalive_time"]


def interval_seconds(sk: TcpSock) -> int:
    """From one unanswered probe to the next."""
    return sk.keepalive_intvl or sk.kernel.sysctl["net.ipv4.tcp_keepalive_intvl"]


def probe_limit(sk: TcpSock) -> int:
    """Unanswered probes after which the peer counts as dead."""
    return sk.keepalive_probes or sk.kernel.sysctl["net.ipv4.tcp_keepalive_probes"]


def switched(sk: TcpSock, was_on: bool) -> None:
    """SO_KEEPALIVE has been set (`tcp_set_keepalive`)."""
    if sk.state not in UNCONNECTED:
        if not sk.sk_keepalive:
            sk.sk_timer.delete()
        elif not was_on:
            start(sk)


def start(sk: TcpSock) -> None:
    """Count the silence from now on."""
    sk.sk_timer.mod(sk.kernel.now + idle_seconds(sk) * SEC)


def set_idle(sk: TcpSock, seconds: int) -> None:
    """TCP_KEEPIDLE; on a connection it holds for the silence there has been, too."""
    sk.keepalive_time = seconds
    if sk.sk_keepalive and sk.state not in UNCONNECTED:
        sk.sk_timer.mod(sk.kernel.now + max(seconds * SEC - _silence(sk), 0))


def _silence(sk: TcpSock) -> int:
    """ns since the peer last sent data or an acceptable ACK (`keepalive_time_elapsed`)."""
    return sk.kernel.now - max(sk.ack.lrcvtime, sk.rcv_tstamp)


def expired(sk: TcpSock) -> bool:
    """The timer fired (`tcp_keepalive_timer`); True if the peer is dead.

    Data in flight or waiting shows by itself whether the peer is alive, so none is probed then.
    """
    if not sk.sk_keepalive or sk.state in (TcpState.CLOSE, TcpState.SYN_SENT):
        return False
    delay = idle_seconds(sk) * SEC
    if not sk.rtx and not sk.unsent:
        left = delay - _silence(sk)
        if left > 0:
            delay = left
        elif sk.probes_out >= probe_limit(sk):
            return True
        else:
            _probe(sk)
            delay = interval_seconds(sk) * SEC
    sk.sk_timer.mod(sk.kernel.now + delay)
    return False


def _probe(sk: TcpSock) -> None:
    """An ACK one below SND.UNA: out of the peer's window, so it must be answered."""
    sk.kernel.mib["TcpExtTCPKeepAlive"] += 1
    transmit(sk, seq_add(sk.snd_una, -1), TH_ACK)
    sk.probes_out += 1
