"""RACK-TLP (RFC 8985), PRR's bounds, F-RTO (RFC 5682) and undo (Eifel, DSACK)."""

from __future__ import annotations

from tcp_peer import MS, Dialogue, pattern

from pystack.transport.tcp import CaState, prr

SACK = "mss 1000,sackOK,wscale 0"
STAMPS = "mss 1012,sackOK,TS val 100 ecr 0,wscale 0"


def _flight(n: int = 10, options: str = SACK, rtt: int = 100, **sysctl: int) -> Dialogue:
    """`n` segments just sent on a path whose RTT of `rtt` ms is known; numbers start at 1001."""
    t = Dialogue(tcp_congestion_control="reno", **sysctl)
    t.accept(options)
    t.write(b"x" * 1000)
    t.run(rtt)
    echo = f" <TS val 150 ecr {t.tsval() - rtt}>" if "TS" in options else ""
    t.inject(f". 1:1(0) ack 1001 win 32768{echo}")
    t.sk.rtt.min_us = rtt * 1000  # the handshake of a dialogue takes no time at all
    t.sk.rtt.srtt_us = rtt * 8000
    t.sk.rtt.set_rto()
    t.ip.sent.clear()
    t.write(pattern(1000 * n))
    assert len(t.ip.sent) == n
    t.ip.sent.clear()
    return t


# -- RACK ----------------------------------------------------------------------------------


def test_one_sack_retransmits_after_a_quarter_of_the_least_rtt() -> None:
    t = _flight()
    t.run(100)
    t.inject(". 1:1(0) ack 1001 win 32768 <sack 10001:11001>")
    assert t.sk.cw.state is CaState.DISORDER
    t.expect_after(". 1001:2001(1000) ack 1", 27)  # 25 ms and the timer's least 2 ms
    assert (t.sk.cw.state, t.sk.rtx.lost_out) == (CaState.RECOVERY, 9)


def test_reordering_within_the_window_retransmits_nothing() -> None:
    t = _flight()
    t.run(100)
    t.inject(". 1:1(0) ack 1001 win 32768 <sack 10001:11001>")
    t.run(20)
    t.inject(". 1:1(0) ack 11001 win 32768")
    t.silent(50)
    assert (t.sk.stats.reord_seen, t.sk.reordering) == (1, 10)
    assert t.sk.cw.state is CaState.OPEN


def test_segments_sent_later_than_what_was_delivered_are_not_lost() -> None:
    t = _flight(5)
    t.run(50)
    t.write(pattern(5000))
    t.ip.sent.clear()
    t.run(50)
    for end in (3001, 4001, 5001):
        t.inject(f". 1:1(0) ack 1001 win 32768 <sack 2001:{end}>")
    t.expect(". 1001:2001(1000) ack 1")
    assert t.sk.rtx.lost_out == 1  # the sixth to the tenth are young


def test_lost_retransmission_is_found_without_a_timeout() -> None:
    t = _flight()
    t.run(100)
    t.inject(". 1:1(0) ack 1001 win 32768 <sack 2001:5001>")
    t.expect(". 1001:2001(1000) ack 1")
    t.write(pattern(5000))
    t.inject(". 1:1(0) ack 1001 win 32768 <sack 2001:11001>")
    t.expect(". 11001:12001(1000) ack 1")
    t.ip.sent.clear()
    t.run(110)
    t.inject(". 1:1(0) ack 1001 win 32768 <sack 2001:12001>")  # what was sent after it arrived
    t.expect(". 1001:2001(1000) ack 1")
    assert (t.mib["TcpExtTCPLostRetransmit"], t.mib["TcpExtTCPTimeouts"]) == (1, 0)


def test_dsacks_widen_the_reordering_window_once_a_round_trip() -> None:
    t = _flight()
    t.run(100)
    t.sk.stats.reord_seen = 1
    t.sk.total_retrans = 5
    t.inject(". 1:1(0) ack 3001 win 32768 <sack 1001:2001>")
    t.inject(". 1:1(0) ack 4001 win 32768 <sack 2001:3001>")
    assert t.sk.rack.reo_wnd_steps == 2
    assert t.sk.rack.reo_wnd_persist == 16


