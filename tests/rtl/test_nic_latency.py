"""What the NIC itself takes from the wire to the interrupt, and from the doorbell to the wire.

Of a lone 60-byte frame, with a memory that answers at once and no moderation, in exact cycles.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SEED

from wire2app.simulator import bench_design, simulate

TO_IRQ = 32
TO_WIRE = 40


def check_latency(folder: Path, samples: int, **parameters: int) -> None:
    job, out = folder / "job.json", folder / "out.json"
    settings = {"out": str(out), "seed": SEED, "sizes": [], "frames": 0, "samples": samples}
    job.write_text(json.dumps(settings))
    design, env = bench_design(**parameters), {"W2A_JOB": str(job)}
    simulate(design, "tb.jobs.rtl_bench_job", sim="verilator", seed=SEED, env=env).check()
    latency = json.loads(out.read_text())["latency"]
    to_irq, to_wire = latency["wire_end_to_irq_cycles"], latency["doorbell_to_wire_cycles"]
    print(f"{parameters}: {max(to_irq)} clocks to the interrupt, doorbell to wire {max(to_wire)}")
    assert max(to_irq) <= TO_IRQ
    assert max(to_wire) <= TO_WIRE


def test_latency_of_the_nic_itself_stays_within_its_cycles(tmp_path: Path) -> None:
    check_latency(tmp_path, 4)


@pytest.mark.regress
@pytest.mark.parametrize("width", [64, 128, 256, 512])
@pytest.mark.parametrize("offload", [0, 1])
def test_latency_stays_within_its_cycles_at_every_width(
    width: int, offload: int, tmp_path: Path
) -> None:
    check_latency(tmp_path, 16, AxiDataW=width, RxOffload=offload)


@pytest.mark.regress
def test_latency_stays_within_its_cycles_with_16_queues(tmp_path: Path) -> None:
    check_latency(tmp_path, 16, Queues=16)
