"""Receiving: order, windows, ACK timing, buffers, malformed segments, timestamps, wrap."""

from __future__ import annotations

import errno
import socket as so
from typing import Any

import pytest
from tcp_peer import MS, Dialogue, pattern

from pystack.core.drop import Drop
from pystack.transport.tcp import TcpState


def test_data_in_order_is_read_and_its_packets_are_freed() -> None:
    t = Dialogue()
    t.accept()
    data = pattern(3000)
    for n in range(3):
        t.inject(
            f". {1 + 1000 * n}:{1001 + 1000 * n}(1000) ack 1", data[1000 * n : 1000 * n + 1000]
        )
    assert t.kernel.skbs_alive == 3
    assert t.call(t.sk.inq) == 3000
    assert t.read(1500) == data[:1500]
    assert t.kernel.skbs_alive == 2
    assert t.read(5000) == data[1500:]
    assert (t.kernel.skbs_alive, t.sk.rmem_alloc) == (0, 0)
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.EAGAIN


def test_peek_leaves_the_data() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.inject("P. 6:9(3) ack 1", b"you")
    assert t.read(7, so.MSG_PEEK) == b"helloyo"
    assert t.read(2) == b"he"
    assert t.read(100, so.MSG_PEEK) == b"lloyou"
    assert t.read() == b"lloyou"


def test_out_of_order_data_waits_and_is_reported_by_sack() -> None:
    t = Dialogue()
    t.accept()
    data = pattern(5000)
    t.inject(". 2001:3001(1000) ack 1", data[2000:3000])
    t.expect(". 1:1(0) ack 1 <sack 2001:3001>")
    t.inject(". 4001:5001(1000) ack 1", data[4000:])
    t.expect(". 1:1(0) ack 1 <sack 4001:5001 2001:3001>")
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.EAGAIN
    t.inject(". 1:2001(2000) ack 1", data[:2000])
    t.expect(". 1:1(0) ack 3001 <sack 4001:5001>")
    t.inject(". 3001:4001(1000) ack 1", data[3000:4000])
    sent = t.expect(". 1:1(0) ack 5001")
    assert not sent.options.sack
    assert t.read() == data


def test_overlapping_segments_give_every_byte_once() -> None:
    t = Dialogue()
    t.accept()
    data = pattern(4000)
    for start, end in ((1500, 2500), (3000, 4000), (1400, 2600), (2500, 3100), (0, 1600)):
        t.inject(f". {start + 1}:{end + 1}({end - start}) ack 1", data[start:end])
    assert t.read() == data
    t.call(t.sk.close)
    t.inject("R. 4001:4001(0) ack 2")
    t.finish()


def test_fin_out_of_order_counts_only_when_the_gap_is_filled() -> None:
    t = Dialogue()
    t.accept()
    t.inject("F. 6:6(0) ack 1")
    t.expect(". 1:1(0) ack 1 <sack 6:7>")
    assert t.sk.state is TcpState.ESTABLISHED
    t.inject(". 1:6(5) ack 1", b"hello")
    assert t.sk.state is TcpState.CLOSE_WAIT
    assert (t.read(), t.read()) == (b"hello", b"")


def test_duplicate_data_is_dropped_and_reported_by_dsack() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:6(5) ack 1", b"hello")
    t.expect(". 1:1(0) ack 6")
    t.inject("P. 1:6(5) ack 1", b"evil!")
    t.expect(". 1:1(0) ack 6 <sack 1:6>")
    assert t.read() == b"hello"
    assert t.drops == {Drop.TCP_DUPLICATE_DATA: 1}


def test_segment_that_overlaps_what_was_read_is_trimmed() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:6(5) ack 1", b"hello")
    assert t.read() == b"hello"
    t.inject("P. 3:9(6) ack 1", b"llo yo")
    assert t.read() == b" yo"


def test_without_sack_permission_no_sack_is_sent() -> None:
    t = Dialogue()
    t.accept("mss 1000")
    t.inject(". 1001:2001(1000) ack 1")
    sent = t.expect(". 1:1(0) ack 1")
    assert sent.header.header_length == 20


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


# -- segments nobody should send -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"checksum": 0x1234}, Drop.TCP_BAD_CHECKSUM),
        ({"header_length": 16}, Drop.TCP_BAD_HEADER),
        ({"header_length": 60}, Drop.TCP_BAD_HEADER),
    ],
)
def test_malformed_header_is_counted_and_dropped(kwargs: dict[str, Any], reason: Drop) -> None:
    t = Dialogue()
    t.accept()
    t.inject("P. 1:6(5) ack 1", b"hello", **kwargs)
    t.silent()
    assert t.drops == {reason: 1}
    assert t.mib["TcpInErrs"] == 1
    assert t.errno(t.sk.recvmsg, 1, 0) == errno.EAGAIN


def test_segment_shorter_than_a_header_is_dropped() -> None:
    t = Dialogue()
    t.deliver(t.packet(b"\0" * 19))
    assert t.drops == {Drop.TCP_TOO_SHORT: 1}


def test_segment_without_ack_syn_or_rst_is_dropped() -> None:
    t = Dialogue()
    t.accept()
    t.inject("P 1:6(5)", b"hello")
    t.silent()
    assert t.drops == {Drop.TCP_BAD_FLAGS: 1}


@pytest.mark.parametrize(
    "raw", ["0800", "02ff0000", "05030000", "01010800", "fd040000", "00ffffff"]
)
def test_malformed_options_do_no_harm(raw: str) -> None:
    t = Dialogue()
    t.accept()
    t.inject(f"P. 1:6(5) ack 1 <hex {raw.ljust(8, '0')}>", b"hello")
    assert t.read() == b"hello"


