"""What the receive offloads must do with frames: buffer by buffer, from the parser's reference.

`exchange` sends frames to the NIC and compares every completion with the model of its rings.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from nic_harness import OWN, PEER, Nic
from nic_harness_rings import Done
from rx_packets import Packets
from rx_reference import Facts, Rss, facts_of

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus

TAG = 4


@dataclass(frozen=True)
class Config:
    """Receive as it is set up."""

    rss: Rss = field(default_factory=Rss)
    table: tuple[int, ...] = (0,) * 128
    vlan_strip: bool = False
    header_split: bool = False


@dataclass(frozen=True)
class Due:
    """What a completion must say; the time stamp apart."""

    status: int
    flags: int
    hash: int
    vlan_tci: int
    data: bytes


@dataclass
class Rings:
    """The buffers that each queue has, in order, and what each must say of them."""

    config: Config
    posted: list[deque[int]]
    due: list[list[Due]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.due = [[] for _ in self.posted]

    def queue_of(self, facts: Facts) -> int:
        queue = self.config.table[facts.hash & 127] if facts.hash_type else 0
        return min(queue, len(self.posted) - 1)

    def receive(self, frame: bytes) -> None:
        """`frame` takes as many buffers as it needs, or as there are."""
        facts = facts_of(frame, self.config.rss)
        queue = self.queue_of(facts)
        flags = facts.hash_type << regs.RX_CPL_HASH_TYPE_SHIFT
        flags |= regs.RX_CPL_IP_CSUM_OK * facts.ip_ok | regs.RX_CPL_L4_CSUM_OK * facts.l4_ok
        flags |= regs.RX_CPL_L4_CSUM_BAD * facts.l4_bad
        header, tci = facts.header_len, 0
        if self.config.vlan_strip and facts.tci is not None:
            flags |= regs.RX_CPL_VLAN_STRIPPED
            frame, tci = frame[:12] + frame[12 + TAG :], facts.tci
            header -= TAG if header else 0
        split = header if self.config.header_split else 0
        while frame:
            room, more = self.posted[queue].popleft(), 0
            if 0 < split <= room and split < len(frame):
                room, more = split, regs.RX_CPL_HEADER
            data, frame, split = frame[:room], frame[room:], 0
            status = CplStatus.OK
            if not frame or not self.posted[queue]:
                more |= regs.RX_CPL_LAST
                status = CplStatus.TRUNCATED if frame else CplStatus.OK
                frame = b""
            self.due[queue].append(Due(status, flags | more, facts.hash, tci, data))

    def takes(self, frame: bytes, rooms: int) -> bool:
        """There are buffers for `rooms` more frames such as this."""
        queue = self.queue_of(facts_of(frame, self.config.rss))
        return sum(list(self.posted[queue])[: -rooms - 1]) > rooms + len(frame)


async def set_up(nic: Nic, config: Config) -> None:
    write = nic.bench.write32
    for word in range(regs.RSS_KEY_COUNT):
        value = int.from_bytes(config.rss.key[4 * word : 4 * word + 4], "little")
        await write(regs.RSS_KEY + 4 * word, value)
    for word in range(regs.RSS_TABLE_COUNT):
        entries = bytes(config.table[4 * word : 4 * word + 4])
        await write(regs.RSS_TABLE + 4 * word, int.from_bytes(entries, "little"))
    await write(regs.RSS_CTRL, config.rss.control)
    flags = regs.RX_OFFLOAD_VLAN_STRIP * config.vlan_strip
    await write(regs.RX_OFFLOAD, flags | regs.RX_OFFLOAD_HEADER_SPLIT * config.header_split)


def said(done: Done) -> Due:
    return Due(done.status, done.flags, done.hash, done.vlan_tci, done.data)


async def exchange(nic: Nic, rings: Rings, frames: list[bytes]) -> None:
    """Send `frames`; every completion is as the model says."""
    before = [len(queue.rx.done) for queue in nic.queues]
    for due in rings.due:
        due.clear()
    for frame in frames:
        rings.receive(frame)

    def all_here() -> bool:
        return all(
            len(queue.rx.done) - start >= len(due)
            for queue, start, due in zip(nic.queues, before, rings.due, strict=True)
        )

    nic.send(*frames)
    await nic.until(all_here, f"completions of {len(frames)} frames", us=2000)
    for queue, start, due in zip(nic.queues, before, rings.due, strict=True):
        for number, done in enumerate(queue.rx.done[start:]):
            assert number < len(due), f"{queue.rx.name}: {done} is one too many"
            assert said(done) == due[number], f"{queue.rx.name} completion {number}"


async def refill(nic: Nic, rings: Rings, rooms: tuple[int, ...]) -> None:
    for queue, posted in zip(nic.queues, rings.posted, strict=True):
        while queue.rx.free:
            room = nic.rng.choice(rooms)
            queue.rx.post(room, nic.rng.randrange(-70, 70))
            posted.append(room)
        await queue.rx.doorbell()


async def random_traffic(nic: Nic, config: Config, rooms: tuple[int, ...], rounds: int) -> None:
    """Rounds of random frames into buffers of random lengths out of `rooms`."""
    await set_up(nic, config)
    rings = Rings(config, [deque() for _ in nic.queues])
    packets = Packets(nic.rng, OWN, PEER, max_payload=700)
    for _ in range(rounds):
        await refill(nic, rings, rooms)
        plan = Rings(config, [deque(posted) for posted in rings.posted])
        frames = []
        while len(frames) < 30:
            frame = packets.frame()[:1518]
            if not plan.takes(frame, 12):
                break
            plan.receive(frame)
            frames.append(frame)
        await exchange(nic, rings, frames)


async def restart(nic: Nic) -> None:
    """All receive rings empty again."""
    for queue in nic.queues:
        await queue.rx.disable()
        queue.rx.forget()
        await queue.rx.start()
