"""The HTTP server and client over the simulated sockets, and what nobody should send them."""

from __future__ import annotations

import hashlib
import random
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from uapi_world import TRANSPORTS, Env, World

from pystack.apps.http_client import Session, fetch, post
from pystack.apps.http_server import serve
from pystack.uapi.process import Process

FILE = random.Random(5).randbytes(256 * 1024 + 7)
GOOD = b"GET /hello.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

BIG = 6 << 20  # more than the buffers between two ends take


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    (root / "sub").mkdir(parents=True)
    (root / "file.bin").write_bytes(FILE)
    (root / "hello.txt").write_text("hello\n")
    (root / "empty").write_text("")
    (root / "sub" / "<odd> & ünïcode?.txt").write_text("odd")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    return root


class Site:
    """A server process on `root`, and programs run against it."""

    def __init__(
        self, root: Path, nofile: int = 1024, transport: str = "tcp", **options: Any
    ) -> None:
        self.world = World(transport=transport)
        self.log: list[str] = []

        def main(env: Env) -> None:
            serve(env.socket, str(root), spawn=env.spawn, log=self.log.append, **options)

        self.server = self.world.start(main, nofile=nofile)

    def run(self, program: Any, *args: Any) -> Any:
        """The result of `program(env, *args)`; the server must be alive and well after it."""
        client = self.world.start(program, *args)
        self.world.finish(client)
        after = self.world.start(raw, GOOD)
        self.world.finish(after)
        assert after.result.startswith(b"HTTP/1.1 200 OK\r\n")
        assert after.result.endswith(b"\r\n\r\nhello\n")
        assert self.server.alive
        assert self.server.tracebacks == []
        return client.result

    def stop(self) -> None:
        self.server.kill()
        self.world.finish(self.server)
        self.world.check_clean()


def raw(env: Env, *pieces: bytes, shut: bool = False) -> bytes:
    """Send bytes as they are; all that comes back until the server closes."""
    with env.socket.create_connection(("127.0.0.1", 80)) as sock, sock.makefile("rb") as file:
        for piece in pieces:
            sock.sendall(piece)
            env.time.sleep(0.01)
        if shut:
            sock.shutdown(env.socket.SHUT_WR)
        return bytes(file.read())


def status_of(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1]) if reply else 0


def test_a_file_and_a_listing_and_a_post(root: Path) -> None:
    site = Site(root)

    def program(env: Env) -> list[Any]:
        file = fetch(env.socket, "127.0.0.1", 80, "/file.bin")
        listing = fetch(env.socket, "127.0.0.1", 80, "/")
        answer = post(env.socket, "127.0.0.1", 80, "/up", FILE)
        return [file, listing, answer]

    file, listing, answer = site.run(program)
    assert (file.status, file.body) == (200, FILE)
    assert file.sha256 == hashlib.sha256(FILE).hexdigest()
    assert file.headers["Content-Type"] == "application/octet-stream"
    assert [f'href="./{name}"' in listing.body.decode() for name in ("file.bin", "sub/")] == [
        True,
        True,
    ]
    assert answer.body.decode() == f"length {len(FILE)}\nsha256 {file.sha256}\n"
    site.stop()


def test_one_connection_serves_many_requests(root: Path) -> None:
    site = Site(root)

    def program(env: Env) -> list[Any]:
        with Session(env.socket, "127.0.0.1", 80) as session:
            replies = [
                session.request("GET", "/hello.txt"),
                session.request("HEAD", "/file.bin"),
                session.request("HEAD", "/none"),
                session.request("GET", "/none"),
                session.request("POST", "/", b""),
                session.request("POST", "/", iter([b"ab", b"", b"cd"])),
                session.request("GET", "/empty"),
            ]
        return [(reply.status, reply.length) for reply in replies]

    assert site.run(program) == [
        *((200, 6), (200, 0), (404, 0), (404, 14), (200, 81), (200, 81), (200, 0)),
    ]
    assert len({line.split()[0] for line in site.log}) == 2  # the session and the check after it


def test_pipelined_requests_are_answered_in_order(root: Path) -> None:
    one = b"GET /hello.txt HTTP/1.1\r\nHost: h\r\n\r\n"
    body = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    reply = Site(root).run(raw, b"\r\n" + one + body + b"\r\n" + one + GOOD)
    assert reply.count(b"HTTP/1.1 200 OK") == 4
    assert reply.count(b"hello\n") == 3


def test_request_in_single_bytes_is_understood(root: Path) -> None:
    assert status_of(Site(root).run(raw, *(GOOD[i : i + 1] for i in range(len(GOOD))))) == 200


def test_expect_continue_is_answered_before_the_body(root: Path) -> None:
    def program(env: Env) -> list[bytes]:
        with env.socket.create_connection(("127.0.0.1", 80)) as sock:
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                b"Content-Length: 2\r\nConnection: close\r\n\r\n"
            )
            first = sock.recv(100)
            sock.sendall(b"ok")
            return [first, sock.recv(100)]

    first, second = Site(root).run(program)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


