"""What kernel work costs a CPU, in nanoseconds: one table.

The figures are round numbers for a 3 GHz x86 server (order of magnitude: `perf stat` of a Linux
6.x receive path, a few hundred ns a packet and layer).  They shape batching, not correctness; a
run with `Costs.zero()` gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Costs:
    hardirq: int = 400  # entry, handler, exit
    softirq: int = 100  # one handler run
    napi_poll: int = 100  # one poll call
    rx_packet: int = 120  # driver: completion to skb
    tx_packet: int = 150  # driver: skb to descriptor
    doorbell: int = 60  # a posted MMIO write
    poll: int = 50  # poll mode: a look at a ring
    poll_packet: int = 15  # poll mode: a completion read, or a descriptor written
    ip_packet: int = 80
    tcp_packet: int = 250
    udp_packet: int = 150
    syscall: int = 150
    context_switch: int = 900
    wakeup: int = 300
    copy_per_kib: int = 60  # memcpy and checksum between user and kernel

    @classmethod
    def zero(cls) -> Costs:
        """Everything is free; time passes only on wires, buses and in timers."""
        return cls(**{f.name: 0 for f in fields(cls)})
