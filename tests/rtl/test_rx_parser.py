"""rx_parser: hash, queue, tag, header length and checksum verdicts against the reference."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, NextTimeStep, ReadOnly
from conftest import SEED, SIMS
from rx_packets import Packets
from rx_reference import (
    ETH_IPV4,
    ETH_IPV6,
    MICROSOFT_KEY,
    TCP,
    UDP,
    Facts,
    Rss,
    facts_of,
    is_tagged,
    toeplitz,
)
from wire_side_common import beats, start_clock_and_reset

from pystack.dev.drivers.w2a_regs import HashType
from wire2app.simulator import Design, nic_sources, simulate

QUEUES = 5
# Microsoft, "Verifying the RSS hash calculation": destination, source, hash of addresses alone, and
# with TCP ports.
VECTORS = (
    ("161.142.100.80:1766", "66.9.149.187:2794", 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83:4739", "199.92.111.2:14230", 0xD718262A, 0xC626B0EA),
    ("12.22.207.184:38024", "24.19.198.95:12898", 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6:2217", "38.27.205.30:48228", 0x82989176, 0xAFC7327F),
    ("202.188.127.2:1303", "153.39.163.191:44251", 0x5D1809C5, 0x10E828A2),
    ("[3ffe:2501:200:3::1]:1766", "[3ffe:2501:200:1fff::7]:2794", 0x2CC18CD5, 0x40207D3D),
    ("[ff02::1]:4739", "[3ffe:501:8::260:97ff:fe40:efab]:14230", 0x0F0C461C, 0xDDE51BBF),
    (
        "[fe80::200:f8ff:fe21:67cf]:38024",
        "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
        0x4B61E985,
        0x02D1FEEF,
    ),
)


def table(index: int) -> int:
    """An indirection table, some of it naming queues that do not exist."""
    return (index * 7 + index // 16) % 9


class Parser:
    """Sends frames and collects what is said of each."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.found: list[list[Any]] = []
        self.verdicts: list[tuple[bool, bool, bool]] = []
        self.now = self.sent = 0
        self.begun: list[int] = []  # when frames began
        self.stamps: list[int] = []  # what is said of that

    async def reset(self, rss: Rss, default: int = 0) -> None:
        await start_clock_and_reset(
            self.dut,
            cfg_default_queue=default,
            cfg_rss_ipv4=rss.ipv4 | rss.ipv4_tcp << 1 | rss.ipv4_udp << 2,
            cfg_rss_ipv6=rss.ipv6 | rss.ipv6_tcp << 1 | rss.ipv6_udp << 2,
            cfg_rss_key=int.from_bytes(rss.key, "little"),
            table_queue=0,
            now=0,
            s_axis_tdata=0,
            s_axis_tkeep=0,
            s_axis_tvalid=0,
            s_axis_tlast=0,
            s_axis_stripped=0,
        )

    async def clock(self) -> None:
        dut = self.dut
        await FallingEdge(dut.clk)
        assert dut.busy.value == 1 or self.sent == min(len(self.found), len(self.verdicts))
        self.now += 3
        dut.now.value = self.now
        dut.s_axis_tvalid.value = 0
        dut.table_queue.value = table(int(dut.table_index.value)) if self._hashed() else 15
        if dut.steer_valid.value == 1:
            self.stamps.append(int(dut.steer_stamp.value))
            stripped = int(dut.steer_stripped.value)
            self.found.append(
                [
                    int(dut.steer_tci.value) if stripped else None,
                    int(dut.steer_hash_type.value),
                    int(dut.steer_hash.value),
                    int(dut.steer_header_len.value),
                    int(dut.steer_queue.value),
                ]
            )
        if dut.verdict_valid.value == 1:
            flags = (dut.verdict_ip_ok, dut.verdict_l4_ok, dut.verdict_l4_bad)
            self.verdicts.append(tuple(bool(int(flag.value)) for flag in flags))  # type: ignore[arg-type]

    def _hashed(self) -> bool:
        return bool(self.dut.table_index.value.is_resolvable)

    async def send(self, frame: bytes, gap: int = 2) -> None:
        """`gap`: clocks behind it; 5 to 7 bytes on the wire may leave one (802.3: 5 or more)."""
        dut = self.dut
        for number, beat in enumerate(beats(frame)):
            await self.clock()
            self.begun += [self.now] if number == 0 else []
            dut.s_axis_tvalid.value = 1
            dut.s_axis_tdata.value = beat.data
            dut.s_axis_tkeep.value = beat.keep
            dut.s_axis_tlast.value = int(beat.last)
            dut.s_axis_stripped.value = int(number > 2 and is_tagged(frame))
        await self.clock()
        dut.s_axis_stripped.value = 0
        self.sent += 1
        for _ in range(gap - 1):
            await self.clock()

    async def drain(self, frames: Sequence[bytes]) -> list[tuple[Facts, int]]:
        """What was said of the frames, and their queues."""
        count = len(frames)
        for _ in range(12):
            await self.clock()
        assert self.dut.busy.value == 0
        assert (len(self.found), len(self.verdicts)) == (count, count)
        assert self.stamps == self.begun
        result = []
        for frame, found, verdict in zip(frames, self.found, self.verdicts, strict=True):
            tci, kind, value, header, queue = found
            if header >= len(frame):  # the packet says so, but the frame ends before
                header = 0
            result.append((Facts(tci, HashType(kind), value, header, *verdict), queue))
        return result


