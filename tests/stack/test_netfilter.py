"""Connection tracking and NAT in a router between two hosts: what the comparison with Linux, which
sees one packet at a time, does not show."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
from netfilter_world import Wired
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror
from scapy.layers.l2 import Ether

from pystack.core.drop import Drop
from pystack.host import Host

LINK = Ether(src="02:00:00:01:00:02", dst="02:00:00:01:00:01")


@pytest.fixture
def wired() -> Iterator[Wired]:
    """A router with two hosts; in the end nothing is left of any connection or packet."""
    world = Wired(2)
    yield world
    world.run(432_700)
    assert len(world.router.netfilter.conntrack) == 0
    assert world.router.netfilter.conntrack.connections == {}
    assert [host.kernel.skbs_alive for host in world.hosts] == [0, 0, 0]


def nic_port(host: Host) -> Any:
    """Where frames can be slipped onto a host's wire."""
    nic: Any = host.core.devices["eth0"].ops
    return nic.port


def receiver(nbytes: int) -> Any:
    def server(socket: Any) -> tuple[int, tuple[str, int]]:
        with socket.create_server(("", 8080)) as listener:
            conn, peer = listener.accept()
            with conn:
                got = 0
                while got < nbytes:
                    got += len(conn.recv(65536))
                conn.sendall(b"done")
            return got, peer

    return server


def sender(nbytes: int, to: tuple[str, int]) -> Any:
    def client(socket: Any) -> tuple[bytes, tuple[str, int]]:
        with socket.create_connection(to) as conn:
            conn.sendall(b"x" * nbytes)
            return conn.recv(100), conn.getpeername()

    return client


def test_masquerade_and_dnat_carry_a_transfer_that_gro_merges(wired: Wired) -> None:
    router, client, server = wired.hosts
    router.iptables("-t nat -A PREROUTING -d 10.0.1.1 -p tcp --dport 80 -j DNAT --to 10.0.2.2:8080")
    router.iptables("-t nat -A POSTROUTING -o eth2 -j MASQUERADE")
    (got, peer), (said, name) = wired.programs(
        (server, receiver(400_000)), (client, sender(400_000, ("10.0.1.1", 80)))
    )
    assert (got, peer[0], said, name) == (400_000, "10.0.2.1", b"done", ("10.0.1.1", 80))
    nic: Any = router.core.devices["eth1"].ops
    assert nic.napi.gro.merged > 10
    assert sum(router.kernel.drops.values()) == 0


def test_connections_of_a_device_that_goes_down_are_forgotten(wired: Wired) -> None:
    router, client, server = wired.hosts
    router.iptables("-t nat -A POSTROUTING -o eth2 -j MASQUERADE")
    wired.programs((server, receiver(10)), (client, sender(10, ("10.0.2.2", 8080))))
    assert len(router.netfilter.conntrack) == 1
    wired.run_tasks(router.start(router.down, router.core.devices["eth2"]))
    assert len(router.netfilter.conntrack) == 0


def test_port_clash_gets_another_port(wired: Wired) -> None:
    router, client, server = wired.hosts
    client.ipv4.add_address(client.core.devices["eth0"], "10.0.1.3/24")
    router.iptables("-t nat -A POSTROUTING -o eth2 -j SNAT --to-source 10.0.2.1")

    def ask(socket: Any) -> list[bytes]:
        answers = []
        for source in ("10.0.1.2", "10.0.1.3"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((source, 5555))
            sock.sendto(b"hello from " + source.encode(), ("10.0.2.2", 53))
            answers.append(sock.recv(100))
        return answers

    def echo(socket: Any) -> list[tuple[str, int]]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("", 53))
        peers = []
        for _ in range(2):
            data, peer = sock.recvfrom(100)
            sock.sendto(data, peer)
            peers.append(peer)
        return peers

    peers, answers = wired.programs((server, echo), (client, ask))
    assert answers == [b"hello from 10.0.1.2", b"hello from 10.0.1.3"]
    assert peers[0] == ("10.0.2.1", 5555)
    assert peers[1][0] == "10.0.2.1" and 1024 <= peers[1][1] != 5555


def test_full_table_gives_up_unanswered_connections_first(wired: Wired) -> None:
    router, client, _ = wired.hosts
    router.kernel.sysctl["net.netfilter.nf_conntrack_max"] = 3
    router.iptables("-A FORWARD -m conntrack --ctstate ESTABLISHED")

    def knock(socket: Any) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for port in range(9000, 9010):
            sock.sendto(b"x", ("10.0.2.99", port))

    wired.programs((client, knock))
    wired.run(0.1)
    conntrack = router.netfilter.conntrack
    assert (len(conntrack), conntrack.stats["early_drop"]) == (3, 7)
    for conn in conntrack:
        conn.status |= conn.status.ASSURED
    wired.programs((client, knock))
    wired.run(0.1)
    assert router.kernel.drops[Drop.CONNTRACK_TABLE_FULL] == 10


