"""Loss recovery: fast retransmit with and without SACK, timeouts, reordering, reneging, PMTU."""

from __future__ import annotations

import errno

import pytest
from tcp_peer import MS, PEER, Dialogue, pattern

from pystack.transport.tcp import CaState, TcpState


def _ten_segments(options: str = "mss 1000,sackOK,wscale 0", **sysctl: int) -> Dialogue:
    """Ten segments in flight, none acknowledged."""
    t = Dialogue(tcp_congestion_control="reno", tcp_early_retrans=0, **sysctl)
    t.accept(options)
    t.sk.rtt.sample(10_000, t.sk.snd_una, t.sk.snd_nxt)
    t.sk.rtt.min_us = 10_000  # the handshake of a dialogue takes no time at all
    t.run(10)
    t.write(pattern(10_000))
    assert len(t.ip.sent) == 10
    t.ip.sent.clear()
    t.run(10)
    return t


def test_three_sacked_segments_retransmit_the_hole_at_once() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 1 win 32768 <sack 1001:2001>")
    t.inject(". 1:1(0) ack 1 win 32768 <sack 1001:3001>")
    t.silent()
    assert t.sk.cw.state is CaState.DISORDER
    t.inject(". 1:1(0) ack 1 win 32768 <sack 1001:4001>")
    sent = t.expect(". 1:1001(1000) ack 1")
    assert sent.data == pattern(10_000)[:1000]
    assert (t.sk.cw.state, t.sk.cw.ssthresh) == (CaState.RECOVERY, 5)


def test_recovery_ends_with_cwnd_at_ssthresh_and_goes_on_from_there() -> None:
    t = _ten_segments()
    for end in (2001, 3001, 4001):
        t.inject(f". 1:1(0) ack 1 win 32768 <sack 1001:{end}>")
    t.ip.sent.clear()
    t.inject(". 1:1(0) ack 10001 win 32768")
    assert (t.sk.cw.state, t.sk.cw.ssthresh) == (CaState.OPEN, 5)
    assert t.sk.cw.cwnd == 6  # one more for the seven segments this ACK delivers


def test_sending_falls_to_half_in_step_with_what_is_delivered() -> None:
    t = _ten_segments()
    t.write(pattern(10_000))
    sent = []
    for n in range(1, 10):  # all but the first arrive, one SACK each
        t.inject(f". 1:1(0) ack 1 win 32768 <sack 1001:{1001 + 1000 * n}>")
        t.run(2)  # a burst is not waited for
        sent.append(len(t.ip.sent))
    # Two by limited transmit (RFC 3042), then one for two delivered until five are in flight.
    assert sent == [1, 2, 3, 3, 4, 4, 5, 5, 5]


def test_window_that_shrank_is_respected_by_retransmissions() -> None:
    t = _ten_segments()
    t.inject("P. 1:2(1) ack 1 win 32768")
    t.inject(". 2:2(0) ack 1 win 500")
    t.ip.sent.clear()
    t.run(t.sk.rtt.rto / MS)
    t.expect(". 1:501(500) ack 2")
    t.inject(". 2:2(0) ack 501 win 500")
    t.expect(". 501:1001(500) ack 2")
    t.silent()


def test_two_holes_are_both_retransmitted_and_nothing_else() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 1 win 32768 <sack 1001:3001>")
    t.inject(". 1:1(0) ack 1 win 32768 <sack 4001:8001 1001:3001>")
    t.inject(". 1:1(0) ack 1 win 32768 <sack 4001:10001 1001:3001>")
    t.inject(". 1:1(0) ack 3001 win 32768 <sack 4001:10001>")
    seqs = [t.next().header.seq - t.sk.iss for _ in range(len(t.ip.sent))]
    assert seqs == [1, 3001]


def test_without_rack_a_sack_of_fewer_than_three_segments_waits_for_the_timer() -> None:
    t = _ten_segments(tcp_recovery=0)
    t.inject(". 1:1(0) ack 8001 win 32768 <sack 9001:10001>")
    t.expect_after(". 8001:9001(1000) ack 1", t.sk.rtt.rto / MS)


