"""Sockets of AF_UNIX and AF_PACKET for `ss` (`net/unix/diag.c`, `net/packet/diag.c`)."""

from __future__ import annotations

import socket as so
from collections.abc import Iterator

from pystack.tools.diag import Entry, Files
from pystack.tools.ss_info import shutdown
from pystack.tools.tool import Net
from pystack.transport.packet.sock import PacketSock
from pystack.transport.sock import Sock
from pystack.transport.tcp.state import TcpState
from pystack.transport.unix.base import State, UnixSock

_NETIDS: dict[int, str] = {so.SOCK_STREAM: "u_str", so.SOCK_DGRAM: "u_dgr"}
_STATES = {
    State.CLOSE: TcpState.CLOSE,
    State.LISTEN: TcpState.LISTEN,
    State.ESTABLISHED: TcpState.ESTABLISHED,
}
_PROTOCOLS = {0x0003: "*", 0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6", 0x8100: "802.1Q"}


def unix(net: Net, files: Files) -> Iterator[Entry]:
    """Those of this namespace, oldest first; the ports are inodes."""
    socks = [sk for sk in net.unix.inflight.socks if sk.unix is net.unix]
    for sk in sorted(socks, key=lambda sk: (files.ino(sk), sk.name)):
        peer = 0 if sk.peer is None else files.ino(sk.peer)
        listening = sk.state is State.LISTEN
        recvq = len(sk.queue) if listening else sum(map(len, sk.messages()))
        sendq = sk.max_ack_backlog if listening else sk.outq()
        ino = files.ino(sk)
        yield Entry(
            *(_NETIDS.get(sk.type, "u_seq"), sk, _STATES[sk.state], so.AF_UNIX, sk.name, ino),
            *(b"" if sk.peer is None else sk.peer.name, peer, recvq, sendq, ino),
            uid=sk.sk_uid,
        )


def packet(net: Net, files: Files) -> Iterator[Entry]:
    """Those that get frames; the address is the protocol, the port the device."""
    for sk in net.packet.hooked:
        netid = "p_raw" if sk.type == so.SOCK_RAW else "p_dgr"
        yield Entry(
            *(netid, sk, TcpState.CLOSE, so.AF_PACKET, b"", sk.ifindex, b"", 0),
            *(sk.rmem_alloc, 0, files.ino(sk)),
            uid=sk.sk_uid,
            ifindex=sk.ifindex,
        )


def addresses(net: Net, entry: Entry, files: Files) -> tuple[tuple[str, str], tuple[str, str]]:
    """Of a row that is not IP's: local and peer, each as address and port."""
    sk = entry.sk
    if isinstance(sk, UnixSock):
        name = "*" if not sk.name else name_text(sk.name)
        return (f"{name} ", str(entry.lport)), ("* ", str(entry.rport))
    assert isinstance(sk, PacketSock)
    device = net.packet.device(sk.ifindex)
    protocol = _PROTOCOLS.get(sk.num, f"[{sk.num}]")
    return (f"{protocol}:", "*" if device is None else device.name), ("*", "")


def name_text(name: bytes) -> str:
    """An abstract name shows its zero bytes as @; a path keeps none."""
    if name[0] == 0:
        name = name.replace(b"\0", b"@")
    return name.rstrip(b"\0").decode(errors="backslashreplace")


def extra(entry: Entry, wanted: bool) -> str:
    return shutdown(entry.sk) if wanted and isinstance(entry.sk, Sock) else ""
