"""The HTTP server and client on two hosts, over TCP and a wire between software NICs."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from pystack.apps.http_client import Session, fetch, post
from pystack.apps.http_server import serve
from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Impaired, Impairment, Link, Port
from pystack.host import Host, finished
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule

FILE = random.Random(9).randbytes(256 * 1024 + 3)
SERVER = "10.0.0.2"
SECOND = 10**9


class Pair:
    """A client host and a server host that serves `root`."""

    def __init__(self, root: Path, setting: Impairment | None = None, seed: int = 1) -> None:
        self.engine = VirtualEngine()
        link = Link(self.engine)
        near: Port = link.a
        if setting is not None:
            near = Impaired(link.a, self.engine, setting, seed)
        self.client, self.server = (Host(self.engine, name) for name in ("client", "server"))
        tasks = []
        for host, port, number in ((self.client, near, 1), (self.server, link.b, 2)):
            dev = host.add_softnic("eth0", bytes((2, 0, 0, 0, 0, number)), port)
            tasks.append(host.start(host.up, dev, f"10.0.0.{number}/24"))
        self.engine.run(until=SECOND, stop=finished(*tasks))
        self.httpd = Process(self.server.kernel, self.server.system, "httpd")
        self.httpd.start(serve, SocketModule(self.httpd), str(root), spawn=self.httpd.thread)

    def run(self, program: Any, *args: Any, seconds: int = 3600) -> Any:
        """The result of `program(socket, *args)` on the client."""
        process = self.client.process("client", program, *args)
        self.engine.run(until=self.engine.now + seconds * SECOND, stop=lambda: not process.alive)
        assert not process.tracebacks, process.tracebacks[0]
        assert not process.alive, "the client has not ended"
        assert not self.httpd.tracebacks, self.httpd.tracebacks[0]
        return process.result

    def settle(self) -> None:
        """Stop the server and let TIME_WAIT end; nothing may be left."""
        self.httpd.kill()
        self.engine.run(until=self.engine.now + 300 * SECOND)
        for host in (self.client, self.server):
            assert host.system.open_files.count == 0
            assert host.tcp.alive() == 0
            assert host.kernel.skbs_alive == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "file.bin").write_bytes(FILE)
    (tmp_path / "sub").mkdir()
    return tmp_path


def whole_job(socket: Any) -> list[Any]:
    file = fetch(socket, SERVER, 80, "/file.bin")
    listing = fetch(socket, SERVER, 80, "/")
    answer = post(socket, SERVER, 80, "/", FILE)
    with Session(socket, SERVER, 80) as session:
        again = [session.request("GET", path).status for path in ("/file.bin", "/no", "/sub/")]
    return [file.sha256, "file.bin" in listing.body.decode(), answer.body.decode(), again]


DIGEST = hashlib.sha256(FILE).hexdigest()
DONE = [DIGEST, True, f"length {len(FILE)}\nsha256 {DIGEST}\n", [200, 404, 200]]


def test_file_listing_and_post_arrive_and_nothing_is_left(root: Path) -> None:
    pair = Pair(root)
    assert pair.run(whole_job) == DONE
    pair.settle()


@pytest.mark.parametrize("seed", range(3))
def test_all_arrives_over_a_bad_wire(root: Path, seed: int) -> None:
    pair = Pair(root, Impairment(loss=0.02, duplicate=0.01, reorder=0.02, corrupt=0.01), seed)
    assert pair.run(whole_job) == DONE
    pair.settle()


def test_twenty_clients_at_once(root: Path) -> None:
    pair = Pair(root)

    def get(socket: Any) -> str:
        return fetch(socket, SERVER, 80, "/file.bin").sha256

    clients = [pair.client.process(f"client{n}", get) for n in range(20)]
    pair.engine.run(
        until=pair.engine.now + 60 * SECOND,
        stop=lambda: not any(client.alive for client in clients),
    )
    assert [client.result for client in clients] == [DIGEST] * 20
    pair.settle()


def test_port_without_server_refuses_and_server_goes_on(root: Path) -> None:
    pair = Pair(root)

    def refused(socket: Any) -> str:
        try:
            fetch(socket, SERVER, 81, "/")
        except ConnectionRefusedError:
            return "refused"
        return "served"

    assert pair.run(refused) == "refused"
    assert pair.run(whole_job) == DONE
