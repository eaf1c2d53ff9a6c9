"""Broken IPv6 frames by the thousand: none unwinds the kernel, none leaks."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLQuery2,
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    Raw,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from stack.ipv6_wire import OUR_MAC, PEER, PEER_LL, PEER_MAC, US, Wire6, solicitation

from pystack.core.checksum import checksum
from pystack.core.skb import SkBuff
from pystack.net.exthdrs import upper_protocol

FRAMES = 2000
BATCH = 50
HEADERS = 54  # Ethernet's and IPv6's
CHECKSUM_AT = {58: 2, 6: 16, 17: 6}
NUMBERS = (0, 1, 2, 4, 6, 8, 17, 43, 44, 58, 59, 60, 127, 128, 255)


def samples() -> list[bytes]:
    """One of each kind the host understands."""
    ip = Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=PEER, dst=US)
    link = Ether(src=PEER_MAC, dst=OUR_MAC) / IPv6(src=PEER, dst=US, hlim=255)
    every = Ether(src=PEER_MAC, dst="33:33:00:00:00:01")
    quoted = IPv6(src=US, dst=PEER)
    echo = ICMPv6EchoRequest(data=b"y" * 40)
    options = [RouterAlert(), PadN(optdata=b"\0\0")]
    prefix = ICMPv6NDOptPrefixInfo(prefix="fd99::", validlifetime=99, preferredlifetime=50)
    frames = [
        ip / echo,
        ip / IPv6ExtHdrHopByHop(options=options) / IPv6ExtHdrRouting(segleft=0) / echo,
        ip / IPv6ExtHdrFragment(offset=0, m=1, id=1, nh=58) / Raw(bytes(echo)),
        ip / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(offset=6, id=1, nh=58) / Raw(bytes(24)),
        ip / TCP(sport=5, dport=80, flags="S", options=[("MSS", 1440), ("Timestamp", (1, 0))]),
        ip / UDP(sport=5, dport=81) / Raw(bytes(20)),
        solicitation(US, PEER),
        link / ICMPv6ND_NA(tgt=PEER, S=1) / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC),
        every
        / IPv6(src=PEER_LL, dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=1800)
        / prefix
        / ICMPv6NDOptMTU(mtu=1400),
        every
        / IPv6(src=PEER_LL, dst="ff02::1", hlim=1)
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / ICMPv6MLQuery2(),
        ip / ICMPv6PacketTooBig(mtu=1300) / quoted / TCP(sport=80, dport=5),
        ip / ICMPv6DestUnreach(code=4) / quoted / IPv6ExtHdrDestOpt() / UDP(),
    ]
    return [bytes(frame) for frame in frames]


def broken(rng: random.Random, frames: list[bytes]) -> bytes:
    """One of them with bytes changed, cut, added or taken from another; lengths and checksums
    mostly repaired, so that what is wrong is found behind them."""
    frame = bytearray(rng.choice(frames))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        at = rng.randrange(14, len(frame))
        kind = rng.random()
        if kind < 0.6:
            frame[at] = rng.choice((*NUMBERS, rng.randrange(256)))
        elif kind < 0.75:
            del frame[at:]
        elif kind < 0.9:
            frame[at:at] = rng.randbytes(rng.choice((1, 2, 8, 8, 16)))
        else:
            other = rng.choice(frames)
            frame[HEADERS:HEADERS] = other[HEADERS : rng.randrange(HEADERS, len(other))]
        frame += bytes(max(HEADERS - len(frame), 0))
    if rng.random() < 0.7:
        frame[18:20] = (len(frame) - HEADERS).to_bytes(2, "big")
    if rng.random() < 0.7:
        _repair(frame)
    return bytes(frame)


def _repair(frame: bytearray) -> None:
    found = upper_protocol(memoryview(bytes(frame)), 14, len(frame))
    if found is None or found[0] not in CHECKSUM_AT:
        return
    protocol, at = found
    field = at + CHECKSUM_AT[protocol]
    if field + 2 <= len(frame):
        frame[field : field + 2] = b"\0\0"
        start = int.from_bytes(frame[22:HEADERS], "big") + protocol + len(frame) - at
        frame[field : field + 2] = checksum(bytes(frame[at:]), start).to_bytes(2, "big")


@pytest.mark.parametrize("seed", [1, 2])
def test_broken_frames_neither_unwind_the_kernel_nor_leak(seed: int) -> None:
    rng, wire, frames = random.Random(seed), Wire6().settle(), samples()
    host = wire.host

    def listener(socket: Any) -> None:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 80))
            sock.listen()
            while True:
                sock.accept()[0].close()

    def inject() -> None:
        for _ in range(BATCH):
            skb = SkBuff(host.kernel, memoryview(broken(rng, frames)))
            skb.dev = wire.dev
            host.core.receive_skb(skb)

    host.process("listener", listener)
    for _ in range(FRAMES // BATCH):
        task = host.start(inject)
        wire.run(rng.choice((0.1, 10, 1000)))
        assert task.exception is None, f"seed {seed}: {task.exception!r}"
    wire.run(400_000)
    assert host.ipv6.reassembly.queues.memory == 0, f"seed {seed}"
    host.start(host.down, wire.dev)
    wire.run(400_000)
    assert host.kernel.skbs_alive == 0, f"seed {seed}"
