"""One simulated host: the layers built on a kernel and joined to each other."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, IPPROTO_TCP, SOCK_STREAM
from typing import Any

from pystack.core.costs import Costs
from pystack.core.engine import Engine
from pystack.core.kernel import Kernel
from pystack.core.memory import HostMemory
from pystack.core.task import Task, TaskState
from pystack.dev.core import NetCore
from pystack.dev.drivers.softnic import Loopback, SoftNic
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Port
from pystack.link.arp import Arp
from pystack.link.ethernet import Ethernet
from pystack.net.icmp import Icmp
from pystack.net.ipv4 import Ipv4
from pystack.transport.tcp import Tcp
from pystack.uapi.process import Process
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.system import System


class Host:
    """`Host(engine, "server")` has `lo` and the whole stack; devices are added to it."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        cpus: int = 1,
        seed: int = 1,
        costs: Costs | None = None,
        memory: HostMemory | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.kernel = Kernel(engine, name, cpus=cpus, seed=seed, costs=costs, memory=memory)
        self.core = NetCore(self.kernel)
        self.ethernet = Ethernet(self.core)
        self.arp = Arp(self.ethernet)
        self.lo = Loopback(self.core)
        self.lo.dev.up = True
        self.ipv4 = Ipv4(self.ethernet, self.arp, self.lo.dev)
        self.icmp = Icmp(self.ipv4)
        self.tcp = Tcp(self.kernel, self.ipv4)
        self.system = System(self.kernel)
        self.system.register(AF_INET, SOCK_STREAM, IPPROTO_TCP, self.tcp.socket)

    def add_softnic(self, name: str, mac: bytes, port: Port) -> NetDevice:
        """A NIC without hardware on `port`, not yet up."""
        return SoftNic(self.core, name, mac, port).dev

    def up(self, dev: NetDevice, interface: str) -> None:
        """Bring `dev` up with an address, `"10.0.0.1/24"`; must run in a task."""
        self.core.open(dev)
        self.ipv4.add_address(dev, interface)

    def down(self, dev: NetDevice) -> None:
        """Bring `dev` down and forget its neighbours; must run in a task."""
        self.core.stop(dev)
        self.arp.flush(dev)

    def process(self, name: str, fn: Callable[..., Any], *args: Any, cpu: int = 0) -> Process:
        """Start an application: `fn(socket, *args)` with this host's `socket` module."""
        process = Process(self.kernel, self.system, name)
        return process.start(fn, SocketModule(process), *args, cpu=cpu)

    def start(self, fn: Callable[..., Any], *args: Any, name: str = "", cpu: int = 0) -> Task:
        """Run `fn(*args)` as a kernel task of this host.  See `finished` and `Task.result`."""
        return self.kernel.spawn(fn, *args, name=name, cpu=cpu)


def finished(*tasks: Task) -> Callable[[], bool]:
    """A stop condition for `run`: all `tasks` have ended."""
    return lambda: all(task.state is TaskState.DEAD for task in tasks)