def test_sacked_segments_are_not_retransmitted_after_a_timeout() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 1 win 32768 <sack 9001:10001>")
    t.run(t.sk.rtt.rto / MS)
    t.expect(". 1:1001(1000) ack 1")
    acked = 1
    for _ in range(20):
        acked += 1000
        t.inject(f". 1:1(0) ack {min(acked, 10_001)} win 32768 <sack 9001:10001>")
    seqs = {t.next().header.seq - t.sk.iss for _ in range(len(t.ip.sent))}
    assert 9001 not in seqs


def test_dsack_is_not_mistaken_for_new_data() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 3001 win 32768")
    t.ip.sent.clear()
    t.inject(". 1:1(0) ack 3001 win 32768 <sack 1:1001>")
    t.silent()
    assert (t.sk.rtx.sacked_out, t.mib["TcpExtTCPDSACKRecv"]) == (0, 1)


@pytest.mark.parametrize("block", ["20001:21001", "3001:2001", "1:1001"])
def test_invalid_sack_blocks_are_ignored(block: str) -> None:
    t = _ten_segments()
    t.inject(f". 1:1(0) ack 1 win 32768 <sack {block}>")
    assert (t.sk.rtx.sacked_out, t.sk.rtx.lost_out) == (0, 0)


def test_reordering_found_by_late_sacks_raises_the_threshold() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 1 win 32768 <sack 8001:9001>")
    t.inject(". 1:1(0) ack 1 win 32768 <sack 8001:9001 1001:2001>")
    assert t.sk.reordering == 8
    t.silent()


def test_reneging_receiver_gets_everything_again() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 1 win 32768 <sack 1001:2001>")
    t.inject(". 1:1(0) ack 1001 win 32768")  # stops before what it has SACKed
    t.run(50)
    t.expect(". 1001:2001(1000) ack 1")
    assert t.mib["TcpExtTCPSACKReneging"] == 1
    assert t.sk.rtx.sacked_out == 0


# -- without SACK --------------------------------------------------------------------------


def test_newreno_three_duplicate_acks_retransmit_the_first_segment() -> None:
    t = _ten_segments("mss 1000")
    for _ in range(2):
        t.inject(". 1:1(0) ack 1 win 32768")
    t.silent()
    t.inject(". 1:1(0) ack 1 win 32768")
    t.expect(". 1:1001(1000) ack 1")
    assert t.mib["TcpExtTCPRenoRecovery"] == 1


def test_newreno_partial_ack_retransmits_the_next_hole() -> None:
    t = _ten_segments("mss 1000")
    for _ in range(8):  # the first and the fifth of ten are lost
        t.inject(". 1:1(0) ack 1 win 32768")
    t.expect(". 1:1001(1000) ack 1")
    t.silent()
    t.inject(". 1:1(0) ack 4001 win 32768")
    t.expect(". 4001:5001(1000) ack 1")
    assert t.sk.cw.state is CaState.RECOVERY
    t.inject(". 1:1(0) ack 10001 win 32768")
    assert t.sk.cw.state is CaState.RECOVERY  # until something sent later is acknowledged
    t.write(b"x" * 1000)
    t.run(10)
    t.inject(". 1:1(0) ack 11001 win 32768")
    assert t.sk.cw.state is CaState.OPEN


def test_window_updates_are_no_duplicate_acks() -> None:
    t = _ten_segments("mss 1000")
    for win in (32769, 32770, 32771, 32772):
        t.inject(f". 1:1(0) ack 1 win {win}")
    t.silent()


def test_acks_with_data_are_no_duplicate_acks() -> None:
    t = _ten_segments("mss 1000")
    for n in range(4):
        t.inject(f"P. {1 + 10 * n}:{11 + 10 * n}(10) ack 1 win 32768")
    assert t.sk.rtx.retrans_out == 0


# -- timeouts ------------------------------------------------------------------------------


def test_timeout_shrinks_cwnd_to_one_and_slow_starts() -> None:
    t = _ten_segments()
    rto = t.sk.rtt.rto / MS
    t.run(rto)
    t.expect(". 1:1001(1000) ack 1")
    assert (t.sk.cw.cwnd, t.sk.cw.ssthresh, t.sk.cw.state) == (1, 5, CaState.LOSS)
    t.inject(". 1:1(0) ack 1001 win 32768")
    t.expect(". 1001:2001(1000) ack 1", "P. 2001:3001(1000) ack 1")
    t.inject(". 1:1(0) ack 10001 win 32768")
    assert t.sk.cw.state is CaState.OPEN


