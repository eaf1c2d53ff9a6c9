"""kube-proxy's real chains: a service address that only the client's socket ever sees."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from netfilter_world import Wired
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

RULES = (Path(__file__).parents[1] / "netfilter" / "kube-proxy.rules").read_text()
SERVICE = ("10.96.0.1", 80)
PODS = {"10.0.1.2", "10.0.2.2", "10.0.3.2"}


@pytest.fixture
def node() -> Iterator[Wired]:
    """A node, `router`, with three Pods behind links of their own; every entry ends in time."""
    wired = Wired(3)
    wired.router.iptables_restore(RULES)
    wired.router.ipv4.add_address(wired.router.lo.dev, "172.16.0.1/32")  # no Pod's: masqueraded
    wired.router.ipv4.add_route("default", "10.0.1.2", src="172.16.0.1")
    yield wired
    wired.run(432_100)
    assert len(wired.router.netfilter.conntrack) == 0
    assert [host.kernel.skbs_alive for host in wired.hosts] == [0] * 4


def serve(count: int) -> Any:
    def server(socket: Any) -> list[tuple[str, int]]:
        """Says who it is to each client until nobody has come for a while."""
        peers: list[tuple[str, int]] = []
        with socket.create_server(("", 8080)) as listener:
            listener.settimeout(count)
            while True:
                try:
                    conn, peer = listener.accept()
                except TimeoutError:
                    return peers
                with conn:
                    conn.sendall(conn.recv(100) + b" " + conn.getsockname()[0].encode())
                peers.append(peer)

    return server


def ask(count: int, to: tuple[str, int] = SERVICE) -> Any:
    def client(socket: Any) -> list[tuple[Any, str]]:
        answers = []
        for _ in range(count):
            with socket.create_connection(to) as conn:
                name = conn.getpeername()
                conn.sendall(b"hello from")
                answers.append((name, conn.recv(100).split()[-1].decode()))
        return answers

    return client


def addresses(frames: list[bytes]) -> set[str]:
    packets = [Ether(frame) for frame in frames]
    return {a for p in packets if IP in p for a in (p[IP].src, p[IP].dst)}


def test_rules_load_and_save_unchanged(node: Wired) -> None:
    lines = [line for line in RULES.splitlines() if not line.startswith("#")]
    assert node.router.iptables_save().splitlines() == lines


def test_client_sees_the_service_and_the_wire_a_pod(node: Wired) -> None:
    pods = [(host, serve(30)) for host in node.hosts[1:]]
    *_, answers = node.programs(*pods, (node.router, ask(45)))
    assert {name for name, _ in answers} == {SERVICE}
    share = Counter(pod for _, pod in answers)
    assert set(share) == PODS and min(share.values()) >= 7, share
    for number in (1, 2, 3):
        on_the_wire = addresses(node.frames[number])
        assert on_the_wire == {f"10.0.{number}.1", f"10.0.{number}.2"}
        packets = [Ether(frame) for frame in node.frames[number]]
        for packet in packets:
            if TCP in packet:
                assert 8080 in (packet[TCP].sport, packet[TCP].dport)


def test_pod_reaches_the_service_and_itself_through_it(node: Wired) -> None:
    pods = [(host, serve(30)) for host in node.hosts[1:]]
    peers, _, _, answers = node.programs(*pods, (node.hosts[1], ask(40)))
    assert {name for name, _ in answers} == {SERVICE}
    assert {pod for _, pod in answers} == PODS
    # The others see the Pod itself; it sees the node, so that its own answers go back there.
    assert {ip for ip, _ in peers} == {"10.0.1.1"}
    assert "10.96.0.1" in addresses(node.frames[1])
    assert addresses(node.frames[2]) == {"10.0.1.2", "10.0.2.2"}


def test_node_port_of_the_node_leads_to_the_pods(node: Wired) -> None:
    pods = [(host, serve(30)) for host in node.hosts[1:]]
    *_, answers = node.programs(*pods, (node.hosts[2], ask(30, ("10.0.2.1", 30080))))
    assert {name for name, _ in answers} == {("10.0.2.1", 30080)}
    assert {pod for _, pod in answers} == PODS


def test_service_without_pods_refuses(node: Wired) -> None:
    def client(socket: Any) -> int:
        with pytest.raises(OSError) as refused:
            socket.create_connection(("10.96.0.2", 80))
        return refused.value.errno or 0

    assert node.programs((node.router, client), (node.hosts[1], client)) == [
        errno.ECONNREFUSED,
        errno.ECONNREFUSED,
    ]


def test_connections_are_listed_as_the_tool_lists_them(node: Wired) -> None:
    pods = [(host, serve(3)) for host in node.hosts[1:]]
    node.programs(*pods, (node.router, ask(1)))
    (line,) = node.router.conntrack("-L").splitlines()
    words = line.split()
    assert words[0:2] == ["tcp", "6"] and words[3] == "TIME_WAIT"
    fields = [word.partition("=")[::2] for word in words if "=" in word]
    original, reply = dict(fields[:4]), dict(fields[4:8])
    assert (original["dst"], original["dport"]) == (*SERVICE[:1], "80")
    assert reply["src"] in PODS and reply["sport"] == "8080"
    assert words[-3:] == ["[ASSURED]", "mark=0", "use=1"]
