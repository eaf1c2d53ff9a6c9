"""Against the real Linux over a TAP, without an RTL NIC: fragments of every size, traceroute, path
MTU, IPv6 as well; tshark judges what was on the wire."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_live import WHY

SCRIPT = Path(__file__).with_name("live_net.py")
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY or "-")

# Only what we vouch for: a TCP header quoted in an error has a checksum over more than is quoted
WRONG = (
    "_ws.malformed || ip.checksum.status == 0 || icmp.checksum.status == 0"
    " || ((tcp.checksum.status == 0 || udp.checksum.status == 0) && !icmp)"
)


def live(case: str, folder: Path, *args: int) -> str:
    """What a case of live_net.py printed; its capture has been judged."""
    capture = folder / "live.pcapng"
    done = subprocess.run(
        [
            *("unshare", "-rn", sys.executable, str(SCRIPT), case, *map(str, args)),
            *("--out", str(capture)),
        ],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert judged(capture) == ""
    return done.stdout


def judged(capture: Path, *more: str) -> str:
    """The frames tshark finds fault with, given `more` options; none if it is not installed."""
    if shutil.which("tshark") is None:
        return ""
    options = [f"-o{layer}.check_checksum:TRUE" for layer in ("ip", "tcp", "udp")]
    found = subprocess.run(
        ["tshark", "-r", str(capture), *options, *more, "-Y", WRONG],
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout


def test_ping_of_many_sizes_comes_back_whole_from_us_and_through_our_router(
    tmp_path: Path,
) -> None:
    """A sample; `live_net.py ping 0 65507 1` tries them all."""
    printed = live("ping", tmp_path, 0, 65507, 2977)
    assert printed == "23 of 23 sizes came back whole; not []\n" * 2


def test_traceroute_shows_our_router_and_the_host_behind_it(tmp_path: Path) -> None:
    if shutil.which("traceroute") is None:
        pytest.skip("traceroute is not installed")
    lines = live("traceroute", tmp_path).splitlines()
    hops = [line.split()[:2] for line in lines if line[:3].strip().isdigit()]
    assert hops == [["1", "10.77.1.2"], ["2", "10.77.2.2"]] * 2  # by UDP and by ICMP


def test_linux_learns_the_path_mtu_from_our_router(tmp_path: Path) -> None:
    printed = live("pmtu", tmp_path)
    assert "From 10.77.1.2 icmp_seq=1 Frag needed and DF set (mtu = 1000)" in printed
    assert "message too long, mtu=1000" in printed
    assert "mtu 1000" in printed.split("cache expires")[1]
    assert "download whole" in printed


def test_we_learn_the_path_mtu_from_linux(tmp_path: Path) -> None:
    assert live("pmtu_of_linux", tmp_path) == "upload ['whole'] mtu 1000\n"


def test_a_black_hole_of_linux_is_cured_by_probing(tmp_path: Path) -> None:
    if shutil.which("iptables-legacy") is None:
        pytest.skip("iptables-legacy is not installed")
    assert live("black_hole", tmp_path) == "upload ['whole'] mtu 1500\n"


def test_ipv6_of_many_sizes_and_too_long_for_the_path_comes_back_whole(tmp_path: Path) -> None:
    """`ping -6`, traceroute, and TCP through our router onto a link of 1300 bytes."""
    if shutil.which("traceroute") is None:
        pytest.skip("traceroute is not installed")
    printed = live("ping6", tmp_path)
    assert "From fd77::2 icmp_seq=1 Packet too big: mtu=1300" in printed
    assert "mtu 1300" in printed
    assert printed.count("1 packets transmitted, 1 received") == 9
    traced = printed.split("traceroute to")[1].splitlines()
    hops = [line.split()[:2] for line in traced if line[:3].strip().isdigit()]
    assert hops == [["1", "fd77::2"], ["2", "fd77:2::2"]]
    assert "download whole" in printed
