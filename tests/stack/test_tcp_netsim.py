"""Two hosts, whole stack, bad wires: everything arrives, nothing hangs, nothing leaks."""

from __future__ import annotations

from typing import Any

import pytest
from tcp_netsim import both, client, echo_server, sink_and_source, transfer

from pystack.core.drop import Drop
from pystack.dev.wire import Impairment
from wire2app.netsim.net import SECOND, Net
from wire2app.netsim.peers import payload

CLEAN = Impairment()
KINDS = {
    "clean": CLEAN,
    "loss": Impairment(loss=0.03),
    "reorder": Impairment(reorder=0.1, hold=200_000),
    "duplicate": Impairment(duplicate=0.1),
    "corrupt": Impairment(corrupt=0.03),
    "all": Impairment(loss=0.02, duplicate=0.02, reorder=0.05, corrupt=0.01),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sack", [0, 1])
@pytest.mark.parametrize("timestamps", [0, 1])
def test_stream_survives(kind: str, sack: int, timestamps: int, seed: int) -> None:
    net = Net(
        seed,
        KINDS[kind],
        both(sysctl={"net.ipv4.tcp_sack": sack, "net.ipv4.tcp_timestamps": timestamps}),
    )
    transfer(net, 300_000)
    net.finish()


def test_same_seed_same_run(seed: int) -> None:
    def run() -> tuple[int, dict[str, int]]:
        net = Net(seed, KINDS["all"])
        transfer(net, 100_000)
        return net.engine.now, dict(net.hosts[0].kernel.mib)

    assert run() == run()


def test_lossless_transfer_retransmits_nothing(seed: int) -> None:
    net = Net(seed, CLEAN)
    transfer(net, 1 << 20)
    for host in net.hosts:
        assert host.kernel.mib["TcpRetransSegs"] == 0
        assert set(host.kernel.drops) <= {Drop.TCP_NO_SOCKET}  # the greeting of `Net`
    net.finish()


def test_sack_recovers_most_losses_without_a_timeout(seed: int) -> None:
    net = Net(seed, Impairment(loss=0.005), delay=1_000_000)
    transfer(net, 2 << 20)
    fast, slow = (
        sum(host.kernel.mib[name] for host in net.hosts)
        for name in ("TcpExtTCPFastRetrans", "TcpExtTCPTimeouts")
    )
    assert fast > 0
    assert slow < fast / 2


def test_many_connections_at_once_keep_their_streams_apart(seed: int) -> None:
    net = Net(seed, Impairment(loss=0.01), both(cpus=2))

    def serve(socket: Any, count: int) -> None:
        with socket.socket() as listener:
            listener.bind(("0.0.0.0", 80))
            listener.listen(64)
            conns = [listener.accept()[0] for _ in range(count)]
        for conn in conns:
            with conn:
                while data := conn.recv(5000):
                    conn.sendall(data)

    def ask(socket: Any, number: int) -> bytes:
        data = payload(5000, f"many/{number}")
        with socket.socket() as sk:
            sk.connect(("10.0.0.1", 80))
            sk.sendall(data)
            sk.shutdown(socket.SHUT_WR)
            got = b""
            while part := sk.recv(700):
                got += part
        return got

    server = net.hosts[0].process("server", serve, 30, cpu=1)
    clients = [net.hosts[1].process(f"c{n}", ask, n, cpu=n % 2) for n in range(30)]
    net.run(server, *clients)
    for number, process in enumerate(clients):
        assert process.result == payload(5000, f"many/{number}")
    net.finish()


def test_host_talks_to_itself_over_loopback(seed: int) -> None:
    net = Net(seed, CLEAN, both(cpus=2))
    host = net.hosts[0]
    server = host.process("server", sink_and_source, 200_000, seed)
    net.engine.run(until=net.engine.now + SECOND)
    other = host.process("client", client, 200_000, seed, cpu=1)
    net.run(server, other)
    net.finish()


def test_socket_connects_to_itself(seed: int) -> None:
    """Simultaneous open with oneself, as Linux allows."""
    net = Net(seed, CLEAN)

    def narcissus(socket: Any) -> bytes:
        with socket.socket() as sk:
            sk.bind(("10.0.0.1", 5555))
            sk.connect(("10.0.0.1", 5555))
            sk.sendall(b"echo")
            return bytes(sk.recv(10))

    process = net.hosts[0].process("narcissus", narcissus)
    net.run(process)
    assert process.result == b"echo"
    net.finish()


def test_echo_with_a_slow_reader_closes_and_opens_the_window(seed: int) -> None:
    net = Net(seed, CLEAN)

    def slow(socket: Any, size: int) -> int:
        """Reads only when nothing more can be sent."""
        data = memoryview(payload(size, "slow"))
        got = b""
        with socket.socket() as sk:
            sk.connect(("10.0.0.1", 80))
            sk.setblocking(False)
            sent = 0
            while len(got) < size:
                try:
                    while sent < size:
                        sent += sk.send(data[sent:])
                except BlockingIOError:
                    pass
                sk.setblocking(True)
                got += sk.recv(30_000)
                sk.setblocking(False)
        assert got == data
        return len(got)

    server = net.hosts[0].process("server", echo_server)
    process = net.hosts[1].process("slow", slow, 500_000)
    net.run(server, process)
    assert (server.result, process.result) == (500_000, 500_000)
    assert net.hosts[0].kernel.mib["TcpExtTCPToZeroWindowAdv"] >= 0
    net.finish()


def test_peer_that_vanishes_is_given_up_after_tcp_retries2(seed: int) -> None:
    net = Net(seed, CLEAN, both(sysctl={"net.ipv4.tcp_retries2": 5}))

    def send_for_ever(socket: Any) -> int:
        with socket.socket() as sk:
            sk.connect(("10.0.0.1", 80))
            try:
                while True:
                    sk.sendall(bytes(10_000))
            except OSError as exc:
                return exc.errno or 0

    net.hosts[0].process("server", echo_server)
    process = net.hosts[1].process("client", send_for_ever)
    net.engine.run(until=net.engine.now + SECOND // 1000)
    net.hosts[0].lo.dev.up = False
    net.hosts[0].core.devices["eth0"].up = False
    net.run(process)
    assert process.result in (110, 113)  # ETIMEDOUT, or EHOSTUNREACH if ARP noticed first
