"""ICMPv6 (RFC 4443): echo, and errors both ways (`net/ipv6/icmp.c`).

Called by IPv6 as the handler of its protocol and for errors; neighbour discovery and multicast
listener discovery register their types here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.checksum import ones_sum
from pystack.core.drop import Drop
from pystack.core.headers.icmpv6 import (
    ICMPV6_ADDR_UNREACH,
    ICMPV6_DEST_UNREACH,
    ICMPV6_ECHO_REPLY,
    ICMPV6_ECHO_REQUEST,
    ICMPV6_HLEN,
    ICMPV6_INFOMSG_MASK,
    ICMPV6_PARAMPROB,
    ICMPV6_PKT_TOOBIG,
    ICMPV6_UNK_OPTION,
    NDISC_REDIRECT,
    Icmpv6Header,
    pack_message,
)
from pystack.core.headers.ipv4 import pseudo_header_sum
from pystack.core.headers.ipv6 import (
    IPPROTO_ICMPV6,
    IPV6_HLEN,
    IPV6_MIN_MTU,
    is_linklocal,
    is_multicast,
)
from pystack.core.skb import CHECKSUM_NONE, SkBuff
from pystack.net import exthdrs
from pystack.net.icmp_limits import IcmpLimits

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

Handler = Callable[[SkBuff, Icmpv6Header], None]
QUOTE = IPV6_MIN_MTU - IPV6_HLEN - ICMPV6_HLEN  # RFC 4443, 2.4 (c)


class Icmpv6:
    def __init__(self, ip: Ipv6) -> None:
        self.ip = ip
        self.kernel = ip.kernel
        self._handlers: dict[int, Handler] = {ICMPV6_ECHO_REQUEST: self._echo}
        self.limits = IcmpLimits(self.kernel, "net.ipv6.icmp.ratelimit", "Icmp6")
        ip.register(IPPROTO_ICMPV6, self.receive)

    def register(self, icmp_type: int, handler: Handler) -> None:
        """`handler(skb, header)` owns the packet; `skb.off` is at the ICMPv6 header."""
        self._handlers[icmp_type] = handler

    # -- receive ---------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> None:
        mib, length = self.kernel.mib, len(skb)
        mib["Icmp6InMsgs"] += 1
        if length < ICMPV6_HLEN:
            mib["Icmp6InErrors"] += 1
            self.kernel.drop(skb, Drop.ICMP_TOO_SHORT)
            return
        start = pseudo_header_sum(skb.saddr, skb.daddr, IPPROTO_ICMPV6, length)
        if skb.ip_summed == CHECKSUM_NONE and ones_sum(skb.data, start) != 0xFFFF:
            mib["Icmp6InCsumErrors"] += 1
            mib["Icmp6InErrors"] += 1
            self.kernel.drop(skb, Drop.ICMP_BAD_CHECKSUM)
            return
        header = Icmpv6Header.parse(skb.buf, skb.off)
        mib[f"Icmp6InType{header.type}"] += 1
        handler = self._handlers.get(header.type)
        if handler is not None:
            handler(skb, header)
        elif not header.type & ICMPV6_INFOMSG_MASK:
            self._error(skb, header)
        else:
            self.kernel.drop(skb, Drop.ICMP_UNKNOWN_TYPE)

    def _echo(self, skb: SkBuff, header: Icmpv6Header) -> None:
        """The same data back; to a group's request from an address of ours (RFC 4443, 4.2)."""
        self.kernel.mib["Icmp6InEchos"] += 1
        payload = bytes(skb.data[ICMPV6_HLEN:])
        self.kernel.cpu.charge_copy(len(payload))
        source = b"" if is_multicast(skb.daddr) else skb.daddr
        self.kernel.mib["Icmp6OutEchoReplies"] += 1
        self._send(ICMPV6_ECHO_REPLY, 0, header.word, payload, source, skb, tos=skb.tos)
        skb.free()

    def _error(self, skb: SkBuff, header: Icmpv6Header) -> None:
        skb.pull(ICMPV6_HLEN)
        self.ip.receive_error(header.type, header.code, header.word, skb)
        skb.free()

    # -- errors we send --------------------------------------------------------------------

    def send_error(self, skb: SkBuff, icmp_type: int, code: int, info: int) -> None:
        """Answer a received packet with an error that quotes it (`icmp6_send`); does not free
        `skb`."""
        if not self._may_answer(skb, icmp_type, code):
            return
        limits = self.limits
        if icmp_type != ICMPV6_PKT_TOOBIG and not (
            limits.global_allow() and limits.peer_allow(skb.saddr)
        ):
            return
        start = skb.network_header
        quote = bytes(skb.buf[start : min(skb.end, start + QUOTE)])
        source = skb.daddr if self.ip.is_local(skb.daddr) else b""
        self._send(icmp_type, code, info, quote, source, skb)

    def _may_answer(self, skb: SkBuff, icmp_type: int, code: int) -> bool:
        """RFC 4443, 2.4 (e): not to groups but for two cases, not about errors."""
        multicast_allowed = icmp_type == ICMPV6_PKT_TOOBIG or (icmp_type, code) == (
            ICMPV6_PARAMPROB,
            ICMPV6_UNK_OPTION,
        )
        if is_multicast(skb.daddr) and not multicast_allowed:
            return False
        if not any(skb.saddr) or is_multicast(skb.saddr):
            return False
        upper = exthdrs.upper_protocol(skb.buf, skb.network_header, skb.end)
        if upper is None or upper[0] != IPPROTO_ICMPV6:
            return True
        at = upper[1]
        about = skb.buf[at] if at < skb.end else 0
        return bool(about & ICMPV6_INFOMSG_MASK) and about != NDISC_REDIRECT

    def neighbour_failed(self, skb: SkBuff) -> None:
        """Discovery gave up on a packet: tell its sender, here inside or elsewhere."""
        packet = memoryview(bytes(skb))
        self.ip.routing.link_failure(bytes(packet[24:40]))
        view = SkBuff(self.kernel, packet, packet_id=skb.packet_id)
        view.saddr, view.daddr, view.dev = bytes(packet[8:24]), bytes(packet[24:40]), skb.dev
        if self.ip.is_local(view.saddr):
            self.ip.receive_error(ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0, view)
        else:
            self.send_error(view, ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0)
        view.free()

    def _send(
        self,
        icmp_type: int,
        code: int,
        word: int,
        body: bytes,
        source: bytes,
        about: SkBuff,
        tos: int = 0,
    ) -> None:
        """To the sender of `about`, from `source` or what routing chooses."""
        daddr = about.saddr
        try:
            oif = about.dev.ifindex if is_linklocal(daddr) and about.dev is not None else 0
            route = self.ip.route(daddr, source, oif=oif)
        except OSError:
            self.kernel.mib["Ip6OutNoRoutes"] += 1
            return
        message = pack_message(route.saddr, daddr, icmp_type, code, word, body)
        skb = SkBuff(self.kernel, memoryview(message))
        if icmp_type < ICMPV6_INFOMSG_MASK and about.nfct is not None:
            skb.nfct = about.nfct.related()  # an error belongs to what it is about
        self.kernel.mib["Icmp6OutMsgs"] += 1
        self.kernel.mib[f"Icmp6OutType{icmp_type}"] += 1
        self.ip.send(skb, route, route.saddr, daddr, IPPROTO_ICMPV6, tos=tos, dont_fragment=False)
