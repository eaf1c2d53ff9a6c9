"""The fuzzer, short, and hypothesis on every parser of what comes from outside."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.arp import ArpPacket
from pystack.core.headers.tcp import TcpOptions
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.link.arp import Arp
from wire2app.fuzz.bound import Storm
from wire2app.fuzz.frames import repair
from wire2app.fuzz.run import run_seed
from wire2app.fuzz.target import Target

SEEDS = (0, 1, 2, 3, 2000, 2011, 10538)
FRAMES = 1500


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_nobody_would_send_leave_nothing_behind(seed: int) -> None:
    outcome = run_seed(seed, FRAMES)
    assert not outcome.failure, f"replay: wire2app fuzz --first {seed} --seeds 1\n{outcome.failure}"
    assert outcome.counts["frames"] >= FRAMES


def test_the_frames_get_everywhere() -> None:
    counts: Counter[str] = sum((run_seed(seed, 3000).counts for seed in (100, 101)), Counter())
    layers = {name.split(".")[1] for name in counts if name.startswith("drop.")}
    assert layers >= {"eth", "arp", "neigh", "ip", "ip6", "icmp", "ndisc", "tcp", "udp"}
    assert counts["TcpPassiveOpens"] > 10
    assert counts["UdpInDatagrams"] > 10
    assert counts["IpForwDatagrams"] > 10


def _forget(kernel: Kernel, skb: SkBuff, reason: Drop) -> None:
    kernel.drops[reason] += 1


def _raise(self: Any, skb: SkBuff) -> None:
    raise IndexError("a parser looked too far")


@pytest.mark.leaves("what the broken kernel forgot")
@pytest.mark.parametrize(
    ("what", "name", "broken", "says"),
    [(Kernel, "drop", _forget, "left:"), (Arp, "receive", _raise, "a parser looked too far")],
)
def test_the_fuzzer_notices(
    what: type,
    name: str,
    broken: Callable[..., None],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(what, name, broken)
    assert says in run_seed(1, 300).failure


@pytest.mark.leaves("a storm")
def test_a_program_that_talks_to_itself_without_end_is_a_storm() -> None:
    def babble(socket: Any, time: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sk:
            sk.bind(("127.0.0.1", 5))
            while True:
                sk.sendto(b"again", ("127.0.0.1", 5))
                sk.recv(10)

    target = Target(1)
    target.bound.limit = 1000
    target.processes = [target._start(target.host, babble)]
    with suppress(Storm):  # the next packet of anybody else
        target.run(1_000_000)
    assert "Storm: more than 1,000 packets received" in target.errors()[0]


@pytest.mark.leaves("a storm")
def test_events_without_end_are_a_storm() -> None:
    target = Target(1)

    def again() -> None:
        target.engine.call_later(0, again)

    again()
    target.bound.limit = 1000
    with pytest.raises(Storm, match="more than 1,000 events"):
        target.run(1_000_000)


def test_a_seed_gives_one_run() -> None:
    assert run_seed(4, 400).counts == run_seed(4, 400).counts


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), at=st.integers(0, 20))
def test_no_header_parser_raises(data: bytes, at: int) -> None:
    view = memoryview(bytes(at) + data)
    frame.unpack(view, at, len(view))
    ArpPacket.parse(view[at:])
    TcpOptions.parse(view[at:][:40])
    repair(bytes(14) + data)


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(st.binary(min_size=1, max_size=300), max_size=60), seed=st.integers(0, 3))
def test_no_bytes_at_all_unwind_the_kernel(batch: list[bytes], seed: int) -> None:
    """Nearly random ones here: behind addresses and a type that let them in."""
    target = Target(seed)
    rng = random.Random(seed)
    for data in batch:
        ethertype = rng.choice((b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"))
        target.port.inject(target.eth0.mac + bytes([2, 0, 0, 0, 0, 2]) + ethertype + data)
    target.engine.run(until=target.engine.now + 1_000_000)
    target.settle()
    assert (target.left(), target.errors()) == ({}, [])
