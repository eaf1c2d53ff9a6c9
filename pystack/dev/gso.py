"""What a device cannot do for a packet on its way out, done in software (`validate_xmit_skb`).

Called by `NetCore.queue_xmit`, and by IP where even the parts have to be cut smaller.  A packet of
many segments is either one that GRO has merged (`frags`), or one of our own TCP with its text in
one piece; both have `gso_size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pystack.core.checksum import checksum, ones_sum
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_8021Q, VLAN_HLEN
from pystack.core.headers.ipv4 import IPPROTO_TCP
from pystack.core.headers.tcp import TH_CWR, TH_FIN, TH_PSH
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_PARTIAL, SkBuff

_IP6_HLEN = 40
_SEQ, _DATA_OFFSET, _FLAGS, _CHECKSUM = 4, 12, 13, 16  # in TCP's header
_ADDRESSES = 12
_TAG = ETH_P_8021Q.to_bytes(2, "big")
_PEEK = 160  # more than the headers of a packet that is cut


class _Layout(NamedTuple):
    """Where a packet's headers begin, counted from its first byte, and where its text does."""

    v4: bool
    network: int
    transport: int
    text: int


def validate_xmit(skb: SkBuff, features: Mapping[str, bool]) -> list[SkBuff]:
    """The frames to give to a device of these features, for one that may need help."""
    if skb.vlan_tci >= 0 and not features["txvlan"]:
        insert_tag(skb)
    if skb.gso_size:
        data = skb.head + bytes(skb.buf[skb.off : skb.off + _PEEK])
        link = ETH_HLEN + (VLAN_HLEN if data[_ADDRESSES : _ADDRESSES + 2] == _TAG else 0)
        if features["tso" if data[link] >> 4 == 4 else "tso6"]:
            if skb.frags is not None:
                _for_device(skb, link)
            return [skb]
        parts = segment(skb, link)
    else:
        parts = [skb]
    if not features["tx"]:
        for part in parts:
            if part.ip_summed == CHECKSUM_PARTIAL:
                checksum_help(part)
    return parts


def insert_tag(skb: SkBuff) -> None:
    """Put the VLAN tag into the frame (`__vlan_hwaccel_push_inside`)."""
    addresses = skb.take_head(_ADDRESSES)
    skb.push(addresses + _TAG + skb.vlan_tci.to_bytes(2, "big"))
    skb.vlan_tci = -1


def checksum_help(skb: SkBuff) -> None:
    """Fill in the checksum that was left to the device (`skb_checksum_help`); never 0."""
    start = len(skb) - skb.csum_length
    value = 0xFFFF - ones_sum(memoryview(bytes(skb))[start:]) or 0xFFFF
    _write(skb, start + skb.csum_offset, value.to_bytes(2, "big"))
    skb.ip_summed, skb.csum_length = CHECKSUM_NONE, 0


def _write(skb: SkBuff, at: int, data: bytes) -> None:
    """Change bytes of the headers, which stand in `head` or else in `buf`."""
    inside = at - len(skb.head)
    if inside < 0:
        skb.head = skb.head[:at] + data + skb.head[at + len(data) :]
        return
    if skb.buf.readonly or skb.sk is not None:
        skb.buf = memoryview(bytearray(skb.buf))
    skb.buf[skb.off + inside : skb.off + inside + len(data)] = data


