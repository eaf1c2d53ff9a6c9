"""An Ethernet bridge (`net/bridge/`): a switch whose ports are devices of the host.

Receive: `NetCore.deliver` of a port -> learn, then up to the bridge device, out of other ports, or
both.  Send: `queue_xmit` of the bridge device -> out of the port that leads there, or of all.
There is no spanning tree: every port forwards, and loops are the user's to avoid.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN, VLAN_HLEN, is_multicast
from pystack.core.skb import SkBuff
from pystack.dev.core import NetCore
from pystack.dev.netdev import NetDevice
from pystack.dev.virtual import VirtualOps

AGEING = 300_000_000_000  # ns: BR_DEFAULT_AGEING_TIME
_RESERVED = bytes.fromhex("0180c20000")  # 802.1D, 7.12.6: never forwarded


class FdbEntry:
    """Behind which port an address was seen last, and when (ns)."""

    __slots__ = ("port", "updated")

    def __init__(self, port: NetDevice, updated: int) -> None:
        self.port = port
        self.updated = updated


class Bridge(VirtualOps):
    """`dev` is the bridge as the host's own stack has it: `br0`."""

    def __init__(self, core: NetCore, name: str, mac: bytes) -> None:
        self.kernel = core.kernel
        self.dev = NetDevice(name, mac, self)
        self.ports: list[NetDevice] = []
        self.fdb: dict[bytes, FdbEntry] = {}
        self._next_gc = 0
        core.register(self.dev)

    def add_port(self, port: NetDevice) -> None:
        """`ip link set PORT master BRIDGE`; OSError(EBUSY) if it has one.

        What a bridge passes on leaves as it came, so nothing is merged on the way in.
        """
        if port.rx_handlers or port.loopback or port is self.dev:
            code = errno.EBUSY if port.rx_handlers else errno.EINVAL
            raise OSError(code, os.strerror(code))
        port.features["gro"] = False
        port.rx_handlers.append(self._receive)
        port.set_promiscuity(+1)
        self.ports.append(port)
        self.dev.unicast.append(port.mac)

    def remove_port(self, port: NetDevice) -> None:
        """`ip link set PORT nomaster`"""
        self.ports.remove(port)
        self.dev.unicast.remove(port.mac)
        port.rx_handlers.remove(self._receive)
        port.set_promiscuity(-1)
        port.features["gro"] = True
        self.fdb = {mac: entry for mac, entry in self.fdb.items() if entry.port is not port}

    # -- from a port -----------------------------------------------------------------------

    def _receive(self, skb: SkBuff) -> bool:
        """`br_handle_frame`: False for what is meant for the port alone."""
        if skb.end - skb.off < ETH_HLEN:
            return False
        dst, src = _addresses(skb)
        if dst[:5] == _RESERVED and dst[5] < 16:
            return False
        port: NetDevice = skb.dev
        if not self.dev.up:
            self.kernel.drop(skb, Drop.DEV_DOWN)
        elif is_multicast(src) or src == bytes(6):
            self.kernel.drop(skb, Drop.BRIDGE_BAD_SOURCE)
        else:
            self._learn(src, port)
            self._forward(skb, dst, port)
        return True

    def _forward(self, skb: SkBuff, dst: bytes, port: NetDevice) -> None:
        """`br_handle_frame_finish`"""
        if is_multicast(dst):
            self._flood(skb, port, keep=True)
            self._up(skb)
        elif dst == self.dev.mac or dst in self.dev.unicast:
            self._up(skb)
        else:
            way = self._lookup(dst)
            if way is None:
                self._flood(skb, port, keep=False)
            elif way is port:
                self.kernel.drop(skb, Drop.BRIDGE_SAME_PORT)
            else:
                self._send(skb, way)

    def _up(self, skb: SkBuff) -> None:
        """To the host's stack, as received by the bridge (`br_pass_frame_up`)."""
        skb.dev = self.dev
        self.dev.core.receive_skb(skb)

    # -- from the host ---------------------------------------------------------------------

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """`br_dev_xmit`"""
        dst = skb.take_head(6)
        skb.push(dst)
        way = None if is_multicast(dst) else self._lookup(dst)
        if way is None:
            self._flood(skb, None, keep=False)
        else:
            self._send(skb, way)
        return True

    # -- inside ----------------------------------------------------------------------------

    def _learn(self, src: bytes, port: NetDevice) -> None:
        now = self.kernel.now
        entry = self.fdb.get(src)
        if entry is None:
            self._forget_old(now)
            self.fdb[src] = FdbEntry(port, now)
        else:
            entry.port, entry.updated = port, now

    def _lookup(self, dst: bytes) -> NetDevice | None:
        entry = self.fdb.get(dst)
        if entry is None or self.kernel.now - entry.updated > AGEING:
            return None
        return entry.port

    def _forget_old(self, now: int) -> None:
        """Now and then, so that the table does not grow for ever (`br_fdb_cleanup`)."""
        if now >= self._next_gc:
            self._next_gc = now + AGEING // 2
            self.fdb = {m: e for m, e in self.fdb.items() if now - e.updated <= AGEING}

    def _flood(self, skb: SkBuff, source: NetDevice | None, keep: bool) -> None:
        """A copy out of every port but `source`; the packet itself is the last, unless kept."""
        ways = [port for port in self.ports if port is not source and port.up]
        copies: Iterable[NetDevice] = ways if keep else ways[:-1]
        for port in copies:
            self._send(skb.copy(), port)
        if not keep:
            if ways:
                self._send(skb, ways[-1])
            else:
                self.kernel.drop(skb, Drop.BRIDGE_NO_PORT)

    def _send(self, skb: SkBuff, port: NetDevice) -> None:
        if len(skb) > port.mtu + ETH_HLEN + VLAN_HLEN:
            self.kernel.drop(skb, Drop.DEV_TOO_LONG)
            return
        skb.dev = port
        port.core.queue_xmit(skb)


def _addresses(skb: SkBuff) -> tuple[bytes, bytes]:
    at = skb.off
    return bytes(skb.buf[at : at + 6]), bytes(skb.buf[at + 6 : at + 12])
