"""Matches on ICMP's and ICMPv6's type and code."""

from __future__ import annotations

from typing import ClassVar

from pystack.core.headers.ipv4 import IPPROTO_ICMP
from pystack.net.netfilter.packet import IPPROTO_ICMPV6, Packet
from pystack.net.netfilter.xt import Match, Option, Options, Rest, XtablesError, require
from pystack.net.netfilter.xt_values import number


class _IcmpMatch(Match):
    protocol: int
    option: str
    label: str
    written: str  # behind -p
    names: ClassVar[dict[str, tuple[int, int | None]]]
    any_type: int | None  # as which number "any" is written in a listing

    def __init__(self, given: Options, rest: Rest) -> None:
        require(rest, self.protocol, self.name, self.written)
        if self.option not in given:
            raise XtablesError(f'{self.name}: option "{self.option}" must be specified')
        self.given = given[self.option]
        self.type, self.code = self._parse(self.given.value)

    def _parse(self, text: str) -> tuple[int | None, int | None]:
        """None: any."""
        if text.lower() == "any" and self.any_type is not None:
            return None, None
        if text.lower() in self.names:
            return self.names[text.lower()]
        kind, slash, code = text.partition("/")
        return (
            number(kind, self.option, 0, 255),
            number(code, self.option, 0, 255) if slash else None,
        )

    def matches(self, packet: Packet) -> bool:
        if packet.fragment_offset:
            return False
        data = packet.transport
        if len(data) < 8:
            packet.hotdrop = True
            return False
        same = self.type in (None, data[0]) and self.code in (None, data[1])
        return same is not self.given.inverted

    def save(self) -> str:
        kind = "any" if self.type is None else self.type
        code = "" if self.code is None else f"/{self.code}"
        return f"{' !' if self.given.inverted else ''} {self.option} {kind}{code}"

    def listing(self) -> str:
        code = "" if self.code is None else f" code {self.code}"
        kind = self.any_type if self.type is None else self.type
        if self.given.inverted:
            return f" {self.label} !type {kind}{code}"
        return f" {self.label}type {kind}{code}"


class IcmpMatch(_IcmpMatch):
    name = label = written = "icmp"
    protocol = IPPROTO_ICMP
    option = "--icmp-type"
    options = (Option(("--icmp-type",), invert=True),)
    any_type = 255
    names: ClassVar = {
        "echo-reply": (0, None),
        "pong": (0, None),
        "destination-unreachable": (3, None),
        "network-unreachable": (3, 0),
        "host-unreachable": (3, 1),
        "protocol-unreachable": (3, 2),
        "port-unreachable": (3, 3),
        "fragmentation-needed": (3, 4),
        "source-route-failed": (3, 5),
        "host-prohibited": (3, 10),
        "network-prohibited": (3, 9),
        "communication-prohibited": (3, 13),
        "source-quench": (4, None),
        "redirect": (5, None),
        "echo-request": (8, None),
        "ping": (8, None),
        "router-advertisement": (9, None),
        "router-solicitation": (10, None),
        "time-exceeded": (11, None),
        "ttl-exceeded": (11, None),
        "ttl-zero-during-transit": (11, 0),
        "ttl-zero-during-reassembly": (11, 1),
        "parameter-problem": (12, None),
        "timestamp-request": (13, None),
        "timestamp-reply": (14, None),
        "address-mask-request": (17, None),
        "address-mask-reply": (18, None),
    }


class Icmp6Match(_IcmpMatch):
    name = "icmp6"
    label = "ipv6-icmp"
    written = "icmpv6"
    protocol = IPPROTO_ICMPV6
    option = "--icmpv6-type"
    options = (Option(("--icmpv6-type",), invert=True),)
    any_type = None
    names: ClassVar = {
        "destination-unreachable": (1, None),
        "no-route": (1, 0),
        "communication-prohibited": (1, 1),
        "address-unreachable": (1, 3),
        "port-unreachable": (1, 4),
        "packet-too-big": (2, None),
        "time-exceeded": (3, None),
        "ttl-exceeded": (3, None),
        "parameter-problem": (4, None),
        "echo-request": (128, None),
        "ping": (128, None),
        "echo-reply": (129, None),
        "pong": (129, None),
        "router-solicitation": (133, None),
        "router-advertisement": (134, None),
        "neighbour-solicitation": (135, None),
        "neighbor-solicitation": (135, None),
        "neighbour-advertisement": (136, None),
        "neighbor-advertisement": (136, None),
        "redirect": (137, None),
    }
