"""The NIC's offloads under the whole kernel: what the driver leaves to the device, on the wire."""

from __future__ import annotations

import hashlib
from typing import Any

import cocotb
import pytest
from conftest import SEED, SIMS

from pystack.core.checksum import ones_sum
from pystack.core.headers.ethernet import EthernetHeader
from pystack.core.skb import CHECKSUM_UNNECESSARY, SkBuff
from pystack.core.wait import WaitQueue, wait_event
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_nic import CYCLE_PS
from pystack.dev.model.toeplitz import Toeplitz
from pystack.dev.netdev import NetDevice
from tb import accounts
from tb.world import CLIENT, CLIENT_MAC, SERVER, SERVER_MAC, World, WorldSettings
from wire2app.simulator import bench_design, simulate

SECOND = 1_000_000_000
DATA = bytes(range(251)) * 400
FLOWS = 48
PAUSE_GROUP = bytes.fromhex("0180c2000001")


class Wire:
    """What passes beside the NIC: (start ns, frame) into it and out of it."""

    def __init__(self) -> None:
        self.into: list[tuple[int, bytes]] = []
        self.out: list[tuple[int, bytes]] = []

    def probe(self, direction: str, frame: bytes, start: int, end: int) -> None:
        (self.into if direction == "tx" else self.out).append((start, frame))


async def transfer(world: World, to: str, data: bytes = DATA) -> None:
    """`data` over TCP to the host with address `to`."""
    got = hashlib.sha256()

    def server(socket: Any) -> None:
        with socket.create_server((to, 80)) as listener, listener.accept()[0] as connection:
            while piece := connection.recv(1 << 16):
                got.update(piece)

    def client(socket: Any) -> None:
        with socket.create_connection((to, 80)) as connection:
            connection.sendall(data)

    at_server = to.endswith(".1")
    serving, asking = (world.server, world.client)[:: 1 if at_server else -1]
    sink = serving.process("sink", server)
    await world.run_for(100_000)  # until it listens
    programs = sink, asking.process("source", client)
    await world.run(*programs, limit=60 * SECOND)
    assert [program.tracebacks for program in programs] == [[], []]
    assert got.digest() == hashlib.sha256(data).digest()


async def down(world: World) -> None:
    await world.down()
    wrong = [line for line in accounts.balance(world) if not line.ok]
    assert not wrong, wrong


def tcp_is_right(frame: bytes) -> bool:
    end = 14 + int.from_bytes(frame[16:18], "big")
    start = int.from_bytes(frame[26:34], "big") + 6 + end - 34
    return ones_sum(frame[14:34]) == ones_sum(frame[34:end], start) == 0xFFFF


@cocotb.test()
async def segments_and_verdicts(dut: Any) -> None:
    """The device cuts what TCP sends in one piece, and vouches for what it receives."""
    wire, verdicts = Wire(), []
    world = World(dut, WorldSettings(seed=SEED, probes=[wire.probe]))
    await world.up()

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        if not outgoing and skb.buf[12:14] == b"\x08\0":
            verdicts.append(skb.ip_summed)

    world.server.core.taps.append(tap)
    await transfer(world, CLIENT)
    await transfer(world, SERVER)
    segments = [frame for _, frame in wire.out if frame[12:14] == b"\x08\0"]
    assert all(map(tcp_is_right, segments))
    assert max(map(len, segments)) == 1514
    assert verdicts and set(verdicts) == {CHECKSUM_UNNECESSARY}
    await down(world)
    stats = world.hw_stats
    assert stats["queue0_tx_frames"] * 3 < stats["tx_frames"] * 2, "frames of many segments"


