"""One simulated host: the layers built on a kernel and joined to each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from socket import (
    AF_INET,
    AF_INET6,
    AF_PACKET,
    AF_UNIX,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
)
from typing import TYPE_CHECKING, Any

from pystack.core.costs import Costs
from pystack.core.dma import DmaMapper
from pystack.core.engine import Engine
from pystack.core.kernel import Kernel
from pystack.core.memory import HostMemory
from pystack.core.task import Task, TaskState
from pystack.dev.core import NetCore
from pystack.dev.drivers.softnic import SoftNic
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.model.nic import ModelNic
from pystack.dev.netdev import NetDevice
from pystack.dev.softnet import Softnet
from pystack.dev.virtual import Loopback, veth_pair
from pystack.dev.wire import Port
from pystack.link.arp import Arp
from pystack.link.bridge import Bridge
from pystack.link.ethernet import Ethernet
from pystack.link.vlan import add_vlan
from pystack.net.icmp import Icmp
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
from pystack.uapi.process import Process
from pystack.uapi.python.interpreter import Program, start_program
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.system import ANY_PROTOCOL, System

if TYPE_CHECKING:
    from pystack.tools.tcpdump.command import Live


class NetNamespace:
    """A network stack: devices, addresses, routes, sockets (`struct net`).  It has `lo`, up.

    `softnet` and `system` are the machine's, and made here for its first namespace.
    """

    def __init__(
        self, kernel: Kernel, softnet: Softnet | None = None, system: System | None = None
    ) -> None:
        self.engine = kernel.engine
        self.name = kernel.name
        self.kernel = kernel
        self.core = NetCore(kernel, softnet)
        self.ethernet = Ethernet(self.core)
        self.arp = Arp(self.ethernet)
        self.lo = Loopback(self.core)
        self.lo.dev.up = True
        self.ipv4 = Ipv4(self.ethernet, self.arp, self.lo.dev)
        self.icmp = Icmp(self.ipv4)
        self.ipv6 = Ipv6(self.ethernet, self.lo.dev)
        self.inets: Inets = {4: self.ipv4, 16: self.ipv6}
        self.netfilter = Netfilter(kernel, self.core)
        self.netfilter.add_family(self.ipv4, self.ipv4.defragment)
        self.netfilter.add_family(self.ipv6, self.ipv6.defragment)
        self.tcp = Tcp(kernel, self.inets)
        self.udp = Udp(kernel, self.inets)
        self.raw = Raw(kernel, self.ipv4, self.ipv6)
        self.ping = Ping(kernel, self.inets, self.icmp, self.ipv6.icmp)
        self.system = System(kernel) if system is None else system
        for family in (AF_INET, AF_INET6):
            tcp, udp = partial(self.tcp.socket, family), partial(self.udp.socket, family)
            self.system.register(family, SOCK_STREAM, IPPROTO_TCP, tcp)
            self.system.register(family, SOCK_DGRAM, IPPROTO_UDP, udp)
            raw, ping = partial(self.raw.socket, family), partial(self.ping.socket, family)
            self.system.register(family, SOCK_RAW, ANY_PROTOCOL, raw)
            protocol = IPPROTO_ICMP if family == AF_INET else IPPROTO_ICMPV6
            self.system.register(family, SOCK_DGRAM, protocol, ping)
        self.system.interfaces = self.core.devices.values
        self.packet = Packet(self.core)
        for kind in (SOCK_RAW, SOCK_DGRAM):
            for number in (0, ANY_PROTOCOL):
                self.system.register(AF_PACKET, kind, number, partial(self.packet.socket, kind))
        self.nstat_history: dict[str, int] = {}  # the file in which `nstat` keeps its last values
        self.unix = Unix(kernel, self.system.unix)
        for type_, create in self.unix.types.items():
            for protocol in (0, AF_UNIX):
                self.system.register(AF_UNIX, type_, protocol, create)

    def add_softnic(self, name: str, mac: bytes, port: Port) -> NetDevice:
        """A NIC without hardware on `port`, not yet up."""
        return SoftNic(self.core, name, mac, port).dev

    def add_nic(
        self, name: str, mac: bytes, port: Port, *, hw_queues: int = 0, **settings: Any
    ) -> NetDevice:
        """The wire2app NIC, modelled, behind its own driver; `settings` are those of `W2aNic`.

        It has as many queues as the driver uses, or `hw_queues`.
        """
        dma = DmaMapper(self.kernel.memory, name)
        queues = hw_queues or settings.get("queues", 1)
        model = ModelNic(self.engine, dma, port, queues=queues)
        return W2aNic(self.core, name, mac, model.resources(), **settings).dev

    def add_veth(
        self, name: str, mac: bytes, peer: NetNamespace, peer_name: str, peer_mac: bytes
    ) -> tuple[NetDevice, NetDevice]:
        """A pair of devices joined to each other, one here and one in `peer`; both down."""
        return veth_pair(self.core, name, mac, peer.core, peer_name, peer_mac)

    def add_vlan(self, real: NetDevice, vid: int) -> NetDevice:
        """`eth0.5` over `eth0`, not yet up; ValueError for a bad id or one that exists."""
        return add_vlan(real, vid)

    def add_bridge(self, name: str, mac: bytes) -> Bridge:
        """A bridge without ports; its device is not yet up."""
        return Bridge(self.core, name, mac)

    def up(self, dev: NetDevice, *interfaces: str) -> None:
        """Bring `dev` up with addresses, `"10.0.0.1/24"`, `"fd00::1/64"`; must run in a task.

        With an IPv6 address among them the device speaks IPv6, link-local address and all, and
        the call waits until nobody has claimed them, as ifup does.
        """
        self.core.open(dev)
        six = [interface for interface in interfaces if ":" in interface]
        for interface in interfaces:
            family = self.ipv6 if ":" in interface else self.ipv4
            family.add_address(dev, interface)
        if six:
            self.ipv6.addrconf.settle(dev)

    def down(self, dev: NetDevice) -> None:
        """Bring `dev` down and forget its neighbours; must run in a task."""
        self.core.stop(dev)
        self.arp.flush(dev)

    def iptables(self, command: str) -> str:
        """`iptables COMMAND`, as `-t nat -A PREROUTING ...`; what it prints, or XtablesError."""
        return self.netfilter.iptables(command)

    def ip6tables(self, command: str) -> str:
        """`ip6tables COMMAND`; what it prints, or XtablesError."""
        return self.netfilter.iptables(command, 6)

    def ip6tables_restore(
        self, text: str, *, counters: bool = False, noflush: bool = False
    ) -> None:
        """`ip6tables-restore [-c] [-n]`"""
        self.netfilter.restore(text, 6, counters=counters, noflush=noflush)

    def ip6tables_save(self, *, counters: bool = False) -> str:
        """`ip6tables-save [-c]`"""
        return self.netfilter.save(6, counters=counters)

    def iptables_restore(self, text: str, *, counters: bool = False, noflush: bool = False) -> None:
        """`iptables-restore [-c] [-n]`: load a file of `iptables-save`; XtablesError."""
        self.netfilter.restore(text, counters=counters, noflush=noflush)

    def iptables_save(self, *, counters: bool = False) -> str:
        """`iptables-save [-c]`"""
        return self.netfilter.save(counters=counters)

    def conntrack(self, command: str) -> str:
        """`conntrack -L` and its like; what it prints, or XtablesError."""
        return self.netfilter.conntrack_tool(command)

    def tool(self, command: str) -> str:
        """What a tool prints here, as `host.tool("ss -tan")`; ToolError as it fails."""
        from pystack.tools import registry  # at first use: most hosts run none

        return registry.run(self, command)

    def tcpdump(self, arguments: str = "-n", on_line: Callable[[str], None] | None = None) -> Live:
        """A live capture: `with host.tcpdump("-ni eth0 tcp port 80") as text:`; ToolError."""
        from pystack.tools.tcpdump.command import live

        return live(self, arguments, on_line)

    def process(self, name: str, fn: Callable[..., Any], *args: Any, cpu: int = 0) -> Process:
        """Start an application: `fn(socket, *args)` with this host's `socket` module."""
        process = Process(self.kernel, self.system, name)
        return process.start(fn, SocketModule(process), *args, cpu=cpu)

    def run_python(
        self,
        program: Program,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        shared: Collection[str] = (),
        cpu: int = 0,
    ) -> Process:
        """Start an unmodified Python program, a file or a function, with `argv[1:]` and `env`.

        What it writes is in `Process.stdout` and `stderr`.  A function runs as one of `__main__`:
        it must import by itself what it uses.  `shared` names packages the process does not get a
        copy of its own of: see `pystack.uapi.python`.
        """
        return start_program(self.kernel, self.system, program, argv, env, shared, cpu)

    def start(self, fn: Callable[..., Any], *args: Any, name: str = "", cpu: int = 0) -> Task:
        """Run `fn(*args)` as a kernel task of this host.  See `finished` and `Task.result`."""
        return self.kernel.spawn(fn, *args, name=name, cpu=cpu)


class Host(NetNamespace):
    """`Host(engine, "server")`: a machine, seen from its first network namespace."""

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
        super().__init__(Kernel(engine, name, cpus=cpus, seed=seed, costs=costs, memory=memory))
        self.namespaces: dict[str, NetNamespace] = {}

    def add_namespace(self, name: str) -> NetNamespace:
        """`ip netns add NAME`; ValueError if it exists."""
        if name in self.namespaces:
            raise ValueError(f"network namespace {name} exists")
        kernel = self.kernel.unshare_net(f"{self.name}/{name}")
        system = self.system.unshare_net(kernel)
        namespace = self.namespaces[name] = NetNamespace(kernel, self.core.softnet, system)
        return namespace


def finished(*tasks: Task) -> Callable[[], bool]:
    """A stop condition for `run`: all `tasks` have ended."""
    return lambda: all(task.state is TaskState.DEAD for task in tasks)
