"""Ethernet: demultiplexing by type on receive, the header on send (`net/ethernet/eth.c`).

Called by `NetCore.receive_skb`; calls the handler registered for the frame's type.  Senders are
ARP and IP, through `send`.
"""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_HLEN, is_multicast, pack_header
from pystack.core.skb import SkBuff
from pystack.dev.core import NetCore
from pystack.dev.netdev import NetDevice


class Ethernet:
    def __init__(self, core: NetCore) -> None:
        self.core = core
        self.kernel = core.kernel
        self._handlers: dict[int, Callable[[SkBuff], None]] = {}
        core.register_link(self.receive)

    def register(self, ethertype: int, receive: Callable[[SkBuff], None]) -> None:
        """`receive(skb)` gets frames of this type with `skb.off` behind the header."""
        self._handlers[ethertype] = receive

    def receive(self, skb: SkBuff) -> None:
        off = skb.off
        if skb.end - off < ETH_HLEN:
            self.kernel.drop(skb, Drop.ETH_TOO_SHORT)
            return
        if not skb.headers:
            skb.headers = frame.unpack(skb.buf, off, skb.end)
        headers = skb.headers
        if skb.vlan_tci >= 0:  # of a VLAN nobody has a device for
            self.kernel.drop(skb, Drop.ETH_OTHERHOST)
            return
        dst, _, ethertype = headers[frame.ETHERNET]
        dev: NetDevice = skb.dev
        if dst != dev.mac and not is_multicast(dst) and dst not in dev.unicast:
            self.kernel.drop(skb, Drop.ETH_OTHERHOST)
            return
        handler = self._handlers.get(ethertype)
        if handler is None:
            skb.dev.stats.rx_dropped += 1
            self.kernel.drop(skb, Drop.ETH_UNKNOWN_PROTOCOL)
            return
        skb.mac_header = off
        skb.protocol = ethertype
        skb.off = off + ETH_HLEN
        handler(skb)

    def send(self, skb: SkBuff, dev: NetDevice, dst: bytes, ethertype: int) -> bool:
        """Frame the packet and queue it on `dev`; takes ownership.  False: its queue is full."""
        skb.dev = dev
        skb.protocol = ethertype
        skb.push(pack_header(dst, dev.mac, ethertype))
        return self.core.queue_xmit(skb)
