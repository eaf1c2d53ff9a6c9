"""`ip`, `ping`, `route`, `netstat`, /proc/net: set up and asked on a simulated host and, with the
same words, on this machine."""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest
from tools_net import real, simulated, tidied

from pystack.core.costs import Costs
from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.dev.drivers import w2a_regs
from pystack.dev.wire import Link
from pystack.host import Host, finished
from pystack.tools.devices import MEANING

CHANGES = (
    "ip route add default via 10.77.0.2",
    "ip route add 192.168.5.0/24 via 10.77.0.2 metric 100 mtu 1400",
    "ip route add unreachable 192.168.6.0/24",
    "ip route add 192.168.8.0/24 dev eth0 src 10.77.0.1",
    "ip route del 192.168.8.0/24",
    "ip neigh add 10.77.0.7 lladdr 02:00:00:00:00:07 dev eth0",
    "ip link set eth0 mtu 1400",
)
SAME = (
    "ping -c 2 -i 0.2 10.77.0.2",
    "ping -c 1 fd77::2",
    "ping -c 1 10.77.0.44",
    "ping -c 1 192.168.6.1",
    "ip addr show eth0",
    "ip -4 addr show dev eth0",
    "ip link show eth0",
    "ip -br addr show eth0",
    "ip -br link",
    "ip route",
    "ip route show table local",
    "ip route get 10.77.0.2",
    "ip route get 8.8.8.8",
    "ip neigh show dev eth0",
    "ip -4 neigh",
    "route -n",
    "netstat -rn",
    "cat /proc/net/arp",
    "cat /proc/net/route",
)
WRONG = (
    "ip addr show dev bogus",
    "ip frobnicate",
    "ip route add 10.0.0.0/8 via 172.16.0.1",
    "ip route del 1.2.3.0/24",
    "ip addr add 10.77.0.1/24 dev eth0",
    "ip addr add 10.0.0.1/8 dev bogus",
    "ip addr del 10.9.9.9/8 dev eth0",
    "ip neigh del 10.77.0.99 dev eth0",
    "ip addr add 10.0.0.300 dev eth0",
    "ip route add 10.1.0.0/16 dev eth0 src 9.9.9.9",
    "ip route add 10.77.0.0/24 dev eth0",
    "ip route add 10.5.0.0/16",
    "ip route add bogus/33 dev eth0",
    "ip route frob",
    "ip link set bogus up",
    "ip link set eth0 mtu x",
    "ip route get 300.1.1.1",
    "ip neigh add 10.77.0.8 dev eth0 lladdr zz",
    "ip -z addr",
    "netstat -q",
    "nstat -q",
    "ping",
    "tc frob",
    "tc qdisc add dev bogus root pfifo",
    "sysctl -w net.ipv4.tcp_fin_timeout=x",
    "cat /proc/net/bogus",
    "sysctl net.ipv4.bogus",
)
needs = pytest.mark.skipif(
    not all(map(shutil.which, ("ip", "ping", "route", "nsenter"))),
    reason="needs ip, ping, route, nsenter: apt install iproute2 iputils-ping net-tools",
)


@needs
def test_tools_show_what_the_real_ones_show_after_the_same_commands() -> None:
    commands = (*CHANGES, *SAME)
    here, there = simulated(commands), real(commands)
    for command, ours, theirs in zip(commands, here, there, strict=True):
        ours, theirs = tidied(ours), tidied(theirs)
        if "neigh" in command or "arp" in command:  # in the order of a hash
            ours, theirs = ("\n".join(sorted(text.splitlines())) for text in (ours, theirs))
        assert ours == theirs, command
    assert "0% packet loss" in here[len(CHANGES)]
    assert "02:00:00:00:00:07 PERMANENT" in here[commands.index("ip -4 neigh")]


@needs
def test_wrong_words_get_the_sentences_of_the_real_tools() -> None:
    here, there = simulated(WRONG), real(WRONG)
    for command, ours, theirs in zip(WRONG, here, there, strict=True):
        assert ours.splitlines()[0] == theirs.splitlines()[0], command


def counters(text: str) -> list[list[str]]:
    """The lines that have numbers only, as words."""
    lines = (line.split() for line in text.splitlines())
    return [words for words in lines if words and all(word.isdigit() for word in words)]


@needs
def test_statistics_have_the_columns_of_the_real_ones() -> None:
    commands = ("ip -s link show eth0", "ip -s -s link show eth0", "cat /proc/net/dev")
    for ours, theirs in zip(simulated(commands), real(commands), strict=True):
        assert [len(row) for row in counters(ours)] == [len(row) for row in counters(theirs)]
        words = [re.sub(r"\d+", "N", re.sub(r" +", " ", text)) for text in (ours, theirs)]
        headers = [[line for line in text.splitlines() if "N" not in line] for text in words]
        assert headers[0] == headers[1]


