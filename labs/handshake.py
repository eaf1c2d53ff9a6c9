"""L5: the three segments, the two queues they go through, and the options they agree on."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require
from labs.labwire import Seen, syn_options
from pystack.core.skb import SkBuff
from pystack.transport.tcp import listen
from pystack.transport.tcp.request import RequestSock

BACKLOG = 16
MSS, SCALE = 1460, 7
FIRST_ACCEPT = 0.1  # seconds: what the application does before


def server(py: Modules, clients: int, peers: list[int]) -> None:
    """Listens, is busy with something else, then takes one connection every 10 ms."""
    with py.socket.create_server(("", PORT), backlog=BACKLOG) as listener:
        py.time.sleep(FIRST_ACCEPT)
        for _ in range(clients):
            conn, peer = listener.accept()
            peers.append(peer[1])
            conn.close()
            py.time.sleep(0.01)


def client(py: Modules) -> list[int | float]:
    """Its port, and the seconds at which connect returned."""
    with py.socket.create_connection((SERVER, PORT)) as conn:
        connected = py.time.monotonic()
        conn.recv(1)
        return [conn.getsockname()[1], connected]


def ack_ignored(bench: LabBench) -> None:
    """The third segment does nothing: `_complete` of tcp/listen.py drops it."""

    def ignore(req: RequestSock, skb: SkBuff) -> None:
        skb.free()

    bench.patch(listen, "_complete", ignore)


def no_options(bench: LabBench) -> None:
    """The server agrees on none: tcp_window_scaling, tcp_sack, tcp_timestamps are 0."""
    for name in ("tcp_window_scaling", "tcp_sack", "tcp_timestamps"):
        bench.sysctl(bench.server, name, 0)


@dataclass
class Handshake(Lab):
    """The handshake under the microscope: SYN queue, accept queue, options.

    Clients connect over a path of 20 ms while the server's application sleeps. What to look for:
    the kernel answers each SYN by itself and keeps a small request in the SYN queue; the ACK, a
    round trip later, moves it to the accept queue, established; connect has returned, and accept
    has not been called. Then accept takes them out, the oldest first. SYN and SYN-ACK carry mss,
    sackOK, timestamps and the window scale; none of that comes later.
    """

    name = "handshake"
    row = "L5"
    seconds = 3
    breaks = (ack_ignored, no_options)

    clients: int = param(5, "clients, 5 ms apart", 1, BACKLOG)
    rtt_ms: int = param(20, "round-trip time, ms", 2, 60)

    def run(self, bench: LabBench) -> Result:
        bench.delay(self.rtt_ms / 2000)
        syn: list[list[float]] = []
        accept: list[list[float]] = []

        def sample() -> None:
            now = (bench.seconds - start) * 1e3
            listeners = [sk for sk in bench.server.tcp.sockets if sk.requests is not None]
            syn.append([now, sum(len(sk.requests) for sk in listeners)])
            accept.append([now, sum(len(sk.accept_queue) for sk in listeners)])

        peers: list[int] = []
        start = bench.seconds
        serving = bench.program(bench.server, server, self.clients, peers)
        bench.run_for(0.001)
        bench.every(0.0005, sample)
        asking = []
        dump = ExitStack()
        dump.enter_context(bench.tcpdump(bench.server, 16))
        for _ in range(self.clients):
            asking.append(bench.program(bench.client, client))
            bench.run_for(0.005)
        bench.wait(lambda: syn[-1][1] > 1, limit=self.rtt_ms / 1000)
        bench.say("SYNs have been answered: requests in the SYN queue, nobody called accept.")
        bench.show(bench.server, "ss -tan")
        bench.wait(lambda: accept[-1][1] == self.clients, limit=FIRST_ACCEPT / 2)
        dump.close()
        bench.say("The ACKs are here: Recv-Q of the listener is the accept queue.")
        bench.show(bench.server, "ss -tan")
        bench.wait(serving, *asking, limit=2)
        results = [process.result for process in asking if process.result]
        return Result(
            ports=[port for port, _ in results],
            connected=[(at - start) for _, at in results],
            accepted=peers,
            syn_queue=syn,
            accept_queue=accept,
            options=[_options(seen) for seen in bench.wire.connection(0)[:2]],
        )

    def check(self, result: Result) -> None:
        agreed = {"mss": MSS, "wscale": SCALE, "sackOK": True, "timestamps": True}
        for name, options in zip(("SYN", "SYN-ACK"), result.options, strict=True):
            require(options == agreed, f"the {name} carried {options}.")
        require(max(n for _, n in result.syn_queue) >= 1, "the SYN queue was never used.")
        require(
            max(n for _, n in result.accept_queue) == self.clients,
            f"the accept queue held {max(n for _, n in result.accept_queue)} of {self.clients}.",
        )
        require(
            max(result.connected) < FIRST_ACCEPT,
            "connect returned only after accept was called.",
        )
        require(result.accepted == result.ports, "accept did not take the oldest first.")

    def conclude(self, result: Result) -> str:
        last = max(result.connected)
        return (
            f"{self.clients} clients were connected {last * 1e3:.1f} ms after the start at the "
            f"latest, {(FIRST_ACCEPT - last) * 1e3:.1f} ms before the application first called "
            f"accept. Up to {max(n for _, n in result.syn_queue)} requests "
            f"waited in the SYN queue, each for {self.rtt_ms} ms, and {self.clients} connections "
            f"in the accept queue. Both sides agreed on mss {MSS}, window scale {SCALE}, SACK and "
            "timestamps, and accept returned the connections in the order in which they came."
        )

    def chart(self, result: Result) -> Curves:
        lines = {"SYN queue": result.syn_queue, "accept queue": result.accept_queue}
        return Curves("The two queues of a listener", "ms", "entries", lines, steps=True)


def _options(seen: Seen) -> dict[str, object]:
    """As tcpdump names them."""
    options = syn_options(seen)
    return {
        "mss": options.mss,
        "wscale": options.wscale,
        "sackOK": options.sack_permitted,
        "timestamps": options.timestamps is not None,
    }
