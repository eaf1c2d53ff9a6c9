"""AF_PACKET on `lo`: frames, filters, memberships, groups and rings, as this machine has them."""

from __future__ import annotations

import ctypes
import select as sel
import socket as so
import struct
from collections.abc import Callable
from typing import Any

import pytest
from both import Machine, both, left_over, machine_of

from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.host import Host
from pystack.transport.packet import constants as c
from pystack.transport.packet.options import PACKET_RX_PAGES
from pystack.uapi.process import Process

ETH_P_IP, ETH_P_TEST = 0x0800, 0x88B5
LO = bytes(6)
FRAME = LO + LO + struct.pack("!H", ETH_P_TEST)
MS = 1_000_000


def packet(m: Machine, protocol: int, type_: int = so.SOCK_RAW, bind: bool = True) -> Any:
    sock = m.socket.socket(so.AF_PACKET, type_, so.htons(protocol))
    if bind:
        sock.bind(("lo", protocol))
    sock.setblocking(False)
    return sock


def settle(m: Machine) -> None:
    """`lo` delivers in softirq, on the real machine as on ours; let it."""
    m.time.sleep(0.02)


def drain(m: Machine, sock: Any, *args: int) -> list[Any]:
    got = []
    while isinstance(one := m.outcome(sock.recvfrom, 2000, *args), tuple):
        got.append(one)
    return got


def frames(m: Machine) -> dict[str, object]:
    rx, tx = packet(m, ETH_P_TEST), packet(m, 0)
    everything, cooked = packet(m, c.ETH_P_ALL), packet(m, ETH_P_TEST, so.SOCK_DGRAM)
    other = packet(m, 0x88B6)
    result: dict[str, object] = {
        "name": rx.getsockname(),
        "unbound": packet(m, ETH_P_TEST, bind=False).getsockname(),
        "sent": tx.send(FRAME + b"payload"),
        "events": m.sys.poll([(tx.fileno(), sel.POLLOUT)], 0),
        "empty": m.outcome(other.recv, 1),
    }
    settle(m)
    result["own protocol"] = drain(m, rx)
    result["all, both ways"] = drain(m, everything)
    result["cooked"] = drain(m, cooked)
    result["not ours"] = drain(m, other)
    result["address"] = tx.sendto(FRAME + b"2", ("lo", ETH_P_TEST))
    settle(m)
    result["cut"] = rx.recvmsg(5)
    address = "lo", ETH_P_TEST, 0, 0, b"\x02\0\0\0\0\x01"
    result["cooked send"] = cooked.sendto(b"body", address)
    settle(m)
    result["otherhost"] = drain(m, rx), drain(m, cooked)
    result["real length"] = (
        tx.send(FRAME + bytes(50)),
        settle(m),
        rx.recv_into(bytearray(4), 4, so.MSG_TRUNC),
    )
    return result


def misuse(m: Machine) -> dict[str, object]:
    sock, cooked = packet(m, 0), packet(m, 0, so.SOCK_DGRAM)
    loose = packet(m, 0, bind=False)
    return {
        "stream": m.outcome(m.socket.socket, so.AF_PACKET, so.SOCK_STREAM, 0),
        "no device": m.outcome(loose.send, FRAME),
        "unknown device": m.outcome(loose.bind, ("nothere", 0)),
        "short": m.outcome(sock.send, b"short"),
        "long": m.outcome(sock.send, FRAME + bytes(65537)),
        "longest": m.outcome(sock.send, FRAME + bytes(65536)),
        "cooked without address": m.outcome(cooked.sendto, b"x", ("lo", 5)),
        "listen": m.outcome(sock.listen, 1),
        "accept": m.outcome(m.sys.accept4, sock.fileno()),
        "shutdown": m.outcome(sock.shutdown, 2),
        "peer": m.outcome(sock.getpeername),
        "option": m.outcome(sock.setsockopt, c.SOL_PACKET, 99, 1),
        "level": m.outcome(sock.setsockopt, so.IPPROTO_TCP, 1, 1),
        "no option": m.outcome(sock.getsockopt, c.SOL_PACKET, 99),
        "version": m.outcome(sock.setsockopt, c.SOL_PACKET, c.PACKET_VERSION, 3),
        "no ring": m.outcome(sock.setsockopt, c.SOL_PACKET, c.PACKET_RX_RING, b"short"),
        "map": m.outcome(m.sys.mmap, sock.fileno(), 4096) in ("EINVAL", "ENODEV"),
        "leave": m.outcome(leave, sock, 1),
    }


