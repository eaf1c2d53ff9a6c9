"""L9: an application too slow to accept, and the two things a kernel can do about it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require
from pystack.transport.tcp import listen

BACKLOG = 4
WAVES = 3, 5, 4  # clients: into the queue; into the queue or too late; too late
CLIENTS = sum(WAVES)
SLEEP = 1.5  # seconds until the application accepts


def server(py: Modules) -> None:
    with py.socket.socket() as listener:
        listener.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen(BACKLOG)
        py.time.sleep(SLEEP)
        while True:
            conn, _ = listener.accept()
            with conn:
                conn.sendall(conn.recv(100))


def client(py: Modules) -> list[Any]:
    """Seconds until connect returned (0: never) and until it was answered, and how it ended."""
    start, connected = py.time.monotonic(), 0.0
    try:
        with py.socket.create_connection((SERVER, PORT)) as conn:
            connected = py.time.monotonic() - start
            conn.sendall(b"hello")
            answer = conn.recv(100)
            end = "served" if answer == b"hello" else "closed"
    except OSError as error:
        end = errno.errorcode[error.errno or 0]
    return [connected, py.time.monotonic() - start, end]


def endless_accept_queue(bench: LabBench) -> None:
    """The accept queue is never full: `acceptq_is_full` of tcp/listen.py says no."""
    bench.patch(listen, "acceptq_is_full", lambda listener: False)


def abort_ignored(bench: LabBench) -> None:
    """No RST for an overflow: `_embryonic_reset` of tcp/listen.py only forgets the request."""
    bench.patch(listen, "_embryonic_reset", lambda req, skb, by_peer: skb.free())


@dataclass
class SlowAccept(Lab):
    """Slow accept: the queue overflows, silently or with a reset.

    Clients connect in three waves to a listener with a backlog of 4, whose application sleeps and
    then accepts. The path takes 20 ms, so the SYNs of a wave pass before their ACKs fill the queue.
    What to look for: clients whose last ACK finds the queue full believe that they are connected.
    With tcp_abort_on_overflow=0 their ACK is dropped, the server repeats its SYN-ACK, they their
    data, and all is well a second or more later. With 1 they get a RST: ECONNRESET at once.
    """

    name = "slow-accept"
    row = "L9"
    seconds = 4
    breaks = (endless_accept_queue, abort_ignored)

    rtt_ms: int = param(20, "round-trip time, ms", 5, 100)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        bench.delay(self.rtt_ms / 2000)
        bench.sysctl(bench.server, "tcp_syncookies", 0)
        return Result(
            silent=self._overflow(bench, abort=0),
            reset=self._overflow(bench, abort=1),
        )

    def _overflow(self, bench: LabBench, abort: int) -> dict[str, Any]:
        bench.say(f"net.ipv4.tcp_abort_on_overflow={abort}")
        bench.sysctl(bench.server, "tcp_abort_on_overflow", abort)
        mib = bench.server.kernel.mib
        before = mib.copy()
        serving = bench.program(bench.server, server)
        bench.run_for(0.01)
        start = bench.seconds
        queue: list[list[float]] = []
        asking = []
        for wave in WAVES:
            asking += [bench.program(bench.client, client) for _ in range(wave)]
            for _ in range(10):
                bench.run_for(self.rtt_ms / 5000)
                queue.append([bench.seconds - start, _accept_queue(bench)])
        bench.show(bench.server, "ss -ltn")
        bench.show(bench.server, "ss -tan exclude time-wait", 14)
        while not bench.wait(*asking, limit=0.1) and bench.seconds - start < 60:
            queue.append([bench.seconds - start, _accept_queue(bench)])
        bench.show(bench.server, "nstat -az TcpExtListenOverflows TcpExtListenDrops")
        serving.kill()
        bench.run(serving)
        bench.run_for(0.1)
        ends = [process.result for process in asking if not process.alive]
        return {
            "queue": queue,
            "served": sum(end == "served" for *_, end in ends),
            "late": sum(connected and took > SLEEP + 0.4 for connected, took, end in ends),
            "resets": sum(bool(connected) and end == "ECONNRESET" for connected, _, end in ends),
            "reset_after": max([took for _, took, end in ends if end == "ECONNRESET"], default=0),
            "served_at": sorted(took for _, took, end in ends if end == "served"),
            "overflows": mib["TcpExtListenOverflows"] - before["TcpExtListenOverflows"],
        }

    def check(self, result: Result) -> None:
        silent, reset = result.silent, result.reset
        highest = max(depth for _, depth in silent["queue"])
        require(highest == BACKLOG + 1, f"the accept queue held {highest}, not {BACKLOG + 1}.")
        require(silent["overflows"] and reset["overflows"], "the accept queue did not overflow.")
        require(silent["resets"] == 0, f"{silent['resets']} clients were reset with 0.")
        require(
            silent["served"] == CLIENTS,
            f"{silent['served']} of {CLIENTS} clients were served in the end with 0.",
        )
        require(reset["resets"], "no connected client was reset with tcp_abort_on_overflow=1.")

    def conclude(self, result: Result) -> str:
        silent, reset = result.silent, result.reset
        return (
            f"The accept queue of a backlog of {BACKLOG} took {BACKLOG + 1} connections. With "
            f"tcp_abort_on_overflow=0 there were {silent['overflows']} overflows, no error, and "
            f"all {silent['served']} clients were served, the last after "
            f"{silent['served_at'][-1]:.1f} s. With tcp_abort_on_overflow=1, {reset['resets']} "
            f"clients that were connected got ECONNRESET, the last after "
            f"{reset['reset_after'] * 1e3:.0f} ms; the {reset['served']} others were served."
        )

    def chart(self, result: Result) -> Curves:
        def served(phase: dict[str, Any]) -> list[list[float]]:
            return [[0, 0], *([t, n + 1] for n, t in enumerate(phase["served_at"]))]

        return Curves(
            f"{CLIENTS} clients, an application that sleeps {SLEEP} s",
            "seconds",
            "connections",
            {
                "served, abort_on_overflow=0": served(result.silent),
                "served, abort_on_overflow=1": served(result.reset),
                "accept queue (0)": result.silent["queue"],
            },
            {"backlog + 1": BACKLOG + 1},
            steps=True,
        )


def _accept_queue(bench: LabBench) -> int:
    return sum(len(sk.accept_queue) for sk in bench.server.tcp.sockets)
