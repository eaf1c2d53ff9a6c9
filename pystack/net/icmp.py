"""ICMP (RFC 792, RFC 1122 3.2.2): echo, and errors both ways (`net/ipv4/icmp.c`).

Called by IP; answers through `Ipv4.send`, hands errors about our packets to `receive_error`.
"""

from __future__ import annotations

from pystack.core.checksum import checksum, ones_sum
from pystack.core.drop import Drop
from pystack.core.headers.icmp import (
    ICMP_DEST_UNREACH,
    ICMP_ECHO,
    ICMP_ECHOREPLY,
    ICMP_FRAG_NEEDED,
    ICMP_HLEN,
    ICMP_HOST_UNREACH,
    ICMP_PARAMETERPROB,
    ICMP_TIME_EXCEEDED,
    IcmpHeader,
)
from pystack.core.headers.ipv4 import IP_HLEN, IPPROTO_ICMP, Ipv4Header
from pystack.core.skb import SkBuff
from pystack.net.fib import RouteType
from pystack.net.ipv4 import Ipv4

ERRORS = (ICMP_DEST_UNREACH, ICMP_TIME_EXCEEDED, ICMP_PARAMETERPROB)
QUOTE = 576 - IP_HLEN - ICMP_HLEN  # RFC 1812, 4.3.2.3
TOKEN_INTERVAL = 20_000_000  # 50 errors a second on average (net.ipv4.icmp_msgs_burst = 50)
BURST = 50


class Icmp:
    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self.kernel = ipv4.kernel
        self._tokens = BURST
        self._token_time = 0
        ipv4.register(IPPROTO_ICMP, self.receive)
        ipv4.icmp_send = self.send_error
        ipv4.arp.unreachable = self._neighbour_failed

    def receive(self, skb: SkBuff) -> None:
        mib = self.kernel.mib
        mib["IcmpInMsgs"] += 1
        if len(skb) < ICMP_HLEN:
            mib["IcmpInErrors"] += 1
            self.kernel.drop(skb, Drop.ICMP_TOO_SHORT)
        elif ones_sum(skb.data) != 0xFFFF:
            mib["IcmpInCsumErrors"] += 1
            self.kernel.drop(skb, Drop.ICMP_BAD_CHECKSUM)
        else:
            self._dispatch(skb)

    def _dispatch(self, skb: SkBuff) -> None:
        header = IcmpHeader.parse(skb.buf, skb.off)
        if header.type == ICMP_ECHO and skb.dst.kind is RouteType.LOCAL:
            self.kernel.mib["IcmpInEchos"] += 1
            self._reply(skb, header)
        elif header.type in ERRORS:
            self._error(skb, header)
        else:
            self.kernel.drop(skb, Drop.ICMP_UNKNOWN_TYPE)

    def _reply(self, request: SkBuff, header: IcmpHeader) -> None:
        """Echo reply: the same data back, the type changed."""
        payload = bytes(request.data[ICMP_HLEN:])
        self.kernel.cpu.charge_copy(len(payload))
        self.kernel.mib["IcmpOutEchoReps"] += 1
        self._send(
            ICMP_ECHOREPLY, 0, header.word1, header.word2, payload, request.daddr, request.saddr
        )
        request.free()

    def _error(self, skb: SkBuff, header: IcmpHeader) -> None:
        skb.pull(ICMP_HLEN)
        if len(skb) < IP_HLEN:
            self.kernel.drop(skb, Drop.ICMP_TOO_SHORT)
            return
        quoted = Ipv4Header.parse(skb.buf, skb.off)
        if quoted.header_length < IP_HLEN or len(skb) < quoted.header_length + 8:
            self.kernel.drop(skb, Drop.ICMP_TOO_SHORT)
            return
        frag_needed = (header.type, header.code) == (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED)
        mtu = header.word2 if frag_needed else 0
        self.ipv4.receive_error(header.type, header.code, mtu, skb)
        skb.free()

    # -- errors we send --------------------------------------------------------------------

    def send_error(self, skb: SkBuff, icmp_type: int, code: int, word2: int = 0) -> None:
        """Answer a received packet with an error that quotes it; does not free `skb`.

        Never about a broadcast, nor about an ICMP error (RFC 1122, 3.2.2), at most 50 a second.
        """
        kind = skb.dst.kind
        if kind in (RouteType.BROADCAST, RouteType.MULTICAST) or self._is_icmp_error(skb):
            return
        if not self._token():
            return
        start = skb.network_header
        quote = bytes(skb.buf[start : min(skb.end, start + QUOTE)])
        saddr = skb.daddr if kind is RouteType.LOCAL else b""
        self._send(icmp_type, code, 0, word2, quote, saddr, skb.saddr, skb)

    def _is_icmp_error(self, skb: SkBuff) -> bool:
        return skb.protocol == IPPROTO_ICMP and skb.buf[skb.transport_header] in ERRORS

    def _token(self) -> bool:
        gained, rest = divmod(self.kernel.now - self._token_time, TOKEN_INTERVAL)
        self._tokens = min(BURST, self._tokens + gained)
        self._token_time = self.kernel.now - rest
        if not self._tokens:
            self.kernel.mib["IcmpOutRateLimitGlobal"] += 1
            return False
        self._tokens -= 1
        return True

    def _neighbour_failed(self, skb: SkBuff) -> None:
        """ARP gave up on a packet of ours: tell its sender, here inside (`arp_error_report`)."""
        view = SkBuff(self.kernel, memoryview(bytes(skb)), packet_id=skb.packet_id)
        self.ipv4.receive_error(ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0, view)
        view.free()

    def _send(
        self,
        icmp_type: int,
        code: int,
        word1: int,
        word2: int,
        payload: bytes,
        saddr: bytes,
        daddr: bytes,
        about: SkBuff | None = None,
    ) -> None:
        """`about`: the packet an error is about, whose connection the error belongs to."""
        header = IcmpHeader(icmp_type, code, 0, word1, word2)
        value = checksum(payload, ones_sum(header.pack()))
        skb = SkBuff(self.kernel, memoryview(payload))
        skb.push(header._replace(checksum=value).pack())
        if about is not None and about.nfct is not None:
            skb.nfct = about.nfct.related()
        self.kernel.mib["IcmpOutMsgs"] += 1
        try:
            route = self.ipv4.route(daddr, saddr)
        except OSError:
            self.kernel.drop(skb, Drop.IP_NO_ROUTE)
            return
        self.ipv4.send(skb, route, saddr or route.saddr, daddr, IPPROTO_ICMP, dont_fragment=False)
