"""L8: thousands of SYNs from nobody, and what becomes of the clients among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labs.bench import CLIENT, PORT, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require, sizes
from labs.packets import syn
from pystack.transport.tcp import listen, syncookies

BACKLOG = 128
PATIENCE = 3  # seconds a client waits for its connection
TCP_INFO, OPTIONS = 11, 5  # getsockopt, and where in the struct the options are


def server(py: Modules) -> None:
    """Accepts at once, answers, closes: it is never what is slow."""
    with py.socket.socket() as listener:
        listener.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen(BACKLOG)
        while True:
            conn, _ = listener.accept()
            with conn:
                conn.sendall(b"welcome")
                conn.recv(1)


def attacker(py: Modules, syns: int, rate: int) -> None:
    """SYNs from addresses of 198.18.0.0/15, where nobody answers, out of a raw socket."""
    with py.socket.socket(py.socket.AF_PACKET, py.socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        for n in range(syns):
            source = f"198.{18 + n % 2}.{n * 7 % 256}.{n * 13 % 256}"
            raw.send(syn(source, 1024 + n % 60000, PORT, n * 2654435761 & 0xFFFFFFFF))
            py.time.sleep(1 / rate)


def client(py: Modules, options: list[int]) -> float | None:
    """How long until it was served, ms; None if it gave up."""
    start = py.time.monotonic()
    try:
        with py.socket.create_connection((SERVER, PORT), PATIENCE) as conn:
            conn.settimeout(PATIENCE)
            conn.recv(100)
            options.append(conn.getsockopt(py.socket.IPPROTO_TCP, TCP_INFO, 104)[OPTIONS])
            return float(py.time.monotonic() - start) * 1e3
    except OSError:
        return None


def cookies_off(bench: LabBench) -> None:
    """No cookie is sent whatever the sysctl says: `_want_cookie` of tcp/listen.py says no."""
    bench.patch(listen, "_want_cookie", lambda listener: False)


def cookies_refused(bench: LabBench) -> None:
    """The ACK of a cookie is not believed: `check` of tcp/syncookies.py finds nothing."""
    bench.patch(syncookies, "check", lambda listener, skb: None)


def endless_queue(bench: LabBench) -> None:
    """The SYN queue takes all: `_queue_is_full` and `_refusal` of tcp/listen.py say no."""
    bench.patch(listen, "_queue_is_full", lambda listener: False)
    bench.patch(listen, "_refusal", lambda listener: None)


@dataclass
class SynFlood(Lab):
    """SYN flood, without and with cookies.

    An attacker sends SYNs from addresses where nobody answers; meanwhile clients come. The
    listener's backlog is 128. What to look for: the SYN queue fills within the first instants and
    stays full, for a SYN-ACK is repeated for a minute. With tcp_syncookies=0 every further SYN is
    dropped, the clients' too. With tcp_syncookies=1 it is answered without being remembered, by a
    sequence number that says it all; clients notice nothing. The price: a client that sends no
    timestamps gets neither window scaling nor SACK.
    """

    name = "syn-flood"
    row = "L8"
    seconds = 10
    verilator = sizes(syns=2000, clients=20)
    icarus = sizes(syns=300, clients=6)
    breaks = (cookies_off, cookies_refused, endless_queue)

    syns: int = param(4000, "SYNs of the attacker", 200, 100_000)
    clients: int = param(40, "clients that come meanwhile", 2, 500)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        bench.server.ipv4.add_route("default", CLIENT)
        off, on = self._flood(bench, cookies=0), self._flood(bench, cookies=1)
        return Result(off=off, on=on, plain_options=self._plain(bench))

    def _flood(self, bench: LabBench, cookies: int) -> dict[str, Any]:
        """The attack, 2 s long, and the clients in it."""
        bench.say(f"The attack with net.ipv4.tcp_syncookies={cookies}.")
        bench.sysctl(bench.server, "tcp_syncookies", cookies)
        mib = bench.server.kernel.mib
        before = mib.copy()
        serving = bench.program(bench.server, server)
        bench.run_for(0.01)
        start, queue = bench.seconds, list[list[float]]()
        bench.every(0.02, lambda: queue.append([bench.seconds - start, half_open(bench)]))
        flood = bench.program(bench.client, attacker, self.syns, self.syns // 2)
        bench.wait(lambda: half_open(bench) > BACKLOG, limit=1)
        asking, options, came = [], list[int](), list[float]()
        for number in range(self.clients):
            bench.run_for(1 / self.clients)
            bench.progress(f"tcp_syncookies={cookies}", number + 1, self.clients)
            came.append(bench.seconds - start)
            asking.append(bench.program(bench.client, client, options))
        bench.show(bench.server, "ss -tn state syn-recv", 5)
        bench.run(flood)
        curve = queue.copy()
        bench.run(*asking, limit=60)
        bench.show(bench.server, "ss -ltn")
        bench.show(bench.server, "nstat -az TcpExtListenDrops TcpExtSyncookies* TcpExtTCPReqQFull*")
        serving.kill()
        bench.run(serving)
        waits = [process.result for process in asking]
        return {
            "served": sum(wait is not None for wait in waits),
            "waits": waits,
            "served_at": sorted(t + w / 1e3 for t, w in zip(came, waits, strict=True) if w),
            "queue": curve,
            **{name: mib[f"TcpExt{name}"] - before[f"TcpExt{name}"] for name in COUNTERS},
        }

    def _plain(self, bench: LabBench) -> int:
        """TCPI_OPT_* of a client without timestamps, when every SYN is answered by a cookie."""
        bench.sysctl(bench.server, "tcp_syncookies", 2)
        bench.sysctl(bench.client, "tcp_timestamps", 0)
        serving, options = bench.program(bench.server, server), list[int]()
        bench.run_for(0.01)
        bench.run(bench.program(bench.client, client, options))
        serving.kill()
        bench.run(serving)
        return options[0] if options else -1

    def check(self, result: Result) -> None:
        off, on = result.off, result.on
        require(
            not off["served"],
            f"{off['served']} of {self.clients} clients were served without cookies.",
        )
        require(
            max(depth for _, depth in off["queue"]) == BACKLOG + 1,
            f"the SYN queue held up to {max(d for _, d in off['queue'])}, not {BACKLOG + 1}.",
        )
        require(
            on["served"] == self.clients,
            f"{on['served']} of {self.clients} clients were served with cookies.",
        )
        require(on["SyncookiesRecv"], "no connection was made of a cookie.")
        require(result.plain_options == 0, "a cookie kept options without timestamps.")

    def conclude(self, result: Result) -> str:
        off, on = result.off, result.on
        waits = sorted(wait for wait in on["waits"] if wait is not None)
        return (
            f"{self.syns:,} SYNs in 2 s filled the queue of {BACKLOG + 1}. Without cookies "
            f"{off['ListenDrops']:,} SYNs were dropped, and none of {self.clients} clients was "
            f"served; each gave up after {PATIENCE} s. With cookies "
            f"{on['SyncookiesSent']:,} were answered without being remembered, "
            f"{on['SyncookiesRecv']} of them came back as connections, and {on['served']} of "
            f"{self.clients} clients were served, the slowest within {waits[-1] * 1e3:.1f} µs. A "
            "client without timestamps lost window scaling and SACK."
        )

    def chart(self, result: Result) -> Curves:
        def served(phase: dict[str, Any]) -> list[list[float]]:
            end = phase["queue"][-1][0]
            return [[0, 0], *([t, n + 1] for n, t in enumerate(phase["served_at"])),
                    [end, phase["served"]]]  # fmt: skip

        return Curves(
            f"{self.clients} clients in a flood of {self.syns:,} SYNs",
            "seconds",
            "connections",
            {
                "half open": result.off["queue"],
                "clients served, cookies": served(result.on),
                "clients served, no cookies": served(result.off),
            },
        )


COUNTERS = "ListenDrops", "SyncookiesSent", "SyncookiesRecv"


def half_open(bench: LabBench) -> int:
    """The length of the SYN queue (`ss -tn state syn-recv | wc -l`)."""
    return sum(len(sk.requests) for sk in bench.server.tcp.sockets)
