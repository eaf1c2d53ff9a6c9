"""L13: a window a round trip, whatever the wire could carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labs.bench import PORT, SECOND, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require, sizes
from pystack.dev.qdisc import Emulation, Netem
from pystack.transport.tcp import congestion

KB = 1024
TEXTBOOK = 128  # KB, the default buffer
WARM = 8  # round trips until slow start is over
PACKETS = 4000  # the queue of the bottleneck


def server(py: Modules, buffers: int) -> None:
    """Sends without end to whoever comes."""
    with py.socket.socket() as listener:
        listener.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen()
        for _ in range(buffers):
            conn, _ = listener.accept()
            with conn:
                try:
                    while True:
                        conn.sendall(bytes(65536))
                except OSError:
                    pass


def client(py: Modules, buffer: int, warm: float, measured: float) -> float:
    """Reads with a receive buffer of `buffer` bytes (0: autotuned): Mbit/s in the steady state."""
    with py.socket.socket() as conn:
        if buffer:
            conn.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_RCVBUF, buffer)
        conn.connect((SERVER, PORT))
        start, got = py.time.monotonic(), 0
        while py.time.monotonic() < start + warm:
            conn.recv(1 << 20)
        begin = py.time.monotonic()
        while py.time.monotonic() < begin + measured:
            got += len(conn.recv(1 << 20))
        return float(got * 8 / (py.time.monotonic() - begin) / 1e6)


def no_window_scaling(bench: LabBench) -> None:
    """Windows end at 64 KB: net.ipv4.tcp_window_scaling is 0."""
    bench.sysctl(bench.server, "tcp_window_scaling", 0)


def no_slow_start(bench: LabBench) -> None:
    """The congestion window stays at ten segments: `slow_start` of tcp/congestion.py adds none."""
    bench.patch(congestion.CongestionWindow, "slow_start", lambda cw, acked: 0)


@dataclass
class Bdp(Lab):
    """The bandwidth-delay product: 128 KB at 100 ms are 10 Mbit/s.

    A server sends without end over a path of 100 ms and 40 Mbit/s; only the client's receive buffer
    changes. What to look for: a sender may have one window on its way, and hears of more after a
    round trip; so the rate is buffer / RTT, 10.5 Mbit/s for 128 KB, however fast the wire. It
    grows with the buffer until that is bandwidth times RTT, 500 KB, and no further. By itself the
    kernel finds the right size (tcp_moderate_rcvbuf).
    """

    name = "bdp"
    row = "L13"
    seconds = 20
    verilator = sizes(points=3)
    icarus = sizes(points=2, mbits=20, measured=2)
    breaks = (no_window_scaling, no_slow_start)

    rtt_ms: int = param(100, "round-trip time, ms", 10, 500)
    mbits: int = param(40, "the wire's rate, Mbit/s", 20, 1000)
    points: int = param(5, "buffers: 128 KB, then smaller and larger ones", 2, 5)
    measured: int = param(5, "round trips that are measured", 2, 100)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        bench.server.kernel.sysctl.write("net.core.rmem_max", str(16 << 20))
        bench.client.kernel.sysctl.write("net.core.rmem_max", str(16 << 20))
        self._path(bench)
        buffers = [*self._buffers(), 0]
        bench.program(bench.server, server, len(buffers))
        bench.run_for(0.001)
        rtt = self.rtt_ms / 1000
        rates = []
        for number, kilobytes in enumerate(buffers):
            bench.progress("send", number, len(buffers))
            reading = bench.program(
                bench.client, client, kilobytes * KB, WARM * rtt, self.measured * rtt
            )
            bench.run_for((WARM + 1) * rtt)
            if kilobytes in (TEXTBOOK, 0):
                bench.show(bench.server, "tc -s qdisc show dev eth0")
                bench.show(bench.server, f"ss -tin state established sport = :{PORT}")
            bench.run(reading)
            bench.run_for(2 * rtt)
            rates.append(reading.result)
        return Result(buffers=buffers[:-1], rates=rates[:-1], autotuned=rates[-1])

    def _buffers(self) -> list[int]:
        """KB: the textbook's, one for the wire, and others."""
        enough = 2 * self._bdp_kb()
        return sorted([TEXTBOOK, enough, 64, 32, 256][: self.points])

    def _bdp_kb(self) -> int:
        return self.mbits * self.rtt_ms * 1000 // 8 // KB

    def _path(self, bench: LabBench) -> None:
        """`tc qdisc add dev eth0 root netem delay 50ms rate 40mbit` at the sender's."""
        half = self.rtt_ms * SECOND // 2000
        narrow = Emulation(delay=half, rate=self.mbits * 1_000_000 // 8)
        bench.nic.set_qdisc(lambda dev: Netem(dev, PACKETS, narrow))
        bench.peer.set_qdisc(lambda dev: Netem(dev, PACKETS, Emulation(delay=half)))

    def _limit(self, kilobytes: float) -> float:
        """Mbit/s by window / RTT and by the wire."""
        return min(kilobytes * KB * 8 / self.rtt_ms / 1000, self.mbits)

    def check(self, result: Result) -> None:
        for kilobytes, rate in zip(result.buffers, result.rates, strict=True):
            limit = self._limit(kilobytes)
            require(
                0.8 * limit <= rate <= 1.02 * limit,
                f"{kilobytes} KB gave {rate:.1f} Mbit/s, not {limit:.1f}.",
            )
        require(
            result.autotuned > 0.7 * self.mbits, f"autotuning gave {result.autotuned:.1f} Mbit/s."
        )

    def conclude(self, result: Result) -> str:
        pairs = dict(zip(result.buffers, result.rates, strict=True))
        best = max(result.buffers)
        return (
            f"With a receive buffer of {TEXTBOOK} KB and a round trip of {self.rtt_ms} ms the "
            f"server sent {pairs[TEXTBOOK]:.1f} Mbit/s over a wire of {self.mbits}; buffer / RTT "
            f"is {self._limit(TEXTBOOK):.1f}. The wire's bandwidth-delay product is "
            f"{self._bdp_kb():,} KB; with {best:,} KB it was {pairs[best]:.1f} Mbit/s, and with "
            f"the kernel's own tuning {result.autotuned:.1f}."
        )

    def chart(self, result: Result) -> Curves:
        top = max(result.buffers)
        line = [[kb, self._limit(kb)] for kb in range(0, top + 1, max(1, top // 60))]
        measured: list[Any] = [list(p) for p in zip(result.buffers, result.rates, strict=True)]
        return Curves(
            f"Throughput against receive buffer, RTT {self.rtt_ms} ms",
            "receive buffer, KB",
            "Mbit/s",
            {"measured": measured, "buffer / RTT, or the wire": line},
            {f"autotuned: {result.autotuned:.1f}": result.autotuned},
        )
