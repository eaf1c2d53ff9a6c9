"""Malformed segments, old duplicates, and segments that come at the wrong moment."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tcp_peer import MS, Dialogue

from pystack.core.drop import Drop
from pystack.transport.tcp import TcpState

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
    # softirqs run when an interrupt returns
    t.engine.call_later(rto + rto // 2, t.kernel.cpus[0].raise_irq, lambda: None)
    t.run(3 * rto / MS)
    assert task.result == 0
    t.expect("P. 1:101(100) ack 1")
