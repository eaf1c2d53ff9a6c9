"""What a host says of its groups to an MLDv2 and an MLDv1 router: Linux over TAP, and ours."""

from __future__ import annotations

import os
import select
import socket as so
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from both import Machine, on_linux
from scapy.layers.inet6 import (
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule
from wire2app.netns import make_tap

SECOND = 1_000_000_000
OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SETTINGS = ("mldv1_unsolicited_report_interval", "mldv2_unsolicited_report_interval")
ONE, TWO = "ff05::1", "ff05::2:2"
Wire = Callable[[Any], list[Any]]
"""Give it a packet, or None to wait; what it sends in a while then."""


def router(message: Any, dst: str = "ff02::1") -> Any:
    ip = IPv6(src="fe80::ff:fe00:2", dst=dst, hlim=1)
    return ip / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / message


def told(packets: list[Any]) -> list[tuple[Any, ...]]:
    """What is said of the two groups, sorted: delays are random.  Kind, group, where to; of MLDv2
    the record's type."""
    found = []
    for packet in packets:
        if ICMPv6MLReport2 in packet:
            data = bytes(packet[ICMPv6MLReport2])
            records = [data[at : at + 20] for at in range(8, len(data), 20)]
            found += [(str(r[0]), so.inet_ntop(so.AF_INET6, r[4:20]), packet.dst) for r in records]
        for kind in (ICMPv6MLReport, ICMPv6MLDone):
            if kind in packet:
                found.append((kind.__name__, packet[kind].mladdr, packet.dst))
    return sorted(what for what in found if what[1] in (ONE, TWO))


def play(wire: Wire, socket: Any, index: int) -> list[Any]:
    sk = socket.socket(so.AF_INET6, so.SOCK_DGRAM)

    def change(option: int, group: str) -> None:
        value = so.inet_pton(so.AF_INET6, group) + struct.pack("@I", index)
        sk.setsockopt(so.IPPROTO_IPV6, option, value)

    found = []
    change(so.IPV6_JOIN_GROUP, ONE)
    found.append(told(wire(None)))
    found.append(told(wire(router(ICMPv6MLQuery2(mladdr="::", mrd=20, QQIC=125)))))
    found.append(told(wire(router(ICMPv6MLQuery2(mladdr=ONE, mrd=20, QQIC=125), ONE))))
    found.append(told(wire(router(ICMPv6MLQuery(mladdr="::", mrd=20)))))  # MLDv1 from here on
    change(so.IPV6_JOIN_GROUP, TWO)
    found.append(told(wire(None)))
    found.append(told(wire(router(ICMPv6MLQuery2(mladdr="::", mrd=20, QQIC=125)))))
    wire(router(ICMPv6MLReport(mladdr=ONE), ONE))
    change(so.IPV6_LEAVE_GROUP, ONE)
    found.append(told(wire(None)))  # somebody else has reported: nothing
    change(so.IPV6_LEAVE_GROUP, TWO)
    found.append(told(wire(None)))
    sk.close()
    return found


def on_tap(m: Machine) -> list[Any]:
    for name in SETTINGS:
        Path("/proc/sys/net/ipv6/conf/default", name).write_text("10")
    tap = make_tap("tap0", "10.77.0.1/24", "fd77::1/64", OURS)
    time.sleep(2.5)  # the link-local address is on trial

    def wire(packet: Any) -> list[Any]:
        if packet is not None:
            os.write(tap, bytes(Ether(src=THEIRS.hex(":"), dst="33:33:00:00:00:01") / packet))
        heard = []
        end = time.monotonic() + 0.12
        while select.select([tap], [], [], max(end - time.monotonic(), 0))[0]:
            got = Ether(os.read(tap, 2000))
            heard += [got[IPv6]] if IPv6 in got else []
        return heard

    return play(wire, m.socket, m.socket.if_nametoindex("tap0"))


def on_our_host() -> Any:
    engine = VirtualEngine()
    host, link = Host(engine, "h"), Link(engine)
    for name in SETTINGS:
        host.kernel.sysctl[f"net.ipv6.conf.default.{name}"] = 10
    heard: list[Any] = []
    link.b.on_receive(lambda data, start, end: heard.append(Ether(data)))
    dev = host.add_softnic("eth0", OURS, link.a)
    engine.run(stop=finished(host.start(host.up, dev, "10.77.0.1/24", "fd77::1/64")))
    process = Process(host.kernel, host.system, "play")

    def wire(packet: Any) -> list[Any]:
        if packet is not None:
            link.b.send(bytes(Ether(src=THEIRS.hex(":"), dst="33:33:00:00:00:01") / packet))
        TimeModule(process).sleep(0.12)
        packets = [got[IPv6] for got in heard if IPv6 in got]
        heard.clear()
        return packets

    process.start(play, wire, SocketModule(process), dev.ifindex)
    engine.run(until=engine.now + 10 * SECOND, stop=lambda: not process.alive)
    assert not process.tracebacks, process.tracebacks[0]
    return process.result


def test_routers_of_both_versions_are_told_what_linux_tells_them() -> None:
    ours = on_our_host()
    assert ours[0] == [("4", ONE, "ff02::16")] * 2
    assert ours[3] == [("ICMPv6MLReport", ONE, ONE)]
    assert ours == on_linux(on_tap)
