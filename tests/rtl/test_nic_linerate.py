"""The NIC keeps the wire busy in both directions at once, and loses nothing.

Exact clock cycles of a deterministic simulation, so the limits are no matter of the machine's
speed.  A 64-bit bus at the clock of the wire carries 8 bytes a cycle, as the wire does with
preamble, FCS and gap; descriptors and completions of both directions need 4 beats a frame on each
channel and the wire leaves 3.  So there line rate is not to be had in both directions; nothing may
be lost uncounted, and all that is to be sent is.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wire2app.simulator import bench_design, simulate

SEED = 1
SAMPLE = [60, 61, 64, 67, 68, 75, 128, 129, 250, 511, 512, 513, 1024, 1514, 4095, 9018]
SHORTEST = [60] * 400
SLACK = 12  # cycles a whole run may take longer: the wire's gap is 12 bytes on average only


def run_linerate(
    lengths: list[int], width: int, queues: int, latency: int, folder: Path
) -> dict[str, float]:
    job, out = folder / "job.json", folder / "out.json"
    settings = {"out": str(out), "lengths": lengths, "queues": queues, "latency": latency}
    job.write_text(json.dumps(settings))
    design = bench_design("fast", AxiDataW=width, Queues=queues)
    env = {"W2A_JOB": str(job)}
    simulate(design, "tb.jobs.linerate_job", sim="verilator", seed=SEED, env=env).check()
    result: dict[str, float] = json.loads(out.read_text())
    return result


def check_linerate(result: dict[str, float], count: int, width: int) -> None:
    assert result["rx_frames"] + result["rx_drops"] == result["tx_frames"] == count
    if width > 64:
        assert result["rx_drops"] == 0
        assert result["tx_cycles"] <= result["line_cycles"] + SLACK


@pytest.mark.regress
@pytest.mark.parametrize("width,queues", [(128, 1), (64, 1), (512, 4)])
def test_both_directions_at_line_rate_without_a_drop(
    width: int, queues: int, tmp_path: Path
) -> None:
    lengths = SHORTEST + 4 * SAMPLE + SAMPLE[::-1]
    check_linerate(run_linerate(lengths, width, queues, 16, tmp_path), len(lengths), width)


@pytest.mark.regress
@pytest.mark.parametrize("width", [64, 128, 256, 512])
@pytest.mark.parametrize("queues", [1, 4, 16])
def test_every_length_at_line_rate(width: int, queues: int, tmp_path: Path) -> None:
    lengths = list(range(60, 9019))
    check_linerate(run_linerate(lengths, width, queues, 16, tmp_path), len(lengths), width)


@pytest.mark.regress
def test_latency_of_the_nic_itself_stays_within_its_cycles(tmp_path: Path) -> None:
    """Of a lone 60-byte frame, with a memory that answers at once and no moderation."""
    job, out = tmp_path / "job.json", tmp_path / "out.json"
    job.write_text(
        json.dumps({"out": str(out), "seed": SEED, "sizes": [], "frames": 0, "samples": 16})
    )
    env = {"W2A_JOB": str(job)}
    simulate(
        bench_design("fast"), "tb.jobs.rtl_bench_job", sim="verilator", seed=SEED, env=env
    ).check()
    latency = json.loads(out.read_text())["latency"]
    assert max(latency["wire_end_to_irq_cycles"]) <= 32
    assert max(latency["doorbell_to_wire_cycles"]) <= 40
