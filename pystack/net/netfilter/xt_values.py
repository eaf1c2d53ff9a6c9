"""How values are written in rules: numbers, ports, marks, addresses."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from pystack.net.netfilter.xt import Given, XtablesError

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipencap": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "ospf": 89,
    "vrrp": 112,
    "sctp": 132,
    "udplite": 136,
}
_ALIASES = {"all": 0, "icmpv6": 58, "ipv6-mh": 135, "mh": 135, "ipip": 94}
_NAMES = {number: name for name, number in PROTOCOLS.items()}


def number(text: str, what: str, low: int = 0, high: int = 0xFFFFFFFF) -> int:
    """Decimal, 0x hexadecimal or 0 octal."""
    digits = text.lower()
    base = 16 if digits.startswith("0x") else 8 if len(digits) > 1 and digits[0] == "0" else 10
    try:
        value = int(digits, base)
    except ValueError:
        value = -1
    if not low <= value <= high or "_" in text:
        raise XtablesError(f'{what}: bad value "{text}", or out of range ({low}-{high})')
    return value


def protocol(text: str) -> int:
    """By name or number; 0 is any."""
    known = PROTOCOLS.get(text.lower(), _ALIASES.get(text.lower()))
    if known is not None:
        return known
    try:
        return number(text, "protocol", 0, 255)
    except XtablesError:
        raise XtablesError(f'unknown protocol "{text}" specified') from None


def protocol_name(value: int) -> str:
    return _NAMES.get(value, str(value))


def port(text: str) -> int:
    try:
        return number(text, "port", 0, 0xFFFF)
    except XtablesError:
        raise XtablesError(f"invalid port/service `{text}' specified") from None


class Ports(NamedTuple):
    """A range, both ends in it; `inverted`: anything else."""

    low: int
    high: int
    inverted: bool = False

    @classmethod
    def parse(cls, given: Given) -> Ports:
        """`80`, `80:90`, `:90`, `80:`"""
        low, colon, high = given.value.partition(":")
        first = port(low) if low else 0
        last = (port(high) if high else 0xFFFF) if colon else first
        if first > last:
            raise XtablesError(f"invalid portrange {given.value} (min > max)")
        return cls(first, last, given.inverted)

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, int)
        return (self.low <= value <= self.high) is not self.inverted

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}:{self.high}"


class Mark(NamedTuple):
    value: int
    mask: int = 0xFFFFFFFF

    @classmethod
    def parse(cls, text: str, what: str) -> Mark:
        value, slash, mask = text.partition("/")
        return cls(number(value, what), number(mask, what) if slash else 0xFFFFFFFF)

    def __str__(self) -> str:
        return f"{self.value:#x}" if self.mask == 0xFFFFFFFF else f"{self.value:#x}/{self.mask:#x}"


class Network(NamedTuple):
    """`address` and `mask` as integers, `version` 4 or 6; `address` is masked."""

    version: int
    address: int
    mask: int

    @classmethod
    def parse(cls, text: str, version: int) -> Network:
        bits = 32 if version == 4 else 128
        full = (1 << bits) - 1
        host, slash, width = text.partition("/")
        mask = full
        if slash:
            if width.isdigit() and int(width) <= bits:
                mask = full ^ (full >> int(width))
            else:
                mask = _address(width, version, f"invalid mask `{width}' specified")
        value = _address(host, version, f"host/network `{host}' not found")
        return cls(version, value & mask, mask)

    @property
    def width(self) -> int | None:
        """Of a mask that is a prefix."""
        bits = 32 if self.version == 4 else 128
        inverse = self.mask ^ (1 << bits) - 1
        return None if inverse & (inverse + 1) else bits - inverse.bit_length()

    @property
    def host(self) -> str:
        return text_of(self.address, self.version)

    def covers(self, packed: bytes) -> bool:
        return int.from_bytes(packed, "big") & self.mask == self.address

    def save(self) -> str:
        """`10.0.0.0/8`; a mask that is not a prefix is written in full."""
        width = self.width
        return f"{self.host}/{text_of(self.mask, self.version) if width is None else width}"

    def listing(self) -> str:
        """A host without its mask."""
        return self.host if self.width == (32 if self.version == 4 else 128) else self.save()


def text_of(value: int, version: int) -> str:
    if version == 4:
        return str(ipaddress.IPv4Address(value))
    return str(ipaddress.IPv6Address(value))


def _address(text: str, version: int, wrong: str) -> int:
    try:
        if version == 4:
            return int(ipaddress.IPv4Address(text))
        return int(ipaddress.IPv6Address(text))
    except ValueError:
        raise XtablesError(wrong) from None


def packed_address(text: str, version: int) -> bytes:
    """XtablesError(Bad IP address ...) if it is none."""
    value = _address(text, version, f'Bad IP address "{text}"')
    return value.to_bytes(4 if version == 4 else 16, "big")


def quoted(text: str) -> str:
    """As iptables-save writes a text (`xtables_save_string`)."""
    plain = text.replace("_", "").replace("-", "")
    if text and (not plain or (plain.isascii() and plain.isalnum())):
        return text
    escaped = "".join(f"\\{char}" if char in "\"\\'" else char for char in text)
    return f'"{escaped}"'
