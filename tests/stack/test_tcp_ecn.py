"""ECN between hosts, as the wire shows it (RFC 3168)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tcp_peer import Dialogue, pattern

from pystack.core.headers.tcp import TH_ACK, TH_CWR, TH_ECE, TH_SYN

ECT0, CE = 2, 3
SYN_ECN = TH_SYN | TH_ECE | TH_CWR


class Marked(Dialogue):
    """A dialogue that also sees the ECN bits of the IP header, and sets them."""

    def __init__(self, **sysctl: Any) -> None:
        super().__init__(**sysctl)
        self.tos: list[int] = []
        send: Callable[..., bool] = self.ip.send

        def record(*args: Any, tos: int = 0, **kwargs: Any) -> bool:
            self.tos.append(tos)
            return send(*args, tos=tos, **kwargs)

        self.ip.send = record  # type: ignore[method-assign]

    def inject_marked(self, line: str, tos: int, **fields: int) -> None:
        skb = self.segment(line, None, **fields)
        skb.tos = tos
        self.deliver(skb)

    def flags(self) -> list[int]:
        """Of what has been sent since the last time."""
        return [self.next().header.flags for _ in range(len(self.ip.sent))]


def _accepted(**sysctl: Any) -> Marked:
    t = Marked(tcp_ecn=2, **sysctl)
    t.listen()
    t.inject("S 0:0(0) win 32768 <mss 1000,sackOK>", flags=SYN_ECN)
    t.our_isn = int.from_bytes(t.ip.sent[0][1][4:8], "big")
    assert t.flags() == [TH_SYN | TH_ACK | TH_ECE]
    t.inject(". 1:1(0) ack 1 win 32768")
    assert t.listener is not None
    t.sk = t.call(t.listener.accept)
    t.tos.clear()
    return t


@pytest.mark.parametrize(
    ("sysctl", "flags", "tos", "agreed"),
    [
        (0, SYN_ECN, 0, False),
        (1, SYN_ECN, 0, True),
        (2, SYN_ECN, 0, True),
        (2, TH_SYN | TH_ECE, 0, False),
        (2, TH_SYN | TH_CWR, 0, False),
        (2, SYN_ECN, ECT0, False),
        (2, SYN_ECN, CE, False),
    ],
)
def test_listener_agrees_to_a_clean_offer(sysctl: int, flags: int, tos: int, agreed: bool) -> None:
    t = Marked(tcp_ecn=sysctl)
    t.listen()
    t.inject_marked("S 0:0(0) win 32768 <mss 1000>", tos, flags=flags)
    assert t.flags() == [TH_SYN | TH_ACK | TH_ECE * agreed]


@pytest.mark.parametrize(
    ("sysctl", "answer", "syn", "used"),
    [
        (0, TH_ECE, TH_SYN, False),
        (2, TH_ECE, TH_SYN, False),
        (1, TH_ECE, SYN_ECN, True),
        (1, 0, SYN_ECN, False),
        (1, TH_ECE | TH_CWR, SYN_ECN, False),  # a server that reflects what it gets
    ],
)
def test_connect_offers_and_takes_a_proper_answer(
    sysctl: int, answer: int, syn: int, used: bool
) -> None:
    t = Marked(tcp_ecn=sysctl)
    t.start_connect()
    t.our_isn = t.sk.iss
    assert t.flags() == [syn]
    t.inject("S. 0:0(0) ack 1 win 32768 <mss 1000>", flags=TH_SYN | TH_ACK | answer)
    assert (t.sk.ecn is not None) is used


def test_new_data_bears_ect_and_acks_do_not() -> None:
    t = _accepted()
    t.write(pattern(2000))
    t.inject_marked("P. 1:101(100) ack 2001 win 32768", ECT0)
    t.run(500)
    assert t.tos == [ECT0, ECT0, 0]


def test_every_ack_echoes_a_mark_until_cwr() -> None:
    t = _accepted()
    seen = []
    for n, (tos, cwr) in enumerate([(ECT0, 0), (CE, 0), (ECT0, 0), (ECT0, TH_CWR), (ECT0, 0)]):
        line = f". {1 + 1000 * n}:{1001 + 1000 * n}(1000) ack 1 win 32768"
        t.inject_marked(line, tos, flags=TH_ACK | cwr)
        t.run(300)
        seen.append([bool(flags & TH_ECE) for flags in t.flags()])
    assert seen == [[False], [True], [True], [False], [False]]


def test_mark_on_data_out_of_order_is_echoed() -> None:
    t = _accepted()
    t.inject_marked(". 1001:2001(1000) ack 1 win 32768", CE)
    assert [bool(flags & TH_ECE) for flags in t.flags()] == [True]


def test_window_is_reduced_once_a_round_trip_and_cwr_sent_once() -> None:
    t = _accepted(tcp_congestion_control="reno", tcp_early_retrans=0)
    t.run(10)
    t.write(pattern(30_000))
    t.flags()
    cwrs, thresholds = [], []
    for ack in 1001, 2001, 3001, 4001:
        t.run(10)
        t.inject(f". 1:1(0) ack {ack} win 32768", flags=TH_ACK | TH_ECE)
        cwrs += [bool(flags & TH_CWR) for flags in t.flags()]
        thresholds.append(t.sk.cw.ssthresh)
    assert thresholds == [5] * 4
    assert cwrs[0] and sum(cwrs) == 1


def test_ece_without_ecn_means_nothing() -> None:
    t = Dialogue()
    t.accept()
    t.run(10)
    t.write(pattern(5000))
    t.inject(". 1:1(0) ack 1001 win 32768", flags=TH_ACK | TH_ECE)
    assert t.sk.cw.ssthresh == 0x7FFFFFFF
