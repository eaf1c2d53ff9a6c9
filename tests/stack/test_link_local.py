"""Link-local addresses mean something on one link only: two links may have the same ones."""

from __future__ import annotations

from typing import Any

import pytest

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished

SECOND = 1_000_000_000
OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OUR_LL, THEIR_LL = "fe80::ff:fe00:1", "fe80::ff:fe00:2"


class TwoLinks:
    """`us` on two links, with the same MAC on both, as VLANs would have; `them`, one on each, have
    the same MAC as well.  Interface indexes of `us` are 2 and 3."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        self.us = Host(self.engine, "us")
        self.them = [Host(self.engine, "left"), Host(self.engine, "right")]
        tasks = []
        for number, them in enumerate(self.them):
            link = Link(self.engine)
            ours = self.us.add_softnic(f"eth{number}", OURS, link.a)
            tasks.append(self.us.start(self.us.up, ours, f"fd00:{number}::1/64"))
            theirs = them.add_softnic("eth0", THEIRS, link.b)
            tasks.append(them.start(them.up, theirs, f"fd00:{number}::2/64"))
        self.engine.run(until=5 * SECOND, stop=finished(*tasks))

    def run(self, *programs: tuple[Host, Any]) -> list[Any]:
        started = [host.process(fn.__name__, fn) for host, fn in programs]
        self.engine.run(
            until=self.engine.now + 20 * SECOND,
            stop=lambda: not any(process.alive for process in started),
        )
        for process in started:
            assert not process.tracebacks, process.tracebacks[0]
        return [process.result for process in started]


@pytest.fixture
def net() -> TwoLinks:
    return TwoLinks()


def ask(socket: Any) -> bytes:
    """From port 5000, so that on both links the two ends are called the same."""
    with socket.socket(socket.AF_INET6) as sk:
        sk.settimeout(5)
        sk.bind(("::", 5000))
        sk.connect((OUR_LL, 80, 0, 2))
        return sk.recv(100)


def test_the_same_peer_on_two_links_is_two_peers_to_a_listener(net: TwoLinks) -> None:
    def serve(socket: Any) -> list[Any]:
        with socket.create_server(("::", 80), family=socket.AF_INET6) as listener:
            both = [listener.accept() for _ in range(2)]
            for conn, address in both:
                conn.sendall(str(address[3]).encode())
                conn.close()
            return sorted(address for _, address in both)

    peers, left, right = net.run((net.us, serve), *((host, ask) for host in net.them))
    assert peers == [(THEIR_LL, 5000, 0, 2), (THEIR_LL, 5000, 0, 3)]
    assert (left, right) == (b"2", b"3")


def test_the_same_peer_on_two_links_can_be_connected_to_from_one_port(net: TwoLinks) -> None:
    def serve(socket: Any) -> None:
        with socket.create_server(("::", 80), family=socket.AF_INET6) as listener:
            listener.accept()[0].close()

    def connect(socket: Any) -> list[Any]:
        sockets = []
        for index in (2, 3):
            sk = socket.socket(socket.AF_INET6)
            sk.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sk.bind(("::", 5000))
            sk.connect((THEIR_LL, 80, 0, index))
            sockets.append(sk)
        return [sk.getpeername() for sk in sockets]

    peers, *_ = net.run((net.us, connect), *((host, serve) for host in net.them))
    assert peers == [(THEIR_LL, 80, 0, 2), (THEIR_LL, 80, 0, 3)]


def test_a_refusal_goes_back_where_the_segment_came_from(net: TwoLinks) -> None:
    def refused(socket: Any) -> str:
        with pytest.raises(ConnectionRefusedError):
            ask(socket)
        return "refused"

    assert net.run(*((host, refused) for host in net.them)) == ["refused"] * 2


def test_a_host_talks_to_its_own_link_local_address_as_linux_does(net: TwoLinks) -> None:
    """The packets go over `lo`, and are of the link that has the address."""

    def itself(socket: Any) -> list[Any]:
        with (
            socket.create_server(("::", 80), family=socket.AF_INET6) as listener,
            socket.socket(socket.AF_INET6) as sk,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
        ):
            sk.connect((OUR_LL, 80, 0, 2))
            udp.bind(("::", 9))
            udp.sendto(b"x", (OUR_LL, 9, 0, 2))
            return [listener.accept()[1][::3], sk.getpeername()[::3], udp.recvfrom(10)]

    (found,) = net.run((net.us, itself))
    assert found == [(OUR_LL, 2), (OUR_LL, 2), (b"x", (OUR_LL, 9, 0, 2))]
