"""Bridges and VLAN devices, between namespaces of one host and over wires."""

from __future__ import annotations

from typing import Any

import pytest

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link, Tapped
from pystack.host import Host, NetNamespace, finished
from pystack.link.bridge import AGEING, Bridge
from pystack.uapi.process import Process

SECOND = 1_000_000_000
BROADCAST = b"\xff" * 6


def mac(n: int) -> bytes:
    return bytes([2, 0, 0, 0, 2, n])


def serve(socket: Any) -> str:
    with socket.create_server(("", 80)) as listener:
        conn, peer = listener.accept()
        with conn:
            conn.sendall(conn.recv(5000).upper())
            return str(peer[0])


def ask(socket: Any, address: str) -> bytes:
    with socket.create_connection((address, 80)) as conn:
        conn.sendall(b"hello")
        return bytes(conn.recv(100))


def run(engine: VirtualEngine, *processes: Process) -> list[Any]:
    engine.run(until=engine.now + 10 * SECOND, stop=lambda: not any(p.alive for p in processes))
    assert [p.exit_status for p in processes] == [0] * len(processes), processes
    return [p.result for p in processes]


class Switch:
    """A host whose bridge `br0`, 10.0.0.254, joins `pods` namespaces 10.0.0.1, .2, ..."""

    def __init__(self, pods: int = 3) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "node")
        self.bridge = self.host.add_bridge("br0", mac(254))
        self.pods = [self.host.add_namespace(f"pod{n}") for n in range(1, pods + 1)]
        self.ports: list[NetDevice] = []
        self.up(self.host, self.bridge.dev, "10.0.0.254/24")
        for n, pod in enumerate(self.pods, 1):
            port, inside = self.host.add_veth(f"veth{n}", mac(100 + n), pod, "eth0", mac(n))
            self.bridge.add_port(port)
            self.ports.append(port)
            self.engine.run(stop=finished(self.host.start(self.host.core.open, port)))
            self.up(pod, inside, f"10.0.0.{n}/24")

    def up(self, namespace: NetNamespace, dev: NetDevice, interface: str) -> None:
        self.engine.run(stop=finished(namespace.start(namespace.up, dev, interface)))

    def talk(self, client: NetNamespace, server: NetNamespace, address: str) -> str:
        processes = server.process("server", serve), client.process("client", ask, address)
        seen, answer = run(self.engine, *processes)
        assert answer == b"HELLO"
        return str(seen)


def test_a_bridge_joins_its_ports_and_the_host() -> None:
    switch = Switch()
    one, two, _ = switch.pods
    assert switch.talk(one, two, "10.0.0.2") == "10.0.0.1"
    assert switch.talk(one, switch.host, "10.0.0.254") == "10.0.0.1"
    assert switch.talk(switch.host, two, "10.0.0.2") == "10.0.0.254"


def test_a_bridge_learns_where_addresses_are() -> None:
    switch = Switch()
    one, two, third = switch.pods
    switch.talk(one, two, "10.0.0.2")
    assert {m: e.port.name for m, e in switch.bridge.fdb.items()} == {
        mac(1): "veth1",
        mac(2): "veth2",
    }
    seen = third.core.devices["eth0"].stats.rx_packets
    assert seen == 1  # the ARP request, which was for all
    switch.talk(one, two, "10.0.0.2")
    assert third.core.devices["eth0"].stats.rx_packets == seen


def test_an_address_not_heard_of_for_long_is_unknown_again() -> None:
    switch = Switch()
    one, two, third = switch.pods
    switch.talk(one, two, "10.0.0.2")
    switch.engine.run(until=switch.engine.now + 2 * AGEING)
    before = third.core.devices["eth0"].stats.rx_packets
    switch.talk(two, one, "10.0.0.1")
    assert third.core.devices["eth0"].stats.rx_packets > before
    assert set(switch.bridge.fdb) == {mac(1), mac(2)}


