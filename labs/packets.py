"""Packets that no kernel of the bench has sent: frames for the server, made by hand."""

from __future__ import annotations

import socket

from labs.bench import CLIENT_MAC, SERVER, SERVER_MAC
from packetdrill.frames import Frame, IpFields, TcpFields, UdpFields, encode, flag_bits
from pystack.core.headers.ethernet import ETH_P_IP, EthernetHeader

SHORTEST = 60


def syn(source: str, sport: int, dport: int, seq: int) -> bytes:
    """A SYN without options."""
    return _frame(source, TcpFields(sport, dport, seq, 0, flag_bits("S"), 65535), b"")


def datagram(source: str, sport: int, dport: int) -> bytes:
    """The smallest UDP packet."""
    return _frame(source, UdpFields(sport, dport), b"x")


def _frame(source: str, transport: TcpFields | UdpFields, payload: bytes) -> bytes:
    ip = IpFields(4, socket.inet_aton(source), socket.inet_aton(SERVER))
    header = EthernetHeader(SERVER_MAC, CLIENT_MAC, ETH_P_IP).pack()
    return (header + encode(Frame(ip, transport, payload))).ljust(SHORTEST, b"\0")