def leave(sock: Any, ifindex: int) -> None:
    mreq = struct.pack("=iHH8s", ifindex, c.PACKET_MR_PROMISC, 0, b"")
    sock.setsockopt(c.SOL_PACKET, c.PACKET_DROP_MEMBERSHIP, mreq)


def membership(m: Machine) -> dict[str, object]:
    sock = packet(m, ETH_P_TEST)
    add, drop = c.PACKET_ADD_MEMBERSHIP, c.PACKET_DROP_MEMBERSHIP

    def change(option: int, ifindex: int, kind: int, address: bytes = b"") -> Any:
        mreq = struct.pack("=iHH8s", ifindex, kind, len(address), address)
        return m.outcome(sock.setsockopt, c.SOL_PACKET, option, mreq)

    return {
        "promiscuous": change(add, 1, c.PACKET_MR_PROMISC),
        "twice": change(add, 1, c.PACKET_MR_PROMISC),
        "once less": change(drop, 1, c.PACKET_MR_PROMISC),
        "none": change(drop, 1, c.PACKET_MR_PROMISC),
        "one too many": change(drop, 1, c.PACKET_MR_PROMISC),
        "all multicast": change(add, 1, c.PACKET_MR_ALLMULTI),
        "multicast": change(add, 1, c.PACKET_MR_MULTICAST, b"\1\0\x5e\0\0\1"),
        "no device": change(add, 99, c.PACKET_MR_PROMISC),
        "short": m.outcome(sock.setsockopt, c.SOL_PACKET, add, b"1234"),
    }


def statistics(m: Machine) -> dict[str, object]:
    rx, tx = packet(m, ETH_P_TEST), packet(m, 0)
    rx.setsockopt(so.SOL_SOCKET, so.SO_RCVBUF, 5000)
    rx.setsockopt(c.SOL_PACKET, c.PACKET_AUXDATA, 1)
    for _ in range(100):
        tx.send(FRAME + bytes(1000))
    settle(m)
    packets, drops = struct.unpack("II", rx.getsockopt(c.SOL_PACKET, c.PACKET_STATISTICS, 8))
    again = rx.getsockopt(c.SOL_PACKET, c.PACKET_STATISTICS, 8)
    _, control, _, _ = rx.recvmsg(2000, 100)
    _, length, snaplen, mac, net, *vlan = struct.unpack("=IIIHHHH", control[0][2])
    aux = control[0][:2], length, snaplen, mac, net, vlan
    got = 1 + len(drain(m, rx))
    return {"all": packets, "sum": got + drops, "some": drops > 0, "reset": again, "aux": aux}


def program(*insns: tuple[int, int, int, int]) -> tuple[bytes, Any]:
    """`struct sock_fprog`, and what it points to."""
    code = b"".join(struct.pack("=HBBI", *insn) for insn in insns)
    buffer = ctypes.create_string_buffer(code)
    return struct.pack("@HP", len(insns), ctypes.addressof(buffer)), buffer


