"""The hooks of netfilter: order, verdicts, and headers changed with their checksums."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pystack.core.drop import Drop
from pystack.core.engine import VirtualEngine
from pystack.core.headers import frame
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.net.hooks import Change, Hook, HookFn, Hooks, HookState, Sum, Verdict, read, rewrite

IP_SUM = Sum(10)
TCP_SUM = Sum(36)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(VirtualEngine(), "h")


def received(kernel: Kernel, packet: Any) -> SkBuff:
    """As Ethernet gives it to IP, on a page the NIC wrote."""
    data = memoryview(bytearray(bytes(Ether() / packet)))
    skb = SkBuff(kernel, data)
    skb.headers = frame.unpack(data, 0, len(data))
    skb.off = skb.network_header = 14
    return skb


def run(hooks: Hooks, skb: SkBuff, log: list[str]) -> None:
    def okfn(skb: SkBuff) -> int:
        log.append("ok")
        skb.free()
        return 0

    hooks.run(Hook.LOCAL_IN, skb, None, None, okfn)


def note(log: list[str], name: str) -> HookFn:
    def fn(skb: SkBuff, state: HookState) -> Verdict:
        log.append(name)
        return Verdict.ACCEPT

    return fn


def test_functions_run_by_priority_then_by_registration(kernel: Kernel) -> None:
    hooks, log = Hooks(), list[str]()
    for priority, name in ((0, "filter"), (-150, "mangle"), (0, "second"), (-300, "raw")):
        hooks.register(Hook.LOCAL_IN, priority, note(log, name))
    run(hooks, received(kernel, IP()), log)
    assert log == ["raw", "mangle", "filter", "second", "ok"]
    assert not hooks.active[Hook.FORWARD]


def test_drop_is_counted_and_ends_the_packet(kernel: Kernel) -> None:
    hooks, log = Hooks(), list[str]()
    hooks.register(Hook.LOCAL_IN, 0, lambda skb, state: Verdict.DROP)
    run(hooks, received(kernel, IP()), log)
    assert (log, kernel.drops, kernel.skbs_alive) == ([], {Drop.NETFILTER_DROP: 1}, 0)


def test_repeat_calls_the_function_again(kernel: Kernel) -> None:
    hooks, log = Hooks(), list[str]()
    answers = [Verdict.REPEAT, Verdict.REPEAT, Verdict.ACCEPT]
    hooks.register(Hook.LOCAL_IN, 0, lambda skb, state: answers.pop(0))
    run(hooks, received(kernel, IP()), log)
    assert (answers, log) == ([], ["ok"])


def test_stolen_packet_goes_on_behind_its_thief(kernel: Kernel) -> None:
    hooks, log = Hooks(), list[str]()
    kept: list[tuple[SkBuff, HookState]] = []

    def steal(skb: SkBuff, state: HookState) -> Verdict:
        kept.append((skb, state))
        return Verdict.STOLEN

    hooks.register(Hook.LOCAL_IN, -400, steal)
    hooks.register(Hook.LOCAL_IN, 0, note(log, "filter"))
    run(hooks, received(kernel, IP()), log)
    assert log == [] and len(kept) == 1
    hooks.resume(*kept[0], -400)
    assert log == ["filter", "ok"]


def test_address_and_port_change_keeps_both_checksums_right(kernel: Kernel) -> None:
    skb = received(kernel, IP(src="10.0.0.9", dst="10.96.0.1") / TCP(dport=80) / b"hello")
    page = skb.buf
    rewrite(
        skb,
        [
            Change(16, bytes([10, 244, 1, 7]), (IP_SUM, TCP_SUM)),
            Change(22, (8080).to_bytes(2, "big"), (TCP_SUM,)),
        ],
    )
    expected = IP(src="10.0.0.9", dst="10.244.1.7") / TCP(dport=8080) / b"hello"
    assert bytes(skb) == bytes(expected)
    assert skb.headers == frame.unpack(skb.buf, 0, len(skb.buf))
    assert skb.buf is page  # in place: it is nobody else's


def test_udp_without_checksum_stays_without(kernel: Kernel) -> None:
    skb = received(kernel, IP(dst="10.96.0.1") / UDP(chksum=0) / b"hello")
    rewrite(skb, [Change(16, bytes([10, 0, 0, 7]), (IP_SUM, Sum(26, optional=True)))])
    assert bytes(skb) == bytes(IP(dst="10.0.0.7") / UDP(chksum=0) / b"hello")


def test_udp_checksum_that_becomes_zero_is_written_as_ones(kernel: Kernel) -> None:
    packet = IP(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=0) / b""))
    port = packet[UDP].chksum  # added to the sum, it makes it all ones
    skb = received(kernel, packet)
    rewrite(skb, [Change(22, port.to_bytes(2, "big"), (Sum(26, optional=True),))])
    assert read(skb, 26, 2) == b"\xff\xff"


def test_every_packet_gro_has_merged_is_changed(kernel: Kernel) -> None:
    packets = [
        IP(dst="10.96.0.1", id=i) / TCP(dport=80, seq=1000 + 5 * i, flags="A") / b"hello"
        for i in range(3)
    ]
    head, *rest = (received(kernel, packet) for packet in packets)
    for part in rest:
        part.off += 40
    head.frags, head.data_len, head.gso_size = rest, 10, 5
    rewrite(
        head,
        [
            Change(16, bytes([10, 0, 0, 7]), (IP_SUM, TCP_SUM)),
            Change(22, b"\0\7", (TCP_SUM,)),
        ],
    )
    for part, packet in zip(head.parts(), packets, strict=True):
        packet[IP].dst, packet[TCP].dport = "10.0.0.7", 7
        assert bytes(part.buf[14:]) == bytes(packet)


def test_sent_payload_is_never_written(kernel: Kernel) -> None:
    payload = bytearray(b"\x45\0\0\1 quoted header")
    skb = SkBuff(kernel, memoryview(payload))
    skb.push(bytes(range(28)))
    rewrite(skb, [Change(2, b"\xff\xff"), Change(30, b"\xee\xee")])
    assert bytes(skb) == (
        bytes([0, 1, 255, 255, *range(4, 28), 0x45, 0, 0xEE, 0xEE]) + b" quoted header"
    )
    assert bytes(payload) == b"\x45\0\0\1 quoted header"


def test_received_frame_that_is_shared_is_copied_first(kernel: Kernel) -> None:
    wire = bytes(Ether() / IP(dst="10.0.0.1") / Raw(b"x"))
    skb = SkBuff(kernel, memoryview(wire))
    skb.off = 14
    rewrite(skb, [Change(16, bytes([10, 0, 0, 2]), (IP_SUM,))])
    assert bytes(skb) == bytes(IP(dst="10.0.0.2") / Raw(b"x"))


def test_read_spans_headers_and_payload_and_ends_with_the_packet(kernel: Kernel) -> None:
    skb = SkBuff(kernel, memoryview(b"payload"))
    skb.push(b"header")
    assert [read(skb, 0, 6), read(skb, 4, 4), read(skb, 8, 3), read(skb, 11, 9)] == [
        b"header",
        b"erpa",
        b"ylo",
        b"ad",
    ]
