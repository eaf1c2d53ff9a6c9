"""Many connections at once: one port with thousands of them, and clients amid a SYN flood."""

from __future__ import annotations

import itertools
from typing import Any

from tcp_netsim import both
from tcp_peer import Dialogue

from packetdrill import frames
from pystack.core.headers.tcp import TH_SYN
from pystack.core.skb import SkBuff
from pystack.dev.wire import Impairment
from pystack.host import finished
from pystack.transport.tcp import TcpState
from pystack.transport.tcp.sock import TcpSock
from wire2app.netsim.net import Net

MANY = 5000
FIRST_PORT = 2000


def test_five_thousand_connections_share_a_port_and_each_gets_its_own_data() -> None:
    t = Dialogue()
    listener = t.listen(backlog=MANY)
    connections: dict[int, TcpSock] = {}
    for port in range(FIRST_PORT, FIRST_PORT + MANY):
        t.rport, t.our_isn = port, None
        t.inject("S 0:0(0) win 5000 <mss 1460>")
        t.expect("S. 0:0(0) ack 1")
        t.inject(". 1:1(0) ack 1 win 5000")
        sk = t.call(listener.accept)
        assert (sk.lport, sk.rport, sk.state) == (8080, port, TcpState.ESTABLISHED)
        connections[port] = sk
    assert t.mib["TcpCurrEstab"] == MANY
    for port, sk in connections.items():
        t.rport, t.our_isn = port, sk.iss
        t.inject(". 1:5(4) ack 1", port.to_bytes(4, "big"))
    t.ip.sent.clear()
    assert {port: t.call(sk.recvmsg, 9, 0).data for port, sk in connections.items()} == {
        port: port.to_bytes(4, "big") for port in connections
    }
    # The listener is still the one that a stranger's SYN finds.
    t.rport, t.our_isn = FIRST_PORT - 1, None
    t.ip.sent.clear()
    t.inject("S 0:0(0) win 5000 <mss 1460>")
    t.expect("S. 0:0(0) ack 1")


CLIENTS = 10
FLOOD = 200  # SYNs of nobody before each client
LIMIT = 32  # of the listener's queues


def syn_of_nobody(number: int) -> bytes:
    """An Ethernet frame whose sender does not exist."""
    ip = frames.IpFields(4, bytes([10, 0, 0, 77]), bytes([10, 0, 0, 1]))
    tcp = frames.TcpFields(1024 + number, 80, number, 0, TH_SYN, 1000)
    addresses = bytes([2, 0, 0, 0, 0, 1]) + bytes([2, 0, 0, 0, 0, 2])
    return addresses + b"\x08\0" + frames.encode(frames.Frame(ip, tcp))


def flooded(cookies: int) -> tuple[int, dict[str, int]]:
    """How many of the clients that connect amid a flood of SYNs are served within two seconds, and
    the server's counters."""
    settings = {"net.ipv4.tcp_syncookies": cookies, "net.ipv4.tcp_max_syn_backlog": LIMIT}
    net = Net(1, Impairment(), both(sysctl=settings))
    numbers, served = itertools.count(), list[bytes]()

    def serve(socket: Any) -> None:
        with socket.socket() as listener:
            listener.bind(("0.0.0.0", 80))
            listener.listen(LIMIT)
            listener.settimeout(20)
            try:
                while True:
                    conn, _ = listener.accept()
                    with conn:
                        conn.sendall(conn.recv(100).upper())
            except TimeoutError:
                pass

    def flood() -> None:
        host = net.hosts[1]
        dev = next(dev for dev in host.core.devices.values() if not dev.loopback)
        for _ in range(FLOOD):
            skb = SkBuff(host.kernel, memoryview(syn_of_nobody(next(numbers))))
            skb.dev = dev
            host.core.queue_xmit(skb)

    def connect(socket: Any) -> None:
        with socket.socket() as sk:
            sk.settimeout(2)
            try:
                sk.connect(("10.0.0.1", 80))
            except TimeoutError:
                return
            sk.sendall(b"hello")
            served.append(sk.recv(100))

    server = net.hosts[0].process("server", serve)
    for _ in range(CLIENTS):
        net.engine.run(stop=finished(net.hosts[1].start(flood)))
        net.run(net.hosts[1].process("client", connect))
    net.run(server)
    assert set(served) <= {b"HELLO"}
    return len(served), dict(net.hosts[0].kernel.mib)


def test_clients_connect_amid_a_syn_flood_thanks_to_cookies() -> None:
    served, mib = flooded(cookies=1)
    assert served == CLIENTS
    assert mib["TcpExtSyncookiesRecv"] == CLIENTS
    assert mib["TcpExtSyncookiesSent"] >= CLIENTS * FLOOD - 2 * LIMIT


def test_without_cookies_a_syn_flood_keeps_clients_waiting() -> None:
    served, mib = flooded(cookies=0)
    assert served <= CLIENTS // 2
    assert mib["TcpExtListenDrops"] > CLIENTS * FLOOD // 2
