"""Ethernet, VLAN tags and ARP (`print-ether.c`, `print-arp.c`); the line of a frame."""

from __future__ import annotations

from pystack.core.headers.ethernet import ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6
from pystack.tools.tcpdump.dissect import Dissector, Truncated
from pystack.tools.tcpdump.ip4 import ip_print
from pystack.tools.tcpdump.ip6 import ip6_print

HEADER = 14
MAX_LENGTH = 1500  # a type field up to here is a length
_TYPES = {
    ETH_P_IP: "IPv4",
    ETH_P_ARP: "ARP",
    ETH_P_IPV6: "IPv6",
    ETH_P_8021Q: "802.1Q",
    0x88A8: "802.1Q-QinQ",
    0x8035: "Reverse ARP",
    0x8808: "MPCP",
    0x88CC: "LLDP",
    0x9000: "Loopback",
}
_TAGS = (ETH_P_8021Q, 0x9100, 0x9200, 0x88A8)
_PRIORITIES = 13


def frame_text(d: Dissector, frame: bytes) -> str:
    """The text of one frame, without the time."""
    d.out.clear()
    d.missing = 0
    try:
        _ether_print(d, frame)
    except Truncated as exc:
        d.print(f" [|{exc}]")
    return "".join(d.out)


def _ether_print(d: Dissector, frame: bytes) -> None:
    d.protocol = "ether"
    d.need(frame, HEADER)
    addresses = f"{d.mac(frame[6:12])} > {d.mac(frame[:6])}, "
    if d.options.link:
        d.print(addresses)
    at, kind, told = HEADER, d.u16(frame, 12), False
    while kind in _TAGS:
        d.protocol = "vlan"
        d.need(frame, at + 4)
        if d.options.link:
            d.print(_type(kind))
            d.print(", " if told else f", length {len(frame)}: ")
            told = True
            d.print(f"{_tci(d.u16(frame, at))}, ")
        kind, at = d.u16(frame, at + 2), at + 4
    payload = frame[at:]
    if kind <= MAX_LENGTH:
        _length_field(d, frame, payload, kind, told, addresses)
        return
    if d.options.link:
        d.print(_type(kind))
        d.print(", " if told else f", length {len(frame)}: ")
    if kind == ETH_P_IP:
        ip_print(d, payload)
    elif kind == ETH_P_IPV6:
        ip6_print(d, payload)
    elif kind == ETH_P_ARP:
        arp_print(d, payload)
    else:
        if not d.options.link:
            d.print(f"{addresses}{_type(kind)}, length {len(frame)}: ")
        _dump(d, payload)


def _type(kind: int) -> str:
    return f"ethertype {_TYPES.get(kind, 'Unknown')} (0x{kind:04x})"


def _tci(tci: int) -> str:
    drop = ", DEI" if tci >> 12 & 1 else ""
    return f"vlan {tci & 0xFFF}, p {tci >> _PRIORITIES}{drop}"


def _length_field(
    d: Dissector, frame: bytes, payload: bytes, length: int, told: bool, addresses: str
) -> None:
    """IEEE 802.3 with a length: what follows is LLC's."""
    payload = payload[:length]
    if d.options.link:
        d.print("802.3" + ("" if told else f", length {len(payload)}: "))
    d.protocol = "llc"
    d.need(payload, 3)
    d.print(f"LLC, dsap 0x{payload[0]:02x}, ssap 0x{payload[1]:02x}, ctrl 0x{payload[2]:02x}")
    d.print(f": length {len(payload)}")


def _dump(d: Dissector, data: bytes) -> None:
    """Bytes of what is not known (`hex_and_ascii_print`)."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        words = " ".join(row[i : i + 2].hex() for i in range(0, len(row), 2))
        text = "".join(chr(byte) if 0x21 <= byte < 0x7F else "." for byte in row)
        d.print(f"\n\t0x{at:04x}:  {words:<39}  {text}")


def arp_print(d: Dissector, data: bytes) -> None:
    d.protocol = "arp"
    d.need(data, 8)
    kind, proto, hlen, plen, op = (
        *(d.u16(data, 0), d.u16(data, 2), data[4], data[5], d.u16(data, 6)),
    )
    d.need(data, 8 + 2 * (hlen + plen))
    if not d.options.link:
        d.print("ARP, ")
    strange = proto != ETH_P_IP or plen != 4 or hlen == 0
    if strange or d.options.verbose:
        hardware = "Ethernet" if kind == 1 else f"Unknown Hardware ({kind})"
        network = _TYPES.get(proto, f"Unknown Protocol (0x{proto:04x})")
        d.print(f"{hardware} (len {hlen}), {network} (len {plen})")
        if not d.options.verbose:
            d.print(f", length {len(data)}")
            return
        d.print(", ")
    sender, target = data[8:], data[8 + hlen + plen :]
    if op == 1:
        d.print(f"Request who-has {d.ip4(target, hlen)}")
        if any(target[:hlen]):
            d.print(f" ({d.mac(target[:hlen])})")
        d.print(f" tell {d.ip4(sender, hlen)}")
    elif op == 2:
        d.print(f"Reply {d.ip4(sender, hlen)} is-at {d.mac(sender[:hlen])}")
    else:
        d.print(f"Unknown ({op}) ")
        _dump(d, data)
        return
    d.print(f", length {len(data)}")
