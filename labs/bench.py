"""The bench of a lab: two hosts and the wire between them, with or without the RTL NIC.

    server 10.0.0.1 - NIC - wire [what the lab does to it] - software NIC - 10.0.0.2 client

Labs are plain synchronous code: `run` lets time pass until programs have ended, in virtual time
(`VirtualBench`) as in a simulator (`labs/over_rtl.py`).  Everything a lab tells goes to `tell`.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self
from unittest import mock

from labs.labwire import LabWire
from pystack.core.engine import Engine, VirtualEngine
from pystack.core.task import Task, TaskState
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.netdev import NetDevice
from pystack.dev.qdisc import Emulation, Netem
from pystack.dev.wire import Link, Port
from pystack.host import Host, NetNamespace
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.timewait import TimeWaitSock
from pystack.uapi.process import RLIMIT_NOFILE, Process
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
SERVER_MAC, CLIENT_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
PORT = 8080
USEC, MSEC, SECOND = 1_000, 1_000_000, 1_000_000_000

Tell = Callable[[dict[str, Any]], None]
"""Gets what a lab tells, as it tells it: "kind" is say, tool, progress."""
Wanted = Process | Task | Callable[[], bool]


@dataclass
class Modules:
    """What a lab's program finds: the modules of its process."""

    socket: Any
    select: Any
    time: Any
    process: Process


class LabError(Exception):
    """A program of a lab crashed, or did not end: the lab is at fault, or the kernel."""


