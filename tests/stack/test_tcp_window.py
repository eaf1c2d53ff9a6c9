"""When TCP acknowledges, and what window it offers."""

from __future__ import annotations

import socket as so

from tcp_peer import MS, Dialogue, pattern

from pystack.core.drop import Drop

# -- when to acknowledge -------------------------------------------------------------------


def test_first_segments_are_acknowledged_at_once() -> None:
    t = Dialogue()
    t.accept()
    for n in range(5):
        t.inject(f". {1 + 1000 * n}:{1001 + 1000 * n}(1000) ack 1")
        t.expect(f". 1:1(0) ack {1001 + 1000 * n}")


def _past_quickack(t: Dialogue) -> int:
    """Send and read until ACKs are delayed; returns the next number."""
    seq = 1
    while t.sk.ack.quick or seq < 10_000:
        t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
        seq += 1000
        t.read()
        t.run(1)
    t.run(100)
    t.ip.sent.clear()
    return seq


def test_later_every_second_full_segment_is_acknowledged() -> None:
    t = Dialogue()
    t.accept()
    seq = _past_quickack(t)
    acks = 0
    for n in range(10):
        t.inject(f". {seq + 1000 * n}:{seq + 1000 * n + 1000}(1000) ack 1")
        t.read()
        acks += len(t.ip.sent)
        t.ip.sent.clear()
    assert acks == 5


def test_two_full_segments_are_acknowledged_unread_if_the_window_need_not_close() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, 200_000)
    seq = _past_quickack(t)
    t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
    t.silent()
    t.inject(f". {seq + 1000}:{seq + 2000}(1000) ack 1")
    t.expect(f". 1:1(0) ack {seq + 2000}")


def test_filled_gap_is_acknowledged_at_once() -> None:
    t = Dialogue()
    t.accept()
    seq = _past_quickack(t)
    t.inject(f". {seq + 100}:{seq + 200}(100) ack 1")
    t.expect(f". 1:1(0) ack {seq}")
    t.sk.ack.quick = 0
    t.inject(f". {seq}:{seq + 100}(100) ack 1")
    t.expect(f". 1:1(0) ack {seq + 200}")


def test_reset_stops_the_delayed_ack() -> None:
    t = Dialogue()
    t.accept()
    seq = _past_quickack(t)
    t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
    assert t.kernel.timer_bases[0].active == 1
    t.inject(f"R {seq + 1000}:{seq + 1000}(0)")
    assert t.kernel.timer_bases[0].active == 0
    t.silent(1000)


def test_single_segment_is_acknowledged_after_40_ms() -> None:
    t = Dialogue()
    t.accept()
    seq = _past_quickack(t)
    t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
    t.expect_after(f". 1:1(0) ack {seq + 1000}", t.sk.ack.ato / MS)
    assert t.mib["TcpExtDelayedACKs"] >= 1


def test_answer_takes_the_ack_along() -> None:
    t = Dialogue()
    t.accept()
    seq = _past_quickack(t)
    t.inject(f"P. {seq}:{seq + 100}(100) ack 1")
    t.read()
    t.ip.sent.clear()
    t.inject(f"P. {seq + 100}:{seq + 200}(100) ack 1")
    t.write(b"answer")
    t.expect(f"P. 1:7(6) ack {seq + 200}")
    t.silent(500 if not t.sk.rtx else 100)


# -- the window ----------------------------------------------------------------------------


def test_window_closes_as_data_stays_unread_and_never_shrinks() -> None:
    t = Dialogue()
    t.accept("mss 1000,sackOK,wscale 7")
    seq, edge = 1, 0
    while True:
        room = t.sk.rcv_wup + t.sk.rcv_wnd - t.sk.rcv_nxt
        if room < 1000:
            break
        t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
        seq += 1000
        while t.ip.sent:
            header = t.next().header
            new_edge = header.ack - t.peer_isn + (header.window << t.sk.rcv_wscale)
            assert new_edge >= edge
            edge = new_edge
    t.run(1000)
    t.ip.sent.clear()
    t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
    assert t.sk.rmem_alloc <= t.sk.sk_rcvbuf + 2304
    t.ip.sent.clear()
    assert len(t.read()) == seq - 1 + 1000 * (t.sk.rcv_nxt - t.peer_isn - seq) // 1000
    sent = t.next()
    assert sent.header.window << t.sk.rcv_wscale > 30_000  # the reader's window update


