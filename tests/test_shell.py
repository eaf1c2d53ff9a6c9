"""`wire2app shell`: through a pipe, in a terminal, and its commands one by one."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystack.core.engine import VirtualEngine
from pystack.tools.tool import ToolError
from tb.remote_shell import RemoteShell
from wire2app.shell import scenario
from wire2app.shell.remote import Remote
from wire2app.shell.session import Session, duration
from wire2app.shell.words import split_pipe

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "wire2app", "shell"]


def piped(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, input=text, text=True, capture_output=True, timeout=60
    )


def test_commands_from_a_pipe_print_their_output_and_nothing_else() -> None:
    done = piped("ss -Htln\nhost client\n# a comment\n\nip -br link\nexit\nss -tan\n")
    assert done.stdout == (
        "LISTEN 0      16     10.0.0.1:80 0.0.0.0:*\n"
        "LISTEN 0      128    10.0.0.1:7  0.0.0.0:*\n"
        "lo               UNKNOWN        00:00:00:00:00:00 <LOOPBACK,UP,LOWER_UP> \n"
        "eth0             UP             02:00:00:00:00:02 <BROADCAST,MULTICAST,UP,LOWER_UP> \n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_last_commands_status_is_the_shells_and_errors_go_to_stderr() -> None:
    done = piped("frob\nss -q\n")
    assert done.stderr == "bash: frob: command not found\nss: invalid option -- 'q'\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert piped("frob\nps | grep -c httpd\n").stdout == "1\n"
    assert piped("ps | grep nobody").returncode == 1


def test_commands_can_be_given_as_options() -> None:
    done = piped("", "-c", "host client", "-c", "sysctl -n net.ipv4.ip_forward")
    assert (done.returncode, done.stdout) == (0, "0\n")


class Terminal:
    """The shell on a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self.fd, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            COMMAND, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.seen = ""

    def until(self, pattern: str) -> str:
        """What comes until `pattern`, escape sequences removed."""
        deadline = time.monotonic() + 30
        while (match := re.search(pattern, self.seen)) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen[-500:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                data = os.read(self.fd, 65536).decode(errors="replace")
                self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", data)
        text, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return text

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    shell = Terminal(tmp_path)
    yield shell
    if shell.process.poll() is None:
        shell.process.kill()
    shell.process.wait()
    os.close(shell.fd)


def test_a_terminal_gets_a_prompt_completion_and_history(terminal: Terminal) -> None:
    terminal.until(r"server 3\.\d+#")
    terminal.type("netst\t")
    terminal.until(r"netstat")
    terminal.type(" -i\r")
    assert "Kernel Interface table" in terminal.until(r"LRU")
    terminal.until(r"server \S+#")
    terminal.type("host cl\t")
    terminal.until(r"client")
    terminal.type("\r")
    terminal.until(r"client \S+#")
    terminal.type("go 1s\r")
    terminal.until(r"client 4\.\d+#")
    terminal.type("\x1b[A\r")  # the last command again
    terminal.until(r"client 5\.\d+#")
    terminal.type("frob\x03")  # Ctrl-C clears the line
    terminal.until(r"client \S+#")
    terminal.type("\x04")
    assert terminal.process.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def session() -> Iterator[tuple[Session, list[str]]]:
    shown: list[str] = []
    opened = Session(1, shown.append)
    yield opened, shown
    opened.close()


def test_tcpdump_and_strace_watch_while_time_goes_on(session: tuple[Session, list[str]]) -> None:
    shell, shown = session
    shell.execute("host client")
    shown.clear()
    assert "listening on eth0" in shell.execute("tcpdump -ni eth0 tcp port 7")
    pid = next(p.pid for p in shell.host.system.processes.values() if p.name == "chat")
    shell.execute(f"strace -p {pid} -e trace=network")
    shell.execute("go 2s")
    assert any(re.search(r"10\.0\.0\.1\.7: Flags \[P\.\]", line) for line in shown)
    assert any('sendto(3, "hello\\n", 6, 0, NULL, 0) = 6' in line for line in shown)
    assert re.fullmatch(r"[1-9]\d* packets captured\n", shell.execute("tcpdump stop"))
    shell.execute("strace stop")
    assert len(shell.execute("tcpdump -nc3 -i eth0 tcp").splitlines()) == 3
    shown.clear()
    shell.execute("go 2s")
    assert shown == []
    shell.execute("host server")


def test_run_starts_a_program_whose_output_comes_as_time_goes_on(
    session: tuple[Session, list[str]], tmp_path: Path
) -> None:
    shell, shown = session
    path = tmp_path / "hello.py"
    path.write_text(
        "import time, sys\nprint('one')\ntime.sleep(1)\nprint(sys.argv[1])\nsys.exit(3)\n"
    )
    shown.clear()
    started = shell.execute(f"run {path} two")
    assert re.fullmatch(r"\[\d+\] hello\.py\n", started)
    shell.execute("go 500ms")
    assert shown == ["hello.py | one"]
    shell.execute("go 1s")
    assert shown[1:] == ["hello.py | two", f"{started.split()[0]} hello.py has ended with status 3"]


def test_time_goes_by_the_clock_and_by_events(session: tuple[Session, list[str]]) -> None:
    shell, _ = session
    before = shell.engine.now
    shell.execute("go 250ms")
    assert shell.engine.now == before + 250_000_000
    due = shell.engine.next_time()
    shell.execute("step")
    assert shell.engine.now == due


def test_completion_knows_tools_devices_settings_and_hosts(
    session: tuple[Session, list[str]],
) -> None:
    shell, _ = session
    assert {"ss", "tcpdump", "go", "exit"} <= set(shell.complete(["s"]))
    assert "eth0" in shell.complete(["ip", "addr", "show", "dev", "e"])
    assert "net.ipv4.tcp_sack" in shell.complete(["sysctl", "net."])
    assert "/proc/net/tcp" in shell.complete(["cat", ""])
    assert shell.complete(["host", ""]) == ["server", "client"]
    assert any(path.endswith("tests/test_shell.py") for path in shell.complete(["run", "tests/"]))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("go soon", "go: how long?"),
        ("step 0", "step: how many events?"),
        ("host mars", "host: there is no 'mars', but server, client"),
        ("run", "run: name a program"),
        ("run /no/such.py", "run: /no/such.py: No such file or directory"),
        ("run pyproject.toml", "run: pyproject.toml is not Python"),
        ("strace 1", "strace: strace -p PID"),
        ("strace -p 999", "No such process"),
        ("tcpdump -ni bogus0", "tcpdump: bogus0: No such device exists"),
        ("ss 'a", "bash: No closing quotation"),
    ],
)
def test_what_is_wrong_gets_one_sentence(
    session: tuple[Session, list[str]], line: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ToolError, match=re.escape(said)):
        session[0].execute(line)


