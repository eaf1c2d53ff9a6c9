"""`tcpdump`: its text against the real program's, line by line, on captures of our own; its
filters against libpcap's; captures on a running host."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tools_net import simulated

from pystack.core.engine import VirtualEngine
from pystack.dev.qdisc import Emulation, Netem
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.tools.pcapng import Capture
from pystack.tools.tcpdump import filters, libpcap
from pystack.tools.tcpdump.command import frames, text_of_file
from pystack.tools.tool import ToolError

SECOND = 10**9
OPTIONS = ("-n", "-ne", "-nv", "-nvv", "-nS", "-ntt", "-t", "")
needs_tcpdump = pytest.mark.skipif(
    shutil.which("tcpdump") is None, reason="no tcpdump here: apt install tcpdump"
)
needs_libpcap = pytest.mark.skipif(libpcap.library() is None, reason="no libpcap here")


class Pair:
    """Two hosts on a wire, `a` captured into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = VirtualEngine()
        link = Link(self.engine)
        self.a, self.b = (Host(self.engine, name) for name in ("a", "b"))
        self.dev = self.a.add_softnic("eth0", bytes.fromhex("020000000001"), link.a)
        other = self.b.add_softnic("eth0", bytes.fromhex("020000000002"), link.b)
        self._setup = (self.a, self.dev, 1), (self.b, other, 2)

    def run(self, *programs: tuple[Host, Callable[[Any], None]], seconds: float = 30) -> Path:
        """Bring both up and run the programs, all of it in the capture."""
        with self.a.tcpdump(f"-ni eth0 -w {self.path}"):
            up = [
                host.start(host.up, dev, f"10.77.0.{n}/24", f"fd77::{n}/64")
                for host, dev, n in self._setup
            ]
            self.engine.run(stop=finished(*up))
            processes = [host.process(fn.__name__, fn) for host, fn in programs]
            until = self.engine.now + int(seconds * SECOND)
            self.engine.run(until=until, stop=lambda: not any(p.alive for p in processes))
            self.engine.run(until=self.engine.now + SECOND)
        assert not [p.tracebacks for p in processes if p.tracebacks]
        return self.path


def web(pair: Pair) -> Path:
    """HTTP, one connection that is closed and one that is reset; over a wire that loses."""

    def server(socket: Any) -> None:
        listener = socket.create_server(("10.77.0.2", 80))
        for _ in range(2):
            conn, _ = listener.accept()
            conn.recv(1000)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
            conn.close()

    def client(socket: Any) -> None:
        for n in range(2):
            with socket.create_connection(("10.77.0.2", 80)) as sock:
                sock.sendall(b"GET /index.html HTTP/1.1\r\nHost: b\r\n\r\n")
                if n:
                    continue  # closed with data unread
                while sock.recv(65536):
                    pass

    lossy = Emulation(loss=0.1, delay=1_000_000)
    pair.b.core.devices["eth0"].set_qdisc(lambda dev: Netem(dev, setting=lossy))
    return pair.run((pair.b, server), (pair.a, client))


def datagrams(pair: Pair) -> Path:
    """UDP small, empty and in fragments, to ports open and closed, over both IPs; urgent data."""

    def server(socket: Any) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::", 9000))
            for _ in range(6):
                data, peer = sock.recvfrom(65536)
                sock.sendto(data[:10], peer)

    def client(socket: Any) -> None:
        for family, address in ((socket.AF_INET, "10.77.0.2"), (socket.AF_INET6, "fd77::2")):
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.settimeout(1)
                for size in (0, 100, 5000):
                    sock.sendto(bytes(size), (address, 9000))
                    sock.recv(100)
                sock.sendto(b"nobody", (address, 9001))
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection((address, 9002))

    return pair.run((pair.b, server), (pair.a, client))


def groups(pair: Pair) -> Path:
    """Pings, memberships of groups, a gateway that is not there, a hop limit of one."""

    def client(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            member = socket.inet_aton("239.1.2.3") + socket.inet_aton("10.77.0.1")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB9)
            sock.sendto(b"x", ("10.99.0.1", 1234))
            sock.sendto(b"x", ("10.77.0.77", 1234))

    def commands() -> None:
        pair.a.ipv4.add_route("10.99.0.0/16", "10.77.0.2")
        pair.a.tool("ping -c 2 -i 0.1 10.77.0.2")
        pair.a.tool("ping -c 2 -i 0.1 fd77::2")

    pair.b.kernel.sysctl["net.ipv4.ip_forward"] = 1
    client_of = client
    path = pair.run(seconds=0.1)
    parts = [frame for frame in frames(str(path))]
    with pair.a.tcpdump(f"-ni eth0 -w {path}"):
        task = pair.a.start(commands)
        pair.engine.run(stop=finished(task))
        process = pair.a.process("client", client_of)
        pair.engine.run(until=pair.engine.now + 8 * SECOND, stop=lambda: not process.alive)
        pair.engine.run(until=pair.engine.now + 5 * SECOND)
    _rewrite(path, parts + list(frames(str(path))))
    return path


