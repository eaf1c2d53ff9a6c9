"""Packets for a router with a network on each side, made up as it goes: flows and nonsense.

A step is `["frame", side, hex]`: a frame that comes in on `eth1` or `eth2`, or
`["udp", sport, dst, dport, hex]`: a program on the router sends a datagram.
"""

from __future__ import annotations

import random
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import NoPayload, Raw

SIDES = (1, 2)
ROUTER_MACS = {side: bytes([2, 0, 0, side, 0, 1]) for side in SIDES}
HOSTS = {1: ("10.77.1.10", "10.77.1.11"), 2: ("10.77.2.20", "10.77.2.21", "10.77.2.22")}
NEIGHBOURS = {
    ip: (side, bytes([2, 0, 0, side, 1, int(ip.rpartition(".")[2])]))
    for side in SIDES
    for ip in HOSTS[side]
}
ROUTES = {"10.96.0.0/16": "10.77.2.20"}  # of services; nobody there has such an address
ROUTER = {side: f"10.77.{side}.1" for side in SIDES}
SERVICES = ("10.96.0.1", "10.96.0.2")
PORTS = (22, 53, 80, 443, 5000, 5001, 8080)
NOT_SYN = ("A", "R", "RA", "FA", "PA", "SA", "F", "", "SF", "FPU")
RECENT = 12


class Steps:
    """What comes next depends on what came out last: `heard` is told."""

    def __init__(self, seed: object) -> None:
        self._rng = random.Random(f"netfilter/{seed}")
        self._recent: list[tuple[int, Any]] = []
        self._port = 20000

    def heard(self, side: int, frame: bytes) -> None:
        """A frame that the router has sent."""
        packet = Ether(frame)
        if IP in packet and packet[IP].dst in HOSTS[side]:
            self._recent = [*self._recent[1 - RECENT :], (side, packet[IP])]

    def next(self) -> list[Any]:
        roll = self._rng.random()
        if roll < 0.06:
            return self._datagram()
        if roll < 0.55 and self._recent:
            side, packet = self._rng.choice(self._recent)
            return self._answer(side, packet)
        return self._fresh()

    def _datagram(self) -> list[Any]:
        dst = self._rng.choice((*HOSTS[2], *HOSTS[1], *SERVICES))
        sport = self._rng.choice((7000, 7001))
        return ["udp", sport, dst, self._rng.choice(PORTS), self._bytes().hex()]

    def _bytes(self) -> bytes:
        return self._rng.randbytes(self._rng.choice((0, 1, 4, 33, 100)))

    def _frame(self, side: int, packet: Any) -> list[Any]:
        packet.id = self._rng.randrange(1, 1 << 16)
        source = NEIGHBOURS[packet.src][1].hex(":")
        frame = Ether(src=source, dst=ROUTER_MACS[side].hex(":")) / packet
        return ["frame", side, bytes(frame).hex()]

    def _fresh(self) -> list[Any]:
        """The first packet of a flow, or one that belongs to none."""
        rng = self._rng
        side = rng.choice((1, 1, 2))
        self._port += 1
        sport = rng.choice((self._port, self._port, rng.choice(PORTS)))
        dst = rng.choice((*HOSTS[3 - side], *SERVICES, ROUTER[side], ROUTER[3 - side]))
        ip = IP(src=rng.choice(HOSTS[side]), dst=dst, ttl=rng.choice((64, 64, 64, 2)))
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
            echo = ICMP(type=8, id=rng.randrange(1 << 16), seq=1)
            return self._frame(side, ip / echo / self._bytes())
        return self._frame(side, ip / ICMP(type=rng.choice((0, 14, 17))) / b"12345678")

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
        ip = IP(src=packet.dst, dst=packet.src)
        if rng.random() < 0.12:
            kind, code = rng.choice(((3, 3), (3, 1), (11, 0), (3, 4), (5, 1)))
            quoted = bytes(packet)[: rng.choice((28, 40, 100))]
            error = ICMP(type=kind, code=code)
            if (kind, code) == (3, 4):
                error.nexthopmtu = 1400
            return self._frame(side, ip / error / Raw(quoted))
        if TCP in packet and ICMP not in packet:
            return self._frame(side, ip / self._segment(packet[TCP]))
        if UDP in packet and ICMP not in packet:
            udp = UDP(sport=packet[UDP].dport, dport=packet[UDP].sport)
            return self._frame(side, ip / udp / self._bytes())
        if ICMP in packet and packet[ICMP].type == 8:
            echo = packet[ICMP].copy()
            echo.type, echo.chksum = 0, None
            return self._frame(side, ip / echo)
        return self._fresh()

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
