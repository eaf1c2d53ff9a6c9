"""The same rules and the same packets, in this machine's kernel and in ours: the same comes out.

Every frame is compared, but for the identification of IP headers, and at the end every counter of
every rule and chain.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any

import pytest
from netfilter_steps import ROUTER_MACS, SIDES, Steps, World, is_discovery, to_ipv6
from scapy.layers.l2 import Ether

from pystack.core.checksum import ones_sum
from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link, LinkPort
from pystack.host import Host, finished

ROOT = Path(__file__).resolve().parents[2]
MS = 10**6
PACKETS = 40
RULES: dict[str, str] = {}
for _text in (ROOT / "tests" / "netfilter" / "router.rules").read_text().split("\n## ")[1:]:
    _name, _, _rules = _text.partition("\n")
    RULES[_name.strip()] = _rules


class Ours:
    """Our router, with the frames it has sent."""

    def __init__(self, version: int, rules: str) -> None:
        self.world = World(version)
        self.engine = VirtualEngine()
        self.host = Host(self.engine, "router")
        sysctl = self.host.kernel.sysctl
        sysctl["net.ipv4.conf.default.forwarding"] = 1
        sysctl["net.ipv6.conf.all.forwarding"] = 1
        sysctl["net.ipv6.icmp.ratelimit"] = 0
        sysctl["net.ipv6.mld_qrv"] = 1
        for family in ("ipv4", "ipv6"):
            sysctl[f"net.{family}.neigh.default.delay_first_probe_time"] = 10_000
        sysctl["net.netfilter.nf_conntrack_acct"] = 1
        sysctl["net.ipv4.icmp_ratelimit"] = 0
        for conf in ("all", "default"):
            sysctl[f"net.ipv4.conf.{conf}.send_redirects"] = 0
        self.sent: list[tuple[int, bytes]] = []
        self.ports: dict[int, LinkPort] = {}
        for side in SIDES:
            self._add(side)
        for prefix, gateway in self.world.routes.items():
            (self.host.ipv4 if version == 4 else self.host.ipv6).add_route(prefix, gateway)
        self.host.netfilter.restore(rules, version)
        self._sockets: dict[int, Any] = {}

    def _add(self, side: int) -> None:
        link = Link(self.engine)
        self.ports[side] = link.a
        dev = self.host.add_softnic(f"eth{side}", ROUTER_MACS[side], link.b)
        link.a.on_receive(lambda frame, start, end: self.sent.append((side, frame)))
        host, world = self.host, self.world
        length = 24 if world.version == 4 else 64
        self._do(host.up, dev, f"{world.router[side]}/{length}")
        table = host.arp if world.version == 4 else host.ipv6.ndisc
        for ip in world.hosts[side]:
            table.update(dev, ip_address(ip).packed, world.neighbours[ip][1], create=True)

    def _do(self, fn: Any, *args: Any) -> None:
        task = self.host.start(fn, *args)
        self.engine.run(until=self.engine.now + 10_000 * MS, stop=finished(task))

    def _run(self) -> None:
        self.engine.run(until=self.engine.now + 25 * MS)

    def step(self, step: list[Any]) -> list[tuple[int, bytes]]:
        self.sent.clear()
        kind, *rest = step
        if kind == "frame":
            side, frame = rest
            self.ports[side].send(bytes.fromhex(frame))
        else:
            self._send(*rest)
        self._run()
        ethertype = b"\x08\x00" if self.world.version == 4 else b"\x86\xdd"
        return [
            (side, frame)
            for side, frame in self.sent
            if frame[12:14] == ethertype and not is_discovery(frame)
        ]

    def _address(self, ip: str, port: int) -> tuple[Any, ...]:
        any_address = bytes(4) if self.world.version == 4 else bytes(16)
        packed = ip_address(ip).packed if ip else any_address
        return (packed, port) if self.world.version == 4 else (packed, port, 0, 0)

    def _send(self, sport: int, dst: str, dport: int, payload: str) -> None:
        def send() -> None:
            if sport not in self._sockets:
                family = AF_INET if self.world.version == 4 else AF_INET6
                self._sockets[sport] = self.host.udp.socket(family)
                self._sockets[sport].bind(self._address("", sport))
            with suppress(OSError):  # what an earlier packet met with
                address = self._address(dst, dport)
                self._sockets[sport].sendmsg(memoryview(bytes.fromhex(payload)), 0, address)

        self.host.start(send)


def comparable(frame: bytes) -> str:
    """A frame without padding, IP identification and the header's checksum, which must be right."""
    if frame[14] >> 4 == 6:
        return frame[: 54 + int.from_bytes(frame[18:20], "big")].hex()
    length = int.from_bytes(frame[16:18], "big")
    packet = frame[14 : 14 + length]
    hlen = (packet[0] & 15) << 2
    assert ones_sum(packet[:hlen]) == 0xFFFF, "bad IP checksum"
    return (frame[:14] + packet[:4] + packet[6:10] + packet[12:]).hex()


