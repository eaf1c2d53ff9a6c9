"""Fragments: cut, put together, and what attackers do with them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import SEED
from hypothesis import given, settings
from hypothesis import strategies as st
from router import A, B, Net, Ping, echoed, ip4
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.headers.ipv4 import Ipv4Header
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.net.inet_fragment import OVERHEAD
from pystack.net.ip_fragment import combined_ecn
from pystack.net.ip_fragments import Identifications, fragment

PROTOCOL = 200
Piece = tuple[int, int]  # first and last byte + 1


class Reader:
    """Packets of protocol 200 that reach a transport of `a`."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.got: list[bytes] = []
        self.tos: list[int] = []
        net.a.ipv4.register(PROTOCOL, self._receive)

    def _receive(self, skb: Any) -> None:
        self.got.append(bytes(skb.data))
        self.tos.append(skb.tos)
        skb.free()

    def send(
        self,
        data: bytes,
        pieces: Sequence[Piece],
        ident: int = 7,
        src: str = B,
        tos: Sequence[int] = (),
    ) -> None:
        """Fragments of `data` in this order."""
        for at, (start, end) in enumerate(pieces):
            more = 0 if end >= len(data) else 1
            header = IP(src=src, dst=A, proto=PROTOCOL, id=ident, frag=start // 8, flags=more)
            if tos:
                header.tos = tos[at]
            self.net.inject(self.net.a, self.net.a0, header / Raw(data[start:end]))

    @property
    def drops(self) -> dict[Drop, int]:
        return dict(self.net.a.kernel.drops)


@pytest.fixture
def net() -> Net:
    return Net()


DATA = bytes(range(256)) * 4

# -- there and back ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [0, 1, 1471, 1472, 1473, 1479, 1480, 1481, 2952, 2953, 9000, 65506, 65507]
)
def test_ping_of_any_size_comes_back_whole(net: Net, size: int) -> None:
    assert echoed(Ping(net, net.a)(B, size, dont_fragment=False), size)
    net.balance()
    mib = net.a.kernel.mib
    pieces = -(-(size + 8) // 1480)
    assert mib["IpFragCreates"] == (pieces if pieces > 1 else 0)
    assert net.b.kernel.mib["IpReasmOKs"] == (pieces > 1)


@pytest.mark.parametrize("mtu", [68, 576, 1006, 1499])
def test_a_small_mtu_on_the_way_is_kept_to(net: Net, mtu: int) -> None:
    net.r1.mtu = mtu
    size = 1400 if mtu < 100 else 4000
    assert echoed(Ping(net, net.a)(B, size, dont_fragment=False), size)
    assert max(len(f) - 14 for f in net.frames["b"] if f[6:12] == net.r1.mac) <= max(mtu, 46)


def test_only_options_marked_to_be_copied_are_in_later_fragments(net: Net) -> None:
    options = bytes([148, 4, 0, 0]) + bytes([7, 7, 4, 0, 0, 0, 0, 1])
    Ping(net, net.a)(B, 3000, dont_fragment=False, options=options)
    first, second, *_ = [f[34:46] for f in net.frames["a"] if f[6:12] == net.a0.mac and f[23] == 1]
    assert (first, second) == (options, bytes([148, 4, 0, 0]) + b"\1" * 8)


def test_identifications_do_not_repeat_soon_and_differ_by_destination(net: Net) -> None:
    idents = Identifications(net.a.kernel)
    seen = [idents.next(ip4(A), ip4(B), 17, False) for _ in range(1000)]
    assert len(set(seen)) == 1000
    other = [idents.next(ip4(A), ip4("10.2.0.3"), 17, False) for _ in range(2)]
    assert other[0] != (seen[-1] + 1) & 0xFFFF


@settings(max_examples=50, deadline=None)
@given(st.integers(9, 3000), st.integers(68, 1500), st.integers(0, 1))
def test_fragments_cover_the_packet_exactly_and_fit(size: int, mtu: int, more: int) -> None:
    engine = VirtualEngine()
    kernel = Kernel(engine, "k")
    data = random.Random(size).randbytes(size & ~7 if more else size)
    out: list[bytes] = []

    def cut() -> None:
        skb = SkBuff(kernel, memoryview(data))
        header = Ipv4Header(20 + len(data), 17, ip4(A), ip4(B), fragment=more << 13 | 3)
        skb.push(header.pack())
        for part in fragment(skb, mtu):
            out.append(bytes(part))
            part.free()

    kernel.spawn(cut)
    engine.run()
    rebuilt = b""
    for at, packet in enumerate(out):
        header = Ipv4Header.parse(packet)
        assert len(packet) == header.total_length <= mtu
        assert (header.fragment & 0x1FFF) * 8 == 24 + len(rebuilt)
        assert bool(header.fragment & 0x2000) == (at + 1 < len(out) or bool(more))
        assert packet[10:12] == Ipv4Header(*header).pack()[10:12]
        rebuilt += packet[20:]
    assert rebuilt == data
    assert kernel.skbs_alive == 0


# -- in any order --------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(6))
def test_fragments_in_any_order_make_the_packet(net: Net, order: int) -> None:
    pieces = [(at, min(at + 104, 1024)) for at in range(0, 1024, 104)]
    random.Random(f"{SEED}/{order}").shuffle(pieces)
    reader = Reader(net)
    reader.send(DATA, pieces)
    assert reader.got == [DATA]
    assert net.a.ipv4.reassembly.queues.memory == 0
    net.balance()


def test_packets_with_other_identifications_and_sources_do_not_mix(net: Net) -> None:
    reader, other = Reader(net), bytes(reversed(DATA))
    reader.send(DATA, [(0, 512)], ident=1)
    reader.send(other, [(0, 512)], ident=2)
    reader.send(other, [(0, 512)], ident=1, src="10.2.0.3")
    assert reader.got == []
    reader.send(DATA, [(512, 1024)], ident=1)
    reader.send(other, [(512, 1024)], ident=2)
    assert reader.got == [DATA, other]


def test_a_duplicate_is_dropped_and_the_packet_lives(net: Net) -> None:
    reader = Reader(net)
    reader.send(DATA, [(0, 512), (0, 512), (0, 256), (512, 1024)])
    assert reader.got == [DATA]
    assert reader.drops == {Drop.FRAG_DUPLICATE: 2}


# -- attacks -------------------------------------------------------------------------------

OVERLAPS: dict[str, list[Piece]] = {
    "teardrop: inside and beyond": [(0, 512), (504, 1024)],
    "from before": [(512, 1024), (0, 520)],
    "around": [(256, 512), (0, 768)],
    "across a gap": [(0, 256), (512, 1024), (128, 640)],
    "over the end": [(512, 768), (0, 512), (760, 1024)],
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_an_overlap_gives_the_whole_packet_up(net: Net, name: str) -> None:
    pieces = OVERLAPS[name]
    reader = Reader(net)
    reader.send(DATA, pieces)
    assert reader.got == []
    assert reader.drops == {Drop.FRAG_OVERLAP: len(pieces)}
    assert net.a.kernel.mib["IpExtReasmOverlaps"] == 1
    assert net.a.ipv4.reassembly.queues.queues == {}
    net.balance()


MALFORMED: dict[str, list[tuple[int, int, bytes]]] = {
    "two ends": [(512, 0, DATA[:64]), (512, 0, DATA[:128])],
    "an end before what is there": [(512, 1, DATA[:512]), (8, 0, DATA[:8])],
    "more behind the end": [(512, 0, DATA[:64]), (1024, 1, DATA[:64])],
    "an empty one": [(0, 1, DATA[:512]), (512, 1, b"")],
    "less than eight bytes in the middle": [(0, 1, b"1234567")],
    "ping of death": [(65528, 0, DATA[:100])],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_fragments_that_contradict_each_other_are_dropped(net: Net, name: str) -> None:
    reader = Reader(net)
    for offset, more, data in MALFORMED[name]:
        header = IP(src=B, dst=A, proto=PROTOCOL, id=9, frag=offset // 8, flags=more)
        net.inject(net.a, net.a0, header / Raw(data))
    assert reader.got == []
    assert reader.drops == {Drop.FRAG_MALFORMED: len(MALFORMED[name])}
    assert net.a.ipv4.reassembly.queues.memory == 0
    net.balance()


def test_tiny_fragments_make_the_packet_all_the_same(net: Net) -> None:
    reader = Reader(net)
    reader.send(DATA, [(at, at + 8) for at in range(1016, -8, -8)])
    assert reader.got == [DATA]


def test_memory_is_bounded_and_what_comes_when_it_is_full_is_dropped(net: Net) -> None:
    sysctl, queues = net.a.kernel.sysctl, net.a.ipv4.reassembly.queues
    sysctl["net.ipv4.ipfrag_high_thresh"] = 1_000_000
    count, size = 3000, 8 + OVERHEAD
    fits = 1_000_000 // size + 1

    def flood() -> None:
        for n in range(count):
            packet = IP(
                src=f"10.2.{n >> 8}.{n & 255}", dst=A, proto=PROTOCOL, id=n, flags=1, frag=1
            )
            _receive(net, bytes(packet / Raw(b"12345678")))

    net.do(net.a, flood)
    assert len(queues.queues) == fits
    assert queues.memory == fits * size
    assert dict(net.a.kernel.drops) == {Drop.FRAG_MEMORY: count - fits}
    net.run(31_000)
    assert (queues.queues, queues.memory) == ({}, 0)
    assert net.a.kernel.drops[Drop.FRAG_TIMEOUT] == fits
    net.balance()


def _receive(net: Net, packet: bytes) -> None:
    frame = net.a0.mac + bytes(6) + b"\x08\x00" + packet
    skb = SkBuff(net.a.kernel, memoryview(frame))
    skb.dev = net.a0
    net.a.core.receive_skb(skb)


# -- time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "errors"), [(0, [(11, 1)]), (512, [])])
def test_time_is_limited_and_who_sent_the_first_fragment_is_told(
    net: Net, start: int, errors: list[tuple[int, int]]
) -> None:
    seen, reader = Ping(net, net.b), Reader(net)
    reader.send(DATA, [(start, start + 256)])
    net.run(29_900)
    assert reader.drops == {}
    net.run(200)
    assert reader.drops == {Drop.FRAG_TIMEOUT: 1}
    assert [(r[ICMP].type, r[ICMP].code) for r in seen.replies] == errors
    assert net.a.kernel.mib["IpReasmTimeout"] == 1
    net.balance()


def test_too_many_others_in_between_begin_the_packet_anew(net: Net) -> None:
    reader = Reader(net)
    reader.send(DATA, [(0, 512)], ident=1)
    for n in range(64):
        reader.send(DATA, [(0, 512)], ident=100 + n)
    reader.send(DATA, [(512, 1024)], ident=1)
    assert reader.got == []
    assert reader.drops == {Drop.FRAG_TOO_FAR: 1}
    reader.send(DATA, [(0, 512)], ident=1)
    assert reader.got == [DATA]


# -- ECN -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        (0b10, 0b10, 0b10),
        (0b01, 0b01, 0b01),
        (0b10, 0b11, 0b11),
        (0b11, 0b01, 0b11),
        (0b10, 0b01, 0b10),
        (0b11, 0b11, 0b11),
        (0b00, 0b00, 0b00),
        (0b00, 0b11, None),
        (0b10, 0b00, None),
    ],
)
def test_ecn_of_fragments_is_combined(net: Net, first: int, second: int, whole: int | None) -> None:
    reader = Reader(net)
    reader.send(DATA, [(0, 512), (512, 1024)], tos=[first | 0x20, second | 0x20])
    assert reader.tos == ([] if whole is None else [whole | 0x20])
    assert reader.drops == ({Drop.FRAG_MALFORMED: 2} if whole is None else {})


def test_combined_ecn_of_every_set_of_codepoints_is_linuxs_table() -> None:
    """ip_frag_ecn_table: what is added to the first one's bits, -1 for what is dropped."""
    table = {8 | 4: 3, 8 | 2: 3, 8 | 4 | 2: 3, 8: 3} | {n: -1 for n in range(3, 16, 2)}
    assert [combined_ecn(n) for n in range(1, 16)] == [table.get(n, 0) for n in range(1, 16)]
