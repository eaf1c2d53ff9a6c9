"""Files in flight, and the collection of those nobody can ever receive (`net/unix/garbage.c`).

A socket passed over itself, or two over each other, and then closed, hold each other for ever:
every reference to them is in a queue of theirs.  When a socket is closed while some are in
flight, those that no process can reach are found, and their queues emptied.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pystack.transport.sock import os_error
from pystack.transport.unix.message import OpenFile, UnixMessage

if TYPE_CHECKING:
    from pystack.transport.unix.base import UnixSock

INFLIGHT_LIMIT = 1024  # RLIMIT_NOFILE of who is not root (`too_many_unix_fds`)


class InFlight:
    """The books of one host: who has how many files under way, and which of them are sockets."""

    def __init__(self) -> None:
        self.socks: set[UnixSock] = set()  # all that are alive
        self.by_user: Counter[int] = Counter()
        self._sockets: dict[OpenFile, int] = {}  # AF_UNIX sockets in flight: how many times
        self._collecting = False

    def attach(self, files: Iterable[OpenFile], uid: int) -> tuple[OpenFile, ...]:
        """References for a message; ETOOMANYREFS if the user has too many under way."""
        taken = tuple(files)
        if uid and self.by_user[uid] > INFLIGHT_LIMIT:
            raise os_error(errno.ETOOMANYREFS)
        for file in taken:
            file.get()
            self.by_user[uid] += 1
            if file.sock in self.socks:
                self._sockets[file] = self._sockets.get(file, 0) + 1
        return taken

    def detach(self, files: Iterable[OpenFile], uid: int) -> None:
        """They have arrived, or never will; the references are the caller's now."""
        for file in files:
            self.by_user[uid] -= 1
            if file in self._sockets:
                self._sockets[file] -= 1
                if not self._sockets[file]:
                    del self._sockets[file]

    def collect(self) -> None:
        """Empty the queues of sockets that only messages refer to, none of them reachable."""
        if not self._sockets or self._collecting:
            return
        self._collecting = True
        dead = self._unreachable()
        for sk in dead:
            sk.purge()
        self._collecting = False

    def _unreachable(self) -> list[UnixSock]:
        """Mark and sweep: what a process holds is alive, and so is all in its queues."""
        suspects = {file.sock for file, n in self._sockets.items() if file.refs == n}
        alive = [sk for sk in self.socks if sk not in suspects and not sk.embryo]
        reached = set(alive)
        while alive:
            sk = alive.pop()
            for other in _held_by(sk):
                if other not in reached and other in self.socks:
                    reached.add(other)
                    alive.append(other)
        return [sk for sk in self.socks if sk in suspects and sk not in reached]


def _held_by(sk: UnixSock) -> list[UnixSock]:
    """The sockets in the queue of `sk`: passed ones, and connections not yet accepted."""
    held: list[UnixSock] = []
    for entry in sk.queue:
        if isinstance(entry, UnixMessage):
            held += [file.sock for file in entry.files if file.sock is not None]  # type: ignore[misc]
        else:
            held.append(entry)
    return held
