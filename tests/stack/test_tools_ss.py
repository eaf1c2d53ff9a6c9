"""`ss` and `nstat` of a simulated host against the real programs on this machine's kernel.

Each situation is made by one program on both kernels; the same parser reads what the tools print.
"""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest
from both import Machine, both

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.tools.tool import ToolError

real_ss = pytest.mark.skipif(shutil.which("ss") is None, reason="no ss here: apt install iproute2")

Row = dict[str, str]


def rows(text: str) -> list[Row]:
    """A table of `ss` by the names of its columns, without the process column."""
    header, *lines = text.splitlines()
    # Older versions print no blank before "Process" where a port is as wide as its column.
    names = header.replace("Local Address:Port", "Local").replace("Peer Address:Port", "Peer ")
    columns = [name for name in names.split() if name != "Process"]
    return [dict(zip(columns, line.split(), strict=False)) for line in lines]


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def summary_of(text: str, named: dict[int, str]) -> list[tuple[str, ...]]:
    """(state, Recv-Q, Send-Q, local, peer), ports by name, sorted: order and ports differ."""

    def name(address: str) -> str:
        host, _, number = address.rpartition(":")
        return f"{host}:{named.get(int(number), 'client') if number.isdigit() else number}"

    return sorted(
        (row["State"], row["Recv-Q"], row["Send-Q"], name(row["Local"]), name(row["Peer"]))
        for row in rows(text)
    )


def situation(m: Machine) -> dict[str, Any]:
    """Connections in many states: what `ss -tan` says of them."""
    s = m.socket
    listener = s.create_server(("127.0.0.1", 0), backlog=1)
    full = s.create_server(("127.0.0.1", 0), backlog=1)
    waiting = [s.create_connection(full.getsockname()) for _ in range(2)]
    pairs = []
    for _ in range(4):
        client = s.create_connection(listener.getsockname())
        pairs.append((client, listener.accept()[0]))
    for client, server in pairs[:2]:  # TIME_WAIT on the server's side
        server.close()
        client.close()
    pairs[2][1].close()  # CLOSE_WAIT here, FIN_WAIT_2 there
    pairs[3][0].sendall(b"x" * 1000)  # data in the receive queue
    m.time.sleep(0.1)
    ports = {listener.getsockname()[1]: "listener", full.getsockname()[1]: "full"}
    result = {
        "ss -tan": summary_of(m.tool("ss -tan"), ports),
        "ss -tn": summary_of(m.tool("ss -tn"), ports),
        "ss -ltn": summary_of(m.tool("ss -ltn"), ports),
        "columns": m.tool("ss -tan").split("\n")[0].replace("Process", "").split(),
    }
    for name, number in (("full", full.getsockname()[1]), ("listener", listener.getsockname()[1])):
        for words in (
            "state established sport = :PORT",
            "dport = :PORT or sport = :PORT",
            "not ( dst 127.0.0.0/8 and sport = :PORT )",
            "state time-wait src 127.0.0.1:PORT",
            "exclude listening sport ge PORT and sport le PORT",
            "sport != :PORT and ! dport = :PORT",
        ):
            command = f"ss -Htan {words.replace('PORT', str(number))}"
            result[f"{name}: {words}"] = len(m.tool(command).splitlines())
    for sock in (*waiting, pairs[2][0], *pairs[3], full, listener):
        sock.close()
    return result


@real_ss
def test_ss_shows_the_states_and_queues_that_the_real_one_shows() -> None:
    seen = both(situation)["ss -tan"]
    assert [row[0] for row in seen].count("TIME-WAIT") == 2
    assert ("LISTEN", "2", "1", "127.0.0.1:full", "0.0.0.0:*") in seen
    assert any(row[:2] == ("CLOSE-WAIT", "1") for row in seen)


def words_of(text: str) -> dict[str, str]:
    """`cwnd:10` and its like, and the names of what is given as `send 13Mbps`."""
    found = re.findall(r"(\w+)[:](\S+)", text)
    return dict(found)


def details(m: Machine) -> dict[str, Any]:
    """What `-i -m -o -e -p` add to a connection that has sent data."""
    s = m.socket
    listener = s.create_server(("127.0.0.1", 0))
    client = s.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.setsockopt(s.SOL_SOCKET, s.SO_KEEPALIVE, 1)
    client.sendall(b"x" * 3000)
    server.recv(3000)
    m.time.sleep(0.1)
    text = m.tool(f"ss -tnpieom dport = :{listener.getsockname()[1]}")
    found = words_of(text)
    exact = "bytes_sent bytes_acked segs_out segs_in data_segs_out advmss".split()
    result = {
        "exact": {name: found.get(name) for name in exact},
        "there": sorted(found.keys() & {"rtt", "ino", "sk", "skmem", "timer", "users", "minrtt"}),
        "timer": re.sub(r"\d+sec", "NNsec", found["timer"]),
        "skmem": re.findall(r"[a-z]+", found["skmem"]),
        "users": re.sub(r"\d+", "N", found["users"]).partition(",")[2],
        "lines": len(text.splitlines()),
        "flags": [word for word in ("ts", "sack", "<->") if word in text.split()],
    }
    for sock in (client, server, listener):
        sock.close()
    return result


@real_ss
def test_ss_tells_the_details_the_real_one_tells() -> None:
    assert both(details)["exact"]["bytes_sent"] == "3000"


