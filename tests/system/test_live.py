"""The real Linux at the other end: curl and ping over a TAP against the simulated host."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SEED, SIMS

ROOT = Path(__file__).resolve().parents[2]
HOST = "10.77.0.2"
HOST6 = "fd77::2"


def missing() -> str:
    """Why this cannot run here; empty if it can."""
    for tool in ("curl", "ping"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        return f"no TAP here: {error}"
    try:
        fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"w2aprobe", 0x1002))
    except OSError as error:
        if error.errno != errno.EPERM:  # an ordinary user gets his in a namespace
            return f"no TAP here: {error}"
    finally:
        os.close(tap)
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        return "user namespaces are not allowed here"
    return ""


WHY = missing()
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY or "-")


def live(sim: str, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """`wire2app live --run` in `folder`, which the simulated host serves."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "wire2app",
            "live",
            f"--sim={sim}",
            f"--seed={SEED}",
            f"--run={command}",
            f"--out={folder / 'out'}",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("sim", SIMS)
def test_curl_fetches_a_mebibyte_and_ping_loses_nothing(sim: str, tmp_path: Path) -> None:
    data = random.Random(SEED).randbytes(1 << 20)
    (tmp_path / "big.bin").write_bytes(data)
    command = f"curl -sf http://{HOST}/big.bin -o got.bin && ping -c 3 -i 0.2 {HOST}"
    result = live(sim, tmp_path, command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 packets transmitted, 3 received, 0% packet loss" in result.stdout
    got = (tmp_path / "got.bin").read_bytes()
    assert hashlib.sha256(got).hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6")
@pytest.mark.parametrize("sim", SIMS)
def test_curl_and_ping_work_over_ipv6(sim: str, tmp_path: Path) -> None:
    """Neighbour solicitations come to a group, which the NIC must let in; long pings in pieces."""
    data = random.Random(SEED).randbytes(100_000)
    (tmp_path / "some.bin").write_bytes(data)
    command = (
        f"curl -sf 'http://[{HOST6}]/some.bin' -o got.bin && ping -6 -c 3 -i 0.2 {HOST6} "
        f"&& ping -6 -c 1 -s 4000 {HOST6} && ping -6 -c 1 fe80::ff:fe00:77%tap0"
    )
    result = live(sim, tmp_path, command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 packets transmitted, 3 received, 0% packet loss" in result.stdout
    assert f"4008 bytes from {HOST6}" in result.stdout
    assert (tmp_path / "got.bin").read_bytes() == data


def test_real_linux_uploads_and_gets_errors_as_http_says(tmp_path: Path) -> None:
    data = random.Random(SEED + 1).randbytes(300_000)
    (tmp_path / "up.bin").write_bytes(data)
    command = (
        f"curl -sf --data-binary @up.bin http://{HOST}/ "
        f"&& curl -s -o /dev/null -w '%{{http_code}} ' http://{HOST}/nothing "
        f"&& curl -s -o /dev/null -w '%{{http_code}} ' --path-as-is http://{HOST}/../etc/passwd "
        f"&& curl -s --connect-timeout 5 http://{HOST}:81/; echo status $?"
    )
    result = live(SIMS[0], tmp_path, command)
    assert f"length {len(data)}" in result.stdout, result.stdout + result.stderr
    assert f"sha256 {hashlib.sha256(data).hexdigest()}" in result.stdout
    assert "404 403 " in result.stdout
    assert "status 7" in result.stdout  # refused: the RST arrived


def test_live_exits_with_the_status_of_the_command(tmp_path: Path) -> None:
    assert live(SIMS[0], tmp_path, "exit 7").returncode == 7


@pytest.mark.parametrize("sim", SIMS)
def test_the_shell_shows_the_running_hosts_tools_and_packets(sim: str, tmp_path: Path) -> None:
    """Beside a ping that goes on: sockets, counters of the hardware, packets as they pass."""
    shell = f"{sys.executable} -m wire2app shell --live --out={tmp_path / 'out'}"
    result = live(
        sim,
        tmp_path,
        f"ping -q -i 0.1 {HOST} > /dev/null & "
        f"{shell} -c 'ss -Htln' -c 'ping -c 1 10.77.0.1' -c 'ip -s link show eth0' "
        f"-c 'tcpdump -c 2 -tni eth0 icmp' -c 'ethtool -S eth0 | grep -c rx' -c frob; "
        "status=$?; kill $!; exit $status",
    )
    assert result.returncode == 127, result.stdout + result.stderr
    assert "bash: frob: command not found" in result.stderr
    assert "LISTEN 0      " in result.stdout and "*:80" in result.stdout
    assert "1 packets transmitted, 1 received, 0% packet loss" in result.stdout
    received = re.search(r"RX: .*\n +(\d+) +(\d+)", result.stdout)
    assert received is not None and int(received[2]) > 0
    echoes = re.findall(r"IP 10\.77\.0\.\d > 10\.77\.0\.\d: ICMP echo re\w+", result.stdout)
    assert len(echoes) == 2 and "2 packets captured" in result.stdout
    assert not (tmp_path / "out" / "shell.sock").exists()


def test_the_shell_says_that_no_host_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wire2app", "shell", "--live", f"--out={tmp_path}", "-c", "ss"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"wire2app: No running host at {tmp_path}/shell.sock: start one")
