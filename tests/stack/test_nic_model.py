"""The model of the NIC by itself: registers, rings and interrupts, without driver and kernel."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest

from pystack.core.dma import Direction, DmaMapper
from pystack.core.engine import VirtualEngine
from pystack.core.memory import HostMemory
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus, QueueError
from pystack.dev.drivers.w2a_rings import ENTRY, Ring
from pystack.dev.model.nic import ModelNic
from pystack.dev.model.receive import multicast_bit
from pystack.dev.model.toeplitz import Toeplitz
from pystack.dev.wire import Link

OWN = bytes.fromhex("020000000001")
RX, TX = regs.QUEUE_BASE + regs.Q_RX, regs.QUEUE_BASE + regs.Q_TX


class Bench:
    """A model with one queue whose rings have 8 entries; `rises` are the lines' rising edges."""

    def __init__(self, queues: int = 1) -> None:
        self.engine = VirtualEngine()
        self.memory = HostMemory(1 << 20)
        self.dma = DmaMapper(self.memory, "nic")
        link = Link(self.engine)
        self.wire = link.b
        self.sent: list[bytes] = []
        link.b.on_receive(lambda frame, start, end: self.sent.append(frame))
        self.nic = ModelNic(self.engine, self.dma, link.a, queues=queues)
        self.rises: list[tuple[int, int]] = []
        self.nic.on_irq = lambda line: self.rises.append((line, self.engine.now))
        self.read, self.write = self.nic.read32, self.nic.write32
        self.rx, self.tx = Ring(self.dma, 8, "rx"), Ring(self.dma, 8, "tx")
        self.write(regs.MAC_LO, int.from_bytes(OWN[:4], "little"))
        self.write(regs.MAC_HI, int.from_bytes(OWN[4:], "little"))
        self.write(regs.CTRL, regs.CTRL_RX_ENABLE | regs.CTRL_TX_ENABLE)
        self.start(RX, self.rx)
        self.start(TX, self.tx)
        self.write(regs.QUEUE_BASE + regs.Q_IRQ_MASK, 0)

    def start(self, block: int, ring: Ring) -> None:
        ring.alloc()
        self.write(block + regs.RING_SIZE, 3)
        self.write(block + regs.RING_DESC_BASE_LO, ring.descriptors)
        self.write(block + regs.RING_CPL_BASE_LO, ring.completions)
        self.write(block + regs.RING_CTRL, 1)

    def buffers(self, *lengths: int) -> list[int]:
        """Post RX buffers; their addresses."""
        addrs = []
        for length in lengths:
            addr = self.memory.alloc_pages(1)
            self.dma.map_single(addr, max(length, 1), Direction.FROM_DEVICE, "buffer")
            at = self.rx.descriptors + self.rx.producer % 8 * ENTRY
            regs.RX_DESC.pack_into(self.memory.view, at, addr, length)
            self.rx.producer += 1
            addrs.append(addr)
        self.write(RX + regs.RING_DOORBELL, self.rx.producer)
        return addrs

    def frame(self, length: int) -> bytes:
        return OWN + OWN + b"\x88\xb5" + bytes(n & 0xFF for n in range(length - 14))

    def receive(self, *frames: bytes) -> None:
        for frame in frames:
            self.wire.send(frame)
        self.engine.run()

    def completions(self) -> list[tuple[int, int, int, int]]:
        """(index, length, status, flags) of what has come since the last time."""
        found = []
        while (at := self.rx.next_completion()) is not None:
            index, length, who, flags, *_ = regs.RX_CPL.unpack_from(self.memory.view, at)
            self.rx.reaped(index)
            found.append((index, length, who & regs.RX_CPL_STATUS, flags))
        return found

    def arm(self) -> None:
        self.write(regs.QUEUE_BASE + regs.Q_IRQ_ARM, self.rx.consumer | self.tx.consumer << 16)

    def counter(self, name: str) -> int:
        for base, counters in ((0, regs.COUNTERS), (regs.QUEUE_BASE, regs.QUEUE_COUNTERS)):
            for counter in counters:
                if counter.name == name:
                    return self.read(base + counter.offset)
        raise KeyError(name)


KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)


