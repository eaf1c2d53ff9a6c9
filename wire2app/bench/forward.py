"""Forwarding of the shortest frames: the kernel's way against a queue in poll mode.

The modelled NIC gets them at 10 Gbit/s line rate, 14.88 million a second.  In the host's own time,
by `core/costs.py`, the figure is what one CPU forwards; by the wall, what the simulation manages.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from labs.forwarder import forward
from pystack.core.checksum import checksum
from pystack.core.engine import VirtualEngine
from pystack.core.headers.ethernet import ETH_P_IP, EthernetHeader
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_UDP, Ipv4Header
from pystack.dev.wire import Link
from pystack.host import Host, finished
from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict, ratio

FRAMES = 8000
OWN, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SOURCE, TARGET = bytes([10, 0, 0, 2]), bytes([10, 9, 0, 1])
SECOND = 1_000_000_000


class Forwarding(NamedTuple):
    """Frames a second of the host's time, and of the wall's."""

    simulated: float
    wall: float


def run(context: Context) -> TreeDict:
    frames = FRAMES // (4 if context.quick else 1)
    kernel, poll = ([way(frames) for _ in range(context.rounds)] for way in (by_kernel, by_polling))
    there, here = (Figure(tuple(f.simulated for f in found)) for found in (poll, kernel))
    return {
        "kernel_frames_per_s": here,
        "poll_frames_per_s": there,
        "poll_over_kernel": ratio(there.values, here.values),
        "kernel_wall_frames_per_s": Figure(tuple(f.wall for f in kernel)),
        "poll_wall_frames_per_s": Figure(tuple(f.wall for f in poll)),
    }


def by_kernel(frames: int) -> Forwarding:
    """Interrupt, NAPI, IP forwarding, and out by the same device."""
    bench = _Bench()

    def set_up() -> None:
        bench.host.up(bench.dev, "10.0.0.1/24")
        sysctl = bench.host.kernel.sysctl
        sysctl["net.ipv4.ip_forward"] = 1
        sysctl["net.ipv4.conf.all.send_redirects"] = 0
        sysctl["net.ipv4.conf.default.send_redirects"] = 0
        sysctl["net.ipv4.conf.eth0.send_redirects"] = 0
        bench.host.ipv4.add_route("default", "10.0.0.2")
        bench.host.arp.set_permanent(bench.dev, SOURCE, PEER)

    bench.engine.run(stop=finished(bench.host.start(set_up)))
    return bench.measure(frames)


def by_polling(frames: int) -> Forwarding:
    """labs/forwarder.py, on a queue the kernel does not use."""
    bench = _Bench()
    bench.engine.run(stop=finished(bench.host.start(bench.host.up, bench.dev, "10.0.0.1/24")))
    until = bench.engine.now + 120_000 + frames * 75
    bench.host.start(forward, bench.dev.ops, 1, until)
    bench.engine.run(until=bench.engine.now + 100_000)
    return bench.measure(frames)


class _Bench:
    """A host with one CPU and the modelled NIC, and the far end of its wire."""

    def __init__(self) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.host = Host(self.engine, "forwarder")
        self.dev = self.host.add_nic("eth0", OWN, link.a, hw_queues=2, ring_entries=1024)
        self.port = link.b
        self.times: list[int] = []
        link.b.on_receive(lambda frame, start, end: self.times.append(end))

    def measure(self, frames: int) -> Forwarding:
        frame = _frame()
        for _ in range(frames):
            self.port.send(frame)
        self.times.clear()
        begin, wall = self.engine.now, time.perf_counter()
        self.engine.run(until=begin + SECOND)
        spent = time.perf_counter() - wall
        count = len(self.times)
        if count < 2:
            raise RuntimeError(f"of {frames} frames {count} were forwarded")
        return Forwarding(count * SECOND / (self.times[-1] - begin), count / spent)


def _frame() -> bytes:
    udp = b"\x13\x88\x13\x88" + (8 + 18).to_bytes(2, "big") + bytes(2 + 18)
    ip = Ipv4Header(IP_HLEN + len(udp), IPPROTO_UDP, SOURCE, TARGET).pack()
    assert checksum(ip) == 0
    return EthernetHeader(OWN, PEER, ETH_P_IP).pack() + ip + udp
