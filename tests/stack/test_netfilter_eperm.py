"""What a sender learns when its own firewall drops what it sends, on this machine and on ours."""

from __future__ import annotations

import socket as so
from typing import Any

import pytest
from both import Machine, both

ADDRESSES = {so.AF_INET: "127.0.0.1", so.AF_INET6: "::1"}


def _iptables(m: Machine, family: int, rule: str) -> None:
    printed = m.tool(("iptables " if family == so.AF_INET else "ip6tables ") + rule)
    assert printed == "", printed


def _sent(m: Machine, family: int, rule: str) -> dict[str, Any]:
    """To a port where `rule` applies, and to one where it does not."""
    address = ADDRESSES[family]
    _iptables(m, family, rule)
    with (
        m.socket.socket(family, so.SOCK_DGRAM) as server,
        m.socket.socket(family, so.SOCK_DGRAM) as sk,
    ):
        server.bind((address, 9))
        sk.connect((address, 9))
        found = {
            "sendto": m.outcome(sk.sendto, b"x", (address, 9)),
            "send": m.outcome(sk.send, b"x"),
            "corked": [m.outcome(sk.send, b"x", so.MSG_MORE), m.outcome(sk.send, b"y")],
            "another port": m.outcome(sk.sendto, b"x", (address, 10)),
        }
        server.settimeout(0.1)
        return found | {"received": m.outcome(server.recv, 10)}


@pytest.mark.parametrize("family", ADDRESSES)
@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -p udp --dport 9 -j DROP",
        "-t mangle -A POSTROUTING -p udp --dport 9 -j DROP",
        "-A OUTPUT -p udp --dport 9 -j REJECT",
    ],
)
def test_a_datagram_that_leaves_nowhere_is_eperm(family: int, rule: str) -> None:
    found = both(_sent, family, rule)
    assert found["sendto"] == "EPERM"


def test_what_input_drops_nobody_hears_of() -> None:
    found = both(_sent, so.AF_INET, "-A INPUT -p udp --dport 9 -j DROP")
    assert found["sendto"] == 1


def _raw(m: Machine) -> Any:
    _iptables(m, so.AF_INET, "-A OUTPUT -p icmp -j DROP")
    with m.socket.socket(so.AF_INET, so.SOCK_RAW, so.IPPROTO_ICMP) as sk:
        echo = bytes.fromhex("0800f7ff00000000")
        whole = bytes.fromhex("4500001c000040004001000000000000 7f000001") + echo
        found = [m.outcome(sk.sendto, echo, ("127.0.0.1", 0))]
        sk.setsockopt(so.IPPROTO_IP, so.IP_HDRINCL, 1)
        return [*found, m.outcome(sk.sendto, whole, ("127.0.0.1", 0))]


def test_a_raw_packet_is_eperm_too() -> None:
    assert both(_raw) == ["EPERM", "EPERM"]


def _stream(m: Machine) -> Any:
    _iptables(m, so.AF_INET, "-A OUTPUT -p tcp --dport 80 -j DROP")
    with m.socket.create_server(("127.0.0.1", 80)), m.socket.socket() as sk:
        sk.settimeout(0.3)
        return m.outcome(sk.connect, ("127.0.0.1", 80))


def test_tcp_goes_on_trying() -> None:
    assert "timed out" in both(_stream)
