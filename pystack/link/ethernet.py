"""Ethernet: demultiplexing by type on receive, the header on send (`net/ethernet/eth.c`).

Called by `NetCore.receive_skb`; calls the handler registered for the frame's type.  Senders are
ARP and IP, through `send`.
"""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN, EthernetHeader, is_multicast
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
        if len(skb) < ETH_HLEN:
            self.kernel.drop(skb, Drop.ETH_TOO_SHORT)
            return
        header = EthernetHeader.parse(skb.buf, skb.off)
        dev: NetDevice = skb.dev
        if header.dst != dev.mac and not is_multicast(header.dst):
            self.kernel.drop(skb, Drop.ETH_OTHERHOST)
            return
        handler = self._handlers.get(header.ethertype)
        if handler is None:
            self.kernel.drop(skb, Drop.ETH_UNKNOWN_PROTOCOL)
            return
        skb.mac_header = skb.off
        skb.protocol = header.ethertype
        skb.pull(ETH_HLEN)
        handler(skb)

    def send(self, skb: SkBuff, dev: NetDevice, dst: bytes, ethertype: int) -> None:
        """Frame the packet and queue it on `dev`; takes ownership."""
        skb.dev = dev
        skb.protocol = ethertype
        skb.push(EthernetHeader(dst, dev.mac, ethertype).pack())
        self.core.queue_xmit(skb)
