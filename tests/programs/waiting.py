"""One server thread over select, poll, epoll and selectors in turn.

python waiting.py server|client HOST PORT
"""

import select
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterable

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
KINDS = ("select", "poll", "epoll", "selectors")
CLIENTS = 5


def waiter(kind: str) -> Callable[[dict[int, socket.socket]], Iterable[int]]:
    """What says which of some sockets are readable."""
    epoll, chooser = select.epoll(), selectors.DefaultSelector()

    def ready(socks: dict[int, socket.socket]) -> Iterable[int]:
        if kind == "select":
            return select.select(list(socks), [], [], 10)[0]
        if kind == "poll":
            poll = select.poll()
            for fd in socks:
                poll.register(fd, select.POLLIN)
            return [fd for fd, _ in poll.poll(10_000)]
        if kind == "epoll":
            for fd in socks:
                try:
                    epoll.register(fd, select.EPOLLIN)
                except FileExistsError:
                    continue
            return [fd for fd, _ in epoll.poll(10)]
        for fd in set(socks) - set(chooser.get_map()):
            chooser.register(fd, selectors.EVENT_READ)
        for fd in set(chooser.get_map()) - set(socks):
            chooser.unregister(fd)
        return [key.fd for key, _ in chooser.select(10)]

    return ready


def serve() -> None:
    with socket.create_server((host, port), backlog=CLIENTS) as listener:
        listener.setblocking(False)
        print("ready", flush=True)
        for kind in KINDS:
            ready, done, received = waiter(kind), 0, 0
            socks = {listener.fileno(): listener}
            while done < CLIENTS:
                for fd in ready(socks):
                    if socks[fd] is listener:
                        sock, _ = listener.accept()
                        sock.setblocking(False)
                        socks[sock.fileno()] = sock
                    elif data := socks[fd].recv(1000):
                        received += len(data)
                        socks[fd].send(data)
                    else:
                        socks.pop(fd).close()
                        done += 1
            print(kind, received)


def client() -> None:
    for kind in KINDS:
        socks = [socket.create_connection((host, port)) for _ in range(CLIENTS)]
        for _ in range(3):
            for sock in socks:
                sock.sendall(b"x" * 100)
            time.sleep(0.01)
            for sock in socks:
                assert sock.recv(100, socket.MSG_WAITALL) == b"x" * 100
        for sock in socks:
            sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            assert sock.recv(1) == b""  # the server has seen it
            sock.close()
        print(kind, "done")


serve() if role == "server" else client()
