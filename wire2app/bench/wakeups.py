"""What a wake-up costs when few or many connections are open: one epoll loop, one byte at a time.

A wake-up is all the host does for one byte on one of the connections: receive the frame, wake the
thread in `epoll_wait`, read.  The crowds stand side by side and take turns.
"""

from __future__ import annotations

import random
import select
import socket as so
from collections.abc import Sequence

from pystack.uapi.epoll import EPOLL_CTL_ADD
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from wire2app.bench.context import Context
from wire2app.bench.figures import Figure, alternate, rate
from wire2app.bench.hosts import PORT, Alone, check, start

SIZES = (10, 1_000, 10_000)
WAKEUPS = 500
FIRST_PORT = 2_000
ANY = bytes(4)


class Crowd:
    """`size` established connections of one process that waits for all of them with epoll.

    The application uses system calls directly, so that no Python socket object stands beside
    each connection.
    """

    def __init__(self, size: int) -> None:
        self.alone = Alone()
        self.size = size
        self.woken = 0
        self.accepted = 0
        self.app = start(self.alone.host, self._main)
        self.alone.run()
        self._sent = [0] * size
        self._rng = random.Random(size)

    def fill(self) -> None:
        """Open all connections and let timers that are only of their beginning run out."""
        self.alone.open(range(FIRST_PORT, FIRST_PORT + self.size))
        self.alone.run(2000)
        check(self.app)
        if self.accepted != self.size:
            raise RuntimeError(f"of {self.size} connections {self.accepted} were accepted")

    def _main(self, process: Process, _: SocketModule) -> None:
        sys = process.sys
        listener = sys.socket(so.AF_INET, so.SOCK_STREAM | so.SOCK_NONBLOCK, 0)
        sys.bind(listener, (ANY, PORT))
        sys.listen(listener, 1024)
        epoll = sys.epoll_create1(0)
        sys.epoll_ctl(epoll, EPOLL_CTL_ADD, listener, (select.EPOLLIN, listener))
        while True:
            for _events, fd in sys.epoll_wait(epoll, 64, -1):
                if fd == listener:
                    fd, _address = sys.accept4(listener, so.SOCK_NONBLOCK)
                    sys.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, (select.EPOLLIN, fd))
                    self.accepted += 1
                else:
                    self.woken += len(sys.recvfrom(fd, 64)[0])

    def wake(self, count: int) -> float:
        """Wake-ups a wall second, on connections drawn at random; frames are made before."""
        peer, frames = self.alone.peer, []
        for _ in range(count):
            at = self._rng.randrange(self.size)
            frames.append(peer.data(peer.open[FIRST_PORT + at], self._sent[at], b"x"))
            self._sent[at] += 1
        before = self.woken

        def work() -> int:
            for frame in frames:
                peer.deliver([frame])
                self.alone.run()
            return count

        result = rate(work)
        self.alone.run(300)  # delayed ACKs belong to no wake-up
        check(self.app)
        if self.woken - before != count:
            raise RuntimeError(f"{count} bytes were sent and {self.woken - before} read")
        return result


def rates(context: Context) -> dict[int, Figure]:
    """Wake-ups a wall second by number of connections."""
    return context.once("wakeups", lambda: _measure(context, SIZES))


def _measure(context: Context, sizes: Sequence[int]) -> dict[int, Figure]:
    crowds = [Crowd(size) for size in sizes]
    for crowd in crowds:
        crowd.fill()
        crowd.wake(WAKEUPS)
    figures = alternate(
        [lambda crowd=crowd: crowd.wake(WAKEUPS) for crowd in crowds],  # type: ignore[misc]
        2 * context.rounds + 1,
    )
    return dict(zip(sizes, figures, strict=True))