def _rewrite(path: Path, parts: list[tuple[int, bytes]]) -> None:
    with Capture(path, "eth0") as capture:
        for time, frame in parts:
            capture.write(frame, time, False)


def made_by_hand(pair: Pair) -> Path:
    """What our hosts do not send: tags, options, redirects, wrong sums, ends too early."""
    import scapy.all as sc

    ether = sc.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    ends = {"src": "10.0.0.1", "dst": "10.0.0.2"}
    ip, ip6 = sc.IP(src="10.0.0.1", dst="10.0.0.2"), sc.IPv6(src="fd00::1", dst="fd00::2")
    quoted = ip / sc.UDP(sport=9, dport=10) / b"12345678"
    options: list[Any] = [
        ("MSS", 1460),
        ("SAckOK", b""),
        ("Timestamp", (1, 2)),
        ("NOP", None),
        ("WScale", 7),
    ]
    packets = [
        ether / sc.Dot1Q(vlan=5, prio=3) / ip / sc.TCP(sport=1, dport=2, options=options),
        ether / ip / sc.TCP(sport=1, dport=2, flags="FPU", urgptr=3, chksum=1) / b"abc",
        ether / ip / sc.TCP(sport=1, dport=2, flags="SA", seq=100, ack=200),
        ether / ip / sc.TCP(sport=1, dport=2, flags="A", seq=150, ack=260,
                            options=[("SAck", (300, 400, 500, 600))]),
        ether / ip / sc.TCP(sport=2, dport=1, flags="R") / b"why it was reset, in many words",
        ether / ip / sc.TCP(sport=2, dport=1, flags="ECS"),
        ether / sc.IP(**ends, tos=3, flags="DF+MF", id=77) / sc.UDP(sport=5, dport=6) / b"x",
        ether / sc.IP(**ends, frag=100, proto=17) / b"later",
        ether / sc.IP(**ends, chksum=1) / sc.UDP(sport=5, dport=6, chksum=0),
        ether / ip / sc.UDP(sport=5, dport=6, chksum=9) / b"wrong",
        *[ether / ip / sc.ICMP(type=3, code=code, nexthopmtu=1400) / quoted for code in range(16)],
        *[ether / ip / sc.ICMP(type=5, code=code, gw="10.0.0.9") / quoted for code in range(4)],
        ether / ip / sc.ICMP(type=11, code=1) / quoted,
        ether / ip / sc.ICMP(type=12, code=0, ptr=20) / quoted,
        ether / ip / sc.ICMP(type=13, id=1, seq=2),
        ether / ip / sc.ICMP(type=14, id=1, seq=2, ts_ori=1, ts_rx=3_600_000, ts_tx=86_399_999),
        ether / ip / sc.ICMP(type=8, id=1, seq=2, chksum=5) / b"bad",
        ether / sc.ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="10.0.0.1", pdst="10.0.0.2"),
        ether / sc.ARP(op=1, hwdst="02:00:00:00:00:02", psrc="10.0.0.1", pdst="10.0.0.2"),
        ether / sc.ARP(op=2, hwsrc="02:00:00:00:00:01", psrc="10.0.0.1", pdst="10.0.0.2"),
        ether / ip6 / sc.IPv6ExtHdrFragment(offset=0, m=1, id=7) / sc.UDP(sport=1, dport=2) / b"12",
        ether / ip6 / sc.IPv6ExtHdrFragment(offset=181, m=0, id=7, nh=17) / b"rest",
        ether / ip6 / sc.ICMPv6DestUnreach(code=4) / ip6 / sc.UDP(sport=1, dport=9),
        ether / ip6 / sc.ICMPv6PacketTooBig(mtu=1280) / ip6,
        ether / ip6 / sc.ICMPv6TimeExceeded() / ip6,
        ether / ip6 / sc.ICMPv6ParamProblem(code=1, ptr=40) / ip6,
        ether / ip6 / sc.ICMPv6ND_RA(M=1, routerlifetime=1800)
        / sc.ICMPv6NDOptPrefixInfo(prefix="fd01::", prefixlen=64)
        / sc.ICMPv6NDOptMTU(mtu=1400) / sc.ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01"),
        ether / ip6 / sc.ICMPv6ND_Redirect(tgt="fe80::1", dst="fd02::1"),
        ether / ip6 / sc.TCP(sport=80, dport=2, flags="PA") / b"HTTP/1.1 404 Not Found\r\n\r\n\0",
        ether / sc.IPv6(src="fd00::1", dst="fd00::2", tc=3, fl=0x12345) / sc.UDP(sport=1, dport=2),
        sc.Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / bytes(range(70)),
    ]  # fmt: skip
    raw = [bytes(packet) for packet in packets]
    raw += [raw[1][:40], raw[2][:30], raw[9][:50]]  # shorter than they say
    _rewrite(pair.path, [(at * 1_234_567_890, frame) for at, frame in enumerate(raw)])
    return pair.path


