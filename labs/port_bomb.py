"""L2: a connection for every request, until there is no port left; and the cure."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require, sizes
from pystack.transport.tcp import lifecycle, timewait
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState

FIRST = 32768  # net.ipv4.ip_local_port_range begins here, and ends at 60999
TIME_WAIT = 60
POOL = 4


def server(py: Modules) -> None:
    """One thread a connection; it never closes first."""

    def serve(conn: Any) -> None:
        with conn:
            while data := conn.recv(100):
                conn.sendall(data)

    with py.socket.create_server(("", PORT), backlog=1024) as listener:
        while True:
            conn, _ = listener.accept()
            py.process.thread(serve, conn, daemon=True)


def bomb(py: Modules, requests: int) -> list[int]:
    """A connection a request, closed here: how many there were, and the errno of the last."""
    for done in range(requests):
        try:
            with py.socket.create_connection((SERVER, PORT)):
                pass
        except OSError as error:
            return [done, error.errno or 0]
    return [requests, 0]


def pool(py: Modules, requests: int) -> list[int]:
    """The same number of requests over few connections that stay."""
    try:
        conns = [py.socket.create_connection((SERVER, PORT)) for _ in range(POOL)]
    except OSError as error:
        return [0, error.errno or 0]
    for done in range(requests):
        conn = conns[done % POOL]
        conn.sendall(b"ping")
        if conn.recv(100) != b"ping":
            return [done, errno.EPROTO]
    for conn in conns:
        conn.close()
    return [requests, 0]


def no_time_wait(bench: LabBench) -> None:
    """Connections end without TIME_WAIT: `enter` of tcp/timewait.py forgets them at once."""

    def enter(sk: TcpSock, substate: TcpState, timeout: int = 0) -> None:
        lifecycle.done(sk)

    bench.patch(timewait, "enter", enter)


def time_wait_for_ever(bench: LabBench) -> None:
    """TIME_WAIT does not end: its timer calls nothing (`kill` of tcp/timewait.py)."""
    bench.patch(timewait.TimeWaitSock, "kill", lambda tw: None)


@dataclass
class PortBomb(Lab):
    """The port bomb: TIME_WAIT takes every port, and pooling cures it.

    A client opens a connection for each request and closes it. It closes first, so its side stays
    in TIME_WAIT for 60 s, and keeps its port towards this server. What to look for: the count of
    TIME_WAIT grows with every request; when all 28,232 ephemeral ports (32768 to 60999) are taken,
    connect fails with EADDRNOTAVAIL, cannot assign requested address; a minute later it works
    again. A pool of four connections then carries the same requests and leaves no trace.
    """

    name = "port-bomb"
    row = "L2"
    seconds = 90
    verilator = sizes(ports=1000)
    icarus = sizes(ports=100)
    breaks = (no_time_wait, time_wait_for_ever)

    ports: int = param(28232, "ephemeral ports, from 32768 on", 10, 28232)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        bench.sysctl(bench.client, "ip_local_port_range", f"{FIRST} {FIRST + self.ports - 1}")
        bench.program(bench.server, server)
        bench.run_for(0.001)
        curve: list[list[float]] = []

        def sample() -> int:
            curve.append([bench.seconds, bench.count(bench.client, TcpState.TIME_WAIT)])
            return round(curve[-1][1])

        bombing = bench.program(bench.client, bomb, self.ports + 10)
        while not bench.wait(bombing, limit=self.ports * 50e-6 / 20):
            bench.progress("bomb", sample(), self.ports)
        bench.run_for(0.1)  # the last FIN is on its way
        in_time_wait = sample()
        done, error = bombing.result
        bench.say(f"After {done:,} connections connect failed: {errno.errorcode.get(error)}.")
        bench.show(bench.client, "ss -s", 8)
        bench.show(bench.client, "ss -tan state time-wait", 5)
        for _ in range(31):
            bench.run_for(2)
            sample()
        again = self._one(bench, bomb, 1)
        bench.run_for(TIME_WAIT + 2)
        bench.say("Now the same number of requests over a pool of four connections.")
        bench.progress("pool")
        start = bench.seconds
        pooled = self._one(bench, pool, self.ports + 10)
        took = bench.seconds - start
        bench.run_for(0.1)
        bench.show(bench.client, "ss -s", 8)
        return Result(
            done=done,
            error=errno.errorcode.get(error, ""),
            time_wait=in_time_wait,
            again=again[0],
            pooled=pooled[0],
            pool_time_wait=sample(),
            pool_seconds=took,
            curve=curve[:-1],
        )

    def _one(self, bench: LabBench, fn: Any, requests: int) -> list[int]:
        process = bench.program(bench.client, fn, requests)
        bench.run(process)
        result: list[int] = process.result
        return result

    def check(self, result: Result) -> None:
        require(
            result.done == self.ports and result.error == "EADDRNOTAVAIL",
            f"{result.done} connections, not {self.ports}, ended with {result.error or 'nothing'}.",
        )
        require(
            result.time_wait == self.ports,
            f"{result.time_wait} ports of {self.ports} were in TIME_WAIT.",
        )
        require(result.again == 1, f"{TIME_WAIT + 2} s later connect still failed.")
        require(result.pooled == self.ports + 10, f"the pool carried {result.pooled} requests.")
        require(result.pool_time_wait <= POOL, f"the pool left {result.pool_time_wait} TIME_WAITs.")

    def conclude(self, result: Result) -> str:
        return (
            f"{result.done:,} connections one after the other put {result.time_wait:,} ports into "
            f"TIME_WAIT, all there are; the next connect failed with {result.error}. A minute "
            f"later it worked again. The pool carried {result.pooled:,} requests in "
            f"{result.pool_seconds:.2f} s over {POOL} connections, and left {POOL} in TIME_WAIT."
        )

    def chart(self, result: Result) -> Curves:
        return Curves(
            "Ports of the client in TIME_WAIT",
            "seconds",
            "ports",
            {"TIME_WAIT": result.curve},
            {f"all {self.ports:,} ports": self.ports},
        )
