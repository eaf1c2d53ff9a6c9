"""Traffic both ways while every channel of both buses is held back at random."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from nic_harness import BUSES, SIMS, Nic, nic_test, run_nic_tests

from tb.settings import BusSettings, Stalls

BOTH = 60  # frames each way


async def mixed_traffic(dut: Any, settings: BusSettings, count: int = BOTH) -> None:
    """Frames of all sizes at all alignments both ways at once; the data is exact."""
    nic = Nic(dut, entries=8, settings=settings)
    await nic.start()
    lengths = [nic.rng.choice((60, 64, 65, 100, 256, 700, 1514)) for _ in range(count)]
    frames = [nic.frame(length) for length in lengths]
    positions = [nic.rng.randint(-length, 16) for length in lengths]
    receiving = cocotb.start_soon(nic.receive(frames, positions))
    await nic.transmit(frames[::-1], positions[::-1])
    await receiving
    assert await nic.queue_counters() == {"rx_frames": count, "tx_frames": count}
    await nic.finish()


@nic_test()
async def every_channel_stalls_now_and_then(dut: Any) -> None:
    await mixed_traffic(dut, BusSettings(Stalls.everywhere(0.1)))


@nic_test()
async def every_channel_stalls_half_the_time(dut: Any) -> None:
    await mixed_traffic(dut, BusSettings(Stalls.everywhere(0.5), range(1, 60), range(1, 60)))


@nic_test()
async def every_channel_stalls_nearly_always(dut: Any) -> None:
    await mixed_traffic(dut, BusSettings(Stalls.everywhere(0.85), range(1, 200), (1,)), BOTH // 3)


@nic_test()
async def each_channel_stalls_alone(dut: Any) -> None:
    for channel in ("aw", "w", "b", "ar", "r", "axil"):
        await mixed_traffic(dut, BusSettings(Stalls(**{channel: 0.7})), BOTH // 4)


@nic_test()
async def latencies_are_short_and_long(dut: Any) -> None:
    await mixed_traffic(dut, BusSettings(read_latency=(1,), write_latency=(1,)))
    await mixed_traffic(dut, BusSettings(read_latency=(400,), write_latency=(1,)), BOTH // 4)
    await mixed_traffic(dut, BusSettings(read_latency=(1,), write_latency=(400,)), BOTH // 4)


@nic_test()
async def answers_of_different_ids_overtake_each_other(dut: Any) -> None:
    settings = BusSettings(Stalls.everywhere(0.2), range(1, 150), range(1, 150), reorder=True)
    await mixed_traffic(dut, settings)


@nic_test("narrow")
async def a_narrow_bus_stalls(dut: Any) -> None:
    await mixed_traffic(dut, BusSettings(Stalls.everywhere(0.4), range(1, 60), range(1, 60)))


@nic_test("wide")
async def a_wide_bus_stalls(dut: Any) -> None:
    await mixed_traffic(dut, BusSettings(Stalls.everywhere(0.4), range(1, 60), range(1, 60)))


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("build", ("default", "narrow", "wide"))
@pytest.mark.parametrize("bus", BUSES)
def test_nic_stalls(sim: str, build: str, bus: str) -> None:
    run_nic_tests(__name__, sim, build, bus)
