"""Redirects and fragments, from a scripted link to this machine's kernel and to ours: the same
comes back from both."""

from __future__ import annotations

import os
import random
import select
import subprocess
import time
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from both import Machine, on_linux
from netfilter_steps import is_discovery
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptRedirectedHdr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pystack.core.engine import VirtualEngine
from pystack.dev.wire import Link
from pystack.host import Host, finished
from wire2app.netns import make_tap

MS = 1_000_000
MACS = {number: bytes([2, 0, 0, 0, 0, number]) for number in range(1, 6)}
US4, US6 = "10.77.0.1", "fd77::1"
NEIGHBOURS = {
    address: MACS[number]
    for number in (2, 3, 4)
    for address in (f"10.77.0.{number}", f"fd77::{number}", f"fe80::{number}")
}
ROUTER = 2
Case = list[bytes]  # frames that come in


def frame(packet: Any, sender: int = ROUTER) -> bytes:
    return bytes(Ether(src=MACS[sender].hex(":"), dst=MACS[1].hex(":")) / packet)


# -- what is played ----------------------------------------------------------------------------


def ping(far: str) -> bytes:
    if ":" in far:
        return frame(IPv6(src=far, dst=US6) / ICMPv6EchoRequest(id=7, data=b"x" * 8))
    return frame(IP(src=far, dst=US4) / ICMP(type=8, id=7) / b"xxxxxxxx")


def redirect4(
    far: str, gateway: str = "10.77.0.3", source: str = "10.77.0.2", **icmp: Any
) -> bytes:
    quoted = bytes(IP(src=US4, dst=far) / ICMP(type=0, id=7))
    fields = {"type": 5, "code": 1, "gw": gateway, **icmp}
    return frame(IP(src=source, dst=US4) / ICMP(**fields) / Raw(quoted))


def redirect6(far: str, target: str = "fe80::3", mac: int = 3, **ip: Any) -> bytes:
    message = ICMPv6ND_Redirect(tgt=target, dst=far)
    if mac:
        message /= ICMPv6NDOptDstLLAddr(lladdr=MACS[mac].hex(":"))
    quoted = IPv6(src=US6, dst=far) / ICMPv6EchoRequest(data=b"x" * 8)
    message /= ICMPv6NDOptRedirectedHdr(pkt=quoted)
    return frame(IPv6(**{"src": "fe80::2", "dst": US6, "hlim": 255, **ip}) / message)


REDIRECTS: dict[str, Callable[[str], bytes]] = {
    "of a host": redirect4,
    "of a network": lambda far: redirect4(far, code=0),
    "of a code there is not": lambda far: redirect4(far, code=9),
    "from a stranger": lambda far: redirect4(far, source="10.77.0.4"),
    "to nobody on the link": lambda far: redirect4(far, gateway="10.98.0.1"),
    "to everybody": lambda far: redirect4(far, gateway="10.77.0.255"),
    "to ourselves": lambda far: redirect4(far, gateway=US4),
    "v6": redirect6,
    "v6, to itself": lambda far: redirect6(far, target=far, mac=5),
    "v6, from a stranger": lambda far: redirect6(far, src="fe80::4"),
    "v6, from a global address": lambda far: redirect6(far, src="fd77::2"),
    "v6, from beyond": lambda far: redirect6(far, hlim=64),
    "v6, to a global address": lambda far: redirect6(far, target="fd77::3"),
    "v6, without a link address": lambda far: redirect6(far, mac=0),
}


def redirects() -> dict[str, Case]:
    """A ping from far away before and after, each from another address."""
    cases = {}
    for number, (name, redirect) in enumerate(REDIRECTS.items(), 1):
        far = f"fd99::{number:x}" if name.startswith("v6") else f"10.99.0.{number}"
        cases[name] = [ping(far), redirect(far), ping(far)]
    return cases


def cuts(rng: random.Random, length: int) -> list[tuple[int, int, bool]]:
    """Pieces (start, end, more follows) of so many bytes: whole, and then perhaps not."""
    edges = sorted({0, *(rng.randrange(8, length, 8) for _ in range(rng.randrange(1, 5))), length})
    pieces = [(a, b, b < length) for a, b in pairwise(edges)]
    wrong = rng.randrange(9)
    at = rng.randrange(len(pieces))
    start, end, more = pieces[at]
    if wrong == 0:
        pieces.insert(rng.randrange(len(pieces)), pieces[at])  # twice
    elif wrong == 1:
        pieces.insert(at, (start, max(end - 8, start + 8), True))  # twice, but shorter
    elif wrong == 2 and end + 8 <= length:
        pieces[at] = (start, end + 8, more)  # overlaps the next
    elif wrong == 3:
        pieces.pop(at)
    elif wrong == 4:
        pieces.append((start, end, not more))  # another end
    elif wrong == 5 and end - start > 8:
        pieces[at] = (start, end - 3, more)  # no multiple of eight
    if rng.random() < 0.5:
        rng.shuffle(pieces)
    return pieces


