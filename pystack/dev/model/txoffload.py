"""What the transmit path makes of a frame: VLAN tag, checksum, TCP segments (docs/rings.md)."""

from __future__ import annotations

from dataclasses import dataclass

from pystack.core.checksum import ones_sum
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from pystack.core.headers.tcp import TCP_HLEN, TH_CWR, TH_FIN, TH_PSH
from pystack.dev.model.dissect import TAGS

_TAG = ETH_P_8021Q.to_bytes(2, "big")
_ADDRESSES = 12
_SEQ, _DOFF, _FLAGS = 4, 12, 13  # in TCP's header
TCP_CHECK = 16  # the checksum's place in TCP's header
MAX_HEADER = 256
MAX_TEXT = 1 << 16


@dataclass(frozen=True)
class TxOrder:
    """What a frame's first descriptor asks for.  `csum_start` and `csum_offset` are in bytes."""

    csum_start: int = 0
    csum_offset: int = 0
    segment: bool = False
    mss: int = 0
    vlan_tci: int | None = None
    timestamp: bool = False


def bad_length(order: TxOrder, length: int, max_frame: int) -> bool:
    """Is a frame refused for what its descriptors say, before anything is read of it?"""
    tag = 0 if order.vlan_tci is None else len(_TAG) + 2
    if tag and length < ETH_HLEN:
        return True
    if order.csum_start and order.csum_start + order.csum_offset + 2 > length:
        return True
    if not order.segment:
        return not 0 < length <= max_frame - tag
    wrong = not order.mss or not order.csum_start or order.csum_offset != TCP_CHECK
    return wrong or length > MAX_TEXT + MAX_HEADER - tag


def bad_header(frame: bytes, order: TxOrder, max_frame: int) -> bool:
    """Is a frame that is to be cut refused for its header, or for the segments it would make?"""
    hlen = header_length(frame, order)
    longest = hlen + min(order.mss, len(frame) - hlen) + (4 if order.vlan_tci is not None else 0)
    at, kind = _network(frame)
    return (
        not order.csum_start + TCP_HLEN <= hlen <= min(MAX_HEADER, len(frame) - 1)
        or kind not in (ETH_P_IP, ETH_P_IPV6)
        or at >= order.csum_start
        or longest > max_frame
    )


def header_length(frame: bytes, order: TxOrder) -> int:
    """Bytes before the text of a frame that is to be cut, as its TCP header says."""
    at = order.csum_start + _DOFF
    return order.csum_start + (frame[at] >> 4 << 2) if at < len(frame) else 0


def _network(frame: bytes | bytearray) -> tuple[int, int]:
    """Where the network header begins, behind up to two tags, and its Ethertype."""
    at = _ADDRESSES
    for _ in range(2):
        if int.from_bytes(frame[at : at + 2], "big") in TAGS:
            at += 4
    return at + 2, int.from_bytes(frame[at : at + 2], "big")


def frames(frame: bytes, order: TxOrder) -> list[bytes]:
    """What goes to the MAC."""
    if order.segment:
        made = _segments(frame, order)
    elif order.csum_start:
        made = [_with_checksum(frame, order)]
    else:
        made = [frame]
    if order.vlan_tci is not None:
        tag = _TAG + order.vlan_tci.to_bytes(2, "big")
        made = [part[:_ADDRESSES] + tag + part[_ADDRESSES:] for part in made]
    return made


def _with_checksum(frame: bytes, order: TxOrder) -> bytes:
    """The field holds the sum of the pseudo-header; what is written is never 0."""
    at = order.csum_start + order.csum_offset
    if at + 2 > len(frame):
        return frame
    value = 0xFFFF - ones_sum(memoryview(frame)[order.csum_start :]) or 0xFFFF
    return frame[:at] + value.to_bytes(2, "big") + frame[at + 2 :]


def _segments(frame: bytes, order: TxOrder) -> list[bytes]:
    hlen = header_length(frame, order)
    text = memoryview(frame)[hlen:]
    starts = range(0, len(text), order.mss) or range(1)
    made = []
    for number, start in enumerate(starts):
        part = bytes(text[start : start + order.mss])
        header = bytearray(frame[:hlen])
        _adapt(header, order, number, start, len(part), last=number == len(starts) - 1)
        made.append(_with_checksum(bytes(header) + part, order))
    return made


def _adapt(
    header: bytearray, order: TxOrder, number: int, start: int, length: int, *, last: bool
) -> None:
    """The header of one segment; its checksum field gets the whole pseudo-header's sum."""
    _adapt_ip(header, number, length)
    tcp = order.csum_start
    seq = int.from_bytes(header[tcp + _SEQ : tcp + _SEQ + 4], "big") + start & 0xFFFFFFFF
    header[tcp + _SEQ : tcp + _SEQ + 4] = seq.to_bytes(4, "big")
    if not last:
        header[tcp + _FLAGS] &= ~(TH_FIN | TH_PSH) & 0xFF
    if number:
        header[tcp + _FLAGS] &= ~TH_CWR & 0xFF
    field = tcp + order.csum_offset
    pseudo = int.from_bytes(header[field : field + 2], "big")
    total = ones_sum(b"", pseudo + len(header) - tcp + length)
    header[field : field + 2] = total.to_bytes(2, "big")


def _adapt_ip(header: bytearray, number: int, length: int) -> None:
    """Length of the packet; of IPv4 identification and header checksum, too."""
    at, kind = _network(header)
    if kind != ETH_P_IP:
        header[at + 4 : at + 6] = (len(header) - at - 40 + length).to_bytes(2, "big")
        return
    header[at + 2 : at + 4] = (len(header) - at + length).to_bytes(2, "big")
    ident = int.from_bytes(header[at + 4 : at + 6], "big") + number & 0xFFFF
    header[at + 4 : at + 6] = ident.to_bytes(2, "big")
    end = at + ((header[at] & 15) << 2)
    header[at + 10 : at + 12] = bytes(2)
    header[at + 10 : at + 12] = (0xFFFF - ones_sum(header[at:end])).to_bytes(2, "big")
