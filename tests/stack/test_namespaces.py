"""Network namespaces: several stacks on one machine, joined by veth pairs."""

from __future__ import annotations

from typing import Any

import pytest

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.host import Host, NetNamespace, finished
from pystack.uapi.process import Process

SECOND = 1_000_000_000


def mac(n: int) -> bytes:
    return bytes([2, 0, 0, 0, 1, n])


class Pods:
    """A host with two namespaces, `one` at 10.0.0.1 and `two` at 10.0.0.2, joined by a pair."""

    def __init__(self, cpus: int = 1) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "host", cpus=cpus)
        self.one, self.two = self.host.add_namespace("one"), self.host.add_namespace("two")
        self.left, self.right = self.one.add_veth("eth0", mac(1), self.two, "eth0", mac(2))
        up = (
            self.one.start(self.one.up, self.left, "10.0.0.1/24"),
            self.two.start(self.two.up, self.right, "10.0.0.2/24"),
        )
        self.engine.run(stop=finished(*up))

    def run(self, *processes: Process) -> list[Any]:
        self.engine.run(
            until=self.engine.now + 10 * SECOND, stop=lambda: not any(p.alive for p in processes)
        )
        assert [p.exit_status for p in processes] == [0] * len(processes), processes
        return [p.result for p in processes]


def serve(socket: Any) -> tuple[bytes, tuple[str, int]]:
    with socket.create_server(("", 80)) as listener:
        conn, peer = listener.accept()
        with conn:
            data = conn.recv(100)
            conn.sendall(data.upper())
            return data, peer[0]


def ask(socket: Any, address: str) -> bytes:
    with socket.create_connection((address, 80)) as conn:
        conn.sendall(b"hello")
        return bytes(conn.recv(100))


@pytest.mark.parametrize("cpus", [1, 2])
def test_namespaces_talk_through_a_veth_pair(cpus: int) -> None:
    pods = Pods(cpus)
    server = pods.two.process("server", serve, cpu=cpus - 1)
    client = pods.one.process("client", ask, "10.0.0.2")
    assert pods.run(server, client) == [(b"hello", "10.0.0.1"), b"HELLO"]
    assert pods.left.stats.tx_packets == pods.right.stats.rx_packets > 0
    pods.engine.run(until=pods.engine.now + 120 * SECOND)
    for namespace in (pods.host, pods.one, pods.two):
        assert (namespace.kernel.skbs_alive, namespace.tcp.alive()) == (0, 0)


def test_a_namespace_has_its_own_sockets_settings_and_counters() -> None:
    pods = Pods()
    same = [
        namespace.process("server", serve) for namespace in (pods.host, pods.one, pods.two)
    ]  # one port in all three
    assert pods.run(same[2], pods.one.process("client", ask, "10.0.0.2"))[1] == b"HELLO"
    assert [p.alive for p in same] == [True, True, False]
    assert pods.two.kernel.mib["TcpPassiveOpens"] == 1
    assert pods.host.kernel.mib["TcpPassiveOpens"] == pods.one.kernel.mib["TcpPassiveOpens"] == 0
    pods.one.kernel.sysctl["net.ipv4.ip_default_ttl"] = 9
    assert pods.two.kernel.sysctl["net.ipv4.ip_default_ttl"] == 64
    assert len({p.pid for p in same}) == 3  # but process ids are the machine's


def test_no_way_leads_out_of_a_namespace_without_a_pair() -> None:
    pods = Pods()
    alone = pods.host.add_namespace("alone")

    def unreachable(socket: Any) -> str:
        try:
            ask(socket, "10.0.0.2")
        except OSError as error:
            return str(error.strerror)
        return "connected"

    assert pods.run(alone.process("client", unreachable)) == ["Network is unreachable"]


def test_what_is_sent_to_a_peer_that_is_down_is_counted() -> None:
    pods = Pods()
    pods.engine.run(stop=finished(pods.two.start(pods.two.down, pods.right)))

    def give_up(socket: Any) -> None:
        with pytest.raises(OSError, match="No route to host"):
            ask(socket, "10.0.0.2")

    pods.run(pods.one.process("client", give_up))
    assert pods.one.kernel.drops[Drop.DEV_DOWN] >= 3  # ARP requests


def test_a_namespace_has_one_name() -> None:
    host = Host(VirtualEngine(), "host")
    namespace: NetNamespace = host.add_namespace("pod")
    with pytest.raises(ValueError, match="network namespace pod exists"):
        host.add_namespace("pod")
    assert namespace.name == "host/pod"
