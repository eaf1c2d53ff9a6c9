"""The sweep of `wire2app netsim`, short: nothing lost, nothing hung, nothing left, all accounted.

`Net.finish` and `run_scenario` do the checking; that they can fail is claimed below.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pystack.core.skb import SkBuff
from pystack.dev.wire import Impaired
from pystack.host import Host
from pystack.transport.tcp.sock import TcpSock
from wire2app.netsim.draw import draw
from wire2app.netsim.net import Net
from wire2app.netsim.run import run_scenario, run_seed
from wire2app.seeds import Outcome

RUNS = 250


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [run_seed(number) for number in range(RUNS)]


def test_every_run_delivers_its_bytes_ends_and_leaves_nothing(outcomes: list[Outcome]) -> None:
    """Frames balance in every one of them, too: see `Net.balance`."""
    failed = [f"seed {outcome.seed}: {outcome.failure}" for outcome in outcomes if outcome.failure]
    assert not failed, failed[0]


def test_runs_meet_every_kind_of_ending_and_of_damage(outcomes: list[Outcome]) -> None:
    endings = Counter(outcome.ending for outcome in outcomes)
    assert set(endings) == {"complete", "reset", "unread"}
    assert endings["complete"] > RUNS / 2
    counts = sum((outcome.counts for outcome in outcomes), Counter[str]())
    met = {"lost", "duplicated", "reordered", "corrupted", "retransmitted", "timeouts"}
    assert met <= set(counts)
    assert {"drop.tcp.bad_checksum", "drop.ip.bad_checksum", "drop.eth.otherhost"} <= set(counts)


def test_a_seed_gives_one_run() -> None:
    assert run_seed(3) == run_seed(3)


def _forget_skb(host: Host) -> None:
    SkBuff(host.kernel)


def _forget_page(host: Host) -> None:
    host.kernel.memory.alloc_pages()


def _forget_timer(host: Host) -> None:
    host.kernel.timer(lambda: None).mod(host.kernel.now + 10**15)


def _forget_socket(host: Host) -> None:
    TcpSock(host.tcp)


def _forget_file(host: Host) -> None:
    host.system.open_files.count += 1


@pytest.mark.parametrize(
    ("forget", "name"),
    [
        (_forget_skb, "'skbs': 1"),
        (_forget_page, "'pages': 1"),
        (_forget_timer, "'timers': 1"),
        (_forget_socket, "'sockets': 1"),
        (_forget_file, "'files': 1"),
    ],
)
@pytest.mark.leaves("one object on purpose")
def test_what_is_left_behind_fails_the_run_by_name(
    forget: Callable[[Host], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Net.finish

    def forgetful(net: Net) -> None:
        forget(net.hosts[1])
        finish(net)

    monkeypatch.setattr(Net, "finish", forgetful)
    assert f"'h1': {{}}, 'h2': {{{name}}}" in run_seed(1).failure


def test_a_frame_lost_without_being_counted_unbalances_the_wire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fates = Impaired._fates

    def silent(wire: Impaired, frame: bytes) -> list[tuple[int, bytes]]:
        result = fates(wire, frame)
        wire.lost = 0
        return result

    monkeypatch.setattr(Impaired, "_fates", silent)
    lossy = next(number for number in range(1, 100) if run_seed(number).failure)
    assert run_seed(lossy).failure.startswith("wire: ")


@pytest.mark.leaves("a run that is stuck")
def test_a_wire_that_loses_everything_is_a_stuck_run_that_tells_its_state() -> None:
    scenario = draw(1)
    dead = replace(scenario, impairment=replace(scenario.impairment, loss=1.0))
    failure = run_scenario(dead).failure
    assert "did not end" in failure or "TimeoutError" in failure


def test_command_reports_and_writes_outcomes(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    environment = {k: v for k, v in os.environ.items() if k not in ("SEEDS", "FIRST")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "wire2app", "netsim", "--seeds", "30", "--first", "5"),
            *("--json", str(results)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS: 30 runs in " in done.stdout
    assert [run["seed"] for run in json.loads(results.read_text())["runs"]] == list(range(5, 35))
