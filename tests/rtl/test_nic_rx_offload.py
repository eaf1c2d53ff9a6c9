"""Receive offloads through the whole NIC: every completion of every frame against the reference."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from nic_harness import OWN, PEER, SIMS, Nic, nic_test, run_nic_tests
from nic_rx_model import Config, Rings, exchange, random_traffic, refill, restart, set_up
from rx_packets import Packets
from rx_reference import FAR, Rss, facts_of

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from tb.settings import BusSettings, Resp, Stalls


def some_config(rng: random.Random, queues: int, **flags: bool) -> Config:
    rss = Rss(rng.randbytes(40), *(rng.random() < 0.7 for _ in range(6)))
    return Config(rss, tuple(rng.randrange(queues + 1) for _ in range(128)), **flags)


@nic_test("queues")
async def random_packets_are_hashed_steered_and_judged(dut: Any) -> None:
    nic = Nic(dut, queues=3)
    await nic.start()
    for strip, split in ((False, False), (True, False), (False, True), (True, True)):
        config = some_config(nic.rng, 3, vlan_strip=strip, header_split=split)
        await random_traffic(nic, config, (1518, 1518, 2000), 3)
        await restart(nic)
    await nic.finish()


async def over_several_buffers(dut: Any) -> None:
    nic = Nic(dut, entries=128, settings=BusSettings(Stalls.everywhere(0.2)))
    await nic.start(max_frame=9018)
    for split in (False, True):
        config = some_config(nic.rng, 1, vlan_strip=split, header_split=split)
        rooms = (1, 5, 16, 40, 63, 64, 65, 96, 128, 300, 512)
        await random_traffic(nic, config, rooms, 5)
        rings = Rings(config, [deque()])
        await restart(nic)
        for length in (9018, 9017, 4096, 4095):
            await refill(nic, rings, (256, 300, 511))
            await exchange(nic, rings, [nic.frame(length), nic.frame(60)])
        await restart(nic)
    await nic.finish()


@nic_test()
async def frames_fill_as_many_buffers_as_they_need(dut: Any) -> None:
    await over_several_buffers(dut)


@nic_test("narrow")
async def frames_fill_as_many_buffers_as_they_need_at_64_bits(dut: Any) -> None:
    await over_several_buffers(dut)


@nic_test("wide")
async def frames_fill_as_many_buffers_as_they_need_at_256_bits(dut: Any) -> None:
    await over_several_buffers(dut)


@nic_test()
async def a_frame_that_runs_out_of_buffers_is_cut_and_counted_once(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    config = Config()
    await set_up(nic, config)
    for rooms in ((64, 64, 64), (100, 1), (1, 2, 3, 4, 5), (1000, 17)):
        rings = Rings(config, [deque(rooms)])
        for room in rooms:
            nic.rx.post(room, 3)
        await nic.rx.doorbell()
        await exchange(nic, rings, [nic.frame(1200)])
        assert nic.rx.done[-1].status == CplStatus.TRUNCATED
        assert [done.status for done in nic.rx.done[-len(rooms) : -1]] == [0] * (len(rooms) - 1)
    assert await nic.queue_counters() == {"rx_truncated": 4}
    await nic.receive([nic.frame(60), nic.frame(1518)])
    await nic.finish()


@nic_test()
async def a_bus_error_in_one_buffer_is_told_to_the_end_of_the_frame(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start(run_on=True)
    bad = [nic.rx.post(64) for _ in range(5)][1]
    nic.bench.host.fail("write", bad + 10, bad + 11, Resp.DECERR)
    await nic.rx.doorbell()
    frame = nic.frame(300)
    nic.send(frame)
    await nic.until(lambda: len(nic.rx.done) == 5, "completions")
    assert [done.status for done in nic.rx.done] == [0] + [CplStatus.DATA_DECERR] * 4
    assert [done.flags for done in nic.rx.done] == [0] * 4 + [regs.RX_CPL_LAST]
    assert nic.rx.done[0].data == frame[:64]
    assert await nic.queue_counters() == {"rx_bus_error": 1}
    await nic.receive([nic.frame(100)])
    await nic.finish()


@nic_test()
async def the_tag_is_stripped_from_frames_of_every_length(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    config = Config(vlan_strip=True)
    await set_up(nic, config)
    rings = Rings(config, [deque()])
    frames = [
        OWN + PEER + tag + nic.rng.randbytes(length - 12 - len(tag))
        for length in range(60, 90)
        for tag in (b"\x81\x00\x12\x34", b"\x88\xa8\xff\xff\x81\x00\0\1", b"\x81\x01\0\0")
    ]
    for start in range(0, len(frames), 30):
        await refill(nic, rings, (1518,))
        await exchange(nic, rings, frames[start : start + 30])
    assert (await nic.counters())["rx_bytes"] == sum(len(done.data) for done in nic.rx.done)
    await nic.finish()


@nic_test()
async def headers_go_alone_into_the_first_buffer(dut: Any) -> None:
    """Only with payload behind them, and if they fit."""
    nic = Nic(dut)
    await nic.start()
    config = Config(header_split=True)
    await set_up(nic, config)
    rings = Rings(config, [deque()])
    packets = Packets(nic.rng, OWN, PEER)
    frames = [
        f for f in (packets.frame() for _ in range(400)) if facts_of(f, config.rss).header_len
    ]
    for frame in frames[:40]:
        header = facts_of(frame, config.rss).header_len
        assert header < FAR + 60
        for room in (header - 1, header, 1518):
            rooms = (room, 1518)
            for length in rooms:
                nic.rx.post(length, nic.rng.randrange(16))
            rings.posted[0].extend(rooms)
            await nic.rx.doorbell()
            await exchange(nic, rings, [frame])
            first = nic.rx.done[-2]
            assert bool(first.flags & regs.RX_CPL_HEADER) == (room >= header)
    await nic.finish()


@nic_test("plain")
async def a_build_without_offloads_says_so_and_receives(dut: Any) -> None:
    nic = Nic(dut, queues=2)
    await nic.start()
    features = await nic.bench.read32(regs.FEATURES)
    absent = regs.FEATURES_RX_OFFLOAD | regs.FEATURES_RX_FILTERS | regs.FEATURES_PAUSE
    assert not features & absent and features & regs.FEATURES_CLOCK
    await set_up(nic, Config(vlan_strip=True, header_split=True))
    assert await nic.bench.read32(regs.RX_OFFLOAD) == 0
    packets = Packets(nic.rng, OWN, PEER)
    for queue in (0, 1):
        await nic.bench.write32(regs.RX_STEERING, queue)
        await nic.receive([packets.frame()[:1518] for _ in range(40)], queue=queue)
        for room in (64, 64, 64):
            nic.queues[queue].rx.post(room)
        await nic.queues[queue].rx.doorbell()
        frame = nic.frame(150)
        nic.send(frame)
        due = len(nic.queues[queue].rx.done) + 3
        await nic.until(lambda: len(nic.queues[queue].rx.done) == due, "buffers")  # noqa: B023
        pieces = [done.data for done in nic.queues[queue].rx.done[-3:]]
        assert pieces == [frame[:64], frame[64:128], frame[128:]]
    await nic.finish()


@pytest.mark.parametrize("sim", SIMS)
def test_nic_rx_offload(sim: str) -> None:
    run_nic_tests(__name__, sim)


@pytest.mark.parametrize("build", ["queues", "narrow", "wide"])
def test_nic_rx_offload_builds(build: str) -> None:
    run_nic_tests(__name__, "verilator", build)


@pytest.mark.parametrize("sim", SIMS)
def test_nic_rx_without_offloads(sim: str) -> None:
    run_nic_tests(__name__, sim, "plain")


@pytest.mark.parametrize("sim", SIMS)
def test_nic_rx_offload_on_pins(sim: str) -> None:
    run_nic_tests(__name__, sim, bus="pins")
