"""Reassembly of IPv6 fragments (RFC 8200, 4.5; RFC 5722; RFC 6946; `net/ipv6/reassembly.c`).

Called by `ip6_input` with packets whose `transport_header` is at a fragment header, and through
`defragment` for connection tracking; gives back the whole packet once its last piece is there.
Overlapping fragments end the packet, pieces that come twice are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers import ipv6 as wire
from pystack.core.headers.ethernet import ETH_HLEN, pack_header
from pystack.core.headers.icmpv6 import (
    ICMPV6_EXC_FRAGTIME,
    ICMPV6_HDR_FIELD,
    ICMPV6_HDR_INCOMP,
    ICMPV6_PARAMPROB,
    ICMPV6_TIME_EXCEED,
)
from pystack.core.headers.ipv4 import ECN_MASK
from pystack.core.headers.ipv6 import FRAGMENT_HLEN, IPV6_HLEN, FragmentHeader, Ipv6Header
from pystack.core.skb import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff
from pystack.net import exthdrs
from pystack.net.inet_fragment import (
    ECN_INVALID,
    MAX_PACKET,
    DefragUser,
    FragQueue,
    FragQueues,
    Insert,
    combined_ecn,
    of_frame,
)

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

_TRANSPORT_BYTES = {wire.NEXTHDR_TCP: 20, wire.NEXTHDR_UDP: 8, wire.IPPROTO_ICMPV6: 8}


class Reassembly:
    def __init__(self, ip: Ipv6) -> None:
        self._ip = ip
        self._kernel = ip.kernel
        self.queues = FragQueues(ip.kernel, "net.ipv6.ip6frag_", self._expire)

    def receive(
        self, skb: SkBuff, nhoff: int, user: DefragUser = DefragUser.LOCAL_DELIVER
    ) -> SkBuff | None:
        """Owns the packet.  `nhoff` is where the fragment header's number stands.

        Of the whole packet `transport_header` and `protocol` are what followed the fragment header,
        and `cb` is where the number of that stands.
        """
        mib, at = self._kernel.mib, skb.transport_header
        mib["Ip6ReasmReqds"] += 1
        if skb.end - at < FRAGMENT_HLEN:
            self._refuse(skb, Drop.IP6_BAD_FRAGMENT)
            return None
        header = FragmentHeader.parse(skb.buf, at)
        if not header.offset and not header.more:
            return self._atomic(skb, header, nhoff)
        if not self._acceptable(skb, header, at):
            return None
        link = skb.dev.ifindex if wire.is_linklocal(skb.daddr) or skb.daddr[0] == 0xFF else 0
        key = skb.saddr, skb.daddr, header.identification, link, int(user)
        queue = self.queues.find(key)
        if queue is None:
            self._refuse(skb, Drop.IP6_FRAGMENT_MEMORY)
            return None
        reason = self._queue(queue, skb, header, nhoff)
        if reason is Drop.IP6_DUPLICATE_FRAGMENT:
            self._kernel.drop(skb, reason)
            return None
        if reason is not None:  # RFC 5722: all of it
            self.queues.give_up(queue, reason)
            self._refuse(skb, reason)
            return None
        whole = self._reassemble(queue, skb) if queue.complete else None
        skb.free()
        return whole

    def defragment(self, skb: SkBuff) -> SkBuff | None:
        """For connection tracking: `skb`, the packet it completes, or None (`nf_ct_frag6_gather`).

        What RFC 8200 has a problem with stays a fragment, and is the destination's to refuse.
        """
        found = exthdrs.fragment_header(skb)
        if found is None:
            return skb
        nhoff, at = found
        header = FragmentHeader.parse(skb.buf, at)
        length = skb.end - at - FRAGMENT_HLEN
        if (header.more and length % 8) or header.offset + length > MAX_PACKET:
            return skb
        skb.transport_header = at
        whole = self.receive(skb, nhoff, DefragUser.CONNTRACK_IN)
        if whole is not None:
            exthdrs.rewind(whole)
        return whole

    def _atomic(self, skb: SkBuff, header: FragmentHeader, nhoff: int) -> SkBuff:
        """A packet of its own, whatever else waits under its identification (RFC 6946)."""
        self._kernel.mib["Ip6ReasmOKs"] += 1
        at, base = skb.transport_header, skb.network_header
        headers, payload = _first(skb, at), bytes(skb.buf[at + FRAGMENT_HLEN : skb.end])
        whole = self._rebuilt(skb, headers, nhoff - base, header.next_header, payload, 0)
        skb.free()
        return whole

    # -- one fragment ----------------------------------------------------------------------

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
        self._kernel.mib["Ip6InHdrErrors"] += 1
        self._ip.icmp.send_error(skb, ICMPV6_PARAMPROB, code, pointer)
        self._refuse(skb, Drop.IP6_BAD_FRAGMENT)

    def _refuse(self, skb: SkBuff, reason: Drop) -> None:
        self._kernel.mib["Ip6ReasmFails"] += 1
        self._kernel.drop(skb, reason)

    def _queue(
        self, queue: FragQueue, skb: SkBuff, header: FragmentHeader, nhoff: int
    ) -> Drop | None:
        """`ip6_frag_queue`: a reason if the packet (or a duplicate alone) is to be dropped."""
        at = skb.transport_header
        piece = bytes(skb.buf[at + FRAGMENT_HLEN : skb.end])
        end = header.offset + len(piece)
        if not header.more:
            if end < queue.length or (queue.have_last and end != queue.length):
                return Drop.IP6_OVERLAPPING_FRAGMENT
            queue.have_last, queue.length = True, end
        elif end > queue.length:
            if queue.have_last:
                return Drop.IP6_OVERLAPPING_FRAGMENT
            queue.length = end
        self._kernel.cpu.charge_copy(len(piece))
        result = self.queues.insert(queue, header.offset, piece)
        if result is Insert.DUPLICATE:
            return Drop.IP6_DUPLICATE_FRAGMENT
        if result is Insert.OVERLAP:
            self._kernel.mib["Ip6ReasmOverlaps"] += 1
            return Drop.IP6_OVERLAPPING_FRAGMENT
        base = skb.network_header
        queue.ecn |= 1 << (skb.tos & ECN_MASK)
        queue.max_size = max(queue.max_size, skb.end - base)
        queue.dev = skb.dev
        if not header.offset:
            queue.have_first = True
            queue.first = _first(skb, skb.end)
            queue.hlen, queue.nhoffset = at - base, nhoff - base
        return None

    # -- all of them -----------------------------------------------------------------------

    def _reassemble(self, queue: FragQueue, last: SkBuff) -> SkBuff | None:
        """`ip6_frag_reasm`; None if the fragments contradict each other."""
        ecn = combined_ecn(queue.ecn)
        if ecn == ECN_INVALID or queue.hlen - IPV6_HLEN + queue.length > MAX_PACKET:
            self._kernel.mib["Ip6ReasmFails"] += 1
            self.queues.give_up(queue, Drop.IP6_BAD_FRAGMENT)
            return None
        self.queues.kill(queue)
        self._kernel.mib["Ip6ReasmOKs"] += 1
        at = ETH_HLEN + queue.hlen
        headers, next_header = queue.first[:at], queue.first[at]
        whole = self._rebuilt(last, headers, queue.nhoffset, next_header, queue.payload(), ecn)
        whole.frag_max_size = queue.max_size
        return whole

    def _rebuilt(
        self, last: SkBuff, headers: bytes, nhoff: int, next_header: int, payload: bytes, ecn: int
    ) -> SkBuff:
        """The packet of the first fragment's `headers`, Ethernet's and those in front of the
        fragment header, of which `nhoff` is where the next header's number stands."""
        new = bytearray(headers)
        new[ETH_HLEN + 1] |= ecn << 4
        new[ETH_HLEN + 4 : ETH_HLEN + 6] = (
            len(new) - ETH_HLEN - IPV6_HLEN + len(payload)
        ).to_bytes(2, "big")
        new[ETH_HLEN + nhoff] = next_header
        whole = of_frame(self._kernel, bytes(new) + payload)
        for name in ("packet_id", "dev", "saddr", "daddr", "tstamp", "queue", "mark", "nfct"):
            setattr(whole, name, getattr(last, name))
        whole.tos = whole.headers[frame.TOS]
        verified = last.dev.loopback  # else what the device has said is of the fragments
        whole.ip_summed = CHECKSUM_UNNECESSARY if verified else CHECKSUM_NONE
        whole.protocol, whole.cb = next_header, ETH_HLEN + nhoff
        whole.transport_header = len(new)
        return whole

    def _expire(self, queue: FragQueue) -> None:
        """Too late: say so if the first fragment is there (`ip6frag_expire_frag_queue`)."""
        self._kernel.mib["Ip6ReasmFails"] += 1
        self._kernel.mib["Ip6ReasmTimeout"] += 1
        first = queue.first
        self.queues.give_up(queue, Drop.IP6_FRAGMENT_TIMEOUT)
        if not first:
            return
        skb = of_frame(self._kernel, first)
        header = Ipv6Header.parse(skb.buf, skb.off)
        skb.saddr, skb.daddr, skb.dev = header.src, header.dst, queue.dev
        self._ip.icmp.send_error(skb, ICMPV6_TIME_EXCEED, ICMPV6_EXC_FRAGTIME, 0)
        skb.free()


def _first(skb: SkBuff, end: int) -> bytes:
    """A received packet's frame up to `end`."""
    return pack_header(*skb.headers[frame.ETHERNET]) + bytes(skb.buf[skb.network_header : end])


def _chain_complete(skb: SkBuff, protocol: int, at: int) -> bool:
    """Has the first fragment all headers, the transport's too? (RFC 8200, 4.5; RFC 7112)"""
    while protocol in (wire.NEXTHDR_HOP, wire.NEXTHDR_ROUTING, wire.NEXTHDR_DEST):
        if at + 8 > skb.end:
            return False
        protocol = skb.buf[at]
        at += (skb.buf[at + 1] + 1) << 3
    return at + _TRANSPORT_BYTES.get(protocol, 1) <= skb.end