@cocotb.test()
async def flows_over_queues(dut: Any) -> None:
    """Four queues on four CPUs: by the hash, which the packet keeps, and the table."""
    world = World(dut, WorldSettings(seed=SEED, queues=4, cpus=4))
    await world.up()
    rxfh = world.nic.ethtool.get_rxfh()
    toeplitz = Toeplitz(rxfh.key)
    seen: list[tuple[int, int]] = []

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        if not outgoing and skb.buf[23] == 17:
            hash_ = toeplitz.hash(bytes(skb.buf[26:38]))
            assert (skb.hash, skb.queue) == (hash_, rxfh.table[hash_ & 127])
            seen.append((skb.queue, world.server.kernel.cpu.index))

    world.server.core.taps.append(tap)

    def client(socket: Any) -> None:
        for port in range(5000, 5000 + FLOWS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", port))
                sock.sendto(b"x" * 50, (SERVER, 9))

    await world.run(world.client.process("client", client))
    await world.run_for(SECOND // 100)
    assert len(seen) == FLOWS
    assert {queue for queue, _ in seen} == {0, 1, 2, 3}
    assert all(queue == cpu for queue, cpu in seen)
    await down(world)


@cocotb.test()
async def settings_with_traffic(dut: Any) -> None:
    """Rings and channels change while TCP runs both ways; the queues of the RTL stop and start."""
    world = World(dut, WorldSettings(seed=SEED, queues=4, cpus=4))
    await world.up()
    answers: list[str] = []

    def admin() -> None:
        for command in ("-G eth0 rx 64 tx 32", "-L eth0 combined 2", "-L eth0 combined 4"):
            wait_event(world.server.kernel, WaitQueue(), lambda: False, timeout=60_000)
            answers.append(world.server.tool(f"ethtool {command}"))

    task = world.server.start(admin)
    await transfer(world, SERVER)
    await transfer(world, CLIENT)
    await world.run(task)
    assert answers == ["", "", ""]
    ring = world.nic.ethtool.get_ringparam()
    assert (ring.rx, ring.tx, world.nic.ethtool.get_channels().combined) == (64, 32, 4)
    await world.down()


@cocotb.test()
async def a_stop_in_a_pause(dut: Any) -> None:
    """What the peer's pause holds back in the device does not keep the queues from stopping."""
    world = World(dut, WorldSettings(seed=SEED, queues=2, cpus=2))
    await world.up()
    kernel = world.server.kernel
    xoff = EthernetHeader(PAUSE_GROUP, CLIENT_MAC, 0x8808).pack() + b"\0\1\xff\xff" + bytes(42)
    frame = EthernetHeader(CLIENT_MAC, SERVER_MAC, 0x88B5).pack() + bytes(1400)
    held: list[int] = []
    took: list[int] = []

    def admin() -> None:
        world.server.tool("ethtool -A eth0 rx on")
        world.softnic.port.send(xoff)
        wait_event(kernel, WaitQueue(), lambda: False, timeout=100_000)
        sent = world.nic.get_stats()["tx_frames"]
        for _ in range(100):
            skb = SkBuff(kernel, memoryview(frame))
            skb.dev = world.nic.dev
            world.server.core.queue_xmit(skb)
        wait_event(kernel, WaitQueue(), lambda: False, timeout=1_000_000)
        status = regs.queue_block(kernel.cpu.index) + regs.Q_TX_STATUS
        held.append(world.nic.get_stats()["tx_frames"] - sent)
        assert world.nic.registers.read32(status) & regs.RING_STATUS_ACTIVE
        begin = kernel.now
        world.server.tool("ethtool -L eth0 combined 1")
        took.append(kernel.now - begin)

    await world.run(world.server.start(admin))
    assert held[0] < 30 and took[0] < 1_000_000, (held, took)
    await world.run_for(SECOND // 100)
    await transfer(world, CLIENT)
    await world.down()  # the port was used beside the device that counts


@cocotb.test()
async def headers_apart(dut: Any) -> None:
    """Header split while TCP runs: the driver puts the parts together again."""
    world = World(dut, WorldSettings(seed=SEED))
    await world.up()
    await world.run(world.server.start(world.server.tool, "ethtool -G eth0 tcp-data-split on"))
    posted = world.nic.queues[0].rx.producer
    await transfer(world, SERVER)
    used = world.nic.queues[0].rx.producer - posted & 0xFFFF
    assert used > 1.8 * len(DATA) / 1448, "a buffer for the headers, one for the data"
    await down(world)


@cocotb.test()
async def jumbo_frames(dut: Any) -> None:
    wire = Wire()
    world = World(dut, WorldSettings(seed=SEED, mtu=9000, probes=[wire.probe]))
    await world.up()
    await transfer(world, SERVER)
    await transfer(world, CLIENT)
    assert max(len(frame) for _, frame in wire.into) == 9014
    assert max(len(frame) for _, frame in wire.out) == 9014
    await down(world)


@cocotb.test()
async def tags_beside_the_frame(dut: Any) -> None:
    wire, tags = Wire(), set()
    world = World(dut, WorldSettings(seed=SEED, probes=[wire.probe]))
    await world.up()
    ours = world.server.add_vlan(world.nic.dev, 5)
    theirs = world.client.add_vlan(world.softnic.dev, 5)
    await world.run(
        world.server.start(world.server.up, ours, "10.5.0.1/24"),
        world.client.start(world.client.up, theirs, "10.5.0.2/24"),
    )

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        if dev is world.nic.dev:
            tags.add(skb.vlan_tci)

    world.server.core.taps.append(tap)
    wire.out.clear()
    await transfer(world, "10.5.0.2")
    await transfer(world, "10.5.0.1")
    assert tags == {5}
    assert all(frame[12:16] == b"\x81\0\0\x05" for _, frame in wire.out)
    await world.run_for(SECOND // 100)  # the last FIN is acknowledged
    await world.run(
        world.server.start(world.server.down, ours), world.client.start(world.client.down, theirs)
    )
    await down(world)


@cocotb.test()
async def stamps_of_the_device(dut: Any) -> None:
    """Its clock is set to the kernel's time, and stamps follow the wire to a clock cycle or two.

    A clock cycle is a number of ns with 24 fractional bits, so it loses 3.7 ns a second.
    """
    wire = Wire()
    world = World(dut, WorldSettings(seed=SEED, probes=[wire.probe]))
    await world.up()
    stamps: list[int] = []
    sent: list[int] = []

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        if not outgoing and skb.buf[12:14] == b"\x88\xb5":
            stamps.append(skb.hwtstamp)

    world.server.core.taps.append(tap)
    test_frame = EthernetHeader(SERVER_MAC, CLIENT_MAC, 0x88B5).pack() + bytes(46)
    for wait in (1, 2, 3, 5, 1):
        await world.run_for(wait * SECOND)
        world.softnic.port.send(test_frame)

    def send() -> None:
        back = EthernetHeader(CLIENT_MAC, SERVER_MAC, 0x88B5).pack() + bytes(46)
        skb = SkBuff(world.server.kernel, memoryview(back))
        skb.dev, skb.tx_stamped = world.nic.dev, sent.append
        world.server.core.queue_xmit(skb)

    await world.run_for(SECOND)
    await world.run(world.server.start(send))
    await world.run_for(SECOND)
    starts = [start for start, frame in wire.into if frame[12:14] == b"\x88\xb5"]
    ends = [start for start, frame in wire.out if frame[12:14] == b"\x88\xb5"]
    loss = 1 - regs.CLOCK_INCREMENT_VALUE_RESET / 2**24 / (CYCLE_PS / 1000)
    off = [
        round(stamp - start + (start - starts[0]) * loss)
        for stamp, start in zip(stamps, starts, strict=True)
    ]
    assert len(off) == 5 and max(off) - min(off) <= 13
    assert -1000 < off[0] < 1000, off
    assert len(sent) == len(ends) == 1 and abs(sent[0] - ends[0] - off[0]) < 200
    await world.down()  # the port was used beside the device that counts


@pytest.mark.parametrize("sim", SIMS)
def test_offloads_under_the_whole_kernel(sim: str) -> None:
    simulate(bench_design(Queues=4), __name__, sim=sim, seed=SEED, timeout_seconds=300).check()
