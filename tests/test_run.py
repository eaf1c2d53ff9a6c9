"""`wire2app run`: two programs, their output, their statuses, and what goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from tb import watchdog
from wire2app.cli import run_command

SERVER = """
import socket, sys
with socket.create_server(("", 7000)) as listener:
    conn, peer = listener.accept()
    with conn:
        print("from", peer[0], conn.recv(100).decode())
        conn.sendall(b"hello")
sys.exit(int(sys.argv[1]))
"""
CLIENT = """
import socket, sys
with socket.create_connection(("10.0.0.1", 7000)) as sock:
    sock.sendall(" ".join(sys.argv[1:]).encode())
    print(sock.recv(100).decode())
"""


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    texts = {
        "server.py": SERVER,
        "client.py": CLIENT,
        "crash.py": "def f():\n    import socket\n    socket.socket().listen(-1)\n    1 / 0\nf()\n",
        "forever.py": "import http.server as h\nh.HTTPServer(('', 80), h.BaseHTTPRequestHandler)"
        ".serve_forever()\n",
        "loop.py": "print('in')\nn = 0\nwhile True:\n    n += 1\n",
        "stuck.py": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n",
        "broken.py": "print(\n",
        "child.py": "import subprocess\ntry:\n    subprocess.run(['true'])\n"
        "except OSError as error:\n    print(error)\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name.removesuffix(".py"): str(tmp_path / name) for name in texts}


PATIENT = """
import time
print("begun", flush=True)
try:
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    print("ended")
"""


def test_ctrl_c_interrupts_the_programs_and_ends_with_130_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "patient.py"
    path.write_text(PATIENT)
    command = [sys.executable, "-m", "wire2app", "run", str(path), "--", str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as running:
        assert running.stdout is not None
        begun = [running.stdout.readline() for _ in range(2)]
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert [line.split("| ")[1] for line in begun] == ["begun\n"] * 2
    assert [line.split("| ")[1] for line in out.splitlines()] == ["ended"] * 2
    assert (err, running.returncode) == ("wire2app: interrupted\n", 130)


def test_two_programs_talk_and_the_first_status_that_is_not_0_is_the_commands(
    programs: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pcap = tmp_path / "wire.pcapng"
    command = [programs["server"], "3", "--", programs["client"], "good", "day"]
    assert run_command(["run", "--pcap", str(pcap), *command]) == 3
    assert capsys.readouterr().out.splitlines() == [
        "server.py | from 10.0.0.2 good day",
        "client.py | hello",
    ]
    frames = [frame for frame, _ in RawPcapNgReader(str(pcap))]
    assert [frame for frame in frames if frame.endswith(b"good day")]
    assert run_command(["run", programs["server"], "0", "--", programs["client"], "x"]) == 0


def test_one_seed_gives_one_capture(programs: dict[str, str], tmp_path: Path) -> None:
    captures = []
    for number, seed in enumerate(("5", "5", "6")):
        pcap = tmp_path / f"{number}.pcapng"
        command = [programs["server"], "0", "--", programs["client"], "x"]
        assert run_command(["run", "--seed", seed, "--pcap", str(pcap), *command]) == 0
        captures.append(pcap.read_bytes())
    assert captures[0] == captures[1] != captures[2]


def test_uncaught_exception_is_shown_as_python_shows_it(
    programs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", programs["crash"]]) == 1
    path = programs["crash"]
    assert capsys.readouterr().err.splitlines() == [
        "crash.py | Traceback (most recent call last):",
        f'crash.py |   File "{path}", line 5, in <module>',
        "crash.py |     f()",
        f'crash.py |   File "{path}", line 4, in f',
        "crash.py |     1 / 0",
        "crash.py |     ~~^~~",
        "crash.py | ZeroDivisionError: division by zero",
    ]


def test_server_left_alone_is_interrupted_and_its_status_does_not_count(
    programs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", programs["forever"], "--", programs["child"]]) == 0
    captured = capsys.readouterr()
    assert captured.out == ("child.py   | [Errno 38] a simulated host starts no other programs\n")
    assert captured.err.endswith("forever.py | KeyboardInterrupt\n")


def test_program_that_computes_for_ever_is_named_and_killed(
    programs: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "SECONDS", 0.3)
    assert run_command(["run", programs["loop"]]) == 137
    captured = capsys.readouterr()
    assert captured.out == "loop.py | in\n"
    assert "loop.py has made no system call for 0.3 s and is killed; it was here:" in captured.err
    assert "line 4" in captured.err or "line 3" in captured.err


def test_program_that_waits_for_nothing_is_named_and_killed(
    programs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", programs["stuck"]]) == 137
    assert capsys.readouterr().err == (
        "stuck.py | waits for what will never happen, and is killed\n"
    )


def test_strace_shows_the_calls_asked_for(
    programs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [programs["server"], "0", "--", programs["client"], "x"]
    assert run_command(["run", "-e", "trace=listen,connect", *command]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert f"server.py strace | {'listen(3, 128)':40}= 0" in lines
    assert [line for line in lines if "connect(" in line] == [
        "client.py strace | connect(3, {sa_family=AF_INET, sin_port=htons(7000), "
        'sin_addr=inet_addr("10.0.0.1")}, 16) = 0'
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name a program: wire2app run A.py [ARG...] [-- B.py [ARG...]]."),
        (["stuck", "--"], "Name a program: wire2app run A.py [ARG...] [-- B.py [ARG...]]."),
        (["nothing"], "Program 'nothing' does not exist."),
        (["/"], "Program '/' is not a file."),
        (["--rtl", "--sim", "modelsim", "stuck"], "modelsim"),
        (["--rtl", "--bus", "isa", "stuck"], "Unknown bus 'isa'"),
        (["-e", "trace=foo", "stuck"], "Strace knows no system call or class 'foo'."),
        (["--pcap", "/nowhere/x", "stuck"], "Cannot write /nowhere/x: No such file or directory."),
        (["broken"], "is not Python: '(' was never closed"),
    ],
)
def test_bad_request_gets_one_sentence(
    words: list[str],
    sentence: str,
    programs: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["run", *(programs.get(word, word) for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wire2app: ") and error.count("\n") == 1
    assert sentence in error
