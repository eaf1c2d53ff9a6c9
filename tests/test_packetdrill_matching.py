"""Comparison of packets, the map of numbers, and times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packetdrill import frames, matching, tcpopts
from packetdrill.config import Config
from packetdrill.errors import ScriptFailure
from packetdrill.flow import Endpoints, Flow
from packetdrill.frames import Frame, IcmpFields, IpFields, TcpFields, UdpFields
from packetdrill.matching import Expected
from packetdrill.parser import parse
from packetdrill.script import Packet, TimeKind, When

MS = 1_000_000
CONFIG = Config()
IP = IpFields(4, b"\x0a\0\0\1", b"\x0a\0\0\2", 0, 64)


def expected(text: str) -> Expected:
    packet = parse(f"0 {text}").events[0].action
    assert isinstance(packet, Packet)
    return matching.build(packet, CONFIG, {})


def segment(flags: str = ".", seq: int = 1, size: int = 0, **fields: object) -> Frame:
    tcp = TcpFields(1, 2, seq, 1, frames.flag_bits(flags), 500)
    return Frame(IP, replace(tcp, **fields), bytes(size))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "actual", "message"),
    [
        ("> . 1:1(0) ack 2", segment(), "tcp_ack_seq: expected: 2 (0x2) vs actual: 1 (0x1)"),
        ("> . 2:2(0) ack 1", segment(), "tcp_seq: expected: 2"),
        ("> P. 1:1(0) ack 1", segment(), "tcp_psh: expected: 1"),
        ("> . 1:1(0) ack 1 win 9", segment(), "tcp_window: expected: 9"),
        ("> . 1:3(2) ack 1", segment(), "ip_total_length: expected: 42"),
        ("> E. 1:1(0) ack 1", segment(), "tcp_ece: expected: 1"),
        ("> .3 1:1(0) ack 1", segment(".2"), "tcp_ace: expected: 3 (0x3) vs actual: 2"),
        ("> [ect0] . 1:1(0) ack 1", segment(), "ip_ecn: expected: 2"),
        ("> [ect01] . 1:1(0) ack 1", segment(), "expected: 0x1 or 0x2"),
        ("> (ttl 9) . 1:1(0) ack 1", segment(), "ttl: expected: 9"),
        ("> udp (0)", segment(), "expected: UDP header vs actual: TCP header"),
    ],
)
def test_a_wrong_field_is_named_with_both_values(text: str, actual: Frame, message: str) -> None:
    with pytest.raises(ScriptFailure) as info:
        matching.verify(expected(text), actual, CONFIG, 0)
    assert message in info.value.message


def test_what_the_script_leaves_out_is_not_compared() -> None:
    stamps = (*([tcpopts.Option(1)] * 2), tcpopts.timestamps(5, 6))
    actual = replace(segment(options=stamps), ip=replace(IP, tos=2, ttl=3))
    matching.verify(expected("> . 1:1(0) ack 1 <...>"), actual, CONFIG, 0)
    assert str(expected("> . 1:1(0) ack 1 <...>")) == ". 1:1(0) ack 1 <...>"


def test_options_are_compared_in_order_and_value() -> None:
    want = expected("> . 1:1(0) ack 1 <nop,nop,sack 3:4>")
    sack, nop = tcpopts.sack([(3, 4)]), tcpopts.Option(1)
    matching.verify(want, segment(options=(nop, nop, sack)), CONFIG, 0)
    with pytest.raises(ScriptFailure, match="bad outbound TCP options"):
        matching.verify(want, segment(options=(sack, nop, nop)), CONFIG, 0)
    with pytest.raises(ScriptFailure, match="expected: sack 3:4 actual: sack 3:9"):
        wrong = (nop, nop, tcpopts.sack([(3, 9)]))
        matching.verify(want, segment(options=wrong), CONFIG, 0)


def test_time_stamps_are_compared_only_when_the_script_gives_their_tick() -> None:
    want = expected("> . 1:1(0) ack 1 <nop,nop,TS val 100 ecr 0>")
    nop = tcpopts.Option(1)
    actual = segment(options=(nop, nop, tcpopts.timestamps(150, 0)))
    matching.verify(want, actual, CONFIG, 0)
    with pytest.raises(ScriptFailure, match="expected 100, actual 150"):
        matching.verify(want, actual, Config(ts_tick_usecs=1000), 0)
    matching.verify(want, actual, Config(ts_tick_usecs=1000), 1000 * MS)  # 12.5 % of a second


def test_segments_join_only_where_one_large_segment_was_cut() -> None:
    first, second = segment(seq=1, size=10), segment("P.", seq=11, size=10)
    assert matching.joins(first, second, last=False) is None
    assert matching.joins(first, segment(seq=11, size=4), last=True) is None
    assert "fragment payload" in (matching.joins(first, segment(seq=11, size=4), False) or "")
    assert "tcp_seq" in (matching.joins(first, segment(seq=12, size=10), True) or "")
    assert "tcp_window" in (matching.joins(first, segment(seq=11, window=1), True) or "")
    merged = matching.merge([first, second])
    assert merged.tcp is not None
    assert (merged.tcp.seq, len(merged.payload)) == (1, 20)
    assert frames.flag_text(merged.tcp.flags) == "P."


def test_tolerance_is_four_ms_or_an_eighth_of_the_wait() -> None:
    when = When(TimeKind.ABSOLUTE, 1000 * MS)
    matching.verify_time(when, 1004 * MS, 999 * MS, CONFIG, "packet")
    matching.verify_time(when, 1125 * MS, 0, CONFIG, "packet")
    with pytest.raises(ScriptFailure, match=r"at 1\.000000 sec but happened at 1\.004001 sec"):
        matching.verify_time(when, 1004 * MS + 1000, 999 * MS, CONFIG, "packet")
    span = When(TimeKind.RELATIVE_RANGE, 100 * MS, 200 * MS)
    matching.verify_time(span, 204 * MS, 100 * MS, CONFIG, "packet")
    with pytest.raises(ScriptFailure, match="time range"):
        matching.verify_time(span, 95 * MS, 100 * MS, CONFIG, "packet")


def test_numbers_are_relative_but_for_segments_with_syn() -> None:
    flow = Flow(live=Endpoints(IP.src, 80, IP.dst, 4000), live_local_isn=1000, remote_isn=7)
    flow.script_local_isn = 50
    sack = (tcpopts.Option(1), tcpopts.Option(1), tcpopts.sack([(5, 6)]))
    data = TcpFields(0, 0, 1, 1, frames.flag_bits("."), 0, options=sack)
    live = flow.to_live(data, scaled=False)
    assert (live.sport, live.dport, live.seq, live.ack) == (4000, 80, 8, 1001)
    assert tcpopts.sack_blocks(live.options[2]) == [(1005, 1006)]
    sent = TcpFields(80, 4000, 1001, 8, frames.flag_bits("."), 0)
    assert (flow.to_script(sent).seq, flow.to_script(sent).ack) == (1, 1)
    syn = TcpFields(80, 4000, 1000, 8, frames.flag_bits("S."), 0)
    assert (flow.to_script(syn).seq, flow.to_script(syn).ack) == (50, 8)


def test_time_stamp_echo_is_the_live_value_the_script_value_stood_for() -> None:
    flow = Flow()
    script = segment("S.", options=(tcpopts.timestamps(100, 0),)).tcp
    actual = segment("S.", options=(tcpopts.timestamps(777, 0),)).tcp
    assert script is not None and actual is not None
    assert tcpopts.find_timestamps(flow.map_timestamps(actual, script).options) == (100, 0)
    echo = segment(options=(tcpopts.timestamps(1, 100),)).tcp
    other = segment(options=(tcpopts.timestamps(1, 130),)).tcp
    assert echo is not None and other is not None
    assert tcpopts.find_timestamps(flow.to_live(echo, False).options) == (1, 777)
    assert tcpopts.find_timestamps(flow.to_live(other, True).options) == (1, 807)
    with pytest.raises(ValueError, match="TS ecr 130"):
        flow.to_live(other, False)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "transport",
    [
        TcpFields(80, 4000, 5, 6, 0x112, 700, 3, (tcpopts.timestamps(1, 2), tcpopts.Option(1))),
        UdpFields(53, 4000),
        IcmpFields(3, 4, 1200),
    ],
)
def test_what_is_encoded_is_decoded_the_same(version: int, transport: object) -> None:
    if isinstance(transport, TcpFields):
        transport = replace(transport, options=(*transport.options, tcpopts.Option(0)))
    size = 4 if version == 4 else 16
    ip = IpFields(version, bytes(range(size)), bytes(range(1, size + 1)), 0x2E, 61)
    frame = Frame(ip, transport, b"data")  # type: ignore[arg-type]
    assert frames.decode(frames.encode(frame), 0) == frame
