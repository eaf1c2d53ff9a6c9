"""Targets of the nat table (`xt_nat.c`, `xt_MASQUERADE.c`, `xt_REDIRECT.c`)."""

from __future__ import annotations

from pystack.net.hooks import Hook, Verdict
from pystack.net.netfilter.conn import Conn
from pystack.net.netfilter.nat import Range
from pystack.net.netfilter.nat_packet import Manip
from pystack.net.netfilter.packet import Packet, has_ports
from pystack.net.netfilter.xt import Option, Options, Rest, Target, XtablesError
from pystack.net.netfilter.xt_values import packed_address, port, text_of

_RANDOM = Option(("--random",), 0)
_FULLY = Option(("--random-fully",), 0)
_PERSISTENT = Option(("--persistent",), 0)


def _conn(packet: Packet) -> Conn:
    """nat's rules see none but the first packets of connections."""
    conn: Conn = packet.skb.nfct.conn
    return conn


def _flags(wanted: Range) -> str:
    return (
        (" random" if wanted.random else "")
        + (" random-fully" if wanted.fully else "")
        + (" persistent" if wanted.persistent else "")
    )


def _ports(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    first = port(low)
    last = port(high) if dash else first
    if first > last:
        raise XtablesError(f"Port range `{text}' funky")
    if first == 0 and not dash:
        raise XtablesError(f"Port `{text}' not valid")
    return first, last


def _ports_text(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


class _NatTarget(Target):
    tables = ("nat",)
    manip: Manip
    option: str

    def __init__(self, given: Options, rest: Rest) -> None:
        if self.option not in given:
            raise XtablesError(f'{self.name}: option "{self.option}" must be specified')
        self.family = rest.family
        rest.family.need_conntrack()
        wanted = self._parse(given[self.option].value, rest)
        self.wanted = wanted._replace(
            random="--random" in given,
            fully="--random-fully" in given,
            persistent="--persistent" in given,
        )

    def _parse(self, text: str, rest: Rest) -> Range:
        """`addr[-addr][:port[-port[/base]]]`, IPv6 addresses before ports in brackets."""
        version = rest.family.version
        addresses, ports_text = text, ""
        if version == 6:
            if text.startswith("["):
                addresses, _, tail = text.replace("[", "").rpartition("]")
                addresses = addresses.replace("]", "")
                ports_text = tail.lstrip(":")
        else:
            addresses, _, ports_text = text.partition(":")
        wanted = Range()
        if addresses:
            low, dash, high = addresses.partition("-")
            first = packed_address(low, version)
            wanted = wanted._replace(
                addresses=(first, packed_address(high, version) if dash else first)
            )
        if ports_text:
            if not has_ports(rest.protocol):
                raise XtablesError("Need TCP, UDP, SCTP or DCCP with port specification")
            span, slash, base = ports_text.partition("/")
            wanted = wanted._replace(ports=_ports(span), base_port=port(base) if slash else None)
        if not addresses and not ports_text:
            raise XtablesError(f'Bad IP address "{text}"')
        return wanted

    def apply(self, packet: Packet) -> Verdict:
        return self.family.nat.setup(_conn(packet), self.wanted, self.manip)

    def _text(self) -> str:
        wanted, version = self.wanted, self.family.version
        text = ""
        if wanted.addresses is not None:
            numbers = [int.from_bytes(address, "big") for address in wanted.addresses]
            hosts = dict.fromkeys(text_of(number, version) for number in numbers)
            text = "-".join(f"[{h}]" if version == 6 and wanted.ports else h for h in hosts)
        if wanted.ports is not None:
            text += f":{_ports_text(wanted.ports)}"
        return text if wanted.base_port is None else f"{text}/{wanted.base_port}"

    def save(self) -> str:
        return f" {self.option} {self._text()}{_flags(self.wanted).replace(' ', ' --')}"

    def listing(self) -> str:
        return f" to:{self._text()}{_flags(self.wanted)}"


class DnatTarget(_NatTarget):
    name = "DNAT"
    option = "--to-destination"
    options = (Option(("--to-destination",)), _RANDOM, _PERSISTENT)
    hooks = (Hook.PRE_ROUTING, Hook.LOCAL_OUT)
    manip = Manip.DST


class SnatTarget(_NatTarget):
    name = "SNAT"
    option = "--to-source"
    options = (Option(("--to-source",)), _RANDOM, _FULLY, _PERSISTENT)
    hooks = (Hook.POST_ROUTING, Hook.LOCAL_IN)
    manip = Manip.SRC


class _ToPorts(Target):
    tables = ("nat",)
    label: str

    def __init__(self, given: Options, rest: Rest) -> None:
        self.family = rest.family
        rest.family.need_conntrack()
        ports = None
        if "--to-ports" in given:
            if not has_ports(rest.protocol):
                raise XtablesError("Need TCP, UDP, SCTP or DCCP with port specification")
            ports = _ports(given["--to-ports"].value)
        self.wanted = Range(None, ports, "--random" in given, "--random-fully" in given)

    def save(self) -> str:
        ports = self.wanted.ports
        text = "" if ports is None else f" --to-ports {_ports_text(ports)}"
        return text + _flags(self.wanted).replace(" ", " --")

    def listing(self) -> str:
        ports = self.wanted.ports
        text = "" if ports is None else f" {self.label} {_ports_text(ports)}"
        return text + _flags(self.wanted)


class MasqueradeTarget(_ToPorts):
    """SNAT to the address that the device it leaves by has at that moment."""

    name = "MASQUERADE"
    options = (Option(("--to-ports",)), _RANDOM, _FULLY)
    hooks = (Hook.POST_ROUTING,)
    label = "masq ports:"

    def apply(self, packet: Packet) -> Verdict:
        outdev = packet.state.outdev
        if outdev is None or not any(packet.src):
            return Verdict.ACCEPT
        address = self.family.select_address(outdev, packet.dst)
        if address is None:
            return Verdict.DROP
        conn = _conn(packet)
        conn.masquerade_ifindex = outdev.ifindex
        wanted = self.wanted._replace(addresses=(address, address))
        return self.family.nat.setup(conn, wanted, Manip.SRC)


class RedirectTarget(_ToPorts):
    """DNAT to this host itself."""

    name = "REDIRECT"
    options = (Option(("--to-ports",)), _RANDOM)
    hooks = (Hook.PRE_ROUTING, Hook.LOCAL_OUT)
    label = "redir ports"

    def apply(self, packet: Packet) -> Verdict:
        if packet.state.hook is Hook.LOCAL_OUT:
            address: bytes | None = self.family.loopback_address
        else:
            assert packet.state.indev is not None, "received"
            address = self.family.select_address(packet.state.indev, packet.src)
        if address is None:
            return Verdict.DROP
        wanted = self.wanted._replace(addresses=(address, address))
        return self.family.nat.setup(_conn(packet), wanted, Manip.DST)