def test_udp_flow_becomes_a_stream_after_two_seconds(wired: Wired) -> None:
    router, client, server = wired.hosts
    router.iptables("-A FORWARD -m conntrack --ctstate ESTABLISHED")
    seen: list[str] = []

    def talk(socket: Any) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(1.5)
        for _ in range(3):
            sock.sendto(b"x", ("10.0.2.2", 53))
            sock.recv(10)
            seen.append(router.conntrack("-L"))
            with pytest.raises(TimeoutError):
                sock.recv(10)  # sleeps

    def echo(socket: Any) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("", 53))
        for _ in range(3):
            sock.sendto(*sock.recvfrom(10))

    wired.programs((server, echo), (client, talk))
    assert [line.split()[2] for line in seen] == ["29", "29", "119"]
    assert ["[ASSURED]" in line for line in seen] == [False, False, True]


def test_log_goes_to_the_kernels_log_and_a_tracepoint(wired: Wired) -> None:
    router, client, _ = wired.hosts
    router.iptables('-A INPUT -p tcp --syn -j LOG --log-prefix "new: " --log-level info')
    records: list[Any] = []
    router.kernel.trace.attach("nf_log", records.append)

    def client_program(socket: Any) -> int:
        sock = socket.socket()
        return int(sock.connect_ex(("10.0.1.1", 9)))

    assert wired.programs((client, client_program)) == [errno.ECONNREFUSED]
    ((_, level, line),) = router.kernel.dmesg
    assert level == 6 and [record["line"] for record in records] == [line]
    assert line.startswith(
        "new: IN=eth1 OUT= MAC=02:00:00:01:00:01:02:00:00:01:00:02:08:00 "
        "SRC=10.0.1.2 DST=10.0.1.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID="
    )
    assert " DF PROTO=TCP SPT=" in line and line.endswith("SYN URGP=0 ")


def test_fragments_are_tracked_as_one_packet_and_translated(wired: Wired) -> None:
    router, client, server = wired.hosts
    router.iptables("-t nat -A PREROUTING -d 10.0.1.1 -p udp -j DNAT --to-destination 10.0.2.2:53")

    def ask(socket: Any) -> bytes:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(("10.0.1.1", 7))
        sock.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: fragments are fine
        sock.send(bytes(range(256)) * 20)
        return bytes(sock.recv(10_000))

    def echo(socket: Any) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, 10, 0)
        sock.bind(("", 53))
        sock.sendto(*sock.recvfrom(10_000))

    _, answer = wired.programs((server, echo), (client, ask))
    assert answer == bytes(range(256)) * 20
    assert len(router.netfilter.conntrack) == 1


def test_packet_outside_the_window_is_invalid(wired: Wired) -> None:
    router, client, server = wired.hosts
    router.iptables("-A FORWARD -m conntrack --ctstate INVALID -j DROP")

    def serve(socket: Any) -> bytes:
        with socket.create_server(("", 8080)) as listener:
            conn, _ = listener.accept()
            return bytes(conn.recv(10))

    def talk(socket: Any) -> None:
        sock = socket.create_connection(("10.0.2.2", 8080))
        sock.sendall(b"x")
        segments = [Ether(frame) for frame in wired.frames[1]]
        last = [p for p in segments if TCP in p and p[IP].src == "10.0.1.2"][-1]
        port = nic_port(client)
        for shift in (-200_000, 1, 200_000):
            segment = TCP(sport=last[TCP].sport, dport=8080, flags="A", ack=last[TCP].ack)
            segment.seq = (last[TCP].seq + shift) & 0xFFFFFFFF
            port.send(bytes(LINK / IP(src="10.0.1.2", dst="10.0.2.2") / segment / b"y"))

    wired.programs((server, serve), (client, talk))
    assert router.netfilter.conntrack.stats["invalid"] == 1  # too new
    assert router.kernel.drops[Drop.NETFILTER_DROP] == 1


def test_ping_through_masquerade_and_its_error_come_back(wired: Wired) -> None:
    router, client, _ = wired.hosts
    router.iptables("-t nat -A POSTROUTING -o eth2 -j MASQUERADE")
    port = nic_port(client)
    heard: list[Any] = []
    client.core.taps.append(lambda dev, skb, out: None if out else heard.append(Ether(bytes(skb))))
    for number in range(2):
        packet = IP(src="10.0.1.2", dst="10.0.2.2") / (
            ICMP(type=8, id=77, seq=1) if number == 0 else UDP(sport=77, dport=9)
        )
        port.send(bytes(LINK / packet))
        wired.run(0.1)
    reply, error = (p for p in heard if ICMP in p)
    assert (reply[IP].src, reply[ICMP].type, reply[ICMP].id) == ("10.0.2.2", 0, 77)
    assert (error[IP].src, error[ICMP].type, error[ICMP].code) == ("10.0.2.2", 3, 3)
    assert (error[IPerror].src, error[IPerror].dst) == ("10.0.1.2", "10.0.2.2")
