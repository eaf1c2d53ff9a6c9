"""Matches on the transport header: tcp, udp, icmp, icmp6, multiport."""

from __future__ import annotations

from typing import ClassVar

from pystack.core.headers.ipv4 import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from pystack.core.headers.tcp import TCP_HLEN, TH_ACK, TH_FIN, TH_PSH, TH_RST, TH_SYN, TH_URG
from pystack.net.netfilter.packet import IPPROTO_ICMPV6, Packet
from pystack.net.netfilter.xt import Given, Match, Option, Options, Rest, XtablesError
from pystack.net.netfilter.xt_values import Ports, number

_SPORT = Option(("--sport", "--source-port"), invert=True)
_DPORT = Option(("--dport", "--destination-port"), invert=True)
_ANY = Ports(0, 0xFFFF)


class _PortMatch(Match):
    """A protocol with ports at the start of its header."""

    def __init__(self, given: Options, rest: Rest) -> None:
        self.sport = Ports.parse(given["--sport"]) if "--sport" in given else _ANY
        self.dport = Ports.parse(given["--dport"]) if "--dport" in given else _ANY

    def matches(self, packet: Packet) -> bool:
        if packet.fragment_offset:
            return False
        ports = packet.ports
        if ports is None:
            packet.hotdrop = True
            return False
        return ports[0] in self.sport and ports[1] in self.dport

    def save(self) -> str:
        text = ""
        for name, ports in (("--sport", self.sport), ("--dport", self.dport)):
            if ports != _ANY:
                text += f"{' !' if ports.inverted else ''} {name} {ports}"
        return text

    def listing(self) -> str:
        text = f" {self.name}"
        for name, ports in (("spt", self.sport), ("dpt", self.dport)):
            if ports != _ANY:
                plural = "" if ports.low == ports.high else "s"
                text += f" {name}{plural}:{'!' if ports.inverted else ''}{ports}"
        return text


class UdpMatch(_PortMatch):
    name = "udp"
    protocol = IPPROTO_UDP
    options = (_SPORT, _DPORT)

    def __init__(self, given: Options, rest: Rest) -> None:
        _require(rest, self.protocol, self.name)
        super().__init__(given, rest)


_FLAGS = {
    "FIN": TH_FIN,
    "SYN": TH_SYN,
    "RST": TH_RST,
    "PSH": TH_PSH,
    "ACK": TH_ACK,
    "URG": TH_URG,
}
_SYN_MASK = TH_SYN | TH_RST | TH_ACK | TH_FIN


class TcpMatch(_PortMatch):
    name = "tcp"
    options = (
        _SPORT,
        _DPORT,
        Option(("--syn",), 0, True),
        Option(("--tcp-flags",), 2, True),
        Option(("--tcp-option",), 1, True),
    )

    def __init__(self, given: Options, rest: Rest) -> None:
        _require(rest, IPPROTO_TCP, self.name)
        super().__init__(given, rest)
        self.flags: tuple[int, int, bool] | None = None
        if "--syn" in given:
            self.flags = _SYN_MASK, TH_SYN, given["--syn"].inverted
        if "--tcp-flags" in given:
            (mask, wanted), inverted = given["--tcp-flags"]
            self.flags = _flags(mask), _flags(wanted), inverted
        self.option: tuple[int, bool] | None = None
        if "--tcp-option" in given:
            option = given["--tcp-option"]
            self.option = number(option.value, "--tcp-option", 1, 255), option.inverted

    def matches(self, packet: Packet) -> bool:
        if not super().matches(packet):
            if packet.fragment_offset == 8:  # RFC 1858: it would overwrite the flags
                packet.hotdrop = True
            return False
        data = packet.transport
        if len(data) < TCP_HLEN:
            packet.hotdrop = True
            return False
        if self.flags is not None:
            mask, wanted, inverted = self.flags
            if (data[13] & mask == wanted) is inverted:
                return False
        if self.option is not None:
            kind, inverted = self.option
            if _has_option(data[TCP_HLEN : data[12] >> 4 << 2], kind) is inverted:
                return False
        return True

    def save(self) -> str:
        text = super().save()
        if self.option is not None:
            kind, inverted = self.option
            text += f"{' !' if inverted else ''} --tcp-option {kind}"
        if self.flags is not None:
            mask, wanted, inverted = self.flags
            text += f"{' !' if inverted else ''} --tcp-flags {_names(mask)} {_names(wanted)}"
        return text

    def listing(self) -> str:
        text = super().listing()
        if self.option is not None:
            kind, inverted = self.option
            text += f" option={'!' if inverted else ''}{kind}"
        if self.flags is not None:
            mask, wanted, inverted = self.flags
            text += f" flags:{'!' if inverted else ''}0x{mask:02X}/0x{wanted:02X}"
        return text


def _flags(text: str) -> int:
    if text.upper() in ("ALL", "NONE"):
        return 0x3F if text.upper() == "ALL" else 0
    value = 0
    for name in text.upper().split(","):
        if name not in _FLAGS:
            raise XtablesError(f"Unknown TCP flag `{name}'")
        value |= _FLAGS[name]
    return value


def _names(flags: int) -> str:
    return ",".join(name for name, bit in _FLAGS.items() if flags & bit) or "NONE"


def _has_option(data: bytes, kind: int) -> bool:
    at = 0
    while at < len(data):
        if data[at] == kind:
            return True
        at += 1 if data[at] < 2 or at + 1 >= len(data) else data[at + 1] or 1
    return False


class _IcmpMatch(Match):
    protocol: int
    option: str
    names: ClassVar[dict[str, tuple[int, int | None]]]
    any_type: int | None  # as which number "any" is written in a listing

    def __init__(self, given: Options, rest: Rest) -> None:
        _require(rest, self.protocol, self.name)
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

    label: str


class IcmpMatch(_IcmpMatch):
    name = label = "icmp"
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


class MultiportMatch(Match):
    name = "multiport"
    options = (
        Option(("--sports", "--source-ports"), invert=True),
        Option(("--dports", "--destination-ports"), invert=True),
        Option(("--ports",), invert=True),
    )
    MAX = 15

    def __init__(self, given: Options, rest: Rest) -> None:
        if rest.protocol not in (IPPROTO_TCP, IPPROTO_UDP):
            raise XtablesError("multiport needs `-p tcp' or `-p udp'")
        if len(given) != 1:
            raise XtablesError("multiport expects one of --sports, --dports and --ports")
        ((self.which, written),) = given.items()
        self.inverted = written.inverted
        self.ranges = [Ports.parse(Given((part,))) for part in written.value.split(",")]
        if sum(1 + (r.low != r.high) for r in self.ranges) > self.MAX:
            raise XtablesError("too many ports specified")

    def matches(self, packet: Packet) -> bool:
        if packet.fragment_offset:
            return False
        ports = packet.ports
        if ports is None:
            packet.hotdrop = True
            return False
        looked = {"--sports": ports[:1], "--dports": ports[1:], "--ports": ports}[self.which]
        return any(p in r for p in looked for r in self.ranges) is not self.inverted

    def _text(self) -> str:
        return ",".join(map(str, self.ranges))

    def save(self) -> str:
        return f"{' !' if self.inverted else ''} {self.which} {self._text()}"

    def listing(self) -> str:
        return f" multiport {self.which[2:]} {' !' if self.inverted else ''}{self._text()}"


def _require(rest: Rest, protocol: int, name: str) -> None:
    if rest.protocol != protocol:
        raise XtablesError(f"{name} match needs `-p {name.replace('icmp6', 'icmpv6')}'")
