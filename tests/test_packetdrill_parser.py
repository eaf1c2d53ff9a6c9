"""The language: what a script's text becomes, and what is no script."""

from __future__ import annotations

import pytest

from packetdrill import script as ast
from packetdrill import tcpopts
from packetdrill.errors import ScriptSyntaxError
from packetdrill.parser import parse

MS = 1_000_000


def event_of(text: str) -> ast.Event:
    return parse(text).events[0]


def packet_of(text: str) -> ast.Packet:
    action = event_of(f"0 {text}").action
    assert isinstance(action, ast.Packet)
    return action


def call_of(text: str) -> ast.Syscall:
    action = event_of(f"0 {text}").action
    assert isinstance(action, ast.Syscall)
    return action


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("+.25", ast.When(ast.TimeKind.RELATIVE, 250 * MS)),
        ("1.5", ast.When(ast.TimeKind.ABSOLUTE, 1500 * MS)),
        ("*", ast.When(ast.TimeKind.ANY)),
        ("0.1~0.2", ast.When(ast.TimeKind.ABSOLUTE_RANGE, 100 * MS, 200 * MS)),
        ("+0~+.01", ast.When(ast.TimeKind.RELATIVE_RANGE, 0, 10 * MS)),
    ],
)
def test_every_kind_of_time_is_read(text: str, when: ast.When) -> None:
    assert event_of(f"{text} > . 1:1(0) ack 1").when == when


def test_outbound_segment_with_every_option() -> None:
    text = (
        "> SP. 5:5(0) ack 7 win 9 urg 3 "
        "<mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7,FO abcd12,nop,eol,nop>"
    )
    tcp = packet_of(text).transport
    assert isinstance(tcp, ast.Tcp)
    assert (tcp.flags, tcp.seq, tcp.length, tcp.ack) == ("SP.", 5, 0, 7)
    assert (tcp.window, tcp.urgent) == (9, 3)
    assert tcp.options is not None
    assert tcpopts.to_text(tcp.options) == (
        "<mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7,FO abcd12,nop,eol,nop>"
    )


def test_sack_blocks_are_edges_in_order() -> None:
    tcp = packet_of("< . 1:1(0) ack 1 win 5 <nop,nop,sack 3:5 8:9>").transport
    assert isinstance(tcp, ast.Tcp) and tcp.options is not None
    assert tcpopts.sack_blocks(tcp.options[2]) == [(3, 5), (8, 9)]


@pytest.mark.parametrize(
    ("text", "flags"), [(".", "."), ("-", ""), ("FP.", "FP."), ("SEW", "SEW"), ("S.5", "S.5")]
)
def test_flags_are_read_as_written(text: str, flags: str) -> None:
    tcp = packet_of(f"< {text} 1:1(0) win 5").transport
    assert isinstance(tcp, ast.Tcp) and tcp.flags == flags


def test_ip_fields_ports_and_marks() -> None:
    packet = packet_of("> [ect0] 8080 > 53 . 1:1(0) ack 1 <...>")
    assert (packet.ip, packet.sport, packet.dport) == (ast.IpInfo(ecn="ect0"), 8080, 53)
    assert isinstance(packet.transport, ast.Tcp) and packet.transport.options is None
    assert packet_of("> (tos 0x10) . 1:1(0) ack 1").ip == ast.IpInfo(tos=16)


def test_icmp_with_code_mtu_and_the_quoted_segment() -> None:
    icmp = packet_of("< icmp unreachable frag_needed mtu 1200 [1:1461(1460)]").transport
    echoed = ast.Echoed("tcp", 1460, 1)
    assert icmp == ast.Icmp("unreachable", "frag_needed", 1200, echoed=echoed)


def test_udp_packet() -> None:
    assert packet_of("< udp (100)").transport == ast.Udp(100)


def test_blocking_call_has_an_end() -> None:
    event = event_of("+.1...0.35 read(4, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)")
    call = event.action
    assert isinstance(call, ast.Syscall)
    assert (call.name, call.until, call.result, call.errno) == ("read", 350 * MS, -1, "EAGAIN")
    assert call.args == (4, ast.WILD, 10)


def test_structures_arrays_strings_and_flags() -> None:
    call = call_of(
        'sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 8}, {..., 9}], msg_flags=0}, "a" "b", '
        "A|B) = 0x11"
    )
    message, text, flags = call.args[1:]
    assert isinstance(message, ast.Struct)
    assert message.fields["msg_name"] is ast.WILD
    vector = (ast.Struct({}, (ast.WILD, 8)), ast.Struct({}, (ast.WILD, 9)))
    assert message.fields["msg_iov"] == ast.Array(vector)
    assert text == b"ab"
    assert flags == ast.Either((ast.Name("A"), ast.Name("B")))
    assert call.result == 0x11


def test_options_init_cleanup_code_and_comments() -> None:
    script = parse(
        "--mss=1000\n--strict_segments\n// a comment with `ticks`\n`init`\n"
        "0 `now /* kept */`\n/* gone */ +0 %{ assert 1 }%\n`cleanup`\n"
    )
    assert script.options == (("mss", "1000"), ("strict_segments", None))
    assert script.init == ast.Command("init", 4)
    assert script.events[0].action == ast.Command("now /* kept */", 5)
    assert script.events[1].action == ast.Code("assert 1")
    assert (script.events[1].line, script.cleanup) == (6, ast.Command("cleanup", 7))


def test_symbols_stand_for_what_was_defined() -> None:
    packet = "0 > S 0:0(0) <mss SIZE,FO COOKIE>"
    tcp = parse(f"--define=SIZE=900\n{packet}", {"COOKIE": "beef"}).events[0].action
    assert isinstance(tcp, ast.Packet) and isinstance(tcp.transport, ast.Tcp)
    assert tcpopts.to_text(tcp.transport.options or ()) == "<mss 900,FO beef>"
    with pytest.raises(ScriptSyntaxError, match="SIZE is not defined"):
        parse(packet, {"COOKIE": "beef"})


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("0 > . 1:5(3) ack 1", 1, "does not span"),
        ("0 < . 1:1(0) ack 1", 1, "window must be specified"),
        ("0 < . 1:1(0) ack 1 win 5 <...>", 1, "outbound"),
        ("0 < . 1:1(0) ack 1 win 5 <nop>", 1, "whole words"),
        ("0 close(3) = 0\n* close(3) = 0", 2, "outbound packets"),
        ("0 > . 1:1(0)\n+.2~+.1 > . 1:1(0)", 2, "backwards"),
        ("0 close(3) = 0\n+0 close 3", 2, "syntax error"),
    ],
)
def test_what_is_no_script_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ScriptSyntaxError, match=words) as info:
        parse(text)
    assert info.value.line == line
