"""Sending: segmentation, Nagle, windows, probes, buffers, RTT and timeouts."""

from __future__ import annotations

import errno
import itertools
import socket as so
from select import EPOLLOUT, EPOLLWRNORM

import pytest
from tcp_peer import MS, Dialogue, pattern

from pystack.transport.tcp import TcpState
from pystack.transport.tcp.constants import RTO_MIN
from pystack.transport.tcp.rtt import RttEstimator
from pystack.transport.tcp.timers import model_timeout


def test_write_is_cut_into_full_segments_with_push_at_its_end() -> None:
    t = Dialogue()
    t.accept()
    data = pattern(2500)
    assert t.write(data) == 2500
    got = b"".join(
        t.expect(line).data
        for line in (
            ". 1:1001(1000) ack 1",
            ". 1001:2001(1000) ack 1",
            "P. 2001:2501(500) ack 1",
        )
    )
    assert got == data


def test_timestamps_take_their_room_from_the_segment() -> None:
    t = Dialogue()
    t.accept("mss 1460,sackOK,TS val 100 ecr 0,wscale 7")
    t.write(b"x" * 3000)
    t.expect(". 1:1449(1448) ack 1 <TS val 0 ecr 101>")


def test_initial_window_is_ten_segments() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"x" * 15000)
    assert len(t.ip.sent) == 10
    t.ip.sent.clear()
    t.run(10)
    t.inject(". 1:1(0) ack 2001 win 32768")
    assert len(t.ip.sent) == 4  # slow start: two acknowledged, four may go


def test_nagle_holds_a_second_small_segment_until_the_first_is_acked() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"a" * 10)
    t.expect("P. 1:11(10) ack 1")
    t.write(b"b" * 10)
    t.write(b"c" * 10)
    t.silent()
    t.inject(". 1:1(0) ack 11 win 32768")
    t.expect("P. 11:31(20) ack 1")


def test_minshall_lets_a_small_segment_follow_full_ones() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"a" * 1010)
    t.expect(". 1:1001(1000) ack 1", "P. 1001:1011(10) ack 1")
    t.write(b"b" * 1010)
    t.expect(". 1011:2011(1000) ack 1")
    t.silent()


def test_nodelay_sends_every_write_at_once() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.IPPROTO_TCP, so.TCP_NODELAY, 1)
    for n in range(3):
        t.write(b"a" * 10)
        t.expect(f"P. {1 + 10 * n}:{11 + 10 * n}(10) ack 1")


def test_setting_nodelay_pushes_what_nagle_held() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"a" * 10)
    t.write(b"b" * 10)
    t.expect("P. 1:11(10) ack 1")
    t.silent()
    t.call(t.sk.setsockopt, so.IPPROTO_TCP, so.TCP_NODELAY, 1)
    t.expect("P. 11:21(10) ack 1")


def test_msg_more_waits_for_the_rest() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"a" * 10, so.MSG_MORE)
    t.silent()
    t.write(b"b" * 10)
    t.expect("P. 1:21(20) ack 1")


def test_peer_window_limits_what_is_in_flight() -> None:
    t = Dialogue()
    t.accept(win=2500)
    t.write(b"x" * 5000)
    t.expect(". 1:1001(1000) ack 1", "P. 1001:2001(1000) ack 1")
    t.silent()  # 500 bytes of window are left: not worth a segment
    t.inject(". 1:1(0) ack 1001 win 2500")
    t.expect(". 2001:3001(1000) ack 1")


def test_segments_are_at_most_half_the_largest_window() -> None:
    t = Dialogue()
    t.accept(win=1000)
    t.write(b"x" * 1000)
    t.expect(". 1:501(500) ack 1", "P. 501:1001(500) ack 1")


def test_segments_grow_when_the_window_does() -> None:
    t = Dialogue()
    t.accept(win=1000)
    t.inject("P. 1:2(1) ack 1 win 5000")
    t.ip.sent.clear()
    t.write(b"x" * 1000)
    t.expect("P. 1:1001(1000) ack 2")


def test_zero_window_is_probed_with_backoff_and_opens_again() -> None:
    t = Dialogue()
    t.accept(win=2000)
    t.write(b"x" * 3000)
    t.expect(". 1:1001(1000) ack 1", "P. 1001:2001(1000) ack 1")
    t.inject(". 1:1(0) ack 2001 win 0")
    rto = t.sk.rtt.rto / MS
    for n in range(4):
        sent = t.expect_after(". 2000:2000(0) ack 1", rto * 2**n)
        assert not sent.data
        t.inject(". 1:1(0) ack 2001 win 0")
    t.run(300)
    t.inject(". 1:1(0) ack 2001 win 2000")
    t.expect("P. 2001:3001(1000) ack 1")
    assert t.mib["TcpExtTCPWinProbe"] == 4


