"""TCP's progress keeps a neighbour reachable without questions (`dst_confirm`)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS
from scapy.layers.l2 import ARP, Ether
from stack.ipv6_wire import Net6

from pystack.link.neighbour import NudState

SECONDS = 80


def pause(sock: Any) -> None:
    """A second of the host's time."""
    sock.settimeout(1)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    sock.settimeout(None)


def questions(family: str, program: Any, answer: Any) -> tuple[int, set[NudState]]:
    """How often host a asked for b by unicast meanwhile, and the states its entry was in."""
    net = Net6()
    net.link("a", "b")
    net.up(a_b="fd00::1/64 10.0.0.1/24", b_a="fd00::2/64 10.0.0.2/24")
    net.run(5)
    a = net.hosts["a"]
    asked: list[bytes] = []
    states: set[NudState] = set()
    table = (a.arp if family == "10.0.0.2" else a.ipv6.ndisc).table

    def tap(dev: Any, skb: Any, outgoing: bool) -> None:
        frame = Ether(bytes(skb))
        question = ICMPv6ND_NS in frame or (ARP in frame and frame[ARP].op == 1)
        if outgoing and question and not int(frame.dst[1], 16) & 1:
            asked.append(bytes(skb))
        states.update(n.state for n in table.values())

    a.core.taps.append(tap)
    net.processes(("b", answer), ("a", program))
    return len([f for f in asked if Ether(f).dst != "ff:ff:ff:ff:ff:ff"]), states


@pytest.mark.parametrize("peer", ["10.0.0.2", "fd00::2"])
def test_connection_that_makes_progress_asks_for_nobody(peer: str) -> None:
    def serve(socket: Any) -> None:
        with socket.create_server((peer, 7), family=family(socket)) as listener:
            conn = listener.accept()[0]
            while conn.recv(1000):
                pass

    def family(socket: Any) -> Any:
        return socket.AF_INET6 if ":" in peer else socket.AF_INET

    def talk(socket: Any) -> None:
        with socket.create_connection((peer, 7)) as sock:
            for _ in range(SECONDS):
                sock.send(b"x")
                pause(sock)

    asked, states = questions(peer, talk, serve)
    assert asked == 0
    assert states <= {NudState.INCOMPLETE, NudState.REACHABLE}


def test_datagrams_confirm_nothing() -> None:
    def drain(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("10.0.0.2", 7))
            for _ in range(SECONDS):
                sock.recv(10)

    def talk(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(SECONDS):
                sock.sendto(b"x", ("10.0.0.2", 7))
                pause(sock)

    asked, states = questions("10.0.0.2", talk, drain)
    assert asked >= 2
    assert NudState.DELAY in states
