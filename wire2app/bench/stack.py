"""The kernel stack by itself, in virtual time: segments, round trips, connections, wake-ups.

`Receiver` and `Sender` are one host against a script, so that nobody else's work is in the
figure; the host's side is complete, from the frame in the NIC's ring to the application's `recv`
and back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pystack.uapi.process import Process
from wire2app.bench import wakeups
from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, TreeDict, alternate, rate
from wire2app.bench.hosts import CLIENT_PORT, PORT, SERVER, Alone, Two, check, start
from wire2app.bench.peer import HEADERS, MSS

BURST = 32  # frames that arrive together: within the first receive window
WRITE = 65536
SEND_BUFFER = 1 << 17
SEGMENTS = 4096
ROUND_TRIPS = 1000
MESSAGE = 64
CONNECTIONS = 300


def run(context: Context) -> TreeDict:
    scale = 4 if context.quick else 1
    receiver, sender, two = Receiver(), Sender(), Two()
    measures: list[Callable[[], float]] = [
        lambda: receiver.receive(SEGMENTS // scale),
        lambda: sender.send(SEGMENTS // scale),
        lambda: rate(lambda: round_trips(two, ROUND_TRIPS // scale)),
        lambda: rate(lambda: connections(two, CONNECTIONS // scale)),
    ]
    for measure in measures:  # caches fill and windows open
        measure()
    rx, tx, rr, opened = alternate(measures, context.rounds + 2)
    rates = wakeups.rates(context)
    return {
        "rx_segments_per_s": rx,
        "rx_us_per_segment": _microseconds(rx),
        "tx_segments_per_s": tx,
        "tx_us_per_segment": _microseconds(tx),
        "rr_per_s": rr,
        "connections_per_s": opened,
        "epoll_wakeups_per_s": {str(size): figure for size, figure in rates.items()},
    }


def _microseconds(per_second: Figure) -> Figure:
    return Figure(tuple(1e6 / value for value in per_second.values))


class Receiver:
    """One connection on which the peer sends full segments and the application reads."""

    def __init__(self) -> None:
        self.alone = Alone()
        self.read = 0
        self.sent = 0
        self.app = start(self.alone.host, self._main)
        self.alone.open([CLIENT_PORT])
        self.ends = self.alone.peer.open[CLIENT_PORT]

    def _main(self, process: Process, socket: Any) -> None:
        with socket.create_server((SERVER, PORT)) as server:
            conn, _ = server.accept()
            while data := conn.recv(WRITE):
                self.read += len(data)

    def receive(self, segments: int) -> float:
        """Segments of MSS bytes, acknowledged and read, a wall second; the first are made before.

        RuntimeError if a byte is missing.
        """
        peer, payload, end = self.alone.peer, bytes(MSS), self.sent + segments * MSS
        frames = [peer.data(self.ends, at, payload) for at in range(self.sent, end, MSS)]

        def work() -> int:
            for at in range(0, segments, BURST):
                peer.deliver(frames[at : at + BURST])
                self.alone.run()
            return segments

        result = rate(work)
        self.sent = end
        check(self.app)
        if self.read != end:
            raise RuntimeError(f"of {end} bytes {self.read} were read")
        return result


class Sender:
    """One connection on which the application writes; the peer acknowledges every two segments."""

    def __init__(self) -> None:
        self.alone = Alone()
        self.wanted = 0  # bytes the application shall have written
        self.arrived = 0
        self.acks: list[tuple[int, bytes]] = []  # what must have come, and the frame then sent
        self.app = start(self.alone.host, self._main)
        self.alone.open([CLIENT_PORT])
        self.ends = self.alone.peer.open[CLIENT_PORT]
        self.alone.peer.on_frame = self._count

    def _main(self, process: Process, socket: Any) -> None:
        with socket.create_server((SERVER, PORT)) as server:
            conn, _ = server.accept()
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            block, written = bytes(WRITE), 0
            while conn.recv(1):  # a byte from the peer asks for what is `wanted`
                while written < self.wanted:
                    written += conn.send(block[: self.wanted - written])

    def _count(self, frame: bytes) -> None:
        self.arrived += max(len(frame) - HEADERS, 0)
        while self.acks and self.acks[-1][0] <= self.arrived:
            self.alone.peer.deliver([self.acks.pop()[1]])

    def send(self, segments: int) -> float:
        """Segments of MSS bytes, sent and acknowledged, a wall second; ACKs are made before.

        RuntimeError if a byte is missing or sent twice.
        """
        peer, begin = self.alone.peer, self.arrived
        end = self.wanted = begin + segments * MSS
        question = peer.data(self.ends._replace(ack=self.ends.ack + begin), 0, b"?")
        self.ends = self.ends._replace(seq=self.ends.seq + 1)
        points = [*range(begin + 2 * MSS, end, 2 * MSS), end]
        self.acks = [(point, peer.ack(self.ends, point)) for point in reversed(points)]

        def work() -> int:
            peer.deliver([question])
            self.alone.run(1000)
            return segments

        result = rate(work)
        check(self.app)
        if self.arrived != end:
            raise RuntimeError(f"of {end - begin} bytes {self.arrived - begin} were sent")
        return result


def round_trips(two: Two, count: int) -> int:
    """Request and response of MESSAGE bytes on one connection between two hosts."""

    def echo(process: Process, socket: Any) -> None:
        with socket.create_server((SERVER, PORT)) as server:
            conn, _ = server.accept()
            with conn:
                while data := conn.recv(MESSAGE):
                    conn.sendall(data)

    def ask(process: Process, socket: Any) -> None:
        with socket.create_connection((SERVER, PORT)) as conn:
            for _ in range(count):
                conn.sendall(bytes(MESSAGE))
                if len(conn.recv(MESSAGE)) != MESSAGE:
                    raise RuntimeError("the answer is short")

    server = start(two.server, echo)
    two.settle()
    two.run(start(two.client, ask), server)
    return count


def connections(two: Two, count: int) -> int:
    """Opened by the client and closed by both, one after the other."""

    def accept(process: Process, socket: Any) -> None:
        with socket.create_server((SERVER, PORT)) as server:
            for _ in range(count):
                conn, _ = server.accept()
                with conn:
                    conn.recv(1)

    def connect(process: Process, socket: Any) -> None:
        for _ in range(count):
            socket.create_connection((SERVER, PORT)).close()

    server = start(two.server, accept)
    two.settle()
    two.run(start(two.client, connect), server)
    return count
