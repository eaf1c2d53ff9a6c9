"""Receiving: order, gaps, and the sequence numbers' wrap."""

from __future__ import annotations

import errno
import socket as so

import pytest
from tcp_peer import Dialogue, pattern

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


def test_data_behind_the_fin_is_thrown_away_with_it() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1001:2001(1000) ack 1")
    assert t.kernel.skbs_alive == 1
    t.inject("F. 1:1(0) ack 1")
    assert (t.kernel.skbs_alive, t.sk.rmem_alloc) == (0, 0)


def test_without_sack_permission_no_sack_is_sent() -> None:
    t = Dialogue()
    t.accept("mss 1000")
    t.inject(". 1001:2001(1000) ack 1")
    sent = t.expect(". 1:1(0) ack 1")
    assert sent.header.header_length == 20


# -- the wrap of sequence numbers ----------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 500, 1000, 5000, 20_000])
def test_numbers_wrap_in_both_directions(offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    t = Dialogue(peer_isn=(2**32 - 1 - offset), tcp_early_retrans=0)
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
