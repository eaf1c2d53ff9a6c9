"""What the transmit path makes of a frame: VLAN tag, checksum, TCP segments (docs/rings.md)."""

from __future__ import annotations

from dataclasses import dataclass

from pystack.core.checksum import ones_sum
from pystack.core.headers.ethernet import ETH_P_8021Q, ETH_P_IP
from pystack.core.headers.tcp import TH_CWR, TH_FIN, TH_PSH
from pystack.dev.model.dissect import TAGS

_TAG = ETH_P_8021Q.to_bytes(2, "big")
_ADDRESSES = 12
_SEQ, _DOFF, _FLAGS = 4, 12, 13  # in TCP's header
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
    """Is a frame refused for its length before anything is read of its headers?"""
    if order.segment:
        return not order.mss or length > MAX_TEXT + MAX_HEADER
    return not 0 < length <= max_frame


def header_length(frame: bytes, order: TxOrder) -> int:
    """Bytes before the text of a frame that is to be cut; 0 if they are not all there."""
    at = order.csum_start + _DOFF
    if not order.csum_start or at >= len(frame):
        return 0
    length = order.csum_start + (frame[at] >> 4 << 2)
    return length if length <= len(frame) else 0


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
    at = _ADDRESSES
    for _ in range(2):
        if int.from_bytes(header[at : at + 2], "big") in TAGS:
            at += 4
    v4 = int.from_bytes(header[at : at + 2], "big") == ETH_P_IP
    at += 2
    if not v4:
        header[at + 4 : at + 6] = (len(header) - at - 40 + length).to_bytes(2, "big")
        return
    header[at + 2 : at + 4] = (len(header) - at + length).to_bytes(2, "big")
    ident = int.from_bytes(header[at + 4 : at + 6], "big") + number & 0xFFFF
    header[at + 4 : at + 6] = ident.to_bytes(2, "big")
    end = at + ((header[at] & 15) << 2)
    header[at + 10 : at + 12] = bytes(2)
    header[at + 10 : at + 12] = (0xFFFF - ones_sum(header[at:end])).to_bytes(2, "big")
