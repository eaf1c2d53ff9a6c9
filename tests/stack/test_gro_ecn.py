"""GRO and ECN (RFC 3168): what the congestion bits say must survive merging."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_gro import Bench, Segment, flow

from pystack.core.headers.tcp import TH_ACK, TH_CWR, TH_ECE

ECT1, ECT0, CE = 1, 2, 3


def _with_tos(segment: Segment, tos: int) -> Segment:
    return replace(segment, ip={"tos": tos})


@pytest.mark.parametrize("tos", [0, ECT1, ECT0, CE])
def test_equal_codepoints_are_merged(tos: int) -> None:
    assert Bench().sizes(*(_with_tos(s, tos) for s in flow(3))) == [3]


@pytest.mark.parametrize(("first", "then"), [(ECT0, CE), (CE, ECT0), (0, ECT0), (ECT0, ECT1)])
def test_other_codepoint_starts_a_packet(first: int, then: int) -> None:
    segments = flow(4)
    marked = [_with_tos(s, tos) for s, tos in zip(segments, [first] * 2 + [then] * 2, strict=True)]
    assert Bench().sizes(*marked) == [2, 2]


def test_segments_with_ece_are_merged_among_themselves() -> None:
    plain, echoing = TH_ACK, TH_ACK | TH_ECE
    flags = [plain, plain, echoing, echoing, echoing, plain]
    segments = [replace(s, flags=f) for s, f in zip(flow(6), flags, strict=True)]
    assert Bench().sizes(*segments) == [2, 3, 1]


@pytest.mark.parametrize("ece", [0, TH_ECE])
def test_cwr_stands_at_the_head_of_a_packet(ece: int) -> None:
    plain = TH_ACK | ece
    flags = [plain, plain, plain | TH_CWR, plain, plain]
    segments = [replace(s, flags=f) for s, f in zip(flow(5), flags, strict=True)]
    assert Bench().sizes(*segments) == [2, 3]
