"""The shell of a host that runs elsewhere: `wire2app live` in another terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pystack.tools.registry import tools
from pystack.tools.tool import ToolError
from wire2app.errors import ToolError as RequestError
from wire2app.shell.words import arguments_of, piped_through, split_pipe

SOCKET = "shell.sock"
_DEVICES = ["eth0", "lo"]


class Remote:
    """The other end of `tb.remote_shell`; packets of a running `tcpdump` go to `show`."""

    prompt = "live# "

    def __init__(self, path: Path, show: Callable[[str], None]) -> None:
        self._show = show
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.connect(str(path))
        except OSError as exc:
            raise RequestError(
                f"No running host at {path}: start one with `wire2app live` ({exc.strerror})."
            ) from None
        self._lines = self._sock.makefile("r", encoding="utf-8")

    def execute(self, line: str) -> str:
        """As `Session.execute`.  `tcpdump` goes on until Ctrl-C."""
        line, _, filters = split_pipe(line)
        self._send(line)
        try:
            answer = self._answer()
        except KeyboardInterrupt:
            self._send("tcpdump stop")
            answer = self._answer()
        if answer["status"]:
            raise ToolError(answer["error"], answer["status"], answer["output"])
        text: str = answer["output"]
        return piped_through(filters, text) if filters else text

    def complete(self, words: list[str]) -> list[str]:
        if len(words) < 2:
            return sorted([*tools, "exit"])
        return arguments_of(words[0], _DEVICES)

    def close(self) -> None:
        self._lines.close()
        self._sock.close()

    def _send(self, line: str) -> None:
        try:
            self._sock.sendall(line.encode() + b"\n")
        except OSError:
            raise RequestError("The host is gone.") from None

    def _answer(self) -> dict[str, Any]:
        for line in self._lines:
            answer: dict[str, Any] = json.loads(line)
            if "line" not in answer:
                return answer
            self._show(answer["line"])
        raise RequestError("The host is gone.")