ATTACH, DETACH = 26, 27
LDH_ABS, LDB_ABS, JEQ, RET_K, RET_A, LD_LEN, ST, LD_MEM = 0x28, 0x30, 0x15, 6, 0x16, 0x80, 2, 0x60
LDX_IMM, DIV_X, DIV_K, LDH_IND, JA, TAX, LDX_MSH = 1, 0x3C, 0x34, 0x48, 5, 7, 0xB1
BAD = {
    "empty": (),
    "no return": ((LD_LEN, 0, 0, 0),),
    "unknown": ((0xFF, 0, 0, 0), (RET_K, 0, 0, 1)),
    "jump out": ((JEQ, 5, 0, 0), (RET_K, 0, 0, 1)),
    "jump back": ((JA, 0, 0, 0xFFFFFFFF), (RET_K, 0, 0, 1)),
    "division by zero": ((DIV_K, 0, 0, 0), (RET_K, 0, 0, 1)),
    "memory unset": ((LD_MEM, 0, 0, 3), (RET_A, 0, 0, 0)),
    "memory out of range": ((ST, 0, 0, 16), (RET_K, 0, 0, 1)),
    "memory set on one way": (
        *((LD_LEN, 0, 0, 0), (JEQ, 1, 0, 5), (ST, 0, 0, 1)),
        *((LD_MEM, 0, 0, 1), (RET_A, 0, 0, 0)),
    ),
}
GOOD = {
    "all": ((RET_K, 0, 0, 0xFFFFFFFF),),
    "none": ((RET_K, 0, 0, 0),),
    "first 20": ((RET_K, 0, 0, 20),),
    "by type": ((LDH_ABS, 0, 0, 12), (JEQ, 0, 1, ETH_P_TEST), (RET_K, 0, 0, 99), (RET_K, 0, 0, 0)),
    "beyond the end": ((LDH_ABS, 0, 0, 5000), (RET_K, 0, 0, 99)),
    "division by x": ((LDX_IMM, 0, 0, 0), (LD_LEN, 0, 0, 0), (DIV_X, 0, 0, 0), (RET_K, 0, 0, 9)),
    "indexed": ((LDX_IMM, 0, 0, 10), (LDH_IND, 0, 0, 2), (RET_A, 0, 0, 0)),
    "protocol": ((LDH_ABS, 0, 0, 0xFFFFF000), (RET_A, 0, 0, 0)),
    "packet type": (
        (LDB_ABS, 0, 0, 0xFFFFF004),
        (JEQ, 0, 1, 0),
        (RET_K, 0, 0, 9),
        (RET_K, 0, 0, 0),
    ),
    "network header": ((LDB_ABS, 0, 0, 0xFFF00000), (RET_A, 0, 0, 0)),
    "link header": ((LDH_ABS, 0, 0, 0xFFE0000C), (RET_A, 0, 0, 0)),
    "nibble": ((LDX_MSH, 0, 0, 14), (0x87, 0, 0, 0), (RET_A, 0, 0, 0)),
    "memory": ((LD_LEN, 0, 0, 0), (ST, 0, 0, 0), (LD_MEM, 0, 0, 0), (RET_A, 0, 0, 0)),
}


def filters(m: Machine) -> dict[str, object]:
    result: dict[str, object] = {}
    tx = packet(m, 0)
    for name, insns in (BAD | GOOD).items():
        for kind in (so.SOCK_RAW, so.SOCK_DGRAM):
            rx = packet(m, ETH_P_TEST, kind)
            fprog, _memory = program(*insns)
            result[f"{name} {kind}"] = attached = m.outcome(
                rx.setsockopt, so.SOL_SOCKET, ATTACH, fprog
            )
            if attached is None:
                tx.send(FRAME + b"E234567890" * 10)
                settle(m)
                result[f"{name} {kind} lengths"] = [len(data) for data, _ in drain(m, rx)]
            rx.close()
    rx = packet(m, ETH_P_TEST)
    result["detach"] = m.outcome(rx.setsockopt, so.SOL_SOCKET, DETACH, 0)
    result["size"] = m.outcome(rx.setsockopt, so.SOL_SOCKET, ATTACH, b"x")
    return result


def groups(m: Machine) -> dict[str, object]:
    tx = packet(m, 0)
    result: dict[str, object] = {}

    def join(sock: Any, number: int, kind: int) -> Any:
        return m.outcome(sock.setsockopt, c.SOL_PACKET, c.PACKET_FANOUT, kind << 16 | number)

    for number, kind in enumerate((c.FANOUT_LB, c.FANOUT_HASH, c.FANOUT_RND), 5):
        socks = [packet(m, ETH_P_TEST) for _ in range(3)]
        result[f"join {kind}"] = [join(sock, number, kind) for sock in socks]
        for _ in range(30):
            tx.send(FRAME + b"same flow")
        settle(m)
        counts = [len(drain(m, sock)) for sock in socks]
        result[f"counts {kind}"] = (
            counts if kind == c.FANOUT_LB else sorted(map(bool, counts)),
            sum(counts),
        )
        if kind == c.FANOUT_LB:
            result["again"] = join(socks[0], number, kind)
            result["asked"] = socks[0].getsockopt(c.SOL_PACKET, c.PACKET_FANOUT)
            result["other kind"] = join(packet(m, ETH_P_TEST), number, c.FANOUT_CPU)
            result["other protocol"] = join(packet(m, 0x88B6), number, kind)
            result["bind"] = m.outcome(socks[0].bind, ("lo", ETH_P_TEST))
        for sock in socks:
            sock.close()
    result["unknown"] = join(packet(m, ETH_P_TEST), 99, 99)
    result["not running"] = join(packet(m, 0), 98, c.FANOUT_LB)
    rollover = [packet(m, ETH_P_TEST) for _ in range(2)]
    for sock in rollover:
        sock.setsockopt(so.SOL_SOCKET, so.SO_RCVBUF, 5000)
        join(sock, 50, c.FANOUT_ROLLOVER)
    for _ in range(10):
        tx.send(FRAME + bytes(500))
    settle(m)
    counts = [len(drain(m, sock)) for sock in rollover]
    result["rollover"] = counts[0] > 0, counts[1] > 0
    return result


