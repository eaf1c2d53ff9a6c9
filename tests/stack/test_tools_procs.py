"""`netstat`, `lsof`, `ps` and the tables of /proc/net, of sockets that one program makes on a
simulated host and on this machine: the same parser reads what both print."""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest
from both import Machine, both
from tools_net import simulated

from pystack.core.engine import VirtualEngine
from pystack.host import Host
from pystack.tools.tool import ToolError

real_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("netstat", "lsof"))),
    reason="no netstat or lsof here: apt install net-tools lsof",
)


def sockets(m: Machine) -> tuple[list[Any], dict[int, str]]:
    """A full backlog, a leaked descriptor (CLOSE_WAIT here, FIN_WAIT_2 there), queued data,
    TIME_WAIT; and the names of the ports."""
    s = m.socket
    listener = s.create_server(("127.0.0.1", 0), backlog=5)
    full = s.create_server(("::1", 0), family=s.AF_INET6, backlog=0)
    held: list[Any] = [listener, full, s.create_connection(full.getsockname()[:2])]
    ended, peer = s.create_connection(listener.getsockname()), listener.accept()[0]
    peer.close()
    ended.close()  # TIME_WAIT at the peer
    leaked, peer = s.create_connection(listener.getsockname()), listener.accept()[0]
    peer.close()
    sender, receiver = s.create_connection(listener.getsockname()), listener.accept()[0]
    sender.sendall(b"x" * 700)
    udp = s.socket(s.AF_INET, s.SOCK_DGRAM)
    udp.bind(("0.0.0.0", 0))
    held += [leaked, sender, receiver, udp]
    m.time.sleep(0.1)
    ports = {
        listener.getsockname()[1]: "listener",
        full.getsockname()[1]: "full",
        udp.getsockname()[1]: "udp",
    }
    return held, ports


def named(text: str, ports: dict[int, str]) -> str:
    """Ports by name, those of clients as `client`."""
    return re.sub(r":(\d{4,5})\b", lambda match: ":" + ports.get(int(match[1]), "client"), text)


def netstat_rows(text: str, ports: dict[int, str]) -> list[list[str]]:
    return sorted(named(line, ports).split()[:6] for line in text.splitlines()[2:])


def lsof_rows(text: str, ports: dict[int, str]) -> list[list[str]]:
    """FD without its number, TYPE, SIZE/OFF, NODE, NAME."""
    rows = (named(line, ports).split() for line in text.splitlines()[1:])
    return sorted([re.sub(r"\d+", "", row[3]), row[4], *row[6:]] for row in rows)


def proc_rows(text: str) -> list[list[str]]:
    """State, queues, timer that runs, user, whether it has an inode."""
    rows = (line.split() for line in text.splitlines()[1:])
    return sorted(
        [row[3], row[4], row[5].split(":")[0], row[6], row[7], str(row[9] != "0")] for row in rows
    )


def program(m: Machine) -> dict[str, Any]:
    held, ports = sockets(m)
    owner = m.sys.getpid()
    result: dict[str, Any] = {
        command: netstat_rows(m.tool(command), ports)
        for command in ("netstat -tan", "netstat -tn", "netstat -tln", "netstat -uan")
    }
    lines = m.tool("netstat -tan").splitlines()
    result["netstat header"] = [line.split() for line in lines[:2]]
    held_by = f"lsof -nP -a -p {owner} -i"
    result["lsof"] = lsof_rows(m.tool(held_by), ports)
    result["lsof header"] = m.tool(held_by).splitlines()[0].split()
    for name, wanted in (("listener", "tcp@127.0.0.1:{}"), ("full", "6:{}"), ("udp", "udp:{}")):
        port = next(port for port, known in ports.items() if known == name)
        text = m.tool(f"{held_by} {wanted.format(port)}")
        result[f"lsof {wanted}"] = lsof_rows(text, ports)
    for family in ("tcp", "tcp6", "udp"):
        text = m.tool(f"cat /proc/net/{family}")
        result[f"/proc/net/{family}"] = proc_rows(text)
        result[f"{family} header"] = text.splitlines()[0].split()
    for sock in held:
        sock.close()
    return result


