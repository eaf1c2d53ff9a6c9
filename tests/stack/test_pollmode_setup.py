"""A queue in poll mode is opened and closed, and the interface goes down and comes up under it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from nic_pair import DATA, MACS, Pair, udp_frame

from pystack import host
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_poll import PollQueue
from pystack.dev.model.nic import ModelNic

PAUSE = bytes.fromhex("0180c2000001") + MACS[1] + bytes.fromhex("88080001ffff")  # 3.3 ms


def polling_pair() -> Pair:
    """The device has two queues that the kernel does not use."""
    return Pair(cpus=2, hw_queues=3)


def refusal(fn: Callable[..., Any], *args: Any, **named: Any) -> int | None:
    with pytest.raises(OSError, match=r"\[Errno") as failed:
        fn(*args, **named)
    return failed.value.errno


def arrive(pair: Pair, count: int) -> None:
    """So many flows of a frame each; what they come to is there when this is over."""
    for number in range(count):
        pair.link.b.send(udp_frame(b"%4d" % number * 10, good=True, sport=5000 + number))
    pair.a.kernel.charge(100_000)
    pair.a.kernel.cpu.flush()


def take(port: PollQueue) -> int:
    packets = port.rx_burst()
    for packet in packets:
        port.free(packet)
    return len(packets)


def test_the_queue_goes_on_when_the_interface_is_up_again() -> None:
    pair = polling_pair()

    def poll() -> list[Any]:
        seen: list[Any] = []
        with PollQueue(pair.nic, 1, entries=16, buffers=32) as port:
            arrive(pair, 3)
            (kept, *others) = port.rx_burst()
            text = bytes(kept.data)
            for packet in others:
                port.free(packet)
            arrive(pair, 2)  # nobody looks
            pair.a.core.stop(pair.dev)
            for burst in (port.rx_burst, port.drain, lambda: port.tx_burst([kept])):
                seen.append(refusal(burst))
            arrive(pair, 3)
            pair.a.core.open(pair.dev)
            seen += [bytes(kept.data) == text, len(port._free)]
            arrive(pair, 3)
            seen += [take(port), port.tx_burst([kept])]
            port.drain()
            seen += [port.received, port.sent, len(port._free)]
        return [*seen, refusal(port.rx_burst), refusal(port.tx_burst, [])]

    pair.wire.clear()
    down, closed = errno.ENETDOWN, errno.EBADF
    assert pair.do(pair.a, poll) == [down, down, down, True, 15, 3, 1, 6, 1, 16, closed, closed]
    sent = udp_frame(b"   0" * 10, good=True, sport=5000)
    assert pair.wire.count(("tx", sent)) == 1
    assert pair.stats()["lost_rx_reset"] == 2
    pair.send(DATA[:10000])  # the kernel has the flows again
    pair.close()


def test_frames_that_were_to_be_sent_are_counted_when_the_interface_goes_down() -> None:
    pair = polling_pair()

    def send() -> list[int]:
        with PollQueue(pair.nic, 1, entries=16, buffers=32) as port:
            packets = [port.alloc(1000) for _ in range(16)]
            taken = port.tx_burst([packet for packet in packets if packet is not None])
            pair.a.core.stop(pair.dev)
            back = len(port._free)
            pair.a.core.open(pair.dev)
            return [taken, back, port.sent + port.refused + pair.nic.lost["tx_reset"]]

    assert pair.do(pair.a, send) == [16, 32, 16]
    pair.close()


def test_a_queue_that_is_closed_while_the_interface_is_down_leaves_the_flows_to_the_kernel() -> (
    None
):
    pair = polling_pair()

    def close() -> int | None:
        with PollQueue(pair.nic, 1):
            pair.a.core.stop(pair.dev)
            failed = refusal(PollQueue, pair.nic, 2)
        pair.a.core.open(pair.dev)
        return failed

    assert pair.do(pair.a, close) == errno.ENETDOWN
    pair.send(DATA[:10000])
    pair.close()


def test_queues_share_the_flows_and_what_one_leaves_the_other_has() -> None:
    pair = polling_pair()

    def poll() -> list[int]:
        first = PollQueue(pair.nic, 1)
        second = PollQueue(pair.nic, 2)
        arrive(pair, 16)
        shares = [take(first), take(second)]
        first.close()
        arrive(pair, 16)
        left = take(second)
        second.close()
        return [*shares, left]

    one, other, left = pair.do(pair.a, poll)
    assert one + other == 16 and min(one, other) > 3 and left == 16
    pair.send(DATA[:10000])
    pair.close()


def test_without_a_hash_the_queue_opened_last_has_all_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "ModelNic", partial(ModelNic, features=regs.FEATURES_CLOCK))
    pair = polling_pair()

    def poll() -> list[list[int]]:
        ports = [PollQueue(pair.nic, 2), PollQueue(pair.nic, 1)]
        seen = []
        for close in (False, True):
            if close:
                ports[1].close()
            arrive(pair, 4)
            seen.append([take(port) for port in ports if port.running])
        pair.a.core.stop(pair.dev)
        pair.a.core.open(pair.dev)
        arrive(pair, 4)
        seen.append([take(ports[0])])
        ports[0].close()
        return seen

    assert pair.do(pair.a, poll) == [[0, 4], [4], [4]]
    pair.send(DATA[:10000])
    pair.close()


def only(times: int, alloc: Callable[..., int]) -> Callable[..., int]:
    """Memory for so many calls."""
    left = iter(range(times))

    def limited(*args: Any) -> int:
        if next(left, None) is None:
            raise MemoryError
        return alloc(*args)

    return limited


def test_what_cannot_be_opened_is_refused_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = polling_pair()
    dma = pair.nic.resources.dma

    def refused() -> list[int | None]:
        before = (dict(dma.mappings), dma.memory.pages_in_use, dict(pair.nic.lent))
        sizes = ((0, 1024), (-16, 16), (1, 16), (24, 64), (1 << 16, 1 << 16), (16, 15))
        outcomes = [refusal(PollQueue, pair.nic, 1, *size) for size in sizes]
        outcomes += [refusal(PollQueue, pair.nic, index) for index in (-1, 3)]
        outcomes += [refusal(PollQueue, pair.nic, 1, 16, 1 << 40)]
        for missing in range(4):
            monkeypatch.setattr(dma, "alloc_coherent", only(missing, dma.alloc_coherent))
            outcomes += [refusal(PollQueue, pair.nic, 1)]
            monkeypatch.undo()
        assert (dma.mappings, dma.memory.pages_in_use, pair.nic.lent) == before
        PollQueue(pair.nic, 1).close()
        return outcomes

    assert pair.do(pair.a, refused) == [errno.EINVAL] * 8 + [errno.ENOMEM] * 5
    pair.close()


def test_a_second_close_does_nothing() -> None:
    pair = polling_pair()

    def close() -> int:
        first = PollQueue(pair.nic, 1)
        first.close()
        with PollQueue(pair.nic, 1) as second:
            first.close()  # the queue is another's by now
            arrive(pair, 3)
            return take(second)

    assert pair.do(pair.a, close) == 3
    pair.close()


def test_a_packet_ends_with_its_buffer() -> None:
    pair = polling_pair()

    def alloc() -> list[Any]:
        with PollQueue(pair.nic, 1) as port:
            longest = port.alloc(2048)
            assert longest is not None and len(longest.data) == 2048
            seen = [refusal(port.alloc, length) for length in (2049, 0, -1)]
        return [*seen, refusal(port.alloc, 60)]

    assert pair.do(pair.a, alloc) == [errno.EMSGSIZE, errno.EINVAL, errno.EINVAL, errno.EBADF]
    pair.close()


def test_the_wait_for_what_does_not_leave_ends() -> None:
    pair = polling_pair()

    def drain() -> tuple[int | None, int, int]:
        with PollQueue(pair.nic, 1, entries=16, buffers=32) as port:
            pair.nic.write32(regs.PAUSE, regs.PAUSE_RX_ENABLE)
            pair.link.b.send(PAUSE.ljust(60, b"\0"))
            arrive(pair, 0)
            packet = port.alloc(1000)
            assert packet is not None
            port.tx_burst([packet])
            began = pair.engine.now
            failed = refusal(port.drain, 1_000_000)
            waited = (pair.engine.now - began) // 1_000_000
            port.drain()
            return failed, waited, port.sent

    assert pair.do(pair.a, drain) == (errno.ETIMEDOUT, 1, 1)
    pair.close()
