"""Netfilter of one network namespace: connection tracking, NAT and the tables of each family.

Made by the host; nothing costs anything before the first rule, or `conntrack.enable`.
"""

from __future__ import annotations

from pystack.core.kernel import Kernel
from pystack.dev.core import NetCore, NetdevEvent
from pystack.dev.netdev import NetDevice
from pystack.net.netfilter import ct_list, xt_command, xt_save
from pystack.net.netfilter.conntrack import Conntrack
from pystack.net.netfilter.nat import Nat
from pystack.net.netfilter.xt_family import Defrag, Family, FilteredInet


class Netfilter:
    def __init__(self, kernel: Kernel, core: NetCore) -> None:
        self.kernel = kernel
        self.conntrack = Conntrack(kernel)
        self.nat = Nat(kernel, self.conntrack)
        self.families: dict[int, Family] = {}
        core.notifiers.append(self._netdev_event)

    def add_family(self, inet: FilteredInet, defrag: Defrag) -> None:
        """`defrag` puts fragments together before their connection is looked for."""
        family = Family(inet, self.kernel, self.conntrack, self.nat, defrag)
        self.families[family.version] = family

    def iptables(self, command: str, version: int = 4) -> str:
        """One command, as `-t nat -A PREROUTING ...`; what it prints.

        XtablesError says in iptables' words what is wrong.
        """
        return xt_command.iptables(self.families[version], command)

    def restore(
        self, text: str, version: int = 4, *, counters: bool = False, noflush: bool = False
    ) -> None:
        """Load a file of `iptables-save`; XtablesError names the line that is wrong."""
        xt_save.restore(self.families[version], text, counters=counters, noflush=noflush)

    def save(self, version: int = 4, *, counters: bool = False) -> str:
        return xt_save.save(self.families[version], counters)

    def conntrack_tool(self, command: str) -> str:
        """`conntrack -L` and its like; what it prints."""
        return ct_list.conntrack(self.conntrack, command)

    def _netdev_event(self, event: NetdevEvent, dev: NetDevice) -> None:
        """A masqueraded connection is lost with its device (`masq_device_event`)."""
        if event is NetdevEvent.DOWN:
            self.conntrack.flush(lambda conn: conn.masquerade_ifindex == dev.ifindex)
