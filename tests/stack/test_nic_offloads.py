"""The driver and the device model between two hosts: every offload, on the wire and above it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from nic_pair import DATA, MACS, SECOND, Pair, is_tcp, udp_frame

from pystack.core.checksum import ones_sum
from pystack.core.engine import VirtualEngine
from pystack.core.headers import frame
from pystack.core.headers.tcp import TH_CWR, TH_FIN, TH_PSH
from pystack.core.skb import CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.drivers.w2a_clock import MAX_ADJ
from pystack.dev.drivers.w2a_nic import W2aNic
from pystack.dev.netdev import NetDevice
from pystack.dev.wire import Link, Tapped
from pystack.host import Host, finished
from pystack.transport.packet.constants import (
    TP_STATUS_CSUM_VALID,
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
)
from pystack.transport.packet.frame import Frame


def tcp_frames(pair: Pair, direction: str) -> list[bytes]:
    """The segments with text that passed."""
    frames = [data for way, data in pair.wire if way == direction]
    return [data for data in frames if is_tcp(data) and len(data) > 100]


def checksums_right(data: bytes) -> bool:
    at = 14
    if data[12:14] == b"\x08\0":
        end, text = at + int.from_bytes(data[16:18], "big"), at + 20
        if ones_sum(data[at:text]) != 0xFFFF:
            return False
        addresses = data[26:34]
    else:
        text, addresses = at + 40, data[22:54]
        end = text + int.from_bytes(data[18:20], "big")
    start = int.from_bytes(addresses, "big") + 6 + end - text
    return ones_sum(data[text:end], start) == 0xFFFF


@pytest.mark.parametrize("to", ("10.77.0.2", "fd77::2"))
def test_tso_cuts_what_tcp_sends_in_one_piece(to: str) -> None:
    pair = Pair()
    pair.send(DATA, to)
    segments = tcp_frames(pair, "tx")
    assert all(checksums_right(data) for data in segments)
    assert sum(len(data) for data in segments) > len(DATA)
    assert max(map(len, segments)) == 1514
    stats = pair.stats()
    assert stats["queue0_tx_frames"] < stats["tx_frames"] / 3, "frames of many segments"
    assert pair.a.kernel.mib["TcpOutSegs"] >= len(segments), "counted as segments"
    pair.close()


def test_transfers_follow_each_other_either_way() -> None:
    """The second knows the neighbour: its SYN leaves at once."""
    pair = Pair()
    for _ in range(2):
        pair.transfer(pair.a, pair.b, b"to b", "10.77.0.2")
        pair.transfer(pair.b, pair.a, b"to a", "10.77.0.1")
    pair.close()


def test_without_tso_the_stack_cuts_and_without_tx_it_sums() -> None:
    for off in ({"tso": False}, {"tso": False, "tso6": False, "tx": False}, {"gso": False}):
        pair = Pair()
        pair.do(pair.a, pair.dev.set_features, off)
        pair.send(DATA)
        segments = tcp_frames(pair, "tx")
        assert all(checksums_right(data) for data in segments)
        stats = pair.stats()
        assert stats["queue0_tx_frames"] == stats["tx_frames"]
        pair.close()


def test_forwarded_segments_that_gro_merged_are_cut_by_the_device_again() -> None:
    """The router's second NIC gets the pages the first has filled, without a copy."""
    engine = VirtualEngine()
    left, right = Link(engine), Link(engine)
    router, source, sink = Host(engine, "r"), Host(engine, "s"), Host(engine, "d")
    wire: list[bytes] = []
    port = Tapped(right.a, engine, lambda way, data, start, end: wire.append(data))
    ins, outs = router.add_nic("eth0", MACS[0], left.b), router.add_nic("eth1", MACS[0], port)
    a, b = source.add_softnic("eth0", MACS[1], left.a), sink.add_softnic("eth0", MACS[1], right.b)
    router.kernel.sysctl["net.ipv4.ip_forward"] = 1

    def up(host: Host, dev: NetDevice, address: str, gateway: str = "") -> None:
        host.up(dev, address)
        if gateway:
            host.ipv4.add_route("default", gateway)

    tasks = [
        router.start(up, router, ins, "10.77.1.1/24"),
        router.start(up, router, outs, "10.77.2.1/24"),
        source.start(up, source, a, "10.77.1.2/24", "10.77.1.1"),
        sink.start(up, sink, b, "10.77.2.2/24", "10.77.2.1"),
    ]
    engine.run(stop=finished(*tasks))
    pair = Pair.__new__(Pair)
    pair.engine = engine
    pair.transfer(source, sink, DATA, "10.77.2.2")
    segments = [data for data in wire if is_tcp(data) and len(data) > 100]
    assert all(checksums_right(data) for data in segments)
    nic: Any = outs.ops
    task = router.start(nic.get_stats)
    engine.run(stop=finished(task))
    assert task.result["queue0_tx_frames"] < task.result["tx_frames"]
    assert nic.resources.dma.faults == []