def real_text(path: Path, *options: str) -> str:
    done = subprocess.run(
        ["tcpdump", *options, "-r", str(path)],
        capture_output=True,
        env={**os.environ, "TZ": "UTC"},
        check=True,
    )
    return done.stdout.decode()


def words(option: str) -> list[str]:
    return [option] if option else []


@needs_tcpdump
@pytest.mark.parametrize("traffic", [web, datagrams, groups, made_by_hand])
def test_every_line_is_the_real_programs(traffic: Callable[[Pair], Path], tmp_path: Path) -> None:
    path = traffic(Pair(tmp_path / "wire.pcapng"))
    for option in OPTIONS:
        ours = text_of_file([*words(option), "-r", str(path)])
        theirs = real_text(path, *words(option))
        for mine, real in zip(ours.splitlines(), theirs.splitlines(), strict=True):
            assert mine == real, f"tcpdump {option}"
        assert len(ours.splitlines()) > 30


EXPRESSIONS = (
    *("tcp", "udp", "icmp", "arp", "ip", "ip6", "icmp6", "not tcp", "tcp port 80"),
    *("udp port 9000", "src 10.77.0.1", "dst host 10.77.0.2", "host fd77::2", "net 10.77.0.0/24"),
    *("port 80 and tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[13] & 2 != 0", "src port 80"),
    *("tcp[tcpflags] = tcp-syn", "greater 1000", "less 60", "portrange 9000-9001"),
    *("(udp or icmp) and not port 9001", "ether host 02:00:00:00:00:02"),
    "ether dst ff:ff:ff:ff:ff:ff",
    *("icmp[icmptype] = 3", "ip[8] < 64", "tcp && src net 10.77", "!arp || greater 100"),
    *("src 10.77.0.1 and dst 10.77.0.2 and tcp dst port 80", "ip[6:2] & 0x1fff != 0", ""),
)  # fmt: skip


@needs_libpcap
def test_the_subset_of_filters_agrees_with_libpcap(tmp_path: Path) -> None:
    seen: list[bytes] = []
    for traffic in (web, datagrams, groups, made_by_hand):
        path = traffic(Pair(tmp_path / "wire.pcapng"))
        seen += [frame for _, frame in frames(str(path))]
    lib = libpcap.library()
    assert lib is not None
    for expression in EXPRESSIONS:
        theirs = libpcap.compile_filter(lib, expression)
        ours = filters.subset(expression) if expression else filters.filter_of("")
        found = [theirs(frame) for frame in seen]
        assert [ours(frame) for frame in seen] == found, expression
        assert any(found), expression


@needs_tcpdump
def test_filters_and_count_choose_the_packets_that_the_real_program_chooses(tmp_path: Path) -> None:
    path = datagrams(Pair(tmp_path / "wire.pcapng"))
    for arguments in ("-n -c 3 udp", "-n icmp or icmp6", "-nv arp or tcp[tcpflags] & tcp-rst != 0"):
        ours = text_of_file([*arguments.split(), "-r", str(path)])
        options = arguments.split()
        assert ours == real_text(path, *options) and ours


