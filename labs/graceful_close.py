"""L15: two ways to end a connection, and what the other side sees of each."""

from __future__ import annotations

import contextlib
import errno
import struct
from dataclasses import dataclass
from typing import Any

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Ladder, rungs
from labs.lab import Lab, Result, param, require
from pystack.transport.tcp import close as tcp_close
from pystack.transport.tcp import rcvbuf
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState

WAYS = "shutdown, read, close", "close with unread data", "SO_LINGER with 0 s"
LAST = b"still there?"


def server(py: Modules, size: int, seen: list[list[Any]]) -> None:
    """Sends `size` bytes to each client and tells how the connection ended for it."""
    with py.socket.create_server(("", PORT)) as listener:
        for _ in WAYS:
            conn, _ = listener.accept()
            with conn:
                _outcome(conn.sendall, bytes(size))
                py.time.sleep(0.05)  # the client goes meanwhile
                seen.append([_outcome(conn.recv, 100), _outcome(conn.send, LAST)])


def _outcome(call: Any, *args: Any) -> str:
    try:
        result = call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "EOF" if result == b"" else f"{result} bytes"


def graceful(py: Modules) -> int:
    """shutdown, read to the end, close: the bytes that were read."""
    got = 0
    with py.socket.create_connection((SERVER, PORT)) as conn, contextlib.suppress(OSError):
        conn.shutdown(py.socket.SHUT_WR)
        while data := conn.recv(4096):
            got += len(data)
    return got


def careless(py: Modules) -> int:
    """Reads a little and closes."""
    with py.socket.create_connection((SERVER, PORT)) as conn:
        return len(conn.recv(1))


def brutal(py: Modules) -> int:
    """Reads everything there is, and throws the connection away."""
    with py.socket.create_connection((SERVER, PORT)) as conn:
        py.time.sleep(0.01)
        got = len(conn.recv(1 << 20))
        conn.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_LINGER, struct.pack("ii", 1, 0))
        return got


def unread_forgotten(bench: LabBench) -> None:
    """close does not look at the receive buffer: `purge` of tcp/rcvbuf.py says it was empty."""
    original = rcvbuf.purge

    def purge(sk: TcpSock) -> int:
        original(sk)
        return 0

    bench.patch(rcvbuf, "purge", purge)


def always_abort(bench: LabBench) -> None:
    """Every end is abortive: `close_sending` of tcp/close.py resets."""
    bench.patch(tcp_close, "close_sending", tcp_close._abort)


@dataclass
class GracefulClose(Lab):
    """Graceful and abortive close: FIN, RST, and who learns what.

    Three clients leave a server that has sent them data. The first does as one should: shutdown,
    read until EOF, close. What to look for: a FIN each way, both sides have everything, and the
    side that closed first stays in TIME_WAIT. The second closes with data unread; the third sets
    SO_LINGER to 0: both send a RST. The server gets ECONNRESET, and EPIPE when it writes again,
    what it had sent may be lost, and no TIME_WAIT is left.
    """

    name = "close"
    row = "L15"
    seconds = 3
    breaks = (unread_forgotten, always_abort)

    size: int = param(3000, "bytes the server sends to each", 2, 60_000)

    def run(self, bench: LabBench) -> Result:
        seen: list[list[Any]] = []
        got, left, drawn, resets = [], [], [], []
        bench.program(bench.server, server, self.size, seen)
        bench.run_for(0.001)
        for number, (client, way) in enumerate(
            zip((graceful, careless, brutal), WAYS, strict=True)
        ):
            leaving = bench.program(bench.client, client)
            bench.say(f"The client leaves: {way}.")
            with bench.tcpdump(bench.client, 20):
                bench.wait(leaving, limit=1)
                bench.wait(lambda number=number: len(seen) > number, limit=1)  # type: ignore[misc]
                bench.run_for(0.001)
            bench.show(bench.client, "ss -tan")
            segments = bench.wire.connection(number)
            got.append(leaving.result)
            left.append(bench.count(bench.client, TcpState.TIME_WAIT))
            resets.append(sum(bool(s.packet.tcp.flags & 4) for s in segments))  # type: ignore[union-attr]
            drawn += [[None, way, False, ""], *rungs(segments)]
        bench.show(bench.client, "nstat -az TcpOutRsts TcpExtTCPAbortOn*")
        return Result(seen=seen, got=got, time_waits=left, resets=resets, rungs=drawn)

    def check(self, result: Result) -> None:
        nice, unread, linger = range(3)
        all_of_it = self.size + len(LAST)
        require(result.got[nice] == all_of_it, f"{result.got[nice]} bytes were read gracefully.")
        require(not result.resets[nice], "the graceful close sent a RST.")
        require(result.time_waits[nice] == 1, "the graceful close left no TIME_WAIT.")
        require(
            result.seen[nice][0] == "EOF", f"the server saw {result.seen[nice][0]}, not the end."
        )
        for way in (unread, linger):
            require(result.resets[way], f"{WAYS[way]} sent no RST.")
            first, then = result.seen[way]
            require(first == "ECONNRESET", f"{WAYS[way]} gave the server {first}.")
            require(then == "EPIPE", f"{WAYS[way]} let the server write: {then}.")
        require(result.time_waits[linger] == 1, "an abortive close left a TIME_WAIT.")

    def conclude(self, result: Result) -> str:
        return (
            f"The graceful client read all {result.got[0]:,} bytes; the server saw EOF, could "
            f"still send {result.seen[0][1]}, and TIME_WAIT was left at the client. The "
            f"one that closed with data unread had read {result.got[1]:,} byte; the server got "
            f"{result.seen[1][0]} and then {result.seen[1][1]}. The one with SO_LINGER 0 had read "
            f"{result.got[2]:,} bytes and reset all the same. Of three connections one left a "
            "TIME_WAIT."
        )

    def chart(self, result: Result) -> Ladder:
        return Ladder("Three ways to leave", "client", "server", result.rungs)
