"""The driver of the wire2app NIC: rings, interrupts and NAPI (`hdl/nic.rdl`, docs/rings.md).

Called by `NetCore` (open, stop, start_xmit) and by its own NAPI pollers; calls the registers and
`NetCore.receive_skb`.  The hot path reads no register: completions carry a phase bit.
"""

from __future__ import annotations

import errno
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.core.skb import SkBuff
from pystack.dev.driver import DeviceResources
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_rings import Ring, RxRing, TxRing
from pystack.dev.napi import Napi
from pystack.dev.netdev import NetDevice
from pystack.dev.page_pool import PagePool

if TYPE_CHECKING:
    from pystack.dev.core import NetCore

RX_BUFFER = 2048
TX_BUFFER = 2048
QUIESCE_NS = 10_000_000


class QueuePair:
    """One RX and TX ring pair, its interrupt line and its poller."""

    def __init__(self, nic: W2aNic, index: int) -> None:
        self.nic = nic
        self.index = index
        self.base = regs.queue_block(index)
        kernel = nic.kernel
        self.cpu = kernel.cpus[index % len(kernel.cpus)]
        self.napi = Napi(nic.core, f"{nic.dev.name}-{index}", self.poll, self.cpu)
        self.interrupts = 0
        self._empty_polls = True  # no completion since the interrupt
        self.rx = RxRing(nic.resources.dma, nic.ring_entries, f"{nic.dev.name} rx{index}")
        self.tx = TxRing(nic.resources.dma, nic.ring_entries, f"{nic.dev.name} tx{index}")

    def write32(self, offset: int, value: int) -> None:
        self.nic.write32(self.base + offset, value)

    def read32(self, offset: int) -> int:
        return self.nic.registers.read32(self.base + offset)

    # -- up and down -----------------------------------------------------------------------

    def start(self) -> None:
        nic = self.nic
        self.rx.start(
            PagePool(
                nic.resources.dma,
                RX_BUFFER,
                nic.pool_limit,
                self.rx.name,
                on_put=self._pool_refilled,
            )
        )
        self.tx.start(TX_BUFFER)
        self._program(regs.Q_RX, self.rx)
        self._program(regs.Q_TX, self.tx)
        self.write32(
            regs.Q_IRQ_MODERATION,
            nic.moderation_count << regs.Q_IRQ_MODERATION_COUNT_SHIFT | nic.moderation_cycles,
        )
        self.napi.enable()
        nic.resources.request_irq(self.index, self.interrupt, self.cpu)
        self.write32(regs.Q_RX_DOORBELL, self.rx.refill())
        self.write32(regs.Q_IRQ_ARM, 0)
        self.write32(regs.Q_IRQ_MASK, 0)

    def _program(self, block: int, ring: Ring) -> None:
        """Set one ring's registers and enable it; `block` is Q_RX or Q_TX."""
        self.write32(block + regs.RING_SIZE, ring.entries.bit_length() - 1)
        self.write32(block + regs.RING_DESC_BASE_LO, ring.descriptors & 0xFFFFFFFF)
        self.write32(block + regs.RING_DESC_BASE_HI, ring.descriptors >> 32)
        self.write32(block + regs.RING_CPL_BASE_LO, ring.completions & 0xFFFFFFFF)
        self.write32(block + regs.RING_CPL_BASE_HI, ring.completions >> 32)
        self.write32(block + regs.RING_CTRL, regs.RING_CTRL_ENABLE)

    def stop(self) -> None:
        """Quiesce the device's side, then take every buffer back."""
        self.write32(regs.Q_IRQ_MASK, 1)
        self.napi.disable()
        self.write32(regs.Q_RX_CTRL, 0)
        self.write32(regs.Q_TX_CTRL, 0)
        self.nic.wait_clear(self.base + regs.Q_RX_STATUS, regs.RING_STATUS_ACTIVE)
        self.nic.wait_clear(self.base + regs.Q_TX_STATUS, regs.RING_STATUS_ACTIVE)
        self.nic.resources.free_irq(self.index)
        self.rx.stop()
        for skb in self.tx.stop():
            self.nic.kernel.drop(skb, Drop.DEV_RESET)

    # -- interrupt and poll ----------------------------------------------------------------

    def interrupt(self) -> None:
        """Hardirq.  The device has disarmed itself; the poll re-arms."""
        self.interrupts += 1
        self._empty_polls = True
        if self.nic.tp_irq.enabled:
            self.nic.tp_irq(self.index)
        self.napi.schedule()

    def poll(self, budget: int) -> int:
        """NAPI: reap TX, receive at most `budget` frames, refill, re-arm."""
        reaped = self._clean_tx()
        work = self._clean_rx(budget)
        if work or reaped:
            self._empty_polls = False
        if work:
            self._post_rx()
        if work < budget and self.napi.complete():
            if self._empty_polls and self._failed():
                self.nic.schedule_reset(self)  # which arms the interrupt again
                return work
            self.write32(
                regs.Q_IRQ_ARM,
                self.rx.consumer | self.tx.consumer << regs.Q_IRQ_ARM_TX_CONSUMER_SHIFT,
            )
        return work

    def _clean_rx(self, budget: int) -> int:
        nic, kernel, ring = self.nic, self.nic.kernel, self.rx
        view = nic.resources.dma.memory.view
        put = ring.pool.put
        work = 0
        while work < budget:
            completion = ring.next_completion()
            if completion is None:
                break
            addr, length, status = completion
            work += 1
            kernel.charge(kernel.costs.rx_packet)
            if status != regs.CplStatus.OK:
                nic.hw_errors[regs.CplStatus(status).name] += 1
                put(addr, False)
                continue
            nic.resources.dma.sync_for_cpu(addr)
            skb = SkBuff(kernel, view[addr : addr + length], partial(put, addr))
            skb.dev = nic.dev
            skb.queue = self.index
            skb.tstamp = kernel.now
            if nic.tp_rx.enabled:
                nic.tp_rx(skb.packet_id, addr, length, ring.last_completion)
            nic.core.receive_skb(skb)
        return work

    def _post_rx(self) -> None:
        before = self.rx.producer
        if self.rx.refill() != before:
            self.write32(regs.Q_RX_DOORBELL, self.rx.producer)

    def _pool_refilled(self) -> None:
        """A buffer came back while the ring could not be filled: poll, which refills."""
        if self.nic.dev.up:
            self._post_rx()

    def _clean_tx(self) -> int:
        reaped = 0
        nic = self.nic
        while True:
            completion = self.tx.next_completion()
            if completion is None:
                break
            skb, status = completion
            reaped += 1
            if status != regs.CplStatus.OK:
                nic.hw_errors[regs.CplStatus(status).name] += 1
                nic.core.kernel.drop(skb, nic.tx_drop_reason(status))
            else:
                skb.free()
        if reaped and self.tx.room:
            nic.core.wake_queue(nic.dev, self.index)
        return reaped

    def _failed(self) -> bool:
        """An interrupt without a completion: has a ring stopped itself?"""
        rx = self.read32(regs.Q_RX_STATUS) & regs.RING_STATUS_ERROR
        tx = self.read32(regs.Q_TX_STATUS) & regs.RING_STATUS_ERROR
        for ring, error in (("RX", rx), ("TX", tx)):
            if error:
                code = regs.QueueError(error >> regs.RING_STATUS_ERROR_SHIFT)
                self.nic.hw_errors[f"{ring}_{code.name}"] += 1
        return bool(rx or tx)


