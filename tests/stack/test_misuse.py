"""Calls that cannot work: each gives this machine's errno.  And a hundred thousand descriptors."""

from __future__ import annotations

import fcntl
import os
import select as sel
import socket as so
import termios
import time
from collections.abc import Callable
from typing import Any

from both import Machine, both

from pystack.core.costs import Costs
from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.uapi.process import Process

BAD = 987  # no descriptor
INET, STREAM, DGRAM = so.AF_INET, so.SOCK_STREAM, so.SOCK_DGRAM
Case = tuple[str, Callable[[Machine, "Things"], object]]


class Things:
    """One of each kind of descriptor."""

    def __init__(self, m: Machine) -> None:
        self.new = m.socket.socket()
        self.listener = m.socket.create_server(("127.0.0.1", 0))
        self.client = m.socket.create_connection(self.listener.getsockname())
        self.server, _ = self.listener.accept()
        self.unix = m.socket.socket(so.AF_UNIX)
        self.udp = m.socket.socket(INET, DGRAM)
        self.reader, self.writer = m.sys.pipe2(os.O_NONBLOCK)
        self.event = m.sys.eventfd2(0, os.O_NONBLOCK)
        self.timer = m.sys.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        self.epoll = m.sys.epoll_create1(0)
        self.shut = m.socket.create_connection(self.listener.getsockname())
        self.shut.shutdown(so.SHUT_WR)


def bind_twice(m: Machine, t: Things) -> None:
    t.new.bind(("127.0.0.1", 0))
    t.new.bind(("127.0.0.1", 0))


def bind_where_somebody_listens(m: Machine, t: Things) -> None:
    m.socket.socket().bind(t.listener.getsockname())


def use_after_close(m: Machine, t: Things) -> object:
    sock = m.socket.socket()
    sock.close()
    return sock.send(b"x")


def close_twice(m: Machine, t: Things) -> None:
    fd = m.sys.dup(t.reader)
    m.sys.close(fd)
    m.sys.close(fd)


def on_bad_descriptor(name: str, *args: Any) -> Case:
    return f"{name} of nothing", lambda m, t: getattr(m.sys, name)(BAD, *args)


def on_no_socket(name: str, *args: Any) -> Case:
    return f"{name} of a pipe", lambda m, t: getattr(m.sys, name)(t.reader, *args)


