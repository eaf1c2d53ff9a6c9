"""Receive packet steering: the flows of a device spread over CPUs in software (`get_rps_cpu`).

Called by `NetCore.deliver` on the CPU the interrupt came to; puts packets on another's backlog.
With flow steering (RFS) a flow goes where its application last called the kernel, as soon as the
packets it has queued elsewhere are through, so that they stay in order.
"""

from __future__ import annotations

from collections.abc import Sequence

from pystack.core.flow import flow_hash
from pystack.core.skb import SkBuff
from pystack.dev.softnet import Softnet


class Rps:
    """`cpus`: those of /sys/class/net/*/queues/rx-*/rps_cpus; ValueError if there is none such.

    `flow_entries` as rps_flow_cnt, a power of two; 0: no RFS.  That also asks for
    net.core.rps_sock_flow_entries.
    """

    def __init__(self, softnet: Softnet, cpus: Sequence[int], flow_entries: int = 0) -> None:
        if not cpus or not set(cpus) <= set(range(len(softnet.data))):
            raise ValueError(f"CPUs {list(cpus)} are not all among 0..{len(softnet.data) - 1}")
        if flow_entries & (flow_entries - 1):
            raise ValueError(f"{flow_entries} flow entries are not a power of two")
        self.softnet = softnet
        self.cpus = tuple(cpus)
        self.flow_entries = flow_entries
        # By hash: where the flow's last packet went, and that backlog's tail behind it.
        self._flows: dict[int, tuple[int, int]] = {}

    def steer(self, skb: SkBuff) -> bool:
        """Put a whole frame on another CPU's backlog; False: it is this CPU's."""
        if not skb.hash:
            skb.hash = flow_hash(skb)
        cpu = self._flow_cpu(skb.hash)
        if cpu is None:
            cpu = self.cpus[skb.hash * len(self.cpus) >> 32]
        if cpu == self.softnet.kernel.cpu.index:
            return False
        self.softnet.enqueue(skb, cpu)
        return True

    def _flow_cpu(self, hash_: int) -> int | None:
        """Where RFS sends a flow, None if it knows of no application."""
        if not self.flow_entries:
            return None
        wanted = self.softnet.kernel.sock_flows.lookup(hash_)
        if wanted is None:
            return None
        key = hash_ & (self.flow_entries - 1)
        cpu, tail = self._flows.get(key, (wanted, 0))
        if cpu != wanted and self.softnet.data[cpu].head >= tail:
            cpu = wanted
        self._flows[key] = cpu, self.softnet.data[cpu].tail + 1
        return cpu