def test_unanswered_window_probes_end_in_etimedout() -> None:
    t = Dialogue(tcp_retries2=3)
    t.accept(win=1000)
    t.write(b"x" * 2000)
    t.inject(". 1:1(0) ack 1001 win 0")
    t.run(60_000)
    assert t.sk.state is TcpState.CLOSE
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.ETIMEDOUT
    t.call(t.sk.close)
    t.finish()


def test_answered_window_probes_never_give_up() -> None:
    t = Dialogue(tcp_retries2=3)
    t.accept(win=1000)
    t.write(b"x" * 2000)
    t.inject(". 1:1(0) ack 1001 win 0")
    for _ in range(20):
        t.ip.sent.clear()
        t.engine.run(until=t.engine.now + 200 * 1000 * MS, stop=lambda: bool(t.ip.sent))
        t.inject(". 1:1(0) ack 1001 win 0")
    assert t.sk.state is TcpState.ESTABLISHED
    assert t.sk.rtt.rto <= 120_000 * MS


def test_probe_sends_what_a_silly_window_still_takes() -> None:
    t = Dialogue()
    t.accept(win=2000)
    t.write(b"x" * 2500)
    t.expect(". 1:1001(1000) ack 1", "P. 1001:2001(1000) ack 1")
    t.inject(". 1:1(0) ack 2001 win 100")
    t.silent()
    t.expect_after("P. 2001:2101(100) ack 1", t.sk.rtt.rto / MS)


def test_window_shrunk_to_zero_makes_the_retransmission_a_probe() -> None:
    t = Dialogue(tcp_retries2=2)
    t.accept(win=2000)
    t.write(b"x" * 2000)
    t.expect(". 1:1001(1000) ack 1", "P. 1001:2001(1000) ack 1")
    for _ in range(10):
        t.inject(". 1:1(0) ack 1 win 0")
        t.run(100_000)
    assert t.sk.state is TcpState.ESTABLISHED
    assert {t.next().header.seq for _ in range(len(t.ip.sent))} == {t.sk.snd_una}


def test_peer_that_shrank_its_window_to_zero_and_fell_silent_is_given_up() -> None:
    t = Dialogue()
    t.accept(win=2000)
    t.write(b"x" * 2000)
    t.inject("P. 1:2(1) ack 1 win 2000")
    t.inject(". 2:2(0) ack 1 win 0")
    t.run(230_000)
    assert t.sk.state is TcpState.ESTABLISHED
    t.run(300_000)
    assert t.sk.state is TcpState.CLOSE
    t.call(t.sk.close)
    t.ip.sent.clear()
    t.finish()


def test_old_ack_does_not_change_the_window() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"x" * 1000)
    t.inject(". 1:1(0) ack 1001 win 5000")
    t.inject(". 1:1(0) ack 501 win 100")
    assert t.sk.snd_wnd == 5000


def test_ack_of_what_was_never_sent_is_dropped_and_answered() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1:1(0) ack 5000 win 100")
    assert (t.sk.snd_una - t.sk.iss, t.sk.snd_wnd) == (1, 32768)


def test_ack_far_below_snd_una_gets_a_challenge_ack() -> None:
    t = Dialogue()
    t.accept(win=2000)
    for n in range(3):
        t.write(b"x" * 2000)
        t.inject(f". 1:1(0) ack {2001 + 2000 * n} win 2000")
    t.ip.sent.clear()
    t.inject("P. 1:6(5) ack 3000 win 2000", b"evil!")
    t.expect(". 6001:6001(0) ack 1")
    assert t.errno(t.sk.recvmsg, 10, 0) == errno.EAGAIN
    assert t.mib["TcpExtTCPChallengeACK"] == 1


# -- buffers -------------------------------------------------------------------------------


def test_full_send_buffer_is_eagain_and_a_third_free_wakes() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_SNDBUF, 10_000)
    taken = t.write(b"x" * 100_000)
    assert taken == 26_000  # a packet of 16 segments is begun while there is room, ten go at once
    assert t.errno(t.sk.sendmsg, memoryview(b"x"), 0) == errno.EAGAIN
    assert not t.sk.poll() & EPOLLOUT
    acked, woken = 1, 0
    while not t.sk.poll() & EPOLLOUT:
        acked += 1000
        t.inject(f". 1:1(0) ack {acked} win 32768")
        woken += 1
    assert t.sk.sk_sndbuf - t.sk.wmem_queued >= t.sk.sk_sndbuf // 3
    assert woken > 3
    assert t.sk.poll() & EPOLLWRNORM


def test_send_buffer_grows_with_the_congestion_window() -> None:
    t = Dialogue()
    t.accept()
    before = t.sk.sk_sndbuf
    for n in range(20):
        t.write(b"x" * 20_000)
        t.run(1)
        t.inject(f". 1:1(0) ack {min(1 + 10_000 * (n + 1), t.sk.snd_nxt - t.sk.iss)} win 32768")
    assert t.sk.cw.cwnd > 20
    assert t.sk.sk_sndbuf > before


