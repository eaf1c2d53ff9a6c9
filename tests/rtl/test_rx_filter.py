"""rx_filter: which destinations pass, and that everything else goes through untouched."""

from __future__ import annotations

import itertools
import random
import zlib
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from conftest import SEED, SIMS
from wire_side_common import (
    BAD_FCS,
    CODED_ERROR,
    FILTERED,
    OK,
    OVERSIZE,
    PAUSE,
    RUNT,
    Beat,
    beat_bytes,
    beats,
    start_clock_and_reset,
)

from wire2app.simulator import Design, nic_sources, simulate

OWN = bytes.fromhex("02a1b2c3d4e5")
OTHER_STATIONS = [bytes.fromhex(text) for text in ("02a1b2c3d4e4", "00a1b2c3d4e5", "0aa1b2c3d4e5")]
BROADCAST = b"\xff" * 6
GROUPS = [bytes.fromhex(text) for text in ("01005e000001", "333300000001", "ffffffffff7f")]


def accepts(destination: bytes, promiscuous: bool, all_multicast: bool) -> bool:
    """The rule, IEEE 802.3 3.2.3: bit 0 of the first byte marks a group address."""
    group = bool(destination[0] & 1)
    return promiscuous or destination in (OWN, BROADCAST) or (all_multicast and group)


class Filter:
    """Sends beats and collects (bytes, verdict) per frame."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.frames: list[tuple[bytes, int]] = []
        self.partial = bytearray()

    async def reset(self) -> None:
        await start_clock_and_reset(
            self.dut,
            cfg_mac=int.from_bytes(OWN, "little"),
            cfg_promiscuous=0,
            cfg_all_multicast=0,
            cfg_filter=0,
            cfg_filter_valid=0,
            cfg_multicast_hash=0,
            s_axis_pause=0,
            s_axis_tdata=0,
            s_axis_tkeep=0,
            s_axis_tvalid=0,
            s_axis_tlast=0,
            s_axis_tuser=0,
        )

    async def clock(self, beat: Beat | None) -> None:
        dut = self.dut
        dut.s_axis_tvalid.value = int(beat is not None)
        if beat is not None:
            dut.s_axis_tdata.value = beat.data
            dut.s_axis_tkeep.value = beat.keep
            dut.s_axis_tlast.value = int(beat.last)
            dut.s_axis_tuser.value = beat.user
        await RisingEdge(dut.clk)
        if dut.m_axis_tvalid.value == 1:
            assert dut.busy.value == 1
            self.partial += beat_bytes(int(dut.m_axis_tdata.value), int(dut.m_axis_tkeep.value))
            if dut.m_axis_tlast.value == 1:
                self.frames.append((bytes(self.partial), int(dut.m_axis_tuser.value)))
                self.partial.clear()

    async def frame(self, data: bytes, verdict: int, pauses: random.Random | None = None) -> None:
        for beat in beats(data, user=verdict) or [Beat(0, 0, True, verdict)]:
            while pauses and pauses.random() < 0.3:
                await self.clock(None)
            await self.clock(beat)

    async def drain(self) -> list[tuple[bytes, int]]:
        for _ in range(3):
            await self.clock(None)
        assert self.dut.busy.value == 0
        return self.frames


@cocotb.test()
async def own_broadcast_and_chosen_groups_pass(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    stage, expected = Filter(dut), []
    await stage.reset()
    for promiscuous, all_multicast in itertools.product((False, True), repeat=2):
        await stage.drain()
        dut.cfg_promiscuous.value = int(promiscuous)
        dut.cfg_all_multicast.value = int(all_multicast)
        for destination in (OWN, BROADCAST, *OTHER_STATIONS, *GROUPS, OWN[::-1]):
            data = destination + rng.randbytes(rng.randrange(54, 80))
            await stage.frame(data, OK)
            passes = accepts(destination, promiscuous, all_multicast)
            expected.append((data, OK if passes else FILTERED))
    assert await stage.drain() == expected


@cocotb.test()
async def exact_filters_pass_their_address_and_no_other(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    stage, expected = Filter(dut), []
    await stage.reset()
    addresses = [rng.randbytes(6) for _ in range(8)]
    packed = sum(int.from_bytes(a, "little") << 48 * n for n, a in enumerate(addresses))
    dut.cfg_filter.value = packed
    for valid in (0, 0xFF, 0x01, 0x80, 0x55):
        await stage.drain()
        dut.cfg_filter_valid.value = valid
        for number, address in enumerate(addresses):
            flip = 1 << rng.randrange(48)
            near = (int.from_bytes(address, "little") ^ flip).to_bytes(6, "little")
            for destination in (address, near):
                data = destination + rng.randbytes(54)
                await stage.frame(data, OK)
                passes = destination == address and valid >> number & 1
                expected.append((data, OK if passes else FILTERED))
    assert await stage.drain() == expected


def multicast_hash(address: bytes) -> int:
    """Linux: ether_crc(ETH_ALEN, address) >> 26."""
    register = zlib.crc32(address) ^ 0xFFFFFFFF
    return int(f"{register:032b}"[::-1][:6], 2)


@cocotb.test()
async def the_multicast_hash_passes_groups_of_its_bits(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    stage, expected = Filter(dut), []
    await stage.reset()
    for _ in range(8):
        await stage.drain()
        table = rng.getrandbits(64)
        dut.cfg_multicast_hash.value = table
        for _ in range(40):
            data = rng.randbytes(60)
            await stage.frame(data, OK)
            passes = data[0] & 1 and table >> multicast_hash(data[:6]) & 1
            expected.append((data, OK if passes else FILTERED))
    assert await stage.drain() == expected
    assert len({verdict for _, verdict in expected}) == 2


@cocotb.test()
async def a_good_pause_frame_is_none_of_ours(dut: Any) -> None:
    stage = Filter(dut)
    await stage.reset()
    dut.cfg_promiscuous.value = 1
    dut.s_axis_pause.value = 1
    for verdict in (OK, BAD_FCS):
        await stage.frame(OWN + bytes(54), verdict)
    assert [verdict for _, verdict in await stage.drain()] == [PAUSE, BAD_FCS]


@cocotb.test()
async def every_bit_of_the_address_counts(dut: Any) -> None:
    stage, expected = Filter(dut), []
    await stage.reset()
    for bit in range(48):
        near = (int.from_bytes(OWN, "little") ^ 1 << bit).to_bytes(6, "little")
        wide = (int.from_bytes(BROADCAST, "little") ^ 1 << bit).to_bytes(6, "little")
        for destination in (near, wide, OWN):
            data = destination + bytes(54)
            await stage.frame(data, OK)
            expected.append((data, OK if destination == OWN else FILTERED))
    assert await stage.drain() == expected


@cocotb.test()
async def bad_verdicts_stay_and_frames_do_not_mix(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    stage, expected = Filter(dut), []
    await stage.reset()
    for _ in range(800):
        destination = rng.choice((OWN, OTHER_STATIONS[0]))
        verdict = rng.choice((OK, OK, BAD_FCS, RUNT, OVERSIZE, CODED_ERROR))
        data = destination + rng.randbytes(rng.randrange(54, 90))
        if verdict in (RUNT, CODED_ERROR):
            data = data[: rng.randrange(len(data))]
        await stage.frame(data, verdict, pauses=rng)
        passes = verdict != OK or destination == OWN
        expected.append((data, verdict if passes else FILTERED))
    assert await stage.drain() == expected


@pytest.mark.parametrize("sim", SIMS)
def test_rx_filter(sim: str) -> None:
    simulate(Design("rx_filter", nic_sources()), __name__, sim=sim, seed=SEED).check()
