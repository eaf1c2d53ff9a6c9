"""The identification of IPv4 packets that may not be cut: as the real Linux has it over TAP."""

from __future__ import annotations

import os
import select
import socket as so
import struct
import subprocess
import time
from collections.abc import Callable
from typing import Any

from both import Machine, on_linux
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule
from wire2app.netns import make_tap

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SECOND = 1_000_000_000
US, PEER = "10.77.0.1", "10.77.0.2"
Wire = Callable[[Any], list[Any]]
"""Give it a packet, or None to wait; what it sends then."""


def frame(packet: Any) -> bytes:
    return bytes(Ether(src=THEIRS.hex(":"), dst=OURS.hex(":")) / IP(src=PEER, dst=US) / packet)


def segment(**fields: Any) -> Any:
    return TCP(**{"sport": 1001, "dport": 80, "flags": "A", "seq": 6, **fields})


def play(wire: Wire, socket: Any) -> dict[str, Any]:
    """What is sent in some situations: 0, "counts on" from the packet before, or "another"."""
    found: dict[str, Any] = {}
    last = -1

    def note(name: str, packets: list[Any]) -> None:
        nonlocal last
        kinds = []
        for packet in packets:
            counts = packet.id == (last + 1) & 0xFFFF
            kinds.append(0 if not packet.id else "counts on" if counts else "another")
            last = packet.id
        found[name] = [*kinds, *{str(packet.flags) for packet in packets}]

    listener = socket.create_server((US, 80))
    note("refused", wire(segment(dport=81, flags="S", seq=5)))
    note("refused again", wire(segment(dport=81, ack=9)))
    (synack,) = wire(segment(flags="S", seq=5))
    note("SYN-ACK", [synack])
    ack = synack[TCP].seq + 1
    wire(segment(ack=ack))
    conn, _ = listener.accept()
    conn.send(bytes(1000))
    note("first data", wire(None))
    conn.send(bytes(1000))
    note("more data", wire(segment(ack=ack + 1000)))
    conn.setsockopt(so.SOL_SOCKET, so.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()
    note("reset", wire(None))
    with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sk:
        sk.bind((US, 99))
        sk.connect((PEER, 5))
        sk.send(b"x")
        sk.send(b"x")
        note("connected UDP", wire(None))
    listener.close()
    return found


def on_tap(m: Machine) -> dict[str, Any]:
    tap = make_tap("tap0", f"{US}/24", "fd77::1/64", OURS)
    neigh = f"ip neigh add {PEER} lladdr {THEIRS.hex(':')} dev tap0 nud permanent"
    subprocess.run(neigh.split(), check=True)

    def wire(packet: Any) -> list[Any]:
        if packet is not None:
            os.write(tap, frame(packet))
        heard = []
        end = time.monotonic() + 0.1
        while select.select([tap], [], [], max(end - time.monotonic(), 0))[0]:
            got = Ether(os.read(tap, 2000))
            heard += [got[IP]] if IP in got else []
        return heard

    return play(wire, m.socket)


def on_our_host() -> Any:
    engine = VirtualEngine()
    host, link = Host(engine, "h"), Link(engine)
    heard: list[Any] = []
    link.b.on_receive(lambda data, start, end: heard.append(Ether(data)))
    dev = host.add_softnic("eth0", OURS, link.a)
    engine.run(stop=finished(host.start(host.up, dev, f"{US}/24")))
    host.arp.update(dev, so.inet_aton(PEER), THEIRS, create=True)
    process = Process(host.kernel, host.system, "play")

    def wire(packet: Any) -> list[Any]:
        if packet is not None:
            link.b.send(frame(packet))
        TimeModule(process).sleep(0.1)
        packets = [got[IP] for got in heard if IP in got]
        heard.clear()
        return packets

    process.start(play, wire, SocketModule(process))
    engine.run(until=engine.now + 10 * SECOND, stop=lambda: not process.alive)
    assert not process.tracebacks, process.tracebacks[0]
    return process.result


def test_what_is_never_cut_is_numbered_as_by_the_real_linux() -> None:
    """0 from no connection; a connection counts, from where nobody can guess (RFC 6864, 4.1)."""
    ours = on_our_host()
    assert ours["refused"] == [0, "DF"]
    assert ours["more data"] == ["counts on", "counts on", "DF"]
    assert ours == on_linux(on_tap)
