"""Reassembly of IPv6 fragments (RFC 8200, 4.5; RFC 5722; RFC 6946; `net/ipv6/reassembly.c`).

Called by `ip6_input` with packets whose `transport_header` is at a fragment header; gives back the
whole packet once its last piece is there.  Overlapping fragments end the packet, pieces that come
twice are ignored; memory and time are limited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pystack.core.drop import Drop
from pystack.core.headers import ipv6 as wire
from pystack.core.headers.icmpv6 import (
    ICMPV6_EXC_FRAGTIME,
    ICMPV6_HDR_FIELD,
    ICMPV6_HDR_INCOMP,
    ICMPV6_PARAMPROB,
    ICMPV6_TIME_EXCEED,
)
from pystack.core.headers.ipv4 import ECN_CE, ECN_MASK
from pystack.core.headers.ipv6 import FRAGMENT_HLEN, IPV6_HLEN, FragmentHeader
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

SECOND = 1_000_000_000
OVERHEAD = 256  # bytes charged for a fragment beside its buffer
MAX_PACKET = 65535
_TRANSPORT_BYTES = {wire.NEXTHDR_TCP: 20, wire.NEXTHDR_UDP: 8, wire.IPPROTO_ICMPV6: 8}

Key = tuple[bytes, bytes, int, int]
"""Source, destination, identification, and the link's ifindex for link-local and groups."""


class _Part(NamedTuple):
    """A fragment: its payload begins at `data_at`; `nhoff` is where its header's number stands."""

    skb: SkBuff
    header: FragmentHeader
    nhoff: int
    data_at: int

    @property
    def end(self) -> int:
        """In the packet's payload."""
        return self.header.offset + self.skb.end - self.data_at


class _Queue:
    """The fragments of one packet by offset.  `end`: of its last byte, once that is known."""

    def __init__(self, owner: Reassembly, key: Key) -> None:
        self.parts: dict[int, _Part] = {}
        self.end: int | None = None
        self.have = 0
        self.memory = 0
        self.timer = owner.ip.kernel.timer(lambda: owner.expire(key))