def expected(frame: bytes, rss: Rss, default: int) -> tuple[Facts, int]:
    facts = facts_of(frame, rss)
    queue = table(facts.hash & 127) if facts.hash_type else default
    return facts, min(queue, QUEUES - 1)


def split(text: str) -> tuple[bytes, bytes]:
    """(address, port) in network order."""
    host, _, port = text.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")).packed, int(port).to_bytes(2, "big")


def vector_frame(destination: str, source: str, protocol: int) -> bytes:
    (to, to_port), (sender, sender_port) = split(destination), split(source)
    l4 = sender_port + to_port + bytes(16)
    ethernet = bytes(12) + (ETH_IPV4 if len(to) == 4 else ETH_IPV6).to_bytes(2, "big")
    if len(to) == 4:
        ip = bytes.fromhex("450000280000000040") + bytes([protocol, 0, 0]) + sender + to
    else:
        ip = bytes.fromhex("600000000014") + bytes([protocol, 64]) + sender + to
    return (ethernet + ip + l4).ljust(60, b"\0")


@pytest.mark.parametrize(("destination", "source", "addresses", "ports"), VECTORS)
def test_reference_hash_matches_microsofts_vectors(
    destination: str, source: str, addresses: int, ports: int
) -> None:
    (to, to_port), (sender, sender_port) = split(destination), split(source)
    assert toeplitz(MICROSOFT_KEY, sender + to) == addresses
    assert toeplitz(MICROSOFT_KEY, sender + to + sender_port + to_port) == ports


@cocotb.test()
async def published_hash_vectors(dut: Any) -> None:
    stage = Parser(dut)
    await stage.reset(Rss(ipv4_udp=False, ipv6_udp=False))
    due, frames = [], []
    for destination, source, addresses, ports in VECTORS:
        for protocol in (TCP, UDP):
            frames.append(vector_frame(destination, source, protocol))
            await stage.send(frames[-1])
            due.append(
                (HashType.TCP, ports) if protocol == TCP else (HashType.ADDRESSES, addresses)
            )
    found = await stage.drain(frames)
    assert [(facts.hash_type, facts.hash) for facts, _ in found] == due


