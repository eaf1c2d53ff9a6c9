"""sysctl: read and written as in /proc/sys, compared with this machine's."""

from __future__ import annotations

import ast
import errno
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import pystack
from pystack.core.engine import VirtualEngine
from pystack.core.sysctl import Sysctl
from pystack.core.sysctl_defaults import BOUNDS, DEFAULTS
from pystack.dev.wire import Link
from pystack.host import Host
from pystack.net.netfilter.ct_tcp import TcpState

FORWARD = "net.ipv4.ip_forward"

# Names whose default on a real machine is another than ours, and why
OTHER_DEFAULTS = {
    "net.core.rmem_max": "set by the distribution",
    "net.core.wmem_max": "set by the distribution",
    "net.core.somaxconn": "set by the distribution",
    "net.ipv4.tcp_rmem": "the maximum is a share of the machine's memory",
    "net.ipv4.tcp_wmem": "the maximum is a share of the machine's memory",
    "net.ipv4.tcp_max_syn_backlog": "a share of the machine's memory",
    "net.ipv4.ping_group_range": "1 is mapped by the user namespace",
    "net.ipv4.tcp_congestion_control": "set by the distribution",
    "net.ipv4.tcp_allowed_congestion_control": "what is loaded",
    "net.ipv4.tcp_available_congestion_control": "what is loaded",
}

PROBE = """
import json, os, sys
def read(path):
    try:
        return open(path).read().rstrip("\\n")
    except OSError:
        return None
def accepts(path, text):
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    except OSError:
        return False
    finally:
        os.close(file)
    return True
wanted = json.load(sys.stdin)
paths = {name: "/proc/sys/" + name.replace(".", "/") for name in wanted}
found = {n: {"value": read(path), "takes": None} for n, path in paths.items()}
found = {name: what for name, what in found.items() if what["value"] is not None}
for name, path in paths.items():
    if name in found and os.access(path, os.W_OK):
        found[name]["takes"] = [text for text in wanted[name] if accepts(path, text)]
print(json.dumps(found))
"""


