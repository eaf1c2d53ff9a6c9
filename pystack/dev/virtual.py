"""Devices that are software alone: `lo`, and `veth` pairs which join network namespaces.

What one end sends the other receives, through the backlog of the CPU that sent it
(`drivers/net/loopback.c`, `drivers/net/veth.c`).
"""

from __future__ import annotations

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN, VLAN_HLEN
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.core import NetCore
from pystack.dev.netdev import NetDevice


class VirtualOps:
    """The driver of a device that has nothing to bring up, nor counters of its own."""

    tx_queues = 1

    def open(self) -> None:
        """Nothing to bring up."""

    def stop(self) -> None:
        """Nothing to give back."""

    def set_rx_mode(self) -> None:
        """What arrives is let in; the layers above look at it."""

    def get_stats(self) -> dict[str, int]:
        return {}


def _received(skb: SkBuff, dev: NetDevice, ip_summed: int) -> SkBuff:
    """What `dev` receives when `skb` was sent: a packet of its namespace's own."""
    received = SkBuff(dev.core.kernel, memoryview(bytes(skb)), packet_id=skb.packet_id)
    received.dev = dev
    received.tstamp = dev.core.kernel.now
    received.ip_summed = ip_summed
    return received


class Loopback(VirtualOps):
    def __init__(self, core: NetCore) -> None:
        self.dev = NetDevice("lo", bytes(6), self, mtu=65536)
        self.dev.loopback = True
        core.register(self.dev)

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        received = _received(skb, self.dev, CHECKSUM_UNNECESSARY)
        received.mark, received.nfct = skb.mark, skb.nfct  # it has not left the host
        skb.free()
        self.dev.core.netif_rx(received)
        return True


class Veth(VirtualOps):
    """One end; `peer` is the other, in a namespace of the same machine."""

    def __init__(self, core: NetCore, name: str, mac: bytes) -> None:
        self.kernel = core.kernel
        self.dev = NetDevice(name, mac, self)
        self.peer = self
        core.register(self.dev)

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """A frame longer than the peer's MTU allows, or to one that is down, is lost there."""
        peer = self.peer.dev
        if not peer.up:
            self.kernel.drop(skb, Drop.DEV_DOWN)
        elif len(skb) > peer.mtu + ETH_HLEN + VLAN_HLEN:
            self.kernel.drop(skb, Drop.DEV_TOO_LONG)
        else:
            received = _received(skb, peer, CHECKSUM_NONE)  # it may have come from outside
            skb.free()
            peer.core.netif_rx(received)
        return True


def veth_pair(
    core: NetCore, name: str, mac: bytes, peer_core: NetCore, peer_name: str, peer_mac: bytes
) -> tuple[NetDevice, NetDevice]:
    """`ip link add NAME type veth peer name PEER_NAME netns ...`; both are down."""
    one, other = Veth(core, name, mac), Veth(peer_core, peer_name, peer_mac)
    one.peer, other.peer = other, one
    return one.dev, other.dev
