"""The live job: the simulated host behind the RTL NIC, on a TAP of the real Linux.

Frames cross between the TAP (descriptor W2A_TAP_FD) and the NIC's wire until W2A_STOP_FD reads
end-of-file.  Simulated time never runs ahead of the wall's: when nothing is to do the simulator
sleeps in poll(2) until a frame comes or a timer of the host is due.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

import cocotb

from pystack.apps.http_server import serve
from pystack.core.memory import HostMemory
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.host import Host, finished
from pystack.tools.pcapng import Capture
from tb.bench import Bench
from tb.jobs.job import Job, Progress
from tb.remote_shell import RemoteShell

MAC = bytes.fromhex("020000000077")
MEMORY = 32 << 20
PORT = 80
SLICE_NS = 20_000  # simulated between two looks at the TAP while the NIC is busy
MAX_SLEEP_S = 1.0
MAX_FRAME = 65536
BURST = 64  # frames taken from the TAP at once


class TapBridge:
    """Frames from the TAP go to the NIC, the NIC's to the TAP; both into the capture."""

    def __init__(
        self, bench: Bench, tap: int, stop: int, capture: Capture, shell: RemoteShell
    ) -> None:
        self._bench = bench
        self._tap = tap
        self._stop = stop
        self._capture = capture
        self._shell = shell
        self._wall = time.monotonic_ns()
        self._start = bench.engine.now
        self.stopped = False
        self.refused = 0  # frames Linux would not take
        os.set_blocking(tap, False)
        bench.wire.on_receive(self._from_nic)

    def _from_nic(self, frame: bytes, start: int, end: int) -> None:
        self._capture.write(frame, end, outgoing=True)
        try:
            os.write(self._tap, frame)
        except OSError:
            self.refused += 1

    def _ahead_ns(self) -> int:
        """How far simulated time is ahead of the wall's."""
        return self._bench.engine.now - self._start - (time.monotonic_ns() - self._wall)

    async def run(self) -> None:
        """Until the command hangs up."""
        engine = self._bench.engine
        while not self.stopped:
            busy = self._pump(self._sleep_s())
            if busy or self._ahead_ns() < 0:
                await engine.run(until=engine.now + SLICE_NS)

    def _sleep_s(self) -> float:
        """How long the wall clock must run before anything is due."""
        engine = self._bench.engine
        if not self._bench.quiet:
            return 0.0
        due = engine.next_time()
        wait = MAX_SLEEP_S if due is None else (due - engine.now + self._ahead_ns()) / 1e9
        return min(max(wait, 0.0), MAX_SLEEP_S)

    def _pump(self, timeout: float) -> bool:
        """Take what the TAP has, waiting at most `timeout` seconds; whether there is work."""
        asked = self._shell.descriptors
        poll = select.poll()
        for fd in (self._tap, self._stop, *asked):
            poll.register(fd, select.POLLIN | select.POLLHUP)
        ready = dict(poll.poll(timeout * 1000))
        if self._stop in ready:
            self.stopped = True
        for fd in asked:
            if fd in ready:
                self._shell.ready(fd)
        if self._tap in ready:
            for _ in range(BURST):
                try:
                    frame = os.read(self._tap, MAX_FRAME)
                except BlockingIOError:
                    break
                self._capture.write(frame, self._bench.engine.now, outgoing=False)
                self._bench.wire.send(frame)
        return len(ready) > 0 or not self._bench.quiet


@cocotb.test()
async def live(dut: Any) -> None:
    job, progress = Job.load(), Progress()
    bench = Bench(dut, seed=job.seed, memory=HostMemory(MEMORY))
    host = Host(bench.engine, "live", seed=job.seed, memory=bench.memory)
    nic = W2aNic(host.core, "eth0", MAC, bench.resources(host.kernel))
    await bench.start()
    up = host.start(host.up, nic.dev, *job.raw["addresses"])
    await bench.engine.run(stop=finished(up))
    host.ipv4.add_route("default", job.raw["gateway"])

    def server(socket: Any) -> None:
        process = host.kernel.cpu.current.process  # type: ignore[union-attr]
        serve(socket, job.root, PORT, host="::", spawn=lambda fn: process.thread(fn, daemon=True))

    httpd = host.process("httpd", server)
    with Capture(job.out / "wire.pcapng", "tap0") as capture:
        shell = RemoteShell(host, job.out / "shell.sock")
        tap, stop = (int(os.environ[name]) for name in ("W2A_TAP_FD", "W2A_STOP_FD"))
        bridge = TapBridge(bench, tap, stop, capture, shell)
        progress("ready")
        await bridge.run()
        shell.close()
    if httpd.tracebacks:
        raise RuntimeError(f"httpd crashed:\n{httpd.tracebacks[0]}")
    bench.check()