def tries(name: str) -> list[str]:
    """Texts at, and just beyond, what we think the bounds are; and oddly written ones."""
    low, high = BOUNDS.get(name, (-(1 << 31), (1 << 31) - 1))
    if not isinstance(DEFAULTS.get(name), int) or name.endswith("notsent_lowat"):
        return []
    if high < 1 << 22 and low < 0:  # its bounds depend on the kernel's HZ
        return ["-1", "0", "1000000", "3000000000", "x"]
    if name == "net.ipv4.tcp_probe_interval":  # as well
        return ["-1", "0", "4294967", "4294967295", "x"]
    if high >= 1 << 32 or name == "net.ipv4.icmp_ratelimit":  # a long
        return [str(low - 1), str(low), str(low + 1000), "x"]
    if name == "net.ipv4.ip_unprivileged_port_start":  # bounded by the range of local ports
        return ["-1", "0", "32768", "32769", "65536"]
    middle = str((low + high) // 2)
    odd = [f" {low}", f"{low} 7", " ", "x", f"{low}x", hex(max(low, 1)), "017"]
    fits = odd if low <= 15 <= high else odd[:5]
    return [str(low - 1), str(low), middle, str(high), str(high + 1), *fits]


@cache
def real() -> dict[str, Any]:
    """This machine's, in a network namespace of its own; empty if that cannot be had."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return {}
    names = {n: tries(n) for n in Sysctl() if n.startswith("net.")}
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", PROBE],
        input=json.dumps(names),
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout) if done.returncode == 0 else {}


needs_linux = pytest.mark.skipif(
    not (Path("/proc/sys/net/ipv4").is_dir() and real()),
    reason="no network namespace of this machine's kernel to compare with",
)


@needs_linux
def test_names_and_defaults_are_those_of_a_real_kernel() -> None:
    ours, theirs = Sysctl(), real()
    initial = [name for name in ours if name.startswith("net.") and name not in theirs]
    # those only the machine's first namespace has must still be names of Linux
    assert [n for n in initial if not Path("/proc/sys", n.replace(".", "/")).exists()] == []
    different = {
        name: (ours.read(name), theirs[name]["value"])
        for name in theirs
        if ours.read(name) != theirs[name]["value"]
    }
    assert set(different) <= set(OTHER_DEFAULTS), different


@needs_linux
def test_bounds_and_spellings_are_those_of_a_real_kernel() -> None:
    wrong = {}
    for name, found in real().items():
        if not name.startswith(("net.core.", "net.ipv4.")):
            continue
        taken = []
        for text in tries(name):
            try:
                Sysctl().write(name, text)
            except OSError as exc:
                assert exc.errno == errno.EINVAL
            else:
                taken.append(text)
        if taken != found["takes"] is not None:
            wrong[name] = {"ours": taken, "linux": found["takes"]}
    assert wrong == {}


def test_names_are_taken_with_dots_slashes_and_as_paths() -> None:
    sysctl = Sysctl()
    sysctl.write("net/ipv4/tcp_sack", "0")
    assert sysctl["net.ipv4.tcp_sack"] == 0
    sysctl.write("/proc/sys/net/ipv4/tcp_sack", "1\n")
    assert sysctl.read("net.ipv4.tcp_sack") == "1"
    assert sysctl.read("net/ipv4/tcp_rmem") == "4096\t131072\t6291456"


@pytest.mark.parametrize("call", ["read", "write"])
def test_an_unknown_name_is_enoent(call: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"net\.ipv4\.nothing"):
        getattr(Sysctl(), call)("net.ipv4.nothing", *["1"] * (call == "write"))


def test_vectors_take_fewer_numbers_and_ports_must_be_in_order() -> None:
    sysctl = Sysctl()
    sysctl.write("net.ipv4.tcp_wmem", "8192 20000")
    assert sysctl.vector("net.ipv4.tcp_wmem") == (8192, 20000, 4194304)
    sysctl.write("net.ipv4.ip_local_port_range", "2000 3000")
    for text in ("3000 2000", "80 3000", "1024 65536", "0"):
        with pytest.raises(OSError) as info:
            sysctl.write("net.ipv4.ip_local_port_range", text)
        assert info.value.errno == errno.EINVAL
    assert sysctl.vector("net.ipv4.ip_local_port_range") == (2000, 3000)


def test_text_must_name_what_there_is_and_available_is_read_only() -> None:
    sysctl = Sysctl()
    sysctl.write("net.ipv4.tcp_congestion_control", "reno\n")
    assert sysctl.read("net.ipv4.tcp_congestion_control") == "reno"
    with pytest.raises(FileNotFoundError):
        sysctl.write("net.ipv4.tcp_congestion_control", "vegas")
    with pytest.raises(PermissionError):
        sysctl.write("net.ipv4.tcp_available_congestion_control", "reno")


@pytest.mark.parametrize(
    ("alias", "value", "name", "linux"),
    [
        ("kern.ipc.somaxconn", "1024", "net.core.somaxconn", "1024"),
        ("kern.ipc.maxsockbuf", "8388608", "net.core.wmem_max", "8388608"),
        ("net.inet.tcp.recvspace", "65536", "net.ipv4.tcp_rmem", "4096\t65536\t6291456"),
        ("net.inet.tcp.keepidle", "15000", "net.ipv4.tcp_keepalive_time", "15"),
        ("net.inet.tcp.keepinit", "75000", "net.ipv4.tcp_syn_retries", "6"),
        ("net.inet.tcp.fin_timeout", "30000", "net.ipv4.tcp_fin_timeout", "30"),
    ],
)
def test_a_name_of_bsd_sets_what_linux_calls_otherwise(
    alias: str, value: str, name: str, linux: str
) -> None:
    sysctl = Sysctl()
    sysctl.write(alias, value)
    assert sysctl.read(name) == linux
    if alias != "net.inet.tcp.keepinit":  # which rounds up to whole retries
        assert sysctl.read(alias) == value


def test_time_wait_of_bsd_can_only_be_read() -> None:
    assert Sysctl().read("net.inet.tcp.msl") == "30000"
    with pytest.raises(PermissionError):
        Sysctl().write("net.inet.tcp.msl", "1")


# -- settings of devices -------------------------------------------------------------------


@pytest.fixture
def host() -> Host:
    engine = VirtualEngine()
    host = Host(engine, "h")
    link = Link(engine)
    host.add_softnic("eth0", bytes([2, 0, 0, 0, 0, 1]), link.a)
    return host


def test_a_device_gets_the_settings_of_default_and_keeps_its_own(host: Host) -> None:
    sysctl = host.kernel.sysctl
    sysctl.write("net.ipv4.conf.eth0.rp_filter", "2")
    sysctl.write("net.ipv4.conf.default.rp_filter", "1")
    assert sysctl["net.ipv4.conf.eth0.rp_filter"] == 2
    sysctl.write("net.ipv4.conf.default.log_martians", "1")
    assert sysctl["net.ipv4.conf.eth0.log_martians"] == 1  # had none of its own
    engine = VirtualEngine()
    host.add_softnic("eth1", bytes([2, 0, 0, 0, 0, 2]), Link(engine).a)
    assert sysctl["net.ipv4.conf.eth1.rp_filter"] == 1


def test_a_device_with_an_address_hears_of_default_no_more(host: Host) -> None:
    sysctl = host.kernel.sysctl
    host.ipv4.add_address(host.core.devices["eth0"], "10.0.0.1/24")
    sysctl.write("net.ipv4.conf.default.rp_filter", "1")
    assert sysctl["net.ipv4.conf.eth0.rp_filter"] == 0


@pytest.mark.parametrize("name", [FORWARD, "net.ipv4.conf.all.forwarding"])
def test_ip_forward_is_the_forwarding_of_all_devices(host: Host, name: str) -> None:
    sysctl = host.kernel.sysctl
    sysctl.write(name, "1")
    names = [FORWARD, *(f"net.ipv4.conf.{d}.forwarding" for d in ("all", "default", "eth0", "lo"))]
    assert [sysctl.read(n) for n in names] == ["1"] * 5
    assert sysctl["net.ipv4.conf.all.accept_redirects"] == 0
    sysctl.write(name, "0")
    assert [sysctl.read(n) for n in names] == ["0"] * 5
    assert sysctl["net.ipv4.conf.all.accept_redirects"] == 1


# -- nothing that can be set does nothing --------------------------------------------------


HOLE = "[^.]*"


def strings(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """What a source has as text, as patterns: a hole where an f-string computes something; and
    whether it is only a beginning, for it ends with a hole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value), False
        elif isinstance(node, ast.JoinedStr):
            parts = [
                re.escape(n.value) if isinstance(n, ast.Constant) else HOLE for n in node.values
            ]
            text = "".join(map(str, parts))
            yield text.removesuffix(HOLE), text.endswith(HOLE)


