"""The kernel's log about packets from or to addresses nobody can have (`ip_handle_martian_source`
of `net/ipv4/route.c`); sysctl log_martians asks for it.

Called by input for what it drops.
"""

from __future__ import annotations

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.net.route import Routing

_WARNING = 4  # syslog's level
_BURST = 10  # lines in `_INTERVAL` ns (`net_ratelimit`)
_INTERVAL = 5_000_000_000
_SOURCE = Drop.IP_MARTIAN_SOURCE, Drop.IP_RPFILTER


class Martians:
    def __init__(self, kernel: Kernel, routing: Routing) -> None:
        self._kernel = kernel
        self._routing = routing
        self._since: int | None = None
        self._logged = self._missed = 0

    def log(self, skb: SkBuff, reason: Drop) -> None:
        dev: NetDevice = skb.dev
        if reason is Drop.IP_MARTIAN_DESTINATION:
            what, on = "destination", "dev"
        elif reason in _SOURCE:
            what, on = "source", "on dev"
        else:
            return
        if not self._routing.conf_any("log_martians", dev) or not self._allowed():
            return
        daddr, saddr = (".".join(map(str, address)) for address in (skb.daddr, skb.saddr))
        self._log(f"IPv4: martian {what} {daddr} from {saddr}, {on} {dev.name}")
        if what == "source":
            header = bytes(skb.buf[skb.mac_header : skb.mac_header + ETH_HLEN])
            self._log(f"ll header: 00000000: {header.hex(' ')}")

    def _log(self, line: str) -> None:
        self._kernel.log(_WARNING, line)

    def _allowed(self) -> bool:
        now = self._kernel.now
        if self._since is None or now > self._since + _INTERVAL:
            if self._missed:
                self._log(f"net_ratelimit: {self._missed} callbacks suppressed")
            self._since, self._logged, self._missed = now, 0, 0
        if self._logged < _BURST:
            self._logged += 1
            return True
        self._missed += 1
        return False
