"""What a device has counted, its own hardware included (`struct rtnl_link_stats64`).

Read by `ip -s`, `netstat -i` and /proc/net/dev.  A driver names its counters as it likes; `MEANING`
says which of them mean what, by how the name ends.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from pystack.dev.netdev import NetDevice
from pystack.tools.tool import Net, in_task

IFF_UP, IFF_BROADCAST, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x2, 0x8, 0x40
IFF_PROMISC, IFF_MULTICAST, IFF_LOWER_UP = 0x100, 0x1000, 0x10000
MEANING = {
    "rx_length": ("rx_runt", "rx_oversize", "rx_truncated"),
    "rx_crc": ("rx_bad_fcs",),
    "rx_frame": ("rx_coded_error",),
    "rx_bus": ("rx_bus_error",),
    "rx_dropped": ("rx_no_descriptor", "rx_disabled"),
    "rx_missed": ("rx_overflow",),
    "tx_bus": ("tx_bus_error", "tx_bad_length"),
    "tx_fifo": ("tx_underrun",),
}


@dataclass
class Counters:
    rx_packets: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    rx_dropped: int = 0
    rx_missed: int = 0
    rx_fifo: int = 0
    rx_length: int = 0
    rx_crc: int = 0
    rx_frame: int = 0
    rx_bus: int = 0
    multicast: int = 0
    tx_dropped: int = 0
    tx_fifo: int = 0
    tx_bus: int = 0

    @property
    def rx_errors(self) -> int:
        return self.rx_length + self.rx_crc + self.rx_frame + self.rx_bus

    @property
    def tx_errors(self) -> int:
        return self.tx_fifo + self.tx_bus


def counters(net: Net, dev: NetDevice) -> Counters:
    """The kernel's books, and the hardware's if it is up: reading those takes time."""
    found = Counters()
    for field in fields(dev.stats):
        setattr(found, field.name, getattr(dev.stats, field.name))
    if not dev.up:
        return found
    for name, value in in_task(net, dev.ops.get_stats).items():
        for field_name, ends in MEANING.items():
            if name.endswith(ends) and not name.startswith("error_"):  # what completions said again
                setattr(found, field_name, getattr(found, field_name) + value)
    return found


def flags(dev: NetDevice) -> int:
    """IFF_*."""
    value = IFF_LOOPBACK if dev.loopback else IFF_BROADCAST | IFF_MULTICAST
    if dev.up:
        value |= IFF_UP | IFF_RUNNING | IFF_LOWER_UP
    return value | (IFF_PROMISC if dev.promiscuity else 0)