def segments(skb: SkBuff) -> tuple[int, int]:
    """How many frames a packet of many segments leaves as, and all their bytes
    (`qdisc_pkt_len_init`)."""
    transport = len(skb) - skb.csum_length
    at = transport + _DATA_OFFSET
    inside = at - len(skb.head)
    first = skb.head[at] if inside < 0 else skb.buf[skb.off + inside]
    header = transport + (first >> 4 << 2)
    count = -(-(len(skb) - header) // skb.gso_size)
    return count, len(skb) + (count - 1) * header


def longest(skb: SkBuff) -> int:
    """Bytes of the longest packet it will leave as."""
    if skb.gso_size and skb.frags is None:
        return len(skb.head) + min(skb.gso_size, skb.end - skb.off)
    return len(skb) - skb.data_len


# -- many segments -------------------------------------------------------------------------


def segment(skb: SkBuff, link: int) -> list[SkBuff]:
    """The packets `skb` stands for, each with headers of its own; `link` bytes of the packet stand
    before its network header."""
    if skb.frags is None:
        return _cut(skb, link) if skb.gso_size else [skb]
    frags, skb.frags, skb.data_len, skb.gso_size = skb.frags, None, 0, 0
    inside = max(link - len(skb.head), 0)
    at = _layout(skb.buf[skb.off : skb.end], inside)
    for part in frags:
        part.off -= at.text
        part.network_header = part.off + inside
        part.head = skb.head
        part.dev, part.dst, part.queue = skb.dev, skb.dst, skb.queue
        part.protocol, part.mark, part.nfct = skb.protocol, skb.mark, skb.nfct
        part.saddr, part.daddr, part.vlan_tci = skb.saddr, skb.daddr, skb.vlan_tci
    return [skb, *frags]


def _layout(packet: memoryview | bytes, network: int) -> _Layout:
    first = packet[network]
    v4 = first >> 4 == 4
    transport = network + ((first & 15) << 2 if v4 else _IP6_HLEN)
    return _Layout(v4, network, transport, transport + (packet[transport + 12] >> 4 << 2))


def _for_device(skb: SkBuff, link: int) -> None:
    """A merged packet for a device that cuts it up again: the first header speaks for all."""
    at = _layout(skb.head + bytes(skb.buf[skb.off : skb.off + _PEEK]), link)
    packet = bytes(skb)
    flags = packet[at.transport + _FLAGS]
    for part in skb.parts()[1:]:
        flags |= part.buf[part.off - at.text + at.transport + _FLAGS] & (TH_FIN | TH_PSH)
    pseudo = _pseudo(packet, at)
    _write(skb, at.transport + _FLAGS, bytes((flags,)))
    _write(skb, at.transport + _CHECKSUM, ones_sum(b"", pseudo).to_bytes(2, "big"))
    skb.ip_summed, skb.csum_offset = CHECKSUM_PARTIAL, _CHECKSUM
    skb.csum_length = len(skb) - at.transport


def _pseudo(packet: bytes, at: _Layout) -> int:
    """Sum of the pseudo-header but for the length."""
    addresses = packet[at.network + 12 : at.network + 20]
    if not at.v4:
        addresses = packet[at.network + 8 : at.network + 40]
    return int.from_bytes(addresses, "big") + IPPROTO_TCP


def _cut(skb: SkBuff, link: int) -> list[SkBuff]:
    """A packet of our own TCP in segments of `gso_size` (`tcp_gso_segment`)."""
    packet = bytes(skb)
    at = _layout(packet, link)
    text = memoryview(packet)[at.text :]
    pseudo = _pseudo(packet, at)
    parts: list[SkBuff] = []
    for start in range(0, len(text), skb.gso_size):
        piece = text[start : start + skb.gso_size]
        header = bytearray(packet[: at.text])
        _adapt_ip(header, at, len(parts), len(piece))
        _adapt_tcp(header, at, start, pseudo, piece, last=start + len(piece) == len(text))
        part = SkBuff(skb.kernel, piece)
        part.head = bytes(header)
        part.dev, part.dst, part.queue, part.sk = skb.dev, skb.dst, skb.queue, skb.sk
        part.protocol, part.mark, part.nfct = skb.protocol, skb.mark, skb.nfct
        part.saddr, part.daddr, part.priority = skb.saddr, skb.daddr, skb.priority
        part.vlan_tci, part.tstamp = skb.vlan_tci, skb.tstamp
        parts.append(part)
    parts[-1].xmit_done, skb.xmit_done = skb.xmit_done, None
    parts[-1].tx_stamped = skb.tx_stamped
    skb.free()
    return parts


def _adapt_ip(header: bytearray, at: _Layout, number: int, text: int) -> None:
    network = at.network
    if not at.v4:
        length = at.text - network - _IP6_HLEN + text
        header[network + 4 : network + 6] = length.to_bytes(2, "big")
        return
    header[network + 2 : network + 4] = (at.text - network + text).to_bytes(2, "big")
    ident = int.from_bytes(header[network + 4 : network + 6], "big") + number & 0xFFFF
    header[network + 4 : network + 6] = ident.to_bytes(2, "big")
    header[network + 10 : network + 12] = bytes(2)
    value = checksum(header[network : at.transport])
    header[network + 10 : network + 12] = value.to_bytes(2, "big")


def _adapt_tcp(
    header: bytearray, at: _Layout, start: int, pseudo: int, piece: memoryview, *, last: bool
) -> None:
    tcp = at.transport
    seq = int.from_bytes(header[tcp + _SEQ : tcp + _SEQ + 4], "big") + start & 0xFFFFFFFF
    header[tcp + _SEQ : tcp + _SEQ + 4] = seq.to_bytes(4, "big")
    if not last:
        header[tcp + _FLAGS] &= ~(TH_FIN | TH_PSH) & 0xFF
    if start:
        header[tcp + _FLAGS] &= ~TH_CWR & 0xFF
    header[tcp + _CHECKSUM : tcp + _CHECKSUM + 2] = bytes(2)
    total = pseudo + at.text - tcp + len(piece)
    value = 0xFFFF - ones_sum(piece, ones_sum(header[tcp:], total))
    header[tcp + _CHECKSUM : tcp + _CHECKSUM + 2] = value.to_bytes(2, "big")
