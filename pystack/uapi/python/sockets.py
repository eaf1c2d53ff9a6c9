"""`_socket` of a process: what Lib/socket.py is written over."""

from __future__ import annotations

import _socket as real
import socket as so
from types import ModuleType
from typing import Any

from pystack.uapi.process import Process
from pystack.uapi.python.derived import derived
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.sockobj import SimSocket

_FUNCTIONS = """
    close dup getaddrinfo getdefaulttimeout gethostbyname gethostname if_indextoname if_nameindex
    if_nametoindex setdefaulttimeout
""".split()
_MISSING = {*_FUNCTIONS, "CAPI", "gethostbyname_ex", "sethostname", "socketpair"}


def gethostbyaddr(name: str) -> Any:
    """No address of a simulated network has a name by which it could be found."""
    raise so.herror(1, "Unknown host")


def getnameinfo(sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
    """Always numeric."""
    return sockaddr[0], str(sockaddr[1])


class CoreSocket(SimSocket):
    """Without what Lib/socket.py adds: files over it, their counting, accepting an object."""

    __slots__ = ()

    def close(self) -> None:
        SimSocket._real_close(self)

    def _real_close(self) -> None:
        self.close()


def socket_module(process: Process) -> ModuleType:
    facade = SocketModule(process)
    changes = {name: getattr(facade, name) for name in _FUNCTIONS if hasattr(facade, name)}
    changes |= {"gethostbyaddr": gethostbyaddr, "getnameinfo": getnameinfo}
    bound = {name: getattr(facade.socket, name) for name in ("_sys", "_hosts", "_defaults")}
    core: type[Any] = type(
        "socket", (CoreSocket,), {**bound, "__module__": "_socket", "__slots__": ()}
    )
    changes |= {"socket": core, "SocketType": core}
    if hasattr(facade, "socketpair"):
        changes["socketpair"] = lambda *args: _pair(core, facade, *args)
    return derived("_socket", real, changes, _MISSING)


def _pair(core: type[Any], facade: Any, *args: Any) -> tuple[Any, Any]:
    a, b = facade.socketpair(*args)
    return tuple(core(s.family, s.type, s.proto, fileno=s.detach()) for s in (a, b))