def test_closed_window_opens_only_for_what_is_worth_it() -> None:
    t = Dialogue()
    t.accept("mss 1000,sackOK,wscale 7")
    seq = 1
    while t.sk.rcv_wup + t.sk.rcv_wnd - t.sk.rcv_nxt >= 1000:
        t.inject(f". {seq}:{seq + 1000}(1000) ack 1")
        seq += 1000
    while rest := t.sk.rcv_wup + t.sk.rcv_wnd - t.sk.rcv_nxt:
        t.inject(f". {seq}:{seq + rest}({rest}) ack 1")
        seq += rest
    t.run(1000)
    t.ip.sent.clear()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, t.sk.rmem_alloc // 2)
    t.read(1000)
    t.silent()
    t.inject(f". {seq - 1}:{seq - 1}(0) ack 1")
    t.expect(f". 1:1(0) ack {seq} win 0")
    t.read(20_000)
    assert t.next().header.window > 0


def test_zero_window_probe_is_answered_with_the_current_ack() -> None:
    t = Dialogue()
    t.listen()
    assert t.listener is not None
    t.call(t.listener.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, 2000)
    t.accept("mss 1000,sackOK")
    seq = 1
    while t.sk.rcv_wup + t.sk.rcv_wnd - t.sk.rcv_nxt > 0:
        n = min(500, t.sk.rcv_wup + t.sk.rcv_wnd - t.sk.rcv_nxt)
        t.inject(f". {seq}:{seq + n}({n}) ack 1")
        seq += n
        t.run(100)
    t.ip.sent.clear()
    t.inject(f". {seq - 1}:{seq - 1}(0) ack 1")
    t.expect(f". 1:1(0) ack {seq} win 0")
    t.inject(f". {seq}:{seq + 1}(1) ack 1")
    t.expect(f". 1:1(0) ack {seq} win 0")
    assert t.drops[Drop.TCP_ZERO_WINDOW] == 1
    t.read()
    assert t.expect(f". 1:1(0) ack {seq}").header.window > 0


def test_small_segments_are_collapsed_instead_of_filling_the_buffer() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, 20_000)
    data = pattern(2000)
    for n in range(200):
        t.inject(f"P. {1 + 10 * n}:{11 + 10 * n}(10) ack 1", data[10 * n : 10 * n + 10])
        t.ip.sent.clear()
    assert t.mib["TcpExtTCPRcvCollapsed"] > 0
    assert t.kernel.skbs_alive < 150
    assert t.read() == data


def test_out_of_order_flood_is_pruned_and_still_everything_arrives() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_RCVBUF, 5_000)
    data = pattern(20_000)
    for n in range(19, 0, -1):
        t.inject(
            f". {1 + 1000 * n}:{1001 + 1000 * n}(1000) ack 1", data[1000 * n : 1000 * n + 1000]
        )
        assert t.sk.rmem_alloc <= 10_000 + 2304
    got = b""
    while len(got) < len(data):
        n = len(got)
        t.inject(f". {n + 1}:{n + 1001}(1000) ack 1", data[n : n + 1000])
        got += t.read()
    assert got == data
    assert t.drops[Drop.TCP_OFO_FULL] > 0


def test_data_far_beyond_the_window_is_refused() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1000001:1000011(10) ack 1")
    t.expect(". 1:1(0) ack 1")
    assert t.drops == {Drop.TCP_OUT_OF_WINDOW: 1}


def test_rcvlowat_delays_readiness() -> None:
    t = Dialogue()
    t.accept()
    t.call(t.sk.setsockopt, so.SOL_SOCKET, so.SO_RCVLOWAT, 10)
    t.inject("P. 1:6(5) ack 1")
    assert not t.sk.poll() & 1
    t.inject("P. 6:11(5) ack 1")
    assert t.sk.poll() & 1
