"""XDP: a program that sees each frame in the driver, before there is an skb (`net/core/filter.c`).

Called by drivers from their poll, once a frame (`receive`) and once at its end (`flush`); hands
what passes back to the driver, and what is sent or redirected to devices and CPUs.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff

if TYPE_CHECKING:
    from pystack.dev.netdev import NetDevice

MIN_LENGTH = 14  # xdp_adjust_*: an Ethernet header is left


class XdpAction(enum.IntEnum):
    """What is to become of a frame (`enum xdp_action`)."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


class XdpBuff:
    """One frame: `data` may be read and written, `rx_queue_index` is where it came in."""

    __slots__ = ("data", "rx_queue_index", "target")

    def __init__(self, data: memoryview, rx_queue_index: int) -> None:
        self.data = data
        self.rx_queue_index = rx_queue_index
        self.target: NetDevice | int | None = None

    def adjust_head(self, delta: int) -> None:
        """Move the frame's begin: a positive `delta` cuts, a negative one makes room, zeroed.

        ValueError if less than an Ethernet header would be left (`bpf_xdp_adjust_head`).
        """
        self._check(len(self.data) - delta)
        if delta >= 0:
            self.data = self.data[delta:]
        else:
            self.data = memoryview(bytearray(-delta) + self.data)

    def adjust_tail(self, delta: int) -> None:
        """Move its end; what is added is zeroed (`bpf_xdp_adjust_tail`)."""
        self._check(len(self.data) + delta)
        if delta <= 0:
            self.data = self.data[: len(self.data) + delta]
        else:
            self.data = memoryview(bytearray(self.data) + bytes(delta))

    def redirect(self, target: NetDevice | int) -> XdpAction:
        """Return this: the frame goes out of a device, or up on the CPU of that number."""
        self.target = target
        return XdpAction.REDIRECT

    def _check(self, length: int) -> None:
        if length < MIN_LENGTH:
            raise ValueError(f"a frame of {length} bytes has no Ethernet header")


XdpProgram = Callable[[XdpBuff], int]


class Xdp:
    """The programs of one device: one for all queues, or one for each of some.

    `actions` counts verdicts.  A program that raises, or says what is no verdict, has ABORTED.
    """

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.actions: Counter[XdpAction] = Counter()
        self._default: XdpProgram | None = None
        self._by_queue: dict[int, XdpProgram] = {}
        self._out: dict[tuple[NetDevice, int], list[SkBuff]] = {}
        self._tp_exception = dev.core.kernel.trace.point("xdp_exception", "dev", "error")

    def attach(self, program: XdpProgram | None, queue: int | None) -> bool:
        """Set or, with None, remove; whether any program is left."""
        if queue is None:
            self._default = program
        elif program is None:
            self._by_queue.pop(queue, None)
        else:
            self._by_queue[queue] = program
        return self._default is not None or bool(self._by_queue)

    def receive(
        self, data: memoryview, queue: int, release: Callable[[], None] | None = None
    ) -> SkBuff | None:
        """Run the program on a frame; the packet if it passes, None if it is taken care of.

        `data` is writable; `release` gives its memory back, exactly once.
        """
        program = self._by_queue.get(queue, self._default)
        buff = XdpBuff(data, queue)
        action = XdpAction.PASS if program is None else self._run(program, buff)
        self.actions[action] += 1
        kernel = self.dev.core.kernel
        if action is not XdpAction.PASS:  # else whoever gets it counts it
            self.dev.stats.rx_packets += 1
            self.dev.stats.rx_bytes += len(data)
        if action <= XdpAction.DROP:
            reason = Drop.XDP_DROP if action is XdpAction.DROP else Drop.XDP_ABORTED
            kernel.drops[reason] += 1
            if release is not None:
                release()
            return None
        skb = SkBuff(kernel, buff.data, release)
        skb.dev = self.dev
        skb.queue = queue
        skb.tstamp = kernel.now
        if action is XdpAction.PASS:
            return skb
        if action is XdpAction.TX:
            self._out.setdefault((self.dev, queue), []).append(skb)
        else:
            self._redirect(skb, buff.target)
        return None

    def flush(self) -> None:
        """Send what was collected, each device's frames in one go (`xdp_do_flush`)."""
        while self._out:
            (dev, queue), skbs = self._out.popitem()
            dev.core.xmit_direct(dev, queue, skbs)

    def _run(self, program: XdpProgram, buff: XdpBuff) -> XdpAction:
        try:
            return XdpAction(program(buff))
        except Exception as error:
            if self._tp_exception.enabled:
                self._tp_exception(self.dev.name, repr(error))
            return XdpAction.ABORTED

    def _redirect(self, skb: SkBuff, target: NetDevice | int | None) -> None:
        """`xdp_do_redirect`: by devmap or cpumap."""
        core = self.dev.core
        if isinstance(target, int) and 0 <= target < len(core.softnet.data):
            core.softnet.enqueue(skb, target)
        elif target is not None and not isinstance(target, int) and target.core is core:
            self._out.setdefault((target, skb.queue), []).append(skb)
        else:
            core.kernel.drop(skb, Drop.XDP_REDIRECT_FAILED)
