"""A scripted TCP peer: feeds segments and reads what TCP sends, as a dialogue.

Segments are written as packetdrill writes them, sequence numbers relative to both ISNs:

    t.inject("S 0:0(0) win 65535 <mss 1460,sackOK,TS val 100 ecr 0,wscale 7>")
    t.expect("S. 0:0(0) ack 1 <mss 1460,...>")

Flags: S F R P and `.` for ACK.  What an expectation does not mention is not compared; `<...>`
compares the options it names.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable
from socket import AF_INET
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from pystack.core.checksum import checksum, ones_sum
from pystack.core.costs import Costs
from pystack.core.cpu import Softirq
from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.headers.ipv4 import IPPROTO_TCP, pseudo_header_sum
from pystack.core.headers.tcp import TcpHeader, TcpOptions
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.core.task import Task, TaskState
from pystack.dev.netdev import FEATURES
from pystack.net.icmperrors import icmp_error
from pystack.net.inet import Inet
from pystack.net.route import Route
from pystack.transport.tcp import Tcp, TcpSock, TcpState

MS = 1_000_000
SECOND = 1_000_000_000
US, PEER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
LETTERS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16}
_LINE = re.compile(
    r"(?P<flags>[SFRP.]+)(?: (?P<seq>\d+):(?P<end>\d+)\((?P<len>\d+)\))?"
    r"(?: ack (?P<ack>\d+))?(?: win (?P<win>\d+))?(?: <(?P<options>[^>]*)>)?$"
)


class Sent(NamedTuple):
    """A segment TCP sent, numbers as on the wire; `time` in ns."""

    time: int
    header: TcpHeader
    options: TcpOptions
    data: bytes


class FakeIpv4:
    """The seam to IP: one address, one route; keeps what is sent."""

    family = AF_INET
    any_address = bytes(4)
    loopback_address = bytes([127, 0, 0, 1])
    header_length = 20
    icmp_error = staticmethod(icmp_error)

    def __init__(self, kernel: Kernel, mtu: int) -> None:
        self.kernel = kernel
        self.mtu = mtu
        self.sent: list[tuple[int, bytes, bytes, bytes]] = []
        self.on_send: Callable[[], None] = lambda: None
        self.unreachable = False
        self.receive: Callable[[SkBuff], None]
        self.receive_error: Callable[[int, int, int, SkBuff], None]

    def register(self, protocol: int, receive: Callable[[SkBuff], None]) -> None:
        self.receive = receive

    def register_error(self, protocol: int, fn: Callable[[int, int, int, SkBuff], None]) -> None:
        self.receive_error = fn

    def route(self, daddr: bytes, saddr: bytes = b"", *, oif: int = 0, mark: int = 0) -> Route:
        if self.unreachable:
            raise OSError(101, "Network is unreachable")
        return Route(self.device(), saddr or US, b"", self.mtu)

    def device(self) -> Any:
        features = dict.fromkeys(FEATURES, False)
        return SimpleNamespace(mtu=self.mtu, qdisc="pfifo", ifindex=2, features=features)

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        self.mtu = min(self.mtu, mtu)

    def is_local(self, addr: bytes) -> bool:
        return addr == US

    def is_unicast(self, addr: bytes) -> bool:
        return addr[0] < 224

    def confirm_neigh(self, route: Any, daddr: bytes) -> None:
        """There are no neighbours here."""

    def send(
        self, skb: SkBuff, route: Route, saddr: bytes, daddr: bytes, protocol: int, **_: Any
    ) -> int:
        assert protocol == IPPROTO_TCP
        assert len(skb) + 20 <= route.mtu, "segment longer than the path allows"
        self.sent.append((self.kernel.now, bytes(skb), saddr, daddr))
        skb.free()
        self.on_send()
        return 0

    def first_identification(self) -> int:
        return 0


class Dialogue:
    """One host at 10.0.0.1 with a TCP, and the script's hand at 10.0.0.2."""

    def __init__(
        self, *, mtu: int = 1500, peer_isn: int = 7_000_000, seed: int = 1, **sysctl: Any
    ) -> None:
        self.engine = VirtualEngine()
        self.kernel = Kernel(self.engine, "h", costs=Costs.zero(), seed=seed)
        for name, value in sysctl.items():
            self.kernel.sysctl[f"net.ipv4.{name}"] = value
        self.ip = FakeIpv4(self.kernel, mtu)
        self.tcp = Tcp(self.kernel, {4: cast(Inet, self.ip)})
        self.kernel.softirq_handlers[Softirq.NET_RX] = lambda cpu: self._net_rx()
        self._arrived: deque[SkBuff] = deque()
        self.peer_isn = peer_isn
        self.our_isn: int | None = None
        self.lport, self.rport = 8080, 40000
        self.listener: TcpSock | None = None
        self.sk: TcpSock
        self.run(1000)  # so that no timestamp is near zero

    # -- time and calls --------------------------------------------------------------------

    def run(self, ms: float = 0) -> None:
        self.engine.run(until=self.engine.now + int(ms * MS))

    def spawn(self, fn: Callable[..., Any], *args: Any) -> Task:
        """A call that runs as a task, perhaps later."""
        task = self.kernel.spawn(fn, *args)
        task.on_exit.append(lambda task: None)
        return task

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """The result of a call that does not block."""
        task = self.spawn(fn, *args)
        self.engine.run(until=self.engine.now, stop=lambda: task.state is TaskState.DEAD)
        assert task.state is TaskState.DEAD, "the call blocks"
        self.run()
        if task.exception is not None:
            raise task.exception
        return task.result

    def errno(self, fn: Callable[..., Any], *args: Any) -> int:
        """The errno of a call that fails."""
        try:
            result = self.call(fn, *args)
        except OSError as exc:
            return exc.errno or 0
        raise AssertionError(f"expected an error, got {result!r}")

    def write(self, data: bytes, flags: int = 0) -> int:
        return cast(int, self.call(self.sk.sendmsg, memoryview(data), flags))

    def read(self, n: int = 1 << 20, flags: int = 0) -> bytes:
        return cast(bytes, self.call(self.sk.recvmsg, n, flags).data)

    # -- segments --------------------------------------------------------------------------

    def segment(self, line: str, data: bytes | None = None, **fields: int) -> SkBuff:
        """A packet as IP hands it up; `fields` override header fields (`checksum=1` breaks it)."""
        match = _LINE.match(line)
        assert match, f"bad segment {line!r}"
        payload = bytes(int(match["len"] or 0)) if data is None else data
        assert len(payload) == int(match["len"] or 0)
        options = _parse_options(match["options"] or "", self.our_isn or 0)
        packed = options.pack() if isinstance(options, TcpOptions) else options
        header = TcpHeader(
            self.rport,
            self.lport,
            (int(match["seq"] or 0) + self.peer_isn) & 0xFFFFFFFF,
            (int(match["ack"]) + (self.our_isn or 0)) & 0xFFFFFFFF if match["ack"] else 0,
            sum(LETTERS[letter] for letter in match["flags"]),
            int(match["win"] or 65535),
            header_length=20 + len(packed),
        )._replace(**fields)
        raw = header.pack() + packed + payload
        if "checksum" not in fields:
            value = checksum(raw, pseudo_header_sum(PEER, US, IPPROTO_TCP, len(raw)))
            raw = raw[:16] + value.to_bytes(2, "big") + raw[18:]
        return self.packet(raw)

    def packet(self, raw: bytes) -> SkBuff:
        skb = SkBuff(self.kernel, memoryview(raw))
        skb.saddr, skb.daddr = PEER, US
        skb.dev = self.ip.device()
        return skb

    def inject(self, line: str, data: bytes | None = None, **fields: int) -> None:
        """Deliver a segment; see `segment`."""
        self.deliver(self.segment(line, data, **fields))

    def deliver(self, skb: SkBuff) -> None:
        """From a softirq, as the network does."""
        self._arrived.append(skb)
        self.kernel.cpus[0].raise_softirq(Softirq.NET_RX)
        self.run()

    def inject_error(self, icmp_type: int, code: int, mtu: int = 0, seq: int | None = None) -> None:
        """An ICMP error that quotes our segment with relative number `seq`."""
        number = self.sk.snd_una if seq is None else (seq + (self.our_isn or 0)) & 0xFFFFFFFF
        quote = TcpHeader(self.lport, self.rport, number, 0, 16, 0).pack()[:8]
        skb = SkBuff(self.kernel, memoryview(quote))
        skb.saddr, skb.daddr = US, PEER
        if mtu:
            self.ip.mtu = mtu
        self.call(self.ip.receive_error, icmp_type, code, mtu, skb)
        self.call(skb.free)

    def _net_rx(self) -> None:
        while self._arrived:
            self.ip.receive(self._arrived.popleft())

    def next(self) -> Sent:
        assert self.ip.sent, "nothing was sent"
        time, raw, saddr, daddr = self.ip.sent.pop(0)
        start = pseudo_header_sum(saddr, daddr, IPPROTO_TCP, len(raw))
        assert ones_sum(raw, start) == 0xFFFF, "bad checksum"
        header = TcpHeader.parse(raw)
        options = TcpOptions.parse(raw[20 : header.header_length])
        return Sent(time, header, options, raw[header.header_length :])

    def expect(self, *lines: str) -> Sent:
        """The next segments TCP sent are these; returns the last."""
        sent = None
        for line in lines:
            match = _LINE.match(line)
            assert match, f"bad segment {line!r}"
            sent = self.next()
            if self.our_isn is None:
                self.our_isn = sent.header.seq
            want, got = self._fields(match, sent)
            assert got == want, f"expected {line!r}, sent {got}"
        assert sent is not None
        return sent

    def _fields(self, match: re.Match[str], sent: Sent) -> tuple[dict[str, Any], dict[str, Any]]:
        header = sent.header
        seq = (header.seq - (self.our_isn or 0)) & 0xFFFFFFFF
        got: dict[str, Any] = {
            "flags": "".join(c for c, bit in LETTERS.items() if header.flags & bit)
        }
        want: dict[str, Any] = {"flags": "".join(c for c in LETTERS if c in match["flags"])}
        if match["seq"]:
            want["range"] = int(match["seq"]), int(match["end"]), int(match["len"])
            got["range"] = seq, (seq + len(sent.data)) & 0xFFFFFFFF, len(sent.data)
        if match["ack"]:
            want["ack"] = int(match["ack"])
            got["ack"] = (header.ack - self.peer_isn) & 0xFFFFFFFF
        if match["win"]:
            want["win"], got["win"] = int(match["win"]), header.window
        if match["options"] is not None:
            only_named = "..." in match["options"]
            options = _parse_options(match["options"], self.peer_isn)
            assert isinstance(options, TcpOptions)
            for name, value in options._asdict().items():
                if value or not only_named:
                    want[name], got[name] = value, getattr(sent.options, name)
            for side in (want, got):  # nobody knows our TSval in advance
                if side.get("timestamps"):
                    side["timestamps"] = side["timestamps"][1]
        return want, got

    def silent(self, ms: float = 0) -> None:
        """Nothing is sent for `ms`."""
        if ms:
            self.run(ms)
        assert not self.ip.sent, f"sent {self.next()[:3]}"

    def expect_after(self, line: str, ms: float) -> Sent:
        """Silence, then `line` exactly `ms` after now."""
        begin = self.engine.now
        self.engine.run(until=begin + int(ms * 2 * MS) + SECOND, stop=lambda: bool(self.ip.sent))
        sent = self.expect(line)
        assert (sent.time - begin) / MS == ms, f"{line!r} came after {(sent.time - begin) / MS} ms"
        return sent

    # -- ready-made openings ---------------------------------------------------------------

    def listen(self, backlog: int = 8) -> TcpSock:
        self.listener = sk = self.tcp.socket()
        self.call(sk.bind, (bytes(4), self.lport))
        self.call(sk.listen, backlog)
        return sk

    def accept(self, options: str = "mss 1000,sackOK,wscale 0", win: int = 32768) -> TcpSock:
        """A listener and one accepted connection, all numbers at 1."""
        if self.listener is None:
            self.listen()
        assert self.listener is not None
        self.inject(f"S 0:0(0) win {win} <{options}>")
        self.expect("S. 0:0(0) ack 1")
        ts = f" <TS val 101 ecr {self.tsval()}>" if "TS" in options else ""
        self.inject(f". 1:1(0) ack 1 win {win}{ts}")
        self.sk = cast(TcpSock, self.call(self.listener.accept))
        assert self.sk.state is TcpState.ESTABLISHED
        return self.sk

    def connect(self, options: str = "mss 1000,sackOK,wscale 0", win: int = 32768) -> TcpSock:
        """One connection opened by us."""
        self.start_connect()
        self.expect("S 0:0(0)")
        self.inject(f"S. 0:0(0) ack 1 win {win} <{options}>")
        self.expect(". 1:1(0) ack 1")
        self.call(self.sk.connect, (PEER, self.rport))
        return self.sk

    def start_connect(self) -> None:
        self.sk = self.tcp.socket()
        self.rport = 80
        assert self.errno(self.sk.connect, (PEER, self.rport)) == 115  # EINPROGRESS
        self.lport = self.sk.lport

    def tsval(self) -> int:
        """What our clock shows now."""
        connection = next(
            c for c in self.tcp.tables.connections.values() if c.four_tuple[3] == self.rport
        )
        return (self.engine.now // MS + connection.ts_offset) & 0xFFFFFFFF

    # -- the end ---------------------------------------------------------------------------

    def finish(self) -> None:
        """Whatever still lives must end by itself within an hour, and nothing may be left."""
        if self.listener is not None:
            self.call(self.listener.close)
        self.run(3600_000)
        left = (self.tcp.alive(), self.kernel.skbs_alive, self.kernel.timer_bases[0].active)
        assert left == (0, 0, 0), f"sockets, skbs, timers left: {left}"
        assert not self.tcp.tables.bound and not self.tcp.tables.connections
        assert not self.tcp.tables.listeners
        assert self.kernel.mib["TcpCurrEstab"] == 0

    @property
    def mib(self) -> dict[str, int]:
        return self.kernel.mib

    @property
    def drops(self) -> dict[Drop, int]:
        return {reason: n for reason, n in self.kernel.drops.items() if n}


def _parse_options(text: str, sack_base: int) -> TcpOptions | bytes:
    """`mss 1460,sackOK,TS val 1 ecr 2,wscale 7,sack 1:2 3:4`; `hex 0102` stands for raw bytes."""
    fields: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        words = part.split()
        match words[0]:
            case "mss" | "wscale":
                fields[words[0]] = int(words[1])
            case "sackOK":
                fields["sack_permitted"] = True
            case "TS":
                fields["timestamps"] = int(words[2]), int(words[4])
            case "sack":
                edges = (block.split(":") for block in words[1:])
                fields["sack"] = tuple(
                    ((int(a) + sack_base) & 0xFFFFFFFF, (int(b) + sack_base) & 0xFFFFFFFF)
                    for a, b in edges
                )
            case "hex":
                return bytes.fromhex(words[1])
            case "nop" | "...":
                pass
            case other:
                raise ValueError(f"unknown option {other}")
    return TcpOptions(**fields)


def pattern(n: int, seed: int = 0) -> bytes:
    """`n` reproducible bytes."""
    return random.Random(f"pattern/{seed}").randbytes(n)