def test_dsack_for_more_than_was_ever_sent_again_is_dubious() -> None:
    t = _flight()
    t.inject(". 1:1(0) ack 3001 win 32768 <sack 1001:2001>")
    assert t.mib["TcpExtTCPDSACKIgnoredDubious"] == 1
    assert not t.sk.rack.dsack_seen


def test_timeout_spares_segments_too_young_to_be_lost() -> None:
    t = _flight(5, tcp_early_retrans=0)
    t.run(t.sk.rtt.rto / MS - 20)
    t.write(pattern(3000))
    t.run(20)
    assert (t.sk.cw.state, t.sk.rtx.lost_out, t.sk.rtx.packets_out) == (CaState.LOSS, 5, 8)


def test_reduction_lets_the_first_retransmission_out_and_no_more_at_ssthresh() -> None:
    t = _flight()
    t.sk.prior_cwnd = t.sk.cw.ssthresh = t.sk.rtx.in_flight
    t.sk.prr_delivered = t.sk.prr_out = 0
    prr.reduce_cwnd(t.sk, 1, 0, advanced=False)
    assert t.sk.cw.cwnd == t.sk.rtx.in_flight + 1
    t.sk.prr_out = 1
    prr.reduce_cwnd(t.sk, 1, 0, advanced=False)
    assert t.sk.cw.cwnd == t.sk.rtx.in_flight


# -- tail loss probe -----------------------------------------------------------------------


def test_tail_loss_probe_sends_the_last_segment_again_after_two_rtts() -> None:
    t = _flight()
    t.expect_after("P. 10001:11001(1000) ack 1", 202)
    assert (t.mib["TcpExtTCPLossProbes"], t.sk.rtx.retrans_out) == (1, 0)
    t.expect_after(". 1001:2001(1000) ack 1", t.sk.rtt.rto / MS)  # the RTO starts anew


def test_tail_loss_probe_of_one_segment_allows_for_a_delayed_ack() -> None:
    t = _flight(1, rtt=20)
    t.sk.rtt.rto = 1000 * MS
    t.sk.xmit_pending = None
    t.ip.sent.clear()
    t.inject(". 1:1(0) ack 2001 win 32768")
    t.sk.rtt.rto = 1000 * MS
    t.write(b"y" * 10)
    t.expect("P. 2001:2011(10) ack 1")
    t.expect_after("P. 2001:2011(10) ack 1", (t.sk.rtt.srtt_us >> 2) / 1000 + 200)


def test_tail_loss_probe_prefers_new_data() -> None:
    t = _flight()
    t.write(pattern(3000))
    t.ip.sent.clear()
    t.expect_after(". 11001:12001(1000) ack 1", 202)
    assert t.sk.rtx.packets_out == 11  # one more than cwnd