@pytest.mark.parametrize("tx", (True, False))
def test_nat_keeps_the_sum_of_the_pseudo_header_right(tx: bool) -> None:
    """Address and port are changed while the checksum is still to come, and of fragments, too."""
    pair = Pair()
    pair.do(pair.a, pair.dev.set_features, {"tx": tx})
    pair.a.iptables("-t nat -A OUTPUT -d 10.77.0.9 -p tcp -j DNAT --to-destination 10.77.0.2:80")
    pair.a.iptables("-t nat -A POSTROUTING -p udp -j SNAT --to-source 10.77.0.1:7777")
    pair.transfer(pair.a, pair.b, DATA, "10.77.0.2", 80, via=("10.77.0.9", 90))
    assert all(map(checksums_right, tcp_frames(pair, "tx")))
    got: list[bytes] = []

    def sink(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("10.77.0.2", 9))
            for _ in range(2):
                data, peer = sock.recvfrom(9000)
                assert peer == ("10.77.0.1", 7777)
                got.append(data)

    def source(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for size in (100, 5000):
                sock.sendto(DATA[:size], ("10.77.0.2", 9))

    processes = [pair.b.process("sink", sink), pair.a.process("source", source)]
    pair.engine.run(stop=lambda: not any(p.alive for p in processes), until=100 * SECOND)
    assert got == [DATA[:100], DATA[:5000]]
    pair.close()


def test_a_bad_checksum_goes_up_unverified_and_is_counted_there() -> None:
    pair = Pair()
    seen: list[int] = []

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        if not outgoing and skb.buf[23] == 17:
            seen.append(skb.ip_summed)

    pair.a.core.taps.append(tap)
    good = udp_frame(b"payload", good=True)
    pair.link.b.send(good)
    pair.link.b.send(udp_frame(b"payload", good=False))
    pair.engine.run(until=pair.engine.now + SECOND)
    assert seen[-2:] == [CHECKSUM_UNNECESSARY, 0]
    assert pair.a.kernel.mib["UdpInCsumErrors"] == 1
    pair.do(pair.a, pair.dev.set_features, {"rx": False})
    pair.link.b.send(good)
    pair.engine.run(until=pair.engine.now + SECOND)
    assert seen[-1] == 0, "with rx off the driver believes nothing"


def test_rss_spreads_flows_over_queues_and_cpus_and_gives_their_hash() -> None:
    pair = Pair(cpus=4, queues=4)
    seen: dict[int, set[tuple[int, int, int]]] = {}

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        if not outgoing and bytes(skb.buf[12:14]) == b"\x08\0":
            cpu = pair.a.kernel.cpu.index
            sport = frame.unpack(skb.buf, skb.off, skb.end)[13]
            seen.setdefault(sport, set()).add((skb.queue, cpu, skb.hash))

    pair.a.core.taps.append(tap)
    for _ in range(2):
        for sport in range(5000, 5064):
            pair.link.b.send(udp_frame(b"x" * 30, good=True, sport=sport))
    pair.engine.run(until=pair.engine.now + SECOND)
    assert all(len(where) == 1 for where in seen.values()), "a flow keeps its queue"
    where = [next(iter(found)) for found in seen.values()]
    assert all(queue == cpu for queue, cpu, _ in where)
    assert {queue for queue, _, _ in where} == {0, 1, 2, 3}
    assert len({hash_ for _, _, hash_ in where}) == 64
    stats = pair.stats()
    assert sum(stats[f"queue{n}_rx_frames"] for n in range(4)) == stats["rx_frames"]
    pair.do(pair.a, pair.nic.ethtool.set_rxfh, (2,) * 128, None)
    before = pair.stats()["queue2_rx_frames"]
    for sport in range(5000, 5016):
        pair.link.b.send(udp_frame(b"x" * 30, good=True, sport=sport))
    pair.engine.run(until=pair.engine.now + SECOND)
    assert pair.stats()["queue2_rx_frames"] == before + 16
    pair.close()


def test_each_cpu_sends_through_its_own_queue() -> None:
    pair = Pair(cpus=4, queues=4)

    def send(socket: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x" * 100, ("10.77.0.2", 9))

    def listen(socket: Any) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("10.77.0.2", 9))
        while True:
            sock.recv(100)

    listener = pair.b.process("listen", listen)
    pair.a.process("warm-up", send)
    pair.engine.run(until=pair.engine.now + SECOND)
    for cpu in range(4):
        before = pair.stats()
        pair.a.process("send", send, cpu=cpu)
        pair.engine.run(until=pair.engine.now + SECOND // 1000)
        after = pair.stats()
        changed = [
            n for n in range(4) if after[f"queue{n}_tx_frames"] != before[f"queue{n}_tx_frames"]
        ]
        assert changed == [cpu]
    listener.kill()
    pair.close()


def test_jumbo_frames_fill_several_buffers_and_mtu_changes_with_traffic() -> None:
    pair = Pair(mtu=9000)
    pair.transfer(pair.b, pair.a, DATA, "10.77.0.1")
    assert max(len(data) for _, data in pair.wire) == 9014
    pair.do(pair.a, pair.dev.change_mtu, 1500)
    pair.do(pair.b, pair.peer.change_mtu, 1500)
    pair.wire.clear()
    pair.transfer(pair.b, pair.a, DATA, "10.77.0.1", 81)
    assert max(len(data) for _, data in pair.wire) == 1514
    pair.close()


def test_vlan_tags_are_put_in_and_taken_out_by_the_device() -> None:
    pair = Pair()
    ours, theirs = pair.a.add_vlan(pair.dev, 5), pair.b.add_vlan(pair.peer, 5)
    pair.do(pair.a, pair.a.up, ours, "10.77.5.1/24")
    pair.do(pair.b, pair.b.up, theirs, "10.77.5.2/24")
    tags: list[int] = []
    pair.a.core.taps.append(lambda dev, skb, out: tags.append(skb.vlan_tci))
    assert ours.features["tso"]
    pair.wire.clear()
    pair.send(DATA, "10.77.5.2")
    tagged = [data for _, data in pair.wire if data[12:16] == b"\x81\0\0\x05"]
    assert len(tagged) == len(pair.wire)
    assert set(tags) == {5, -1}, "beside the frame on the device, nowhere on the VLAN's"
    stats = pair.stats()
    assert stats["queue0_tx_frames"] < stats["tx_frames"] / 2, "TSO with a tag"
    for names in ({"txvlan": False}, {"rxvlan": False}):
        pair.do(pair.a, pair.dev.set_features, names)
        pair.wire.clear()
        pair.send(DATA[:20000], "10.77.5.2", 81 + len(pair.dev.features))
        assert all(data[12:16] == b"\x81\0\0\x05" for _, data in pair.wire)
        assert ours.features["tso"] == pair.dev.features["txvlan"]
    pair.close()


def test_a_packet_socket_sees_the_tag_beside_the_frame_and_sums_to_come() -> None:
    pair = Pair()
    ours, theirs = pair.a.add_vlan(pair.dev, 5), pair.b.add_vlan(pair.peer, 5)
    pair.do(pair.a, pair.a.up, ours, "10.77.5.1/24")
    pair.do(pair.b, pair.b.up, theirs, "10.77.5.2/24")
    seen: list[tuple[bool, int, tuple[int, int]]] = []

    def tap(dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        frame = Frame(dev, skb, outgoing)
        if dev is pair.dev and frame.data[12:14] == b"\x08\0":
            seen.append((outgoing, frame.status, frame.vlan))

    pair.a.core.taps.append(tap)
    pair.send(b"text", "10.77.5.2")
    tagged = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID
    assert set(seen) == {
        (True, tagged | TP_STATUS_CSUMNOTREADY, (5, 0x8100)),
        (False, tagged | TP_STATUS_CSUM_VALID, (5, 0x8100)),
    }


def test_stamps_of_31_bits_become_times() -> None:
    """Over several times the 2.1 s after which they repeat, and with an idle spell between."""
    pair = Pair()
    stamps: list[tuple[int, int]] = []
    tap = pair.a.core.taps.append
    tap(lambda dev, skb, out: None if out else stamps.append((skb.hwtstamp, skb.tstamp)))
    stamps.clear()
    for wait in (0, 1, 2, 3, 60, 1):
        pair.engine.run(until=pair.engine.now + wait * SECOND)
        pair.link.b.send(udp_frame(b"x" * 30, good=True))
        pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert len(stamps) >= 6
    assert all(0 < there - hardware < 5000 for hardware, there in stamps)
    pair.do(pair.a, pair.nic.clock.adjtime, -500_000)
    pair.link.b.send(udp_frame(b"x" * 30, good=True))
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    hardware, there = stamps[-1]
    assert 500_000 < there - hardware < 505_000


def test_the_clock_refuses_what_it_cannot_be_set_to() -> None:
    pair = Pair()
    clock, written = pair.nic.clock, []

    def refused(fn: Callable[[int], None], value: int) -> bool:
        with pytest.raises(OSError, match=r"\[Errno") as failed:
            fn(value)
        return failed.value.errno == errno.ERANGE

    def change() -> list[bool]:
        write, clock._write = clock._write, lambda *args: written.append(args)
        beyond = (-2 * 10**9, 10**11, MAX_ADJ + 1, -MAX_ADJ - 1)
        outcomes = [refused(clock.adjfine, value) for value in beyond]
        outcomes += [refused(clock.settime, value) for value in (-1, 1 << 64)]
        outcomes += [refused(clock.adjtime, by) for by in (-clock.gettime() - SECOND, 1 << 64)]
        clock._write = write
        for value in (MAX_ADJ, -MAX_ADJ, 0):
            clock.adjfine(value)
        before = clock.gettime()
        clock.adjtime(60 * SECOND)  # more than the register has bits for
        outcomes.append(0 <= clock.gettime() - before - 60 * SECOND < 5000)
        return outcomes

    assert pair.do(pair.a, change) == [True] * 9
    assert written == []


def test_a_sent_packet_comes_back_with_the_time_it_left() -> None:
    pair = Pair()
    stamped: list[int] = []
    began = pair.engine.now

    def send() -> None:
        skb = SkBuff(pair.a.kernel, memoryview(MACS[1] + MACS[0] + b"\x88\xb5" + bytes(100)))
        skb.dev, skb.tx_stamped = pair.dev, stamped.append
        pair.a.core.queue_xmit(skb)

    pair.do(pair.a, send)
    pair.engine.run(until=pair.engine.now + SECOND)
    assert len(stamped) == 1 and began <= stamped[0] < began + 5000
    pair.close()


@pytest.mark.leaves("the packets it has seen")
def test_tso_and_software_segmentation_make_the_same_frames() -> None:
    from pystack.dev.gso import segment
    from pystack.dev.model.txoffload import TxOrder, frames

    kernel = Pair().a.kernel
    for v4 in (True, False):
        for flags in (TH_PSH | 0x10, TH_FIN | TH_PSH | 0x10, TH_CWR | 0x10):
            for length in (1, 999, 1000, 1001, 4000, 60000):
                skb, order = large(kernel, v4, flags, length)
                device = frames(bytes(skb), TxOrder(*order, segment=True, mss=1000))
                software = [bytes(part) for part in segment(skb, 14)]
                assert device == software
                assert all(checksums_right(data) for data in device)


def large(kernel: Any, v4: bool, flags: int, length: int) -> tuple[SkBuff, tuple[int, int]]:
    """A packet of many segments, and where its checksum starts and is stored."""
    text = memoryview(bytes(range(256)) * 256)[:length]
    addresses = bytes(range(8)) if v4 else bytes(range(32))
    tcp = b"\x13\x88\0\x50" + b"\xff\xff\xff\0" + bytes(4) + bytes((8 << 4, flags)) + b"\x10\0"
    pseudo = ones_sum(b"", int.from_bytes(addresses, "big") + 6)
    tcp += pseudo.to_bytes(2, "big") + b"\0\0" + b"\x01\x01\x08\x0a" + bytes(8)
    if v4:
        ip = b"\x45\0\0\0\xff\xfe\x40\0\x40\x06\0\0" + addresses
    else:
        ip = b"\x60\0\0\0\0\0\x06\x40" + addresses
    skb = SkBuff(kernel, text)
    skb.head = MACS[1] + MACS[0] + (b"\x08\0" if v4 else b"\x86\xdd") + ip + tcp
    skb.gso_size = 1000
    return skb, (14 + len(ip), 16)


def test_the_driver_is_the_one_of_the_rtl() -> None:
    assert isinstance(Pair().nic, W2aNic)
