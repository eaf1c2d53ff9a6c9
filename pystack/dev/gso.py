"""Generic segmentation: what GRO has merged leaves as the packets it came as (`net/core/gso.c`).

Called where a packet goes out of the host: by `NetCore.queue_xmit`, and by IP when even the parts
have to be cut smaller.  TCP of this host cuts what it sends itself.
"""

from __future__ import annotations

from pystack.core.skb import SkBuff

_IP6_HLEN = 40
_DATA_OFFSET = 12  # in TCP's header


def segment(skb: SkBuff, link: int) -> list[SkBuff]:
    """The packets merged into `skb`, itself the first, each with its own headers again.

    `link` is how many bytes of link header stand before the network header in `skb.buf`.
    """
    frags = skb.frags or []
    length = link + _headers(skb.buf, skb.off + link)
    skb.frags, skb.data_len, skb.gso_size = None, 0, 0
    for part in frags:
        part.off -= length
        part.network_header = part.off + link
        part.head = skb.head
        part.dev, part.dst, part.queue = skb.dev, skb.dst, skb.queue
        part.protocol, part.mark, part.nfct = skb.protocol, skb.mark, skb.nfct
        part.saddr, part.daddr = skb.saddr, skb.daddr
    return [skb, *frags]


def _headers(buf: memoryview, network: int) -> int:
    """Bytes of IP's and TCP's headers."""
    first = buf[network]
    hlen = (first & 15) << 2 if first >> 4 == 4 else _IP6_HLEN
    return hlen + (buf[network + hlen + _DATA_OFFSET] >> 4 << 2)