def test_durations_and_pipes_are_read() -> None:
    assert [duration(text) for text in ("2", "1.5s", "3ms", "1min")] == [
        *(2_000_000_000, 1_500_000_000, 3_000_000, 60_000_000_000),
    ]
    assert split_pipe("ss '|' x | wc -l") == ("ss '|' x ", "|", " wc -l")
    assert split_pipe("ss -tan") == ("ss -tan", "", "")


def test_a_remote_shell_runs_tools_in_tasks_and_streams_packets(tmp_path: Path) -> None:
    """The two ends of `shell --live`, with a host in virtual time between them."""
    engine = VirtualEngine()
    hosts = scenario.build(engine, 1)
    server = RemoteShell(hosts["server"], tmp_path / "s")
    shown: list[str] = []
    results: list[object] = []

    def ask() -> None:
        remote = Remote(tmp_path / "s", shown.append)
        lines = "ss -Htln", "ping -c 1 10.0.0.2", "tcpdump -c 2 -tni eth0 tcp port 80", "frob"
        for line in (*lines, "ss -Htln | wc -l", "ss 'a", "tcpdump -i bogus", "tcpdump stop"):
            try:
                results.append(remote.execute(line))
            except ToolError as exc:
                results.append((str(exc), exc.status))
        remote.close()

    client = threading.Thread(target=ask, daemon=True)
    client.start()
    deadline = time.monotonic() + 30
    while client.is_alive():
        assert time.monotonic() < deadline, results
        for fd in select.select(server.descriptors, [], [], 0.01)[0]:
            server.ready(fd)
        engine.run(until=engine.now + 10_000_000)
    for fd in select.select(server.descriptors, [], [], 1)[0]:
        server.ready(fd)  # the client has gone
    assert len(server.descriptors) == 1
    server.close()
    listening, ping, captured, frob, count, quote, bogus, stop = results
    assert "10.0.0.1:80" in str(listening)
    assert "1 packets transmitted, 1 received, 0% packet loss" in str(ping)
    assert captured == "2 packets captured\n" and len(shown) == 2
    assert all(re.match(r"IP 10\.0\.0\.\d\.\d+ > 10\.0\.0\.\d\.\d+: Flags", line) for line in shown)
    assert frob == ("bash: frob: command not found", 127)
    assert str(count).strip() == "2"
    assert (quote, bogus) == (
        ("bash: No closing quotation", 2),
        ("tcpdump: bogus: No such device exists", 1),
    )
    assert stop == "0 packets captured\n"
    for host in hosts.values():
        host.kernel.power_off()
