"""L7: a reader that pauses, a window that closes, and an update that is lost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require, sizes
from labs.labwire import Seen
from pystack.transport.tcp import timers
from pystack.transport.tcp import window as tcp_window

BUFFER = 65536  # SO_RCVBUF, which the kernel doubles


def server(py: Modules, pause: float, awake: list[float]) -> int:
    """Accepts, sleeps, then reads everything; how much that was."""
    got = 0
    with py.socket.socket() as listener:
        listener.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_RCVBUF, BUFFER)
        listener.bind(("", PORT))
        listener.listen()
        conn, _ = listener.accept()
    with conn:
        py.time.sleep(pause)
        awake.append(py.time.monotonic())
        while data := conn.recv(65536):
            got += len(data)
    return got


def client(py: Modules, size: int) -> None:
    with py.socket.create_connection((SERVER, PORT)) as conn:
        conn.setsockopt(py.socket.SOL_SOCKET, py.socket.SO_SNDBUF, BUFFER)
        conn.sendall(bytes(size))


def no_persist_timer(bench: LabBench) -> None:
    """A closed window is never probed: `_probe_timer` of tcp/timers.py does nothing."""
    bench.patch(timers, "_probe_timer", lambda sk: None)


def endless_window(bench: LabBench) -> None:
    """The receiver offers 64 KB whatever is in its buffer: `choose_window` of tcp/window.py."""
    bench.patch(tcp_window, "choose_window", lambda sk: 65536)


@dataclass
class SlowReader(Lab):
    """Slow reader: the window closes, the sender pauses, and a probe finds it open again.

    A client sends to a server that does not read for some seconds. What to look for: Recv-Q of the
    server fills and its window shrinks to 0; the client's Send-Q fills, its send() blocks, and it
    asks with window probes, each twice as long after the one before. When the server reads at
    last, its window update is lost on the way. Nobody would ever send again, if it were not for
    the persist timer: the next probe finds the window open.
    """

    name = "slow-reader"
    row = "L7"
    seconds = 4
    icarus = sizes(size=100_000, pause=3)
    breaks = (no_persist_timer, endless_window)

    size: int = param(300_000, "bytes to send", 80_000, 100_000_000)
    pause: int = param(8, "seconds the server sleeps", 2, 60)

    def run(self, bench: LabBench) -> Result:
        awake: list[float] = []
        lost: list[Seen] = []
        bench.wire.lose = lambda seen: _is_update(seen, bench, awake, lost)
        serving = bench.program(bench.server, server, self.pause, awake)
        bench.run_for(0.001)
        sending = bench.program(bench.client, client, self.size)
        bench.run_for(self.pause / 2)
        bench.say(f"The server has not read for {self.pause / 2:g} s.")
        bench.show(bench.server, f"ss -tnm sport = :{PORT}")
        bench.show(bench.client, "ss -tno")
        bench.wait(serving, sending, limit=self.pause + 60)
        bench.show(bench.client, "nstat -az TcpExtTCPWinProbe TcpExtTCPKeepAlive")
        offers = [s for s in bench.wire.segments() if not s.to_server]
        closed = [s.when / 1e9 for s in offers if not bench.wire.window(s)]
        probes = [s.when / 1e9 for s in bench.wire.segments() if _is_probe(s, closed, awake)]
        return Result(
            got=serving.result,
            zero_windows=len(closed),
            probes=probes,
            updates_lost=len(lost),
            awake=awake[0] if awake else 0,
            reopened=next((t for t in _data_times(bench) if awake and t > awake[0]), None),
            **self._curves(bench),
        )

    def _curves(self, bench: LabBench) -> dict[str, list[list[float]]]:
        """What was offered and what was sent, in KB."""
        window, sent, total = list[list[float]](), list[list[float]](), 0
        for seen in bench.wire.segments():
            if seen.to_server:
                total += len(seen.packet.payload)
                sent.append([seen.when / 1e9, total / 1e3])
            elif not seen.packet.tcp.syn:  # type: ignore[union-attr]
                window.append([seen.when / 1e9, bench.wire.window(seen) / 1e3])
        return {"window": window, "sent": sent}

    def check(self, result: Result) -> None:
        require(
            result.got == self.size,
            f"the server never got all {self.size} bytes: nobody asked whether the window is open.",
        )
        require(result.zero_windows, "the window never closed.")
        gaps = [b - a for a, b in pairwise(result.probes)]
        require(len(gaps) >= 2, f"{len(result.probes)} window probes were sent.")
        grows = all(1.8 <= b / a <= 2.2 for a, b in pairwise(gaps))
        require(grows, "the time between two probes did not double.")
        require(result.updates_lost, "no window update was lost.")

    def conclude(self, result: Result) -> str:
        before = max(kb for t, kb in result.sent if t <= result.awake)
        return (
            f"The client sent {before:.0f} KB, then the window was 0. It probed at "
            f"{', '.join(f'{t:.1f}' for t in result.probes)} s. The server began to read at "
            f"{result.awake:.1f} s, and its window update was lost; the client went on "
            f"{result.reopened - result.awake:.1f} s later, when its next probe was answered, and "
            f"all {result.got:,} bytes arrived."
        )

    def chart(self, result: Result) -> Curves:
        return Curves(
            "A reader that sleeps, and a window update that is lost",
            "seconds",
            "KB",
            {"offered window": result.window, "sent so far": result.sent},
            steps=True,
        )


def _is_update(seen: Seen, bench: LabBench, awake: list[float], lost: list[Seen]) -> bool:
    """Does it tell the client that the window is open, before the client has asked again?"""
    if seen.to_server or not awake or not bench.wire.window(seen):
        return False
    asked = any(s.to_server and s.when / 1e9 > awake[0] for s in bench.wire.seen)
    if not asked:
        lost.append(seen)
    return not asked


def _is_probe(seen: Seen, closed: list[float], awake: list[float]) -> bool:
    """A segment of the client without data while the window is closed."""
    when = seen.when / 1e9
    end = awake[0] if awake else float("inf")
    return bool(closed) and seen.to_server and not seen.packet.payload and closed[0] < when < end


def _data_times(bench: LabBench) -> list[float]:
    return [s.when / 1e9 for s in bench.wire.segments() if s.to_server and s.packet.payload]
