"""Queueing disciplines: order, limits, time, and that every packet lost is counted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from statistics import mean, pstdev

import pytest

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.dev.qdisc import Emulation, Fq, Netem, Pfifo, PfifoFast, Qdisc
from pystack.host import Host, finished

MS = 1_000_000
Create = Callable[[NetDevice], Qdisc]


class Ring:
    """A driver with room for `room` frames; it notes what left and when."""

    tx_queues = 1

    def __init__(self, host: Host) -> None:
        self.host = host
        self.room = 1 << 30
        self.left: list[tuple[int, bytes]] = []
        self.more: list[bool] = []
        self.dev = NetDevice("eth0", b"\2\0\0\0\0\1", self)
        host.core.register(self.dev)
        host.engine.run(stop=finished(host.start(host.core.open, self.dev)))

    def open(self) -> None: ...

    def stop(self) -> None: ...

    def set_rx_mode(self) -> None: ...

    def get_stats(self) -> dict[str, int]:
        return {}

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.left.append((self.host.kernel.now, bytes(skb)))
        self.more.append(more)
        skb.free()
        return True


class Sender:
    def __init__(self, create: Create | None = None, seed: int = 1) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "h", seed=seed)
        self.ring = Ring(self.host)
        self.dev = self.ring.dev
        if create is not None:
            self.dev.set_qdisc(create)
        self._numbers = count()

    @property
    def qdisc(self) -> Qdisc:
        return self.dev.tx_queues[0].qdisc

    @property
    def texts(self) -> list[bytes]:
        return [frame.rstrip(b".") for _, frame in self.ring.left]

    def send(self, *texts: bytes, priority: int = 0, length: int = 60) -> list[bool]:
        """One frame for each text, sent at once."""
        taken: list[bool] = []

        def task() -> None:
            for text in texts:
                skb = SkBuff(self.host.kernel, memoryview(text.ljust(length, b".")))
                skb.dev, skb.priority = self.dev, priority
                taken.append(self.host.core.queue_xmit(skb))

        self.engine.run(stop=finished(self.host.start(task)))
        return taken

    def run(self, ns: int) -> None:
        self.engine.run(until=self.engine.now + ns)

    def room(self, frames: int) -> None:
        def task() -> None:
            self.ring.room += frames
            self.host.core.wake_queue(self.dev, 0)

        self.engine.run(stop=finished(self.host.start(task)))
        self.run(MS)

    def end(self) -> None:
        self.engine.run(stop=finished(self.host.start(self.host.core.stop, self.dev)))
        assert self.host.kernel.skbs_alive == 0
        assert not any(base.active for base in self.host.kernel.timer_bases)


def names(n: int, name: str = "p") -> list[bytes]:
    return [f"{name}{i}".encode() for i in range(n)]


@pytest.mark.parametrize("create", [Pfifo, PfifoFast, Fq, Netem])
def test_a_full_ring_keeps_the_order_and_loses_nothing(create: Create) -> None:
    sender = Sender(create)
    sender.ring.room = 3
    assert all(sender.send(*names(10)))
    assert sender.texts == names(3)
    sender.room(2)
    sender.room(100)
    assert sender.texts == names(10)
    assert sender.ring.more[-1] is False
    assert (sender.qdisc.stats.packets, sender.qdisc.stats.bytes) == (10, 600)
    assert sender.qdisc.stats.requeues == 2
    sender.end()


@pytest.mark.parametrize("create", [Pfifo, PfifoFast, Netem])
def test_a_full_queue_tells_the_sender_and_counts(create: Callable[..., Qdisc]) -> None:
    sender = Sender(lambda dev: create(dev, limit=4))
    sender.ring.room = 0
    # one waits in front of the ring beside the four, and with its successor has left the queue
    taken = sender.send(*names(8))
    assert taken.count(False) == sender.qdisc.stats.dropped > 0
    assert sender.host.kernel.drops[Drop.QDISC_FULL] == taken.count(False)
    sender.room(100)
    assert sender.texts == [name for name, ok in zip(names(8), taken, strict=True) if ok]
    sender.end()


def test_going_down_drops_what_waits_and_counts_it() -> None:
    sender = Sender()
    sender.ring.room = 1
    sender.send(*names(6))
    sender.end()
    assert sender.host.kernel.drops[Drop.DEV_DOWN] == 5


def test_another_discipline_drops_what_waits_and_counts_it() -> None:
    sender = Sender(lambda dev: Netem(dev, setting=Emulation(delay=5 * MS)))
    sender.send(*names(3))
    sender.dev.set_qdisc(Fq)
    assert sender.host.kernel.drops[Drop.QDISC_REPLACED] == 3
    sender.run(10 * MS)
    assert not sender.ring.left
    sender.end()


def test_pfifo_fast_serves_interactive_packets_first() -> None:
    sender = Sender(PfifoFast)
    sender.ring.room = 0
    sender.send(b"first")  # this one and the next are in front of the ring already
    sender.send(b"second")
    sender.send(b"bulk", priority=2)
    sender.send(b"best effort", priority=0)
    sender.send(b"interactive", priority=6)
    sender.room(10)
    assert sender.texts == [b"first", b"interactive", b"second", b"best effort", b"bulk"]


def udp(port: int, length: int = 1000) -> bytes:
    ip = bytes.fromhex("45000000000000004011000001010101") + b"\2\2\2\2"
    frame = bytes(12) + b"\x08\x00" + ip + port.to_bytes(2, "big") + b"\x00\x09"
    return frame.ljust(length, b"x")


def test_fq_lets_flows_take_turns() -> None:
    sender = Sender(Fq)
    sender.ring.room = 0
    sender.send(*[udp(1)] * 12, *[udp(2)] * 3)
    sender.room(100)
    order = [1 if frame == udp(1) else 2 for _, frame in sender.ring.left]
    assert order[:12] == [1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1]  # 3,028 bytes a turn
    assert len(order) == 15


def test_fq_holds_a_flow_to_its_rate() -> None:
    sender = Sender(lambda dev: Fq(dev, maxrate=1_000_000))  # 1000 bytes a ms
    sender.send(*[udp(1)] * 4, *[udp(2)] * 2)
    sender.run(10 * MS)
    assert [at // MS for at, frame in sender.ring.left if frame == udp(1)] == [0, 1, 2, 3]
    assert [at // MS for at, frame in sender.ring.left if frame == udp(2)] == [0, 1]
    sender.end()


def test_fq_limits_a_flow_and_counts() -> None:
    sender = Sender(Fq)
    sender.ring.room = 0
    taken = sender.send(*[udp(1)] * 110, udp(2))
    assert sender.host.kernel.drops[Drop.QDISC_FLOW_FULL] == taken.count(False) > 0
    assert taken[-1]
    sender.end()


def test_netem_delays() -> None:
    sender = Sender(lambda dev: Netem(dev, setting=Emulation(delay=100 * MS)))
    sender.send(*names(3))
    sender.run(99 * MS)
    assert not sender.ring.left
    sender.run(2 * MS)
    assert sender.texts == names(3)
    sender.end()


def test_netem_loses_repeats_and_damages_in_proportion_and_by_the_seed() -> None:
    setting = Emulation(delay=MS, jitter=MS // 2, loss=0.1, duplicate=0.05, corrupt=0.2)

    def run(seed: int) -> tuple[Sender, list[bytes]]:
        sender = Sender(lambda dev: Netem(dev, limit=None, setting=setting), seed)
        for batch in range(20):
            sender.send(*names(100, f"b{batch}-"))
            sender.run(5 * MS)
        sender.end()
        return sender, [frame for _, frame in sender.ring.left]

    sender, frames = run(1)
    lost = sender.host.kernel.drops[Drop.QDISC_NETEM_LOSS]
    sent = [name.ljust(60, b".") for batch in range(20) for name in names(100, f"b{batch}-")]
    damaged = [frame for frame in frames if frame not in sent]
    assert 140 < lost < 260
    assert 300 < len(damaged) < 480
    assert all(
        min(bin(int.from_bytes(a) ^ int.from_bytes(b)).count("1") for b in sent) == 1
        for a in damaged[:20]
    )
    assert 2000 - lost + 60 < len(frames) < 2000 - lost + 140
    assert run(1)[1] == frames
    assert run(2)[1] != frames


def test_netem_jitter_spreads_the_delay() -> None:
    sender = Sender(lambda dev: Netem(dev, setting=Emulation(delay=10 * MS, jitter=4 * MS)))
    sender.send(*names(500))
    sender.run(20 * MS)
    times = [at for at, _ in sender.ring.left]
    assert len(times) == 500
    assert min(times) >= 6 * MS and max(times) <= 14 * MS
    assert mean(times) == pytest.approx(10 * MS, rel=0.05)
    assert pstdev(times) > MS
    assert sender.texts != names(500)  # jitter reorders, as the real one does


def test_netem_rate_is_the_time_each_byte_takes() -> None:
    sender = Sender(lambda dev: Netem(dev, setting=Emulation(rate=1_000_000)))
    sender.send(*names(3), length=1000)
    sender.run(10 * MS)
    assert [at // MS for at, _ in sender.ring.left] == [1, 2, 3]