def fragments(version: int, number: int) -> Case:
    rng = random.Random(f"fragments/{version}/{number}")
    data = rng.randbytes(rng.choice((24, 100, 400)))
    if version == 4:
        whole = bytes(IP(src="10.77.0.2", dst=US4) / ICMP(type=8, id=number) / data)[20:]
    else:
        echo = ICMPv6EchoRequest(id=number, data=data)
        whole = bytes(IPv6(src="fd77::2", dst=US6) / echo)[40:]
    case = []
    for start, end, more in cuts(rng, len(whole)):
        text = Raw(whole[start:end])
        if version == 4:
            ip = IP(src="10.77.0.2", dst=US4, id=number, flags=int(more), frag=start >> 3, proto=1)
            case.append(frame(ip / text))
        else:
            header = IPv6ExtHdrFragment(nh=58, offset=start >> 3, m=int(more), id=number)
            ip = IPv6(src="fd77::2", dst=US6)
            case.append(
                frame((ip / IPv6ExtHdrDestOpt() if number % 5 == 0 else ip) / header / text)
            )
    return case


def cases() -> dict[str, Case]:
    pieces = {f"v{v}, {n}": fragments(v, n) for v in (4, 6) for n in range(1, 61)}
    return redirects() | pieces


# -- on which kernel ---------------------------------------------------------------------------


def interesting(data: bytes) -> bool:
    return data[12:14] in (b"\x08\x00", b"\x86\xdd") and not is_discovery(data)


def on_tap(m: Machine) -> dict[str, list[str]]:
    for name in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit", "ipv6/auto_flowlabels"):
        Path("/proc/sys/net", name).write_text("0")
    tap = make_tap("tap0", f"{US4}/24", f"{US6}/64", MACS[1])
    os.set_blocking(tap, False)
    commands = [
        f"neigh add {ip} lladdr {mac.hex(':')} dev tap0 nud permanent"
        for ip, mac in NEIGHBOURS.items()
    ]
    commands += ["route add default via 10.77.0.2", "route add ::/0 via fe80::2 dev tap0"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)
    found = {}
    for name, frames in cases().items():
        heard = found[name] = list[str]()
        for data in frames:
            os.write(tap, data)
        end = time.monotonic() + 0.02
        while select.select([tap], [], [], max(end - time.monotonic(), 0))[0]:
            got = os.read(tap, 2000)
            if interesting(got):
                heard.append(comparable(got))
    return found


def on_our_host() -> dict[str, list[str]]:
    engine = VirtualEngine()
    host, link = Host(engine, "h"), Link(engine)
    heard: list[bytes] = []
    link.b.on_receive(lambda data, start, end: heard.append(data))
    dev = host.add_softnic("eth0", MACS[1], link.a)
    sysctl = host.kernel.sysctl
    for name in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):
        sysctl[name] = 0
    for family in ("ipv4", "ipv6"):
        sysctl[f"net.{family}.neigh.default.delay_first_probe_time"] = 10_000
    up = host.start(host.up, dev, f"{US4}/24", f"{US6}/64")
    engine.run(until=10_000 * MS, stop=finished(up))
    for ip, mac in NEIGHBOURS.items():
        table = host.ipv6.ndisc if ":" in ip else host.arp
        table.update(dev, ip_address(ip).packed, mac, create=True)
    host.ipv4.add_route("default", "10.77.0.2")
    host.ipv6.add_route("default", "fe80::2", dev=dev)
    engine.run(until=engine.now + 5000 * MS)
    found = {}
    for name, frames in cases().items():
        heard.clear()
        for data in frames:
            link.b.send(data)
        engine.run(until=engine.now + 5 * MS)
        found[name] = [comparable(data) for data in heard if interesting(data)]
    return found


def comparable(data: bytes) -> str:
    """Without padding, and of IPv4 without identification and checksum."""
    if data[12:14] == b"\x86\xdd":
        return data[: 54 + int.from_bytes(data[18:20], "big")].hex()
    packet = data[14 : 14 + int.from_bytes(data[16:18], "big")]
    return (data[:14] + packet[:4] + packet[6:10] + packet[12:]).hex()


@cache
def theirs() -> dict[str, list[str]]:
    found: dict[str, list[str]] = on_linux(on_tap)
    return found


@cache
def ours() -> dict[str, list[str]]:
    return on_our_host()


@pytest.mark.parametrize("name", REDIRECTS)
def test_a_redirect_does_here_what_it_does_to_linux(name: str) -> None:
    assert ours()[name] == theirs()[name]


def test_redirects_are_followed_at_all() -> None:
    before, after = ours()["of a host"]
    assert (before[:12], after[:12]) == (MACS[2].hex(), MACS[3].hex())


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_are_put_together_or_not_as_linux_does(version: int) -> None:
    names = [name for name in cases() if name.startswith(f"v{version}, ") and name[4:].isdigit()]
    different = {
        name: (ours()[name], theirs()[name]) for name in names if ours()[name] != theirs()[name]
    }
    assert different == {}
    answered = sum(bool(ours()[name]) for name in names)
    assert len(names) // 4 < answered < len(names)
