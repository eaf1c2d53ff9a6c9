"""Random sequences of socket calls: this machine's kernel and ours agree (hypothesis).

`W2A_SEQUENCES=100000` looks longer, at other sequences each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from both import _isolate
from hypothesis import HealthCheck, given, settings
from two_kernels import OPTIONS, Linux, Step, linux, on_host

SEQUENCES = int(os.environ.get("W2A_SEQUENCES", "0"))
SETTINGS = settings(
    max_examples=SEQUENCES or 1000,
    deadline=None,
    derandomize=not SEQUENCES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PAUSE = 0.01  # seconds a call is given when a sequence is repeated to rule out timing
SLOT, PORT, SIZE = st.integers(0, 7), st.integers(0, 1), st.sampled_from([0, 1, 100, 5000])
VALUE = st.sampled_from([-1, 0, 1, 2, 64, 256, 70_000])
NAMES = st.sampled_from(sorted(OPTIONS))
CALLS = st.one_of(
    st.tuples(st.just("socket"), st.booleans()),
    st.tuples(st.just("bind"), SLOT, st.one_of(st.none(), PORT), st.booleans()),
    st.tuples(st.just("listen"), SLOT, st.sampled_from([-1, 0, 1, 5])),
    st.tuples(st.just("connect"), SLOT, PORT),
    st.tuples(st.just("accept"), SLOT),
    st.tuples(st.just("send"), SLOT, SIZE),
    st.tuples(st.just("sendto"), SLOT, SIZE, PORT),
    st.tuples(st.just("recv"), SLOT, st.sampled_from([0, 1, 50, 9000]), st.booleans()),
    st.tuples(st.just("recvfrom"), SLOT, st.sampled_from([0, 50, 9000])),
    st.tuples(st.just("shutdown"), SLOT, st.integers(0, 2)),
    st.tuples(st.sampled_from(["close", "dup", "linger", "inq", "poll", "state"]), SLOT),
    st.tuples(st.sampled_from(["getsockname", "getpeername"]), SLOT),
    st.tuples(st.just("getsockopt"), SLOT, NAMES),
    st.tuples(st.just("setsockopt"), SLOT, NAMES, VALUE),
)
STEP = st.tuples(st.integers(0, 1), CALLS).map(lambda pair: (pair[0], *pair[1]))
CONNECTED: list[Step] = [
    (0, "socket", True),
    (0, "bind", 0, 0, False),
    (0, "listen", 0, 5),
    (1, "socket", True),
    (1, "connect", 0, 0),
    (0, "accept", 0),
]
LISTENING, DATAGRAMS = (
    CONNECTED[:3],
    [(0, "socket", False), (0, "bind", 0, 0, False), (1, "socket", False), (1, "connect", 0, 0)],
)
BEGIN = st.sampled_from([[], LISTENING, CONNECTED, CONNECTED, DATAGRAMS])
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
    @SETTINGS
    @given(SEQUENCE)
    def check(steps: list[Step]) -> None:
        ours = on_host(steps)
        real = kernel.run(steps)
        if real != ours:
            real = kernel.run(steps, PAUSE)
        assert ours == real, told(steps, ours, real)

    check()


def test_a_difference_is_found(kernel: Linux) -> None:
    steps = [*CONNECTED, (1, "send", 0, 100), (0, "inq", 1)]
    real = kernel.run(steps)
    assert real == on_host(steps)
    assert real[-2:] == [100, 100]
    assert "<-- Linux: 100" in told(steps, [*real[:-1], 99], real)
