"""Random sequences of socket calls: this machine's kernel and ours agree (hypothesis).

`W2A_SEQUENCES=100000` looks longer, at other sequences each time, and does not stop at the first
difference; `pytest -s` shows each when it is found.
"""

from __future__ import annotations

import os
import socket as so
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from actor import EVENTS, INQUIRIES, KINDS, OPTIONS
from both import _isolate
from hypothesis import HealthCheck, Phase, given, settings
from two_kernels import Linux, Step, linux, on_host

SEQUENCES = int(os.environ.get("W2A_SEQUENCES", "0"))
SETTINGS = settings(
    max_examples=SEQUENCES or 1000,
    deadline=None,
    derandomize=not SEQUENCES,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate] if SEQUENCES else [Phase.generate, Phase.shrink],
)
PAUSE = 0.01  # seconds a call is given when a sequence is repeated to rule out timing
SLOT, PORT = st.integers(0, 7), st.integers(0, 1)
SIZE, ROOM = st.sampled_from([0, 1, 100, 5000]), st.sampled_from([0, 1, 50, 9000])
PLACE = st.sampled_from(["lo", "lo", "any", "other"])
KIND, UNIX = st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)[4:])
VALUE = st.sampled_from([-1, 0, 1, 2, 64, 256, 70_000])
NAMES = st.sampled_from(sorted(OPTIONS))
WAIT = st.sampled_from([0, 2])
SENT = st.sampled_from(
    [0, 0, so.MSG_OOB, so.MSG_MORE, so.MSG_DONTWAIT, so.MSG_NOSIGNAL, so.MSG_EOR, so.MSG_DONTROUTE]
)
RECEIVED = st.sampled_from(
    [
        *(0, 0, so.MSG_PEEK, so.MSG_TRUNC, so.MSG_PEEK | so.MSG_TRUNC, so.MSG_DONTWAIT),
        *(so.MSG_WAITALL, so.MSG_WAITALL | so.MSG_PEEK, so.MSG_OOB, so.MSG_OOB | so.MSG_PEEK),
        so.MSG_ERRQUEUE,
    ]
)
MASK = st.sampled_from(sorted(EVENTS))
CALLS = st.one_of(
    st.tuples(st.just("socket"), KIND),
    st.tuples(st.just("socketpair"), UNIX),
    st.tuples(st.just("bind"), SLOT, PLACE, st.one_of(st.none(), PORT)),
    st.tuples(st.just("listen"), SLOT, st.sampled_from([-1, 0, 1, 5])),
    st.tuples(st.just("connect"), SLOT, PLACE, PORT),
    st.tuples(st.just("accept"), SLOT),
    st.tuples(st.just("wait"), SLOT, WAIT),
    st.tuples(st.just("send"), SLOT, SIZE, SENT),
    st.tuples(st.just("sendto"), SLOT, SIZE, PLACE, PORT),
    st.tuples(st.just("sendmsg"), SLOT, SIZE, SENT, st.one_of(st.none(), SLOT)),
    st.tuples(st.just("recv"), SLOT, ROOM, RECEIVED),
    st.tuples(st.just("recvfrom"), SLOT, ROOM, RECEIVED),
    st.tuples(st.just("recvmsg"), SLOT, ROOM, st.sampled_from([0, 24, 400]), RECEIVED),
    st.tuples(st.just("shutdown"), SLOT, st.integers(0, 2)),
    st.tuples(st.sampled_from(["close", "dup", "linger", "poll", "state"]), SLOT),
    st.tuples(st.sampled_from(["getsockname", "getpeername"]), SLOT),
    st.tuples(st.just("ioctl"), SLOT, st.sampled_from(sorted(INQUIRIES))),
    st.tuples(st.just("getsockopt"), SLOT, NAMES),
    st.tuples(st.just("setsockopt"), SLOT, NAMES, VALUE),
    st.tuples(st.just("select"), WAIT),
    st.tuples(st.sampled_from(["epoll_add", "epoll_mod"]), SLOT, MASK),
    st.tuples(st.just("epoll_del"), SLOT),
    st.tuples(st.just("epoll_wait"), WAIT, st.sampled_from([1, 8])),
)
STEP = st.tuples(st.integers(0, 1), CALLS).map(lambda pair: (pair[0], *pair[1]))


