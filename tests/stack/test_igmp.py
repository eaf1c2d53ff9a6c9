"""Multicast and broadcast: who receives, what routers are told, what the host hears of itself."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

import pytest
from router import RA, A, Net, ip4, mac
from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3mq, IGMPv3mr
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop

GROUP, OTHER = "239.1.2.3", "239.9.9.9"
EXCLUDE_MODE, TO_INCLUDE, TO_EXCLUDE = 2, 3, 4


@pytest.fixture
def net() -> Net:
    return Net()


def join(net: Net, group: str = GROUP) -> None:
    net.do(net.a, net.a.ipv4.join, net.a0, ip4(group))


def leave(net: Net, group: str = GROUP) -> None:
    net.do(net.a, net.a.ipv4.leave, net.a0, ip4(group))


def sent(net: Net) -> list[Any]:
    """IGMP packets `a` has sent, checked, since the last call."""
    frames = [Ether(f) for f in net.frames["a"] if f[6:12] == mac(1) and f[23] == 2]
    net.frames["a"].clear()
    for f in frames:
        packet = f[IP]
        assert (packet.ttl, packet.tos, packet.src) == (1, 0xC0, A)
        assert (packet.ihl, bytes(packet)[20:24]) == (6, b"\x94\x04\0\0")  # router alert
        assert ones_sum(bytes(packet.payload)[: packet.len - 24]) == 0xFFFF
        assert f.dst == "01:00:5e:" + ":".join(f"{b:02x}" for b in ip4(packet.dst)[1:])
    return frames


def v3(frames: list[Any]) -> list[list[tuple[int, str]]]:
    """Each report's records."""
    reports = []
    for f in frames:
        assert (f[IP].dst, f[IGMPv3].type) == ("224.0.0.22", 0x22)
        reports.append([(r.rtype, r.maddr) for r in f[IGMPv3mr].records])
    return reports


def v2(frames: list[Any]) -> list[tuple[int, str, str]]:
    """Type, group and destination of each."""
    return [(f[IGMP].type, f[IGMP].gaddr, f[IP].dst) for f in frames]


def query(net: Net, payload: Any, dst: str = "224.0.0.1") -> None:
    packet = IP(src=RA, dst=dst, ttl=1, proto=2) / payload
    net.inject(net.a, net.a0, packet, b"\x01\x00\x5e" + ip4(dst)[1:])


# -- IGMPv3 --------------------------------------------------------------------------------


def test_a_join_is_told_twice_and_a_second_one_is_no_news(net: Net) -> None:
    join(net)
    join(net)
    net.run(2000)
    assert v3(sent(net)) == [[(TO_EXCLUDE, GROUP)]] * 2
    leave(net)
    net.run(2000)
    assert sent(net) == []
    leave(net)
    net.run(2000)
    assert v3(sent(net)) == [[(TO_INCLUDE, GROUP)]] * 2
    net.balance()


def test_a_general_query_is_answered_once_with_all_groups_in_time(net: Net) -> None:
    join(net)
    join(net, OTHER)
    net.run(3000)
    sent(net)
    query(net, IGMPv3mq(mrcode=20))
    net.run(2000)
    assert v3(sent(net)) == [[(EXCLUDE_MODE, OTHER), (EXCLUDE_MODE, GROUP)]]


def test_a_query_for_a_group_is_answered_for_that_group(net: Net) -> None:
    join(net)
    join(net, OTHER)
    net.run(3000)
    sent(net)
    query(net, IGMPv3mq(mrcode=10, gaddr=OTHER), OTHER)
    net.run(1000)
    assert v3(sent(net)) == [[(EXCLUDE_MODE, OTHER)]]


def test_link_local_groups_are_told_unless_told_not_to(net: Net) -> None:
    join(net, "224.0.0.251")
    net.run(2000)
    assert len(sent(net)) == 2
    net.a.kernel.sysctl.write("net.ipv4.igmp_link_local_mcast_reports", "0")
    join(net, "224.0.0.252")
    net.run(2000)
    assert sent(net) == []


# -- IGMPv2 and v1 -------------------------------------------------------------------------


def older(net: Net, code: int) -> None:
    """A querier of version 2, or 1 with a code of 0, is heard."""
    query(net, IGMP(type=0x11, mrcode=code, gaddr="0.0.0.0"))
    net.run(1)


def test_with_an_older_querier_reports_and_leaves_are_of_version_2(net: Net) -> None:
    older(net, 10)
    join(net)
    net.run(15_000)
    assert v2(sent(net)) == [(0x16, GROUP, GROUP)] * 2
    query(net, IGMP(type=0x11, mrcode=10, gaddr="0.0.0.0"))
    net.run(1000)
    assert v2(sent(net)) == [(0x16, GROUP, GROUP)]
    leave(net)
    net.run(1000)
    assert v2(sent(net)) == [(0x17, GROUP, "224.0.0.2")]


def test_somebody_elses_report_makes_ours_unnecessary_and_the_leave_too(net: Net) -> None:
    older(net, 10)
    join(net)
    net.run(15_000)
    sent(net)
    query(net, IGMP(type=0x11, mrcode=100, gaddr="0.0.0.0"))
    query(net, IGMP(type=0x16, mrcode=0, gaddr=GROUP), GROUP)
    net.run(11_000)
    leave(net)
    net.run(1000)
    assert sent(net) == []


