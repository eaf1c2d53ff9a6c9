"""The NIC keeps the wire busy in both directions at once, and loses nothing.

Exact clock cycles of a deterministic simulation, so the limits are no matter of the machine's
speed.  A 64-bit bus at the clock of the wire carries 8 bytes a cycle, as the wire does with
preamble, FCS and gap; descriptors and completions of both directions need 4 beats a frame on each
channel and the wire leaves 3.  So there each direction has line rate alone, but not both at once:
then nothing may be lost uncounted, and all that is to be sent is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import SIMS

from wire2app.simulator import BUSES, Design, bench_design, simulate

SEED = 1
SAMPLE = [60, 61, 64, 67, 68, 75, 128, 129, 250, 511, 512, 513, 1024, 1514, 4095, 9018]
SHORTEST = [60] * 400
EVERY = list(range(60, 9019))
QUICK = [60] * 60 + SAMPLE[:-2]
SLACK = 12  # cycles a whole run may take longer: the wire's gap is 12 bytes on average only


def run_linerate(
    design: Design,
    lengths: list[int],
    folder: Path,
    directions: str = "both",
    sim: str = "verilator",
) -> dict[str, Any]:
    job, out = folder / "job.json", folder / "out.json"
    settings = {
        "out": str(out),
        "lengths": lengths,
        "queues": design.parameters.get("Queues", 1),
        "latency": 16,
        "directions": directions,
    }
    job.write_text(json.dumps(settings))
    simulate(design, "tb.jobs.linerate_job", sim=sim, seed=SEED, env={"W2A_JOB": str(job)}).check()
    result: dict[str, Any] = json.loads(out.read_text())
    print(
        f"{design.parameters}, {directions}, {len(lengths)} frames of {min(lengths)} to "
        f"{max(lengths)} bytes: {result['rx_drops']} dropped, {result['tx_cycles']} cycles to "
        f"send, {result['line_cycles']} on the wire"
    )
    return result


def check_receive(result: dict[str, Any], count: int) -> None:
    assert (result["rx_frames"], result["rx_drops"]) == (count, 0)


def check_transmit(result: dict[str, Any], count: int) -> None:
    assert result["tx_frames"] == count
    assert result["tx_cycles"] <= result["line_cycles"] + SLACK, f"waits: {result['tx_pauses']}"


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("sim", SIMS)
def test_line_rate_both_ways_for_a_short_while(sim: str, bus: str, tmp_path: Path) -> None:
    result = run_linerate(bench_design(bus), QUICK, tmp_path, sim=sim)
    check_receive(result, len(QUICK))
    check_transmit(result, len(QUICK))


def test_short_frames_at_line_rate_leave_time_for_long_ones(tmp_path: Path) -> None:
    """Store and forward: the longest is all in the buffer before the wire would have to wait."""
    lengths = SHORTEST + 4 * SAMPLE + SAMPLE[::-1]
    result = run_linerate(bench_design(), lengths, tmp_path)
    check_receive(result, len(lengths))
    check_transmit(result, len(lengths))


@pytest.mark.regress
@pytest.mark.parametrize("width,queues", [(128, 4), (128, 16), (256, 1), (512, 4), (512, 16)])
def test_both_directions_at_line_rate_without_a_drop(
    width: int, queues: int, tmp_path: Path
) -> None:
    lengths = 10 * SHORTEST + 4 * SAMPLE + SAMPLE[::-1]
    result = run_linerate(bench_design(AxiDataW=width, Queues=queues), lengths, tmp_path)
    check_receive(result, len(lengths))
    check_transmit(result, len(lengths))


@pytest.mark.regress
@pytest.mark.parametrize("width", [128, 256, 512])
@pytest.mark.parametrize("queues", [1, 4, 16])
def test_every_length_at_line_rate(width: int, queues: int, tmp_path: Path) -> None:
    result = run_linerate(bench_design(AxiDataW=width, Queues=queues), EVERY, tmp_path)
    check_receive(result, len(EVERY))
    check_transmit(result, len(EVERY))


@pytest.mark.regress
@pytest.mark.parametrize("queues", [1, 16])
def test_64_bits_carry_every_length_at_line_rate_in_one_direction(
    queues: int, tmp_path: Path
) -> None:
    design = bench_design(AxiDataW=64, Queues=queues)
    for lengths in (10 * SHORTEST, EVERY):
        check_receive(run_linerate(design, lengths, tmp_path, "rx"), len(lengths))
        check_transmit(run_linerate(design, lengths, tmp_path, "tx"), len(lengths))


@pytest.mark.regress
@pytest.mark.parametrize("queues", [1, 4, 16])
def test_64_bits_in_both_directions_lose_nothing_uncounted(queues: int, tmp_path: Path) -> None:
    """And little: a frame in 150 at most.  Of the shortest the bus carries fewer to the wire."""
    design = bench_design(AxiDataW=64, Queues=queues)
    for lengths, slower in ((EVERY, 1.005), (10 * SHORTEST, 1.15)):
        result = run_linerate(design, lengths, tmp_path)
        assert result["rx_frames"] + result["rx_drops"] == result["tx_frames"] == len(lengths)
        assert result["rx_drops"] <= len(lengths) / 150
        assert result["tx_cycles"] <= slower * result["line_cycles"]