def blocks(save: str) -> dict[str, list[str]]:
    """The tables of an iptables-save file by name; tables and chains come in any order."""
    lines = [line for line in save.splitlines() if not line.startswith("#")]
    tables = "\n".join(lines).split("COMMIT")
    return {
        table.split()[0]: sorted(table.strip().split("\n"), key=lambda line: line.split("-A")[-1])
        for table in tables
        if table.strip()
    }


def missing() -> str:
    """Why this machine's kernel cannot be asked; empty if it can."""
    for program in ("iptables-legacy-restore", "ip6tables-legacy-restore"):
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            return f"{program} is not installed"
    probe = subprocess.run(["unshare", "-rn", "true"], capture_output=True, text=True)
    return f"no network namespaces here: {probe.stderr.strip()}" if probe.returncode else ""


def linux(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "netfilter_linux.py")],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def play(version: int, name: str) -> tuple[dict[str, Any], list[list[tuple[int, bytes]]], str]:
    """Our side of a case: what Linux shall do the same with, and what came out here."""
    rules = RULES[name] if version == 4 else to_ipv6(RULES[name])
    ours = Ours(version, rules)
    steps = Steps(name, ours.world)
    played, came = [], []
    for _ in range(PACKETS):
        step = steps.next()
        frames = ours.step(step)
        for side, frame in frames:
            steps.heard(side, frame)
        played.append(step)
        came.append(frames)
    expected = [len(frames) for frames in came]
    case = {"version": version, "rules": rules, "steps": played, "expected": expected}
    return case, came, ours.host.netfilter.save(version, counters=True)


def describe(step: list[Any]) -> str:
    if step[0] == "udp":
        return f"the router sends {step[1:]}"
    return f"from side {step[1]}: {Ether(bytes.fromhex(step[2])).summary()}"


@pytest.fixture(scope="module")
def both() -> dict[tuple[int, str], Any]:
    """Both sides' results of every set of rules."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    ours = {(version, name): play(version, name) for version in (4, 6) for name in RULES}
    theirs = linux([case for case, _, _ in ours.values()])
    return {key: (*ours[key], result) for key, result in zip(ours, theirs, strict=True)}


def test_there_are_enough_rules_and_packets() -> None:
    assert len(RULES) >= 20 and len(RULES) * PACKETS >= 1000


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", RULES)
def test_same_frames_and_counters_as_linux(
    both: dict[tuple[int, str], Any], name: str, version: int
) -> None:
    case, came, save, theirs = both[version, name]
    for number, (step, here, there) in enumerate(
        zip(case["steps"], came, theirs["frames"], strict=True)
    ):
        ours = [(side, comparable(frame)) for side, frame in here]
        linux = [(side, comparable(bytes.fromhex(frame))) for side, frame in there]
        assert ours == linux, (
            f"step {number}, {describe(step)}: ours "
            f"{[(side, Ether(frame).summary()) for side, frame in here]}, Linux "
            f"{[(side, Ether(bytes.fromhex(frame)).summary()) for side, frame in there]}"
        )
    assert blocks(save) == blocks(theirs["save"])
