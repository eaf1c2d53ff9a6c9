"""What the printers of all protocols share: options, bytes, names, and what was seen before.

Each protocol is a function that appends text to `Dissector.out`, as tcpdump's `*_print` do; a
field beyond the packet's end raises `Truncated`, and the line ends with `[|tcp]`.
"""

from __future__ import annotations

import socket as so
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pystack.core.checksum import ones_sum
from pystack.tools.names import service

FlowKey = tuple[bytes, bytes, int, int]


@dataclass(frozen=True)
class Options:
    """`-n`: `names` off; `-e` `link`; `-S` `absolute`; `-v` counts; `-t` counts."""

    names: bool = False
    link: bool = False
    absolute: bool = False
    verbose: int = 0
    time: int = 0


class Truncated(Exception):
    """A packet ends before a field of this protocol."""


@dataclass
class Dissector:
    options: Options
    out: list[str] = field(default_factory=list)
    protocol: str = ""  # whose field is looked at
    missing: int = 0  # bytes at the end of a quoted packet that were not quoted
    sequences: dict[FlowKey, tuple[int, int]] = field(default_factory=dict)

    def print(self, text: str) -> None:
        self.out.append(text)

    # -- bytes -----------------------------------------------------------------------------

    def u8(self, data: bytes, at: int) -> int:
        self.need(data, at + 1)
        return data[at]

    def u16(self, data: bytes, at: int) -> int:
        self.need(data, at + 2)
        return int.from_bytes(data[at : at + 2], "big")

    def u32(self, data: bytes, at: int) -> int:
        self.need(data, at + 4)
        return int.from_bytes(data[at : at + 4], "big")

    def need(self, data: bytes, length: int) -> None:
        if len(data) - self.missing < length:
            raise Truncated(self.protocol)

    def ip4(self, data: bytes, at: int) -> str:
        self.need(data, at + 4)
        return so.inet_ntoa(data[at : at + 4])

    def ip6(self, data: bytes, at: int) -> str:
        self.need(data, at + 16)
        return so.inet_ntop(so.AF_INET6, data[at : at + 16])

    @contextmanager
    def part(self, data: bytes, end: int) -> Iterator[bytes]:
        """The first `end` bytes, of which fewer may be missing than of all."""
        missing, self.missing = self.missing, max(self.missing - (len(data) - end), 0)
        yield data[:end]
        self.missing = missing

    def mac(self, address: bytes) -> str:
        """With names, who made it: nobody whom tcpdump knows."""
        if not self.options.names:
            return mac(address)
        return "Broadcast" if address == b"\xff" * 6 else f"{mac(address)} (oui Unknown)"

    def port(self, number: int, protocol: str) -> str:
        return service(number, protocol) if self.options.names else str(number)


@dataclass(frozen=True)
class IpPacket:
    """The header over a transport's: addresses as bytes and text, and where the frame's data is.

    `direct`: the transport's header follows it without an extension header; `fragment`: more
    fragments follow.
    """

    version: int
    src: bytes
    dst: bytes
    protocol: int
    direct: bool
    fragment: bool

    @property
    def src_text(self) -> str:
        return _text(self.src)

    @property
    def dst_text(self) -> str:
        return _text(self.dst)

    def checksum(self, data: bytes, protocol: int) -> int:
        """Of `data` with the pseudo header; 0 if it is right."""
        if self.version == 4:
            pseudo = self.src + self.dst + struct.pack("!HH", protocol, len(data))
        else:
            pseudo = self.src + self.dst + struct.pack("!II", len(data), protocol)
        return 0xFFFF ^ ones_sum(pseudo + data)


def _text(address: bytes) -> str:
    return so.inet_ntop(so.AF_INET if len(address) == 4 else so.AF_INET6, address)


def should_be(found: int, checksum: int) -> int:
    """What the field had to hold, of which the sum over all is `checksum` (`in_cksum_shouldbe`)."""
    total = found + (0xFFFF ^ checksum ^ 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def mac(address: bytes) -> str:
    return address.hex(":")


def bits(names: Sequence[tuple[int, str]], value: int, separator: str, none: str = "none") -> str:
    return separator.join(name for bit, name in names if value & bit) or none
