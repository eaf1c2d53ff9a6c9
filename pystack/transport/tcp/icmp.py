"""ICMP errors about our segments (RFC 5927, RFC 1122 4.2.3.9; `tcp_v4_err`, `tcp_v6_err`).

Called by IP with the quoted segment; only one whose sequence number is in flight is believed.
"""

from __future__ import annotations

import errno
from select import EPOLLERR
from socket import AF_INET6
from typing import TYPE_CHECKING

from pystack.core.skb import SkBuff
from pystack.transport.tcp import lifecycle
from pystack.transport.tcp.loss import simple_retransmit
from pystack.transport.tcp.mss import sync_mss
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.seq import between
from pystack.transport.tcp.state import OPENING, UNCONNECTED, TcpState
from pystack.transport.tcp.tables import key_of
from pystack.transport.tcp.timewait import TimeWaitSock

if TYPE_CHECKING:
    from pystack.net.inet import Inet
    from pystack.transport.tcp.protocol import Tcp
    from pystack.transport.tcp.sock import TcpSock


def receive_error(tcp: Tcp, inet: Inet, icmp_type: int, code: int, mtu: int, skb: SkBuff) -> None:
    """`skb.off` is at the quoted header, of which at least eight bytes are there."""
    quoted = bytes(skb.buf[skb.off : skb.off + 8])
    sport, dport, seq = (int.from_bytes(quoted[a:b], "big") for a, b in ((0, 2), (2, 4), (4, 8)))
    ifindex = 0 if skb.dev is None else skb.dev.ifindex
    sk = tcp.tables.connections.get(key_of(skb.saddr, sport, skb.daddr, dport, ifindex))
    error = inet.icmp_error(icmp_type, code)
    mib = tcp.kernel.mib
    if sk is None:
        mib["Icmp6InErrors" if inet.family == AF_INET6 else "IcmpInErrors"] += 1
    elif isinstance(sk, RequestSock):
        if seq != sk.snt_isn:
            mib["TcpExtOutOfWindowIcmps"] += 1
        elif error.refuses:
            sk.unlink()
            mib["TcpExtListenDrops"] += 1
    elif not isinstance(sk, TimeWaitSock):
        if sk.state is TcpState.CLOSE or not between(seq, sk.snd_una, sk.snd_nxt):
            mib["TcpExtOutOfWindowIcmps"] += 1
        elif error.number == errno.EMSGSIZE:
            sk.route = None
            sk.lock.run(lambda: mtu_reduced(sk, mtu))
        elif error.number:
            _report(sk, error.number)


def _report(sk: TcpSock, error: int) -> None:
    """Hard while connecting; afterwards only remembered, for when retransmission gives up."""
    if sk.state not in OPENING or sk.lock.owned:
        if sk.lock.owned:
            sk.kernel.mib["TcpExtLockDroppedIcmps"] += 1
        sk.sk_err_soft = error
        return

    def give_up() -> None:
        sk.sk_err = error
        lifecycle.purge_write_queue(sk)
        lifecycle.done(sk)
        sk.wake(EPOLLERR)

    sk.lock.run(give_up)


def mtu_reduced(sk: TcpSock, mtu: int) -> None:
    """Believe a router about the path MTU (RFC 1191, 6.4; `tcp_v4_mtu_reduced`)."""
    if sk.state in UNCONNECTED:
        return
    sk.inet.update_pmtu(sk.raddr, mtu)
    try:
        sk.route = sk.find_route()
    except OSError:
        return
    if sk.route.mtu < sk.pmtu:
        sync_mss(sk, sk.route.mtu)
        simple_retransmit(sk, sk.mss_cache)
