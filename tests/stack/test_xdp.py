"""XDP: what each verdict does with a frame, and that none is lost without a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.core.trace import Record
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link
from pystack.dev.xdp import XdpAction, XdpBuff
from pystack.dev.xdp_maps import ArrayMap, FloodGuard, HashMap, LruHashMap
from pystack.host import Host, finished

MAC, OTHER_MAC, STATION = (bytes([2, 0, 0, 0, 0, n]) for n in (1, 2, 9))
SECOND = 1_000_000_000


class Machine:
    """A host with `eth0` and `eth1`, each on a wire whose far end keeps what arrives."""

    def __init__(self, cpus: int = 1) -> None:
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "h", cpus=cpus)
        self.arrived: dict[str, list[bytes]] = {}
        self.links: dict[str, Link] = {}
        self.delivered: list[tuple[int, bytes]] = []  # CPU and frame, at the link layer
        self.host.core.register_link(self._deliver)
        for name, mac in (("eth0", MAC), ("eth1", OTHER_MAC)):
            link = self.links[name] = Link(self.engine)
            dev = self.host.add_softnic(name, mac, link.a)
            frames = self.arrived[name] = []
            link.b.on_receive(partial(self._arrive, frames))
            self.engine.run(stop=finished(self.host.start(self.host.core.open, dev)))

    def _arrive(self, frames: list[bytes], frame: bytes, start: int, end: int) -> None:
        frames.append(frame)

    def _deliver(self, skb: SkBuff) -> None:
        self.delivered.append((self.host.kernel.cpu.index, bytes(skb)))
        skb.free()

    def dev(self, name: str = "eth0") -> NetDevice:
        return self.host.core.devices[name]

    def send(self, *frames: bytes) -> None:
        """Let frames arrive at eth0."""
        for frame in frames:
            self.links["eth0"].b.send(frame)
        self.engine.run(until=self.engine.now + SECOND // 100)
        assert self.host.kernel.skbs_alive == 0

    @property
    def texts(self) -> list[bytes]:
        return [frame[14:].rstrip(b"\0") for _, frame in self.delivered]

    @property
    def drops(self) -> Counter[Drop]:
        return self.host.kernel.drops


def frame(text: bytes) -> bytes:
    return (MAC + STATION + b"\x88\xb5" + text).ljust(60, b"\0")


def test_each_verdict_does_what_it_says() -> None:
    machine = Machine()

    def program(buff: XdpBuff) -> int:
        verdict = XdpAction(buff.data[14] - ord("0"))
        if verdict is XdpAction.TX:
            buff.data[0:6], buff.data[6:12] = bytes(buff.data[6:12]), bytes(buff.data[0:6])
        if verdict is XdpAction.REDIRECT:
            return buff.redirect(machine.dev("eth1"))
        return verdict

    machine.dev().set_xdp(program)
    machine.send(*(frame(b"%d" % n) for n in (2, 1, 3, 4, 0, 2, 3)))
    assert machine.texts == [b"2", b"2"]
    returned = (STATION + MAC + b"\x88\xb53").ljust(60, b"\0")
    assert machine.arrived == {"eth0": [returned] * 2, "eth1": [frame(b"4")]}
    xdp = machine.dev().xdp
    assert xdp is not None
    assert [xdp.actions[a] for a in XdpAction] == [1, 1, 2, 2, 1]
    assert (machine.drops[Drop.XDP_DROP], machine.drops[Drop.XDP_ABORTED]) == (1, 1)
    assert machine.dev().stats.rx_packets == 7


def test_without_a_program_nothing_is_in_the_way() -> None:
    machine = Machine()
    machine.dev().set_xdp(lambda buff: XdpAction.DROP)
    machine.send(frame(b"a"))
    machine.dev().set_xdp(None)
    machine.send(frame(b"b"))
    assert machine.texts == [b"b"]
    assert machine.dev().xdp is None


def crash(buff: XdpBuff) -> int:
    return buff.data[5000]


@pytest.mark.parametrize("program", [crash, lambda buff: 77, lambda buff: buff.adjust_head(50)])
def test_a_broken_program_aborts_frames_and_not_the_kernel(
    program: Callable[[XdpBuff], int],
) -> None:
    machine = Machine()
    errors: list[Record] = []
    machine.dev().set_xdp(program)
    machine.host.kernel.trace.attach("xdp_exception", errors.append)
    machine.send(frame(b"a"), frame(b"b"))
    assert machine.drops[Drop.XDP_ABORTED] == len(errors) == 2
    machine.dev().set_xdp(None)
    machine.send(frame(b"c"))
    assert machine.texts == [b"c"]


def test_a_program_may_move_both_ends_of_a_frame() -> None:
    machine = Machine()

    def encapsulate(buff: XdpBuff) -> int:
        header = bytes(buff.data[:14])
        buff.adjust_head(-4)
        buff.data[:18] = header[:12] + b"\x81\x00\x00\x05" + header[12:]
        buff.adjust_tail(-6)
        buff.adjust_tail(2)
        return XdpAction.TX

    def decapsulate(buff: XdpBuff) -> int:
        header = bytes(buff.data[:12])
        buff.adjust_head(4)
        buff.data[:12] = header
        return XdpAction.PASS

    machine.dev().set_xdp(encapsulate)
    long = frame(b"hello".ljust(80, b"!"))
    machine.send(long)
    tagged = long[:12] + b"\x81\x00\x00\x05" + long[12:-6] + b"\0\0"
    assert machine.arrived["eth0"] == [tagged]
    machine.dev().set_xdp(decapsulate)
    machine.send(tagged)
    assert machine.delivered == [(0, long[:-6] + b"\0\0")]


def test_redirect_to_a_cpu_takes_the_frame_there() -> None:
    machine = Machine(cpus=3)
    machine.dev().set_xdp(lambda buff: buff.redirect(buff.data[14] - ord("0")))
    machine.send(frame(b"2"), frame(b"1"), frame(b"0"), frame(b"2"), frame(b"7"))
    assert sorted((cpu, f[14:15]) for cpu, f in machine.delivered) == [
        (0, b"0"),
        (1, b"1"),
        (2, b"2"),
        (2, b"2"),
    ]
    assert machine.drops[Drop.XDP_REDIRECT_FAILED] == 1


def test_redirect_to_nowhere_or_to_a_device_that_is_down_is_counted() -> None:
    machine = Machine()
    down = machine.host.add_softnic("eth2", b"\2\0\0\0\0\3", Link(machine.engine).a)
    targets = iter([down, None])

    def program(buff: XdpBuff) -> int:
        target = next(targets)
        return XdpAction.REDIRECT if target is None else buff.redirect(target)

    machine.dev().set_xdp(program)
    machine.send(frame(b"a"), frame(b"b"))
    assert machine.drops[Drop.DEV_DOWN] == machine.drops[Drop.XDP_REDIRECT_FAILED] == 1


def test_frames_sent_back_faster_than_the_ring_takes_them_are_counted() -> None:
    machine = Machine()
    machine.dev().set_xdp(lambda buff: XdpAction.TX)
    machine.dev().tx_queues[0].stopped = True
    machine.send(frame(b"a"), frame(b"b"))
    assert machine.drops[Drop.XDP_TX_FULL] == 2


def test_a_queue_may_have_a_program_of_its_own() -> None:
    machine = Machine()
    machine.dev().set_xdp(lambda buff: XdpAction.DROP, queue=0)
    machine.dev().set_xdp(lambda buff: XdpAction.ABORTED, queue=1)
    machine.send(frame(b"a"))
    machine.dev().set_xdp(None, queue=0)
    machine.send(frame(b"b"))
    assert machine.drops[Drop.XDP_DROP] == 1
    assert machine.texts == [b"b"]


# -- maps and the flood guard --------------------------------------------------------------


def test_maps_are_bounded() -> None:
    table: HashMap[str, int] = HashMap(2)
    table.update("a", 1)
    table.update("b", 2)
    table.update("a", 3)
    with pytest.raises(OSError, match="Argument list too long"):
        table.update("c", 4)
    table.delete("a")
    with pytest.raises(FileNotFoundError):
        table.delete("a")
    assert (table.lookup("a"), table.lookup("b"), len(table)) == (None, 2, 1)
    lru: LruHashMap[str, int] = LruHashMap(2)
    for key in ("a", "b"):
        lru.update(key, 1)
    assert lru.lookup("a") == 1
    lru.update("c", 1)
    assert (lru.lookup("a"), lru.lookup("b"), len(lru)) == (1, None, 2)
    array: ArrayMap[int] = ArrayMap(2, 0)
    array[1] += 5
    assert (array[0], array[1]) == (0, 5)
    with pytest.raises(IndexError):
        array[2] = 1


def packet(source: int, version: int = 4) -> bytes:
    address = bytes([10, 0, 0, source])
    if version == 4:
        return (MAC + STATION + b"\x08\x00" + bytes(12) + address).ljust(60, b"\0")
    return (MAC + STATION + b"\x86\xdd" + bytes(8) + address * 4).ljust(60, b"\0")


@pytest.mark.parametrize("version", [4, 6])
def test_the_flood_guard_stops_the_flood_and_nobody_else(version: int) -> None:
    now = 0
    guard = FloodGuard(lambda: now, rate=1000, burst=10)

    def offer(source: int, frames: int) -> int:
        view = memoryview(bytearray(packet(source, version)))
        return sum(guard(XdpBuff(view, 0)) is XdpAction.PASS for _ in range(frames))

    assert offer(1, 1000) == 10
    assert offer(2, 5) == 5
    now += SECOND // 1000 * 3
    assert (offer(1, 1000), offer(2, 8)) == (3, 8)
    now += SECOND
    assert offer(1, 1000) == 10
    source = bytes([10, 0, 0, 1]) * (1 if version == 4 else 4)
    assert guard.dropped.lookup(source) == 990 + 997 + 990


def test_the_flood_guard_lets_what_is_not_ip_pass_and_forgets_sources() -> None:
    guard = FloodGuard(lambda: 0, rate=10, burst=1, sources=4)
    assert guard(XdpBuff(memoryview(bytearray(frame(b"arp"))), 0)) is XdpAction.PASS
    for source in range(200):
        guard(XdpBuff(memoryview(bytearray(packet(source))), 0))
        guard(XdpBuff(memoryview(bytearray(packet(source))), 0))
    assert len(guard.dropped) == 4
