"""Two hosts on a wire, or two namespaces of this machine with a veth pair, set up by the same
commands of `ip`; then the same tools asked on the first of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

import pytest

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host
from pystack.tools.tool import ToolError

MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"
SETUP = (
    "ip link set eth0 up",
    "ip addr add 10.77.0.{n}/24 brd + dev eth0",
    "ip addr add fd77::{n}/64 dev eth0 nodad",
)
_MARK = "=== "
_SCRIPT = """
ip link set lo up
ip link add eth0 address {0} type veth peer name p0 address {1}
unshare -n sleep 60 & peer=$!
trap 'kill $peer' EXIT
while [ "$(readlink /proc/$peer/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link set p0 netns $peer name eth0
nsenter -t $peer -n sh -c 'sysctl -qw net.ipv6.conf.eth0.accept_dad=0; {2}'
sysctl -qw net.ipv6.conf.eth0.accept_dad=0
{3}
"""


def simulated(commands: Sequence[str]) -> list[str]:
    """What each command prints, errors included."""
    engine = VirtualEngine()
    link = Link(engine)
    hosts = [Host(engine, name) for name in ("a", "b")]
    for number, (host, port) in enumerate(zip(hosts, (link.a, link.b), strict=True), 1):
        host.kernel.sysctl["net.ipv6.conf.default.dad_transmits"] = 0
        host.add_softnic("eth0", bytes.fromhex(MACS[number - 1].replace(":", "")), port)
        for command in SETUP:
            host.tool(command.format(n=number))
    printed = []
    for command in commands:
        try:
            printed.append(hosts[0].tool(command))
        except ToolError as exc:
            printed.append(exc.output or f"{exc}\n")
    return printed


def real(commands: Sequence[str]) -> list[str]:
    """The same on this machine, in namespaces of their own; skips without them."""
    setups = ["; ".join(SETUP).format(n=n) for n in (1, 2)]
    body = "\n".join([*setups[0].split("; "), *(f"echo '{_MARK}'; {c} 2>&1" for c in commands)])
    script = _SCRIPT.format(*MACS, setups[1], body)
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    if _MARK not in done.stdout:
        pytest.skip(f"no namespaces with veth here: {done.stderr.strip()[:200]}")
    return [part.removeprefix("\n") for part in done.stdout.split(_MARK)[1:]]


def tidied(text: str) -> str:
    """Without what depends on the kind of device and on the moment."""
    text = re.sub(r"@\w+", "", text)
    text = re.sub(r" (qdisc \w+|link-netnsid \d+|nodad)", "", text)
    text = re.sub(r"(?m)^\d+: ", "", text)
    text = re.sub(r" {2,}", " ", text)
    text = re.sub(r"(time|rtt min/avg/max/mdev)[ =]+\S+ ?(ms)?", r"\1", text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())
