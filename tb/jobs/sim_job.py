"""The main job: HTTP over the RTL NIC.

On the server, behind the NIC, an HTTP file server serves a real directory.  The client, at the
other end of the wire, fetches a file and a directory listing and posts data.  The books of the run
go to `summary.json`, every frame to `wire.pcapng`.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import cocotb

from pystack.apps.http_client import fetch, post
from pystack.apps.http_server import serve
from tb import accounts
from tb.jobs.job import Job, Progress
from tb.latency import RX_HOPS, TX_HOPS, Journey, LatencyProbe
from tb.summary import Latency, LatencyStep, Summary, Transfer
from tb.world import SERVER, World, WorldSettings

POST_BYTES = 65536
PORT = 80
STEP = 16384  # bytes between two progress lines


class _Links(HTMLParser):
    """The link targets of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if tag == "a" and name == "href" and value]


@dataclass
class Client:
    """The application on the client host; an ordinary blocking function on sockets."""

    root: Path
    name: str
    seed: int
    progress: Progress
    transfers: list[Transfer] = field(default_factory=list)

    def main(self, socket: Any) -> None:
        self._file(socket)
        self._listing(socket)
        self._post(socket)

    def _file(self, socket: Any) -> None:
        content = (self.root / self.name).read_bytes()
        received = bytearray()

        def sink(piece: bytes) -> None:
            before = len(received) // STEP
            received.extend(piece)
            if len(received) // STEP != before or len(received) == len(content):
                self.progress("fetch", len(received), len(content))

        fetch(socket, SERVER, PORT, f"/{quote(self.name)}", sink=sink)
        self._add(f"GET /{self.name}", content, bytes(received))

    def _listing(self, socket: Any) -> None:
        self.progress("list")
        page = fetch(socket, SERVER, PORT, "/")
        links = _Links()
        links.feed(page.body.decode())
        there = "\n".join(sorted(path.name for path in self.root.iterdir()))
        seen = "\n".join(sorted(unquote(target.removeprefix("./")) for target in links.targets))
        self._add("GET / (names listed)", there.encode(), seen.encode())

    def _post(self, socket: Any) -> None:
        self.progress("post")
        body = random.Random(f"post/{self.seed}").randbytes(POST_BYTES)
        answer = post(socket, SERVER, PORT, "/", body)
        fields = dict(line.split() for line in answer.body.decode().splitlines())
        sent = hashlib.sha256(body).hexdigest()
        self.transfers.append(
            Transfer("POST /", len(body), sent, fields["sha256"], sent == fields["sha256"])
        )

    def _add(self, what: str, sent: bytes, received: bytes) -> None:
        there, here = (hashlib.sha256(data).hexdigest() for data in (sent, received))
        self.transfers.append(Transfer(what, len(received), there, here, there == here))


@cocotb.test()
async def http_over_the_nic(dut: Any) -> None:
    job, progress = Job.load(), Progress()
    progress("reset and link up")
    probe: list[LatencyProbe] = []
    world = World(
        dut,
        WorldSettings(
            seed=job.seed,
            capture=job.out / "wire.pcapng",
            probes=[lambda *frame: probe[0].wire(*frame)],
        ),
    )
    probe.append(LatencyProbe(world.server))
    world.bench.on_dma(probe[0].dma)
    traffic = accounts.TrafficProbe(world)
    client = Client(Path(job.root), job.raw["name"], job.seed, progress)
    summary = Summary(job.sim, job.seed, job.bus)
    try:
        await _run(world, job, client)
        summary.hops = accounts.hops(world, traffic)
        summary.balance = accounts.balance(world)
    except Exception as error:
        summary.failures.append(f"{type(error).__name__}: {error}")
        raise
    finally:
        summary.transfers = client.transfers
        summary.napi = accounts.napi(world)
        summary.sim_time_ns, summary.cycles = world.engine.now, world.bench.cycles
        summary.drops = accounts.drops(world) if world.hw_stats else {}
        summary.latency = [
            *_latency("received", probe[0].typical_rx(), RX_HOPS),
            *_latency("sent", probe[0].typical_tx(), TX_HOPS),
        ]
        summary.save(job.out / "summary.json")
        progress("report")


async def _run(world: World, job: Job, client: Client) -> None:
    await world.up()

    def server(socket: Any) -> None:
        process = world.server.kernel.cpu.current.process  # type: ignore[union-attr]
        serve(socket, job.root, PORT, spawn=lambda fn: process.thread(fn, daemon=True))

    httpd = world.server.process("httpd", server)
    curl = world.client.process("curl", client.main)
    await world.run(curl)
    for process in (httpd, curl):
        if process.tracebacks:
            raise RuntimeError(f"{process.name} crashed:\n{process.tracebacks[0]}")
    await world.down(httpd)


def _latency(verb: str, journey: Journey | None, hops: tuple[str, ...]) -> list[Latency]:
    """The journey of a typical packet as the report shows it, or none."""
    if journey is None:
        return []
    times = [journey.at[hop] for hop in hops]
    steps = [
        LatencyStep(hop, at - times[0], at - before)
        for hop, at, before in zip(hops, times, [times[0], *times], strict=False)
    ]
    return [Latency(f"a {verb} packet of {journey.length} bytes, the median one", steps)]
