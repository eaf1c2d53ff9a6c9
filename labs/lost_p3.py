"""L6: 5,000 bytes in four segments, of which the third is lost."""

from __future__ import annotations

from dataclasses import dataclass

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Ladder, rungs
from labs.lab import Lab, Result, param, require
from labs.labwire import Seen
from pystack.core.skb import SkBuff
from pystack.transport.tcp import data
from pystack.transport.tcp.sock import TcpSock

RTO_MIN_MS = 200
LOST = 3


def server(py: Modules, size: int) -> None:
    with py.socket.create_server(("", PORT)) as listener:
        conn, _ = listener.accept()
        with conn:
            conn.sendall(bytes(n % 251 for n in range(size)))
            conn.recv(1)  # until the client goes


def client(py: Modules, size: int, reads: list[list[float]]) -> bytes:
    """Reads as soon as there is something; `reads` gets (seconds, bytes so far)."""
    got = b""
    with py.socket.create_connection((SERVER, PORT)) as conn:
        reads.append([py.time.monotonic(), 0])
        while len(got) < size:
            got += conn.recv(65536)
            reads.append([py.time.monotonic(), len(got)])
    return got


def no_out_of_order_queue(bench: LabBench) -> None:
    """What comes behind a gap is thrown away: `_queue_out_of_order` of tcp/data.py frees it."""

    def drop(sk: TcpSock, skb: SkBuff) -> None:
        sk.ack.schedule()
        skb.free()

    bench.patch(data, "_queue_out_of_order", drop)


def no_fast_retransmit(bench: LabBench) -> None:
    """Only the timer repairs: tcp_sack, tcp_recovery and tcp_early_retrans are 0."""
    for host in (bench.server, bench.client):
        for name in ("tcp_sack", "tcp_recovery", "tcp_early_retrans"):
            bench.sysctl(host, name, 0)


@dataclass
class LostP3(Lab):
    """The lost P3: one segment of four is lost, and none of the others is sent again.

    The server sends 5,000 bytes over a path of 20 ms. With an MSS of 1,460 (timestamps are off, so
    that the figures are the textbook's) that is P1 to P4, the last of 620 bytes, and the wire
    loses P3. What to look for: P4 comes and is acknowledged with the number of P3 and a SACK block
    for itself; it waits in the out-of-order queue while the application, which has read 2,920
    bytes, sees nothing of it; P3 is sent again long before a timeout, and then both arrive at once.
    """

    name = "lost-p3"
    row = "L6"
    seconds = 3
    breaks = (no_out_of_order_queue, no_fast_retransmit)

    rtt_ms: int = param(20, "round-trip time, ms", 1, 100)
    size: int = param(5000, "bytes; P3 and P4 must exist", 4381, 5840)

    def run(self, bench: LabBench) -> Result:
        for host in (bench.server, bench.client):
            bench.sysctl(host, "tcp_timestamps", 0)
        bench.delay(self.rtt_ms / 2000)
        texts: list[Seen] = []  # segments with data, as the wire brings them
        bench.wire.lose = lambda seen: _is_text(seen, texts) and len(texts) == LOST
        waiting: list[int] = []  # bytes in the out-of-order queue
        reads: list[list[float]] = []
        serving = bench.program(bench.server, server, self.size)
        bench.run_for(0.001)
        asking = bench.program(bench.client, client, self.size, reads)
        bench.every(0.001, lambda: waiting.append(_out_of_order(bench)))
        with bench.tcpdump(bench.client):
            while not bench.wait(asking, limit=0.001) and bench.seconds < 10:
                if waiting[-1] and not max(waiting[:-1]):
                    bench.say("P4 is here, P3 is not: the application has nothing new to read.")
                    bench.show(bench.client, "ss -tinm")
            bench.wait(serving, limit=1)
        bench.show(bench.server, "nstat -a")
        lost = [s for s in texts if s.packet.tcp.seq == texts[LOST - 1].packet.tcp.seq]  # type: ignore[union-attr]
        return Result(
            right=asking.result == bytes(n % 251 for n in range(self.size)),
            segments=[len(s.packet.payload) for s in texts],
            read_sizes=[round(size) for _, size in reads],
            held=max(waiting),
            repair_ms=(lost[-1].when - lost[0].when) / 1e6 if len(lost) > 1 else None,
            timeouts=bench.server.kernel.mib["TcpExtTCPTimeouts"],
            rungs=rungs(bench.wire.connection(0)),
        )

    def check(self, result: Result) -> None:
        require(result.right, "The client did not get the bytes that were sent.")
        before = LOST - 1
        sizes = result.segments
        sent_twice = sizes[4:]
        require(result.held == sizes[3], f"{result.held} bytes waited out of order, not P4's.")
        require(
            sent_twice == [sizes[before]],
            f"segments of {sent_twice} bytes were sent again, not P3 alone.",
        )
        require(
            result.read_sizes[-2:] == [sum(sizes[:before]), self.size],
            f"the application read up to {result.read_sizes}, not P3 and P4 at once.",
        )
        require(
            not result.timeouts and result.repair_ms < RTO_MIN_MS,
            f"P3 was repaired by {result.timeouts} timeouts after {result.repair_ms} ms.",
        )

    def conclude(self, result: Result) -> str:
        read = sum(result.segments[: LOST - 1])
        return (
            f"Four segments of {result.segments[:4]} bytes were sent and P3 was lost. The "
            f"application read {read:,} bytes and then nothing, although {result.held} bytes of P4 "
            f"were already there, in the out-of-order queue. The duplicate ACK and its SACK block "
            f"made the sender repeat P3, and P3 alone, {result.repair_ms:.1f} ms after it was lost "
            f"(a timeout would have taken at least {RTO_MIN_MS} ms), and the last "
            f"{self.size - read:,} bytes were read at once."
        )

    def chart(self, result: Result) -> Ladder:
        return Ladder("P3 is lost on the way to the client", "client", "server", result.rungs)


def _is_text(seen: Seen, texts: list[Seen]) -> bool:
    """Has it data for the client?  Remembers it then."""
    if seen.packet.payload and not seen.to_server:
        texts.append(seen)
        return True
    return False


def _out_of_order(bench: LabBench) -> int:
    return sum(len(skb) for sk in bench.client.tcp.sockets for skb in sk.ofo)
