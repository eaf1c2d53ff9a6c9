"""Cutting an IPv4 packet into fragments, and the numbers that hold them together (RFC 791, 3.2).

Called by output (`ip_do_fragment` of `net/ipv4/ip_output.c`).
"""

from __future__ import annotations

import hashlib
import struct

from pystack.core.headers.ipv4 import IP_DF, IP_HLEN, IP_MF, IP_OFFSET_MASK, fill_checksum
from pystack.core.kernel import Kernel
from pystack.core.skb import CHECKSUM_PARTIAL, SkBuff
from pystack.dev.gso import checksum_help
from pystack.net.hooks import read

IPOPT_COPIED = 0x80
IPOPT_END, IPOPT_NOOP = 0, 1
_BUCKETS = 2048
_TICK = 1_000_000  # ns: a jiffy
_MIN_FRAGMENT = 8


def fragment(skb: SkBuff, mtu: int) -> list[SkBuff]:
    """Packets of at most `mtu` bytes with the data of `skb`, which is freed.

    It may be a fragment itself.  What is left of a packet put together keeps DF.
    """
    if skb.ip_summed == CHECKSUM_PARTIAL:
        checksum_help(skb)
    hlen = (read(skb, 0, 1)[0] & 15) << 2
    header = bytearray(read(skb, 0, hlen))
    flags = int.from_bytes(header[6:8], "big")
    body = skb.head[hlen:] + skb.buf[skb.off + max(hlen - len(skb.head), 0) : skb.end]
    room = max((mtu - hlen) & ~7, _MIN_FRAGMENT)
    base = flags & IP_OFFSET_MASK
    skb.kernel.cpu.charge_copy(len(body))
    fragments = []
    for at in range(0, len(body), room):
        piece = body[at : at + room]
        more = flags & IP_MF if at + room >= len(body) else IP_MF
        header[2:4] = (hlen + len(piece)).to_bytes(2, "big")
        header[6:8] = (flags & IP_DF | more | base + (at >> 3)).to_bytes(2, "big")
        fill_checksum(header)
        fragments.append(_fragment_of(skb, bytes(header), piece))
        if not at:
            _keep_copied_options(header)
    fragments[-1].xmit_done, skb.xmit_done = skb.xmit_done, None
    skb.free()
    return fragments


def _fragment_of(skb: SkBuff, header: bytes, piece: bytes) -> SkBuff:
    """`ip_copy_metadata`"""
    part = SkBuff(skb.kernel, memoryview(piece))
    part.head = header
    part.dev, part.dst, part.queue, part.sk = skb.dev, skb.dst, skb.queue, skb.sk
    part.protocol, part.mark, part.nfct = skb.protocol, skb.mark, skb.nfct
    part.saddr, part.daddr = skb.saddr, skb.daddr
    return part


def _keep_copied_options(header: bytearray) -> None:
    """Those that are not for every fragment give way to no-operations (`ip_options_fragment`)."""
    at = IP_HLEN
    while at < len(header) and header[at] != IPOPT_END:
        length = 1 if header[at] == IPOPT_NOOP else header[at + 1]
        if not header[at] & IPOPT_COPIED:
            header[at : at + length] = bytes([IPOPT_NOOP]) * length
        at += length


class Identifications:
    """A counter for each pair of hosts and protocol, or for those that share its bucket, that
    nobody can follow from elsewhere (`__ip_select_ident`; RFC 7739)."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._key = kernel.rng.randbytes(16)
        noise = kernel.rng.randbytes(2 * _BUCKETS)
        self._counters: list[int] = [*struct.unpack(f"{_BUCKETS}H", noise)]
        self._stamps = [0] * _BUCKETS
        self._start = kernel.rng.randrange(1 << 16)

    def first(self) -> int:
        """Where a socket that is connected now begins to count."""
        return (self._start + self._kernel.now // _TICK) & 0xFFFF

    def next(self, saddr: bytes, daddr: bytes, protocol: int, dont_fragment: bool) -> int:
        """Of a packet that is never cut it means nothing (RFC 6864, 4.1): it is 0."""
        if dont_fragment:
            return 0
        where = saddr + daddr + bytes([protocol])
        digest = hashlib.blake2s(where, key=self._key, digest_size=2).digest()
        bucket = int.from_bytes(digest, "big") % _BUCKETS
        now = self._kernel.now // _TICK
        idle = now - self._stamps[bucket]
        step = self._kernel.rng.randrange(idle) if idle else 0
        self._stamps[bucket] = now
        value = self._counters[bucket] = (self._counters[bucket] + step + 1) & 0xFFFF
        return value