class W2aNic:
    """`W2aNic(core, "eth0", mac, resources)` registers a device; `NetCore.open` brings it up.

    `ring_entries`: power of two from 2 to 32768.  `moderation_cycles`, `moderation_count`: see
    `irq_moderation` in hdl/nic.rdl.  `pool_limit`: most RX buffers a queue may hold, in the ring
    and in sockets together.
    """

    def __init__(
        self,
        core: NetCore,
        name: str,
        mac: bytes,
        resources: DeviceResources,
        *,
        queues: int = 1,
        ring_entries: int = 256,
        moderation_cycles: int = 0,
        moderation_count: int = 1,
        pool_limit: int = 4096,
    ) -> None:
        if ring_entries not in (1 << n for n in range(1, 16)):
            raise ValueError(f"ring_entries {ring_entries} is not a power of two from 2 to 32768")
        self.core = core
        self.kernel = core.kernel
        self.resources = resources
        self.registers = resources.registers
        self.tx_queues = queues
        self.ring_entries = ring_entries
        self.moderation_cycles = moderation_cycles
        self.moderation_count = moderation_count
        self.pool_limit = pool_limit
        self.hw_errors: Counter[str] = Counter()
        self.resets = 0
        trace = core.kernel.trace
        self.tp_irq = trace.point("irq_handler_entry", "line")
        self.tp_rx = trace.point("nic_rx", "packet_id", "addr", "length", "completion")
        self.tp_tx = trace.point("nic_tx", "packet_id", "addr", "length", "descriptor")
        self.dev = NetDevice(name, mac, self)
        self.queues = [QueuePair(self, index) for index in range(queues)]
        self._reset_pending = False
        core.register(self.dev)

    def write32(self, offset: int, value: int) -> None:
        """A posted write: what was charged so far happens before the device sees it."""
        self.kernel.charge(self.kernel.costs.doorbell)
        self.kernel.cpu.flush()
        self.registers.write32(offset, value)

    # -- NetDeviceOps ----------------------------------------------------------------------

    def open(self) -> None:
        """Reset, program the rings, let frames in.  OSError if the device is not ours."""
        if self.registers.read32(regs.ID) != regs.ID_MAGIC_RESET:
            raise OSError(errno.ENODEV, "no wire2app NIC answers at register 0")
        features = self.registers.read32(regs.FEATURES)
        if features & regs.FEATURES_QUEUES < self.tx_queues:
            raise OSError(errno.EINVAL, f"device has fewer than {self.tx_queues} queues")
        self.write32(regs.CTRL, regs.CTRL_SOFT_RESET)
        self.wait_clear(regs.CTRL, regs.CTRL_SOFT_RESET)
        mac = self.dev.mac
        self.write32(regs.MAC_LO, int.from_bytes(mac[:4], "little"))
        self.write32(regs.MAC_HI, int.from_bytes(mac[4:], "little"))
        self.write32(regs.MAX_FRAME, self.dev.mtu + ETH_HLEN)
        for queue in self.queues:
            queue.start()
        self.write32(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)

    def stop(self) -> None:
        self.write32(regs.CTRL, regs.CTRL_TX_ENABLE)  # no new frames in; those inside leave
        for queue in self.queues:
            queue.stop()
        self.write32(regs.CTRL, 0)
        self.registers.read32(regs.CTRL)  # the writes have arrived

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """Copy the frame into a mapped buffer, post its descriptor, ring the doorbell."""
        pair = self.queues[queue]
        ring = pair.tx
        if not ring.room:
            pair.write32(regs.Q_TX_DOORBELL, ring.producer)
            return False
        length = len(skb)
        if length > self.dev.mtu + ETH_HLEN or length > TX_BUFFER:
            self.kernel.drop(skb, Drop.DEV_TOO_LONG)
            if not more:
                pair.write32(regs.Q_TX_DOORBELL, ring.producer)
            return True
        self.kernel.charge(self.kernel.costs.tx_packet)
        addr = ring.post(skb)
        if self.tp_tx.enabled:
            self.tp_tx(skb.packet_id, addr, length, ring.last_descriptor)
        if not more or not ring.room:
            pair.write32(regs.Q_TX_DOORBELL, ring.producer)
        return True

    def get_stats(self) -> dict[str, int]:
        """All counters of the device and of its queues (`ethtool -S`); must run in a task."""
        stats = {c.name: self._counter(c.offset) for c in regs.COUNTERS}
        for queue in self.queues:
            for c in regs.QUEUE_COUNTERS:
                stats[f"queue{queue.index}_{c.name}"] = self._counter(queue.base + c.offset)
            stats[f"queue{queue.index}_interrupts"] = queue.interrupts
            stats[f"queue{queue.index}_polls"] = queue.napi.polls
        stats.update({f"error_{name.lower()}": n for name, n in self.hw_errors.items()})
        return stats

    # -- inside ----------------------------------------------------------------------------

    def _counter(self, offset: int) -> int:
        low = self.registers.read32(offset)
        return self.registers.read32(offset + 4) << 32 | low

    def wait_clear(self, offset: int, mask: int) -> None:
        """Poll a register until the bits in `mask` are 0; OSError(ETIMEDOUT) after 10 ms."""
        deadline = self.kernel.now + QUIESCE_NS
        while self.registers.read32(offset) & mask:
            if self.kernel.now > deadline:
                raise OSError(errno.ETIMEDOUT, f"device did not clear {mask:#x} at {offset:#x}")

    def tx_drop_reason(self, status: int) -> Drop:
        bad_length = status == regs.CplStatus.BAD_LENGTH
        return Drop.NIC_TX_BAD_LENGTH if bad_length else Drop.NIC_TX_BUS_ERROR

    def schedule_reset(self, queue: QueuePair) -> None:
        """A queue has stopped itself: restart it from a task, since that waits for the device."""
        if self._reset_pending:
            return
        self._reset_pending = True

        def reset() -> None:
            self.resets += 1
            self.dev.tx_queues[queue.index].stopped = True
            queue.stop()
            queue.start()
            self._reset_pending = False
            self.core.wake_queue(self.dev, queue.index)

        self.kernel.spawn(reset, name=f"{self.dev.name}-reset", cpu=queue.cpu.index)
