"""The size of segments (RFC 9293, 3.7; RFC 6691): what the path, the peer and the options allow."""

from __future__ import annotations

from socket import AF_INET
from typing import TYPE_CHECKING

from pystack.core.headers.tcp import (
    TCP_HLEN,
    TCPOLEN_SACK_BASE_ALIGNED,
    TCPOLEN_SACK_PERBLOCK,
    TCPOLEN_TSTAMP_ALIGNED,
)
from pystack.transport.tcp.constants import (
    MAX_SEGMENT_MTU,
    MIN_SND_MSS,
    MSS_DEFAULT,
)

if TYPE_CHECKING:
    from pystack.core.sysctl import Sysctl
    from pystack.net.inet import Inet
    from pystack.transport.tcp.sock import TcpSock


def advertised_mss(sysctl: Sysctl, inet: Inet, mtu: int, user_mss: int) -> int:
    """What our SYN announces: MTU less headers (RFC 6691), or what TCP_MAXSEG lowers it to; no
    less than min_adv_mss for a path's MTU (`ipv4_default_advmss`)."""
    mss = _segment(inet, mtu)
    if inet.family == AF_INET:
        mss = max(mss, sysctl["net.ipv4.route.min_adv_mss"])
    return min(mss, user_mss) if user_mss else mss


def _segment(inet: Inet, mtu: int) -> int:
    return min(mtu, MAX_SEGMENT_MTU) - inet.header_length - TCP_HLEN


def sync_mss(sk: TcpSock, mtu: int) -> None:
    """Compute `mss_cache` for a path MTU (`tcp_sync_mss`)."""
    sk.pmtu = mtu
    mss = bound_to_half_window(sk, mtu_to_mss(sk, mtu))
    search = sk.mtup
    if search is not None:
        search.high = min(search.high, mtu)
        mss = min(mss, mtu_to_mss(sk, search.low))
    sk.mss_cache = mss


def mtu_to_mss(sk: TcpSock, mtu: int) -> int:
    """`tcp_mtu_to_mss`"""
    mss = min(_segment(sk.inet, mtu), sk.mss_clamp)
    if sk.tstamp_ok:
        mss -= TCPOLEN_TSTAMP_ALIGNED
    return max(mss, MIN_SND_MSS)


def bound_to_half_window(sk: TcpSock, size: int) -> int:
    """Two segments must fit into the peer's window, or each would wait for an ACK."""
    cutoff = sk.max_window >> 1 if sk.max_window > MSS_DEFAULT else sk.max_window
    if cutoff and size > cutoff:
        return max(cutoff, MIN_SND_MSS)
    return size


def current_mss(sk: TcpSock) -> int:
    """Payload of a full segment now: SACK blocks take their room, and the path's MTU may have
    changed (`tcp_current_mss`)."""
    route = sk.route
    if route is not None and route.mtu != sk.pmtu:
        sync_mss(sk, route.mtu)
    blocks = sack_room(sk) if sk.sack_ok and sk.sacks else 0
    if not blocks:
        return sk.mss_cache
    count = min(len(sk.sacks.blocks) + (sk.sacks.dsack is not None), blocks)
    return sk.mss_cache - TCPOLEN_SACK_BASE_ALIGNED - count * TCPOLEN_SACK_PERBLOCK


def sack_room(sk: TcpSock) -> int:
    """SACK blocks that fit into 40 bytes of options."""
    return 3 if sk.tstamp_ok else 4
