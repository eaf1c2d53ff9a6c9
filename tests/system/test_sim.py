"""The main job from outside: the command, its artifacts, and the capture as tshark judges it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SEED, SIMS
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket

from tb.summary import Summary

Run = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
CHECKSUMS = ("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`job(sim, seed, waves)` runs `wire2app sim` once and returns its folder."""
    done: dict[tuple[str, int, bool, int], Path] = {}

    def run(sim: str, seed: int, waves: bool = False, again: int = 0) -> Path:
        key = (sim, seed, waves, again)
        if key not in done:
            out = tmp_path_factory.mktemp("sim")
            command = [sys.executable, "-m", "wire2app", "sim", f"--sim={sim}", f"--seed={seed}"]
            command += ["--waves" if waves else "--no-waves", f"--out={out}"]
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
            (out / "stdout.txt").write_text(result.stdout)
            assert result.returncode == 0, result.stdout + result.stderr
            done[key] = out
        return done[key]

    return run


def frames(folder: Path) -> list[tuple[int, bytes]]:
    """(time in ns, frame) of the capture."""
    with (folder / "wire.pcapng").open("rb") as file:
        return [
            (block.timestamp_high << 32 | block.timestamp_low, block.packet_data)
            for block in FileScanner(file)
            if isinstance(block, EnhancedPacket)
        ]


def tshark(folder: Path, expression: str, *fields: str) -> list[list[str]]:
    """The packets that match a display filter, with the fields asked for."""
    command = ["tshark", "-n", "-r", str(folder / "wire.pcapng"), *CHECKSUMS, "-Y", expression]
    command += ["-T", "fields", *(word for field in fields for word in ("-e", field))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in result.stdout.splitlines()]


@pytest.mark.parametrize("sim", SIMS)
def test_sim_passes_and_every_hop_and_transfer_is_in_the_summary(job: Run, sim: str) -> None:
    out = job(sim, SEED)
    assert (out / "stdout.txt").read_text().splitlines()[-1] == "PASS"
    summary = Summary.load(out / "summary.json")
    assert summary.all_failures() == []
    assert [t.ok for t in summary.transfers] == [True, True, True]
    assert summary.transfers[0].bytes == 256 * 1024
    assert all(line.ok and line.sent > 0 for line in summary.balance)
    assert summary.drops == {}
    assert all(hop.rx_frames and hop.tx_frames for hop in summary.hops)
    assert [len(latency.steps) for latency in summary.latency] == [11, 8]
    assert all(step.delta_ns >= 0 for latency in summary.latency for step in latency.steps)
    assert summary.napi[0].packets == summary.hops[3].rx_frames
    assert (out / "results.xml").is_file()


@pytest.mark.parametrize("sim", SIMS)
def test_capture_is_clean_and_shows_a_whole_connection(job: Run, sim: str) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    out = job(sim, SEED)
    bad = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0"
    assert tshark(out, bad, "frame.number") == []
    good = tshark(out, "tcp.checksum.status == 1", "frame.number")
    assert len(good) == len(tshark(out, "tcp", "frame.number")), "tshark checked no checksum"
    stream = "tcp.stream == 0 && "
    assert len(tshark(out, stream + "tcp.flags == 0x002", "frame.number")) == 1
    assert len(tshark(out, stream + "tcp.flags == 0x012", "frame.number")) == 1
    for host in ("10.0.0.1", "10.0.0.2"):
        assert tshark(out, f"{stream}ip.src == {host} && tcp.len > 0", "frame.number")
        assert tshark(out, f"{stream}ip.src == {host} && tcp.flags.fin == 1", "frame.number")
    assert tshark(out, "tcp.analysis.retransmission || tcp.flags.reset == 1", "frame.number") == []


@pytest.mark.parametrize("sim", SIMS)
def test_same_seed_gives_the_same_capture_byte_for_byte(job: Run, sim: str) -> None:
    first, second = job(sim, SEED), job(sim, SEED, again=1)
    assert (first / "wire.pcapng").read_bytes() == (second / "wire.pcapng").read_bytes()


@pytest.mark.skipif(len(SIMS) < 2, reason="needs both simulators; one was chosen")
def test_both_simulators_give_the_same_frames_at_the_same_times(job: Run) -> None:
    one, other = (frames(job(sim, SEED)) for sim in SIMS)
    assert one == other
    assert len(one) > 200


def test_another_seed_gives_another_capture(job: Run) -> None:
    assert frames(job(SIMS[0], SEED)) != frames(job(SIMS[0], SEED + 1))


def variables(scope: Any) -> Iterator[str]:
    """Full names of everything below a scope, without ranges."""
    for var in scope.vars():
        yield var.full_name.partition("[")[0]
    for child in scope.scopes():
        yield from variables(child)


@pytest.mark.parametrize("sim", SIMS)
def test_waves_are_written_with_a_layout_that_names_existing_signals(job: Run, sim: str) -> None:
    import pywellen

    out = job(sim, SEED, waves=True)
    layout = (out / "wave.gtkw").read_text()
    waves = pywellen.Waveform(str(out / "wave.fst"))
    names = {name for scope in waves.scopes() for name in variables(scope)}
    shown = [
        line.partition("[")[0]
        for line in layout.splitlines()
        if line and line[0] not in "[@*-^#" and "." in line
    ]
    assert len(shown) > 20
    assert [name for name in shown if name not in names] == []
