"""L11: the heartbeat of an idle connection, and a peer that goes without a word."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Ladder, rungs
from labs.lab import Lab, Result, param, require
from pystack.transport.tcp import keepalive

PROBES = 9  # net.ipv4.tcp_keepalive_probes
CALM = 3  # heartbeats before the peer goes


def server(py: Modules, interval: int) -> list[Any]:
    """As Go's net package sets it: how the connection ended, and when."""
    with py.socket.create_server(("", PORT)) as listener:
        conn, _ = listener.accept()
    with conn:
        if interval:
            conn.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_KEEPALIVE, 1)
            conn.setsockopt(py.socket.IPPROTO_TCP, py.socket.TCP_KEEPIDLE, interval)
            conn.setsockopt(py.socket.IPPROTO_TCP, py.socket.TCP_KEEPINTVL, interval)
        conn.sendall(b"hello")
        try:
            conn.recv(1)
            return ["EOF", py.time.monotonic()]
        except OSError as error:
            return [errno.errorcode[error.errno or 0], py.time.monotonic()]


def client(py: Modules) -> None:
    """Connects, reads, and is silent for ever."""
    conn = py.socket.create_connection((SERVER, PORT))
    conn.recv(100)
    py.time.sleep(1e6)


def no_keepalive(bench: LabBench) -> None:
    """SO_KEEPALIVE does nothing: `expired` of tcp/keepalive.py never probes."""
    bench.patch(keepalive, "expired", lambda sk: False)


def never_give_up(bench: LabBench) -> None:
    """Unanswered probes are not counted: `probe_limit` of tcp/keepalive.py is endless."""
    bench.patch(keepalive, "probe_limit", lambda sk: 1 << 30)


@dataclass
class KeepAlive(Lab):
    """Keepalive: a heartbeat every 15 seconds, and how a silent peer is found dead.

    The server sets keepalive to 15 s, as Go's net package does; nobody says anything. What to look
    for: every 15 s an empty segment, one byte below what was acknowledged last, and the peer's
    ACK. Then the peer is unplugged: no FIN, no RST. Nine probes go unanswered, and the tenth
    expiry ends the connection with ETIMEDOUT. Without keepalive the same connection is still
    ESTABLISHED after two hours: a ghost.
    """

    name = "keepalive"
    row = "L11"
    seconds = 3
    breaks = (no_keepalive, never_give_up)

    interval: int = param(15, "seconds between two heartbeats", 1, 100)

    def run(self, bench: LabBench) -> Result:
        serving = bench.program(bench.server, server, self.interval)
        bench.run_for(0.001)
        with bench.tcpdump(bench.server):
            bench.program(bench.client, client)
            bench.run_for(CALM * self.interval + self.interval / 3)
        bench.say(f"{CALM} heartbeats.")
        bench.show(bench.server, f"ss -tno sport = :{PORT}")
        unplugged = bench.seconds
        bench.wire.lose = lambda seen: True
        bench.say("The peer is unplugged.")
        bench.wait(serving, limit=self.interval * (PROBES + 5))
        bench.show(bench.server, "nstat -az TcpExtTCPKeepAlive TcpExtTCPAbortOnTimeout")
        probes = [s for s in bench.wire.segments()[5:] if not s.to_server]
        ended = serving.result or ["", bench.seconds]
        return Result(
            heartbeats=[s.when / 1e9 for s in probes if not s.lost],
            unanswered=[s.when / 1e9 for s in probes if s.lost and not s.packet.tcp.flags & 4],  # type: ignore[union-attr]
            ended=ended[0],
            found_after=ended[1] - unplugged,
            ghost=self._ghost(bench),
            rungs=rungs(bench.wire.connection(0)),
        )

    def _ghost(self, bench: LabBench) -> bool:
        """Is a connection without keepalive still there two hours after its peer?"""
        if bench.server.tcp.sockets:
            return True
        bench.wire.lose = None
        serving = bench.program(bench.server, server, 0)
        bench.run_for(0.001)
        bench.program(bench.client, client)
        bench.run_for(1)
        bench.wire.lose = lambda seen: True
        bench.run_for(7300)
        bench.say("Without keepalive, two hours after the peer was unplugged.")
        bench.show(bench.server, "ss -tno")
        return serving.alive

    def check(self, result: Result) -> None:
        beats = result.heartbeats
        require(len(beats) == CALM, f"{len(beats)} heartbeats in {CALM} intervals were sent.")
        gaps = [b - a for a, b in pairwise([*beats, *result.unanswered])]
        steady = all(abs(gap - self.interval) < 0.05 for gap in gaps)
        require(steady, f"heartbeats were {[round(g, 2) for g in gaps]} s apart.")
        require(
            result.ended == "ETIMEDOUT",
            f"the connection ended with {result.ended or 'nothing'}, not ETIMEDOUT.",
        )
        require(len(result.unanswered) == PROBES, f"{len(result.unanswered)} probes were sent.")
        require(result.ghost, "the connection without keepalive is gone, too.")

    def conclude(self, result: Result) -> str:
        return (
            f"The idle connection beat at {', '.join(f'{t:.1f}' for t in result.heartbeats)} s. "
            f"After the peer was unplugged {len(result.unanswered)} probes, {self.interval} s "
            f"apart, got no answer, and {result.found_after:.1f} s after the silence began recv "
            f"failed with {result.ended}. The same connection without keepalive is still "
            "ESTABLISHED two hours later."
        )

    def chart(self, result: Result) -> Ladder:
        title = f"A heartbeat every {self.interval} s, and a peer that is unplugged"
        return Ladder(title, "client", "server", result.rungs)