def test_ip_s_counts_the_frames_of_a_ping() -> None:
    shown = simulated(("ip -s link show eth0", "ping -c 3 10.77.0.2", "ip -s link show eth0"))
    before, after = (counters(text) for text in (shown[0], shown[2]))
    for row in (0, 1):  # ARP and echo, request and reply, each three and one
        assert int(after[row][1]) - int(before[row][1]) >= 4
    sent = [int(row[1][0]) for row in (before, after)]
    assert sent[1] - sent[0] >= 3 * 98 + 42


def test_interrupts_and_softirqs_are_counted_by_cpu() -> None:
    shown = simulated(
        (
            "cat /proc/interrupts",
            "ping -c 3 10.77.0.2",
            "cat /proc/interrupts",
            "cat /proc/softirqs",
            "cat /proc/net/softnet_stat",
        )
    )
    taken = [
        int(re.search(r"(?m)^ 24: +(\d+) .* eth0-TxRx-0$", text)[1])  # type: ignore[index]
        for text in (shown[0], shown[2])
    ]
    assert taken[1] - taken[0] >= 4
    received = re.search(r"(?m)^ +NET_RX: +(\d+)$", shown[3])
    assert received is not None and int(received[1]) >= taken[1]
    assert int(shown[4].split()[0], 16) >= 4


def test_tc_shows_and_changes_the_discipline() -> None:
    shown = simulated(
        (
            "tc qdisc show dev eth0",
            "tc qdisc replace dev eth0 root netem delay 10ms 2ms loss 25% rate 1mbit limit 7",
            "tc qdisc show dev eth0",
            "ping -c 8 -i 0.1 10.77.0.2",
            "tc -s qdisc show dev eth0",
            "tc qdisc del dev eth0 root",
            "tc qdisc show",
            "tc qdisc replace dev eth0 root bogus",
        )
    )
    priomap = "bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1"
    assert shown[0] == f"qdisc pfifo_fast 0: root refcnt 2 {priomap}\n"
    netem = "qdisc netem 8002: root refcnt 2 limit 7 delay 10ms  2ms loss 25% rate 1Mbit\n"
    assert shown[2] == netem
    dropped = re.search(
        r"Sent \d+ bytes (\d+) pkt \(dropped (\d+), overlimits 0 requeues 0\)", shown[4]
    )
    assert dropped is not None and int(dropped[2]) > 0
    assert f"qdisc pfifo_fast 0: dev eth0 root refcnt 2 {priomap}\n" in shown[6]
    assert shown[7] == "Error: Specified qdisc kind is unknown.\n"


def test_ip_s_counts_frames_that_were_lost() -> None:
    """By the ring, by the backlog of a CPU, and for want of a protocol."""
    engine = VirtualEngine()
    link = Link(engine)
    host = Host(engine, "h", costs=Costs(rx_packet=1_000_000))
    dev = host.add_softnic("eth0", bytes.fromhex("020000000001"), link.a)
    engine.run(stop=finished(host.start(host.up, dev)))
    frame = bytes.fromhex("02000000000102000000000288b5") + bytes(50)
    for _ in range(1500):
        link.b.send(frame, lambda: None)
    engine.run(until=engine.now + 10 * 10**9)
    host.kernel.sysctl["net.core.netdev_max_backlog"] = 0
    with_backlog = host.process("u", send_to_myself)
    engine.run(stop=lambda: not with_backlog.alive)
    received, _ = counters(host.tool("ip -s link show eth0"))
    drops = host.kernel.drops
    assert int(received[3]) == drops[Drop.ETH_UNKNOWN_PROTOCOL] > 0
    assert int(received[4]) == drops[Drop.DEV_RING_FULL] > 0
    assert int(received[3]) + int(received[4]) == 1500
    loopback, _ = counters(host.tool("ip -s link show lo"))
    assert int(loopback[3]) == drops[Drop.DEV_BACKLOG_FULL] == 1
    assert int(host.tool("cat /proc/net/softnet_stat").split()[1], 16) == 1


def send_to_myself(socket: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", 9))


def test_every_loss_that_the_nic_counts_has_its_column() -> None:
    names = {counter.name for counter in (*w2a_regs.COUNTERS, *w2a_regs.QUEUE_COUNTERS)}
    shown = {name for names in MEANING.values() for name in names}
    no_loss = re.compile(r"[rt]x_(frames|bytes|pause|filtered)|doorbell_errors")
    assert {name for name in names if not no_loss.fullmatch(name)} == shown