def readers() -> tuple[set[str], re.Pattern[str]]:
    """Texts of the kernel, and what may stand before such a one in a name."""
    kernel = Path(pystack.__file__).parent
    found: set[tuple[str, bool]] = set()
    for path in kernel.rglob("*.py"):
        if not path.name.startswith("sysctl"):
            found.update(strings(ast.parse(path.read_text())))
    whole = {text for text, beginning in found if not beginning}
    starts = [text for text, _ in found if text.startswith("net") and len(text) > 3]
    return whole, re.compile("|".join(starts))


# What the names of an enum's members make
COMPUTED = {f"net.netfilter.nf_conntrack_tcp_timeout_{s.name.lower()}" for s in list(TcpState)[1:9]}


def is_read(name: str, texts: set[str], starts: re.Pattern[str]) -> bool:
    """Is there a text of this name, or one that ends it, where another begins it?"""
    if any(re.fullmatch(text, name) for text in texts if text.startswith(("net", "tcp_cubic"))):
        return True
    ends = (m.start() for m in re.finditer(r"(?<=[._])\w", name))
    return any(re.escape(name[at:]) in texts and starts.fullmatch(name[:at]) for at in ends)


def test_every_name_that_can_be_set_is_read_by_the_kernel() -> None:
    texts, starts = readers()
    assert {name for name in DEFAULTS if not is_read(name, texts, starts)} == COMPUTED
    assert not is_read("net.ipv4.conf.all.bc_forwarding", texts, starts)
    assert not is_read("net.ipv4.tcp_nothing", texts, starts)
