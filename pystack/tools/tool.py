"""What every tool is given and gives: a namespace to look at, words, and text.

A tool is `tool(net, args) -> text`, `args` without the program's name.  What goes wrong is a
`ToolError` with the sentence the real program prints.  Tools look at the kernel's own tables;
nothing is counted or kept for them.  `registry` knows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from getopt import GetoptError, gnu_getopt
from typing import Any, Protocol, TypeVar

from pystack.core.engine import VirtualEngine
from pystack.core.kernel import Kernel
from pystack.core.task import TaskState
from pystack.dev.core import NetCore
from pystack.link.arp import Arp
from pystack.net.inet import Inets
from pystack.net.ipv4 import Ipv4
from pystack.net.ipv6 import Ipv6
from pystack.net.netfilter.netfilter import Netfilter
from pystack.transport.packet import Packet
from pystack.transport.ping import Ping
from pystack.transport.raw import Raw
from pystack.transport.tcp import Tcp
from pystack.transport.udp import Udp
from pystack.transport.unix import Unix
from pystack.uapi.system import System

T = TypeVar("T")


class Net(Protocol):
    """A network namespace as tools see it: `pystack.host.NetNamespace`."""

    name: str
    kernel: Kernel
    core: NetCore
    arp: Arp
    ipv4: Ipv4
    ipv6: Ipv6
    inets: Inets
    netfilter: Netfilter
    tcp: Tcp
    udp: Udp
    raw: Raw
    ping: Ping
    packet: Packet
    unix: Unix
    system: System
    nstat_history: dict[str, int]


Tool = Callable[[Net, Sequence[str]], str]


class ToolError(Exception):
    """A tool has failed: what it says, its exit status, and what it had printed before."""

    def __init__(self, message: str, status: int = 1, output: str = "") -> None:
        super().__init__(message or output)
        self.status = status
        self.output = output


class Options:
    """Options as getopt(3) reads them: `-tan`, `-A tcp`, `--listening`, mixed with arguments.

    `names` says which single letter a long option stands for; with an argument it ends with `=`.
    """

    def __init__(
        self, program: str, args: Sequence[str], letters: str, names: Mapping[str, str]
    ) -> None:
        try:
            given, self.args = gnu_getopt(list(args), letters, list(names))
        except GetoptError as exc:
            raise ToolError(f"{program}: {_complaint(exc)}", 1) from None
        short = {"--" + name.rstrip("="): "-" + letter for name, letter in names.items()}
        self._given = [(short.get(name, name).lstrip("-"), value) for name, value in given]

    def __contains__(self, letter: str) -> bool:
        return any(name == letter for name, _ in self._given)

    def any(self, letters: Collection[str]) -> bool:
        return any(letter in self for letter in letters)

    def count(self, letter: str) -> int:
        return sum(name == letter for name, _ in self._given)

    def values(self, letter: str) -> list[str]:
        return [value for name, value in self._given if name == letter]

    def value(self, letter: str, default: str = "") -> str:
        """The last one given."""
        return (self.values(letter) or [default])[-1]


def _complaint(exc: GetoptError) -> str:
    """getopt's sentence in the words of the C library."""
    name = exc.opt if len(exc.opt) > 1 else ""
    if "requires argument" in exc.msg:
        return (
            f"option '--{name}' requires an argument"
            if name
            else (f"option requires an argument -- '{exc.opt}'")
        )
    return f"unrecognized option '--{name}'" if name else f"invalid option -- '{exc.opt}'"


def in_task(net: Net, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`fn(*args, **kwargs)` in a task of the host, which may wait: in the one that runs, or in one
    of its own.

    ToolError if the time is somebody else's and no task runs.
    """
    cpu = net.kernel.this_cpu
    if cpu is not None and cpu.current is not None:
        return fn(*args, **kwargs)
    engine = net.kernel.engine
    if not isinstance(engine, VirtualEngine):
        raise ToolError("this waits for the simulated hardware: run it in a task of the host")
    task = net.kernel.spawn(partial(fn, *args, **kwargs), name="tool")
    task.on_exit.append(lambda task: None)  # its exception is ours
    engine.run(stop=lambda: task.state is TaskState.DEAD)
    if task.exception is not None:
        raise task.exception
    result: T = task.result
    return result