def test_every_flag_combination_leaves_the_connection_alive_or_closed_and_nothing_leaks() -> None:
    for flags in range(64):
        t = Dialogue()
        t.accept()
        t.inject(". 1:6(5) ack 1", b"hello", flags=flags)
        assert t.sk.state in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.CLOSE)
        t.call(t.sk.close)
        t.finish()


# -- timestamps ----------------------------------------------------------------------------


def _stamped() -> Dialogue:
    t = Dialogue()
    t.accept("mss 1460,sackOK,TS val 100 ecr 0,wscale 7")
    return t


def test_timestamp_of_in_order_data_is_echoed() -> None:
    t = _stamped()
    t.inject(f"P. 1:6(5) ack 1 <TS val 500 ecr {t.tsval()}>")
    t.expect(". 1:1(0) ack 6 <TS val 0 ecr 500>")


def test_timestamp_of_out_of_order_data_is_not_echoed() -> None:
    t = _stamped()
    t.inject(f"P. 11:16(5) ack 1 <TS val 500 ecr {t.tsval()}>")
    t.expect(". 1:1(0) ack 1 <TS val 0 ecr 101,...>")


def test_paws_drops_an_old_duplicate_and_acks_it() -> None:
    t = _stamped()
    t.inject(f"P. 1:6(5) ack 1 <TS val 500 ecr {t.tsval()}>", b"hello")
    t.ip.sent.clear()
    t.inject(f"P. 6:11(5) ack 1 <TS val 400 ecr {t.tsval()}>", b"evil!")
    t.expect(". 1:1(0) ack 6")
    assert t.drops == {Drop.TCP_PAWS: 1}
    assert t.read() == b"hello"


def test_paws_believes_anything_after_24_days() -> None:
    t = _stamped()
    t.inject(f"P. 1:6(5) ack 1 <TS val 500 ecr {t.tsval()}>", b"hello")
    t.run(25 * 24 * 3600_000)
    t.inject(f"P. 6:11(5) ack 1 <TS val 1 ecr {t.tsval()}>", b"there")
    assert t.read() == b"hellothere"


def test_rst_is_believed_without_a_good_timestamp() -> None:
    t = _stamped()
    t.inject("R 1:1(0) <TS val 1 ecr 0>")
    assert t.sk.state is TcpState.CLOSE


# -- the wrap of sequence numbers ----------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 500, 1000, 5000, 20_000])
def test_numbers_wrap_in_both_directions(offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    t = Dialogue(peer_isn=(2**32 - 1 - offset))
    monkeypatch.setattr(t.tcp.secrets, "isn", lambda *_: 2**32 - 1 - offset)
    t.accept()
    data = pattern(30_000)
    seq = 0
    while seq < len(data):  # every second pair arrives in the wrong order
        order = [seq, seq + 1000] if seq % 4000 else [seq + 1000, seq]
        for start in order:
            t.inject(f". {start + 1}:{start + 1001}(1000) ack 1", data[start : start + 1000])
        seq += 2000
        assert t.read() == data[seq - 2000 : seq]
    t.ip.sent.clear()
    t.write(data)
    got = b""
    while len(got) < len(data):
        assert t.ip.sent
        while t.ip.sent:
            got += t.next().data
        t.inject(f". 30001:30001(0) ack {1 + len(got)} win 32768")
        t.run(5)
    assert got == data
    assert t.sk.bytes_acked == 30_000
    assert (t.mib["TcpRetransSegs"], t.mib["TcpExtTCPChallengeACK"]) == (0, 0)
    t.call(t.sk.close)
    t.inject("F. 30001:30001(0) ack 30002")
    t.finish()


# -- the lock ------------------------------------------------------------------------------


def test_segments_that_come_while_the_user_sends_wait_in_the_backlog() -> None:
    t = Dialogue()
    t.accept()
    owned = []

    def interrupt() -> None:
        t.ip.on_send = lambda: None
        owned.append(t.sk.lock.owned)
        before = t.sk.rcv_nxt
        t.ip.receive(t.segment("P. 1:6(5) ack 1", b"hello"))
        assert t.sk.rcv_nxt == before

    t.ip.on_send = interrupt
    t.write(b"x" * 100)
    assert owned == [True]
    assert t.read() == b"hello"
    assert t.sk.lock.backlog_len == 0


def test_full_backlog_drops_and_counts() -> None:
    t = Dialogue()
    t.accept()

    def interrupt() -> None:
        t.ip.on_send = lambda: None
        for n in range(400):
            t.ip.receive(t.segment(f". {1 + 1000 * n}:{1001 + 1000 * n}(1000) ack 1"))

    t.ip.on_send = interrupt
    t.write(b"x" * 100)
    assert t.drops[Drop.TCP_BACKLOG_FULL] == t.mib["TcpExtTCPBacklogDrop"] > 0
    t.call(t.sk.close)
    t.ip.sent.clear()
    t.finish()


def test_timer_that_fires_while_the_socket_is_owned_runs_afterwards() -> None:
    t = Dialogue()
    t.accept()
    t.write(b"x" * 100)
    t.ip.sent.clear()
    rto = t.sk.rtt.rto

    def hold() -> int:
        with t.sk.lock:
            t.kernel.cpu.charge(2 * rto)
            t.kernel.cpu.flush()
            return len(t.ip.sent)

    task = t.spawn(hold)
    t.run(3 * rto / MS)
    assert task.result == 0
    t.expect("P. 1:101(100) ack 1")
