"""Generic receive offload: what one poll brings of a TCP flow goes up as one packet.

Called by drivers through `Napi.gro_receive`; hands packets to the link layer, merged ones at the
end of the poll at the latest.  The rules are those of `net/core/gro.c`, `inet_gro_receive` and
`tcp_gro_receive`: a merged packet has the headers of its first and the texts of all, in order.
"""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.checksum import ones_sum
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_IP, ETH_P_IPV6
from pystack.core.headers.ipv4 import (
    IP_HLEN,
    IP_MF,
    IP_OFFSET_MASK,
    IPPROTO_TCP,
    pseudo_header_sum,
)
from pystack.core.headers.ipv6 import IPV6_HLEN
from pystack.core.headers.tcp import TCP_HLEN, TH_ACK, TH_CWR, TH_ECE, TH_FIN, TH_PSH
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.netdev import NetDevice

GRO_MAX_SIZE = 65535  # bytes of IP packet and all texts: what an IPv4 length can say
MAX_HELD = 64  # flows: GRO_HASH_BUCKETS * MAX_GRO_SKBS
_ENDS = TH_PSH | TH_FIN
_ECN = TH_ECE | TH_CWR

FlowKey = tuple[bytes, bytes, int, int]


class _Held:
    """A packet that waits for its successors.  `size` as GRO_MAX_SIZE counts it."""

    __slots__ = ("next_seq", "size", "skb", "text_at")

    def __init__(self, skb: SkBuff, text_at: int) -> None:
        self.skb = skb
        self.text_at = text_at
        self.size = skb.end - skb.off - ETH_HLEN
        self.next_seq = (skb.headers[frame.SEQ] + skb.end - text_at) & 0xFFFFFFFF


class Gro:
    """The packets one poller holds, by flow.  `merged` counts those that went into another."""

    def __init__(self, deliver: Callable[[SkBuff], None]) -> None:
        self.merged = 0
        self._deliver = deliver
        self._held: dict[FlowKey, _Held] = {}

    def receive(self, skb: SkBuff) -> None:
        """Merge, hold or deliver a frame; the flow's order is kept (`dev_gro_receive`)."""
        dev: NetDevice = skb.dev
        if not dev.features["gro"]:
            self._deliver(skb)
            return
        skb.headers = headers = frame.unpack(skb.buf, skb.off, skb.end)
        flow = headers[frame.FLOW]
        held = self._held.get(flow)
        text_at = _text_offset(skb)
        if text_at is None:
            if held is not None:
                self._complete(flow)
            self._deliver(skb)
            return
        flags = headers[frame.FLAGS]
        if held is not None:
            if _continues(held, skb, text_at):
                self._merge(held, skb, text_at)
                if flags & _ENDS or skb.end - text_at < held.skb.gso_size:
                    self._complete(flow)
                return
            self._complete(flow)
        if flags & _ENDS:
            self._deliver(skb)
        else:
            self._hold(flow, _Held(skb, text_at))

    def flush(self) -> None:
        """Deliver all that is held (`gro_flush`)."""
        while self._held:
            self._complete(next(iter(self._held)))

    def _hold(self, flow: FlowKey, held: _Held) -> None:
        if len(self._held) >= MAX_HELD:
            self._complete(next(iter(self._held)))
        self._held[flow] = held

    def _merge(self, held: _Held, skb: SkBuff, text_at: int) -> None:
        """`skb_gro_receive`, with the fragment list."""
        head, length = held.skb, skb.end - text_at
        if head.frags is None:
            head.frags = []
            head.gso_size = head.end - held.text_at
        skb.off = text_at
        head.frags.append(skb)
        head.data_len += length
        held.size += length
        held.next_seq = (held.next_seq + length) & 0xFFFFFFFF
        self.merged += 1

    def _complete(self, flow: FlowKey) -> None:
        self._deliver(self._held.pop(flow).skb)


def _text_offset(skb: SkBuff) -> int | None:
    """Where the text of a segment that may be merged begins in `skb.buf`; None for any other.

    Such a one is whole, verified, with text and nothing out of the ordinary in its headers.
    Padding is cut off.
    """
    headers, start = skb.headers, skb.off + ETH_HLEN
    first, _, total, _, fragment, _, protocol, _, src, dst = headers[frame.IPV4]
    _, _, _, _, offset, flags, _, _, _ = headers[frame.TCP]
    ethertype = headers[frame.ETHERTYPE]
    v4 = ethertype == ETH_P_IP and first == 0x45 and not fragment & (IP_MF | IP_OFFSET_MASK)
    if not v4 and (ethertype != ETH_P_IPV6 or first != 0x60):
        return None
    network = IP_HLEN if v4 else IPV6_HLEN
    hlen = offset >> 4 << 2
    end = start + total
    if (
        protocol != IPPROTO_TCP
        or end > skb.end
        or hlen < TCP_HLEN
        or total <= network + hlen
        or flags & ~(_ENDS | _ECN) != TH_ACK
    ):
        return None
    text = start + network
    if v4 and ones_sum(skb.buf[start:text]) != 0xFFFF:
        return None
    if skb.ip_summed == CHECKSUM_NONE:
        pseudo = pseudo_header_sum(src, dst, IPPROTO_TCP, end - text)
        if ones_sum(skb.buf[text:end], pseudo) != 0xFFFF:
            return None
        skb.ip_summed = CHECKSUM_UNNECESSARY
    skb.end = end
    return int(text + hlen)


def _continues(held: _Held, skb: SkBuff, text_at: int) -> bool:
    """Is it the next segment, no longer than the first, with the same headers otherwise?"""
    head = held.skb
    ours, theirs = skb.headers, head.headers
    length = skb.end - text_at
    return (
        ours[frame.SEQ] == held.next_seq
        and ours[frame.ACK] == theirs[frame.ACK]
        and ours[frame.DATA_OFFSET] == theirs[frame.DATA_OFFSET]
        and ours[frame.FLAGS] & _ECN == theirs[frame.FLAGS] & TH_ECE  # CWR begins a packet
        and ours[frame.WINDOW] == theirs[frame.WINDOW]
        and length <= (head.gso_size or head.end - held.text_at)
        and held.size + length <= GRO_MAX_SIZE
        and ours[frame.ETHERNET] == theirs[frame.ETHERNET]
        and ours[frame.TOS] == theirs[frame.TOS]
        and ours[frame.TTL] == theirs[frame.TTL]
        and ours[frame.FRAGMENT] == theirs[frame.FRAGMENT]
        and skb.vlan_tci == head.vlan_tci
        and _options(skb, text_at) == _options(head, held.text_at)
    )


def _options(skb: SkBuff, text_at: int) -> bytes:
    hlen = skb.headers[frame.DATA_OFFSET] >> 4 << 2
    return bytes(skb.buf[text_at - hlen + TCP_HLEN : text_at])
