"""The seam for NICs: what a driver is given, and what it must offer.

Given: `DeviceResources`, made by whoever has the hardware (the bench, or a model).  Offered: the
`NetDeviceOps` methods, to which `NetDevice` forwards.  Nothing else joins a driver to the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pystack.core.cpu import Cpu
from pystack.core.dma import DmaMapper
from pystack.core.skb import SkBuff


class Registers(Protocol):
    """The device's register space: 32-bit accesses at byte offsets."""

    def read32(self, offset: int) -> int:
        """Blocks the CPU until the bus answers; OSError(EIO) on a bus error."""
        ...

    def write32(self, offset: int, value: int) -> None:
        """Posted: in order with other accesses, not waited for."""
        ...


@dataclass
class DeviceResources:
    """What the bus gives a driver.

    `request_irq(line, handler, cpu)` calls `handler` in hardirq context of `cpu` on every rising
    edge of interrupt `line`; `free_irq(line)` ends that.
    """

    registers: Registers
    dma: DmaMapper
    request_irq: Callable[[int, Callable[[], None], Cpu], None]
    free_irq: Callable[[int], None]


class NetDeviceOps(Protocol):
    """What a driver must offer (`struct net_device_ops`)."""

    tx_queues: int

    def open(self) -> None:
        """Bring the device up; runs in a task, may access registers."""
        ...

    def stop(self) -> None:
        """Bring it down: every buffer back, every mapping ended."""
        ...

    def set_rx_mode(self) -> None:
        """Let in what the device's `mc_list` and `promiscuity` ask for; it is up.  Must not
        block."""
        ...

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """Take one frame for `queue`; False: ring full, keep it (`NETDEV_TX_BUSY`).

        `more`: another one follows at once, the doorbell may wait (`xmit_more`).
        """
        ...

    def get_stats(self) -> dict[str, int]:
        """Counters of the hardware by name (`ethtool -S`)."""
        ...