class Reassembly:
    """`memory` is what all fragments held take, in bytes."""

    def __init__(self, ip: Ipv6) -> None:
        self.ip = ip
        self.memory = 0
        self._queues: dict[Key, _Queue] = {}

    def receive(self, skb: SkBuff, nhoff: int) -> SkBuff | None:
        """Owns the packet.  `nhoff` is where the fragment header's number stands."""
        ip, mib = self.ip, self.ip.kernel.mib
        mib["Ip6ReasmReqds"] += 1
        at = skb.transport_header
        if skb.end - at < FRAGMENT_HLEN:
            self._refuse(skb, Drop.IP6_BAD_FRAGMENT)
            return None
        header = FragmentHeader.parse(skb.buf, at)
        if not header.offset and not header.more:  # atomic: a packet of its own (RFC 6946)
            mib["Ip6ReasmOKs"] += 1
            return _rebuilt(ip, [_Part(skb, header, nhoff, at + FRAGMENT_HLEN)])
        if not self._acceptable(skb, header, at):
            return None
        link = skb.dev.ifindex if wire.is_linklocal(skb.daddr) or skb.daddr[0] == 0xFF else 0
        key = skb.saddr, skb.daddr, header.identification, link
        queue = self._find(key, skb)
        if queue is None:
            self._refuse(skb, Drop.IP6_FRAGMENT_MEMORY)
            return None
        return self._add(key, queue, _Part(skb, header, nhoff, at + FRAGMENT_HLEN))

    def _acceptable(self, skb: SkBuff, header: FragmentHeader, at: int) -> bool:
        """RFC 8200, 4.5: what is refused with a parameter problem."""
        start = at + FRAGMENT_HLEN
        length = skb.end - start
        base = skb.network_header
        if header.more and length % 8:
            self._problem(skb, ICMPV6_HDR_FIELD, 4)
        elif header.offset + length + at - base - IPV6_HLEN > MAX_PACKET:
            self._problem(skb, ICMPV6_HDR_FIELD, at + 2 - base)
        elif not header.offset and not _chain_complete(skb, header.next_header, start):
            self._problem(skb, ICMPV6_HDR_INCOMP, 0)
        elif not length:
            self._refuse(skb, Drop.IP6_BAD_FRAGMENT)
        else:
            return True
        return False

    def _problem(self, skb: SkBuff, code: int, pointer: int) -> None:
        self.ip.kernel.mib["Ip6InHdrErrors"] += 1
        self.ip.icmp.send_error(skb, ICMPV6_PARAMPROB, code, pointer)
        self._refuse(skb, Drop.IP6_BAD_FRAGMENT)

    def _refuse(self, skb: SkBuff, reason: Drop) -> None:
        self.ip.kernel.mib["Ip6ReasmFails"] += 1
        self.ip.kernel.drop(skb, reason)

    def _find(self, key: Key, skb: SkBuff) -> _Queue | None:
        """The packet's queue, or a new one while memory lasts."""
        queue, sysctl = self._queues.get(key), self.ip.kernel.sysctl
        if self.memory + len(skb.buf) + OVERHEAD > sysctl["net.ipv6.ip6frag_high_thresh"]:
            return None
        if queue is None:
            queue = self._queues[key] = _Queue(self, key)
            queue.timer.mod(self.ip.kernel.now + sysctl["net.ipv6.ip6frag_time"] * SECOND)
        return queue

    def _add(self, key: Key, queue: _Queue, part: _Part) -> SkBuff | None:
        skb, header, end = part.skb, part.header, part.end
        known = queue.parts.get(header.offset)
        if known is not None and known.end == end:
            self.ip.kernel.drop(skb, Drop.IP6_DUPLICATE_FRAGMENT)
            return None
        last = queue.end if header.more else end
        others = queue.parts.values()
        overlaps = any(p.header.offset < end and header.offset < p.end for p in others)
        wrong_end = last is not None and (
            end > last or last != (queue.end or last) or any(p.end > last for p in others)
        )
        if overlaps or wrong_end:
            self._kill(key, Drop.IP6_OVERLAPPING_FRAGMENT)  # RFC 5722: all of it
            self._refuse(skb, Drop.IP6_OVERLAPPING_FRAGMENT)
            return None
        queue.parts[header.offset] = part
        size = len(skb.buf) + OVERHEAD
        queue.memory += size
        self.memory += size
        queue.end = last
        queue.have += end - header.offset
        if queue.have != last:
            return None
        self._forget(key)
        self.ip.kernel.mib["Ip6ReasmOKs"] += 1
        return _rebuilt(self.ip, [queue.parts[start] for start in sorted(queue.parts)])

    def expire(self, key: Key) -> None:
        """Too late: say so if the first fragment is there (`ip6frag_expire_frag_queue`)."""
        self.ip.kernel.mib["Ip6ReasmTimeout"] += 1
        first = self._queues[key].parts.get(0)
        if first is not None:
            self.ip.icmp.send_error(first.skb, ICMPV6_TIME_EXCEED, ICMPV6_EXC_FRAGTIME, 0)
        self._kill(key, Drop.IP6_FRAGMENT_TIMEOUT)

    def _kill(self, key: Key, reason: Drop) -> None:
        for part in self._forget(key).parts.values():
            self._refuse(part.skb, reason)

    def _forget(self, key: Key) -> _Queue:
        queue = self._queues.pop(key)
        queue.timer.delete()
        self.memory -= queue.memory
        return queue


def _chain_complete(skb: SkBuff, protocol: int, at: int) -> bool:
    """Has the first fragment all headers, the transport's too? (RFC 8200, 4.5; RFC 7112)"""
    while protocol in (wire.NEXTHDR_HOP, wire.NEXTHDR_ROUTING, wire.NEXTHDR_DEST):
        if at + 8 > skb.end:
            return False
        protocol = skb.buf[at]
        at += (skb.buf[at + 1] + 1) << 3
    return at + _TRANSPORT_BYTES.get(protocol, 1) <= skb.end


def _rebuilt(ip: Ipv6, parts: list[_Part]) -> SkBuff:
    """The packet without its fragment headers, `cb` where the next header's number stands.

    What was in front of the first fragment's header stays.  Frees the parts.
    """
    first, header, nhoff, data_at = parts[0]
    base = first.network_header
    front = bytearray(first.buf[base : data_at - FRAGMENT_HLEN])
    front[nhoff - base] = header.next_header
    payload = b"".join([part.skb.buf[part.data_at : part.skb.end] for part in parts])
    front[4:6] = (len(front) - IPV6_HLEN + len(payload)).to_bytes(2, "big")
    whole = SkBuff(ip.kernel, memoryview(bytes(front) + payload), packet_id=first.packet_id)
    ip.kernel.cpu.charge_copy(len(payload))
    for name in ("dev", "saddr", "daddr", "tstamp", "mark", "nfct"):
        setattr(whole, name, getattr(first, name))
    congested = any(part.skb.tos & ECN_MASK == ECN_CE for part in parts)
    whole.tos = first.tos | ECN_CE if congested else first.tos
    verified = first.dev.loopback  # else what the device has said is of the fragments
    whole.ip_summed = CHECKSUM_UNNECESSARY if verified else CHECKSUM_NONE
    whole.protocol, whole.cb = header.next_header, nhoff - base
    whole.transport_header = len(front)
    for part in parts:
        part.skb.free()
    return whole