def listening(kind: str, place: str = "lo") -> list[Step]:
    return [(0, "socket", kind), (0, "bind", 0, place, 0), (0, "listen", 0, 5)]


def connected(kind: str, client: str = "", server_at: str = "lo", to: str = "lo") -> list[Step]:
    """Process 0 listens (socket 0) and has accepted (1) what process 1 has connected (0)."""
    connect = [(1, "socket", client or kind), (1, "connect", 0, to, 0), (0, "accept", 0)]
    return [*listening(kind, server_at), *connect]


def datagrams(kind: str) -> list[Step]:
    """Each is bound and connected to the other."""
    sockets: list[Step] = [(who, "socket", kind) for who in (0, 1)]
    bound: list[Step] = [(who, "bind", 0, "lo", who) for who in (0, 1)]
    return [*sockets, *bound, *((who, "connect", 0, "lo", 1 - who) for who in (0, 1))]


CONNECTED = connected("tcp4")
BEGIN = st.sampled_from(
    [
        *([], listening("tcp4"), CONNECTED, CONNECTED, connected("tcp6")),
        *(connected("tcp6", "tcp4", "any"), connected("tcp6", "tcp6", "any", "other")),
        *(listening("unix stream"), connected("unix stream"), connected("unix seqpacket", to="lo")),
        *(datagrams("udp4"), datagrams("udp6"), datagrams("unix dgram")),
        [*CONNECTED, (1, "wait", 0, 2), (0, "wait", 1, 2)],
        [*CONNECTED, (1, "epoll_add", 0, "edge"), (0, "epoll_add", 0, "in")],
        [(0, "socketpair", "unix stream"), (0, "epoll_add", 0, "edge")],
    ]
)
SEQUENCE = st.builds(
    lambda begin, rest: [*begin, *rest], BEGIN, st.lists(STEP, min_size=1, max_size=16)
)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Linux]:
    try:
        with linux(_isolate) as kernel:
            yield kernel
    except OSError as exc:
        pytest.skip(f"unshare: {exc}")


def told(steps: list[Step], ours: list[Any], real: list[Any]) -> str:
    """The sequence, with what each side gave where they differ."""
    lines = []
    for step, here, there in zip(steps, ours, real, strict=True):
        mark = "" if here == there else f"   <-- Linux: {there!r}"
        lines.append(f"{step}: {here!r}{mark}")
    return "\n".join(lines)


def test_random_calls_give_the_same_on_both_kernels(kernel: Linux) -> None:
    differences: list[str] = []
    count = 0

    @SETTINGS
    @given(SEQUENCE)
    def check(steps: list[Step]) -> None:
        nonlocal count
        count += 1
        ours = on_host(steps)
        real = kernel.run(steps)
        if real != ours:
            real = kernel.run(steps, PAUSE)
        if real != ours and SEQUENCES:
            differences.append(told(steps, ours, real))
            print(f"\nsequence {count} differs:\n{differences[-1]}", flush=True)
        elif SEQUENCES and count % 1000 == 0:
            print(f"{count} sequences, {len(differences)} differ", flush=True)
        else:
            assert ours == real, told(steps, ours, real)

    check()
    assert count >= (SEQUENCES or 1000)
    assert not differences, (
        f"{len(differences)} of {count} sequences differ, first:\n{differences[0]}"
    )


def test_a_difference_is_found(kernel: Linux) -> None:
    steps = [*CONNECTED, (1, "send", 0, 100, 0), (0, "ioctl", 1, "FIONREAD")]
    real = kernel.run(steps)
    assert real == on_host(steps)
    assert real[-2:] == [100, 100]
    assert "<-- Linux: 100" in told(steps, [*real[:-1], 99], real)
