"""Backtick commands, code snippets, and the values of system calls."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from packetdrill import shell, tcpinfo
from packetdrill.commands import Commands
from packetdrill.config import Config, configure
from packetdrill.errors import ScriptFailure, ScriptSyntaxError, Unsupported
from packetdrill.machine import Machine
from packetdrill.parser import parse
from packetdrill.script import Command, Syscall
from packetdrill.session import Session
from packetdrill.snippet import Snippets
from packetdrill.values import Evaluator


@pytest.fixture
def session() -> Session:
    config = Config()
    return Session(config, Machine(config), Evaluator({"SIZE": "9", "WORD": '"reno"'}))


def run(session: Session, text: str, directory: Path = Path()) -> None:
    Commands(session, directory).run(Command(text, 10))


def test_shell_splits_words_lines_and_redirections() -> None:
    commands = shell.split(
        'a x="1 $((2*(3+4)))" > /dev/null 2>&1 && b  # note\n\\\n c -q || d | e >> f'
    )
    assert [(c.words, c.line, c.output) for c in commands] == [
        (("a", "x=1 14"), 0, "1"),
        (("b",), 0, ""),
        (("c", "-q"), 1, ""),
        (("d",), 1, ""),
        (("e",), 1, "f"),
    ]


def test_sysctls_are_set_by_every_way_scripts_know(session: Session) -> None:
    sysctl = session.machine.host.kernel.sysctl
    run(session, "sysctl -q net.ipv4.tcp_sack=0 net/ipv4/tcp_timestamps=0")
    run(session, '../common/set_sysctls.py /proc/sys/net/ipv4/tcp_wmem="4096 50000 $((1*9999))"')
    assert (sysctl["net.ipv4.tcp_sack"], sysctl["net.ipv4.tcp_timestamps"]) == (0, 0)
    assert sysctl.vector("net.ipv4.tcp_wmem") == (4096, 50000, 9999)


def test_unknown_sysctl_is_unsupported_with_its_line_but_noted_in_defaults(
    session: Session, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match=r"net\.ipv4\.nothing") as info:
        run(session, "true\nsysctl -q net.ipv4.nothing=1")
    assert info.value.line == 11
    (tmp_path / "defaults.sh").write_text("#!/bin/sh\nsysctl -q net.ipv4.nothing=1\n")
    run(session, "./defaults.sh", tmp_path)
    assert len(session.notes) == 1 and "net.ipv4.nothing" in session.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "reboot",
        "./absent.sh",
        "tc qdisc replace dev tun0 root htb",
        "ip link set tun0 down",
        "ethtool -K tun0 sorcery on",
        "echo 1 > /sys/module/tcp_x/parameters/y",
        "sysctl -q a='",
    ],
)
def test_what_is_not_understood_is_unsupported(session: Session, text: str) -> None:
    with pytest.raises(Unsupported) as info:
        run(session, text)
    assert info.value.line == 10


def test_qdisc_limit_is_the_length_of_the_queue(session: Session) -> None:
    run(session, "tc qdisc delete dev tun0 root 2>/dev/null ; tc qdisc add dev tun0 root pfifo")
    run(session, "tc qdisc replace dev tun0 root pfifo limit 0")
    assert session.machine.device.tx_queue_len == 0
    run(session, "tc qdisc delete dev tun0 root")
    assert session.machine.device.tx_queue_len == 1000


def test_script_options_change_the_configuration() -> None:
    script = parse(
        "--tolerance_usecs=9000\n--mss=800\n--local_ip=192.168.0.9\n--define=A=B\n0 close(3) = 0"
    )
    config = configure(Config(), script.options)
    assert (config.tolerance, config.mss, config.local) == (9_000_000, 800, "192.168.0.9")
    assert config.defines["A"] == "B"
    with pytest.raises(ScriptSyntaxError, match="bad --mss"):
        configure(Config(), (("mss", "many"),))
    with pytest.raises(Unsupported, match="wire_client"):
        configure(Config(), (("wire_client", "x"),))


def test_expressions_have_linux_values() -> None:
    evaluator = Evaluator({"SIZE": "9", "WORD": '"reno"'})
    action = (
        parse('0 f(SOL_TCP, O_RDWR|O_NONBLOCK, [SIZE], WORD, {events=EPOLLIN, fd=4}, "a\\0") = 0')
        .events[0]
        .action
    )
    assert isinstance(action, Syscall)
    values = [evaluator.value(arg) for arg in action.args]
    assert values == [6, 0o4002, [9], b"reno", {"events": 1, "fd": 4}, b"a\0"]
    with pytest.raises(ScriptFailure, match="unknown symbol: 'SO_WHAT'"):
        evaluator.integer_of("SO_WHAT")


class _Snippets(Snippets):
    """With data of the test's instead of a socket's."""

    values: dict[str, int]

    def _data(self) -> dict[str, int]:
        return self.values


def test_snippets_share_variables_and_name_the_wrong_assertion(session: Session) -> None:
    snippets = _Snippets(session)
    snippets.values = {"tcpi_snd_cwnd": 10}
    snippets.run("cwnd = tcpi_snd_cwnd; print(cwnd)")
    snippets.values = {"tcpi_snd_cwnd": 12}
    snippets.run("cwnd += 2; assert tcpi_snd_cwnd == cwnd, 'cwnd=%d' % cwnd")
    assert snippets.output == "10\n"
    with pytest.raises(ScriptFailure, match="assertion failed: 12") as info:
        snippets.run("assert tcpi_snd_cwnd == 99, tcpi_snd_cwnd")
    assert info.value.kind == "assert tcpi_snd_cwnd"
    with pytest.raises(Unsupported, match="tcpi_news"):
        snippets.run("assert tcpi_news == 1")


@pytest.mark.parametrize("text", ["import os", "().__class__", "lambda: 1", "x = [i for i in y]"])
def test_snippets_are_no_way_out(session: Session, text: str) -> None:
    with pytest.raises(Unsupported):
        _Snippets(session).run(text)


def test_tcp_info_has_linux_layout() -> None:
    data = bytearray(struct.calcsize("=8B24I4Q6I4Q2I2Q6I2HI"))
    data[0:8] = bytes((1, 3, 0, 0, 2, 7, 0x87, 1))
    struct.pack_into("=I", data, 8 + 4 * 18, 42)  # snd_cwnd
    struct.pack_into("=Q", data, 168, 9_000_000_000)  # busy_time
    struct.pack_into("=I", data, 192, 77)  # delivered
    info = tcpinfo.parse(bytes(data))
    assert (info["tcpi_state"], info["tcpi_ca_state"], info["tcpi_backoff"]) == (1, 3, 2)
    assert (info["tcpi_snd_wscale"], info["tcpi_rcv_wscale"]) == (7, 8)
    assert (info["tcpi_snd_cwnd"], info["tcpi_busy_time"]) == (42, 9_000_000_000)
    assert info["tcpi_delivered"] == 77
    assert "tcpi_busy_time" not in tcpinfo.parse(bytes(data[:168]))
    assert tcpinfo.SYMBOLS["TCP_CLOSE"] == 7 and tcpinfo.SYMBOLS["TCP_CA_Recovery"] == 3