CASES: list[Case] = [
    *(on_bad_descriptor(name) for name in ("close", "dup", "timerfd_gettime", "accept4")),
    on_bad_descriptor("read", 1),
    on_bad_descriptor("write", b"x"),
    on_bad_descriptor("lseek", 0, 0),
    on_bad_descriptor("dup2", 5),
    on_bad_descriptor("fcntl", fcntl.F_GETFL),
    on_bad_descriptor("ioctl", termios.FIONREAD),
    on_bad_descriptor("listen", 1),
    on_bad_descriptor("shutdown", 0),
    on_bad_descriptor("recvfrom", 1),
    on_bad_descriptor("connect", (b"\x7f\0\0\1", 1)),
    on_bad_descriptor("epoll_wait", 1, 0),
    on_bad_descriptor("mmap", 4096),
    on_no_socket("listen", 1),
    on_no_socket("shutdown", 0),
    on_no_socket("accept4"),
    on_no_socket("recvfrom", 1),
    on_no_socket("connect", (b"\x7f\0\0\1", 1)),
    ("negative descriptor", lambda m, t: m.sys.close(-1)),
    ("close twice", close_twice),
    ("use after close", use_after_close),
    # sockets
    ("family", lambda m, t: m.socket.socket(99, STREAM)),
    ("type", lambda m, t: m.socket.socket(INET, 7)),
    ("type out of range", lambda m, t: m.socket.socket(INET, 15)),
    ("protocol", lambda m, t: m.socket.socket(INET, STREAM, 99)),
    ("protocol of another type", lambda m, t: m.socket.socket(INET, DGRAM, so.IPPROTO_TCP)),
    ("protocol out of range", lambda m, t: m.socket.socket(INET, STREAM, 300)),
    ("unix protocol", lambda m, t: m.socket.socket(so.AF_UNIX, STREAM, 7)),
    ("unix type", lambda m, t: m.socket.socket(so.AF_UNIX, so.SOCK_RDM)),
    ("pair of inet sockets", lambda m, t: m.socket.socketpair(INET, STREAM)),
    ("bind twice", bind_twice),
    ("bind where somebody listens", bind_where_somebody_listens),
    ("bind to another's address", lambda m, t: t.udp.bind(("192.0.2.1", 0))),
    ("listen on datagrams", lambda m, t: t.udp.listen(1)),
    ("accept on datagrams", lambda m, t: t.udp.accept()),
    ("listen when connected", lambda m, t: t.client.listen(1)),
    ("accept without listen", lambda m, t: m.socket.socket().accept()),
    ("accept on a connection", lambda m, t: t.client.accept()),
    ("connect twice", lambda m, t: t.client.connect(t.listener.getsockname())),
    ("connect a listener", lambda m, t: t.listener.connect(t.listener.getsockname())),
    ("connect where nobody is", lambda m, t: m.socket.socket().connect(("127.0.0.1", 1))),
    ("connect of unix to nothing", lambda m, t: t.unix.connect("nothing")),
    ("listen of unix unbound", lambda m, t: m.socket.socket(so.AF_UNIX).listen(1)),
    ("send unconnected", lambda m, t: m.socket.socket().send(b"x")),
    ("receive unconnected", lambda m, t: m.socket.socket().recv(1)),
    ("send on a listener", lambda m, t: t.listener.send(b"x")),
    ("receive on a listener", lambda m, t: t.listener.recv(1)),
    ("send after shutdown", lambda m, t: t.shut.send(b"x")),
    ("datagram without address", lambda m, t: t.udp.send(b"x")),
    ("datagram too long", lambda m, t: t.udp.sendto(bytes(65508), ("127.0.0.1", 9))),
    ("shutdown unconnected", lambda m, t: m.socket.socket().shutdown(0)),
    ("shutdown how", lambda m, t: t.client.shutdown(7)),
    ("name of the peer of none", lambda m, t: m.socket.socket().getpeername()),
    ("unknown option", lambda m, t: t.client.setsockopt(so.SOL_SOCKET, 999, 1)),
    ("unknown option asked", lambda m, t: t.client.getsockopt(so.SOL_SOCKET, 999)),
    ("unknown level", lambda m, t: t.client.setsockopt(99, 1, 1)),
    ("short option", lambda m, t: t.client.setsockopt(so.SOL_SOCKET, so.SO_KEEPALIVE, b"x")),
    ("read-only option", lambda m, t: t.client.setsockopt(so.SOL_SOCKET, so.SO_ERROR, 1)),
    ("seek on a socket", lambda m, t: m.sys.lseek(t.client.fileno(), 0, 0)),
    ("unknown ioctl", lambda m, t: m.sys.ioctl(t.client.fileno(), 0x1234)),
    ("size of a listener's data", lambda m, t: m.sys.ioctl(t.listener.fileno(), termios.FIONREAD)),
    ("map a counter", lambda m, t: m.sys.mmap(t.event, 4096)),
    # descriptors
    ("seek on a pipe", lambda m, t: m.sys.lseek(t.reader, 0, 0)),
    ("write to the reading end", lambda m, t: m.sys.write(t.reader, b"x")),
    ("read from the writing end", lambda m, t: m.sys.read(t.writer, 1)),
    ("read an epoll", lambda m, t: m.sys.read(t.epoll, 1)),
    ("write to a timer", lambda m, t: m.sys.write(t.timer, b"12345678")),
    ("short read of a counter", lambda m, t: m.sys.read(t.event, 4)),
    ("unknown fcntl", lambda m, t: m.sys.fcntl(t.reader, 999)),
    ("pipe size of a socket", lambda m, t: m.sys.fcntl(t.client.fileno(), 1032)),
    ("dup to nowhere", lambda m, t: m.sys.dup2(t.reader, 1 << 25)),
    ("dup3 to itself", lambda m, t: m.sys.dup3(t.reader, t.reader, 0)),
    ("timer of a pipe", lambda m, t: m.sys.timerfd_gettime(t.reader)),
    # waiting
    ("epoll of no epoll", lambda m, t: m.sys.epoll_wait(t.reader, 1, 0)),
    ("epoll for nothing", lambda m, t: m.sys.epoll_wait(t.epoll, 0, 0)),
    ("epoll flags", lambda m, t: m.sys.epoll_create1(1)),
    ("watch nothing", lambda m, t: m.sys.epoll_ctl(t.epoll, 1, BAD, (sel.EPOLLIN, 0))),
    ("watch itself", lambda m, t: m.sys.epoll_ctl(t.epoll, 1, t.epoll, (sel.EPOLLIN, 0))),
    ("change what is not watched", lambda m, t: m.sys.epoll_ctl(t.epoll, 3, t.reader, (1, 0))),
    ("forget what is not watched", lambda m, t: m.sys.epoll_ctl(t.epoll, 2, t.reader, (1, 0))),
    ("unknown epoll_ctl", lambda m, t: m.sys.epoll_ctl(t.epoll, 9, t.reader, (1, 0))),
    ("poll too many", lambda m, t: m.sys.poll([(-1, 0)] * (1 << 21), 0)),
    ("poll of nothing", lambda m, t: m.sys.poll([(BAD, sel.POLLIN)], 0)),
]


def misuse(m: Machine) -> dict[str, object]:
    import resource

    from pystack.uapi.signals import SIG_IGN, Action

    m.sys.rt_sigaction(13, Action(SIG_IGN))
    m.sys.prlimit64(resource.RLIMIT_NOFILE, (1024, m.sys.prlimit64(resource.RLIMIT_NOFILE)[1]))
    things = Things(m)
    return {name: m.outcome(case, m, things) for name, case in CASES}


def test_misuse_gives_the_errno_of_this_machine() -> None:
    assert len(CASES) == len({name for name, _ in CASES})
    both(misuse)


def test_a_hundred_thousand_descriptors_stay_cheap() -> None:
    """Opening the last costs as opening the first; what a descriptor holds is bounded.

    The times are quoted in docs/sockets.md; here the ratio is checked, generously.
    """
    engine = VirtualEngine()
    host = Host(engine, "h", costs=Costs.zero())
    process = Process(host.kernel, host.system, "many", nofile=200_000)
    times: list[float] = []

    def main() -> int:
        for _ in range(10):
            begin = time.perf_counter()
            for _ in range(10_000):
                process.sys.eventfd2(0, 0)
            times.append(time.perf_counter() - begin)
        lowest = 54_321
        process.sys.close(lowest)
        assert process.sys.dup(0) == lowest
        return len(process.files)

    process.start(main)
    engine.run(until=10**12)
    assert (process.result, process.tracebacks) == (100_003, [])
    assert host.system.open_files.count == 0
    assert min(times[5:]) < 5 * min(times[:5])
