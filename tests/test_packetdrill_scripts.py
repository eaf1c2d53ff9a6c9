"""Scripts from end to end: those in `packetdrill/` against one host, and the report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from packetdrill import run_scripts
from packetdrill.runner import Result, run_file

SCRIPTS = Path(__file__).parent / "packetdrill"
NOT_PASSING = {"wrong-ack", "wrong-result", "unknown-sysctl"}


def run_text(tmp_path: Path, text: str) -> Result:
    path = tmp_path / "script.pkt"
    path.write_text(text)
    return run_file(path)


CONNECTED = """0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 20000 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.01 < . 1:1(0) ack 1 win 20000
+0 accept(3, ..., ...) = 4
"""


@pytest.mark.parametrize(
    "path", [p for p in sorted(SCRIPTS.glob("*.pkt")) if p.stem not in NOT_PASSING], ids=str
)
def test_script_passes(path: Path) -> None:
    result = run_file(path)
    assert (result.status, result.message) == ("pass", "")


IPV4_ONLY = {
    "initcwnd",  # changes a route of IPv4
    "syncookie-timestamps",  # cookies of IPv6 know other sizes
    "syncookie-wrong",
    "tos-and-mss",  # IP_TOS
}


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(SCRIPTS.glob("*.pkt")) if p.stem not in NOT_PASSING | IPV4_ONLY],
    ids=str,
)
def test_script_passes_over_ipv6(path: Path) -> None:
    result = run_file(path, ipv6=True)
    assert (result.status, result.message) == ("pass", "")


@pytest.mark.parametrize("name", ["handshake-active", "handshake-passive", "retransmit"])
def test_script_passes_on_ipv6_sockets_that_speak_ipv4(tmp_path: Path, name: str) -> None:
    text = (SCRIPTS / f"{name}.pkt").read_text()
    result = run_text(tmp_path, "--ip_version=ipv4-mapped-ipv6\n" + text)
    assert (result.status, result.message) == ("pass", "")


def test_wrong_packet_fails_with_line_and_both_packets() -> None:
    result = run_file(SCRIPTS / "wrong-ack.pkt")
    assert (result.status, result.line) == ("fail", 8)
    assert "tcp_ack_seq: expected: 102 (0x66) vs actual: 101 (0x65)" in result.message
    assert result.expected == " 0.010000 . 1:1(0) ack 102"
    assert result.actual.startswith(" 0.010000 . 1:1(0) ack 101 win ")


def test_wrong_result_fails_with_line_and_errno() -> None:
    result = run_file(SCRIPTS / "wrong-result.pkt")
    assert (result.status, result.line) == ("fail", 10)
    assert result.message.startswith("Expected result 100 but got -1 with errno 11")


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ("+0 > P. 1:2(1) ack 1\n", 8, "timed out waiting for packet"),
        ("+0 write(4, ..., 9) = 9\n+.1 > P. 1:10(9) ack 1\n", 9, "timing error"),
        ("+0...0.5 read(4, ..., 9) = 9\n+.1 < P. 1:10(9) ack 1 win 9\n+1 close(4) = 0", 8, "0.110"),
        ("+0...0.1 read(4, ..., 9) = 9\n", 8, "blocking system call is in progress"),
        ("+0 write(9, ..., 9) = 9\n", 8, "script fd 9"),
        ("+0 write(4, ...) = 9\n", 8, "bad arguments"),
        ("+0 read(4, ..., 9) = 9\n", 8, "has not returned"),
        ("0 close(4) = 0\n", 8, "timing error"),
        (".1 close(4) = 0\n.05 close(3) = 0\n", 9, "backward"),
        ("+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [5], [4]) = 0\n", 8, "expected: 5 actual: 0"),
        ("+0 < . 1:1(0) ack 1 win 9 <nop,nop,TS val 1 ecr 44>\n", 8, "TS ecr 44"),
    ],
)
def test_failure_is_told_with_its_line(tmp_path: Path, lines: str, line: int, words: str) -> None:
    result = run_text(tmp_path, CONNECTED + lines)
    assert (result.status, result.line) == ("fail", line)
    assert words in result.message


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("+0 fork() = 0\n", "system call fork()"),
        ("+0 < encap psp spi 7 . 1:1(0) ack 1 win 9\n", "PSP encapsulation"),
        ("+0 setsockopt(4, SOL_TCP, TCP_MD5SIG, [1], 4) = 0\n", "setsockopt SOL_TCP TCP_MD5SIG"),
        ("+0 %{ import os }%\n", "Import in code"),
    ],
)
def test_what_there_is_not_is_unsupported_with_its_line(
    tmp_path: Path, lines: str, words: str
) -> None:
    result = run_text(tmp_path, CONNECTED + lines)
    assert (result.status, result.line) == ("unsupported", 8)
    assert words in result.message


def test_packet_comes_before_a_timer_that_expires_at_the_same_moment(tmp_path: Path) -> None:
    """The RTO is due 210 ms after the write; the acknowledgement then keeps it from firing."""
    text = (
        "+0 write(4, ..., 9) = 9\n+0 > P. 1:10(9) ack 1\n"
        "+.21 < . 1:1(0) ack 10 win 20000\n+.5 write(4, ..., 1) = 1\n+0 > P. 10:11(1) ack 1\n"
    )
    result = run_text(tmp_path, CONNECTED + text)
    assert (result.status, result.message) == ("pass", "")


def test_icmp_error_reaches_the_connection(tmp_path: Path) -> None:
    text = (
        "+0 write(4, ..., 1000) = 1000\n+0 > P. 1:1001(1000) ack 1\n"
        "+.05 < icmp unreachable frag_needed mtu 600 [1:1001(1000)]\n"
        "+0 > . 1:561(560) ack 1\n"
    )
    result = run_text(tmp_path, CONNECTED + text)
    assert (result.status, result.message) == ("pass", "")


def test_runs_are_the_same_every_time() -> None:
    paths = sorted(SCRIPTS.glob("*.pkt"))
    first, second = ([(r.as_dict(), r.log) for r in map(run_file, paths)] for _ in range(2))
    assert first == second


def test_report_and_json_and_exit_status(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, highlight=False, soft_wrap=True)
    target = tmp_path / "results.json"
    good, bad = SCRIPTS / "retransmit.pkt", SCRIPTS / "wrong-ack.pkt"
    unknown = SCRIPTS / "unknown-sysctl.pkt"
    assert run_scripts([good, bad], target, console=console) == 1
    text = output.getvalue()
    assert f"{bad}:8: live packet field tcp_ack_seq" in text
    assert "script packet:  0.010000 . 1:1(0) ack 102\n" in text
    assert "packet tcp_ack_seq" in text
    assert [r["status"] for r in json.loads(target.read_text())] == ["pass", "fail"]
    assert run_scripts([good], console=console, verbose=True) == 0
    assert "write()" in output.getvalue()
    assert run_scripts([unknown], console=console) == 2
    assert run_scripts([tmp_path / "absent.pkt"], console=console) == 1


def test_packet_that_names_its_remote_port_chooses_or_opens_a_connection(tmp_path: Path) -> None:
    """accept() hands them out in their order, and each keeps its own numbers."""
    text = (
        "+0 < 50001 > 8080 S 700:700(0) win 20000 <mss 1000>\n"
        "+0 > 8080 > 50001 S. 0:0(0) ack 701 <mss 1460>\n"
        "+0 < . 1:1(0) ack 1 win 20000\n"
        "+0 accept(3, ..., ...) = 5\n"
        "+0 < 40001 > 8080 P. 1:4(3) ack 1 win 20000\n+0 > . 1:1(0) ack 4\n"
        "+0 read(4, ..., 9) = 3\n"
        "+0 < 50001 > 8080 P. 1:3(2) ack 1 win 20000\n+0 > . 1:1(0) ack 3\n"
        "+0 read(5, ..., 9) = 2\n"
    )
    result = run_text(tmp_path, CONNECTED + text)
    assert (result.status, result.message) == ("pass", "")


def test_port_of_no_connection_is_foreign_to_the_current_one(tmp_path: Path) -> None:
    """As in packetdrill: numbers are the current connection's; its host answers with a reset."""
    text = (
        "+0 < 1234 > 8080 P. 1:4(3) ack 1 win 20000\n"
        "+0 < . 1:1(0) ack 1 win 20000\n+0 read(4, ..., 9) = -1 EAGAIN\n"
    )
    result = run_text(tmp_path, CONNECTED + "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n" + text)
    assert (result.status, result.message) == ("pass", "")


def test_md5_option_is_ignored_with_a_note(tmp_path: Path) -> None:
    md5 = "<md5 000102030405060708090a0b0c0d0e0f,nop,nop>"
    text = (
        f"+0 < P. 1:10(9) ack 1 win 20000 {md5}\n+0 > . 1:1(0) ack 10 {md5}\n"
        "+0 read(4, ..., 9) = 9\n"
    )
    result = run_text(tmp_path, CONNECTED + text)
    assert (result.status, result.message) == ("pass", "")
    assert result.notes[0] == "line 8: the md5 option is ignored: segments are not signed here"
