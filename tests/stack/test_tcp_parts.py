"""The parts of TCP that stand alone: header formats, sequence numbers, queues, SACK blocks."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP

from pystack.core.checksum import ones_sum
from pystack.core.headers.ipv4 import pseudo_header_sum
from pystack.core.headers.tcp import (
    TH_ACK,
    TH_PSH,
    TcpHeader,
    TcpOptions,
    pack_segment_header,
    timestamp_option,
)
from pystack.transport.tcp.cc import Reno
from pystack.transport.tcp.congestion import CongestionWindow
from pystack.transport.tcp.ofo import OutOfOrderQueue
from pystack.transport.tcp.sackblocks import SackBlocks
from pystack.transport.tcp.segment import SACKED_RETRANS, TxSegment
from pystack.transport.tcp.sendqueue import RtxQueue
from pystack.transport.tcp.seq import after, before, between, seq_add, seq_diff
from pystack.transport.tcp.writequeue import WriteQueue

u32 = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 2**16 - 1)
pairs = st.tuples(u32, u32)


@given(
    st.builds(
        TcpHeader,
        u16,
        u16,
        u32,
        u32,
        st.integers(0, 255),
        u16,
        u16,
        u16,
        header_length=st.integers(5, 15).map(lambda words: words * 4),
    )
)
def test_header_parses_what_it_packs(header: TcpHeader) -> None:
    assert TcpHeader.parse(header.pack()) == header


@given(u16, u16, u32, u32, st.integers(0, 63), u16, st.binary(max_size=10), st.binary(max_size=99))
def test_segment_header_has_the_checksum_of_what_it_heads(
    sport: int, dport: int, seq: int, ack: int, flags: int, window: int, words: bytes, text: bytes
) -> None:
    options = words * 4
    length = 20 + len(options)
    start = pseudo_header_sum(b"\x0a\0\0\1", b"\xff\0\0\2", 6, length + len(text))
    raw = pack_segment_header(
        sport, dport, seq, ack, flags, window, options, start + ones_sum(text)
    )
    assert ones_sum(raw + text, start) == 0xFFFF
    header = TcpHeader.parse(raw)
    assert header[:6] == (sport, dport, seq, ack, flags, window)
    assert (header.header_length, raw[20:]) == (length, options)


def test_header_is_what_scapy_reads() -> None:
    options = TcpOptions(1460, 7, True, (1, 2)).pack()
    header = TcpHeader(1, 2, 3, 4, TH_ACK | TH_PSH, 5, 6, 7, header_length=20 + len(options))
    packet = TCP(header.pack() + options)
    assert (packet.sport, packet.dport, packet.seq, packet.ack) == (1, 2, 3, 4)
    assert (str(packet.flags), packet.window, packet.chksum, packet.urgptr) == ("PA", 5, 6, 7)
    assert packet.options == [
        ("MSS", 1460),
        ("SAckOK", b""),
        ("Timestamp", (1, 2)),
        ("NOP", None),
        ("WScale", 7),
    ]


@given(
    st.builds(
        TcpOptions,
        mss=st.none() | u16,
        wscale=st.none() | st.integers(0, 14),
        sack_permitted=st.booleans(),
        timestamps=st.none() | pairs,
        sack=st.lists(pairs, max_size=2).map(tuple),
    )
)
def test_options_parse_what_they_pack(options: TcpOptions) -> None:
    packed = options.pack()
    assert len(packed) % 4 == 0
    assert len(packed) <= 40
    assert TcpOptions.parse(packed) == options


def test_timestamp_shortcut_is_the_same_bytes() -> None:
    assert timestamp_option(7, 9) == TcpOptions(timestamps=(7, 9)).pack()


@given(st.binary(max_size=40))
def test_any_option_bytes_parse_to_something(data: bytes) -> None:
    assert isinstance(TcpOptions.parse(data), TcpOptions)


def test_window_scale_above_14_counts_as_14() -> None:
    assert TcpOptions.parse(bytes([3, 3, 200, 0])).wscale == 14


@given(u32, st.integers(1, 2**31 - 1))
def test_order_holds_across_the_wrap(seq: int, n: int) -> None:
    later = seq_add(seq, n)
    assert before(seq, later)
    assert after(later, seq)
    assert not before(later, seq)
    assert seq_diff(later, seq) == n
    assert seq_diff(seq, later) == -n
    assert between(seq_add(seq, n // 2), seq, later)
    assert not between(seq_add(later, 1), seq, later)


# -- queues --------------------------------------------------------------------------------


def _rx(start: int, end: int, base: int) -> Any:
    cb = SimpleNamespace(seq=(base + start) & 0xFFFFFFFF, end_seq=(base + end) & 0xFFFFFFFF)
    return SimpleNamespace(cb=cb)


@pytest.mark.parametrize("base", [0, 2**32 - 50])
def test_out_of_order_queue_stays_sorted_and_holds_every_byte(base: int) -> None:
    rng = random.Random(1)
    for _ in range(300):
        queue = OutOfOrderQueue()
        covered: set[int] = set()
        for _ in range(12):
            start = rng.randrange(100)
            end = start + rng.randrange(1, 30)
            here = set(range(start, end))
            segment = _rx(start, end, base)
            dropped = queue.insert(segment)
            if dropped is None:
                assert here <= covered
            covered |= here
        held = [(seq_diff(s.cb.seq, base), seq_diff(s.cb.end_seq, base)) for s in queue]
        assert held == sorted(held)
        assert all(a[1] < b[1] for a, b in itertools.pairwise(held))
        assert {n for a, b in held for n in range(a, b)} == covered


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=20))
def test_sack_blocks_are_disjoint_and_the_last_one_is_first(ranges: list[tuple[int, int]]) -> None:
    sacks = SackBlocks()
    for start, length in ranges:
        sacks.add(start, start + length)
        left, right = sacks.blocks[0]
        assert left <= start < start + length <= right
        for index, (a, b) in enumerate(sacks.blocks):
            assert a < b
            assert all(b < c or d < a for c, d in sacks.blocks[index + 1 :])
    assert len(sacks.blocks) <= 4


def test_dsack_goes_first_and_advance_forgets_what_is_acked() -> None:
    sacks = SackBlocks()
    for start in (10, 30, 50):
        sacks.add(start, start + 10)
    sacks.set_dsack(1, 5)
    assert sacks.take(3) == ((1, 5), (50, 60), (30, 40))
    sacks.advance(40)
    assert sacks.blocks == [(50, 60)]


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1), st.integers(1, 60))
def test_write_queue_gives_back_the_stream_in_any_pieces(pieces: list[bytes], n: int) -> None:
    queue = WriteQueue()
    for piece in pieces:
        queue.append(memoryview(piece), new=queue.room(70) < len(piece))
    got = b""
    while queue:
        got += queue.take(min(n, queue.chunks[0].length))[0]
    assert got == b"".join(pieces)
    assert queue.length == 0


def _rtx(n: int) -> RtxQueue:
    rtx = RtxQueue()
    for index in range(n):
        rtx.append(TxSegment(index * 10, index * 10 + 10, TH_ACK, memoryview(bytes(10))))
    return rtx


def test_scoreboard_counts_stay_consistent_through_any_marks() -> None:
    rng = random.Random(2)
    for _ in range(200):
        rtx = _rtx(10)
        for _ in range(60):
            segment = rng.choice(list(rtx.segments)) if rtx else None
            action = rng.randrange(5)
            if segment is None:
                break
            if action == 0 and not segment.sacked & 1:
                rtx.mark_lost(segment)
            elif action == 1 and segment.sacked & 4 and not segment.sacked & (1 | SACKED_RETRANS):
                rtx.mark_retransmitted(segment)
            elif action == 2 and not segment.sacked & 1:
                rtx.mark_sacked(segment)
            elif action == 3 and len(segment.data) > 3:
                rtx.split(segment, 3)
            elif action == 4 and rng.random() < 0.3:
                rtx.pop_acked()
            marks = [s.sacked for s in rtx.segments]
            assert rtx.sacked_out == sum(m & 1 for m in marks)
            assert rtx.lost_out == sum(bool(m & 4) for m in marks)
            assert rtx.retrans_out == sum(bool(m & 2) for m in marks)
            assert rtx.in_flight >= 0


def test_split_keeps_numbers_and_moves_fin_and_push() -> None:
    rtx = _rtx(1)
    rtx.head.flags = TH_ACK | TH_PSH | 1
    rtx.head.end_seq = 11
    rtx.split(rtx.head, 4)
    first, second = rtx.segments
    assert (first.seq, first.end_seq, len(first.data), first.flags) == (0, 4, 4, TH_ACK)
    assert (second.seq, second.end_seq, len(second.data)) == (4, 11, 6)
    assert second.flags == TH_ACK | TH_PSH | 1


# -- congestion window ---------------------------------------------------------------------


def test_reno_doubles_in_slow_start_and_then_adds_one_a_window() -> None:
    cw = CongestionWindow(Reno(cast(Any, None)))
    cw.limited = True
    cw.ssthresh = 20
    cw.algorithm.cong_avoid(cw, 10)
    assert cw.cwnd == 20
    for _ in range(20):
        cw.algorithm.cong_avoid(cw, 1)
    assert cw.cwnd == 21


def test_unused_window_does_not_grow() -> None:
    cw = CongestionWindow(Reno(cast(Any, None)))
    cw.ssthresh = 5
    for _ in range(100):
        cw.algorithm.cong_avoid(cw, 5)
    assert cw.cwnd == 10


def test_ssthresh_is_half_the_window_but_two() -> None:
    cw = CongestionWindow(Reno(cast(Any, None)))
    cw.cwnd = 3
    assert cw.algorithm.ssthresh(cw) == 2
    cw.cwnd = 40
    assert cw.algorithm.ssthresh(cw) == 20
