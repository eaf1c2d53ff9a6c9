"""What runs in the shell's little world: a server with two clients' worth of traffic.

    client 10.0.0.2 ── 1 Gbit/s, 1 ms ── 10.0.0.1 server

`httpd` answers a request a connection, `echod` keeps one connection open; `browser` asks twice a
second, `chat` says a line every two seconds.
"""

from __future__ import annotations

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished

RATE, DELAY = 10**9, 1_000_000
ADDRESSES = {"server": "10.0.0.1", "client": "10.0.0.2"}
ADDRESSES6 = {"server": "fd00::1", "client": "fd00::2"}


def httpd() -> None:
    import socket

    page = b"x" * 20_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page)
    with socket.create_server(("10.0.0.1", 80), backlog=16) as listener:
        while True:
            conn, _ = listener.accept()
            with conn:
                if conn.recv(4096):
                    conn.sendall(head + page)


def echod() -> None:
    import socket

    with socket.create_server(("10.0.0.1", 7)) as listener:
        while True:
            conn, _ = listener.accept()
            with conn:
                while data := conn.recv(4096):
                    conn.sendall(data)


def browser() -> None:
    import socket
    import time

    while True:
        with socket.create_connection(("10.0.0.1", 80)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
            while sock.recv(65536):
                pass
        time.sleep(0.5)


def chat() -> None:
    import socket
    import time

    with socket.create_connection(("10.0.0.1", 7)) as sock:
        while True:
            sock.sendall(b"hello\n")
            sock.recv(100)
            time.sleep(2)


def build(engine: VirtualEngine, seed: int) -> dict[str, Host]:
    """The two hosts by name, up, their programs started; the programs have not run yet."""
    link = Link(engine, RATE, DELAY)
    hosts: dict[str, Host] = {}
    for number, (name, port) in enumerate((("server", link.a), ("client", link.b)), 1):
        host = hosts[name] = Host(engine, name, cpus=2, seed=seed)
        host.kernel.sysctl["net.ipv6.conf.default.dad_transmits"] = 0
        device = host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, number]), port)
        up = host.start(host.up, device, f"{ADDRESSES[name]}/24", f"{ADDRESSES6[name]}/64")
        engine.run(stop=finished(up))
    for name, programs in (("server", (httpd, echod)), ("client", (browser, chat))):
        for program in programs:
            hosts[name].run_python(program)
    return hosts
