"""The HTTP client against servers that misbehave."""

from __future__ import annotations

import hashlib
from http.client import BadStatusLine, HTTPException, RemoteDisconnected
from typing import Any

import pytest
from uapi_world import Env, World

from pystack.apps.http_client import Response, Session, fetch, post


def against(reply: bytes, program: Any, reset: bool = False) -> Any:
    """The result of `program(env)` against a server that says `reply` to anything."""
    world = World()

    def server(env: Env) -> None:
        with env.socket.create_server(("", 80)) as listener:
            conn, _ = listener.accept()
            with conn:
                conn.recv(10 if reset else 100_000)
                conn.sendall(reply)

    peer = world.start(server)
    client = world.start(program)
    world.finish(client, peer)
    return client.result


def get(env: Env) -> Response:
    return fetch(env.socket, "127.0.0.1", 80, "/x y")


def test_body_is_read_to_the_end_of_the_connection_without_a_length() -> None:
    reply = against(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", get)
    assert (reply.status, reply.reason, reply.body) == (200, "OK", b"until the end")
    assert reply.sha256 == hashlib.sha256(b"until the end").hexdigest()


def test_chunked_body_is_joined() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert against(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", get).body == b"abcde"


def test_interim_responses_are_skipped() -> None:
    final = b"HTTP/1.1 204 No Content\r\n\r\n"
    assert against(b"HTTP/1.1 100 Continue\r\n\r\n" + final, get).status == 204


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", RemoteDisconnected),
        (b"nonsense\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", HTTPException),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", HTTPException),
    ],
)
def test_broken_reply_raises(reply: bytes, error: type[Exception]) -> None:
    def program(env: Env) -> str:
        with pytest.raises(error):
            get(env)
        return "raised"

    assert against(reply, program) == "raised"


def test_answer_to_a_body_that_was_not_read_is_still_seen() -> None:
    """The server answers and resets while the client is still sending."""

    def program(env: Env) -> int:
        body = iter([bytes(60_000)] * 20)
        return post(env.socket, "127.0.0.1", 80, "/", body).status

    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    assert against(refusal, program, reset=True) == 413


def test_refused_connection_and_timeout_are_os_errors() -> None:
    world = World()

    def program(env: Env) -> None:
        with pytest.raises(ConnectionRefusedError):
            get(env)
        with env.socket.create_server(("", 80)):
            with pytest.raises(TimeoutError):
                fetch(env.socket, "127.0.0.1", 80, "/", timeout=2)
            assert env.time.monotonic() == pytest.approx(2, abs=0.1)
            with Session(env.socket, "127.0.0.1", 80):
                pass

    world.run(program)
