"""A queue in an application's hands: no interrupt, no kernel stack, and the kernel beside it."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from nic_pair import DATA, MACS, SECOND, Pair, udp_frame

from labs.forwarder import forward
from pystack.dev.drivers.w2a_poll import PollQueue


def polling_pair() -> Pair:
    """The device has a second queue, which the kernel does not use."""
    return Pair(cpus=2, hw_queues=2)


def test_the_forwarder_sends_back_what_comes_without_an_interrupt() -> None:
    pair = polling_pair()
    task = pair.a.start(forward, pair.nic, 1, pair.engine.now + SECOND // 1000, cpu=1)
    pair.engine.run(until=pair.engine.now + SECOND // 10_000)
    kernel, skbs = pair.nic.queues[0].interrupts, pair.a.core.softnet.data[0].processed
    pair.wire.clear()
    frames = [udp_frame(b"%4d" % n * 10, good=True, sport=5000 + n) for n in range(300)]
    for frame in frames:
        pair.link.b.send(frame)
    pair.engine.run(until=pair.engine.now + SECOND)
    back = [data for way, data in pair.wire if way == "tx"]
    assert back == [frame[6:12] + frame[:6] + frame[12:] for frame in frames]
    assert (task.result.packets, task.result.lost) == (300, 0)
    assert pair.nic.queues[0].interrupts == kernel
    assert pair.a.core.softnet.data[0].processed == skbs
    pair.send(DATA[:10000])  # the kernel has the flows again
    pair.close()


def test_a_tag_that_the_device_takes_out_goes_back_in() -> None:
    pair = polling_pair()
    task = pair.a.start(forward, pair.nic, 1, pair.engine.now + SECOND // 1000, cpu=1)
    pair.engine.run(until=pair.engine.now + SECOND // 10_000)
    plain = udp_frame(b"x" * 60, good=True)
    tagged = plain[:12] + bytes.fromhex("81006005") + plain[12:]
    pair.wire.clear()
    for frame in (tagged, plain):
        pair.link.b.send(frame)
    pair.engine.run(until=pair.engine.now + SECOND)
    back = [data for way, data in pair.wire if way == "tx"]
    assert back == [frame[6:12] + frame[:6] + frame[12:] for frame in (tagged, plain)]
    assert task.result.packets == 2
    pair.close()


def test_a_frame_longer_than_a_buffer_is_refused_whole() -> None:
    pair = Pair(cpus=2, hw_queues=2, mtu=9000)

    def receive() -> tuple[list[int], int]:
        with PollQueue(pair.nic, 1, entries=16, buffers=16) as port:
            lengths = []
            for size in (100, 5000, 2100, 200) * 10:
                pair.link.b.send(udp_frame(b"x" * size, good=True))
                pair.a.kernel.charge(100_000)
                pair.a.kernel.cpu.flush()
                for packet in port.rx_burst():
                    lengths.append(packet.length)
                    port.free(packet)
            return lengths, port.refused

    assert pair.do(pair.a, receive) == ([142, 242] * 10, 20)
    pair.close()


def test_the_kernel_goes_on_beside_it() -> None:
    """Frames without a flow are the kernel's, and what it sends leaves by its own queue."""
    pair = polling_pair()
    with_arp = pair.a.start(forward, pair.nic, 1, pair.engine.now + SECOND // 500, cpu=1)
    pair.engine.run(until=pair.engine.now + SECOND // 10_000)
    pair.b.arp.flush(pair.peer)

    def ping(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("10.77.0.1", 9))

    before = pair.nic.queues[0].interrupts
    pair.b.process("ping", ping)
    pair.engine.run(until=pair.engine.now + SECOND)
    assert pair.nic.queues[0].interrupts > before, "the ARP request"
    assert with_arp.result.packets == 1, "and then the datagram"
    pair.close()


def test_only_a_queue_that_is_free_can_be_taken() -> None:
    pair = polling_pair()

    def take() -> list[int | None]:
        outcomes = []
        with PollQueue(pair.nic, 1):
            for index in (0, 1, 2):
                with pytest.raises(OSError, match=r"\[Errno") as failed:
                    PollQueue(pair.nic, index)
                outcomes.append(failed.value.errno)
            with pytest.raises(OSError, match=r"\[Errno"):
                pair.nic.ethtool.set_channels(2)
        return outcomes

    assert pair.do(pair.a, take) == [errno.EBUSY, errno.EBUSY, errno.EINVAL]
    pair.do(pair.a, pair.nic.ethtool.set_channels, 2)
    pair.close()


def test_a_full_transmit_ring_takes_what_it_has_room_for() -> None:
    pair = polling_pair()

    def send() -> tuple[int, int, int]:
        with PollQueue(pair.nic, 1, entries=16, buffers=64) as port:
            packets = [packet for _ in range(40) if (packet := port.alloc(1000)) is not None]
            for packet in packets:
                packet.data[:14] = MACS[1] + MACS[0] + b"\x88\xb5"
            taken = port.tx_burst(packets)
            rest = port.tx_burst(packets[taken:])
            port.drain()
            return len(packets), taken, port.sent - rest

    assert pair.do(pair.a, send) == (40, 16, 16)
    pair.engine.run(until=pair.engine.now + SECOND)
    pair.close()


def test_a_ring_that_stops_ends_the_wait_for_it() -> None:
    pair = polling_pair()
    dma = pair.nic.resources.dma

    def send() -> int | None:
        with PollQueue(pair.nic, 1, entries=16, buffers=64) as port:
            dma.rights[port._tx.descriptors : port._tx.descriptors + 256] = 0
            packet = port.alloc(100)
            assert packet is not None
            port.tx_burst([packet])
            with pytest.raises(OSError, match=r"\[Errno") as failed:
                port.tx_burst([packet])
                port.drain()
            return failed.value.errno

    assert pair.do(pair.a, send) == errno.EIO
    dma.faults.clear()
    pair.close()


def test_buffers_the_bus_refuses_are_given_back_to_the_ring() -> None:
    """Also if there was nothing else, again and again."""
    pair = polling_pair()
    dma = pair.nic.resources.dma

    def receive() -> tuple[int, int]:
        with PollQueue(pair.nic, 1, entries=16, buffers=16) as port:
            rights = dma.rights[port._pages : port._pages + port._size].copy()
            for allowed in (False, True):
                dma.rights[port._pages : port._pages + port._size] = rights if allowed else 0
                for _ in range(40):
                    pair.link.b.send(udp_frame(b"x" * 30, good=True))
                    pair.a.kernel.charge(100_000)
                    pair.a.kernel.cpu.flush()
                    for packet in port.rx_burst():
                        port.free(packet)
            return port.refused, port.received

    assert pair.do(pair.a, receive) == (40, 40)
    dma.faults.clear()
    pair.close()
