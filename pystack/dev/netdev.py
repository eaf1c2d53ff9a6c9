"""Network devices and their transmit queues (`struct net_device`, `pfifo` qdisc).

Called by the link layer (`NetCore.queue_xmit`); calls the driver's `start_xmit`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pystack.core.skb import SkBuff
from pystack.dev.driver import NetDeviceOps

if TYPE_CHECKING:
    from pystack.dev.core import NetCore

TX_QUEUE_LEN = 1000  # DEFAULT_TX_QUEUE_LEN


@dataclass
class DeviceStats:
    """`ip -s link`; drops are in `Kernel.drops` by reason."""

    rx_packets: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0


@dataclass
class TxQueue:
    """A pfifo in front of one hardware ring.  `stopped` while the ring is full."""

    index: int
    packets: deque[SkBuff] = field(default_factory=deque)
    stopped: bool = False
    running: bool = False


class NetDevice:
    """One interface.  `mtu` counts bytes behind the Ethernet header."""

    def __init__(self, name: str, mac: bytes, ops: NetDeviceOps, mtu: int = 1500) -> None:
        self.name = name
        self.mac = mac
        self.ops = ops
        self.mtu = mtu
        self.core: NetCore  # whose table it is in, and
        self.ifindex = 0  # given by NetCore.register
        self.up = False
        self.loopback = False
        self.tx_queue_len = TX_QUEUE_LEN
        self.qdisc = "pfifo"  # or fq: TCP paces what goes out here
        self.features = {"gro": True}  # `ethtool -k`
        self.stats = DeviceStats()
        self.tx_queues = [TxQueue(i) for i in range(ops.tx_queues)]

    def __repr__(self) -> str:
        return f"<NetDevice {self.name}{'' if self.up else ' down'}>"
