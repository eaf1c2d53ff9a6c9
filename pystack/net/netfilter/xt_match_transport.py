"""Matches on the headers of TCP and UDP: tcp, udp, multiport."""

from __future__ import annotations

from pystack.core.headers.ipv4 import IPPROTO_TCP, IPPROTO_UDP
from pystack.core.headers.tcp import TCP_HLEN, TH_ACK, TH_FIN, TH_PSH, TH_RST, TH_SYN, TH_URG
from pystack.net.netfilter.packet import Packet
from pystack.net.netfilter.xt import Given, Match, Option, Options, Rest, XtablesError, require
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
        require(rest, self.protocol, self.name, self.name)
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
        require(rest, IPPROTO_TCP, self.name, self.name)
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
