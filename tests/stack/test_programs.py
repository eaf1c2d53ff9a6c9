"""Unmodified programs: the same file on two simulated hosts and on this machine's Linux."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from both import on_linux as in_namespaces
from programs_run import certificates, on_hosts, on_linux

NAMES = "asyncio_echo files http_files mail procedures threads tls waiting web".split()


@pytest.mark.parametrize("name", NAMES)
def test_program_writes_the_same_on_linux_and_on_simulated_hosts(name: str, tmp_path: Path) -> None:
    server: list[str] = []
    client: list[str] = []
    if name == "tls":
        server, client = certificates(tmp_path)
    if name == "asyncio_echo":
        server = client = ["100"]
    simulated = on_hosts(name, server, client)
    assert simulated.statuses == (0, 0)

    def linux(machine: Any) -> Any:
        return tuple(on_linux(name, server, client))

    assert tuple(simulated) == in_namespaces(linux)


def test_asyncio_echo_serves_a_thousand_connections_at_once() -> None:
    ran = on_hosts("asyncio_echo", ["1000"], ["1000"])
    assert ran == ("ready\nserved 1000\n", "right answers 1000\n", (0, 0))