def test_a_live_capture_prints_the_handshake_as_it_happens() -> None:
    pair = Pair(Path("unused"))
    seen: list[str] = []

    def server(socket: Any) -> None:
        conn, _ = socket.create_server(("10.77.0.2", 80)).accept()
        conn.recv(10)

    def client(socket: Any) -> None:
        with socket.create_connection(("10.77.0.2", 80)) as sock:
            sock.sendall(b"hello")

    hosts = (pair.a, pair.dev, 1), (pair.b, pair.b.core.devices["eth0"], 2)
    up = [host.start(host.up, dev, f"10.77.0.{n}/24") for host, dev, n in hosts]
    pair.engine.run(stop=finished(*up))
    taps = len(pair.a.core.taps)
    with pair.a.tcpdump("-tni eth0 tcp port 80", seen.append) as text:
        processes = [pair.b.process("s", server), pair.a.process("c", client)]
        pair.engine.run(stop=lambda: not any(p.alive for p in processes))
    assert len(pair.a.core.taps) == taps
    lines = str(text).splitlines()
    assert lines == seen
    syn = re.fullmatch(
        r"IP 10\.77\.0\.1\.(\d+) > 10\.77\.0\.2\.80: Flags \[S\], seq \d+, win 64240, options "
        r"\[mss 1460,sackOK,TS val \d+ ecr 0,nop,wscale 7\], length 0",
        lines[0],
    )
    assert syn is not None
    port = syn[1]
    assert "Flags [S.]" in lines[1] and lines[1].startswith("IP 10.77.0.2.80 > ")
    assert lines[2].startswith(f"IP 10.77.0.1.{port} > 10.77.0.2.80: Flags [.], ack 1, win 502")
    assert "Flags [P.], seq 1:6, ack 1" in lines[3] and lines[3].endswith("length 5: HTTP")


def test_on_loopback_every_packet_is_seen_once() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    with host.tcpdump("-tni lo udp") as text:
        process = host.process("u", lambda socket: _send(socket))
        engine.run(stop=lambda: not process.alive)
        engine.run(until=engine.now + SECOND)
    assert [line.partition(":")[2] for line in text.lines] == [" UDP, length 3"]


def _send(socket: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 5000))
        sock.sendto(b"one", ("127.0.0.1", 5000))


def test_damaged_frames_never_raise() -> None:
    """Text for whatever stands on the wire."""
    from pystack.tools.tcpdump.dissect import Dissector, Options
    from pystack.tools.tcpdump.ether import frame_text

    rng = random.Random(7)
    good = [
        bytes.fromhex("020000000002020000000001") + kind + body
        for kind, body in (
            (b"\x08\0", b"\x45\0\0\x40" + bytes(5) + b"\x06" + bytes(60)),
            (b"\x08\0", b"\x46\0\0\x40" + bytes(5) + b"\x01" + bytes(60)),
            (b"\x08\0", b"\x45\0\0\x40" + bytes(5) + b"\x02" + bytes(60)),
            (b"\x86\xdd", b"\x60\0\0\0\0\x40\x3a\xff" + bytes(100)),
            (b"\x86\xdd", b"\x60\0\0\0\0\x40\0\xff" + bytes(100)),
            (b"\x08\x06", bytes(28)),
        )
    ]
    dissectors = [Dissector(Options(verbose=v, link=bool(v))) for v in range(3)]
    for _ in range(4000):
        frame = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(12, len(frame))] = rng.randrange(256)
        cut = bytes(frame[: rng.randrange(len(frame) + 1)])
        for d in dissectors:
            assert frame_text(d, cut)


def test_a_live_capture_of_a_file_is_refused() -> None:
    with pytest.raises(ToolError, match="a file is read by host"):
        Host(VirtualEngine(), "h").tcpdump("-nr wire.pcapng")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tcpdump -i bogus -c 1", "tcpdump: bogus: No such device exists"),
        ("tcpdump -c x", "tcpdump: invalid packet count x"),
        ("tcpdump -r /no/such/file", "tcpdump: /no/such/file: No such file or directory"),
        ("tcpdump -Q", "tcpdump: invalid option -- 'Q'"),
        ("tcpdump", "tcpdump: say how many packets"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments: str, message: str) -> None:
    (text,) = simulated((arguments,))
    assert text.startswith(message)


@pytest.mark.parametrize(
    "expression", ["tcp port", "frob", "port nobody", "host 1.2.3.400 and", "("]
)
def test_wrong_filters_get_a_sentence(expression: str) -> None:
    for compile_filter in (filters.filter_of, filters.subset):
        with pytest.raises(ToolError, match=r"^tcpdump: "):
            compile_filter(expression)
