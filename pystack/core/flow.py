"""The flow a frame belongs to, as a number (`__skb_get_hash`, `net/core/flow_dissector.c`).

For what must treat the packets of a flow alike: fair queueing, steering to CPUs, fanout.
"""

from __future__ import annotations

from zlib import crc32

from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from pystack.core.headers.ipv4 import IP_HLEN, IP_MF, IP_OFFSET_MASK
from pystack.core.skb import SkBuff

DISSECTED = ETH_HLEN + VLAN_HLEN + 60 + 4  # the longest headers up to the ports
_IP6_HLEN = 40
_PORTS = frozenset((6, 17, 33, 132, 136))  # TCP, UDP, DCCP, SCTP, UDP-Lite


def flow_hash(skb: SkBuff) -> int:
    """32 bits from addresses and ports of the frame `skb`, the same for both directions' ends in
    order; fragments of a packet hash alike, without ports."""
    head = skb.head
    missing = DISSECTED - len(head)
    data = head + bytes(skb.buf[skb.off : min(skb.end, skb.off + missing)]) if missing > 0 else head
    return crc32(_key(data))


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
