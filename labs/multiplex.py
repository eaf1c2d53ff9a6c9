"""L4: thousands of connections on one thread, and one wake-up for one event."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from dataclasses import dataclass
from typing import Any

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Bars
from labs.lab import Lab, Result, param, require, sizes
from pystack.core.wait import WaitQueue
from pystack.uapi.epoll import Epoll, EpollItem

ACTIVE = 10  # connections that speak in a round
WORKERS = 8
KNOCKS = 20


def server(py: Modules, counts: dict[str, int]) -> None:
    """One epoll loop: accept what comes, echo what is ready."""
    epoll, conns = py.select.epoll(), dict[int, Any]()
    with py.socket.create_server(("", PORT), backlog=4096) as listener:
        epoll.register(listener, py.select.EPOLLIN)
        while True:
            events = epoll.poll()
            counts["wakeups"] += 1
            counts["events"] += len(events)
            for fd, _ in events:
                if fd == listener.fileno():
                    conn, _ = listener.accept()
                    conns[conn.fileno()] = conn
                    epoll.register(conn, py.select.EPOLLIN)
                elif data := conns[fd].recv(4096):
                    conns[fd].sendall(data)
                else:
                    conns.pop(fd).close()


def crowd(py: Modules, connections: int) -> list[Any]:
    return [py.socket.create_connection((SERVER, PORT)) for _ in range(connections)]


def speak(py: Modules, conns: list[Any], rounds: int) -> int:
    """Ten of the crowd speak in each round; returns how many were answered."""
    answered, step = 0, max(1, len(conns) // ACTIVE)
    for number in range(rounds):
        active = conns[number % step :: step][:ACTIVE]
        for conn in active:
            conn.sendall(b"ping")
        answered += sum(conn.recv(100) == b"ping" for conn in active)
    return answered


def workers(py: Modules) -> None:
    """Eight threads, each with an epoll of its own, wait for one listener with EPOLLEXCLUSIVE."""
    with py.socket.create_server(("", PORT + 1)) as listener:
        listener.setblocking(False)

        def work() -> None:
            epoll = py.select.epoll()
            epoll.register(listener, py.select.EPOLLIN | py.select.EPOLLEXCLUSIVE)
            while True:
                epoll.poll()
                with contextlib.suppress(BlockingIOError):
                    listener.accept()[0].close()

        for _ in range(WORKERS):
            py.process.thread(work, daemon=True)
        py.time.sleep(3600)


def knock(py: Modules) -> None:
    for _ in range(KNOCKS):
        with py.socket.create_connection((SERVER, PORT + 1)) as conn:
            conn.recv(1)
        py.time.sleep(0.01)


def ask_everybody(bench: LabBench) -> None:
    """Each wait looks at every connection, as select does: `_harvest` of uapi/epoll.py."""
    original = Epoll._harvest

    def harvest(epoll: Epoll, maxevents: int) -> list[tuple[int, Any]]:
        epoll._ready.update(dict.fromkeys(epoll.items.values()))
        return original(epoll, maxevents)

    bench.patch(Epoll, "_harvest", harvest)


def wake_all(bench: LabBench) -> None:
    """All exclusive waiters are woken by each event: `wake` of WaitQueue (core/wait.py)."""
    original = WaitQueue.wake

    def wake(queue: WaitQueue, mask: int = 0xFFFFFFFF, nr_exclusive: int = 1) -> None:
        original(queue, mask, 1 << 30)

    bench.patch(WaitQueue, "wake", wake)


@dataclass
class Multiplex(Lab):
    """Multiplexing: thousands of connections on one epoll loop, and no wake-up for nothing.

    A crowd connects to a server of one thread and stays; in each round ten of them speak. What to
    look for: epoll_wait looks only at the descriptors that are ready, however many are registered,
    where select would look at each of them every time. Then eight threads wait for one listener
    with EPOLLEXCLUSIVE: a connection wakes one of them, not the whole herd. Each connection costs
    memory, and that is the limit: kernel objects, file, descriptor, epoll interest.
    """

    name = "multiplex"
    row = "L4"
    seconds = 15
    verilator = sizes(connections=300, rounds=10)
    icarus = sizes(connections=40, rounds=4)
    breaks = (ask_everybody, wake_all)

    connections: int = param(1000, "connections that stay; 10,000 takes a minute", ACTIVE, 25_000)
    rounds: int = param(30, "rounds in which ten speak", 1, 10_000)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        counts = {"wakeups": 0, "events": 0}
        bench.program(bench.server, server, counts, nofile=self.connections + 100)
        bench.run_for(0.001)
        asked = _count_questions(bench)
        coming = bench.program(
            bench.client, self._come, asked, counts, nofile=self.connections + 100
        )
        bench.progress("connect and speak", 0, self.connections)
        estab = bench.server.kernel.mib
        while not bench.wait(coming, limit=self.connections * 30e-6 / 10 + 0.001):
            bench.progress("connect and speak", estab["TcpCurrEstab"], self.connections)
        bench.show(bench.server, "ss -s", 3)
        found = coming.result
        herd = bench.program(bench.server, workers)
        bench.run_for(0.01)
        before = sum(task.nr_switches for task in herd.threads)
        bench.run(bench.program(bench.client, knock))
        woken = sum(task.nr_switches for task in herd.threads) - before
        herd.kill()
        return Result(woken=woken, **found)

    def _come(self, py: Modules, asked: dict[str, int], counts: dict[str, int]) -> dict[str, Any]:
        """The crowd: connects, speaks, and stays until it is counted."""
        tracemalloc.start()
        conns = crowd(py, self.connections)
        py.time.sleep(0.1)
        gc.collect()
        memory = tracemalloc.get_traced_memory()[0] / len(conns) / 2  # one socket at each end
        tracemalloc.stop()
        for count in (asked, counts):
            count.update(dict.fromkeys(count, 0))
        answered = speak(py, conns, self.rounds)
        py.time.sleep(0.01)
        found = {"answered": answered, "asked": asked["questions"], "memory": memory}
        return {**found, **counts}

    def check(self, result: Result) -> None:
        spoken = self.rounds * ACTIVE
        require(result.answered == spoken, f"{result.answered} of {spoken} were answered.")
        require(
            result.asked <= 4 * result.events,
            f"epoll asked {result.asked} descriptors for {result.events} events.",
        )
        require(result.wakeups <= result.events, "the loop woke up for nothing.")
        require(
            result.woken <= 1.25 * KNOCKS,
            f"{result.woken} times a worker woke up, for {KNOCKS} connections.",
        )

    def conclude(self, result: Result) -> str:
        return (
            f"{self.connections:,} connections were open on one thread. {result.answered} requests "
            f"made {result.events} events in {result.wakeups} wake-ups, and epoll asked "
            f"{result.asked} descriptors; select would have asked {self.connections:,} in each, "
            f"{self.connections * result.wakeups:,} in all. {KNOCKS} connections for {WORKERS} "
            f"workers woke one {result.woken} times. A connection holds {result.memory / 1024:.1f} "
            "KB at each end, its file, descriptor and Python's objects included."
        )

    def chart(self, result: Result) -> Bars:
        asked = [result.events, result.asked, self.connections * result.wakeups]
        return Bars(
            f"{result.answered} requests on {self.connections:,} connections",
            "descriptors",
            ["events", "asked by epoll", "select would ask"],
            {"descriptors": asked},
            log=True,
        )


def _count_questions(bench: LabBench) -> dict[str, int]:
    """How often an interest was asked whether it is ready, from now on."""
    asked, original = {"questions": 0}, EpollItem.ready

    def ready(item: EpollItem) -> int:
        asked["questions"] += 1
        return original(item)

    bench.patch(EpollItem, "ready", ready)
    return asked
