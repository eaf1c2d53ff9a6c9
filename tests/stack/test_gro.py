"""Generic receive offload: what is merged, what is not, and that nobody above can tell."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from pystack.core.checksum import checksum
from pystack.core.engine import VirtualEngine
from pystack.core.headers.ethernet import EthernetHeader
from pystack.core.headers.ipv4 import Ipv4Header, pseudo_header_sum
from pystack.core.headers.tcp import (
    NO_OPTIONS,
    TH_ACK,
    TH_FIN,
    TH_PSH,
    TH_SYN,
    TcpHeader,
    timestamp_option,
)
from pystack.core.kernel import Kernel
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.gro import GRO_MAX_SIZE, MAX_HELD, Gro
from pystack.dev.napi import Napi
from pystack.dev.wire import Link
from pystack.host import Host
from pystack.transport.tcp import TcpSock, data
from pystack.transport.tcp.segment import RxSegment

SECOND = 10**9
US, PEER = b"\x0a\0\0\1", b"\x0a\0\0\2"


@dataclass(frozen=True)
class Segment:
    """One frame; the defaults are what every segment of a plain flow has."""

    seq: int = 1000
    text: bytes = b"x" * 100
    ack: int = 77
    flags: int = TH_ACK
    port: int = 5000
    options: bytes = b""
    ip: dict[str, Any] = field(default_factory=dict)
    src_mac: bytes = b"\2\0\0\0\0\2"
    spoil: int | None = None  # this byte of the frame is changed
    window: int = 500

    def frame(self) -> bytes:
        length = 20 + len(self.options)
        header = TcpHeader(
            self.port, 80, self.seq, self.ack, self.flags, self.window, header_length=length
        )
        start = pseudo_header_sum(PEER, US, 6, length + len(self.text))
        value = checksum(header.pack() + self.options + self.text, start)
        tcp = header._replace(checksum=value).pack() + self.options + self.text
        ip = Ipv4Header(20 + len(tcp), 6, PEER, US)._replace(**self.ip)
        raw = EthernetHeader(b"\2\0\0\0\0\1", self.src_mac, 0x0800).pack() + ip.pack() + tcp
        raw = raw.ljust(60, b"\0")
        if self.spoil is not None:
            at = self.spoil
            raw = raw[:at] + bytes([raw[at] ^ 0x40]) + raw[at + 1 :]
        return raw

    def after(self, **changes: Any) -> Segment:
        return replace(self, **{"seq": (self.seq + len(self.text)) & 0xFFFFFFFF, **changes})


class Bench:
    def __init__(self) -> None:
        self.kernel = Kernel(VirtualEngine(), "h")
        self.delivered: list[SkBuff] = []
        self.gro = Gro(self.delivered.append)
        self.dev = SimpleNamespace(features={"gro": True})

    def receive(self, *segments: Segment) -> None:
        for segment in segments:
            skb = SkBuff(self.kernel, memoryview(segment.frame()))
            skb.dev = self.dev
            self.gro.receive(skb)

    def sizes(self, *segments: Segment) -> list[int]:
        """How many segments each packet has that goes up for these, in order."""
        self.receive(*segments)
        self.gro.flush()
        return [len(skb.parts()) for skb in self.delivered]


def flow(n: int, first: Segment | None = None) -> list[Segment]:
    segments = [first or Segment()]
    while len(segments) < n:
        segments.append(segments[-1].after())
    return segments


def test_segments_in_order_become_one_packet_with_all_texts() -> None:
    bench = Bench()
    segments = [replace(s, text=bytes([n]) * 100) for n, s in enumerate(flow(4))]
    bench.receive(*segments)
    assert not bench.delivered
    bench.gro.flush()
    (skb,) = bench.delivered
    assert (skb.gso_size, skb.data_len, bench.gro.merged) == (100, 300, 3)
    assert skb.ip_summed == CHECKSUM_UNNECESSARY
    skb.pull(54)
    assert b"".join(skb.views()) == b"".join(s.text for s in segments)
    assert b"".join(skb.views(150)) == b"".join(s.text for s in segments)[150:]
    assert len(skb) == 400
    skb.free()
    assert bench.kernel.skbs_alive == 0


def test_padding_behind_a_short_segment_is_not_text() -> None:
    bench = Bench()
    bench.sizes(*flow(2, Segment(text=b"abc")))
    (skb,) = bench.delivered
    skb.pull(54)
    assert b"".join(skb.views()) == b"abcabc"


def test_pull_may_step_over_a_whole_part() -> None:
    bench = Bench()
    bench.sizes(*flow(3))
    (skb,) = bench.delivered
    skb.pull(54 + 150)
    assert (len(skb), b"".join(skb.views(20))) == (150, b"x" * 130)


STAMPS = timestamp_option(5, 6)
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gap": ({}, {"seq": 1101}),
    "other acknowledgment": ({}, {"ack": 78}),
    "longer than the first": ({}, {"text": b"y" * 101}),
    "other source address on the link": ({}, {"src_mac": b"\2\0\0\0\0\3"}),
    "other TTL": ({}, {"ip": {"ttl": 63}}),
    "other TOS": ({}, {"ip": {"tos": 4}}),
    "may be fragmented": ({}, {"ip": {"fragment": 0}}),
    "other timestamp": ({"options": STAMPS}, {"options": timestamp_option(6, 6)}),
    "no timestamp": ({"options": STAMPS}, {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_segment_that_differs_starts_a_packet_of_its_own(name: str) -> None:
    first, change = CHANGES[name]
    one = Segment(**first)
    assert Bench().sizes(one, one.after()) == [2]
    assert Bench().sizes(one, one.after(**{"options": b"", **change})) == [1, 1]


def test_same_timestamps_are_merged() -> None:
    one = Segment(options=STAMPS)
    assert Bench().sizes(one, one.after(), one.after().after()) == [3]


def test_another_window_is_not_merged() -> None:
    """It would be lost with the header (`tcp_flag_word` has the window in it)."""
    one = Segment()
    assert Bench().sizes(one, one.after(window=9), one.after().after()) == [1, 1, 1]


NOT_MERGED: dict[str, dict[str, Any]] = {
    "pure acknowledgment": {"text": b""},
    "SYN": {"flags": TH_ACK | TH_SYN},
    "without ACK": {"flags": 0},
    "fragment": {"ip": {"fragment": 0x2000}},
    "bad IP checksum": {"spoil": 24},
    "bad TCP checksum": {"spoil": 80},
    "other protocol": {"ip": {"protocol": 17}},
    "longer than the frame": {"ip": {"total_length": 1400}},
    "shorter than its headers": {"ip": {"total_length": 30}},
}


@pytest.mark.parametrize("name", NOT_MERGED)
def test_odd_packet_goes_up_alone_and_behind_what_came_before(name: str) -> None:
    one, two, odd, four = flow(4)
    odd = replace(odd, **NOT_MERGED[name])
    bench = Bench()
    bench.receive(one, two, odd)
    assert [len(skb.parts()) for skb in bench.delivered] == [2, 1]
    assert bench.sizes(four) == [2, 1, 1]
    assert bench.delivered[1].ip_summed == CHECKSUM_NONE


@pytest.mark.parametrize("flag", [TH_PSH, TH_FIN])
def test_psh_and_fin_end_a_packet_at_once(flag: int) -> None:
    one, two, three = flow(3)
    bench = Bench()
    bench.receive(one, replace(two, flags=TH_ACK | flag))
    assert [len(skb.parts()) for skb in bench.delivered] == [2]
    bench.receive(replace(three, flags=TH_ACK | flag))
    assert [len(skb.parts()) for skb in bench.delivered] == [2, 1]


def test_short_segment_ends_a_packet() -> None:
    one = Segment()
    short = one.after(text=b"y" * 40)
    bench = Bench()
    bench.receive(one, short)
    assert [len(skb) for skb in bench.delivered] == [54 + 140]


def test_flows_are_merged_side_by_side() -> None:
    a, b = flow(3), flow(3, Segment(port=6000))
    assert Bench().sizes(*[s for pair in zip(a, b, strict=True) for s in pair]) == [3, 3]


def test_packet_stays_below_64_kib() -> None:
    segments = flow(50, Segment(text=bytes(1448)))
    assert Bench().sizes(*segments) == [45, 5]
    assert 40 + 45 * 1448 <= GRO_MAX_SIZE < 40 + 46 * 1448


def test_oldest_flow_makes_room_for_a_new_one() -> None:
    bench = Bench()
    bench.receive(*[Segment(port=1000 + n) for n in range(MAX_HELD + 1)])
    assert [skb.headers[13] for skb in bench.delivered] == [1000]


def test_sequence_numbers_wrap() -> None:
    assert Bench().sizes(*flow(3, Segment(seq=2**32 - 150))) == [3]


def test_device_with_gro_off_delivers_at_once() -> None:
    bench = Bench()
    bench.dev.features["gro"] = False
    bench.receive(*flow(3))
    assert [len(skb.parts()) for skb in bench.delivered] == [1, 1, 1]


@pytest.mark.leaves("the packets it has seen")
def test_nothing_is_held_after_a_poll_nor_once_it_is_complete() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    device = host.add_softnic("eth0", b"\2\0\0\0\0\1", Link(engine).a)
    delivered: list[int] = []
    host.core.register_link(lambda skb: delivered.append(len(skb.parts())))
    segments = iter(flow(5))
    log: list[list[int]] = []

    def poll(budget: int) -> int:
        log.append(delivered.copy())
        for segment in itertools.islice(segments, 2 if len(log) == 1 else 3):
            skb = SkBuff(host.kernel, memoryview(segment.frame()))
            skb.dev = device
            napi.gro_receive(skb)
        if len(log) == 1:
            return budget  # there is more: polled again
        napi.complete()
        log.append(delivered.copy())
        return 0

    napi = Napi(host.core.softnet, "test", poll, host.kernel.cpus[0])
    napi.enable()
    host.kernel.cpus[0].raise_irq(napi.schedule)
    engine.run(until=1_000_000)
    assert log == [[], [2], [2, 3]]


class Socket:
    """A socket of a host of its own, into which merged packets are put."""

    def __init__(self, rcv_nxt: int) -> None:
        self.host = Host(VirtualEngine(), "h")
        self.sk = sk = TcpSock(self.host.tcp)
        sk.sk_rcvbuf, sk.rcv_wnd, sk.window_clamp, sk.rcvbuf_locked = 65536, 30_000, 65536, True
        sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = rcv_nxt

    def queue(self, seq: int, count: int) -> bytes:
        """Queue `count` merged segments of 100 bytes from `seq` on; returns their text."""
        bench = Bench()
        segments = [
            replace(s, text=bytes([s.seq // 100 % 256]) * 100)
            for s in flow(count, Segment(seq=seq))
        ]
        bench.sizes(*segments)
        (skb,) = bench.delivered
        skb.pull(54)
        end_seq = seq + 100 * count
        skb.cb = RxSegment(5000, 80, seq, 77, TH_ACK, 500, NO_OPTIONS, end_seq)
        data.queue(self.sk, skb)
        assert self.sk.rcv_nxt == end_seq
        return b"".join(s.text for s in segments)

    def unread(self) -> bytes:
        return b"".join(b"".join(skb.views()) for skb in self.sk.receive_queue)


@pytest.mark.leaves("a socket without a process")
def test_full_receive_buffer_collapses_merged_packets() -> None:
    socket = Socket(1000)
    text = socket.queue(1000, 4) + socket.queue(1400, 3) + socket.queue(1700, 5)
    sk = socket.sk
    assert (len(sk.receive_queue), sk.rmem_alloc) == (3, 12 * 960)
    sk.sk_rcvbuf = 4096
    text += socket.queue(2200, 2)
    assert sk.kernel.mib["TcpExtTCPRcvCollapsed"] == 3
    assert [len(skb) for skb in sk.receive_queue] == [1200, 200]
    assert sk.rmem_alloc == 2304 + 2 * 960
    assert socket.unread() == text


@pytest.mark.leaves("a socket without a process")
def test_segment_size_is_learnt_from_merged_packets() -> None:
    socket = Socket(1000)
    ack = socket.sk.ack
    socket.sk.advmss, ack.rcv_mss = 1460, 90
    socket.queue(1000, 3)
    assert ack.rcv_mss == 100


@pytest.mark.leaves("a socket without a process")
def test_merged_packet_that_overlaps_is_cut() -> None:
    socket = Socket(1150)
    text = socket.queue(1000, 3)
    assert socket.unread() == text[150:]
    assert socket.sk.receive_queue[0].cb.seq == 1150
