"""The flow a frame belongs to, as a number (`__skb_get_hash`, `net/core/flow_dissector.c`).

For what must treat the packets of a flow alike: fair queueing, steering to CPUs, fanout.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from pystack.core.headers.ipv4 import IP_HLEN, IP_MF, IP_OFFSET_MASK
from pystack.core.skb import SkBuff

DISSECTED = ETH_HLEN + VLAN_HLEN + 60 + 4  # the longest headers up to the ports
_IP6_HLEN = 40
_PORTS = frozenset((6, 17, 33, 132, 136))  # TCP, UDP, DCCP, SCTP, UDP-Lite


class SockFlows:
    """On which CPU a flow's application last was (`rps_sock_flow_table`), if RFS is on."""

    def __init__(self, sysctl: Mapping[str, int]) -> None:
        self._sysctl = sysctl
        self._table: dict[int, tuple[int, int]] = {}

    def record(self, hash_: int, cpu: int) -> None:
        """A system call on a socket of this flow runs on `cpu` (`sock_rps_record_flow`)."""
        entries = self._sysctl["net.core.rps_sock_flow_entries"]
        if entries:
            self._table[hash_ % entries] = hash_, cpu

    def lookup(self, hash_: int) -> int | None:
        entries = self._sysctl["net.core.rps_sock_flow_entries"]
        if not entries:
            return None
        known, cpu = self._table.get(hash_ % entries, (0, 0))
        return cpu if known == hash_ else None


def flow_hash(skb: SkBuff) -> int:
    """32 bits, never 0, from the addresses and ports of a whole frame.

    Fragments of a packet hash alike, without ports.
    """
    head = skb.head
    missing = DISSECTED - len(head)
    data = head + bytes(skb.buf[skb.off : min(skb.end, skb.off + missing)]) if missing > 0 else head
    # A CRC of nearly equal keys differs in its low bits; the product spreads that (Knuth, 6.4).
    return crc32(_key(data)) * 0x9E3779B1 & 0xFFFFFFFF or 1


def _key(frame: bytes) -> bytes:
    at = ETH_HLEN
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == ETH_P_8021Q:
        ethertype = int.from_bytes(frame[16:18], "big")
        at += VLAN_HLEN
    if ethertype == ETH_P_IP and len(frame) >= at + IP_HLEN:
        protocol = frame[at + 9]
        addresses = frame[at + 12 : at + 20]
        ports = at + (frame[at] & 0xF) * 4
        if int.from_bytes(frame[at + 6 : at + 8], "big") & (IP_MF | IP_OFFSET_MASK):
            return addresses + bytes([protocol])
    elif ethertype == ETH_P_IPV6 and len(frame) >= at + _IP6_HLEN:
        protocol = frame[at + 6]
        addresses = frame[at + 8 : at + _IP6_HLEN]
        ports = at + _IP6_HLEN
    else:
        return frame[:14]
    if protocol not in _PORTS:
        return addresses + bytes([protocol])
    return addresses + bytes([protocol]) + frame[ports : ports + 4]