@pytest.mark.parametrize(
    ("src", "sport", "dst", "dport", "addresses", "ports"),
    [
        ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
        ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
        ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
        ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
        ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
        ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
        ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
        (
            *("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024),
            *(0x4B61E985, 0x02D1FEEF),
        ),
    ],
)
def test_the_hash_gives_the_published_values(
    src: str, sport: int, dst: str, dport: int, addresses: int, ports: int
) -> None:
    data = ip_address(src).packed + ip_address(dst).packed
    toeplitz = Toeplitz(KEY)
    assert toeplitz.hash(data) == addresses
    assert toeplitz.hash(data + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")) == ports


def test_a_frame_fills_buffer_after_buffer() -> None:
    bench = Bench()
    frame = bench.frame(1000)
    addrs = bench.buffers(400, 400, 400)
    bench.receive(frame)
    last = regs.RX_CPL_LAST
    assert bench.completions() == [(0, 400, 0, 0), (1, 400, 0, 0), (2, 200, 0, last)]
    pieces = [bench.memory.read(addr, 400) for addr in addrs]
    assert b"".join(pieces)[:1000] == frame
    bench.buffers(400, 400)
    bench.receive(frame)
    truncated = CplStatus.TRUNCATED
    assert bench.completions() == [(3, 400, 0, 0), (4, 400, truncated, last)]
    assert (bench.counter("rx_truncated"), bench.counter("rx_no_descriptor")) == (1, 0)


def test_without_buffers_and_on_a_disabled_queue_frames_are_counted_apart() -> None:
    bench = Bench()
    bench.receive(bench.frame(100), bench.frame(100))
    bench.write(RX + regs.RING_CTRL, 0)
    bench.receive(bench.frame(100))
    assert (bench.counter("rx_no_descriptor"), bench.counter("rx_disabled")) == (2, 1)


def test_a_doorbell_beyond_the_ring_stops_it_and_one_to_a_stopped_ring_is_refused() -> None:
    bench = Bench()
    bench.write(RX + regs.RING_DOORBELL, 9)
    assert bench.read(RX + regs.RING_STATUS) >> 4 == QueueError.BAD_DOORBELL
    bench.write(RX + regs.RING_DOORBELL, 1)
    assert bench.counter("doorbell_errors") == 2
    assert bench.rises == [(0, 0)], "the queue's line tells of it"
    assert bench.read(regs.EVENT_RINGS) == 1
    bench.write(RX + regs.RING_CTRL, 0)
    bench.write(RX + regs.RING_CTRL, 1)
    assert bench.read(RX + regs.RING_STATUS) == regs.RING_STATUS_ACTIVE
    bench.rx.producer = 0
    bench.buffers(100)
    bench.receive(bench.frame(64))
    assert [status for _, _, status, _ in bench.completions()] == [CplStatus.OK]


def test_what_the_iommu_refuses_is_in_the_completion() -> None:
    bench = Bench()
    (addr,) = bench.buffers(2000)
    bench.dma.unmap_single(addr)
    bench.receive(bench.frame(100))
    assert [status for _, _, status, _ in bench.completions()] == [CplStatus.DATA_SLVERR]
    assert bench.counter("rx_bus_error") == 1
    assert len(bench.dma.faults) == 1


@pytest.mark.parametrize("run_on", (False, True))
def test_what_the_iommu_refuses_stops_a_ring_unless_it_runs_on(run_on: bool) -> None:
    bench = Bench()
    ctrl = regs.RING_CTRL_ENABLE | (regs.RING_CTRL_RUN_ON if run_on else 0)
    bench.write(RX + regs.RING_CTRL, ctrl)
    assert bench.read(RX + regs.RING_CTRL) == ctrl
    bad, _ = bench.buffers(100, 100)
    bench.dma.unmap_single(bad)
    bench.receive(bench.frame(64), bench.frame(64), bench.frame(64))
    found = [status for _, _, status, _ in bench.completions()]
    status = bench.read(RX + regs.RING_STATUS)
    counts = [bench.counter(f"rx_{name}") for name in ("bus_error", "disabled", "no_descriptor")]
    if run_on:
        assert found == [CplStatus.DATA_SLVERR, CplStatus.OK]
        assert (status, counts) == (regs.RING_STATUS_ACTIVE, [1, 0, 1])
    else:
        assert found == [CplStatus.DATA_SLVERR]
        assert (status, counts) == (QueueError.DATA_SLVERR << 4, [1, 2, 0])
    assert bench.read(regs.EVENT_RINGS) == int(not run_on)
    assert bench.read(TX + regs.RING_STATUS) == regs.RING_STATUS_ACTIVE
    bench.write(RX + regs.RING_CTRL, 0)
    bench.write(RX + regs.RING_CTRL, ctrl)
    assert bench.read(RX + regs.RING_STATUS) == regs.RING_STATUS_ACTIVE


def test_a_frame_in_whose_midst_the_ring_stops_has_no_last_completion() -> None:
    bench = Bench()
    bad, _, _ = bench.buffers(100, 100, 100)
    bench.dma.unmap_single(bad)
    bench.receive(bench.frame(250))
    assert bench.completions() == [(0, 100, CplStatus.DATA_SLVERR, 0)]
    assert (bench.counter("rx_disabled"), bench.counter("rx_bus_error")) == (1, 0)


def test_a_broken_completion_ring_stops_its_direction_only() -> None:
    bench = Bench()
    bench.buffers(100, 100)
    bench.dma.unmap_single(bench.rx.completions)
    bench.receive(bench.frame(64), bench.frame(64))
    assert bench.read(RX + regs.RING_STATUS) >> 4 == QueueError.CPL_SLVERR
    assert bench.counter("rx_bus_error") + bench.counter("rx_disabled") == 2
    assert bench.read(TX + regs.RING_STATUS) == regs.RING_STATUS_ACTIVE
    bench.dma.map_single(bench.rx.completions, 128, Direction.FROM_DEVICE, "again")


def test_moderation_waits_for_frames_or_for_time() -> None:
    bench = Bench()
    bench.write(regs.QUEUE_BASE + regs.Q_IRQ_MODERATION, 3 << 16 | 10_000)
    bench.buffers(*[100] * 8)
    bench.receive(*[bench.frame(64)] * 3)
    (first,) = bench.rises
    assert first[1] < 10_000, "the third frame raised it"
    bench.completions()
    bench.arm()
    begin = bench.engine.now
    bench.receive(bench.frame(64))
    assert 64_000 <= bench.rises[1][1] - begin < 65_000, "10,000 cycles of 6.4 ns after it came"


def test_a_shorter_moderation_holds_for_what_waits_already() -> None:
    bench = Bench()
    moderation = regs.QUEUE_BASE + regs.Q_IRQ_MODERATION
    count = 8 << regs.Q_IRQ_MODERATION_COUNT_SHIFT
    bench.write(moderation, count | 50_000)
    bench.buffers(2048)
    bench.wire.send(OWN + bytes(54))
    bench.engine.run(until=1_000)
    bench.write(moderation, count | 1_000)
    bench.engine.run()
    assert [at // 1_000 for _, at in bench.rises] == [6]


def test_re_arming_with_something_unseen_raises_the_line_at_once() -> None:
    bench = Bench()
    bench.buffers(*[100] * 4)
    bench.receive(bench.frame(64), bench.frame(64))
    assert len(bench.rises) == 1, "armed no more after the first"
    bench.write(regs.QUEUE_BASE + regs.Q_IRQ_ARM, 1)
    assert len(bench.rises) == 2
    bench.completions()
    bench.arm()
    assert len(bench.rises) == 2
    bench.write(regs.QUEUE_BASE + regs.Q_IRQ_MASK, 1)
    bench.receive(bench.frame(64))
    assert len(bench.rises) == 2
    bench.write(regs.QUEUE_BASE + regs.Q_IRQ_MASK, 0)
    assert len(bench.rises) == 3, "what happened behind the mask is remembered"


def test_an_unknown_register_answers_with_an_error() -> None:
    bench = Bench()
    with pytest.raises(OSError, match="DECERR at 0x3f0") as failed:
        bench.read(0x3F0)
    assert failed.value.errno == errno.EIO
    bench.write(0x3F0, 1)
    assert bench.counter("doorbell_errors") == 1


def test_a_register_keeps_the_bits_it_has() -> None:
    """A write of all ones, and a frame after it."""
    kept = {
        **{regs.MAC_HI: 0xFFFF, regs.MAX_FRAME: 9018, regs.RX_STEERING: 0xFF},
        **{regs.RSS_CTRL: 0x3F, regs.RX_OFFLOAD: 3, regs.PAUSE: 0xFFFF0003, regs.EVENT_MASK: 3},
        **{regs.RSS_TABLE: 0x0F0F0F0F, regs.MAC_FILTER_HI + 28: 0x8000FFFF},
    }
    bench = Bench()
    for offset, value in kept.items():
        bench.write(offset, 0xFFFFFFFF)
        assert bench.read(offset) == value, hex(offset)
    bench.wire.send(bytes(60))
    bench.engine.run()
    assert bench.nic.counters["rx_filtered"] == 1


def test_a_reset_forgets_everything_but_that_it_was_built() -> None:
    bench = Bench(queues=3)
    features = bench.read(regs.FEATURES)
    bench.buffers(100)
    bench.receive(bench.frame(64))
    bench.write(regs.CTRL, regs.CTRL_SOFT_RESET)
    assert bench.read(regs.CTRL) == 0 and bench.read(RX + regs.RING_STATUS) == 0
    assert bench.counter("rx_frames") == 0
    assert bench.read(regs.FEATURES) == features and features & regs.FEATURES_QUEUES == 3


def test_the_clock_is_set_shifted_and_made_faster() -> None:
    bench = Bench()
    bench.write(regs.CLOCK_LO, 0xFFFFFF00)
    bench.write(regs.CLOCK_HI, 7)
    bench.engine.run(until=6400)
    low = bench.read(regs.CLOCK_LO)
    assert bench.read(regs.CLOCK_HI) << 32 | low == 0x7_FFFF_FF00 + 6399  # 6.4 ns, rounded
    bench.write(regs.CLOCK_ADJUST, 0x1_0000_0000 - 6399)
    low = bench.read(regs.CLOCK_LO)
    assert bench.read(regs.CLOCK_HI) << 32 | low == 0x7_FFFF_FF00
    bench.write(regs.CLOCK_INCREMENT, 2 * regs.CLOCK_INCREMENT_VALUE_RESET)
    bench.engine.run(until=12800)
    assert bench.read(regs.CLOCK_LO) == (0xFFFFFF00 + 12799) & 0xFFFFFFFF


def test_multicast_bits_are_those_of_ether_crc() -> None:
    """As `ether_crc(6, addr) >> 26` gives, computed bit by bit."""
    for n in range(64):
        group = bytes((1, 0, 0x5E, n, 2 * n, 3 * n))
        crc = 0xFFFFFFFF
        for byte in group:
            for bit in range(8):
                feedback = (crc >> 31) ^ (byte >> bit & 1)
                crc = (crc << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if feedback else 0)
        assert multicast_bit(group) == crc >> 26


def test_a_pause_frame_holds_what_is_sent_and_is_not_delivered() -> None:
    bench = Bench()
    bench.write(regs.PAUSE, regs.PAUSE_RX_ENABLE)
    bench.buffers(100)
    addr = bench.memory.alloc_pages(1)
    bench.dma.map_single(addr, 100, Direction.TO_DEVICE, "frame")
    regs.TX_DESC.pack_into(
        bench.memory.view, bench.tx.descriptors, addr, 100, regs.TX_DESC_LAST, 0, 0
    )
    pause = bytes.fromhex("0180c2000001") + OWN + bytes.fromhex("880800010400")
    bench.wire.send(pause.ljust(60, b"\0"))
    bench.engine.run(until=2_000)
    bench.write(TX + regs.RING_DOORBELL, 1)
    bench.engine.run(until=0x400 * 512 // 10)
    assert (bench.sent, bench.completions(), bench.counter("rx_pause")) == ([], [], 1)
    bench.engine.run()
    assert len(bench.sent) == 1


def test_what_is_sent_while_the_transmitter_is_off_waits_in_the_device() -> None:
    """Its completion does not, and has no stamp."""
    bench = Bench()
    bench.write(regs.CTRL, 0)
    addr = bench.memory.alloc_pages(1)
    bench.dma.map_single(addr, 200, Direction.TO_DEVICE, "frames")
    what = regs.TX_DESC_LAST | regs.TX_DESC_TIMESTAMP
    for slot, length in enumerate((100, 200)):
        at = bench.tx.descriptors + slot * ENTRY
        regs.TX_DESC.pack_into(bench.memory.view, at, addr, length, what, 0, 0)
    bench.write(TX + regs.RING_DOORBELL, 2)
    bench.engine.run()
    told = []
    while (at := bench.tx.next_completion()) is not None:
        index, _, who, flags, _ = regs.TX_CPL.unpack_from(bench.memory.view, at)
        bench.tx.reaped(index)
        told.append((index, who & regs.TX_CPL_STATUS, flags & regs.TX_CPL_TIMESTAMP_VALID))
    assert (told, bench.sent) == ([(0, 0, 0), (1, 0, 0)], [])
    bench.write(regs.CTRL, regs.CTRL_TX_ENABLE)
    bench.engine.run()
    assert [len(frame) for frame in bench.sent] == [100, 200]
    assert bench.counter("tx_frames") == 2 and bench.tx.next_completion() is None
