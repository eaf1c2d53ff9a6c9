"""ICMP (RFC 792, RFC 1122 3.2.2): queries answered, errors sent and taken (`net/ipv4/icmp.c`).

Called by IP; answers through `Ipv4.send`, hands errors about our packets to `receive_error`.
"""

from __future__ import annotations

from collections.abc import Callable

from pystack.core.checksum import checksum, ones_sum
from pystack.core.drop import Drop
from pystack.core.headers.icmp import (
    ICMP_DEST_UNREACH,
    ICMP_ECHO,
    ICMP_ECHOREPLY,
    ICMP_EXC_FRAGTIME,
    ICMP_FRAG_NEEDED,
    ICMP_HLEN,
    ICMP_HOST_UNREACH,
    ICMP_PARAMETERPROB,
    ICMP_REDIRECT,
    ICMP_SOURCE_QUENCH,
    ICMP_TIME_EXCEEDED,
    ICMP_TIMESTAMP,
    ICMP_TIMESTAMPREPLY,
    IcmpHeader,
)
from pystack.core.headers.ipv4 import IP_HLEN, IP_OFFSET_MASK, IPPROTO_ICMP, Ipv4Header
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.net import ip_options
from pystack.net.devinet import SCOPE_LINK
from pystack.net.fib import RouteType
from pystack.net.hooks import read
from pystack.net.icmp_limits import IcmpLimits
from pystack.net.ipv4 import Ipv4

ERRORS = {
    ICMP_DEST_UNREACH,
    ICMP_SOURCE_QUENCH,
    ICMP_REDIRECT,
    ICMP_TIME_EXCEEDED,
    ICMP_PARAMETERPROB,
}
NAMES = {
    ICMP_ECHOREPLY: "EchoReps",
    ICMP_DEST_UNREACH: "DestUnreachs",
    ICMP_SOURCE_QUENCH: "SrcQuenchs",
    ICMP_REDIRECT: "Redirects",
    ICMP_ECHO: "Echos",
    ICMP_TIME_EXCEEDED: "TimeExcds",
    ICMP_PARAMETERPROB: "ParmProbs",
    ICMP_TIMESTAMP: "Timestamps",
    ICMP_TIMESTAMPREPLY: "TimestampReps",
}
"""As `nstat` ends their counters."""

MAX_ERROR = 576  # bytes of an error (RFC 1812, 4.3.2.3)
PRECEDENCE_INTERNETCONTROL = 0xC0
_TOS_MASK = 0x1E
_TIMESTAMPS = 12  # bytes behind the header


