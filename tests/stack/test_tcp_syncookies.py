"""SYN cookies and the two queues of a listener (RFC 4987; net.ipv4.tcp_syncookies)."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tcp_peer import PEER, US, Dialogue

from pystack.core.drop import Drop
from pystack.transport.tcp import TcpState, syncookies
from pystack.transport.tcp.isn import Secrets

MINUTE = 60_000_000_000
TUPLE = (US, 80, PEER, 40000)


def test_cookie_gives_its_data_back_for_two_periods() -> None:
    secrets = Secrets(random.Random(1))
    for now in 0, MINUTE - 1, 7 * MINUTE + 5, 300 * MINUTE:
        for data in 0, 3, 0xFFFFFF:
            cookie = syncookies.make(secrets, TUPLE, 123, now, data)
            start = now // MINUTE * MINUTE
            for later in now, start + 2 * MINUTE - 1:
                assert syncookies.data_of(secrets, TUPLE, 123, later, cookie) == data
            assert syncookies.data_of(secrets, TUPLE, 123, start + 2 * MINUTE, cookie) == -1


def test_cookie_of_another_connection_or_host_is_not_taken() -> None:
    secrets, other = Secrets(random.Random(1)), Secrets(random.Random(2))
    cookie = syncookies.make(secrets, TUPLE, 123, 0, 1)
    wrong = [
        syncookies.data_of(secrets, (US, 81, PEER, 40000), 123, 0, cookie),
        syncookies.data_of(secrets, TUPLE, 70_000, 0, cookie),
        syncookies.data_of(secrets, TUPLE, 123, 0, cookie + 1),
        syncookies.data_of(other, TUPLE, 123, 0, cookie),
    ]
    assert all(not 0 <= data < 4 or i == 2 for i, data in enumerate(wrong))
    assert wrong[2] == 2  # a guess in the low bits changes the data only: 24 bits protect it


@pytest.mark.parametrize(
    ("mss", "index"), [(20, 0), (536, 0), (1299, 0), (1300, 1), (1439, 1), (1440, 2), (9000, 3)]
)
def test_mss_is_rounded_down_to_the_table(mss: int, index: int) -> None:
    assert syncookies.mss_index(syncookies.MSS_TABLES[4], mss) == index


def _flood(t: Dialogue, n: int) -> None:
    for port in range(1001, 1001 + n):
        t.rport = port
        t.inject("S 0:0(0) win 5000 <mss 1460,sackOK,wscale 5>")


def test_full_syn_queue_sends_cookies_and_remembers_nothing() -> None:
    t = Dialogue()
    listener = t.listen(backlog=2)
    _flood(t, 5)
    assert (len(t.ip.sent), len(listener.requests), t.drops) == (5, 3, {})
    names = ("TCPReqQFullDoCookies", "SyncookiesSent", "TCPReqQFullDrop", "ListenDrops")
    assert [t.mib[f"TcpExt{name}"] for name in names] == [2, 2, 0, 0]
    synacks = [t.next() for _ in range(5)]
    assert [s.options.sack_permitted for s in synacks] == [True] * 3 + [False] * 2
    t.run(1500)
    assert len(t.ip.sent) == 3  # only what is remembered is repeated


def test_ack_of_a_cookie_is_a_connection() -> None:
    t = Dialogue()
    t.listen(backlog=0)
    _flood(t, 2)
    t.next()
    t.expect("S. 0:0(0) ack 1 <mss 1460>")
    t.inject(". 1:1(0) ack 1 win 5000")
    assert t.listener is not None
    t.sk = t.call(t.listener.accept)
    assert (t.sk.state, t.sk.mss_cache, t.sk.sack_ok) == (TcpState.ESTABLISHED, 1460, False)
    assert (t.mib["TcpExtSyncookiesRecv"], t.mib["TcpExtSyncookiesFailed"]) == (1, 0)
    assert t.sk.rtt.srtt_us == 0  # when the SYN-ACK left is forgotten, too
    t.inject("P. 1:4(3) ack 1 win 5000", b"abc")
    assert t.read() == b"abc"


def test_old_cookie_is_refused() -> None:
    t = Dialogue(tcp_syncookies=2)
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1460>")
    t.expect("S. 0:0(0) ack 1")
    t.run(125_000)
    t.inject(". 1:1(0) ack 1 win 5000")
    t.expect("R")
    assert t.mib["TcpExtSyncookiesRecv"] == 0


def test_cookie_is_not_looked_for_unless_one_was_sent() -> None:
    t = Dialogue()
    listener = t.listen()
    tuple4 = (US, t.lport, PEER, t.rport)
    cookie = syncookies.make(t.tcp.secrets, tuple4, t.peer_isn, t.kernel.now, 3)
    t.our_isn = cookie
    t.inject(". 1:1(0) ack 1 win 5000")
    t.expect("R 1:1(0)")
    assert (t.mib["TcpExtSyncookiesRecv"], t.mib["TcpExtSyncookiesFailed"]) == (0, 0)
    listener.ts_recent_stamp = t.kernel.now
    t.inject(". 1:1(0) ack 1 win 5000")
    assert t.mib["TcpExtSyncookiesRecv"] == 1


def test_options_in_the_timestamp_never_put_it_ahead_of_the_clock() -> None:
    options = SimpleNamespace(snd_wscale=7, sack_ok=True, ecn_ok=False)
    bits = 7 | syncookies.TS_SACK
    for clock in range(1000, 1200):
        value = syncookies.encode(cast(Any, options), clock)
        assert (value & 63, 0 <= clock - value < 64) == (bits, True)
    for clock in 0, 22:
        assert syncookies.encode(cast(Any, options), clock) == bits - 64 & 0xFFFFFFFF


def test_wrong_cookie_is_counted_and_reset() -> None:
    t = Dialogue(tcp_syncookies=2)
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1460>")
    t.expect("S. 0:0(0) ack 1")
    t.inject(". 1:1(0) ack 70001 win 5000")
    t.expect("R 70001:70001(0)")
    assert t.mib["TcpExtSyncookiesFailed"] == 1


@pytest.mark.parametrize("sysctl", ["tcp_sack", "tcp_window_scaling", "tcp_timestamps"])
def test_option_that_was_switched_off_since_ends_the_handshake(sysctl: str) -> None:
    t = Dialogue(tcp_syncookies=2)
    t.listen()
    t.inject("S 0:0(0) win 5000 <mss 1460,sackOK,TS val 5 ecr 0,wscale 5>")
    synack = t.expect("S. 0:0(0) ack 1")
    assert synack.options.timestamps is not None
    t.kernel.sysctl[f"net.ipv4.{sysctl}"] = 0
    t.inject(f". 1:1(0) ack 1 win 5000 <TS val 6 ecr {synack.options.timestamps[0]}>")
    t.expect("R 1:1(0)")


@pytest.mark.parametrize(("cookies", "answered"), [(0, 7), (1, 10)])
def test_without_cookies_a_crowded_queue_drops(cookies: int, answered: int) -> None:
    """The last quarter of tcp_max_syn_backlog is for peers known to be alive."""
    t = Dialogue(tcp_syncookies=cookies, tcp_max_syn_backlog=8)
    t.listen(backlog=100)
    _flood(t, 10)
    assert len(t.ip.sent) == answered
    assert t.drops.get(Drop.TCP_SYN_QUEUE_FULL, 0) == 10 - answered


@pytest.mark.parametrize("abort", [0, 1])
def test_full_accept_queue_forgets_or_resets(abort: int) -> None:
    """net.ipv4.tcp_abort_on_overflow; a backlog of 1 has room for two."""
    t = Dialogue(tcp_abort_on_overflow=abort)
    t.listen(backlog=1)
    isns: dict[int, int] = {}
    for port, flags in (1, "S"), (1, "."), (2, "S"), (3, "S"), (2, "."), (3, "."):
        t.rport, t.our_isn = port, isns.get(port)
        t.inject("S 0:0(0) win 5000 <mss 1460>" if flags == "S" else ". 1:1(0) ack 1 win 5000")
        if flags == "S":
            isns[port] = t.expect("S. 0:0(0) ack 1").header.seq
    assert t.mib["TcpExtListenOverflows"] == 1
    if abort:
        t.expect("R 1:1(0)")
    else:
        t.silent()
    assert t.drops == {Drop.TCP_RESET if abort else Drop.TCP_LISTEN_OVERFLOW: 1}
