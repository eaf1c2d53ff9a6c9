"""A router in network namespaces of this machine's kernel, fed with frames: run as a program.

Reads a list of cases as JSON, `{"version": 4, "rules": ..., "steps": [...]}`, and writes for each
what iptables-save says at the end and, for each step, the frames that came out.  Steps and frames
are those of `netfilter_steps`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from netfilter_steps import ROUTER_MACS, SIDES, World, is_discovery

from wire2app.netns import enter_namespace, make_tap

ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
PROGRAMS = {4: "iptables-legacy", 6: "ip6tables-legacy"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
SYSCTLS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv4/icmp_ratelimit": 0,
    "net/ipv4/icmp_msgs_per_sec": 1_000_000,
    "net/ipv4/icmp_msgs_burst": 1_000_000,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/icmp/ratelimit": 0,
    "net/ipv6/auto_flowlabels": 0,
    # groups are told at once: before the rules count
    "net/ipv6/conf/default/mldv2_unsolicited_report_interval": 1,
    "net/netfilter/nf_conntrack_acct": 1,
}


class Router:
    def __init__(self, version: int, rules: str) -> None:
        self.version = version
        world = World(version)
        enter_namespace()
        for name, value in SYSCTLS.items():
            Path("/proc/sys", name).write_text(str(value))
        self.taps = {
            side: make_tap(
                f"eth{side}", f"10.77.{side}.1/24", f"fd77:{side}::1/64", ROUTER_MACS[side]
            )
            for side in SIDES
        }
        commands = [f"route add {prefix} via {via}" for prefix, via in world.routes.items()]
        for ip, (side, mac) in world.neighbours.items():
            commands.append(f"neigh add {ip} lladdr {mac.hex(':')} dev eth{side} nud permanent")
        for side in SIDES:
            os.set_blocking(self.taps[side], False)
            for name in ("send_redirects", "rp_filter"):
                Path(f"/proc/sys/net/ipv4/conf/eth{side}/{name}").write_text("0")
        run(["ip", "-batch", "-"], "\n".join(commands))
        time.sleep(0.05)
        run([PROGRAMS[version] + "-restore"], rules)
        self.sockets: dict[int, socket.socket] = {}

    def step(self, step: list[Any], expected: int) -> list[tuple[int, str]]:
        kind, *rest = step
        if kind == "frame":
            side, frame = rest
            os.write(self.taps[side], bytes.fromhex(frame))
        else:
            self._send(*rest)
        found = self._read()
        deadline = time.monotonic() + 0.03
        while len(found) < expected and time.monotonic() < deadline:
            select.select(list(self.taps.values()), [], [], 0.005)
            found += self._read()
        return found

    def _send(self, sport: int, dst: str, dport: int, payload: str) -> None:
        if sport not in self.sockets:
            self.sockets[sport] = socket.socket(FAMILIES[self.version], socket.SOCK_DGRAM)
            self.sockets[sport].bind(("", sport))
        with suppress(OSError):  # what an earlier packet met with, or EPERM: nothing comes out
            self.sockets[sport].sendto(bytes.fromhex(payload), (dst, dport))

    def _read(self) -> list[tuple[int, str]]:
        found = []
        for side, tap in self.taps.items():
            while True:
                try:
                    frame = os.read(tap, 65536)
                except BlockingIOError:
                    break
                if frame[12:14] == ETHERTYPES[self.version] and not is_discovery(frame):
                    found.append((side, frame.hex()))
        return found

    def close(self) -> None:
        for tap in self.taps.values():
            os.close(tap)
        for sock in self.sockets.values():
            sock.close()


def run(command: list[str], text: str = "") -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "XTABLES_LOCKFILE": f"/tmp/xtables.{os.getpid()}"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def main() -> None:
    results = []
    for case in json.load(sys.stdin):
        router = Router(case["version"], case["rules"])
        frames = [
            router.step(step, expected)
            for step, expected in zip(case["steps"], case["expected"], strict=True)
        ]
        results.append({"frames": frames, "save": run([PROGRAMS[router.version] + "-save", "-c"])})
        router.close()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