def test_probe_that_repaired_the_tail_reduces_the_window_once() -> None:
    t = _flight()
    t.run(202)
    t.inject(". 1:1(0) ack 10001 win 32768")
    assert t.sk.cw.ssthresh > 100
    t.inject(". 1:1(0) ack 11001 win 32768")
    assert t.mib["TcpExtTCPLossProbeRecovery"] == 0  # nothing above the probe is acknowledged
    t.write(b"x" * 1000)
    t.inject(". 1:1(0) ack 12001 win 32768")
    assert t.mib["TcpExtTCPLossProbeRecovery"] == 1
    assert (t.sk.cw.state, t.sk.cw.ssthresh) == (CaState.OPEN, t.sk.prior_cwnd // 2)


def test_dsack_of_the_probe_shows_that_nothing_was_lost() -> None:
    t = _flight()
    t.run(202)
    t.inject(". 1:1(0) ack 10001 win 32768")
    t.write(b"x" * 1000)
    t.inject(". 1:1(0) ack 12001 win 32768 <sack 10001:11001>")
    assert t.mib["TcpExtTCPLossProbeRecovery"] == 0
    assert not t.sk.rack.dsack_seen


def test_no_probe_without_sack_or_with_tcp_early_retrans_off() -> None:
    for t in (_flight(options="mss 1000"), _flight(tcp_early_retrans=0)):
        t.expect_after(". 1001:2001(1000) ack 1", t.sk.rtt.rto / MS)


# -- undo and F-RTO ------------------------------------------------------------------------


def _window(t: Dialogue) -> tuple[CaState, int]:
    return t.sk.cw.state, t.sk.cw.ssthresh


def test_dsack_for_every_retransmission_restores_the_window() -> None:
    t = _flight()
    t.run(100)
    before = t.sk.cw.cwnd, t.sk.cw.ssthresh
    t.inject(". 1:1(0) ack 1001 win 32768 <sack 2001:5001>")
    t.expect(". 1001:2001(1000) ack 1")
    assert t.sk.cw.ssthresh < before[1]
    t.inject(". 1:1(0) ack 5001 win 32768 <sack 1001:2001>")
    assert t.mib["TcpExtTCPDSACKUndo"] == 1
    assert t.sk.cw.cwnd >= before[0]
    assert _window(t) == (CaState.OPEN, before[1])


def test_echo_from_before_the_retransmission_undoes_recovery() -> None:
    t = _flight(options=STAMPS)
    echo = t.tsval()
    t.run(100)
    old = t.sk.cw.ssthresh
    t.inject(f". 1:1(0) ack 1001 win 32768 <TS val 200 ecr {echo},sack 2001:5001>")
    assert t.sk.cw.state is CaState.RECOVERY
    t.inject(f". 1:1(0) ack 11001 win 32768 <TS val 201 ecr {echo}>")
    assert t.mib["TcpExtTCPFullUndo"] == 1
    assert _window(t) == (CaState.OPEN, old)


def test_echo_from_before_the_timeout_undoes_it() -> None:
    t = _flight(options=STAMPS, tcp_early_retrans=0, tcp_frto=0)
    echo, before = t.tsval(), (t.sk.cw.cwnd, t.sk.cw.ssthresh)
    t.run(t.sk.rtt.rto / MS)
    t.expect(". 1001:2001(1000) ack 1")
    t.inject(f". 1:1(0) ack 2001 win 32768 <TS val 500 ecr {echo}>")
    assert t.mib["TcpExtTCPLossUndo"] == 1
    assert t.sk.cw.cwnd >= before[0]
    assert _window(t) == (CaState.OPEN, max(before[1], before[0] * 3 // 4))


def test_frto_finds_a_timeout_spurious_when_the_originals_arrive() -> None:
    t = _flight(tcp_early_retrans=0)
    t.run(t.sk.rtt.rto / MS)
    t.expect(". 1001:2001(1000) ack 1")
    t.write(pattern(4000))
    t.inject(". 1:1(0) ack 2001 win 32768")  # the original's ACK, late
    t.expect(". 11001:12001(1000) ack 1", ". 12001:13001(1000) ack 1")  # new data, not lost
    t.inject(". 1:1(0) ack 3001 win 32768")
    assert t.mib["TcpExtTCPSpuriousRTOs"] == 1
    assert t.sk.cw.state is CaState.OPEN
    assert t.sk.rtx.lost_out == 0


def test_frto_goes_on_with_recovery_when_the_loss_was_real() -> None:
    t = _flight(tcp_early_retrans=0)
    t.run(t.sk.rtt.rto / MS)
    t.expect(". 1001:2001(1000) ack 1")
    t.write(pattern(4000))
    t.inject(". 1:1(0) ack 2001 win 32768")
    t.ip.sent.clear()
    t.inject(". 1:1(0) ack 2001 win 32768 <sack 11001:12001>")
    assert (t.sk.cw.state, t.sk.undo.frto) == (CaState.LOSS, False)
    t.expect(". 2001:3001(1000) ack 1")
    assert t.mib["TcpExtTCPSpuriousRTOs"] == 0


def test_frto_off_retransmits_at_once() -> None:
    t = _flight(tcp_early_retrans=0, tcp_frto=0)
    t.run(t.sk.rtt.rto / MS)
    t.expect(". 1001:2001(1000) ack 1")
    t.write(pattern(4000))
    t.inject(". 1:1(0) ack 2001 win 32768")
    t.expect(". 2001:3001(1000) ack 1")
