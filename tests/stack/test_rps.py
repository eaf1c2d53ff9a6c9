"""Receive packet steering: flows over CPUs, each in order, and to where its application is."""

from __future__ import annotations

from typing import Any

import pytest

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.flow import flow_hash
from pystack.core.skb import SkBuff
from pystack.dev.rps import Rps
from pystack.dev.wire import Link
from pystack.host import Host, finished

SECOND = 1_000_000_000
MAC, PEER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"


def segment(flow: int, number: int) -> bytes:
    """A UDP frame of a flow, numbered."""
    ip = bytes.fromhex("4500002e000000004011000001010101") + b"\2\2\2\2"
    udp = (1000 + flow).to_bytes(2, "big") + b"\0\x09\0\x1a\0\0"
    return (MAC + PEER + b"\x08\x00" + ip + udp + number.to_bytes(2, "big")).ljust(60, b"\0")


class Machine:
    """Four CPUs, one NIC whose interrupt is CPU 0's; what reaches the link layer is noted."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "h", cpus=4)
        link = Link(self.engine)
        self.far = link.b
        self.dev = self.host.add_softnic("eth0", MAC, link.a)
        self.seen: list[tuple[int, int, int]] = []  # CPU, flow, number
        self.host.core.register_link(self._deliver)
        self.engine.run(stop=finished(self.host.start(self.host.core.open, self.dev)))

    def _deliver(self, skb: SkBuff) -> None:
        port = int.from_bytes(skb.buf[skb.off + 34 : skb.off + 36], "big")
        number = int.from_bytes(skb.buf[skb.off + 42 : skb.off + 44], "big")
        self.seen.append((self.host.kernel.cpu.index, port - 1000, number))
        skb.free()

    def send(self, *flows_and_numbers: tuple[int, int]) -> None:
        for flow, number in flows_and_numbers:
            self.far.send(segment(flow, number))
        self.engine.run(until=self.engine.now + SECOND)


def test_flows_are_spread_and_each_stays_on_one_cpu_in_order() -> None:
    machine = Machine()
    machine.dev.rps = Rps(machine.host.core.softnet, range(4))
    machine.send(*[(flow, number) for number in range(10) for flow in range(64)])
    by_flow: dict[int, list[tuple[int, int]]] = {}
    for cpu, flow, number in machine.seen:
        by_flow.setdefault(flow, []).append((cpu, number))
    assert len(by_flow) == 64
    for seen in by_flow.values():
        assert len({cpu for cpu, _ in seen}) == 1
        assert [number for _, number in seen] == list(range(10))
    share = [sum(cpu == n for cpu, _, _ in machine.seen) for n in range(4)]
    assert sum(share) == 640 and min(share) > 60
    data = machine.host.core.softnet.data
    assert [d.processed for d in data] == share
    assert all(d.received_rps for d in data[1:]) and not data[0].received_rps
    assert machine.host.kernel.skbs_alive == 0


def test_without_rps_everything_stays_where_the_interrupt_came() -> None:
    machine = Machine()
    machine.send(*[(flow, 0) for flow in range(20)])
    assert {cpu for cpu, _, _ in machine.seen} == {0}


def test_only_the_cpus_named_are_used() -> None:
    machine = Machine()
    machine.dev.rps = Rps(machine.host.core.softnet, [1, 3])
    machine.send(*[(flow, 0) for flow in range(50)])
    assert {cpu for cpu, _, _ in machine.seen} == {1, 3}


def test_a_full_backlog_drops_and_counts() -> None:
    machine = Machine()
    machine.host.kernel.sysctl["net.core.netdev_max_backlog"] = 4
    machine.dev.rps = Rps(machine.host.core.softnet, [2])
    machine.send(*[(1, number) for number in range(200)])
    dropped = machine.host.kernel.drops[Drop.DEV_BACKLOG_FULL]
    assert dropped == machine.host.core.softnet.data[2].dropped > 0
    assert len(machine.seen) + dropped == 200
    assert machine.host.kernel.skbs_alive == 0


def test_a_flow_follows_its_application_but_not_past_its_queued_packets() -> None:
    machine = Machine()
    kernel, softnet = machine.host.kernel, machine.host.core.softnet
    kernel.sysctl["net.core.rps_sock_flow_entries"] = 1024
    machine.dev.rps = Rps(softnet, range(4), flow_entries=256)
    skb = SkBuff(kernel, memoryview(segment(5, 0)))
    machine.send((5, 0))
    at_first = machine.seen[-1][0]
    hash_ = flow_hash(skb)
    skb.free()
    wanted = (at_first + 1) % 4 or 1
    kernel.sock_flows.record(hash_, wanted)
    machine.send((5, 1))
    assert machine.seen[-1] == (wanted, 5, 1)
    elsewhere = 3 if wanted != 3 else 2
    softnet.data[wanted].head -= 1  # as if its last packet were still queued there
    kernel.sock_flows.record(hash_, elsewhere)
    machine.send((5, 2))
    assert machine.seen[-1] == (wanted, 5, 2)
    softnet.data[wanted].head += 1
    machine.send((5, 3))
    assert machine.seen[-1] == (elsewhere, 5, 3)


@pytest.mark.parametrize("entries", [0, 4096])
def test_rfs_takes_a_connection_to_the_cpu_of_its_reader(entries: int) -> None:
    engine = VirtualEngine()
    server, client = Host(engine, "server", cpus=4), Host(engine, "client")
    link = Link(engine)
    for n, (host, port) in enumerate(((server, link.a), (client, link.b)), 1):
        dev = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, n]), port)
        engine.run(stop=finished(host.start(host.up, dev, f"10.0.0.{n}/24")))
    softnet = server.core.softnet
    server.kernel.sysctl["net.core.rps_sock_flow_entries"] = entries
    server.core.devices["eth0"].rps = Rps(softnet, [1], flow_entries=entries)

    def serve(socket: Any) -> int:
        with socket.create_server(("", 80)) as listener:
            conn, _ = listener.accept()
            total = 0
            while data := conn.recv(4096):
                total += len(data)
            return total

    def give(socket: Any) -> None:
        with socket.create_connection(("10.0.0.1", 80)) as conn:
            for _ in range(200):
                conn.sendall(bytes(1000))

    processes = server.process("server", serve, cpu=3), client.process("client", give)
    engine.run(until=20 * SECOND, stop=lambda: not any(p.alive for p in processes))
    assert processes[0].result == 200_000
    on_reader, on_default = softnet.data[3].processed, softnet.data[1].processed
    assert on_reader > 5 * on_default if entries else on_reader == 0


def test_bad_settings_are_refused() -> None:
    softnet = Host(VirtualEngine(), "h", cpus=2).core.softnet
    for cpus, entries in (([], 0), ([0, 2], 0), ([0], 3)):
        with pytest.raises(ValueError):
            Rps(softnet, cpus, entries)