@real_tools
def test_netstat_lsof_and_proc_show_what_the_real_ones_show() -> None:
    seen = both(program)
    states = [row[5] for row in seen["netstat -tan"]]
    assert {"TIME_WAIT", "CLOSE_WAIT", "FIN_WAIT2", "LISTEN", "ESTABLISHED"} == set(states)
    assert ["tcp", "700", "0", "127.0.0.1:listener", "127.0.0.1:client", "ESTABLISHED"] in seen[
        "netstat -tan"
    ]
    assert ["u", "IPv4", "0t0", "TCP", "127.0.0.1:client->127.0.0.1:listener", "(CLOSE_WAIT)"] in (
        seen["lsof"]
    )


def statistics(m: Machine) -> dict[str, Any]:
    """What `netstat -s` says after refusals and overflows, and the names in /proc/net."""
    s = m.socket
    full = s.create_server(("127.0.0.1", 0), backlog=0)
    client = s.create_connection(full.getsockname())
    late = s.socket()
    late.setblocking(False)
    m.outcome(late.connect, full.getsockname())
    m.outcome(s.create_connection, ("127.0.0.1", 1))
    with s.socket(s.AF_INET, s.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("127.0.0.1", 2))
    m.time.sleep(0.2)
    wanted = re.compile(
        r"connection openings|failed connection|resets sent|unknown port|listen queue|SYNs to"
        r"|destination unreach|histogram|messages received|^\w+:$|resets received|packets sent"
    )
    lines = [line for line in m.tool("netstat -s").splitlines() if wanted.search(line)]
    result: dict[str, Any] = {
        "netstat -s": [line for line in lines if line not in ("UdpLite:", "MPTcpExt:")]
    }
    for name in ("snmp", "netstat"):
        text = m.tool(f"cat /proc/net/{name}")
        skip = ("UdpLite:", "MPTcpExt:")
        names = [line.split() for line in text.splitlines()[::2]]
        result[name] = [words for words in names if words[0] not in skip]
    for sock in (client, late, full):
        sock.close()
    return result


@real_tools
def test_netstat_s_tells_what_the_real_one_tells() -> None:
    seen = both(statistics)["netstat -s"]
    assert "    1 times the listen queue of a socket overflowed" in seen


def idle(socket: Any) -> None:
    left, _ = socket.socketpair()
    left.recv(1)


def test_ps_and_kill_know_the_processes() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")
    process = host.process("idle", idle)
    engine.run(until=10**9)
    assert (
        host.tool("ps")
        == f"    PID TTY          TIME CMD\n{process.pid:7} ?        00:00:00 idle\n"
    )
    assert host.tool("ps -ef").splitlines()[1].split()[0] == "root"
    host.tool(f"kill -INT {process.pid}")
    engine.run(until=2 * 10**9)
    assert process.exit_status == -2
    with pytest.raises(ToolError, match="No such process"):
        host.tool(f"kill {process.pid}")


def test_lsof_names_every_kind_of_file() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")

    def program(m: Any) -> None:
        calls = process.sys
        calls.epoll_create1(0)
        calls.pipe2(0)
        calls.eventfd2(0, 0)
        idle(m)

    process = host.process("files", program)
    engine.run(until=10**9)
    rows = [line.split() for line in host.tool(f"lsof -p {process.pid}").splitlines()[1:]]
    kinds = [(row[4], row[-1]) for row in rows[3:]]
    assert kinds[:4] == [
        ("a_inode", "[eventpoll]"),
        ("FIFO", "pipe"),
        ("FIFO", "pipe"),
        ("a_inode", "[eventfd]"),
    ]
    assert [kind for kind, _ in kinds[4:]] == ["unix", "unix"]
    with pytest.raises(ToolError) as nothing:
        host.tool("lsof -i :1")
    assert nothing.value.status == 1


def test_sysctl_reads_writes_and_lists() -> None:
    shown = simulated(
        (
            "sysctl net.ipv4.tcp_rmem net.ipv4.tcp_sack",
            "sysctl -w net.ipv4.tcp_sack=0",
            "sysctl -n net/ipv4/tcp_sack",
            "sysctl -a",
            "cat /proc/sys/net/ipv4/tcp_sack",
        )
    )
    assert shown[0] == "net.ipv4.tcp_rmem = 4096\t131072\t6291456\nnet.ipv4.tcp_sack = 1\n"
    assert shown[1:3] == ["net.ipv4.tcp_sack = 0\n", "0\n"]
    assert "net.ipv4.tcp_sack = 0\n" in shown[3] and shown[3].count("\n") > 100
    assert shown[4] == "0\n"
