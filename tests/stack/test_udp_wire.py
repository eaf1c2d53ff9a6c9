"""UDP between hosts: what comes from the wire, counters, limits, and the real Linux over TAP."""

from __future__ import annotations

import errno
import os
import shutil
import socket as so
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from both import Machine, on_linux
from router import RA, RB, A, B, Net
from scapy.layers.inet import IP, UDP
from scapy.utils import wrpcap

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from wire2app.netns import make_tap

IP_MTU_DISCOVER, IP_MTU, SO_TIMESTAMPING = 10, 14, 37
SIZES = (0, 1, 17, 1472, 1473, 4000, 20_001)


def echo(socket: Any, count: int) -> None:
    with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
        sock.bind(("", 7))
        for _ in range(count):
            data, peer = sock.recvfrom(70_000)
            sock.sendto(data, peer)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]


def test_datagrams_of_every_size_cross_a_router_and_tshark_finds_no_fault(tmp_path: Path) -> None:
    net = Net()

    def client(socket: Any) -> list[bool]:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.connect((B, 7))
            same = []
            for size in SIZES:
                data = bytes(i & 255 for i in range(size))
                sock.send(data)
                same.append(sock.recv(70_000) == data)
            return same

    server, asker = net.process(net.b, echo, len(SIZES)), net.process(net.a, client)
    net.wait(server, asker)
    net.run()
    net.balance()
    assert asker.result == [True] * len(SIZES)
    mib = net.b.kernel.mib
    assert (mib["UdpInDatagrams"], mib["UdpOutDatagrams"]) == (len(SIZES), len(SIZES))
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed: nobody to judge the capture")
    path = tmp_path / "udp.pcap"
    wrpcap(str(path), net.frames["a"], linktype=1)
    checks = ("-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
    fault = "_ws.malformed || udp.checksum.status == Bad || ip.checksum.status == Bad"
    for wanted, lines in ((fault, 0), ("udp", 2 * len(SIZES))):
        command = ["tshark", "-r", str(path), *checks, "-Y", wanted]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert len(shown.splitlines()) == lines, shown


@pytest.mark.parametrize(
    ("packet", "counters", "drop"),
    [
        (UDP(dport=9) / b"x", {"UdpNoPorts": 1, "IcmpOutDestUnreachs": 1}, Drop.UDP_NO_SOCKET),
        (
            UDP(dport=7, chksum=1) / b"x",
            {"UdpInCsumErrors": 1, "UdpInErrors": 1},
            Drop.UDP_BAD_CHECKSUM,
        ),
        (UDP(dport=7, len=99) / b"x", {"UdpInErrors": 1}, Drop.UDP_BAD_LENGTH),
        (UDP(dport=7, len=7) / b"x", {"UdpInErrors": 1}, Drop.UDP_BAD_LENGTH),
        (bytes(UDP(dport=7))[:5], {"UdpInErrors": 1}, Drop.UDP_TOO_SHORT),
    ],
    ids=["no port", "checksum", "length beyond", "length below", "short"],
)
def test_bad_datagrams_are_counted_and_dropped(
    packet: Any, counters: dict[str, int], drop: Drop
) -> None:
    net = Net()
    server = net.process(net.a, echo, 1)
    net.run()
    net.inject(net.a, net.a0, IP(src=RA, dst=A, proto=17) / packet)
    net.run()
    mib = net.a.kernel.mib
    assert {name: mib[name] for name in counters} == counters
    assert net.a.kernel.drops[drop] == 1
    assert mib["UdpInDatagrams"] == 0
    assert server.exit_status is None


def test_no_checksum_and_bytes_behind_the_length_are_taken() -> None:
    net = Net()
    server = net.process(net.a, echo, 1)
    net.run()
    before = len(net.frames["a"])
    net.inject(
        net.a, net.a0, IP(src=RA, dst=A) / UDP(sport=5, dport=7, chksum=0, len=11) / b"abcde"
    )
    net.wait(server)
    net.run()
    answer = net.frames["a"][before:]
    assert [frame[42:45] for frame in answer if frame[23] == 17] == [b"abc"]


def test_a_full_queue_counts_what_it_drops() -> None:
    net = Net()

    def flood(socket: Any) -> None:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            for _ in range(40):
                sock.sendto(b"x", (B, 8))

    def sleeper(socket: Any) -> None:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.setsockopt(so.SOL_SOCKET, so.SO_RCVBUF, 4096)
            sock.bind(("", 8))
            net.b.kernel.cpu.current.process.sys.clock_nanosleep(10**9)

    receiver, sender = net.process(net.b, sleeper), net.process(net.a, flood)
    net.wait(receiver, sender)
    net.run()
    mib = net.b.kernel.mib
    assert mib["UdpRcvbufErrors"] == mib["UdpInErrors"] == net.b.kernel.drops[Drop.UDP_RCVBUF_FULL]
    assert 20 < mib["UdpRcvbufErrors"] < 40
    net.balance()


def test_a_narrow_link_is_learned_and_dont_fragment_says_so() -> None:
    net = Net(mtu=1000)

    def client(socket: Any) -> list[Any]:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.connect((B, 9999))
            sock.setsockopt(so.IPPROTO_IP, IP_MTU_DISCOVER, 2)
            seen = [sock.getsockopt(so.IPPROTO_IP, IP_MTU), outcome(sock.send, b"x" * 1400)]
            net.a.kernel.cpu.current.process.sys.clock_nanosleep(10**7)
            seen += [outcome(sock.send, b"x" * 1400), sock.getsockopt(so.IPPROTO_IP, IP_MTU)]
            seen.append(outcome(sock.send, b"x" * 972))  # what the router said is still pending
            return [*seen, outcome(sock.send, b"x" * 972)]

    asker = net.process(net.a, client)
    net.wait(asker)
    assert asker.result == [1500, 1400, "EMSGSIZE", 1000, "EMSGSIZE", 972]


def test_ports_run_out_and_come_back() -> None:
    net = Net()
    net.a.kernel.sysctl["net.ipv4.ip_local_port_range"] = (40_000, 40_003)

    def client(socket: Any) -> list[Any]:
        socks = [socket.socket(so.AF_INET, so.SOCK_DGRAM) for _ in range(6)]
        seen = [outcome(sock.sendto, b"x", (B, 9)) for sock in socks[:5]]
        seen.append(outcome(socks[5].bind, ("", 0)))
        socks[0].close()
        seen.append(outcome(socks[4].sendto, b"x", (B, 9)))
        for sock in socks:
            sock.close()
        return seen

    asker = net.process(net.a, client)
    net.wait(asker)
    assert asker.result == [1, 1, 1, 1, "EAGAIN", "EADDRINUSE", 1]


@pytest.mark.parametrize("kind", [so.SOCK_DGRAM, so.SOCK_STREAM], ids=["udp", "tcp"])
def test_reuseport_is_for_one_user_only(kind: int) -> None:
    host = Host(VirtualEngine(), "h")

    def program(socket: Any) -> Any:
        sock = socket.socket(so.AF_INET, kind)
        sock.setsockopt(so.SOL_SOCKET, so.SO_REUSEPORT, 1)
        result = outcome(sock.bind, ("127.0.0.1", 7000))
        if result is None and kind == so.SOCK_STREAM:
            sock.listen()
        held.append(sock)
        host.kernel.cpu.current.process.sys.clock_nanosleep(10**9)
        sock.close()
        return result

    held: list[Any] = []
    processes = []
    for uid in (5, 5, 6, 0):
        process = Process(host.kernel, host.system, f"user {uid}", uid=uid)
        processes.append(process.start(program, SocketModule(process)))
        host.engine.run(until=host.engine.now + 10**6)
    host.engine.run(until=10**11, stop=lambda: not host.system.processes)
    assert [p.result for p in processes] == [None, None, "EADDRINUSE", "EADDRINUSE"]


def test_a_socket_bound_to_a_device_hears_only_that() -> None:
    net = Net()

    def router_program(socket: Any) -> Any:
        sock = socket.socket(so.AF_INET, so.SOCK_DGRAM)
        sock.setsockopt(so.SOL_SOCKET, so.SO_BINDTODEVICE, b"eth1\0")
        sock.bind(("", 700))
        sock.settimeout(0.5)
        with sock:
            return sock.recvfrom(10)[1][0]

    def sender(socket: Any, to: str) -> None:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (to, 700))

    receiver = net.process(net.r, router_program)
    net.run()
    net.wait(net.process(net.a, sender, RA))
    net.wait(net.process(net.b, sender, RB))
    net.wait(receiver)
    assert receiver.result == B


