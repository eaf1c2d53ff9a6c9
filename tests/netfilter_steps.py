"""Packets for a router with a network on each side, made up as it goes: flows and nonsense.

A step is `["frame", side, hex]`: a frame that comes in on `eth1` or `eth2`, or
`["udp", sport, dst, dport, hex]`: a program on the router sends a datagram.
"""

from __future__ import annotations

import random
import re
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import NoPayload, Raw

SIDES = (1, 2)
ROUTER_MACS = {side: bytes([2, 0, 0, side, 0, 1]) for side in SIDES}
NUMBERS = {1: (10, 11), 2: (20, 21, 22)}  # of the hosts on each side
_ADDRESS = r"10\.(77|96)\.(\d+)\.(\d+)"
PORTS = (22, 53, 80, 443, 5000, 5001, 8080)
NOT_SYN = ("A", "R", "RA", "FA", "PA", "SA", "F", "", "SF", "FPU")
RECENT = 12


class World:
    """Who there is, in one family: hosts on each side, the router's addresses, and services, which
    are routed to one of the hosts although nobody there has such an address."""

    def __init__(self, version: int) -> None:
        translate = to_ipv6 if version == 6 else str
        self.version = version
        self.hosts = {
            side: tuple(translate(f"10.77.{side}.{n}") for n in NUMBERS[side]) for side in SIDES
        }
        self.router = {side: translate(f"10.77.{side}.1") for side in SIDES}
        self.services = (translate("10.96.0.1"), translate("10.96.0.2"))
        self.routes = {translate("10.96.0.0/16"): translate("10.77.2.20")}
        self.neighbours = {
            translate(f"10.77.{side}.{n}"): (side, bytes([2, 0, 0, side, 1, n]))
            for side in SIDES
            for n in NUMBERS[side]
        }


def to_ipv6(text: str) -> str:
    """A rule, or an address, of the same meaning: 10.77.1.10 is fd77:1::10, 10.96.0.1 fd96::1."""
    for old, new in (
        (r"10\.(77|96)\.0\.0/16", r"fd\1::/16"),
        (r"10\.77\.(\d+)\.0/24", r"fd77:\1::/64"),
        (r"10\.0\.0\.11/255\.0\.0\.255", "fd00::11/ff00::ff"),
        (rf"(--to-destination ){_ADDRESS}:(\d+)", r"\g<1>[10.\2.\3.\4]:\5"),
        (rf"(--to-source ){_ADDRESS}:(\d+)", r"\g<1>[10.\2.\3.\4]:\5"),
        (rf"{_ADDRESS}/32", r"10.\1.\2.\3/128"),
        (r"10\.77\.(\d+)\.(\d+)", r"fd77:\1::\2"),
        (r"10\.96\.0\.(\d+)", r"fd96::\1"),
        (r"-p icmp\b", "-p ipv6-icmp"),
        (r"--icmp-type 8\b", "--icmpv6-type 128"),
        (r"--icmp-type 3/3\b", "--icmpv6-type 1/4"),
        (r"--icmp-type 3\b", "--icmpv6-type 1"),
        (r"--icmp-type", "--icmpv6-type"),
        (r"icmp-admin-prohibited", "icmp6-adm-prohibited"),
        (r"icmp-host-prohibited", "icmp6-addr-unreachable"),
        (r"icmp-port-unreachable", "icmp6-port-unreachable"),
    ):
        text = re.sub(old, new, text)
    return text


def is_discovery(frame: bytes) -> bool:
    """Of neighbours, routers or listeners: ICMPv6 that is nobody's packet, perhaps behind a router
    alert."""
    if frame[12:14] != b"\x86\xdd":
        return False
    at = 62 if frame[20] == 0 else 54
    return (frame[54] if frame[20] == 0 else frame[20]) == 58 and 130 <= frame[at] <= 143


