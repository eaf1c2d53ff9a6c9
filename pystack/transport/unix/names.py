"""Names of AF_UNIX sockets: paths, which leave a node behind, and abstract ones, which do not.

The nodes are all there is of a file system: every directory exists, a path is relative to `/`, and
nobody is refused.
"""

from __future__ import annotations

import errno
import posixpath
from random import Random
from typing import TYPE_CHECKING

from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.transport.unix.base import UnixSock

_AUTOBIND_NAMES = 1 << 20


class SocketNodes:
    """The socket nodes of a host's file system, which all its network namespaces share."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, UnixSock | None] = {}  # None: the socket is closed

    def bind(self, path: bytes, sk: UnixSock) -> None:
        """Make the node; EADDRINUSE if there is one, whether somebody listens or not."""
        self.check_free(path)
        self._nodes[self._key(path)] = sk

    def check_free(self, path: bytes) -> None:
        """EADDRINUSE, ENOTDIR if there could be no such node."""
        key = self._key(path)
        if key in self._nodes or key == b"/":
            raise os_error(errno.EADDRINUSE)
        if posixpath.dirname(key) in self._nodes:
            raise os_error(errno.ENOTDIR)

    def find(self, path: bytes) -> UnixSock:
        """ENOENT without a node, ECONNREFUSED if its socket is closed."""
        key = self._key(path)
        if key not in self._nodes:
            raise os_error(errno.ENOENT)
        sk = self._nodes[key]
        if sk is None:
            raise os_error(errno.ECONNREFUSED)
        return sk

    def release(self, path: bytes, sk: UnixSock) -> None:
        key = self._key(path)
        if self._nodes.get(key) is sk:
            self._nodes[key] = None

    def exists(self, path: bytes) -> bool:
        return self._key(path) in self._nodes

    def unlink(self, path: bytes) -> None:
        """Its socket goes on, but nobody can find it any more."""
        key = self._key(path)
        if key not in self._nodes:
            raise os_error(errno.ENOENT)
        del self._nodes[key]

    def _key(self, path: bytes) -> bytes:
        return posixpath.normpath(posixpath.join(b"/", path.split(b"\0")[0]))


class AbstractNames:
    """Names that begin with a zero byte, for each type of socket its own.

    They belong to a network namespace.
    """

    def __init__(self, rng: Random) -> None:
        self._socks: dict[tuple[int, bytes], UnixSock] = {}
        self._rng = rng

    def bind(self, name: bytes, sk: UnixSock) -> None:
        if (sk.type, name) in self._socks:
            raise os_error(errno.EADDRINUSE)
        self._socks[sk.type, name] = sk

    def autobind(self, sk: UnixSock) -> bytes:
        """A free name of five digits; ENOSPC when there is none (`unix_autobind`)."""
        first = self._rng.randrange(_AUTOBIND_NAMES)
        for step in range(_AUTOBIND_NAMES):
            name = b"\0%05x" % ((first + step) % _AUTOBIND_NAMES)
            if (sk.type, name) not in self._socks:
                self._socks[sk.type, name] = sk
                return name
        raise os_error(errno.ENOSPC)

    def find(self, type_: int, name: bytes) -> UnixSock:
        sk = self._socks.get((type_, name))
        if sk is None:
            raise os_error(errno.ECONNREFUSED)
        return sk

    def release(self, sk: UnixSock) -> None:
        """An accepted socket has its listener's name, but it is not under it."""
        if self._socks.get((sk.type, sk.name)) is sk:
            del self._socks[sk.type, sk.name]
