"""The programs of tests/programs, on two simulated hosts and on this machine's Linux."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import trustme

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host
from tb.programs import Program, Programs

PROGRAMS = Path(__file__).resolve().parent / "programs"
SECOND = 10**9
PORT = "8000"


class Ran(NamedTuple):
    """What server and client wrote, and their statuses."""

    server: str
    client: str
    statuses: tuple[int, int]


def two_hosts(seed: int = 1) -> tuple[Host, Host]:
    """10.0.0.1 and 10.0.0.2 joined by a link, both up, in virtual time."""
    engine = VirtualEngine()
    link = Link(engine)
    hosts = Host(engine, "a", seed=seed), Host(engine, "b", seed=seed)
    for number, (host, port) in enumerate(zip(hosts, (link.a, link.b), strict=True), 1):
        device = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, number]), port)
        host.start(host.up, device, f"10.0.0.{number}/24")
    engine.run(until=engine.now + SECOND // 1000)
    return hosts


def arguments(address: str, server: list[str], client: list[str]) -> tuple[list[str], list[str]]:
    return ["server", address, PORT, *server], ["client", address, PORT, *client]


def on_hosts(name: str, server: list[str], client: list[str]) -> Ran:
    """In virtual time; AssertionError if they do not end or leave something behind."""
    a, b = two_hosts()
    path = str(PROGRAMS / f"{name}.py")
    args = arguments("10.0.0.1", server, client)
    both = [Program(host, path, arg) for host, arg in zip((a, b), args, strict=True)]
    programs = Programs(both, lambda prefix, line, fd: None, {"PATH": "/usr/bin:/bin"})
    programs.start()
    assert isinstance(a.engine, VirtualEngine)
    a.engine.run(until=a.engine.now + 600 * SECOND, stop=programs.done)
    output, statuses = [], []
    for program in both:
        assert program.process is not None and not program.process.alive, program
        assert not program.process.tracebacks and not program.interrupted, program
        assert program.process.stderr == b"", program.process.stderr.decode()
        output.append(program.process.stdout.decode())
        statuses.append(program.status)
    a.engine.run(until=a.engine.now + 300 * SECOND)
    for host in (a, b):
        assert host.tcp.alive() == host.kernel.skbs_alive == host.system.open_files.count == 0
    return Ran(output[0], output[1], (statuses[0], statuses[1]))


def on_linux(name: str, server: list[str], client: list[str]) -> Ran:
    """Over loopback, in the namespaces the caller has made."""
    commands = [
        [sys.executable, str(PROGRAMS / f"{name}.py"), *args]
        for args in arguments("127.0.0.1", server, client)
    ]
    with subprocess.Popen(commands[0], stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        ready = serving.stdout.readline()
        asking = subprocess.run(commands[1], capture_output=True, text=True, timeout=60)
        assert asking.returncode == 0, asking.stderr
        output = ready + serving.stdout.read()
    return Ran(output, asking.stdout, (serving.returncode, asking.returncode))


def certificates(folder: Path) -> tuple[list[str], list[str]]:
    """Arguments of the TLS program: certificate and key, and the authority behind them."""
    authority = trustme.CA()
    issued = authority.issue_cert("server.example")
    paths = [folder / name for name in ("server.pem", "key.pem", "authority.pem")]
    paths[0].write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    paths[1].write_bytes(issued.private_key_pem.bytes())
    paths[2].write_bytes(authority.cert_pem.bytes())
    return [str(paths[0]), str(paths[1])], [str(paths[2])]
