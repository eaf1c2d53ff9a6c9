"""The tables of one protocol family: what rules need of it, and where they are hooked in.

`Netfilter` makes one for IPv4 and one for IPv6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.net.hooks import Hook, Hooks, HookState, Verdict
from pystack.net.inet import Inet
from pystack.net.netfilter.conntrack import Conntrack
from pystack.net.netfilter.nat import MANIP, PRIORITY, Nat
from pystack.net.netfilter.packet import Packet
from pystack.net.netfilter.xt import XtablesError
from pystack.net.netfilter.xt_rule import Table

# In Linux's order of priorities: hooks and priority (`enum nf_ip_hook_priorities`).
TABLES: dict[str, tuple[tuple[Hook, ...], int]] = {
    "raw": ((Hook.PRE_ROUTING, Hook.LOCAL_OUT), -300),
    "mangle": (tuple(Hook), -150),
    "nat": ((Hook.PRE_ROUTING, Hook.LOCAL_IN, Hook.LOCAL_OUT, Hook.POST_ROUTING), -100),
    "filter": ((Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT), 0),
}


DEFRAG_PRIORITY = -400  # NF_IP_PRI_CONNTRACK_DEFRAG
Defrag = Callable[[SkBuff], SkBuff | None]
"""Gives a received packet back if it is no fragment; takes one, and gives the whole packet once
it is complete."""


class FilteredInet(Inet, Protocol):
    """A network layer with hooks, as rules use it."""

    hooks: Hooks
    icmp_send: Callable[[SkBuff, int, int, int], None]

    def address_type(self, addr: bytes, dev: NetDevice | None = None) -> str:
        """What `-m addrtype` calls it: LOCAL, UNICAST, BROADCAST, MULTICAST, UNSPEC ..."""

    def select_address(self, dev: NetDevice, daddr: bytes) -> bytes:
        """The address of `dev` for talking to `daddr`; empty if it has none."""


class Family:
    """`tables` by name, in the order of their first use; `program` is what the commands of this
    family begin with."""

    def __init__(
        self,
        inet: FilteredInet,
        kernel: Kernel,
        conntrack: Conntrack,
        nat: Nat,
        defrag: Defrag,
    ) -> None:
        self.inet = inet
        self._defrag = defrag
        self.kernel = kernel
        self.conntrack = conntrack
        self.nat = nat
        self.version = 4 if len(inet.any_address) == 4 else 6
        self.program = "iptables" if self.version == 4 else "ip6tables"
        self.loopback_address = inet.loopback_address
        self.tables: dict[str, Table] = {}
        self._tp_log = kernel.trace.point("nf_log", "packet_id", "level", "line")

    def table(self, name: str) -> Table:
        """Made, and hooked in, by its first use, as Linux loads it."""
        if name not in self.tables:
            if name not in TABLES:
                raise XtablesError(
                    f"can't initialize {self.program} table `{name}': Table does not exist (do "
                    "you need to insmod?)"
                )
            hooks, priority = TABLES[name]
            self.tables[name] = Table(name, hooks)
            if name == "nat":
                self._hook_nat()
            else:
                for hook in hooks:
                    self.inet.hooks.register(hook, priority, partial(self._run, name))
        return self.tables[name]

    def _hook_nat(self) -> None:
        """Its rules see none but new connections: nothing before a rule needs them tracked."""
        fn = self.nat.function(partial(self._run, "nat"))
        for hook in TABLES["nat"][0]:
            self.inet.hooks.register(hook, PRIORITY[MANIP[hook]], fn)

    def need_conntrack(self) -> None:
        """A rule looks at connections: they have to be tracked, and packets to be whole."""
        if self.conntrack.enable(self.inet.hooks):
            self.inet.hooks.register(Hook.PRE_ROUTING, DEFRAG_PRIORITY, self._put_together)

    def _put_together(self, skb: SkBuff, state: HookState) -> Verdict:
        """Fragments are kept until the packet is whole, which then goes on (`nf_defrag_ipv4`,
        `nf_defrag_ipv6`)."""
        whole = self._defrag(skb)
        if whole is skb:
            return Verdict.ACCEPT
        if whole is not None:
            self.inet.hooks.resume(whole, state, DEFRAG_PRIORITY)
        return Verdict.STOLEN

    def _run(self, name: str, skb: SkBuff, state: HookState) -> Verdict:
        packet = Packet.at(skb, state)
        if packet is None:
            return Verdict.DROP
        return self.tables[name].traverse(packet, state)

    # -- what rules ask ----------------------------------------------------------------------

    def address_type(self, address: bytes, dev: NetDevice | None) -> str:
        return self.inet.address_type(address, dev)

    def select_address(self, dev: NetDevice, daddr: bytes) -> bytes | None:
        return self.inet.select_address(dev, daddr) or None

    def log(self, level: int, packet_id: int, line: str) -> None:
        self.kernel.log(level, line)
        if self._tp_log.enabled:
            self._tp_log(packet_id, level, line)
