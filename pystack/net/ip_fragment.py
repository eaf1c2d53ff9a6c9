"""Putting IPv4 packets together again (RFC 791, 3.2; RFC 815; `net/ipv4/ip_fragment.c`).

Called by local delivery, and by connection tracking before PRE_ROUTING (`ip_defrag`).  An overlap
gives the whole packet up, a duplicate is ignored, memory and time are limited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers import frame
from pystack.core.headers.ethernet import ETH_HLEN, pack_header
from pystack.core.headers.icmp import ICMP_EXC_FRAGTIME, ICMP_TIME_EXCEEDED
from pystack.core.headers.ipv4 import (
    ECN_MASK,
    IP_DF,
    IP_MF,
    IP_OFFSET_MASK,
    Ipv4Header,
    fill_checksum,
)
from pystack.core.skb import SkBuff
from pystack.net.fib import RouteType
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
from pystack.net.route import Route

if TYPE_CHECKING:
    from pystack.net.ipv4 import Ipv4

_PEERS = 4096  # sources whose fragments are counted (ipfrag_max_dist)


class Reassembly:
    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4 = ipv4
        self._kernel = ipv4.kernel
        self.queues = FragQueues(self._kernel, "net.ipv4.ipfrag_", self._expire)
        self._from: dict[bytes, int] = {}  # fragments received, by source

    def ip_defrag(self, skb: SkBuff, user: DefragUser) -> SkBuff | None:
        """Take a fragment, `skb.off` at its header; the packet once it is complete."""
        kernel, mib = self._kernel, self._kernel.mib
        mib["IpReasmReqds"] += 1
        key = skb.saddr, skb.daddr, skb.headers[frame.IDENTIFICATION], skb.protocol, int(user)
        queue = self.queues.find(key)
        if queue is None:
            mib["IpReasmFails"] += 1
            kernel.drop(skb, Drop.FRAG_MEMORY)
            return None
        reason = self._queue(queue, skb)
        if reason is not None:
            if reason is not Drop.FRAG_DUPLICATE:
                mib["IpReasmFails"] += 1
                self.queues.give_up(queue, reason)
            kernel.drop(skb, reason)
            return None
        whole = self._reassemble(queue, skb) if queue.complete else None
        skb.free()
        return whole

    # -- one fragment ----------------------------------------------------------------------

    def _queue(self, queue: FragQueue, skb: SkBuff) -> Drop | None:
        """`ip_frag_queue`: a reason if the packet (or a duplicate alone) is to be dropped."""
        self._check_distance(queue, skb.saddr)
        flags = skb.headers[frame.FRAGMENT]
        offset = (flags & IP_OFFSET_MASK) << 3
        hlen = skb.transport_header - skb.off
        end = offset + skb.end - skb.transport_header
        if not flags & IP_MF:
            if end < queue.length or (queue.have_last and end != queue.length):
                return Drop.FRAG_MALFORMED
            queue.have_last, queue.length = True, end
        else:
            end &= ~7
            if end > queue.length:
                if queue.have_last:
                    return Drop.FRAG_MALFORMED
                queue.length = end
        if end == offset or end > MAX_PACKET - hlen:  # empty, or the ping of death
            return Drop.FRAG_MALFORMED
        start = skb.transport_header
        self._kernel.cpu.charge_copy(end - offset)
        result = self.queues.insert(queue, offset, bytes(skb.buf[start : start + end - offset]))
        if result is Insert.DUPLICATE:
            return Drop.FRAG_DUPLICATE
        if result is Insert.OVERLAP:
            self._kernel.mib["IpExtReasmOverlaps"] += 1
            return Drop.FRAG_OVERLAP
        self._note(queue, skb, flags, hlen + end - offset)
        if not offset:
            queue.have_first = True
            queue.dev = skb.dev
            queue.first = pack_header(*skb.headers[frame.ETHERNET]) + skb.data
        return None

    def _note(self, queue: FragQueue, skb: SkBuff, flags: int, size: int) -> None:
        """What the whole packet inherits from its fragments."""
        queue.ecn |= 1 << (skb.tos & ECN_MASK)
        queue.max_size = max(queue.max_size, size)
        if flags & IP_DF:
            queue.max_df_size = max(queue.max_df_size, size)

    def _check_distance(self, queue: FragQueue, source: bytes) -> None:
        """So many others came from there since the last one that the identification may have
        come round: begin anew (`ip_frag_too_far`)."""
        limit = self._kernel.sysctl["net.ipv4.ipfrag_max_dist"]
        if not limit:
            return
        if source not in self._from and len(self._from) >= _PEERS:
            self._from.clear()
        count = self._from[source] = self._from.get(source, 0) + 1
        if queue.fragments and count - queue.rid > limit:
            self._kernel.mib["IpReasmFails"] += 1
            self._kernel.drops[Drop.FRAG_TOO_FAR] += queue.fragments
            self.queues.clear(queue)
        queue.rid = count

    # -- all of them -----------------------------------------------------------------------

    def _reassemble(self, queue: FragQueue, last: SkBuff) -> SkBuff | None:
        """`ip_frag_reasm`; None if the fragments contradict each other."""
        kernel, mib = self._kernel, self._kernel.mib
        ecn = combined_ecn(queue.ecn)
        hlen = (queue.first[ETH_HLEN] & 15) << 2
        if ecn == ECN_INVALID or hlen + queue.length > MAX_PACKET:
            mib["IpReasmFails"] += 1
            self.queues.give_up(queue, Drop.FRAG_MALFORMED)
            return None
        all_df = queue.max_df_size == queue.max_size
        link, old = queue.first[:ETH_HLEN], queue.first[ETH_HLEN : ETH_HLEN + hlen]
        header = reassembled(old, hlen + queue.length, IP_DF if all_df else 0, ecn)
        self.queues.kill(queue)
        mib["IpReasmOKs"] += 1
        skb = of_frame(kernel, b"".join((link, header, queue.payload())))
        skb.transport_header = ETH_HLEN + hlen
        skb.frag_max_size = queue.max_size
        skb.packet_id, skb.tstamp, skb.queue = last.packet_id, last.tstamp, last.queue
        skb.dev, skb.dst, skb.mark = last.dev, last.dst, last.mark
        skb.saddr, skb.daddr, skb.protocol = last.saddr, last.daddr, last.protocol
        skb.tos = header[1]
        return skb

    def _expire(self, queue: FragQueue) -> None:
        """Time is up (`ip_expire`; RFC 792): the sender hears of it if the beginning is here, and
        if the packet was for us."""
        mib = self._kernel.mib
        mib["IpReasmFails"] += 1
        mib["IpReasmTimeout"] += 1
        first = queue.first
        self.queues.give_up(queue, Drop.FRAG_TIMEOUT)
        if not first:
            return
        skb = of_frame(self._kernel, first)
        header = Ipv4Header.parse(skb.buf, skb.off)
        skb.saddr, skb.daddr, skb.protocol = header.src, header.dst, header.protocol
        skb.transport_header = skb.off + header.header_length
        skb.dev = queue.dev
        route = self._ipv4.route_input.resolve(skb)
        if isinstance(route, Route) and route.kind is RouteType.LOCAL:
            skb.dst = route
            self._ipv4.icmp_send(skb, ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME, 0)
        skb.free()


def reassembled(header: bytes, total: int, flags: int, ecn: int) -> bytes:
    """The first fragment's header, options and all, as that of the whole packet."""
    new = bytearray(header)
    new[1] |= ecn
    new[2:4] = total.to_bytes(2, "big")
    new[6:8] = flags.to_bytes(2, "big")
    fill_checksum(new)
    return bytes(new)
