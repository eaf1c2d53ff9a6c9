"""L1: a server that sends back what it gets, and clients."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Ladder, rungs
from labs.lab import Lab, Result, param, require
from pystack.transport.tcp.sock import TcpSock


def server(py: Modules, clients: int) -> None:
    """Serves one client after the other; the listener stays, each client gets a descriptor."""
    with py.socket.create_server(("", PORT)) as listener:
        for _ in range(clients):
            conn, _ = listener.accept()
            with conn:
                while data := conn.recv(4096):
                    conn.sendall(b"ECHO: " + data)


def client(py: Modules, lines: int, round_trips: list[float]) -> int:
    """Sends lines; returns how many came back right."""
    right = 0
    with py.socket.create_connection((SERVER, PORT)) as conn:
        for number in range(lines):
            line, start = f"hello {number}\n".encode(), py.time.perf_counter()
            conn.sendall(line)
            answer = conn.recv(4096)
            round_trips.append((py.time.perf_counter() - start) * 1e6)
            right += answer == b"ECHO: " + line
    return right


def no_wake_up(bench: LabBench) -> None:
    """Nobody is told of data: `Sock.wake` of pystack/transport/sock.py does nothing."""
    bench.patch(TcpSock, "wake", lambda *args: None)


@dataclass
class Echo(Lab):
    """Echo: a byte from the wire to recv() and back.

    The server listens on port 8080 and sends back each line with ECHO: in front. What to look for:
    the handshake before the first line; that every line is one segment with PSH and is answered
    by one; that the FIN of the client reads as an empty string at the server.
    """

    name = "echo"
    row = "L1"
    seconds = 3
    breaks = (no_wake_up,)

    clients: int = param(3, "clients, one after the other", high=1000)
    lines: int = param(10, "lines each sends", high=1000)

    def run(self, bench: LabBench) -> Result:
        serving = bench.program(bench.server, server, self.clients)
        bench.run_for(0.001)
        trips: list[float] = []
        right = 0
        for number in range(self.clients):
            bench.progress("echo", number, self.clients)
            asking = bench.program(bench.client, client, self.lines, trips)
            with bench.tcpdump(bench.server) if not number else nullcontext():
                if not bench.wait(asking, limit=60):
                    break
                bench.run_for(0.0001)
            right += asking.result
        bench.wait(serving, limit=60)
        drawn = rungs(bench.wire.connection(0))
        return Result(right=right, round_trips=trips, rungs=[*drawn[:9], *drawn[9:][-3:]])

    def check(self, result: Result) -> None:
        wanted = self.clients * self.lines
        require(result.right == wanted, f"{result.right} of {wanted} lines came back right.")

    def conclude(self, result: Result) -> str:
        trips = sorted(result.round_trips)
        return (
            f"{self.clients} clients sent {self.lines} lines each, and {result.right} came back "
            f"right. A round trip took {trips[len(trips) // 2]:.1f} µs in the middle, from "
            f"{trips[0]:.1f} to {trips[-1]:.1f}: two system calls at either end, two interrupts, "
            "and the wire."
        )

    def chart(self, result: Result) -> Ladder:
        return Ladder("One client: handshake, lines, end", "client", "server :8080", result.rungs)