def test_version_1_has_reports_of_its_own_and_no_leave(net: Net) -> None:
    older(net, 0)
    join(net)
    net.run(15_000)
    assert v2(sent(net)) == [(0x12, GROUP, GROUP)] * 2
    leave(net)
    net.run(1000)
    assert sent(net) == []


def test_version_3_is_spoken_again_when_the_older_querier_is_gone(net: Net) -> None:
    older(net, 10)
    net.run(136_000)
    join(net)
    net.run(2000)
    assert v3(sent(net)) == [[(TO_EXCLUDE, GROUP)]] * 2


def test_the_version_can_be_forced(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.conf.all.force_igmp_version", "2")
    join(net)
    net.run(15_000)
    assert v2(sent(net)) == [(0x16, GROUP, GROUP)] * 2


@pytest.mark.parametrize(
    "payload",
    [b"\x11\x64", b"\x11\x64\x00\x00" + bytes(4), b"\x11\x0a\xee\xf5" + bytes(6), b""],
)
def test_malformed_messages_are_counted_and_dropped(net: Net, payload: bytes) -> None:
    query(net, Raw(payload))
    assert net.a.kernel.drops == {Drop.IGMP_MALFORMED: 1}
    net.balance()


def test_a_device_that_comes_up_again_tells_its_groups_again(net: Net) -> None:
    join(net)
    net.run(3000)
    net.do(net.a, net.a.core.stop, net.a0)
    sent(net)
    net.do(net.a, net.a.core.open, net.a0)
    net.run(3000)
    assert v3(sent(net)) == [[(TO_EXCLUDE, GROUP)]] * 2
    leave(net)
    assert net.a0.mc_list.keys() & {bytes.fromhex("01005e010203")} == set()


# -- receiving and sending -----------------------------------------------------------------


def socket_pair(net: Net, member: bool, **options: int) -> list[tuple[str, bytes]]:
    """`a` and `r` listen at port 9 for GROUP (or to everybody); `a` sends; who has got what."""
    got: list[tuple[str, bytes]] = []

    def listen(socket: Any, name: str, address: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", 9))
            if member:
                request = socket.inet_aton(GROUP) + socket.inet_aton(address)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            sock.settimeout(1)
            with contextlib.suppress(TimeoutError):
                got.append((name, sock.recv(100)))

    def send(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for name, value in options.items():
                if name != "everybody":
                    sock.setsockopt(socket.IPPROTO_IP, getattr(socket, name), value)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(A))
            sock.sendto(b"hello", (("10.1.0.255" if options.get("everybody") else GROUP), 9))

    listening = [
        net.a.process("a", listen, "a", A),
        net.r.process("r", listen, "r", RA),
    ]
    net.run(5)
    net.wait(net.process(net.a, send), *listening)
    return sorted(got)


def test_members_here_and_there_receive_what_is_sent_to_the_group(net: Net) -> None:
    assert socket_pair(net, member=True) == [("a", b"hello"), ("r", b"hello")]
    net.run(100)


def test_without_loop_the_sender_does_not_hear_itself(net: Net) -> None:
    assert socket_pair(net, member=True, IP_MULTICAST_LOOP=0) == [("r", b"hello")]


def test_a_ttl_of_0_stays_in_the_host(net: Net) -> None:
    assert socket_pair(net, member=True, IP_MULTICAST_TTL=0) == [("a", b"hello")]


def test_who_has_not_joined_receives_nothing(net: Net) -> None:
    assert socket_pair(net, member=False) == []
    assert net.r.kernel.drops[Drop.IP_NOT_MEMBER] == 1


def test_broadcast_reaches_everybody_on_the_link_and_the_sender(net: Net) -> None:
    assert socket_pair(net, member=False, everybody=1) == [("a", b"hello"), ("r", b"hello")]


def test_every_host_is_a_member_of_all_hosts(net: Net) -> None:
    net.inject(
        net.a, net.a0, IP(src=RA, dst="224.0.0.1") / UDP(dport=9), bytes.fromhex("01005e000001")
    )
    assert Drop.IP_NOT_MEMBER not in net.a.kernel.drops
    assert bytes.fromhex("01005e000001") in net.a0.mc_list
    assert net.a.ipv4.route(ip4(GROUP)).dev is net.a0


def test_a_socket_may_join_igmp_max_memberships_groups(net: Net) -> None:
    net.a.kernel.sysctl.write("net.ipv4.igmp_max_memberships", "2")

    def join_many(socket: Any) -> list[int | None]:
        results: list[int | None] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for group in ("239.0.0.1", "239.0.0.2", "239.0.0.2", "239.0.0.3"):
                request = socket.inet_aton(group) + socket.inet_aton(A)
                try:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
                    results.append(None)
                except OSError as exc:
                    results.append(exc.errno)
        return results

    process = net.process(net.a, join_many)
    net.wait(process)
    assert process.result == [None, None, errno.EADDRINUSE, errno.ENOBUFS]