def datagrams_and_unix(m: Machine) -> dict[str, Any]:
    s = m.socket
    udp, six = s.socket(s.AF_INET, s.SOCK_DGRAM), s.socket(s.AF_INET6, s.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 5353))
    six.bind(("::", 5354))
    peer = s.socket(s.AF_INET, s.SOCK_DGRAM)
    peer.connect(("127.0.0.1", 5353))
    raw = s.socket(s.AF_INET, s.SOCK_RAW, s.IPPROTO_ICMP)
    unix = s.socket(s.AF_UNIX)
    unix.bind("\0hidden")
    unix.listen(5)
    one, other = s.socketpair()
    other.sendall(b"12345")
    result: dict[str, Any] = {
        command: sorted(" ".join(line.split()) for line in m.tool(command).splitlines()[1:])
        for command in ("ss -uln", "ss -wan", "ss -uan -6")
    }
    result["connected"] = [line.split()[:2] for line in m.tool("ss -uHn").splitlines()]
    result["unix"] = sorted(line.split()[:5] for line in m.tool("ss -xHl").splitlines())
    result["pair"] = sorted(line.split()[:5] for line in m.tool("ss -xH").splitlines())
    for sock in (udp, six, peer, raw, unix, one, other):
        sock.close()
    return result


@real_ss
def test_ss_shows_datagram_raw_and_unix_sockets_as_the_real_one() -> None:
    seen = both(datagrams_and_unix)
    assert seen["unix"] == [["u_str", "LISTEN", "0", "5", "@hidden"]]


def counters(m: Machine) -> dict[str, Any]:
    """A backlog that overflows, a refused connection, a datagram nobody wants."""
    s = m.socket
    m.tool("nstat -n")
    full = s.create_server(("127.0.0.1", 0), backlog=0)
    clients = [s.create_connection(full.getsockname())]
    late = s.socket()
    late.setblocking(False)
    m.outcome(late.connect, full.getsockname())
    m.outcome(s.create_connection, ("127.0.0.1", 1))
    with s.socket(s.AF_INET, s.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("127.0.0.1", 2))
    with s.create_server(("127.0.0.1", 0)) as listener:
        client = s.create_connection(listener.getsockname())
        client.sendall(b"0123456789")
        listener.accept()[0].close()  # with data unread: a reset
        other = s.create_connection(listener.getsockname())
        listener.accept()[0].close()  # and in order: TIME_WAIT
        other.close()
        client.close()
    m.time.sleep(0.2)
    wanted = (
        "TcpExtListenOverflows TcpExtListenDrops TcpActiveOpens TcpPassiveOpens TcpAttemptFails "
        "TcpOutRsts UdpNoPorts UdpOutDatagrams IcmpOutDestUnreachs TcpExtTW TcpExtTCPOrigDataSent "
        "TcpExtTCPDelivered"
    )
    lines = m.tool(f"nstat -sz {wanted}").splitlines()
    sent = [line.split()[1] for line in m.tool("nstat -s IpOut[RT]*").splitlines()[1:]]
    for sock in (*clients, late, full):
        sock.close()
    return {
        "header": lines[0],
        "every request was transmitted": len(sent) == 2 and sent[0] == sent[1],
        "values": {line.split()[0]: line.split()[1] for line in lines[1:]},
        "widths": {len(line) for line in lines[1:]},
        "order": [line.split()[0] for line in lines[1:]],
    }


@pytest.mark.skipif(shutil.which("nstat") is None, reason="no nstat here: apt install iproute2")
def test_nstat_counts_what_the_real_one_counts() -> None:
    values = both(counters)["values"]
    assert (values["TcpExtListenOverflows"], values["TcpExtTW"]) == ("1", "1")


def host() -> Host:
    return Host(VirtualEngine(), "h")


@pytest.mark.parametrize(
    ("command", "message", "status"),
    [
        ("ss -q", "ss: invalid option -- 'q'", 1),
        ("ss --bogus", "ss: unrecognized option '--bogus'", 1),
        ("ss state bogus", "ss: wrong state name: bogus", 255),
        ("ss ( dport", "ss: bison bellows", 255),
        ("ss dst 300.1.1.1", "Error: an inet prefix is expected", 1),
        ("ss sport = :nobody", "does not look like a port", 1),
        ("ss -A bogus", "illegal socket table", 255),
        ("frobnicate", "bash: frobnicate: command not found", 127),
        ("ss 'a", "bash: ", 2),
    ],
)
def test_bad_words_give_a_sentence_and_a_status(command: str, message: str, status: int) -> None:
    with pytest.raises(ToolError, match=re.escape(message)) as failed:
        host().tool(command)
    assert failed.value.status == status


def test_no_counter_of_the_kernel_is_missing_in_nstat() -> None:
    """Whatever a layer counts is printed by name: one that is not in the list would be lost."""
    from pathlib import Path

    text = "".join(
        path.read_text()
        for layer in ("net", "link", "transport", "dev")
        for path in Path(__file__).parents[2].joinpath("pystack", layer).rglob("*.py")
    )
    names = set(re.findall(r'mib\["([A-Za-z0-9]+)"\]', text))
    machine = host()
    assert len(names) > 90
    shown = machine.tool("nstat -az").split()
    assert names - set(shown) == {"TcpCurrEstab"}
