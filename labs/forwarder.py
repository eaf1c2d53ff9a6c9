"""A forwarder in poll mode: frames go back out with their addresses swapped.

What DPDK's testpmd does with `macswap`: no interrupt, no skb, no system call, no copy.  It runs as
a task of a host, on a queue that the kernel does not use; ARP and the like stay the kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass

from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.drivers.w2a_poll import PollPacket, PollQueue


@dataclass
class Forwarded:
    """`lost`: the transmit ring was full."""

    packets: int = 0
    lost: int = 0
    empty_polls: int = 0


def swap_addresses(packet: PollPacket) -> None:
    data = packet.data
    data[:6], data[6:12] = bytes(data[6:12]), bytes(data[:6])


def forward(nic: W2aNic, queue: int, until_ns: int) -> Forwarded:
    """Forward what `queue` of `nic` receives until that moment; must run in a task."""
    done = Forwarded()
    with PollQueue(nic, queue) as port:
        while nic.kernel.now < until_ns:
            packets = port.rx_burst()
            if not packets:
                done.empty_polls += 1
                continue
            for packet in packets:
                swap_addresses(packet)
            taken = port.tx_burst(packets)
            for packet in packets[taken:]:
                port.free(packet)
            done.packets += taken
            done.lost += len(packets) - taken
        port.drain()
    return done