def test_second_timeout_halves_ssthresh_only_once() -> None:
    t = _ten_segments()
    t.run(t.sk.rtt.rto / MS)
    t.run(t.sk.rtt.rto / MS)
    assert t.mib["TcpExtTCPTimeouts"] == 2
    assert t.sk.cw.ssthresh == 5


def test_lost_retransmission_is_found_by_the_timer() -> None:
    t = _ten_segments()
    for end in (2001, 3001, 4001):
        t.inject(f". 1:1(0) ack 1 win 32768 <sack 1001:{end}>")
    t.expect(". 1:1001(1000) ack 1")
    t.ip.sent.clear()
    t.run(t.sk.rtt.rto / MS + 1)
    t.expect(". 1:1001(1000) ack 1")


def test_partial_ack_in_a_segment_retransmits_only_the_rest() -> None:
    t = _ten_segments()
    t.inject(". 1:1(0) ack 501 win 32768")
    t.ip.sent.clear()
    t.run(t.sk.rtt.rto / MS)
    sent = t.expect(". 501:1001(500) ack 1")
    assert sent.data == pattern(10_000)[500:1000]


def test_late_ack_of_a_repeated_ack_with_an_old_echo_is_no_rtt_sample() -> None:
    t = Dialogue()
    t.accept("mss 1460,sackOK,TS val 100 ecr 0,wscale 7")
    t.write(b"x" * 100)
    t.run(20)
    t.inject(f". 1:1(0) ack 101 win 32768 <TS val 120 ecr {t.tsval() - 20}>")
    t.write(b"x" * 100)
    echo = t.tsval()
    t.run(650)  # retransmitted at 220 and 660: the ACK was lost and is repeated
    t.inject(f". 1:1(0) ack 201 win 32768 <TS val 900 ecr {echo}>")
    assert t.sk.rtt.srtt_us >> 3 < 30_000


def test_sack_for_what_was_given_up_is_no_rtt_sample() -> None:
    t = _ten_segments()
    t.run(t.sk.rtt.rto / MS)
    samples = t.sk.rtt.samples
    t.inject(". 1:1(0) ack 1 win 32768 <sack 9001:10001>")
    assert t.sk.rtt.samples == samples
    assert t.sk.rtx.sacked_out == 1


# -- the path ------------------------------------------------------------------------------


def test_frag_needed_lowers_the_mss_and_resends_in_smaller_pieces() -> None:
    t = Dialogue()
    t.accept("mss 1460,sackOK,wscale 0")
    data = pattern(2920)
    t.write(data)
    t.expect(". 1:1461(1460) ack 1", "P. 1461:2921(1460) ack 1")
    t.inject_error(3, 4, mtu=1000)
    assert t.sk.mss_cache == 960
    pieces: dict[int, bytes] = {}
    got = b""
    for _ in range(20):
        while t.ip.sent:
            sent = t.next()
            assert len(sent.data) <= 960
            pieces[sent.header.seq - t.sk.iss - 1] = sent.data
        while len(got) in pieces:
            got += pieces[len(got)]
        t.inject(f". 1:1(0) ack {1 + len(got)} win 32768")
    assert got == data
    t.silent(5000)


def test_frag_needed_for_another_sequence_number_is_ignored() -> None:
    t = Dialogue()
    t.accept("mss 1460")
    t.write(b"x" * 1460)
    t.inject_error(3, 4, mtu=1000, seq=100_000)
    assert t.sk.mss_cache == 1460
    assert t.mib["TcpExtOutOfWindowIcmps"] == 1


def test_unreachable_is_soft_for_an_established_connection() -> None:
    t = Dialogue(tcp_retries2=2)
    t.accept()
    t.write(b"x")
    t.inject_error(3, 1)
    assert (t.sk.state, t.sk.sk_err) == (TcpState.ESTABLISHED, 0)
    t.run(60_000)
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.EHOSTUNREACH  # what ends it at last


@pytest.mark.parametrize(
    ("code", "error"), [(0, errno.ENETUNREACH), (1, errno.EHOSTUNREACH), (3, errno.ECONNREFUSED)]
)
def test_unreachable_is_hard_while_connecting(code: int, error: int) -> None:
    t = Dialogue()
    t.start_connect()
    t.expect("S 0:0(0)")
    t.inject_error(3, code)
    assert t.errno(t.sk.connect, (PEER, 80)) == error
    t.call(t.sk.close)
    t.finish()
