"""The command: what bad input gets, and the records and tables of the report."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from tb.summary import Balance, Hop, Latency, LatencyStep, Napi, Summary, Transfer
from wire2app.cli import app, run_command
from wire2app.examples import EXAMPLES, PANELS
from wire2app.progress import Event, show
from wire2app.report import console, print_report
from wire2app.sim import make_empty

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ("SIM", "SEED", "FILE", "WAVES", "BUS", "RUN", "T")


def wire2app(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {key: value for key, value in os.environ.items() if key not in OPTIONS}
    return subprocess.run(
        [sys.executable, "-m", "wire2app", *arguments],
        cwd=ROOT,
        env={**base, **environment},
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["sim", "--sim", "vcs"], {}, "Unknown simulator 'vcs': SIM is verilator or icarus."),
        (["sim"], {"SIM": "vcs"}, "Unknown simulator 'vcs': SIM is verilator or icarus."),
        (["live", "--sim", "vcs"], {}, "Unknown simulator 'vcs'"),
        (["test", "stack", "--sim", "vcs"], {}, "Unknown simulator 'vcs'"),
        (["test", "nothing"], {}, "Unknown test suite 'nothing'"),
        (["sim", "--bus", "warp"], {}, "Unknown bus 'warp'"),
        (["sim", "--file", "/no/such/file"], {}, "FILE '/no/such/file' does not exist."),
        (["live"], {"FILE": "/no/such/file"}, "FILE '/no/such/file' does not exist."),
        (["sim", "--file", "/"], {}, "FILE '/' is not a readable file."),
        (["sim", "--seed", "many"], {}, "Invalid value for '--seed'"),
        (["sim", "--seed", "-1"], {}, "Invalid value for '--seed'"),
        (["sim"], {"WAVES": "perhaps"}, "Invalid value for '--waves'"),
        (["fly"], {}, "No such command 'fly'"),
        (["sim", "--fast"], {}, "No such option: --fast"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = wire2app(*arguments, **environment)
    assert said in done.stderr
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")


def test_a_name_that_no_test_has_gets_a_sentence_and_status_2() -> None:
    done = wire2app("test", "system", T="no_such_test")
    assert done.stderr == "wire2app: No test of tests/system has 'no_such_test' in its name.\n"
    assert done.returncode == 2


def test_missing_simulator_gets_one_sentence_and_status_2(tmp_path: Path) -> None:
    done = wire2app("sim", "--sim", "icarus", PATH=str(tmp_path))
    assert done.stderr == "wire2app: Icarus Verilog is not installed: run `make setup`.\n"
    assert done.returncode == 2


def test_folder_with_other_things_in_it_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    done = wire2app("sim", "--out", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (tmp_path / "thesis.txt").exists()


def test_file_in_the_folder_that_is_emptied_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")  # as an earlier run left it
    precious = tmp_path / "precious.bin"
    precious.write_text("keep me")
    done = wire2app("sim", f"--file={precious}", f"--out={tmp_path}")
    assert "which every run empties" in done.stderr
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert precious.read_text() == "keep me"


def test_folder_in_use_and_file_as_folder_get_one_sentence(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    with make_empty(tmp_path / "used"):
        for folder, said in ((tmp_path / "used", "Another run is using"), (plain, "Cannot use")):
            for command in ("sim", "live"):
                done = wire2app(command, f"--out={folder}")
                assert said in done.stderr
                assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_name_too_long_for_a_file_gets_one_sentence() -> None:
    done = wire2app("sim", f"--file={'x' * 5000}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_empty_variables_of_make_mean_the_defaults() -> None:
    done = wire2app("sim", FILE="/no/such/file", SIM="", SEED="", WAVES="", BUS="")
    assert done.stderr == "wire2app: FILE '/no/such/file' does not exist.\n"


def test_make_help_names_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, text=True, capture_output=True, check=True)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()[1] for line in done.stdout.splitlines()) == sorted(targets)


def full_summary() -> Summary:
    return Summary(
        sim="icarus",
        seed=7,
        bus="pins",
        sim_time_ns=1_500_000,
        cycles=234_375,
        hops=[Hop("server MAC", 12, 3456, 34, 5678)],
        napi=[Napi("server rx0", 3, 4, 12)],
        drops={"server/nic/rx_filtered": 1},
        balance=[Balance("client to server", 13, 12, 1, True)],
        latency=[
            Latency("a segment", [LatencyStep("wire", 0, 0), LatencyStep("recv()", 2100, 2100)])
        ],
        transfers=[Transfer("GET /x", 1000, "ab" * 32, "ab" * 32, True)],
        wall={"build": 1.5, "run": 2.0},
    )


def report_of(summary: Summary) -> list[str]:
    text = io.StringIO()
    print_report(summary, "make sim SIM=icarus SEED=7", console(text))
    return text.getvalue().splitlines()


def test_summary_survives_saving_and_loading(tmp_path: Path) -> None:
    summary = full_summary()
    summary.save(tmp_path / "summary.json")
    assert Summary.load(tmp_path / "summary.json") == summary


def test_report_in_a_pipe_is_plain_ascii_and_ends_with_pass() -> None:
    lines = report_of(full_summary())
    assert lines[-1] == "PASS"
    assert "\n".join(lines).isascii()
    rows = [line.split() for line in lines]
    assert ["server", "MAC", "12", "3,456", "34", "5,678"] in rows
    assert ["server", "rx0", "3", "4", "12", "3.00"] in rows


def test_content_that_differs_fails_the_report_and_says_how_to_replay() -> None:
    summary = full_summary()
    summary.transfers[0].ok = False
    expected = "FAIL: GET /x: content differs; replay: make sim SIM=icarus SEED=7"
    assert report_of(summary)[-1] == expected


def test_balance_that_does_not_add_up_fails_the_report() -> None:
    summary = full_summary()
    summary.balance[0] = Balance("client to server", 13, 11, 1, False)
    assert not summary.passed
    assert report_of(summary)[-1].startswith(
        "FAIL: client to server: sent 13, but delivered 11 and dropped 1"
    )


def test_progress_shows_whole_lines_and_skips_what_is_not_an_event(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    seen: list[Event] = []
    with show(path, seen.append), open(path, "a") as file:
        file.write('{"phase": "fe')
        file.flush()
        time.sleep(0.3)  # several looks at half a line
        file.write('tch", "done": 1, "total": 2}\nnot json\n{"no": "phase"}\n{"phase": "post"}\n')
    assert seen == [Event("fetch", 1, 2), Event("post")]


# -- help, examples, completion ------------------------------------------------------------


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_every_command_has_a_panel_and_examples() -> None:
    assert set(EXAMPLES) == set(commands()) == {name for names in PANELS.values() for name in names}


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line, _ in lines])
def test_every_example_is_a_command_line(line: str) -> None:
    name, *arguments = shlex.split(line)
    with commands()[name].make_context(name, arguments):
        pass


def test_help_in_a_pipe_is_plain_and_shows_the_examples() -> None:
    done = wire2app("shell", "--help")
    assert done.stdout.startswith("Usage: wire2app shell [OPTIONS]\n")
    assert "  Examples:\n    wire2app shell " in done.stdout
    assert done.stdout.isascii()


def test_help_in_a_terminal_shows_the_examples_too() -> None:
    primary, secondary = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run(
        [sys.executable, "-m", "wire2app", "run", "--help"],
        **{"cwd": ROOT, "stdout": secondary, "stderr": secondary, "env": environment},
        check=True,
    )
    os.close(secondary)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(primary, 65536):
            shown += data
    os.close(primary)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "wire2app run server.py 8000 -- client.py" in text and "\u256d" in text


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("wire2app sh", ["shell"]),
        ("wire2app sim --sim ", ["verilator", "icarus"]),
        ("wire2app live --bus f", ["fast"]),
        ("wire2app test s", ["stack", "system"]),
        ("wire2app lab syn", ["syn-flood"]),
    ],
)
def test_the_shell_completes_commands_options_and_names(words: str, offered: list[str]) -> None:
    done = wire2app(
        _WIRE2APP_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
    )
    assert done.stdout.split() == offered


def test_sim_json_prints_the_summary_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The simulation itself is left out: what it measured is given."""
    monkeypatch.setattr("wire2app.sim.check_simulator", lambda name: None)
    monkeypatch.setattr("wire2app.sim._simulate", lambda options, job, display: None)
    monkeypatch.setattr("wire2app.sim._summary", lambda *arguments: full_summary())
    status = run_command(["sim", "--json", f"--out={tmp_path / 'out'}"])
    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    assert printed == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (printed["sim"], printed["cycles"]) == ("icarus", 234_375)