def ring(m: Machine, version: int, option: int, request: bytes) -> tuple[Any, memoryview]:
    sock = packet(m, ETH_P_TEST)
    sock.setsockopt(c.SOL_PACKET, c.PACKET_VERSION, version)
    sock.setsockopt(c.SOL_PACKET, option, request)
    size, count = struct.unpack_from("=II", request)
    return sock, m.sys.mmap(sock.fileno(), size * count)


def ring_of_frames(m: Machine) -> dict[str, object]:
    tx = packet(m, 0)
    request = struct.pack("=4I", 4096, 2, 2048, 4)
    sock, memory = ring(m, c.TPACKET_V2, c.PACKET_RX_RING, request)
    result: dict[str, object] = {
        "nothing yet": m.sys.poll([(sock.fileno(), sel.POLLIN)], 0),
        "second": m.outcome(sock.setsockopt, c.SOL_PACKET, c.PACKET_RX_RING, request),
        "version": m.outcome(sock.setsockopt, c.SOL_PACKET, c.PACKET_VERSION, 2),
        "header": sock.getsockopt(c.SOL_PACKET, c.PACKET_HDRLEN),
    }
    for n in range(6):
        tx.send(FRAME + b"%d" % n * (10 if n != 3 else 3000))
    settle(m)
    result["ready"] = m.sys.poll([(sock.fileno(), sel.POLLIN)], 0)
    seen = []
    for index in range(4):
        at = index * 2048
        status, length, snaplen, mac, net = struct.unpack_from("=IIIHH", memory, at)
        data = bytes(memory[at + mac : at + mac + snaplen])
        address = bytes(memory[at + 32 : at + 52])
        seen.append((status & 7, length, snaplen, mac, net, data, address))
        struct.pack_into("=I", memory, at, 0)
    result["frames"] = seen
    result["counts"] = struct.unpack("II", sock.getsockopt(c.SOL_PACKET, c.PACKET_STATISTICS, 8))
    tx.send(FRAME + b"after")
    settle(m)
    result["losing"] = struct.unpack_from("=I", memory, 0)[0] & 7
    bad = (
        *((4096, 1, 100, 40), (4096, 1, 48, 85), (100, 1, 100, 1)),
        *((4096, 1, 2048, 3), (0, 1, 2048, 2)),
    )
    result["refused"] = [m.outcome(set_ring, packet2(m), fields) for fields in bad]
    return result


def set_ring(sock: Any, fields: tuple[int, ...]) -> None:
    sock.setsockopt(c.SOL_PACKET, c.PACKET_RX_RING, struct.pack("=4I", *fields))


def packet2(m: Machine) -> Any:
    sock = packet(m, ETH_P_TEST)
    sock.setsockopt(c.SOL_PACKET, c.PACKET_VERSION, c.TPACKET_V2)
    return sock


def ring_of_blocks(m: Machine) -> dict[str, object]:
    tx = packet(m, 0)
    request = struct.pack("=7I", 4096, 3, 2048, 6, 250, 0, 0)
    sock, memory = ring(m, c.TPACKET_V3, c.PACKET_RX_RING, request)
    for n in range(5):
        tx.send(FRAME + b"%d" % n * 1000)
    settle(m)
    result: dict[str, object] = {"first": block(memory, 0), "second": block(memory, 4096)[:1]}
    result["ready"] = m.sys.poll([(sock.fileno(), sel.POLLIN)], 1000)
    m.time.sleep(0.5)
    result["by time"] = block(memory, 4096)
    for n in range(6):
        tx.send(FRAME + b"%d" % n * 1000)
    m.time.sleep(0.5)
    stats = struct.unpack("III", sock.getsockopt(c.SOL_PACKET, c.PACKET_STATISTICS, 12))
    result["third"] = block(memory, 8192)[:2]
    result["counts"] = stats
    return result


