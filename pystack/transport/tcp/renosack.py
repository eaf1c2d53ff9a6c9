"""Loss detection without SACK (RFC 6582): each duplicate ACK counts as one segment received."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.transport.tcp.ackevent import AckEvent
    from pystack.transport.tcp.sock import TcpSock


def add(sk: TcpSock, dupacks: int, event: AckEvent) -> None:
    """Duplicate ACKs came (`tcp_add_reno_sack`)."""
    if dupacks:
        prior = sk.rtx.sacked_out
        sk.rtx.sacked_out += dupacks
        _check_reordering(sk, 0)
        event.delivered += max(0, sk.rtx.sacked_out - prior)


def remove(sk: TcpSock, acked: int, event: AckEvent) -> None:
    """`acked` segments were acknowledged: one was the hole, the rest ate duplicate ACKs."""
    rtx = sk.rtx
    if acked > 0:
        event.delivered += max(acked - rtx.sacked_out, 1)
        rtx.sacked_out = max(0, rtx.sacked_out - (acked - 1))
    _check_reordering(sk, acked)


def _check_reordering(sk: TcpSock, addend: int) -> None:
    """More duplicates than segments in flight: some must have been reordered (or repeated)."""
    rtx = sk.rtx
    holes = min(max(rtx.lost_out, 1), rtx.packets_out)
    if rtx.sacked_out + holes > rtx.packets_out:
        rtx.sacked_out = rtx.packets_out - holes
        limit = sk.kernel.sysctl["net.ipv4.tcp_max_reordering"]
        sk.reordering = min(rtx.packets_out + addend, limit)
        sk.stats.reord_seen += 1
        sk.kernel.mib["TcpExtTCPRenoReorder"] += 1
