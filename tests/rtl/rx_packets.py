"""Random IP packets for the tests of receive: right and wrong in all that the parser looks at."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rx_reference import (
    DESTINATION,
    ETH_IPV4,
    ETH_IPV6,
    FRAGMENT,
    HOP_BY_HOP,
    ROUTING,
    TAGS,
    TCP,
    UDP,
    ones_sum,
)

ICMP, AH = 1, 51


@dataclass
class Packets:
    """`frame()` gives a frame without FCS, 60 bytes or more; all from `rng`."""

    rng: random.Random
    to: bytes = bytes.fromhex("02a1b2c3d4e5")
    source: bytes = bytes.fromhex("020102030405")
    max_payload: int = 120

    def frame(self) -> bytes:
        rng = self.rng
        tags = b"".join(
            rng.choice(TAGS).to_bytes(2, "big") + rng.randbytes(2)
            for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3)))
        )
        kind, packet = rng.choice((self._ipv4, self._ipv6))()
        frame = self.to + self.source + tags + kind.to_bytes(2, "big") + packet
        if rng.random() < 0.15:  # one byte behind the addresses is wrong
            at = rng.randrange(12, min(len(frame), 90))
            frame = frame[:at] + rng.randbytes(1) + frame[at + 1 :]
        if rng.random() < 0.07:
            frame = frame[: rng.randrange(60, 61 + len(frame))]
        frame += rng.randbytes(rng.choice((0, 0, 0, 1, 3, 9)))  # behind the end of the packet
        return frame + rng.randbytes(max(0, 60 - len(frame)))

    def _payload(self) -> bytes:
        rng = self.rng
        return rng.randbytes(rng.choice((0, 0, 1, 2, rng.randrange(self.max_payload + 1))))

    def _l4(self, pseudo: bytes) -> tuple[int, bytes]:
        """(protocol, header and payload), the checksum mostly right."""
        rng, payload = self.rng, self._payload()
        protocol = rng.choice((TCP, TCP, TCP, UDP, UDP, UDP, ICMP, AH))
        ports = rng.randbytes(4)
        if protocol == TCP:
            words = rng.choice((5, 5, 8, rng.randrange(16)))
            options = rng.randbytes(max(0, 4 * words - 20))
            body = ports + rng.randbytes(8) + bytes([words << 4 | rng.getrandbits(4)])
            body, at = body + rng.randbytes(3) + b"\0\0" + rng.randbytes(2) + options + payload, 16
        elif protocol == UDP:
            length = 8 + len(payload) + rng.choice((0,) * 9 + (1,))
            body, at = ports + length.to_bytes(2, "big") + b"\0\0" + payload, 6
        else:
            return protocol, rng.randbytes(8) + payload
        total = pseudo + len(body).to_bytes(4, "big") + bytes([0, protocol]) + body
        value = 0xFFFF - ones_sum(total) or 0xFFFF
        if rng.random() < 0.2:
            value ^= 1 << rng.randrange(16)
        if protocol == UDP and rng.random() < 0.2:
            value = 0
        return protocol, body[:at] + value.to_bytes(2, "big") + body[at + 2 :]

    def _ipv4(self) -> tuple[int, bytes]:
        rng, addresses = self.rng, self.rng.randbytes(8)
        protocol, body = self._l4(addresses)
        words = rng.choice((5, 5, 5, 6, rng.randrange(4, 16)))
        fragment = rng.choice((0, 0, 0, 0, 0x4000, 0x4000, 0x2000, rng.randrange(1, 0x4000)))
        total = max(0, 4 * words + len(body) + rng.choice((0,) * 20 + (5, -9)))
        head = bytes([0x40 | words, rng.getrandbits(8)]) + total.to_bytes(2, "big")
        head += rng.randbytes(2) + fragment.to_bytes(2, "big") + bytes([64, protocol])
        tail = addresses + rng.randbytes(max(0, 4 * words - 20))
        value = 0xFFFF - ones_sum(head + tail) ^ (rng.random() < 0.1)
        return ETH_IPV4, head + value.to_bytes(2, "big") + tail + body

    def _ipv6(self) -> tuple[int, bytes]:
        rng, addresses = self.rng, self.rng.randbytes(32)
        protocol, body = self._l4(addresses)
        for _ in range(rng.choice((0, 0, 0, 1, 2, 3))):
            kind = rng.choice((HOP_BY_HOP, ROUTING, DESTINATION, DESTINATION, FRAGMENT))
            words = rng.choice((0, 0, 1, 2, rng.randrange(12))) if kind != FRAGMENT else 0
            segments = rng.choice((0, 0, 2)) if kind == ROUTING else rng.getrandbits(8)
            head = bytes([protocol, words, rng.getrandbits(8), segments])
            protocol, body = kind, head + rng.randbytes(4 + 8 * words) + body
        length = max(0, len(body) + rng.choice((0,) * 20 + (4, -3)))
        head = bytes([0x60]) + rng.randbytes(3) + length.to_bytes(2, "big") + bytes([protocol, 64])
        return ETH_IPV6, head + addresses + body
