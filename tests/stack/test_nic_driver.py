"""The driver's own ways: faults of one queue, interrupts with and without NAPI, moderation, BQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nic_pair import DATA, MACS, SECOND, Pair, udp_frame

from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.dev.dql import ByteQueueLimit
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.dim import PROFILES, Dim
from pystack.dev.ethtool import Coalesce
from pystack.dev.wire import Link
from pystack.host import Host


def test_a_failed_queue_is_restarted_alone() -> None:
    """Its completion ring is unmapped behind the driver's back; the other queue's count goes on."""
    pair = Pair(cpus=2, queues=2)
    pair.do(pair.a, pair.nic.ethtool.set_rxfh, (0,) * 128, None)
    pair.link.b.send(udp_frame(b"x" * 30, good=True))
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    failing, other = pair.nic.queues
    dma = pair.nic.resources.dma
    dma.rights[failing.rx.completions : failing.rx.completions + 16 * failing.rx.entries] = 0
    pools = failing.rx.pool, other.rx.pool
    pair.link.b.send(udp_frame(b"x" * 30, good=True))
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert pair.nic.hw_errors == {"RX_CPL_SLVERR": 1}
    assert (pair.nic.resets, len(dma.faults)) == (1, 1)
    assert failing.rx.pool is not pools[0] and other.rx.pool is pools[1]
    before = pair.stats()["queue0_rx_frames"]
    pair.link.b.send(udp_frame(b"x" * 30, good=True))
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert pair.stats()["queue0_rx_frames"] == before + 1
    dma.faults.clear()
    pair.close()


def test_a_queue_whose_descriptor_cannot_be_read_is_restarted() -> None:
    """The frame is lost by name; nobody knows where the next one would begin, so the ring stops,
    and the frame behind is lost with it, by name too."""
    pair = Pair()
    ring, dma = pair.nic.queues[0].tx, pair.nic.resources.dma
    dma.rights[ring.descriptors : ring.descriptors + 16 * ring.entries] = 0

    def send() -> None:
        skb = SkBuff(pair.a.kernel, memoryview(MACS[1] + MACS[0] + b"\x88\xb5" + bytes(100)))
        skb.dev = pair.dev
        pair.a.core.queue_xmit(skb)

    pair.dev.tx_queues[0].dql = None  # or the second waits until the first is completed

    def send_two() -> None:
        send()
        send()

    pair.do(pair.a, send_two)
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert pair.nic.hw_errors == {"DESC_SLVERR": 1, "TX_DESC_SLVERR": 1}
    assert pair.nic.resets == 1
    drops = {drop.value: n for drop, n in pair.a.kernel.drops.items()}
    assert drops == {"nic.tx_bus_error": 1, "dev.reset": 1}
    assert pair.stats()["lost_tx_reset"] == 1
    before = pair.peer.stats.rx_packets
    pair.do(pair.a, send)
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert pair.peer.stats.rx_packets == before + 1
    dma.faults.clear()
    pair.close()


def test_a_frame_whose_first_descriptor_cannot_be_read_is_lost_once() -> None:
    """The device completes and counts it; its end is found in the ring that is restarted."""
    pair = Pair()
    ring, dma = pair.nic.queues[0].tx, pair.nic.resources.dma
    at = ring.descriptors + 16 * (ring.producer % ring.entries)
    dma.rights[at : at + 16] = 0

    def send() -> None:
        skb = SkBuff(pair.a.kernel, memoryview(bytes(1000)))
        skb.head = MACS[1] + MACS[0] + b"\x88\xb5"
        skb.dev = pair.dev
        pair.a.core.queue_xmit(skb)

    interrupts = pair.nic.queues[0].interrupts
    pair.do(pair.a, send)
    pair.engine.run(until=pair.engine.now + SECOND)
    assert pair.nic.resets == 1
    assert pair.nic.queues[0].interrupts == interrupts + 1, "its first completion tells enough"
    assert {drop.value: n for drop, n in pair.a.kernel.drops.items()} == {"nic.tx_bus_error": 1}
    stats = pair.stats()
    assert stats["queue0_tx_bus_error"] == 1 and "lost_tx_reset" not in stats
    dma.faults.clear()
    pair.close()


def test_a_frame_the_device_refuses_is_dropped_by_name() -> None:
    pair = Pair()

    def send() -> None:
        skb = SkBuff(pair.a.kernel, memoryview(MACS[1] + MACS[0] + b"\x88\xb5" + bytes(1000)))
        skb.dev = pair.dev
        pair.nic.registers.write32(regs.MAX_FRAME, 500)
        pair.a.core.queue_xmit(skb)

    pair.do(pair.a, send)
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert pair.nic.hw_errors == {"BAD_LENGTH": 1}
    assert {drop.value: n for drop, n in pair.a.kernel.drops.items()} == {"nic.tx_bad_length": 1}
    pair.close()


def fill_memory(pair: Pair) -> Callable[[], None]:
    """Leave not a page; returns what gives all back."""
    memory, taken = pair.a.kernel.memory, []
    with pytest.raises(MemoryError):
        while True:
            taken.append(memory.alloc_pages(1))

    def give_back() -> None:
        for addr in taken:
            memory.free_pages(addr)

    return give_back


def test_a_frame_for_which_there_is_no_memory_is_dropped_and_the_next_is_sent() -> None:
    """Of two pieces the first has been posted then."""
    pair = Pair(mtu=9000)
    give_back = fill_memory(pair)

    def send(length: int) -> None:
        skb = SkBuff(pair.a.kernel, memoryview(bytes(length)))
        skb.head = MACS[1] + MACS[0] + b"\x88\xb5"
        skb.dev = pair.dev
        pair.a.core.queue_xmit(skb)

    before = pair.peer.stats.rx_packets
    pair.do(pair.a, send, 5000)
    assert {drop.value: n for drop, n in pair.a.kernel.drops.items()} == {"dev.no_memory": 1}
    assert (pair.dev.stats.tx_dropped, pair.stats()["tx_alloc_failed"]) == (1, 1)
    pair.do(pair.a, send, 1000)
    give_back()
    pair.do(pair.a, send, 5000)
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert pair.peer.stats.rx_packets == before + 2
    pair.close()


def test_a_ring_without_a_buffer_is_filled_when_there_is_memory() -> None:
    pair = Pair()
    pair.do(pair.a, pair.a.core.stop, pair.dev)
    alloc = pair.nic.alloc_queues
    given: list[Callable[[], None]] = []

    def then_fill(*args: int) -> Any:
        queues = alloc(*args)
        given.append(fill_memory(pair))
        return queues

    pair.nic.alloc_queues = then_fill
    pair.do(pair.a, pair.a.core.open, pair.dev)
    del pair.nic.alloc_queues
    assert pair.nic.queues[0].rx.room == 256 and pair.stats()["rx_alloc_failed"] == 1
    pair.engine.run(until=pair.engine.now + SECOND)
    assert 5 < pair.stats()["rx_alloc_failed"] < 20
    given[0]()
    pair.engine.run(until=pair.engine.now + SECOND)
    assert pair.nic.queues[0].rx.room == 0
    pair.send(DATA[:10000])
    pair.close()


@pytest.mark.parametrize("mode", ("napi", "naive"))
def test_napi_takes_fewer_interrupts_than_an_interrupt_a_frame(mode: str) -> None:
    pair = Pair(irq_mode=mode)
    before = pair.nic.queues[0].interrupts
    for _ in range(200):
        pair.link.b.send(udp_frame(b"x" * 30, good=True))
    pair.engine.run(until=pair.engine.now + SECOND)
    interrupts = pair.nic.queues[0].interrupts - before
    assert pair.stats()["rx_frames"] >= 200
    assert (interrupts >= 200) if mode == "naive" else (interrupts < 150)
    pair.close()


def test_the_link_is_told_of() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    dev = host.add_nic("eth0", MACS[0], Link(engine).a)
    ops: Any = dev.ops
    device = ops.registers
    host.start(host.core.open, dev)
    engine.run(until=SECOND)
    assert dev.carrier
    device.set_link(False)
    engine.run(until=2 * SECOND)
    assert not dev.carrier
    device.set_link(True)
    engine.run(until=3 * SECOND)
    assert dev.carrier
    assert [line for _, _, line in host.kernel.dmesg] == ["eth0: Link is Down", "eth0: Link is Up"]


def test_group_addresses_are_filtered_one_by_one_and_then_by_hash() -> None:
    pair = Pair()
    groups = [bytes.fromhex(f"01005e0000{n:02x}") for n in range(1, 31)]

    def heard() -> list[int]:
        before = pair.stats()["rx_frames"]
        arrived = []
        for group in groups:
            pair.link.b.send(group + MACS[1] + b"\x88\xb5" + bytes(60))
            pair.engine.run(until=pair.engine.now + SECOND // 1000)
            now = pair.stats()["rx_frames"]
            arrived.append(now - before)
            before = now
        return arrived

    joined = len(pair.dev.mc_list)
    assert sum(heard()[1:]) == 0
    for group in groups[10:13]:
        pair.do(pair.a, pair.dev.mc_add, group)
    assert [n for n, got in enumerate(heard()) if got and n] == [10, 11, 12]
    for group in groups[13:25]:
        pair.do(pair.a, pair.dev.mc_add, group)
    assert all(heard()[10:25]) and len(pair.dev.mc_list) == joined + 15
    assert not all(heard()), "64 bits still keep something out"


def test_adaptive_moderation_waits_under_load_only() -> None:
    pair = Pair()
    pair.do(pair.a, pair.nic.ethtool.set_coalesce, Coalesce(0, 1, adaptive_rx=True))
    pair.transfer(pair.b, pair.a, DATA * 20, "10.77.0.1")
    busy = pair.nic.queues[0]
    assert busy.dim.level > 0
    assert busy.interrupts < pair.stats()["rx_frames"] / 3
    pair.close()


def test_dim_climbs_while_it_helps_and_turns_when_it_hurts() -> None:
    dim = Dim(0)
    now = interrupts = packets = 0

    def second(rate: int, per_packet: int) -> None:
        nonlocal now, interrupts, packets
        now += SECOND
        interrupts += max(64, rate // per_packet)
        packets += rate
        dim.sample(now, interrupts, packets, packets * 1000)

    for step in range(1, 5):
        second(1000 * step, 1)
    assert dim.level == len(PROFILES) - 1
    second(1000, 1)
    assert dim.level == len(PROFILES) - 2, "less came through: back"


def test_the_byte_queue_limit_finds_what_keeps_the_device_busy() -> None:
    dql = ByteQueueLimit()
    now = 0
    for _ in range(20):  # the device always runs dry while more was to be had
        while not dql.full:
            dql.sent(1500)
        now += 1000
        dql.completed(dql.inflight, now)
    grown = dql.limit
    assert grown > 4 * 1500
    for _ in range(3000):  # now half of it would do
        while not dql.full:
            dql.sent(1500)
        now += 1_000_000
        dql.completed(1500, now)
    assert dql.limit < grown


@pytest.mark.parametrize("limited", (True, False))
def test_bulk_does_not_fill_the_ring(limited: bool) -> None:
    """What BQL holds back waits in the queueing discipline."""
    pair = Pair(cpus=2, ring_entries=1024)  # one to send, one to clean up
    most = 0

    def watch(event: Any) -> None:
        nonlocal most
        ring = pair.nic.queues[0].tx
        most = max(most, ring.entries - ring.room)

    pair.a.kernel.trace.attach("nic_tx", watch)
    if not limited:
        pair.dev.tx_queues[0].dql = None

    def flood() -> None:
        for _ in range(500):
            skb = SkBuff(pair.a.kernel, memoryview(MACS[1] + MACS[0] + b"\x88\xb5" + bytes(1000)))
            skb.dev = pair.dev
            pair.a.core.queue_xmit(skb)

    pair.a.start(flood, cpu=1)
    pair.engine.run(until=pair.engine.now + SECOND)
    assert pair.peer.stats.rx_packets >= 500
    assert (most < 100) if limited else (most > 200), most
    pair.close()