class Icmp:
    """`echo_reply(skb)` takes replies for whoever has asked, `skb.off` at the ICMP header, and owns
    the packet."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4 = ipv4
        self.kernel = ipv4.kernel
        self.limits = IcmpLimits(self.kernel)
        self.echo_reply: Callable[[SkBuff], None] = SkBuff.free
        ipv4.register(IPPROTO_ICMP, self.receive)
        ipv4.icmp_send = self.icmp_send
        ipv4.arp.unreachable = self._link_failure
        self._handlers = {
            ICMP_ECHOREPLY: lambda skb: self.echo_reply(skb),
            ICMP_ECHO: self._echo,
            ICMP_TIMESTAMP: self._timestamp,
            ICMP_REDIRECT: self._redirect,
            ICMP_DEST_UNREACH: self._unreach,
            ICMP_SOURCE_QUENCH: self._unreach,
            ICMP_TIME_EXCEEDED: self._unreach,
            ICMP_PARAMETERPROB: self._unreach,
        }

    # -- receive ---------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> None:
        """`icmp_rcv`"""
        mib = self.kernel.mib
        mib["IcmpInMsgs"] += 1
        if len(skb) < ICMP_HLEN:
            self._bad(skb, Drop.ICMP_TOO_SHORT)
            return
        if ones_sum(skb.data) != 0xFFFF:
            mib["IcmpInCsumErrors"] += 1
            self._bad(skb, Drop.ICMP_BAD_CHECKSUM)
            return
        icmp_type = skb.buf[skb.off]
        mib[f"IcmpMsgInType{icmp_type}"] += 1
        if icmp_type in NAMES:
            mib[f"IcmpIn{NAMES[icmp_type]}"] += 1
        handler = self._handlers.get(icmp_type)
        if handler is None:
            self._bad(skb, Drop.ICMP_UNKNOWN_TYPE)
        elif skb.dst.kind is not RouteType.LOCAL and not self._for_everybody(icmp_type):
            self._bad(skb, Drop.ICMP_TO_EVERYBODY)
        else:
            handler(skb)

    def _bad(self, skb: SkBuff, reason: Drop) -> None:
        self.kernel.mib["IcmpInErrors"] += 1
        self.kernel.drop(skb, reason)

    def _for_everybody(self, icmp_type: int) -> bool:
        """May it come to a broadcast or multicast address (RFC 1122, 3.2.2.6)?"""
        if icmp_type not in (ICMP_ECHO, ICMP_TIMESTAMP):
            return False
        return not self.kernel.sysctl["net.ipv4.icmp_echo_ignore_broadcasts"]

    def _echo(self, request: SkBuff) -> None:
        """The same data back, the type changed (`icmp_echo`)."""
        if self.kernel.sysctl["net.ipv4.icmp_echo_ignore_all"]:
            self.kernel.drop(request, Drop.ICMP_IGNORED)
            return
        header = IcmpHeader.parse(request.buf, request.off)
        self._reply(request, header._replace(type=ICMP_ECHOREPLY), request.data[ICMP_HLEN:])

    def _timestamp(self, request: SkBuff) -> None:
        """`icmp_timestamp`: when it was sent, came, and leaves, in ms of the day."""
        if len(request) < ICMP_HLEN + 4:
            self._bad(request, Drop.ICMP_TOO_SHORT)
            return
        now = ip_options.milliseconds(self.kernel.now).to_bytes(4, "big")
        originate = bytes(request.data[ICMP_HLEN : ICMP_HLEN + 4])
        header = IcmpHeader.parse(request.buf, request.off)
        header = header._replace(type=ICMP_TIMESTAMPREPLY, code=0)
        self._reply(request, header, memoryview(originate + now + now))

    def _reply(self, request: SkBuff, header: IcmpHeader, data: memoryview) -> None:
        """To who asked, from the address asked (`icmp_reply`)."""
        payload = bytes(data)
        self.kernel.cpu.charge_copy(len(payload))
        saddr = self.ipv4.specific_destination(request)
        options = self.ipv4.echo_options(request, saddr)
        tos = request.tos
        daddr = request.saddr
        request.free()
        self._send(header, payload, saddr, daddr, tos=tos, options=options)

    # -- errors about what we sent ---------------------------------------------------------

    def _unreach(self, skb: SkBuff) -> None:
        """`icmp_unreach`"""
        header = IcmpHeader.parse(skb.buf, skb.off)
        quoted = self._quoted(skb)
        if quoted is None:
            return
        info = 0
        if (header.type, header.code) == (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED):
            if self.kernel.sysctl["net.ipv4.ip_no_pmtu_disc"]:
                skb.free()
                return
            info = header.word2
        elif header.type == ICMP_PARAMETERPROB:
            info = header.word1 >> 8
        elif (header.type, header.code) == (ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME):
            skb.free()  # a fragment was lost: the transport will notice
            return
        if self._bogus(quoted):
            self.kernel.drop(skb, Drop.ICMP_BOGUS_ERROR)
            return
        self.ipv4.receive_error(header.type, header.code, info, skb)
        skb.free()

    def _quoted(self, skb: SkBuff) -> Ipv4Header | None:
        """The header an error is about, `skb` moved to it; None if it is not there."""
        skb.pull(ICMP_HLEN)
        if len(skb) < IP_HLEN:
            self._bad(skb, Drop.ICMP_TOO_SHORT)
            return None
        quoted = Ipv4Header.parse(skb.buf, skb.off)
        if quoted.header_length < IP_HLEN or len(skb) < quoted.header_length + 8:
            self._bad(skb, Drop.ICMP_TOO_SHORT)
            return None
        return quoted

    def _bogus(self, quoted: Ipv4Header) -> bool:
        """Some routers complain about broadcasts (RFC 1122, 3.2.2)."""
        ignored = self.kernel.sysctl["net.ipv4.icmp_ignore_bogus_error_responses"]
        return not ignored and self.ipv4.routing.address_type(quoted.dst) is RouteType.BROADCAST

    def _redirect(self, skb: SkBuff) -> None:
        """A router knows a better one for a destination of ours (`icmp_redirect`)."""
        gateway = bytes(skb.data[4:ICMP_HLEN])
        quoted = self._quoted(skb)
        if quoted is None:
            return
        if self.ipv4.is_local(quoted.src):
            self.ipv4.routing.redirect(skb.dev, quoted.dst, skb.saddr, gateway)
        skb.free()

    # -- errors we send --------------------------------------------------------------------

    def icmp_send(self, skb: SkBuff, icmp_type: int, code: int, info: int) -> None:
        """Answer a packet, received or our own, with an error that quotes it; does not free `skb`.

        `info` is the MTU, the gateway or, in the highest byte of 32 bits, the pointer.  Never
        about a broadcast, an ICMP error or a later fragment (RFC 1122, 3.2.2); limited.
        """
        header, start, end = _network_header(skb)
        kind = skb.dst.kind
        dev: NetDevice | None = skb.dev
        if kind in (RouteType.BROADCAST, RouteType.MULTICAST) or _to_everybody(skb):
            return
        if header.fragment & IP_OFFSET_MASK or (
            header.protocol == IPPROTO_ICMP and _is_error(skb, start + header.header_length)
        ):
            return
        limited = not self.limits.exempt(icmp_type, code)
        if limited and not (dev is not None and dev.loopback) and not self.limits.global_allow():
            return
        saddr = header.dst if kind is RouteType.LOCAL and not skb.head else b""
        if not saddr and dev is not None and self._inbound():
            saddr = self.ipv4.devinet.select(dev, header.src, SCOPE_LINK)
        error = IcmpHeader(icmp_type, code, 0, info >> 16, info & 0xFFFF)
        tos = header.tos & _TOS_MASK | PRECEDENCE_INTERNETCONTROL
        room = MAX_ERROR - IP_HLEN - ICMP_HLEN
        quote = _whole(skb, start, min(end, start + room))
        self._send(error, quote, saddr, header.src, tos=tos, limited=limited, about=skb)

    def _inbound(self) -> bool:
        return bool(self.kernel.sysctl["net.ipv4.icmp_errors_use_inbound_ifaddr"])

    def _link_failure(self, skb: SkBuff) -> None:
        """Nobody answered for the next hop: tell the sender, be it us (`ipv4_link_failure`)."""
        self.icmp_send(skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0)

    def _send(
        self,
        header: IcmpHeader,
        payload: bytes,
        saddr: bytes,
        daddr: bytes,
        *,
        tos: int = 0,
        options: bytes = b"",
        limited: bool = False,
        about: SkBuff | None = None,
    ) -> None:
        """`about`: the packet an error is about, whose connection the error belongs to."""
        kernel, ipv4 = self.kernel, self.ipv4
        try:
            route = ipv4.route(daddr, saddr)
        except OSError:
            kernel.mib["IcmpOutErrors"] += 1
            return
        if limited and not route.dev.loopback and not self.limits.peer_allow(daddr):
            return
        value = checksum(payload, ones_sum(header._replace(checksum=0).pack()))
        skb = SkBuff(kernel, memoryview(payload))
        skb.push(header._replace(checksum=value).pack())
        if about is not None and about.nfct is not None:
            skb.nfct = about.nfct.related()
        kernel.mib["IcmpOutMsgs"] += 1
        kernel.mib[f"IcmpMsgOutType{header.type}"] += 1
        kernel.mib[f"IcmpOut{NAMES[header.type]}"] += 1
        ipv4.send(
            skb,
            route,
            saddr or route.saddr,
            daddr,
            IPPROTO_ICMP,
            tos=tos,
            dont_fragment=False,
            options=options,
        )


def _network_header(skb: SkBuff) -> tuple[Ipv4Header, int, int]:
    """Header and bounds of the packet: in `buf` if it was received, else behind `head`'s start."""
    if skb.head:
        return Ipv4Header.parse(read(skb, 0, IP_HLEN)), 0, len(skb)
    start = skb.network_header
    return Ipv4Header.parse(skb.buf, start), start, skb.end


def _whole(skb: SkBuff, start: int, end: int) -> bytes:
    return read(skb, start, end - start) if skb.head else bytes(skb.buf[start:end])


def _to_everybody(skb: SkBuff) -> bool:
    """It came in a broadcast or multicast frame."""
    return bool(not skb.head and skb.headers and skb.headers[0][0] & 1)


def _is_error(skb: SkBuff, at: int) -> bool:
    """An ICMP message that is an error, or of a kind nobody knows."""
    found = _whole(skb, at, at + 1)
    return not found or found[0] in ERRORS or found[0] > 18