def test_outq_counts_unacknowledged_bytes() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"x" * 2500)
    assert t.call(t.sk.outq) == 2500
    t.inject(". 1:1(0) ack 2001 win 32768")
    assert t.call(t.sk.outq) == 500


def test_send_while_connecting_is_eagain() -> None:
    t = Dialogue()
    t.start_connect()
    assert t.errno(t.sk.sendmsg, memoryview(b"x"), 0) == errno.EAGAIN


@pytest.mark.parametrize(("asked", "got"), [(1, 2304), (50_000, 100_000), (10**9, 425_984)])
def test_so_rcvbuf_is_doubled_and_capped(asked: int, got: int) -> None:
    t = Dialogue()
    sk = t.tcp.socket()
    t.call(sk.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, asked)
    assert t.call(sk.getsockopt, so.SOL_SOCKET, so.SO_RCVBUF) == got


# -- round-trip time and timeout -----------------------------------------------------------


def test_first_sample_sets_srtt_and_variance() -> None:
    rtt = RttEstimator()
    rtt.sample(100_000, 0, 1000)
    assert (rtt.srtt_us >> 3, rtt.rto) == (100_000, 300 * MS)


def test_variance_has_a_floor_of_200_ms() -> None:
    rtt = RttEstimator()
    for n in range(100):
        rtt.sample(1000, n * 1000, n * 1000 + 1000)
    assert 201 * MS <= rtt.rto < 202 * MS


def test_variance_falls_only_once_a_window() -> None:
    rtt = RttEstimator()
    rtt.sample(1_000_000, 0, 10_000)
    seen = []
    for una in range(1000, 41_000, 1000):  # windows end at 10000, 20000, ...
        rtt.sample(1_000_000, una, una + 10_000 - una % 10_000)
        seen.append(rtt.rttvar_us)
    falls = [i + 1 for i, (a, b) in enumerate(itertools.pairwise(seen), 1) if b < a]
    assert falls == [21, 31]


def test_rtt_of_retransmitted_data_is_not_measured_without_timestamps() -> None:
    t = Dialogue()
    t.accept()
    samples = t.sk.rtt.samples
    t.write(b"x" * 1000)
    t.run(5000)
    t.inject(". 1:1(0) ack 1001 win 32768")
    assert t.sk.rtt.samples == samples
    assert t.sk.rtt.rto > 2000 * MS  # and the backed-off timeout stays (Karn)


def test_timestamps_measure_even_retransmitted_data() -> None:
    t = Dialogue()
    t.accept("mss 1460,sackOK,TS val 100 ecr 0,wscale 7")
    t.write(b"x" * 1000)
    t.run(450)
    echo = t.tsval() - 10
    t.inject(f". 1:1(0) ack 1001 win 32768 <TS val 500 ecr {echo}>")
    assert t.sk.rtt.min_us is not None
    assert t.sk.rtt.rto < 400 * MS


def test_retransmission_backs_off_and_gives_up_after_tcp_retries2() -> None:
    t = Dialogue(tcp_retries2=4, tcp_early_retrans=0)
    t.accept()
    t.write(b"x" * 100)
    t.expect("P. 1:101(100) ack 1")
    delay = t.sk.rtt.rto / MS
    for n in range(5):
        t.expect_after("P. 1:101(100) ack 1", delay * 2**n)
    t.run(100_000)
    assert t.errno(t.sk.sendmsg, memoryview(b"x"), 0) == errno.ETIMEDOUT
    t.call(t.sk.close)
    t.finish()


def test_rto_never_exceeds_120_s() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"x" * 100)
    times = []
    while t.sk.state is TcpState.ESTABLISHED:
        t.run(60_000)
    while t.ip.sent:
        times.append(t.next().time)
    gaps = [(b - a) / MS for a, b in itertools.pairwise(times)]
    assert max(gaps) == 120_000
    assert (times[-1] - times[0]) / MS > 13 * 60_000
    t.call(t.sk.close)
    t.finish()


def test_model_timeout_is_the_documented_924_s_for_15_retries() -> None:
    assert model_timeout(15, RTO_MIN) / MS == 924_600


def test_ack_restarts_the_timer() -> None:
    t = Dialogue(tcp_early_retrans=0)
    t.accept()
    t.write(b"x" * 2000)
    t.ip.sent.clear()
    t.run(150)
    t.inject(". 1:1(0) ack 1001 win 32768")
    rto = t.sk.rtt.rto / MS
    t.expect_after("P. 1001:2001(1000) ack 1", rto)


def test_idle_connection_starts_slowly_again() -> None:
    t = Dialogue()
    t.accept()
    acked = 1
    for _ in range(6):
        t.write(b"x" * 10_000)
        acked += 10_000
        t.run(1)
        t.inject(f". 1:1(0) ack {acked} win 32768")
    grown = t.sk.cw.cwnd
    assert grown > 15
    t.run(30_000)
    t.ip.sent.clear()
    t.write(b"x" * 20_000)
    assert t.sk.cw.cwnd == 10
    assert len(t.ip.sent) == 10