class Steps:
    """What comes next depends on what came out last: `heard` is told."""

    def __init__(self, seed: object, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"netfilter/{seed}")
        self._recent: list[tuple[int, Any]] = []
        self._port = 20000

    def heard(self, side: int, frame: bytes) -> None:
        """A frame that the router has sent."""
        packet = Ether(frame).payload
        if isinstance(packet, IP | IPv6) and packet.dst in self._world.hosts[side]:
            self._recent = [*self._recent[1 - RECENT :], (side, packet)]

    def next(self) -> list[Any]:
        roll = self._rng.random()
        if roll < 0.06:
            return self._datagram()
        if roll < 0.55 and self._recent:
            side, packet = self._rng.choice(self._recent)
            return self._answer(side, packet)
        return self._fresh()

    def _datagram(self) -> list[Any]:
        world = self._world
        dst = self._rng.choice((*world.hosts[2], *world.hosts[1], *world.services))
        sport = self._rng.choice((7000, 7001))
        return ["udp", sport, dst, self._rng.choice(PORTS), self._bytes().hex()]

    def _bytes(self) -> bytes:
        return self._rng.randbytes(self._rng.choice((0, 1, 4, 33, 100)))

    def _frame(self, side: int, packet: Any) -> list[Any]:
        identification = self._rng.randrange(1, 1 << 16)
        if self._world.version == 4:
            packet.id = identification
        source = self._world.neighbours[packet.src][1].hex(":")
        frame = Ether(src=source, dst=ROUTER_MACS[side].hex(":")) / packet
        return ["frame", side, bytes(frame).hex()]

    def _fresh(self) -> list[Any]:
        """The first packet of a flow, or one that belongs to none."""
        rng, world = self._rng, self._world
        side = rng.choice((1, 1, 2))
        self._port += 1
        sport = rng.choice((self._port, self._port, rng.choice(PORTS)))
        routers = world.router[side], world.router[3 - side]
        dst = rng.choice((*world.hosts[3 - side], *world.services, *routers))
        ip = self._ip(rng.choice(world.hosts[side]), dst, rng.choice((64, 64, 64, 2)))
        kind = rng.random()
        if kind < 0.45:
            return self._frame(side, ip / self._syn(sport) / b"")
        if kind < 0.55:
            flags = rng.choice(NOT_SYN)
            segment = TCP(
                sport=sport, dport=rng.choice(PORTS), flags=flags, seq=rng.getrandbits(32)
            )
            return self._frame(side, ip / segment / self._bytes())
        if kind < 0.8:
            return self._frame(side, ip / UDP(sport=sport, dport=rng.choice(PORTS)) / self._bytes())
        if kind < 0.95:
            return self._frame(side, ip / self._echo(rng.randrange(1 << 16), self._bytes()))
        return self._frame(side, ip / self._odd(rng.choice((0, 14, 17))))

    # -- what differs by family ------------------------------------------------------------

    def _ip(self, src: str, dst: str, ttl: int = 64) -> Any:
        if self._world.version == 4:
            return IP(src=src, dst=dst, ttl=ttl)
        return IPv6(src=src, dst=dst, hlim=ttl)

    def _echo(self, number: int, data: bytes) -> Any:
        if self._world.version == 4:
            return ICMP(type=8, id=number, seq=1) / data
        return ICMPv6EchoRequest(id=number, seq=1, data=data)

    def _odd(self, kind: int) -> Any:
        """An answer that nobody asked for, or a message that nobody knows."""
        if self._world.version == 4:
            return ICMP(type=kind) / b"12345678"
        if not kind:
            return ICMPv6EchoReply(data=b"12345678")
        return ICMPv6Unknown(type=186 + kind, msgbody=b"123412345678")

    def _error(self, packet: Any) -> Any:
        rng = self._rng
        kind, code = rng.choice(((3, 3), (3, 1), (11, 0), (3, 4), (5, 1)))
        length = rng.choice((28, 40, 100))
        if self._world.version == 4:
            error = ICMP(type=kind, code=code)
            if (kind, code) == (3, 4):
                error.nexthopmtu = 1400
        else:
            error = {
                (3, 3): ICMPv6DestUnreach(code=4),
                (3, 1): ICMPv6DestUnreach(code=3),
                (11, 0): ICMPv6TimeExceeded(),
                (3, 4): ICMPv6PacketTooBig(mtu=1400),
                (5, 1): ICMPv6ParamProblem(code=1, ptr=40),
            }[kind, code].copy()
            length += 20
        return error / Raw(bytes(packet)[:length])

    def _reply(self, packet: Any) -> Any:
        """To an echo request; None to anything else."""
        if ICMP in packet and packet[ICMP].type == 8:
            echo = packet[ICMP].copy()
            echo.type, echo.chksum = 0, None
            return echo
        if ICMPv6EchoRequest in packet:
            asked = packet[ICMPv6EchoRequest]
            return ICMPv6EchoReply(id=asked.id, seq=asked.seq, data=asked.data)
        return None

    def _syn(self, sport: int) -> Any:
        rng = self._rng
        options = [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", rng.randrange(8))]
        return TCP(
            sport=sport,
            dport=rng.choice(PORTS),
            flags="S",
            seq=rng.getrandbits(32),
            window=rng.choice((0, 1000, 64240)),
            options=options if rng.random() < 0.7 else [],
        )

    def _answer(self, side: int, packet: Any) -> list[Any]:
        """What the receiver of a packet might send: an answer, an error, a repetition."""
        rng = self._rng
        ip = self._ip(packet.dst, packet.src)
        if rng.random() < 0.12:
            return self._frame(side, ip / self._error(packet))
        transport = packet.payload
        if isinstance(transport, TCP):
            return self._frame(side, ip / self._segment(transport))
        if isinstance(transport, UDP):
            udp = UDP(sport=transport.dport, dport=transport.sport)
            return self._frame(side, ip / udp / self._bytes())
        reply = self._reply(packet)
        return self._fresh() if reply is None else self._frame(side, ip / reply)

    def _segment(self, heard: Any) -> Any:
        rng = self._rng
        text = 0 if isinstance(heard.payload, NoPayload) else len(heard.payload)
        flags = str(heard.flags)
        length = text + ("S" in flags) + ("F" in flags)
        ack = (heard.seq + length) & 0xFFFFFFFF
        seq = heard.ack if "A" in flags else rng.getrandbits(32)
        if rng.random() < 0.15:  # out of the window, or nearly so
            seq = (seq + rng.choice((-70000, -1, 1, 2000, 1 << 20))) & 0xFFFFFFFF
        if rng.random() < 0.08:
            ack = (ack + rng.choice((-100000, 1, 5000))) & 0xFFFFFFFF
        answer = "SA" if flags == "S" else "A"
        if rng.random() < 0.25:
            answer = rng.choice(("FA", "R", "RA", "PA", "S"))
        options = [("WScale", 2)] if answer == "SA" and rng.random() < 0.5 else []
        payload = self._bytes() if answer in ("A", "PA", "FA") else b""
        window = rng.choice((0, 500, 64240))
        return (
            TCP(
                sport=heard.dport,
                dport=heard.sport,
                flags=answer,
                seq=seq,
                ack=ack if answer != "S" else 0,
                window=window,
                options=options,
            )
            / payload
        )