def test_the_nics_own_stamp_is_told_beside_the_kernels() -> None:
    net = Net()
    flags = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6  # receive, both kinds; report, both kinds

    def receiver(socket: Any) -> Any:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.setsockopt(so.SOL_SOCKET, SO_TIMESTAMPING, flags)
            sock.bind(("", 7))
            ((_, type_, data),) = sock.recvmsg(10, 200)[1]
            return type_, struct.unpack("=6q", data)

    def sender(socket: Any) -> None:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (B, 7))

    listener = net.process(net.b, receiver)
    net.run()
    net.wait(net.process(net.a, sender), listener)
    type_, (seconds, ns, *legacy, hw_seconds, hw_ns) = listener.result
    software = (seconds - 1_700_000_000) * 10**9 + ns
    hardware = hw_seconds * 10**9 + hw_ns
    assert (type_, legacy) == (SO_TIMESTAMPING, [0, 0])
    assert 0 < hardware <= software <= net.engine.now


# -- the real Linux ----------------------------------------------------------------------------


class TapPort:
    """A wire whose far end is a TAP of this machine."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        os.write(self.fd, frame)
        if on_sent is not None:
            on_sent()

    def on_receive(self, receive: Callable[[bytes, int, int], None]) -> None:
        self.receive = receive

    def pump(self, engine: VirtualEngine) -> None:
        """Take what has come, and let a millisecond pass."""
        while True:
            try:
                frame = os.read(self.fd, 2048)
            except BlockingIOError:
                break
            self.receive(frame, engine.now, engine.now)
        engine.run(until=engine.now + 1_000_000)


def over_tap(m: Machine) -> dict[str, object]:
    """Linux asks our echo server, and ours asks Linux's; a closed port is refused both ways."""
    engine = VirtualEngine()
    host = Host(engine, "h")
    port = TapPort(make_tap("tap0", "10.77.0.1/24", "fd77::1/64", bytes([2, 0, 0, 0, 0, 9])))
    nic = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, 8]), port)
    host.start(host.up, nic, "10.77.0.2/24")
    engine.run(until=1_000_000)
    host.process("echo", echo, len(SIZES))
    linux = m.socket.socket(so.AF_INET, so.SOCK_DGRAM)
    linux.bind(("10.77.0.1", 7))
    linux.setblocking(False)

    def wait(call: Callable[..., Any], *args: Any) -> Any:
        for _ in range(3000):
            port.pump(engine)
            result = m.outcome(call, *args)
            if result != "EAGAIN":
                return result
        return "nothing came"

    asked = []
    for size in SIZES:
        data = bytes(i % 251 for i in range(size))
        linux.sendto(data, ("10.77.0.2", 7))
        asked.append(wait(linux.recv, 70_000) == data)
    linux.connect(("10.77.0.2", 99))
    linux.send(b"x")
    refused = wait(linux.recv, 10)
    m.sys.connect(linux.fileno(), None)
    linux.close()
    linux = m.socket.socket(so.AF_INET, so.SOCK_DGRAM)
    linux.bind(("10.77.0.1", 7))
    linux.setblocking(False)

    def client(socket: Any) -> list[Any]:
        with socket.socket(so.AF_INET, so.SOCK_DGRAM) as sock:
            sock.connect(("10.77.0.1", 7))
            answers = []
            for size in SIZES:
                sock.send(b"q" * size)
                answers.append(len(sock.recv(70_000)))
            sock.connect(("10.77.0.1", 99))
            sock.send(b"x")
            return [*answers, outcome(sock.recv, 10)]

    process = host.process("client", client)
    for _ in SIZES:
        got = wait(linux.recvfrom, 70_000)
        linux.sendto(*got)
    for _ in range(3000):
        port.pump(engine)
        if process.exit_status is not None:
            break
    return {"asked": asked, "refused": refused, "answers": process.result}


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="there is no /dev/net/tun")
def test_udp_with_the_real_linux_over_tap() -> None:
    assert on_linux(over_tap) == {
        "asked": [True] * len(SIZES),
        "refused": "ECONNREFUSED",
        "answers": [*SIZES, "ECONNREFUSED"],
    }