def block(memory: memoryview, at: int) -> tuple[object, ...]:
    """(status, packets, first offset, length, sequence, [(snaplen, mac, net, last byte)])."""
    status, count, first, length, sequence = struct.unpack_from("=IIIIQ", memory, at + 8)
    seen, begin = [], at + first
    for _ in range(count):
        following, _, _, snaplen, real, state, mac, net = struct.unpack_from("=6IHH", memory, begin)
        seen.append(
            (following, snaplen, real, state & 7, mac, net, memory[begin + mac + snaplen - 1])
        )
        begin += following
    return status, count, first, length, sequence, seen


def sending_ring(m: Machine) -> dict[str, object]:
    rx = packet(m, ETH_P_TEST)
    request = struct.pack("=4I", 4096, 1, 2048, 2)
    sock, memory = ring(m, c.TPACKET_V2, c.PACKET_TX_RING, request)

    def put(index: int, frame: bytes) -> None:
        memory[index * 2048 + 32 : index * 2048 + 32 + len(frame)] = frame
        struct.pack_into("=II", memory, index * 2048, c.TP_STATUS_SEND_REQUEST, len(frame))

    put(0, FRAME + b"first")
    put(1, FRAME + b"second")
    result: dict[str, object] = {"sent": sock.send(b"")}
    settle(m)
    result["received"] = [data for data, _ in drain(m, rx)]
    result["given back"] = [struct.unpack_from("=I", memory, at)[0] for at in (0, 2048)]
    result["nothing"] = m.outcome(sock.send, b"")
    return result


PROGRAMS: list[Callable[[Machine], Any]] = [
    *(frames, misuse, membership, statistics, filters, groups),
    *(ring_of_frames, ring_of_blocks, sending_ring),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_packet_sockets_behave_as_on_this_machine(program: Callable[[Machine], Any]) -> None:
    both(program)


def test_a_ring_of_pages_hands_out_the_very_page_the_nic_wrote() -> None:
    """Until the slot is given back the driver does not get it, though the stack is done."""
    engine = VirtualEngine()
    host = Host(engine, "h")
    page = bytearray(2048)
    frame = FRAME + b"in the page"
    page[: len(frame)] = frame
    given_back: list[int] = []

    def receive() -> None:
        skb = SkBuff(host.kernel, memoryview(page)[: len(frame)], lambda: given_back.append(1))
        skb.dev = host.lo.dev
        host.core.receive_skb(skb)

    def app(m: Machine) -> list[object]:
        sock = packet2(m)
        sock.setsockopt(c.SOL_PACKET, PACKET_RX_PAGES, 1)
        set_ring(sock, (4096, 1, 2048, 2))
        receive()
        view = m.sys.packet_page(sock.fileno(), 0)
        seen: list[object] = [bytes(view), list(given_back)]
        page[14:16] = b"IN"  # no copy: what happens to the page is seen
        seen.append(bytes(view[14:]))
        m.sys.packet_release(sock.fileno(), 0)
        seen.append(list(given_back))
        receive()
        sock.close()
        return [*seen, len(given_back)]

    process = Process(host.kernel, host.system, "app")
    process.start(lambda: app(machine_of(process, host)))
    engine.run(until=10**9)
    assert process.tracebacks == []
    assert process.result == [frame, [], b"IN the page", [1], 2]
    assert left_over(host) == {}


def test_no_packet_socket_means_no_tap() -> None:
    engine = VirtualEngine()
    host = Host(engine, "h")

    def app(m: Machine) -> list[int]:
        before = len(host.core.taps)
        with packet(m, c.ETH_P_ALL), packet(m, c.ETH_P_ALL):
            during = len(host.core.taps)
        return [before, during, len(host.core.taps)]

    process = Process(host.kernel, host.system, "app")
    process.start(lambda: app(machine_of(process, host)))
    engine.run(until=10**9)
    assert process.result == [0, 1, 0]