def test_names_are_escaped_in_the_listing_and_found_by_their_link(root: Path) -> None:
    def program(env: Env) -> list[Any]:
        page = fetch(env.socket, "127.0.0.1", 80, "/sub/").body.decode()
        link = page.split('href="./')[1].split('"')[0]
        return [page, link, fetch(env.socket, "127.0.0.1", 80, f"/sub/{link}").body]

    page, link, body = Site(root).run(program)
    assert "<odd>" not in page
    assert "&lt;odd&gt; &amp; ünïcode?.txt" in page
    assert (link, body) == ("%3Codd%3E%20%26%20%C3%BCn%C3%AFcode%3F.txt", b"odd")


def request(start: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([start, "Host: h", *fields, "", ""]).encode() + body


LAST = b"0\r\n\r\n"  # the last chunk
REFUSED: dict[str, tuple[int, bytes]] = {
    "nonsense": (400, b"nonsense\r\n\r\n"),
    "binary": (400, bytes(range(128, 256)) + b"\r\n\r\n"),
    "TLS hello": (400, bytes.fromhex("16030100") + b"\r\n\r\n"),
    "two words": (400, b"GET /\r\n\r\n"),
    "four words": (400, b"GET / x HTTP/1.1\r\n\r\n"),
    "bad method token": (400, b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "bad version": (400, b"GET / HTTP/x.y\r\n\r\n"),
    "version 2": (505, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, request("GET / HTTP/1.1", "Host: other")),
    "header without colon": (400, request("GET / HTTP/1.1", "no colon")),
    "space before colon": (400, request("GET / HTTP/1.1", "Name : x")),
    "folded header": (400, request("GET / HTTP/1.1", "A: b", " folded")),
    "NUL in header": (400, request("GET / HTTP/1.1", "A: b\0c")),
    "NUL in path": (400, request("GET /%00 HTTP/1.1")),
    "authority target": (400, request("GET example.com:80 HTTP/1.1")),
    "bad port target": (400, request("GET http://[::1 HTTP/1.1")),
    "dot dot": (403, request("GET /../secret HTTP/1.1")),
    "encoded dot dot": (403, request("GET /sub/%2e%2e/%2E%2E/secret HTTP/1.1")),
    "encoded slash": (403, request("GET /..%2fsecret HTTP/1.1")),
    "absolute with dot dot": (403, request("GET http://h/../secret HTTP/1.1")),
    "link out of the root": (403, request("GET /link HTTP/1.1")),
    "missing": (404, request("GET /missing HTTP/1.1")),
    "file as directory": (404, request("GET /hello.txt/ HTTP/1.1")),
    "below a file": (404, request("GET /hello.txt/x HTTP/1.1")),
    "name too long": (404, request(f"GET /{'x' * 3000} HTTP/1.1")),
    "PUT": (405, request("PUT /x HTTP/1.1", "Content-Length: 1", body=b"x")),
    "unknown method": (501, request("BREW /pot HTTP/1.1")),
    "POST without length": (411, request("POST / HTTP/1.1")),
    "too large": (413, request("POST / HTTP/1.1", "Content-Length: 50000", body=bytes(50_000))),
    "too large, asked first": (
        413,
        request("POST / HTTP/1.1", "Content-Length: 5001", "Expect: 100-continue"),
    ),
    "chunks too large": (
        413,
        request("POST / HTTP/1.1", "Transfer-Encoding: chunked", body=b"1389\r\n" + bytes(5001)),
    ),
    "long target": (414, request(f"GET /{'x' * 9000} HTTP/1.1")),
    "expectation": (417, request("GET / HTTP/1.1", "Expect: a miracle")),
    "long header": (431, request("GET / HTTP/1.1", f"A: {'x' * 9000}")),
    "many headers": (431, request("GET / HTTP/1.1", *(f"A{i}: b" for i in range(101)))),
    "length not a number": (400, request("POST / HTTP/1.1", "Content-Length: 1x")),
    "negative length": (400, request("POST / HTTP/1.1", "Content-Length: -1")),
    "huge length": (400, request("POST / HTTP/1.1", f"Content-Length: {'9' * 30}")),
    "two lengths": (
        400,
        request("POST / HTTP/1.1", "Content-Length: 1", "Content-Length: 2", body=b"ab"),
    ),
    "length and chunked": (
        400,
        request("POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body=LAST),
    ),
    "chunked in 1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST),
    "unknown coding": (501, request("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked")),
    "bad chunk size": (
        400,
        request("POST / HTTP/1.1", "Transfer-Encoding: chunked", body=b"xyz\r\n"),
    ),
    "negative chunk size": (
        400,
        request("POST / HTTP/1.1", "Transfer-Encoding: chunked", body=b"-1\r\n"),
    ),
    "chunk without end": (
        400,
        request("POST / HTTP/1.1", "Transfer-Encoding: chunked", body=b"1\r\nabcdef\r\n"),
    ),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", REFUSED)
def test_bad_request_gets_its_status_and_the_server_goes_on(
    root: Path, name: str, transport: str
) -> None:
    expected, data = REFUSED[name]
    site = Site(root, transport=transport, max_body=5000)
    reply = site.run(lambda env: raw(env, data, shut=True))
    assert status_of(reply) == expected
    assert b"secret" not in reply
    assert reply.count(b"HTTP/1.1 ") == 1
    site.stop()


@pytest.mark.parametrize("length", [1, 4, 20, 50, len(GOOD) - 1])
def test_truncated_request_is_400_or_nothing(root: Path, length: int) -> None:
    reply = Site(root).run(lambda env: raw(env, GOOD[:length], shut=True))
    assert status_of(reply) == 400


def test_random_bytes_never_stop_the_server(root: Path) -> None:
    site, rng = Site(root), random.Random(11)

    def program(env: Env) -> None:
        for _ in range(60):
            data = bytearray(request("POST /x HTTP/1.1", "Content-Length: 4", body=b"abcd"))
            for _ in range(rng.randrange(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            with env.socket.create_connection(("127.0.0.1", 80)) as sock:
                sock.sendall(data)
                sock.shutdown(env.socket.SHUT_WR)
                while sock.recv(1000):
                    pass

    site.run(program)
    site.stop()


def test_client_that_vanishes_mid_download_is_only_noted(root: Path) -> None:
    (root / "big").write_bytes(bytes(BIG))
    site = Site(root)

    def program(env: Env) -> None:
        sock = env.socket.create_connection(("127.0.0.1", 80))
        sock.sendall(GOOD.replace(b"hello.txt", b"big"))
        sock.recv(1)
        sock.close()

    site.run(program)
    assert any("connection lost" in line for line in site.log)
    site.stop()


def test_silent_client_is_dropped(root: Path) -> None:
    site = Site(root, timeout=5.0)

    def program(env: Env) -> tuple[bytes, float]:
        with env.socket.create_connection(("127.0.0.1", 80)) as sock:
            return sock.recv(1), env.time.monotonic()

    data, when = site.run(program)
    assert (data, round(when)) == (b"", 5)
    site.stop()


def test_clients_beyond_the_descriptor_limit_are_refused_and_later_ones_served(root: Path) -> None:
    site = Site(root, nofile=8)

    def program(env: Env) -> int:
        socks = [env.socket.create_connection(("127.0.0.1", 80)) for _ in range(9)]
        env.time.sleep(1)
        refused = 0
        for sock in socks:
            sock.settimeout(1)
            try:
                refused += sock.recv(1) == b""
            except TimeoutError:
                continue
        for sock in socks:
            sock.close()
        env.time.sleep(1)
        return refused

    # 0, 1, 2, listener and spare leave three
    assert site.run(program) == 6
    site.stop()


def test_file_that_shrinks_while_it_is_sent_ends_the_connection(root: Path) -> None:
    big = root / "big"
    big.write_bytes(bytes(BIG))
    site = Site(root)

    def program(env: Env) -> str:
        def cut(piece: bytes) -> None:
            big.write_bytes(b"")
            env.time.sleep(0.1)

        with pytest.raises(HTTPException, match="body ended after"):
            fetch(env.socket, "127.0.0.1", 80, "/big", sink=cut)
        return "noticed"

    assert site.run(program) == "noticed"
    assert any("shrank" in line for line in site.log)


def test_directory_without_slash_is_redirected_to_this_host(root: Path) -> None:
    def program(env: Env) -> list[Any]:
        replies = [fetch(env.socket, "127.0.0.1", 80, path) for path in ("/sub", "//sub")]
        return [(reply.status, reply.headers["Location"]) for reply in replies]

    assert Site(root).run(program) == [(301, "/sub/"), (301, "/sub/")]


def test_many_clients_at_once(root: Path) -> None:
    site = Site(root)

    def program(env: Env) -> list[int]:
        done: list[int] = []
        for _ in range(40):
            env.spawn(lambda: done.append(fetch(env.socket, "127.0.0.1", 80, "/file.bin").length))
        env.time.sleep(5)
        return done

    assert site.run(program) == [len(FILE)] * 40
    site.stop()


def test_without_spawn_connections_take_turns(root: Path) -> None:
    world = World()
    server: Process = world.start(lambda env: serve(env.socket, str(root)))
    clients = [world.start(raw, GOOD) for _ in range(3)]
    world.finish(*clients)
    assert [status_of(client.result) for client in clients] == [200] * 3
    server.kill()
    world.finish(server)


def test_root_must_be_a_directory(root: Path) -> None:
    world = World()

    def program(env: Env) -> None:
        with pytest.raises(NotADirectoryError):
            serve(env.socket, str(root / "file.bin"))

    world.run(program)
