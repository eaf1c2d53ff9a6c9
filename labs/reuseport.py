"""L12: several listeners on one port, and who may be one of them."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Bars
from labs.lab import Lab, Result, param, require, sizes
from pystack.transport.reuseport import ReuseportGroup
from pystack.transport.tcp import tables
from pystack.transport.tcp.sock import TcpSock

USER, STRANGER = 1000, 1001


def worker(py: Modules, counts: list[int], number: int) -> None:
    """One of the processes behind the port."""
    with py.socket.socket() as listener:
        listener.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_REUSEPORT, 1)
        listener.bind(("", PORT))
        listener.listen(64)
        while True:
            conn, _ = listener.accept()
            counts[number] += 1
            conn.close()


def intruder(py: Modules, reuseport: bool) -> str:
    """Tries to get some of the connections; the errno of its bind."""
    with py.socket.socket() as listener:
        option = py.socket.SO_REUSEPORT if reuseport else py.socket.SO_REUSEADDR
        listener.setsockopt(py.socket.SOL_SOCKET, option, 1)
        try:
            listener.bind(("", PORT))
            listener.listen()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "let in"


def client(py: Modules, connections: int) -> int:
    """How many connections a worker took and closed."""
    taken = 0
    for _ in range(connections):
        with py.socket.create_connection((SERVER, PORT)) as conn:
            taken += conn.recv(1) == b""
    return taken


def first_takes_all(bench: LabBench) -> None:
    """No hash decides: `select` of ReuseportGroup gives everything to the first socket."""
    bench.patch(ReuseportGroup, "select", lambda group, flow_hash, cpu: group.socks[0])


def any_user(bench: LabBench) -> None:
    """Anybody may share the port: `_both_reuseport` of tcp/tables.py asks for no user."""

    def both(sk: TcpSock, other: tables.BindOwner) -> bool:
        return sk.sk_reuseport and other.sk_reuseport

    bench.patch(tables, "_both_reuseport", both)


@dataclass
class ReusePort(Lab):
    """SO_REUSEPORT: connections shared by a hash, among sockets of one user.

    Some processes listen on the same port, each with a socket and an accept queue of its own. What
    to look for: a keyed hash of addresses and ports decides who gets a connection, so all get about
    as many, and no lock is shared. The security rule: another user's socket may not join, or it
    could steal a share of the connections; and SO_REUSEADDR does not help it.
    """

    name = "reuseport"
    row = "L12"
    seconds = 4
    verilator = sizes(connections=200)
    icarus = sizes(connections=60, workers=3)
    breaks = (first_takes_all, any_user)

    workers: int = param(4, "processes that listen", 2, 64)
    connections: int = param(400, "connections", 20, 20_000)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        counts = [0] * self.workers
        for number in range(self.workers):
            bench.program(bench.server, worker, counts, number, uid=USER)
        bench.run_for(0.001)
        bench.show(bench.server, "ss -ltnp")
        stranger = bench.program(bench.server, intruder, True, uid=STRANGER)
        reuseaddr = bench.program(bench.server, intruder, False, uid=USER)
        bench.run(stranger, reuseaddr)
        asking = bench.program(bench.client, client, self.connections)
        while not bench.wait(asking, limit=self.connections * 5e-6):
            bench.progress("connect", sum(counts), self.connections)
        return Result(
            counts=counts, taken=asking.result, stranger=stranger.result, reuseaddr=reuseaddr.result
        )

    def check(self, result: Result) -> None:
        mean = self.connections / self.workers
        # Six standard deviations of a fair draw: it is a hash, no draw, and one seed's ports.
        bound = 6 * (mean * (1 - 1 / self.workers)) ** 0.5
        require(result.taken == self.connections, f"{result.taken} connections were taken.")
        require(
            all(abs(count - mean) <= min(bound, 0.7 * mean) for count in result.counts),
            f"the workers got {result.counts} connections.",
        )
        require(result.stranger == "EADDRINUSE", f"another user's socket was {result.stranger}.")
        require(result.reuseaddr == "EADDRINUSE", f"SO_REUSEADDR was {result.reuseaddr}.")

    def conclude(self, result: Result) -> str:
        return (
            f"{self.connections} connections to one port were shared among {self.workers} "
            f"processes as {', '.join(map(str, result.counts))}; a fair share is "
            f"{self.connections / self.workers:g}. A socket of another user with SO_REUSEPORT got "
            f"{result.stranger}, and so did one with SO_REUSEADDR only."
        )

    def chart(self, result: Result) -> Bars:
        labels = [f"worker {number + 1}" for number in range(self.workers)]
        mean = {"fair share": self.connections / self.workers}
        title = f"{self.connections} connections to one port"
        return Bars(title, "connections", labels, {"accepted": result.counts}, mean)
