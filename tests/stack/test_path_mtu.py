"""Path MTU discovery (RFC 1191), and what becomes of TCP when a router keeps silent (RFC 2923)."""

from __future__ import annotations

from typing import Any

import pytest
from router import B, Net, ip4, mac
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.net.hooks import Hook, HookState, Verdict

SIZE = 60_000
DATA = bytes(i * 7 & 255 for i in range(SIZE))


@pytest.fixture
def net() -> Net:
    return Net()


class Transfer:
    """From a to b through the router, once more after `again` seconds; `got` is what b has read."""

    def __init__(self, net: Net, data: bytes = DATA, again: int = 0) -> None:
        self.net = net
        self.got = bytearray()
        self.error: BaseException | None = None

        def server(socket: Any) -> None:
            with socket.create_server((B, 80)) as listener:
                conn, _ = listener.accept()
                while data := conn.recv(65536):
                    self.got.extend(data)

        def client(socket: Any) -> None:
            with socket.create_connection((B, 80)) as conn:
                conn.sendall(data)
                if again:
                    conn.settimeout(again)
                    with pytest.raises(TimeoutError):
                        conn.recv(1)
                    conn.sendall(data)

        net.process(net.b, server)
        net.run(1)
        self.client = net.process(net.a, client)

    @property
    def sizes(self) -> list[int]:
        """Of TCP's packets that reached b's link."""
        frames = [Ether(f)[IP] for f in self.net.frames["b"] if f[6:12] == mac(3) and f[23] == 6]
        return [packet.len for packet in frames]


def silence(net: Net) -> None:
    """The router tells nobody why it drops: a firewall against ICMP."""

    def drop_errors(skb: SkBuff, state: HookState) -> Verdict:
        return Verdict.DROP if skb.protocol == 1 else Verdict.ACCEPT

    net.r.ipv4.hooks.register(Hook.LOCAL_OUT, 0, drop_errors)


def test_a_router_that_speaks_costs_a_round_trip(net: Net) -> None:
    net.r1.mtu = 1000
    transfer = Transfer(net)
    net.run(1000)
    assert bytes(transfer.got) == DATA
    assert max(transfer.sizes) == 1000
    assert net.r.kernel.mib["IcmpOutDestUnreachs"] >= 1


def test_in_a_black_hole_tcp_gets_nowhere_by_default(net: Net) -> None:
    net.r1.mtu = 1000
    silence(net)
    transfer = Transfer(net)
    net.run(100_000)
    assert transfer.got == b""
    assert net.r.kernel.drops[Drop.IP_TOO_BIG] > 5


@pytest.mark.parametrize(("mtu", "first"), [(1100, 1076), (1000, 564), (300, 180)])
def test_tcp_mtu_probing_goes_down_until_something_gets_through(mtu: int, first: int) -> None:
    """From tcp_base_mss of 1024 by halves; 12 bytes of timestamps and 40 of headers come on top."""
    net = Net()
    net.r1.mtu = mtu
    net.a.kernel.sysctl.write("net.ipv4.tcp_mtu_probing", "1")
    silence(net)
    transfer = Transfer(net)
    net.run(200_000)
    assert bytes(transfer.got) == DATA
    assert first in transfer.sizes
    assert max(transfer.sizes) <= mtu


@pytest.mark.parametrize(("mtu", "failures"), [(1500, 0), (1100, 4)])
def test_tcp_mtu_probing_2_searches_upward_until_the_path_is_full(mtu: int, failures: int) -> None:
    """From tcp_base_mss on by halves of what is left, to within tcp_probe_threshold.  A probe that
    is lost costs a retransmission, but no timeout."""
    net = Net()
    net.r1.mtu = mtu
    net.a.kernel.sysctl.write("net.ipv4.tcp_mtu_probing", "2")
    silence(net)
    transfer = Transfer(net, DATA * 10)
    net.run(200_000)
    assert bytes(transfer.got) == DATA * 10
    assert transfer.sizes[2:6] == [1076] * 4
    assert mtu - 8 < max(transfer.sizes) <= mtu
    mib = net.a.kernel.mib
    assert mib["TcpExtTCPMTUPFail"] == failures
    assert mib["TcpExtTCPMTUPSuccess"] >= 2
    assert mib["TcpExtTCPTimeouts"] == 0


def test_after_tcp_probe_interval_the_search_begins_again() -> None:
    net = Net()
    net.r1.mtu = 1100
    sysctl = net.a.kernel.sysctl
    sysctl.write("net.ipv4.tcp_mtu_probing", "2")
    sysctl.write("net.ipv4.tcp_probe_interval", "30")
    silence(net)
    transfer = Transfer(net, DATA * 10, again=31)
    net.run(30_000)
    assert max(transfer.sizes) <= 1100
    net.r1.mtu = 1500
    net.run(100_000)
    assert bytes(transfer.got) == DATA * 20
    assert max(transfer.sizes) > 1492


def test_the_floor_of_probing_is_kept(net: Net) -> None:
    net.r1.mtu = 300
    net.a.kernel.sysctl.write("net.ipv4.tcp_mtu_probing", "1")
    net.a.kernel.sysctl.write("net.ipv4.tcp_mtu_probe_floor", "400")
    silence(net)
    transfer = Transfer(net)
    net.run(200_000)
    assert transfer.got == b""


def test_a_connection_that_lives_when_the_report_expires_sends_more_again(net: Net) -> None:
    net.r1.mtu = 1000

    def server(socket: Any) -> None:
        with socket.create_server((B, 80)) as listener:
            conn, _ = listener.accept()
            while conn.recv(65536):
                pass

    def client(socket: Any) -> None:
        with socket.create_connection((B, 80)) as conn:
            conn.sendall(DATA)
            conn.settimeout(620)
            with pytest.raises(TimeoutError):
                conn.recv(1)
            conn.settimeout(None)
            conn.sendall(DATA)

    serving = net.process(net.b, server)
    net.run(1)
    sending = net.process(net.a, client)
    net.run(600_000)
    net.r1.mtu = 1500
    net.frames["b"].clear()
    net.wait(sending, serving)
    frames = [Ether(f)[IP] for f in net.frames["b"] if f[6:12] == mac(3) and f[23] == 6]
    assert max(packet.len for packet in frames) == 1500


def test_another_socket_to_the_host_knows_the_mtu_at_once(net: Net) -> None:
    net.r1.mtu = 1000
    Transfer(net)
    net.run(1000)
    before = net.r.kernel.mib["IcmpOutDestUnreachs"]

    def server(socket: Any) -> None:
        with socket.create_server((B, 81)) as listener:
            conn, _ = listener.accept()
            while conn.recv(65536):
                pass

    def client(socket: Any) -> None:
        with socket.create_connection((B, 81)) as conn:
            conn.sendall(DATA)

    serving = net.process(net.b, server)
    net.run(1)
    net.wait(net.process(net.a, client), serving)
    assert net.r.kernel.mib["IcmpOutDestUnreachs"] == before
    assert net.a.ipv4.route(ip4(B)).mtu == 1000


def test_a_report_about_what_is_not_in_flight_is_not_believed(net: Net) -> None:
    Transfer(net)
    net.run(1000)
    quoted = IP(src="10.1.0.2", dst=B, proto=6) / (b"\x80\x00\x00\x50" + b"\xff" * 4)
    net.inject(
        net.a,
        net.a0,
        IP(src="6.6.6.6", dst="10.1.0.2") / ICMP(type=3, code=4, nexthopmtu=600) / quoted,
    )
    assert net.a.ipv4.route(ip4(B)).mtu == 1500
