"""A script that is wrong in one place fails there: nothing an expectation says is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from packetdrill.runner import run_file

SCRIPTS = Path(__file__).parent / "packetdrill"
WRONG = [  # script, text there, the same made wrong
    ("half-close", "> F. 1:1(0)", "> . 1:1(0)"),
    ("half-close", "> F. 1:1(0)", "> FP. 1:1(0)"),
    ("half-close", "> F. 1:1(0)", "> F. 2:2(0)"),
    ("half-close", "> F. 1:1(0)", "> F. 1:2(1)"),
    ("handshake-passive", "ack 701 <mss", "ack 702 <mss"),
    ("handshake-passive", "<mss 1460,", "<mss 1461,"),
    ("handshake-passive", "wscale 7>\n +", "wscale 8>\n +"),
    ("handshake-passive", "ecr 4000,", "ecr 4001,"),
    ("window-clamp-listener", "win 8760", "win 8761"),
    ("window-clamp-listener", "TCP_WINDOW_CLAMP, [10000], [4]", "TCP_WINDOW_CLAMP, [10001], [4]"),
    ("urgent-window", "urg 10", "urg 11"),
    ("urgent-window", "> U. 1001", "> . 1001"),
    ("rto-backoff", "+.42 > P. 1:501", "+.50 > P. 1:501"),
    ("rto-backoff", "+.42 > P. 1:501", "+.34 > P. 1:501"),
    ("zero-window-probe", "+.21 > . 0:0(0)", "+.21 > . 1:1(0)"),
    ("zero-window-probe", "tcpi_backoff == 2", "tcpi_backoff == 1"),
    ("congestion-control", "== (1, 5)", "== (1, 7)"),
    ("keepalive-abort", "+3 > R. 1:1(0) ack 1", "+3 > . 0:0(0) ack 1"),
    ("keepalive-abort", "-1 ETIMEDOUT", "-1 ECONNRESET"),
    ("reset-received", "-1 ECONNRESET", "0"),
    ("reset-closing-states", "tcpi_state == TCP_FIN_WAIT2", "tcpi_state == TCP_FIN_WAIT1"),
    ("reset-closing-states", "-1 EPIPE", "-1 ECONNRESET"),
    ("errors", "-1 ENOTCONN", "0"),
    ("errors", "> S 0:0(0) <...>", "> S. 0:0(0) ack 1 <...>"),
    ("ecn-sender", "> [ect0] P. 1:5001", "> [noecn] P. 1:5001"),
    ("ecn-negotiation", "> [noecn] SE.", "> [noecn] S."),
    ("time-wait-reuse", "S. 65539:65539(0) ack 3", "S. 65539:65539(0) ack 4"),
    ("paws", "SIOCINQ, [100]", "SIOCINQ, [200]"),
    ("paws", "TS val 810 ecr 1110", "TS val 810 ecr 900"),
    ("close-unread", "> R. 1:1(0)", "> F. 1:1(0)"),
    ("simultaneous-open", "> S. 0:0(0) ack 1", "> . 1:1(0) ack 1"),
    ("accept-overflow-drop", "> 8080 > 50003 S. 0:0(0) ack 1", "> 8080 > 50003 S. 0:0(0) ack 2"),
    ("linger-expires", "...1 close", "...1.2 close"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), WRONG)
def test_script_made_wrong_fails_on_that_line(
    tmp_path: Path, name: str, right: str, wrong: str
) -> None:
    text = (SCRIPTS / f"{name}.pkt").read_text()
    before, found, _ = text.partition(right)
    assert found, "the script has changed"
    path = tmp_path / f"{name}.pkt"
    path.write_text(text.replace(right, wrong, 1))
    result = run_file(path)
    assert (result.status, result.line) == ("fail", before.count("\n") + 1)
    assert "broke down" not in result.message


START = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("< . 1:1(0) ack 1 win 65536", "window 65536 out of range"),
        ("< . 1:1(0) ack 4294967296 win 1", "ack number 4294967296 out of range"),
        ("< . 4294967296:4294967297(1) ack 1 win 1", "sequence number 4294967296 out of range"),
        ("< P. 1:70001(70000) ack 1 win 1", "payload length 70000 out of range"),
        ("< P. 1:2(1) ack 1 win 1 urg 65536", "urgent pointer 65536 out of range"),
        ("< [tos 0x1ff] . 1:1(0) ack 1 win 1", "tos 511 out of range"),
        ("< 65536 > 8080 . 1:1(0) ack 1 win 1", "port 65536 out of range"),
        ("< . 1:1(0) ack 1 win 1 <nop,nop,TS val 4294967296 ecr 0>", "TS val 4294967296 out of"),
        ("< . 1:1(0) ack 1 win 1 <nop,nop,sack 1:4294967296>", "SACK edge 4294967296 out of"),
    ],
)
def test_number_that_does_not_fit_its_field_is_a_fault_of_the_script(
    tmp_path: Path, event: str, words: str
) -> None:
    path = tmp_path / "script.pkt"
    path.write_text(f"{START}+0 {event}\n")
    result = run_file(path)
    assert (result.status, result.line) == ("fail", 2)
    assert words in result.message


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("`sysctl -w net.ipv4.tcp_of_the_future 5`", "sysctl net.ipv4.tcp_of_the_future"),
        ("`tc qdisc shuffle dev tun0 root fq`", "command 'tc qdisc shuffle"),
        ("`ethtool -K tun0 gro`", "command 'ethtool -K tun0 gro'"),
        ("%{ x = 9 ** 9 ** 9 ** 9 }%", "Pow in code"),
        ("sendto(3, ..., 9, MSG_FASTOPEN, ..., ...) = 9", "MSG_FASTOPEN"),
        ("%{ x = 1 << 9000000000 }%", "LShift in code"),
    ],
)
def test_what_is_not_understood_is_unsupported_and_not_passed_over(
    tmp_path: Path, event: str, words: str
) -> None:
    path = tmp_path / "script.pkt"
    path.write_text(f"{START}+0 {event}\n")
    result = run_file(path)
    assert (result.status, result.line) == ("unsupported", 2)
    assert words in result.message


@pytest.mark.parametrize(
    "option", ["mtu=20", "bind_port=70000", "mss=-1", "tolerance_usecs=-5", "non_fatal=banana"]
)
def test_option_out_of_range_is_a_fault_of_the_script(tmp_path: Path, option: str) -> None:
    path = tmp_path / "script.pkt"
    path.write_text(f"--{option}\n{START}")
    result = run_file(path)
    assert (result.status, result.line) == ("fail", 1)
    assert f"bad --{option.partition('=')[0]}" in result.message