@cocotb.test()
async def random_frames_are_judged_as_the_reference_does(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    for bits in (0b111111, 0b000000, 0b001001, 0b110110, rng.getrandbits(6)):
        flags = [bool(bits >> bit & 1) for bit in range(6)]
        rss, default = Rss(rng.randbytes(40), *flags), rng.randrange(8)
        stage, packets = Parser(dut), Packets(rng)
        await stage.reset(rss, default)
        frames = [packets.frame() for _ in range(160)]
        for frame in frames:
            await stage.send(frame, gap=rng.choice((1, 1, 2, 2, 3, 9)))
        for number, (got, frame) in enumerate(zip(await stage.drain(frames), frames, strict=True)):
            due = expected(frame, rss, default)
            assert got == due, f"frame {number} {frame.hex()}: {got}, not {due}"


@cocotb.test()
async def every_length_of_frame_is_judged(dut: Any) -> None:
    """Also of those that end before the packet does, and of those without IP."""
    rng = random.Random(cocotb.RANDOM_SEED)
    stage, rss = Parser(dut), Rss()
    await stage.reset(rss)
    whole = next(
        frame
        for frame in iter(lambda: Packets(rng).frame(), b"")
        if facts_of(frame, rss).l4_ok and len(frame) > 100
    )
    frames = [whole[:length] for length in range(60, len(whole))]
    frames += [whole[:12] + b"\x88\xb5" + whole[14:length] for length in range(60, 70)]
    for frame in frames:
        await stage.send(frame)
    for got, frame in zip(await stage.drain(frames), frames, strict=True):
        assert got == expected(frame, rss, 0), frame.hex()


@cocotb.test()
async def what_was_left_of_an_extension_header_is_not_the_next_frames(dut: Any) -> None:
    """A frame ends inside one, with so and so many words of it to come; behind it comes IPv4."""
    stage, rss = Parser(dut), Rss()
    await stage.reset(rss)
    ethernet = bytes(12) + ETH_IPV6.to_bytes(2, "big")
    ipv6 = bytes.fromhex("6000000000403c40") + bytes(range(32))  # destination options follow
    ipv4 = vector_frame(*VECTORS[0][:2], TCP)
    frames = []
    for words in range(24):
        frames += [ethernet + ipv6 + bytes([TCP, words]) + bytes(14), ipv4]
    for frame in frames:
        await stage.send(frame)
    for got, frame in zip(await stage.drain(frames), frames, strict=True):
        assert got == expected(frame, rss, 0), frame.hex()


@cocotb.test()
async def frames_of_a_few_bytes_get_a_value_and_a_verdict_too(dut: Any) -> None:
    """Nobody keeps them, but each frame has to have one of both."""
    for length in (*range(1, 26), 40):
        stage = Parser(dut)
        await stage.reset(Rss())
        for _ in range(3):
            await stage.send(bytes(length))
        for _ in range(12):
            await stage.clock()
        assert (len(stage.found), len(stage.verdicts)) == (3, 3), length
        assert dut.busy.value == 0, length


@cocotb.test()
async def a_reset_of_one_clock_ends_all_that_was_under_way(dut: Any) -> None:
    stage, frame = Parser(dut), vector_frame(*VECTORS[0][:2], TCP)
    await stage.reset(Rss())
    for clocks in range(1, 24):
        stage = Parser(dut)
        sending = cocotb.start_soon(stage.send(frame, gap=12))
        for _ in range(clocks):
            await FallingEdge(dut.clk)
        sending.cancel()
        await ReadOnly()
        await NextTimeStep()
        dut.rst.value = 1
        await FallingEdge(dut.clk)
        dut.rst.value = dut.s_axis_tvalid.value = 0
        outputs = (dut.busy, dut.steer_valid, dut.verdict_valid)
        assert [int(output.value) for output in outputs] == [0, 0, 0], clocks
        stage = Parser(dut)
        await stage.send(frame)
        assert await stage.drain([frame]) == [expected(frame, Rss(), 0)], clocks


@pytest.mark.parametrize("sim", SIMS)
def test_rx_parser(sim: str) -> None:
    design = Design("rx_parser", nic_sources(), {"Queues": QUEUES})
    simulate(design, __name__, sim=sim, seed=SEED).check()