class Station:
    """A host that puts raw frames on a wire to a bridge port and keeps what comes back."""

    def __init__(self, engine: VirtualEngine) -> None:
        link = Link(engine)
        self.engine = engine
        self.port = link.a
        self.far = link.b
        self.got: list[bytes] = []
        self.far.on_receive(lambda frame, start, end: self.got.append(frame))

    def send(self, dst: bytes, src: bytes, text: bytes = b"x", ethertype: int = 0x88B5) -> None:
        self.far.send((dst + src + ethertype.to_bytes(2, "big") + text).ljust(60, b"\0"))
        self.engine.run(until=self.engine.now + 1_000_000)


class Wires:
    """A bridge with three software NICs, each wired to a station."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "node")
        self.bridge: Bridge = self.host.add_bridge("br0", mac(254))
        self.stations = [Station(self.engine) for _ in range(3)]
        self.open(self.bridge.dev)
        for n, station in enumerate(self.stations, 1):
            dev = self.host.add_softnic(f"eth{n}", mac(100 + n), station.port)
            self.bridge.add_port(dev)
            self.open(dev)

    def open(self, dev: NetDevice) -> None:
        self.engine.run(stop=finished(self.host.start(self.host.core.open, dev)))

    def got(self) -> list[int]:
        return [len(s.got) for s in self.stations]


def test_unknown_and_group_addresses_go_everywhere_else() -> None:
    wires = Wires()
    wires.stations[0].send(mac(77), mac(1))
    assert wires.got() == [0, 1, 1]
    wires.stations[0].send(BROADCAST, mac(1))
    assert wires.got() == [0, 2, 2]
    assert wires.stations[1].got == wires.stations[2].got
    assert wires.bridge.dev.stats.rx_packets == 1  # the broadcast is the host's, too
    wires.stations[2].send(mac(1), mac(3))
    assert wires.got() == [1, 2, 2]
    assert wires.host.kernel.skbs_alive == 0


def test_what_a_bridge_must_not_pass_on_is_counted() -> None:
    wires = Wires()
    first = wires.stations[0]
    first.send(mac(9), mac(1))
    drops = wires.host.kernel.drops
    first.send(mac(1), mac(5))  # from the port behind which it is
    first.send(mac(9), BROADCAST)  # nobody is everybody
    first.send(bytes.fromhex("0180c2000000"), mac(1))  # a spanning tree's
    assert wires.got() == [0, 1, 1]
    assert drops[Drop.BRIDGE_SAME_PORT] == drops[Drop.BRIDGE_BAD_SOURCE] == 1
    assert drops[Drop.ETH_UNKNOWN_PROTOCOL] == 1
    assert wires.host.kernel.skbs_alive == 0


def test_a_port_has_one_master() -> None:
    wires = Wires()
    port = wires.bridge.ports[0]
    other = wires.host.add_bridge("br1", mac(253))
    with pytest.raises(OSError, match="busy"):
        other.add_port(port)
    wires.bridge.remove_port(port)
    other.add_port(port)
    with pytest.raises(OSError, match="Invalid argument"):
        other.add_port(wires.host.lo.dev)


# -- VLAN devices --------------------------------------------------------------------------


class Trunk:
    """Two hosts on one wire, with VLANs 5 and 6 of it; `frames` is what is on the wire."""

    def __init__(self, delay: int = 500) -> None:
        self.engine = VirtualEngine()
        self.frames: list[bytes] = []
        link = Link(self.engine, delay=delay)
        tapped = Tapped(link.a, self.engine, lambda d, frame, *_: self.frames.append(frame))
        self.left, self.right = Host(self.engine, "left"), Host(self.engine, "right")
        self.real = [
            self.left.add_softnic("eth0", mac(1), tapped),
            self.right.add_softnic("eth0", mac(2), link.b),
        ]
        for n, (host, real) in enumerate(zip((self.left, self.right), self.real, strict=True), 1):
            self.do(host, host.up, real, f"10.0.0.{n}/24")
            for vid in (5, 6):
                self.do(host, host.up, host.add_vlan(real, vid), f"10.0.{vid}.{n}/24")

    def do(self, host: Host, fn: Any, *args: Any) -> None:
        self.engine.run(stop=finished(host.start(fn, *args)))


@pytest.mark.parametrize("vid", [0, 5, 6])
def test_each_vlan_is_a_network_of_its_own(vid: int) -> None:
    trunk = Trunk()
    server = trunk.right.process("server", serve)
    client = trunk.left.process("client", ask, f"10.0.{vid}.2")
    assert run(trunk.engine, server, client) == [f"10.0.{vid}.1", b"HELLO"]
    tags = {frame[12:16].hex() if frame[12:14] == b"\x81\x00" else "" for frame in trunk.frames}
    assert tags == ({f"8100{vid:04x}"} if vid else {""})
    trunk.engine.run(until=trunk.engine.now + SECOND)
    assert trunk.left.kernel.skbs_alive == trunk.right.kernel.skbs_alive == 0


def test_full_frames_have_room_for_the_tag() -> None:
    trunk = Trunk()

    def take(socket: Any) -> int:
        with socket.create_server(("", 80)) as listener:
            conn, _ = listener.accept()
            total = 0
            while data := conn.recv(1 << 16):
                total += len(data)
            return total

    def give(socket: Any) -> None:
        with socket.create_connection(("10.0.5.2", 80)) as conn:
            conn.sendall(bytes(100_000))

    processes = trunk.right.process("server", take), trunk.left.process("client", give)
    assert run(trunk.engine, *processes)[0] == 100_000
    assert max(map(len, trunk.frames)) == 1518


def test_an_unknown_vlan_is_nobodys_and_a_tag_of_vlan_0_is_only_a_priority() -> None:
    engine = VirtualEngine()
    station = Station(engine)
    host = Host(engine, "h")
    dev = host.add_softnic("eth0", mac(1), station.port)
    engine.run(stop=finished(host.start(host.up, dev, "10.0.0.1/24")))
    host.add_vlan(dev, 5)
    arp = bytes.fromhex("0001080006040001") + mac(9) + bytes([10, 0, 0, 9]) + bytes(6)
    request = b"\x08\x06" + arp + bytes([10, 0, 0, 1])
    station.send(BROADCAST, mac(9), b"\x00\x07" + request, ethertype=0x8100)
    assert not station.got and host.kernel.drops[Drop.ETH_UNKNOWN_PROTOCOL] == 1
    station.send(BROADCAST, mac(9), b"\x00\x05" + request, ethertype=0x8100)
    assert not station.got and host.kernel.drops[Drop.DEV_DOWN] == 1
    station.send(BROADCAST, mac(9), b"\xa0\x00" + request, ethertype=0x8100)
    assert len(station.got) == 1 and station.got[0][12:14] == b"\x08\x06"


def test_groups_wanted_on_a_vlan_are_wanted_of_the_real_device() -> None:
    trunk = Trunk()
    real, vlan = trunk.real[0], trunk.left.core.devices["eth0.5"]
    group = bytes.fromhex("01005e010203")
    vlan.mc_add(group)
    assert group in real.mc_list
    trunk.do(trunk.left, trunk.left.core.stop, vlan)
    assert group not in real.mc_list
    trunk.do(trunk.left, trunk.left.core.open, vlan)
    vlan.set_promiscuity(+1)
    assert group in real.mc_list and real.promiscuity == 1
    vlan.mc_del(group)
    vlan.set_promiscuity(-1)
    assert group not in real.mc_list and real.promiscuity == 0


@pytest.mark.parametrize("vid", [0, 4095, -1])
def test_an_impossible_vlan_is_refused(vid: int) -> None:
    trunk = Trunk()
    with pytest.raises(ValueError, match="not from 1 to 4094"):
        trunk.left.add_vlan(trunk.real[0], vid)


def test_a_vlan_exists_once_on_a_device() -> None:
    trunk = Trunk()
    with pytest.raises(ValueError, match="eth0 has VLAN 5 already"):
        trunk.left.add_vlan(trunk.real[0], 5)
