"""IPv6 packets coming in (`net/ipv6/ip6_input.c`): checks, hooks, delivery.

Called by Ethernet through `Ipv6.receive`; a packet for the host goes through its extension headers
(`exthdrs`, `reassembly6`) to the transport, one for others to `ip6_output.forward`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.core.headers import ipv6 as wire
from pystack.core.headers.icmpv6 import ICMPV6_PARAMPROB, ICMPV6_UNK_NEXTHDR
from pystack.core.headers.ipv4 import ECN_MASK
from pystack.core.headers.ipv6 import IPV6_HLEN, is_linklocal, is_multicast
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.net import exthdrs, ip6_output
from pystack.net.hooks import Hook

if TYPE_CHECKING:
    from pystack.net.ipv6 import Ipv6

_ECN_COUNTERS = ("Ip6InNoECTPkts", "Ip6InECT1Pkts", "Ip6InECT0Pkts", "Ip6InCEPkts")


def receive(ip: Ipv6, skb: SkBuff) -> None:
    """`ipv6_rcv`."""
    kernel, mib = ip.kernel, ip.kernel.mib
    kernel.charge(kernel.costs.ip_packet)
    mib["Ip6InReceives"] += 1
    mib["Ip6InOctets"] += skb.end - skb.off
    if ip.tp_rcv.enabled:
        ip.tp_rcv(skb.packet_id, len(skb))
    reason = _validate(ip, skb)
    if reason is not None:
        kernel.drop(skb, reason)
        return
    if skb.protocol == wire.NEXTHDR_HOP:
        if not exthdrs.hop_by_hop(ip, skb):
            return
    else:
        skb.transport_header = skb.off + IPV6_HLEN
    if ip.hooks.active[Hook.PRE_ROUTING]:
        ip.hooks.run(Hook.PRE_ROUTING, skb, skb.dev, None, partial(_hooked_finish, ip))
    else:
        _finish(ip, skb)


def _validate(ip: Ipv6, skb: SkBuff) -> Drop | None:
    """Header, length, addresses; cuts padding and takes the fields.  `skb.off` stays."""
    mib, off = ip.kernel.mib, skb.off
    length = skb.end - off
    if length < IPV6_HLEN:
        mib["Ip6InHdrErrors"] += 1
        return Drop.IP6_TOO_SHORT
    first, payload, skb.protocol, _, src, dst = wire.unpack_from(skb.buf, off)
    if first >> 28 != 6:
        mib["Ip6InHdrErrors"] += 1
        return Drop.IP6_BAD_HEADER
    if length - IPV6_HLEN < payload:
        mib["Ip6InTruncatedPkts"] += 1
        return Drop.IP6_TRUNCATED
    skb.tos = first >> 20 & 0xFF
    mib[_ECN_COUNTERS[skb.tos & ECN_MASK]] += 1
    dev: NetDevice = skb.dev
    if not _addresses_valid(src, dst, dev.loopback):
        mib["Ip6InAddrErrors"] += 1
        return Drop.IP6_BAD_ADDRESS
    skb.saddr, skb.daddr = src, dst
    skb.network_header = off
    skb.end = off + IPV6_HLEN + payload
    return None


def _addresses_valid(src: bytes, dst: bytes, loopback: bool) -> bool:
    """RFC 4291, 2.5.3 and 2.7; a mapped IPv4 address never stands on the wire."""
    if is_multicast(src) or (is_multicast(dst) and dst[1] & 15 == 0):
        return False
    if loopback:
        return True
    return wire.LOOPBACK not in (src, dst) and not (is_multicast(dst) and dst[1] & 15 == 1)


def _hooked_finish(ip: Ipv6, skb: SkBuff) -> int:
    """Hooks may have changed the addresses."""
    _, _, _, _, skb.saddr, skb.daddr = wire.unpack_from(skb.buf, skb.off)
    _finish(ip, skb)
    return 0


def _finish(ip: Ipv6, skb: SkBuff) -> None:
    """For us, or to be forwarded? (`ip6_rcv_finish`)"""
    dev: NetDevice = skb.dev
    daddr, mib = skb.daddr, ip.kernel.mib
    if is_multicast(daddr):
        mib["Ip6InMcastPkts"] += 1
        ours = ip.mld.is_member(dev, daddr) or dev.loopback
    else:
        link = dev if is_linklocal(daddr) and not dev.loopback else None
        address = ip.addrconf.usable(daddr, link)
        ours = address is not None
    if ours:
        _input(ip, skb)
    elif is_multicast(daddr):
        ip.kernel.drop(skb, Drop.IP6_NOT_MEMBER)
    elif not ip.forwarding:
        mib["Ip6InAddrErrors"] += 1
        ip.kernel.drop(skb, Drop.IP6_OTHER_ADDRESS)
    else:
        ip6_output.forward(ip, skb)


def _input(ip: Ipv6, skb: SkBuff) -> None:
    if ip.hooks.active[Hook.LOCAL_IN]:
        ip.hooks.run(Hook.LOCAL_IN, skb, skb.dev, None, lambda skb: _deliver(ip, skb))
    else:
        _deliver(ip, skb)


def _on_its_link(ip: Ipv6, skb: SkBuff) -> None:
    """What this host sends to its own link-local address through `lo` is of the link that has the
    address, the first one of several (`inet6_iif`)."""
    address = ip.addrconf.usable(skb.daddr)
    if address is not None:
        skb.dev = address.dev


def _deliver(ip: Ipv6, skb: SkBuff) -> int:
    """Through the extension headers to the transport (`ip6_protocol_deliver_rcu`).

    `skb.protocol` is the header at `transport_header`; `nhoff` is where its number stands, which
    a parameter problem points to.
    """
    kernel, mib = ip.kernel, ip.kernel.mib
    if skb.dev.loopback and is_linklocal(skb.daddr):
        _on_its_link(ip, skb)
    nhoff = exthdrs.next_header_offset(skb)
    while True:
        protocol = skb.protocol
        skb.off = at = skb.transport_header
        raw = ip.raw_deliver is not None and ip.raw_deliver(skb)
        handler = ip.handlers.get(protocol)
        if handler is not None:
            if skb.daddr[0] == 0xFF and ip.mld.blocks(skb):
                kernel.drop(skb, Drop.IP6_NOT_MEMBER)
                return 0
            mib["Ip6InDelivers"] += 1
            handler(skb)
            return 0
        if protocol == wire.NEXTHDR_FRAGMENT:
            whole = ip.reassembly.receive(skb, nhoff)
            if whole is None:
                return 0
            skb, nhoff = whole, whole.cb
        elif protocol in exthdrs.HANDLERS:
            if not exthdrs.HANDLERS[protocol](ip, skb):
                return 0
            nhoff = at
        else:
            break
    if raw or protocol == wire.NEXTHDR_NONE:
        mib["Ip6InDelivers"] += 1
        skb.free()
        return 0
    mib["Ip6InUnknownProtos"] += 1
    ip.icmp.send_error(skb, ICMPV6_PARAMPROB, ICMPV6_UNK_NEXTHDR, nhoff - skb.network_header)
    kernel.drop(skb, Drop.IP6_UNKNOWN_PROTOCOL)
    return 0
