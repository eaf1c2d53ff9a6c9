"""The driver and a ring that the bus has stopped: restarted alone, and everything lost counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from nic_pair import DATA, MACS, SECOND, Pair, udp_frame

from pystack.core.drop import Drop
from pystack.core.skb import SkBuff
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_rings import ENTRY

BURST = 20
SPACING = 500  # ns between frames to the NIC
LOST_RX = ("rx_bus_error", "rx_disabled", "rx_no_descriptor", "rx_truncated")


def refuse(pair: Pair, start: int, length: int) -> None:
    pair.nic.resources.dma.rights[start : start + length] = 0


def refuse_buffer(pair: Pair, ahead: int = 0) -> None:
    """One that is posted: the next, or one behind it."""
    ring = pair.nic.queues[0].rx
    refuse(pair, ring.buffers[ring.consumer + ahead & ring.entries - 1], ring.pool.size)


def refuse_sent(pair: Pair, every: int) -> Callable[[], None]:
    """Each `every`-th frame from now on, once it is posted and before the device is told, until
    the function that is returned is called."""
    count = 0

    def posted(event: Any) -> None:
        nonlocal count
        count += 1
        if count % every == 0:
            refuse(pair, event["addr"], 1)

    point = pair.nic.tp_tx
    point.attach(posted)
    return lambda: point.detach(posted)


def send_some(pair: Pair, queue: int = 0, count: int = BURST) -> None:
    def send() -> None:
        for _ in range(count):
            skb = SkBuff(pair.a.kernel, memoryview(MACS[1] + MACS[0] + b"\x88\xb5" + bytes(100)))
            skb.dev, skb.queue = pair.dev, queue
            pair.a.core.queue_xmit(skb)

    pair.do(pair.a, send)
    pair.engine.run(until=pair.engine.now + SECOND // 100)


def receive_some(pair: Pair, count: int = BURST) -> None:
    for _ in range(count):
        pair.link.b.send(udp_frame(b"x" * 30, good=True))
        pair.engine.run(until=pair.engine.now + SPACING)
    pair.engine.run(until=pair.engine.now + SECOND // 100)


def books(pair: Pair) -> dict[str, tuple[int, int]]:
    """What went in, and what came out or was counted as lost, each way."""
    stats, nic, dev = pair.stats(), pair.nic, pair.dev.stats
    lost = Counter[str]()
    for name, value in stats.items():
        lost[name.partition("_")[2]] += value if name.startswith("queue") else 0
    refused = lost["tx_bus_error"] + lost["tx_bad_length"] + nic.lost["tx_segments"]
    return {
        "rx": (
            stats["rx_frames"],
            dev.rx_packets + sum(lost[name] for name in LOST_RX) + nic.lost["rx_reset"],
        ),
        "tx": (dev.tx_packets, stats["tx_frames"] + refused + nic.lost["tx_reset"]),
    }


def balanced(pair: Pair) -> bool:
    return all(into == out for into, out in books(pair).values())


def two_queues() -> Pair:
    """All flows to the first."""
    pair = Pair(cpus=2, queues=2)
    pair.do(pair.a, pair.nic.ethtool.set_rxfh, (0,) * 128, None)
    receive_some(pair)
    send_some(pair)
    assert balanced(pair) and not pair.nic.hw_errors
    return pair


def check_recovery(pair: Pair, errors: dict[str, int], other: Any) -> None:
    assert pair.nic.hw_errors == errors
    shown = {f"error_{name.lower()}": n for name, n in errors.items()}
    assert shown.items() <= pair.stats().items()
    assert pair.nic.resets == 1, "and no more than that queue"
    assert pair.nic.queues[1].rx.pool is other, "the other queue goes on as it was"
    assert balanced(pair), books(pair)
    before = pair.dev.stats.rx_packets, pair.peer.stats.rx_packets
    receive_some(pair)
    send_some(pair)
    after = pair.dev.stats.rx_packets, pair.peer.stats.rx_packets
    assert after == (before[0] + BURST, before[1] + BURST)
    assert pair.nic.hw_errors == errors and balanced(pair)
    pair.nic.resources.dma.faults.clear()
    pair.close()


@pytest.mark.parametrize("what", ("data", "descriptor"))
def test_a_queue_is_restarted_when_the_bus_refuses_a_buffer(what: str) -> None:
    pair = two_queues()
    other, disabled = pair.nic.queues[1].rx.pool, pair.stats()["queue0_rx_disabled"]
    ring = pair.nic.queues[0].rx
    if what == "data":
        refuse_buffer(pair)
        errors = {"DATA_SLVERR": 1, "RX_DATA_SLVERR": 1}
    else:
        refuse(pair, ring.descriptors + (ring.consumer & ring.entries - 1) * ENTRY, ENTRY)
        errors = {"DESC_SLVERR": 1, "RX_DESC_SLVERR": 1}
    receive_some(pair)
    lost = pair.stats()["queue0_rx_disabled"] - disabled
    assert 0 < lost < BURST - 1, "those that came until it was restarted, not more"
    check_recovery(pair, errors, other)


def test_a_queue_is_restarted_when_the_bus_refuses_a_frame_to_send() -> None:
    pair = two_queues()
    other, before = pair.nic.queues[1].rx.pool, pair.peer.stats.rx_packets
    end = refuse_sent(pair, BURST - 2)
    send_some(pair)
    end()
    drops = pair.a.kernel.drops
    assert drops[Drop.NIC_TX_BUS_ERROR] == 1
    arrived = pair.peer.stats.rx_packets - before
    assert arrived + 1 + drops[Drop.DEV_RESET] == BURST and arrived >= BURST - 3
    check_recovery(pair, {"DATA_SLVERR": 1, "TX_DATA_SLVERR": 1}, other)


@pytest.mark.parametrize("mode", ("napi", "naive"))
def test_the_interrupt_of_the_completion_that_tells_is_enough(mode: str) -> None:
    pair = Pair(irq_mode=mode)
    receive_some(pair)
    interrupts = pair.nic.queues[0].interrupts
    refuse_buffer(pair)
    receive_some(pair, 1)
    assert (pair.nic.resets, pair.nic.queues[0].interrupts) == (1, interrupts + 1)
    pair.nic.resources.dma.faults.clear()
    pair.close()


def test_an_error_in_a_frame_that_never_ends_is_heeded_among_other_frames() -> None:
    """Its first buffer is completed with the error, in one poll with a whole frame before."""
    pair = Pair()
    queue = pair.nic.queues[0]
    ring = queue.rx
    asked: list[int] = []  # interrupts until then

    def failed() -> bool:
        asked.append(queue.interrupts)
        return True

    def completions() -> None:
        for status, flags in (
            (regs.CplStatus.OK, regs.RX_CPL_LAST),
            (regs.CplStatus.DATA_SLVERR, 0),
        ):
            slot = ring.consumer + (flags != regs.RX_CPL_LAST) & ring.entries - 1
            phase = 0 if ring.consumer // ring.entries & 1 else regs.RX_CPL_PHASE
            entry = ring.completions + slot * ENTRY
            index = ring.consumer + (flags != regs.RX_CPL_LAST)
            regs.RX_CPL.pack_into(ring.view, entry, index, 100, status, flags, 0, 0, phase)
        queue._failed = failed
        queue.interrupt()
        asked.append(queue.interrupts)

    pair.do(pair.a, completions)
    pair.engine.run(until=pair.engine.now + SECOND // 1000)
    assert asked[1] == asked[0], "the interrupt of that poll is enough"
    assert pair.nic.resets == 1


@pytest.mark.parametrize("mode", ("napi", "naive"))
@pytest.mark.parametrize("out", (False, True))
def test_tcp_loses_no_byte_to_buffers_that_the_bus_refuses(mode: str, out: bool) -> None:
    pair = Pair(irq_mode=mode)
    end = refuse_sent(pair, 30)
    pair.a.kernel.trace.attach(
        "nic_rx", lambda event: refuse_buffer(pair, 3) if event["packet_id"] % 40 == 0 else None
    )
    if out:
        pair.send(DATA)
    else:
        pair.transfer(pair.b, pair.a, DATA, "10.77.0.1")
    end()
    pair.engine.run(until=pair.engine.now + SECOND)
    errors = pair.nic.hw_errors
    assert errors["RX_DATA_SLVERR"] > 2 and errors["TX_DATA_SLVERR"] > 2, errors
    stops = errors["RX_DATA_SLVERR"] + errors["TX_DATA_SLVERR"]
    assert stops / 2 <= pair.nic.resets <= stops, "both rings of a queue may stop at once"
    assert balanced(pair), books(pair)
    pair.nic.resources.dma.faults.clear()
    pair.close()