class LabBench(ABC):
    """`with bench:` undoes what `patch` replaced."""

    rtl = False

    def __init__(self, engine: Engine, seed: int, tell: Tell, server: Host) -> None:
        self.engine = engine
        self.seed = seed
        self.tell = tell
        self.server = server
        self.client = Host(engine, "client", seed=seed)
        self.driver = self._server_driver()
        self.nic = self.driver.dev
        self.far_end = self._far_end()
        self.wire = LabWire(self.far_end, engine)
        self.peer = self.client.add_softnic("eth0", CLIENT_MAC, self.wire)
        self._undo = ExitStack()

    # -- what differs between virtual time and a simulator ------------------------------------

    @abstractmethod
    def _server_driver(self) -> W2aNic: ...

    @abstractmethod
    def _far_end(self) -> Port: ...

    @abstractmethod
    def _let(self, until: int, stop: Callable[[], bool] | None = None) -> None:
        """Let time pass."""

    # -- life ---------------------------------------------------------------------------------

    def up(self) -> None:
        """Bring both interfaces up, and let them learn each other's address."""
        self.run(
            self.server.start(self.server.up, self.nic, f"{SERVER}/24"),
            self.client.start(self.client.up, self.peer, f"{CLIENT}/24"),
        )
        self._know(self.server, self.nic, CLIENT, CLIENT_MAC)
        self._know(self.client, self.peer, SERVER, SERVER_MAC)

    def _know(self, host: Host, dev: NetDevice, address: str, mac: bytes) -> None:
        """As if `host` had asked by ARP, so that no lab begins with that."""
        ip = socket.inet_aton(address)
        learn = partial(host.arp.update, dev, ip, mac, reachable=True, create=True)
        self.run(host.start(learn, name="ip-neigh"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def patch(self, owner: object, name: str, value: object, new: bool = False) -> None:
        """Replace `owner.name` until the bench is left: how a break breaks a function.

        AttributeError if it is not there, unless it shall be `new`.
        """
        self._undo.enter_context(mock.patch.object(owner, name, value, create=new))

    # -- programs and time --------------------------------------------------------------------

    def program(
        self,
        host: NetNamespace,
        fn: Callable[..., Any],
        *args: Any,
        nofile: int = RLIMIT_NOFILE,
        uid: int = 0,
        cpu: int = 0,
    ) -> Process:
        """Start `fn(modules, *args)` as a process of `host`."""
        name = fn.__name__.strip("_")
        process = Process(host.kernel, host.system, name, nofile=nofile, uid=uid)
        modules = Modules(
            SocketModule(process), SelectModule(process), TimeModule(process), process
        )
        return process.start(fn, modules, *args, cpu=cpu)

    def run(self, *wanted: Wanted, limit: float = 3600) -> None:
        """Until these have ended, or hold; LabError after `limit` simulated seconds."""
        if not self.wait(*wanted, limit=limit):
            waits = [one for one in wanted if not _over(one)]
            raise LabError(f"after {limit:g} simulated seconds these are not over: {waits}")

    def wait(self, *wanted: Wanted, limit: float) -> bool:
        """As `run`, where it may be that `limit` comes first: whether it did not."""

        def stop() -> bool:
            return all(map(_over, wanted))

        self._let(self.engine.now + round(limit * SECOND), stop)
        for one in wanted:
            if isinstance(one, Process) and one.tracebacks:
                raise LabError(f"{one.name} crashed:\n{one.tracebacks[0]}")
        return stop()

    def sysctl(self, host: NetNamespace, name: str, value: object) -> None:
        """`sysctl -w net.ipv4.NAME=VALUE`"""
        host.kernel.sysctl.write(f"net.ipv4.{name}", str(value))

    def delay(self, seconds: float) -> None:
        """`tc qdisc add dev eth0 root netem delay ...` on both hosts: one way each."""
        setting = Emulation(delay=round(seconds * SECOND))
        for dev in (self.nic, self.peer):
            dev.set_qdisc(lambda dev: Netem(dev, setting=setting))

    def run_for(self, seconds: float) -> None:
        self._let(self.engine.now + round(seconds * SECOND))

    def every(self, seconds: float, fn: Callable[[], None]) -> None:
        """Call `fn` now and from now on, as often as said: for curves."""
        fn()
        self.engine.call_later(round(seconds * SECOND), self.every, seconds, fn)

    def count(self, host: NetNamespace, state: TcpState) -> int:
        """`ss -tan state STATE | wc -l`"""
        connections = host.tcp.tables.connections.values()
        states = (sk.substate if isinstance(sk, TimeWaitSock) else sk.state for sk in connections)
        return sum(other is state for other in states)

    @property
    def seconds(self) -> float:
        """Simulated time."""
        return self.engine.now / SECOND

    # -- telling ------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.tell({"kind": "say", "text": text})

    def progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        self.tell({"kind": "progress", "phase": phase, "done": done, "total": total})

    def show(self, host: NetNamespace, command: str, lines: int = 12) -> str:
        """Run a tool on `host` and show its output, at most so many lines of it."""
        asking = host.start(host.tool, command, name=command)
        self.run(asking)
        output = str(asking.result)
        self._show(f"{host.name}# {command}", output.splitlines(), lines)
        return output

    @contextmanager
    def tcpdump(self, host: NetNamespace, lines: int = 14) -> Iterator[None]:
        """Run `tcpdump -ni eth0 tcp` on `host` meanwhile, and show what it printed."""
        arguments = "-ni eth0 tcp"
        with host.tcpdump(arguments) as dump:
            yield
        self._show(f"{host.name}# tcpdump {arguments}", dump.lines, lines)

    def _show(self, command: str, output: list[str], lines: int) -> None:
        if len(output) > lines:
            more = f"... {len(output) - lines} more lines"
            output = [*output[: lines - 1], more, *output[-1:]]
        self.tell({"kind": "tool", "command": command, "output": "\n".join(output)})


def _over(wanted: Wanted) -> bool:
    if isinstance(wanted, Process):
        return not wanted.alive
    if isinstance(wanted, Task):
        return wanted.state is TaskState.DEAD
    return wanted()


class VirtualBench(LabBench):
    """Virtual time: a model of the NIC takes the place of the RTL, behind the same driver."""

    engine: VirtualEngine

    def __init__(self, seed: int, tell: Tell, cpus: int = 1) -> None:
        engine = VirtualEngine()
        self.link = Link(engine)
        super().__init__(engine, seed, tell, Host(engine, "server", cpus=cpus, seed=seed))

    def _server_driver(self) -> W2aNic:
        driver = self.server.add_nic("eth0", SERVER_MAC, self.link.a).ops
        assert isinstance(driver, W2aNic)
        return driver

    def _far_end(self) -> Port:
        return self.link.b

    def _let(self, until: int, stop: Callable[[], bool] | None = None) -> None:
        self.engine.run(until=until, stop=stop)

    def power_off(self) -> None:
        """For its memory: see `Kernel.power_off`."""
        for host in (self.server, self.client):
            host.kernel.power_off()
