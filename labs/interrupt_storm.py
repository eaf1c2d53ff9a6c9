"""L14: what an interrupt for every packet does to a CPU, and what NAPI does about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from labs.bench import CLIENT, SECOND, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require, sizes
from labs.packets import datagram
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.drivers.w2a_queue import NAIVE, NAPI, QueuePair

UDP_PORT = 7777
STEP = 10_000  # ns the other program computes at a time
MODES = NAPI, NAIVE
# How the driver sets the NIC: an interrupt for what came in 20 us, or one for each frame.
MODERATION = {
    NAPI: "ethtool -C eth0 rx-usecs 20 rx-frames 64",
    NAIVE: "ethtool -C eth0 rx-usecs 0 rx-frames 1",
}


def sink(py: Modules, counts: dict[str, int]) -> None:
    """An application that wants the packets."""
    with py.socket.socket(py.socket.AF_INET, py.socket.SOCK_DGRAM) as sock:
        sock.bind(("", UDP_PORT))
        while True:
            sock.recv(2048)
            counts["delivered"] += 1


def cruncher(py: Modules, counts: dict[str, int]) -> None:
    """An application that only wants the CPU."""
    while True:
        py.process.compute(STEP)
        counts["computed"] += STEP
        py.time.sleep(0)


def napi_off(bench: LabBench) -> None:
    """There is no NAPI: the driver's `irq_mode` (dev/drivers/w2a_nic.py) is "naive" throughout."""
    bench.patch(W2aNic, "irq_mode", property(lambda nic: NAIVE, lambda nic, mode: None), new=True)


def no_budget(bench: LabBench) -> None:
    """The naive driver takes all there is with each interrupt (`_naive` of w2a_queue.py)."""

    def naive(queue: QueuePair) -> None:
        queue._clean_tx()
        queue.receive.clean(1 << 30)
        queue._post_rx()
        queue.napi.gro.flush()
        queue.arm()

    bench.patch(QueuePair, "_naive", naive)


@dataclass
class InterruptStorm(Lab):
    """Interrupt storm against NAPI: livelock, and how polling avoids it.

    Small UDP packets come at a growing rate for a program that reads them; another program
    computes. What to look for: a driver that takes one interrupt a packet and does all work in
    it delivers less and less as more comes, for interrupts go before everything else: at last it
    only takes packets in, for a program that never runs. That is livelock. With NAPI the first
    interrupt masks the next ones and the kernel polls, up to a budget, and the NIC waits 20 us
    before the next one: the busier, the fewer interrupts a packet; what does not fit is dropped
    by the NIC, at no cost, and programs run.
    """

    name = "interrupt-storm"
    row = "L14"
    seconds = 20
    verilator = sizes(steps=4, duration_us=2000)
    icarus = sizes(steps=2, duration_us=1000)
    breaks = (napi_off, no_budget)

    peak_kpps: int = param(2000, "the highest rate, thousand packets a second", 1000, 10_000)
    steps: int = param(8, "rates, up to the highest", 2, 50)
    duration_us: int = param(4000, "simulated time at each rate", 500, 1_000_000)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        counts = {"delivered": 0, "computed": 0}
        bench.program(bench.server, sink, counts)
        bench.program(bench.server, cruncher, counts)
        bench.run_for(0.001)
        curves: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
        for mode in MODES:
            bench.driver.irq_mode = mode
            bench.show(bench.server, MODERATION[mode])
            for step in range(1, self.steps + 1):
                bench.progress(f"{mode} driver", step, self.steps)
                rate = self.peak_kpps * 1000 * step // self.steps
                curves[mode].append(self._storm(bench, counts, rate))
            bench.say(f"The {mode} driver, after its rates.")
            bench.show(bench.server, "cat /proc/interrupts", 6)
            bench.show(bench.server, "cat /proc/net/softnet_stat", 3)
        bench.show(bench.server, "ethtool -S eth0", 40)
        return Result(**curves)

    def _storm(self, bench: LabBench, counts: dict[str, int], rate: int) -> dict[str, float]:
        """One rate for `duration_us`, and what the CPU made of it."""
        queue, duration = bench.driver.queues[0], self.duration_us * 1000
        packets = duration * rate // SECOND
        frame, start = datagram(CLIENT, 40000, UDP_PORT), bench.engine.now
        before = {**counts, "interrupts": queue.interrupts, "packets": queue.receive.packets}
        for number in range(packets):
            when = start + number * SECOND // rate
            bench.engine.call_at(when, partial(bench.far_end.send, frame))
        bench.run_for(self.duration_us / 1e6)
        after = {**counts, "interrupts": queue.interrupts, "packets": queue.receive.packets}
        change = {name: after[name] - before[name] for name in after}
        bench.run_for(0.01)  # what is left over is read meanwhile
        return {
            "offered": rate / 1e3,
            "delivered": change["delivered"] * 1e6 / duration,
            "interrupts": change["interrupts"] / max(1, change["packets"]),
            "computed": change["computed"] / duration,
        }

    def check(self, result: Result) -> None:
        napi, naive = result.napi, result.naive
        best = max(point["delivered"] for point in naive)
        require(
            naive[-1]["delivered"] < 0.5 * best and naive[-1]["computed"] < 0.01,
            f"the naive driver still delivered {naive[-1]['delivered']:.0f} kpps at the top, and "
            f"left {naive[-1]['computed']:.0%} of the CPU.",
        )
        require(
            naive[-1]["interrupts"] > 0.9,
            f"the naive driver took {naive[-1]['interrupts']:.2f} interrupts a packet.",
        )
        high = max(point["delivered"] for point in napi)
        require(
            napi[-1]["delivered"] > 0.8 * high
            and napi[-1]["delivered"] > 4 * naive[-1]["delivered"],
            f"NAPI delivered {napi[-1]['delivered']:.0f} kpps at the top, of {high:.0f}.",
        )
        require(
            napi[-1]["interrupts"] < 0.05,
            f"NAPI took {napi[-1]['interrupts']:.2f} interrupts a packet at the top.",
        )

    def conclude(self, result: Result) -> str:
        napi, naive = result.napi[-1], result.naive[-1]
        best = max(result.naive, key=lambda point: point["delivered"])
        dead = naive["delivered"] < 0.1 * best["delivered"]
        verdict = "livelock" if dead else "it lives on what the NIC takes to interrupt again"
        return (
            f"At {napi['offered'] / 1e3:.2g} million packets a second NAPI took "
            f"{napi['interrupts']:.3f} interrupts a packet, delivered {napi['delivered']:,.0f} "
            f"thousand a second to the program, and left {napi['computed']:.0%} of the CPU to "
            f"another one. The naive driver took {naive['interrupts']:.2f} interrupts a packet, "
            f"delivered {naive['delivered']:,.0f} thousand and left {naive['computed']:.0%}: "
            f"{verdict}. At its best, {best['offered']:,.0f} thousand offered, it delivered "
            f"{best['delivered']:,.0f} thousand."
        )

    def chart(self, result: Result) -> Curves:
        lines = {
            name: [[point["offered"], point["delivered"]] for point in points]
            for name, points in (("NAPI", result.napi), ("an interrupt a packet", result.naive))
        }
        return Curves(
            "Packets offered and packets that reach the program",
            "offered, thousand a second",
            "delivered, thousand a second",
            lines,
        )
