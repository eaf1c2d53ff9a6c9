"""The tools of a running host for whoever asks over a Unix socket: `wire2app shell --live`.

A request is a line of text, a command.  Answers are lines of JSON: {"line": TEXT} for a packet a
running `tcpdump` has seen, and {"output": TEXT, "error": TEXT, "status": N} to end a command.
The job polls `descriptors` and calls `ready`; each command runs in a task of the host.
"""

from __future__ import annotations

import json
import shlex
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

from pystack.core.task import Task
from pystack.host import Host
from pystack.tools.tcpdump.command import Live, parse
from pystack.tools.tool import ToolError

_CHUNK = 65536


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.capture: Live | None = None

    def answer(self, **what: object) -> None:
        """A client that does not read is not waited for: it loses its connection."""
        try:
            self.sock.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            self.stop()

    def stop(self) -> None:
        if self.capture is not None:
            self.capture.stop()
            self.capture = None


class RemoteShell:
    def __init__(self, host: Host, path: Path) -> None:
        """Listens on `path`; OSError."""
        self._host = host
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        self._listener.listen()
        self._clients: dict[int, _Client] = {}

    @property
    def descriptors(self) -> list[int]:
        return [self._listener.fileno(), *self._clients]

    def ready(self, fd: int) -> None:
        """`fd`, one of `descriptors`, can be read."""
        if fd == self._listener.fileno():
            sock, _ = self._listener.accept()
            self._clients[sock.fileno()] = _Client(sock)
            return
        client = self._clients[fd]
        data = b""
        with suppress(OSError):
            data = client.sock.recv(_CHUNK)
        if not data:
            del self._clients[fd]
            client.stop()
            client.sock.close()
            return
        *lines, client.rest = (client.rest + data).split(b"\n")
        for line in lines:
            self._command(client, line.decode(errors="replace"))

    def close(self) -> None:
        for client in self._clients.values():
            client.stop()
            client.sock.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    # -- commands --------------------------------------------------------------------------

    def _command(self, client: _Client, line: str) -> None:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as exc:
            client.answer(output="", error=f"bash: {exc}", status=2)
            return
        if words[:1] == ["tcpdump"]:
            self._tcpdump(client, words[1:])
            return
        self._tool(client, words)

    def _tool(self, client: _Client, words: list[str]) -> None:
        task = self._host.start(self._host.tool, shlex.join(words), name="tool")
        task.on_exit.append(partial(self._finished, client))

    def _finished(self, client: _Client, task: Task) -> None:
        exc = task.exception
        if exc is None:
            client.answer(output=task.result, error="", status=0)
        elif isinstance(exc, ToolError):
            error = "" if str(exc) == exc.output else str(exc)
            client.answer(output=exc.output, error=error, status=exc.status)
        else:
            client.answer(output="", error=f"{type(exc).__name__}: {exc}", status=1)

    def _tcpdump(self, client: _Client, words: list[str]) -> None:
        """Starts a capture; `tcpdump stop`, or enough packets, ends it and the command."""
        if words == ["stop"] or client.capture is not None:
            self._end_capture(client)
            return
        try:
            command = parse(words)
            if command.read:
                self._tool(client, ["tcpdump", *words])
                return
            capture = Live(self._host, command, partial(self._packet, client))
        except ToolError as exc:
            client.answer(output="", error=str(exc), status=exc.status)
            return
        client.capture = capture
        capture.start()

    def _packet(self, client: _Client, line: str) -> None:
        client.answer(line=line)
        if client.capture is not None and client.capture.full:
            self._end_capture(client)

    def _end_capture(self, client: _Client) -> None:
        count = 0 if client.capture is None else len(client.capture.lines)
        client.stop()
        client.answer(output=f"{count} packets captured\n", error="", status=0)
