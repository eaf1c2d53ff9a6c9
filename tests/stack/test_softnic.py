"""The NIC without hardware: when it interrupts."""

from __future__ import annotations

from typing import Any

from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.dev.drivers.softnic import TX_DELAY, TX_FRAMES
from pystack.dev.wire import Link
from pystack.host import Host, finished


def test_completions_interrupt_for_sixteen_frames_or_after_the_delay() -> None:
    engine = VirtualEngine()
    link = Link(engine)
    host = Host(engine, "h")
    dev = host.add_softnic("eth0", b"\2\0\0\0\0\1", link.a)
    nic: Any = dev.ops
    sent: list[int] = []
    link.b.on_receive(lambda frame, start, end: sent.append(end))

    def send(count: int) -> None:
        if not dev.up:
            host.core.open(dev)
        for _ in range(count):
            skb = SkBuff(host.kernel, memoryview(bytes(1000)))
            skb.dev = dev
            host.core.queue_xmit(skb)

    engine.run(stop=finished(host.start(send, 2 * TX_FRAMES + 3)))
    engine.run(until=sent[-1] + TX_DELAY // 2)
    assert (nic.interrupts, host.kernel.skbs_alive) == (2, 3)
    engine.run(until=sent[-1] + 2 * TX_DELAY)
    assert (nic.interrupts, host.kernel.skbs_alive) == (3, 0)

    engine.run(stop=finished(host.start(send, 1)))
    engine.run(until=engine.now + 10_000)
    assert host.kernel.skbs_alive == 1
    link.b.send(bytes(60))  # the poll it causes frees what has been sent
    engine.run(until=engine.now + 10_000)
    assert (nic.interrupts, host.kernel.skbs_alive) == (4, 0)
    engine.run()
    assert nic.interrupts == 4, "the delay's end finds nothing to do"


def test_frames_dropped_by_stop_do_not_complete_later_ones() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    dev = host.add_softnic("eth0", b"\2\0\0\0\0\1", Link(engine).a)

    def send(count: int) -> None:
        for _ in range(count):
            skb = SkBuff(host.kernel, memoryview(bytes(1500)))
            skb.dev = dev
            host.core.queue_xmit(skb)

    def down_and_up() -> None:
        host.core.open(dev)
        send(20)
        host.core.stop(dev)
        host.core.open(dev)
        send(1)

    host.start(down_and_up)
    engine.run()
    assert host.kernel.skbs_alive == 0
