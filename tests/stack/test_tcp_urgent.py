"""Urgent data: the pointer on the wire, the mark in the stream, and what Linux makes of it."""

from __future__ import annotations

import errno
import select
import socket

import pytest
from both import Machine, both
from tcp_peer import Dialogue

from pystack.core.headers.tcp import TH_URG

OOB, PEEK = int(socket.MSG_OOB), int(socket.MSG_PEEK)
ACK_URG = 0x10 | TH_URG
SIOCATMARK = 0x8905


def opened(monkeypatch: pytest.MonkeyPatch) -> Dialogue:
    """A connection whose sequence numbers, both ways, pass 2^32 after ten bytes."""
    monkeypatch.setattr("pystack.transport.tcp.isn.Secrets.isn", lambda *_: 0xFFFFFFF5)
    t = Dialogue(peer_isn=0xFFFFFFF5)
    t.accept()
    assert (t.sk.snd_nxt, t.sk.rcv_nxt) == (0xFFFFFFF6, 0xFFFFFFF6)
    return t


def test_pointer_across_the_wrap_is_the_distance_to_the_urgent_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    t = opened(monkeypatch)
    t.write(bytes(2500), OOB)
    sent = [t.next() for _ in range(3)]
    assert [(s.header.flags & TH_URG > 0, s.header.urgent) for s in sent] == [
        (True, 2500),
        (True, 1500),
        (True, 500),
    ]
    t.inject(". 1:1(0) ack 2501")
    t.write(b"x")
    assert (t.next().header.flags & TH_URG, t.sk.urgent and t.sk.urgent.snd_up) == (0, None)


def test_mark_across_the_wrap_stops_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    t = opened(monkeypatch)
    t.inject(". 1:21(20) ack 1", b"before the end" + b"!after", flags=ACK_URG, urgent=15)
    assert t.sk.inq() == 14
    assert not t.sk.at_mark()
    assert t.read() == b"before the end"
    assert t.sk.at_mark()
    assert t.sk.poll() & select.EPOLLPRI
    assert t.read(1, OOB) == b"!"
    assert not t.sk.poll() & select.EPOLLPRI
    assert t.read() == b"after"
    assert not t.sk.at_mark()


def test_farther_than_the_field_reaches_the_pointer_says_so_until_it_does() -> None:
    t = Dialogue()
    t.accept(win=65535, options="mss 1000,sackOK,wscale 7")
    t.call(t.sk.setsockopt, socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
    t.write(bytes(68_000), OOB)
    pointers = [t.next().header.urgent for _ in range(5)]
    assert pointers == [0xFFFF, 0xFFFF, 0xFFFF, 65_000, 64_000]


def test_newer_urgent_byte_replaces_one_not_read_which_stays_out_of_the_stream() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1:4(3) ack 1", b"abX", flags=ACK_URG, urgent=3)
    t.inject(". 4:7(3) ack 1", b"cdY", flags=ACK_URG, urgent=3)
    assert t.read(1, OOB) == b"Y"
    # As in Linux: only the mark that is at hand when the next comes is taken out.
    assert t.read() == b"abXcd"


def test_urgent_byte_at_the_front_is_taken_out_when_the_next_is_announced() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1:3(2) ack 1", b"Xa", flags=ACK_URG, urgent=1)
    t.inject(". 3:5(2) ack 1", b"bY", flags=ACK_URG, urgent=2)
    assert t.read() == b"ab"
    assert t.read(1, OOB) == b"Y"


def test_old_pointer_is_not_believed_again() -> None:
    t = Dialogue()
    t.accept()
    t.inject(". 1:4(3) ack 1", b"abX", flags=ACK_URG, urgent=3)
    assert (t.read(), t.read(1, OOB)) == (b"ab", b"X")
    t.inject(". 1:4(3) ack 1", b"abX", flags=ACK_URG, urgent=3)
    assert t.errno(t.sk.recvmsg, 1, OOB) == errno.EINVAL


def talk(m: Machine, inline: bool) -> dict[str, object]:
    """All calls that have to do with urgent data, after each step of a peer that sends it."""
    with m.socket.create_server(("127.0.0.1", 0)) as listener:
        client = m.socket.create_connection(listener.getsockname())
        conn, _ = listener.accept()
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, int(inline))
    seen: dict[str, object] = {}
    poll = m.select.poll()
    poll.register(conn, select.POLLIN | select.POLLPRI)

    def look(name: str) -> None:
        m.time.sleep(0.05)
        conn.setblocking(False)
        seen[f"{name}: poll"] = [events for _, events in poll.poll(0)]
        seen[f"{name}: peek"] = m.outcome(conn.recv, 100, PEEK)
        seen[f"{name}: oob peek"] = m.outcome(conn.recv, 1, OOB | PEEK)

    def take(name: str, flags: int = 0) -> None:
        seen[f"{name}: take {flags}"] = m.outcome(conn.recv, 100, flags)

    look("nothing")
    client.send(b"abc")
    client.send(b"deX", OOB)
    look("urgent at the end")
    take("before the mark")
    take("urgent byte", OOB)
    take("urgent byte again", OOB)
    client.send(b"Y", OOB)
    client.send(b"fgh")
    look("urgent first")
    take("behind the mark")
    take("behind it there is no urgent byte", OOB)
    client.send(b"Z", OOB)
    client.close()
    look("urgent, then the end")
    take("end")
    take("end again")
    conn.close()
    return seen


@pytest.mark.parametrize("inline", [False, True])
def test_every_call_does_as_on_linux(inline: bool) -> None:
    both(lambda m: talk(m, inline))


def waits_for_all(m: Machine) -> list[object]:
    """MSG_WAITALL ends at the mark; MSG_OOB does not wait even on a blocking socket."""
    with m.socket.create_server(("127.0.0.1", 0)) as listener:
        client = m.socket.create_connection(listener.getsockname())
        conn, _ = listener.accept()
    seen: list[object] = [m.outcome(conn.recv, 1, OOB)]

    def later() -> None:
        client.send(b"ab")
        m.time.sleep(0.05)
        client.send(b"cdX", OOB)
        client.send(b"ef")

    m.thread(later)
    seen.append(conn.recv(100, socket.MSG_WAITALL))
    seen.append(conn.recv(2, socket.MSG_WAITALL))
    client.close()
    conn.close()
    return seen


def test_waiting_for_all_ends_at_the_mark_as_on_linux() -> None:
    assert both(waits_for_all)[1:] == [b"abcd", b"ef"]
