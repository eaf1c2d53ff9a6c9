"""Our packetdrill scripts with the RTL NIC in the path, on both simulators.

All of them take minutes (`wire2app packetdrill --rtl`); here each row of T in docs/features.md has
some.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SEED, SIMS

from wire2app.packetdrill import OWN, OverRtl

SAMPLE = {
    "T1": (
        "simultaneous-open-timestamps",
        "half-close",
        "reset-closing-states",
        "simultaneous-close-data",
    ),
    "T2": ("accept-overflow-drop", "accept-overflow-abort"),
    "T3": ("syncookie-timestamps",),
    "T4": ("time-wait-reuse",),
    "T5": ("accept-overflow-drop",),
    "T6": ("partial-write", "rcvbuf-autotune", "window-clamp-listener"),
    "T7": ("cork-and-push", "urgent-send", "urgent-receive"),
    "T8": ("zero-window-probe", "urgent-window"),
    "T9": ("rack-lost-retransmit", "tail-loss-probe", "rto-backoff", "paws"),
    "T10": ("congestion-control", "ecn-sender", "large-segments"),
    "T11": ("connect-timeout", "keepalive-abort", "linger2"),
    "T12": ("close-unread", "linger-acked", "errors"),
}
OVER_IPV6 = (
    *("handshake-active", "handshake-passive", "data-and-close", "retransmit"),
    *("ipv6-packet-too-big", "ipv6-unreachable", "reset-closed-port"),
)
WRONG = OWN / "wrong-ack.pkt"


@pytest.mark.parametrize("sim", SIMS)
def test_every_row_of_tcp_holds_over_the_rtl_and_a_wrong_script_fails_with_its_line(
    sim: str, tmp_path: Path
) -> None:
    names = sorted({name for row in SAMPLE.values() for name in row})
    paths = [OWN / f"{name}.pkt" for name in names]
    *results, wrong = OverRtl(sim, "fast", SEED, tmp_path)([*paths, WRONG], ipv6=False)
    assert [f"{r.path}:{r.line}: {r.message}" for r in results if r.status != "pass"] == []
    assert len(results) == len(names)
    assert wrong.status == "fail" and wrong.line == 8
    assert "expected: 102" in wrong.message and "actual: 101" in wrong.message


@pytest.mark.parametrize("sim", SIMS)
def test_scripts_pass_over_ipv6_and_the_rtl(sim: str, tmp_path: Path) -> None:
    paths = [OWN / f"{name}.pkt" for name in OVER_IPV6]
    results = list(OverRtl(sim, "fast", SEED, tmp_path)(paths, ipv6=True))
    assert [(r.path, r.status, r.message) for r in results if r.status != "pass"] == []
    assert len(results) == len(paths)
