"""The packet as the kernel carries it (`struct sk_buff`).

Received: `buf` is a view of the very page the NIC wrote, `off` moves up as headers are parsed
(`pull`), `end` comes down as padding is cut.  Sent: the payload is in `buf[off:end]` and
each layer prepends its header to `head` (`push`).  So no layer copies the payload.

Whoever ends a packet's life calls `free` (delivered) or `kernel.drop` (lost, by reason): the page
behind it goes back to the driver's pool at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystack.core.headers.frame import Headers
    from pystack.core.kernel import Kernel

EMPTY = memoryview(b"")

# `ip_summed`: what is known of a received packet's transport checksum
CHECKSUM_NONE = 0  # nothing: verify it
CHECKSUM_UNNECESSARY = 1  # the device has verified it, or it never left the host
CHECKSUM_PARTIAL = 3  # of a sent one: the field holds the pseudo-header's sum, the rest is to come


class SkBuff:
    """`bytes(skb)` is what stands on the wire from the current layer's header on.

    `network_header`/`transport_header` are offsets into `buf` of a received packet.
    `frags` are packets GRO has merged into this one: their texts, `data_len` bytes, follow its own,
    and all but the last are `gso_size` long as its own is.  A sent packet with `gso_size` and
    without `frags` has its whole text in `buf[off:end]` and is still to be cut.
    With CHECKSUM_PARTIAL the last `csum_length` bytes are to be summed up, and the sum goes
    `csum_offset` bytes behind the first of them.  `truesize` belongs to the transport.
    `headers` are the fields of its first headers (`core/headers/frame.py`).
    `saddr`/`daddr` are network-order bytes, 4 (IPv4) or 16 (IPv6) long, `tos` is the byte of that
    name of a received packet, or IPv6's traffic class.
    `mark` is for netfilter and routing, `nfct` what connection tracking knows of the packet.
    `frag_max_size` is the size of the largest fragment it came in, 0 if it came whole.
    `vlan_tci` is the tag that does not stand in the frame, -1 if there is none.
    `tstamp` is the time of reception in ns, `hwtstamp` that by the NIC's own clock or 0,
    `packet_id` a number that stays with the packet.  `tx_stamped`, if set, asks for the time of
    sending by the NIC's clock, and gets it in ns (`skb_tstamp_tx`); so does `tx_software` for the
    kernel's, when the driver is given the packet.
    """

    __slots__ = (
        "_release",
        "buf",
        "cb",
        "csum_length",
        "csum_offset",
        "daddr",
        "data_len",
        "dev",
        "dst",
        "end",
        "frag_max_size",
        "frags",
        "gso_size",
        "hash",
        "head",
        "headers",
        "hwtstamp",
        "ip_summed",
        "kernel",
        "mac_header",
        "mark",
        "network_header",
        "nfct",
        "off",
        "packet_id",
        "priority",
        "protocol",
        "queue",
        "saddr",
        "sk",
        "tos",
        "transport_header",
        "truesize",
        "tstamp",
        "tx_software",
        "tx_stamped",
        "vlan_tci",
        "xmit_done",
    )

    def __init__(
        self,
        kernel: Kernel,
        buf: memoryview = EMPTY,
        release: Callable[[], None] | None = None,
        packet_id: int | None = None,
    ) -> None:
        """`release` gives the memory behind `buf` back; it is called exactly once."""
        self.kernel = kernel
        self.buf = buf
        self.off = 0
        self.end = len(buf)
        self.head = b""
        self._release = release
        self.packet_id = next(kernel.packet_ids) if packet_id is None else packet_id
        self.dev: Any = None  # pystack.dev.netdev.NetDevice
        self.dst: Any = None  # the route it takes, once that is known
        self.queue = 0
        self.protocol = self.tos = 0
        self.frags: list[SkBuff] | None = None
        self.data_len = self.gso_size = self.truesize = self.frag_max_size = 0
        self.tstamp = self.hwtstamp = 0
        self.ip_summed = self.csum_length = self.csum_offset = 0
        self.vlan_tci = -1
        self.headers: Headers = ()
        self.mac_header = self.network_header = self.transport_header = 0
        self.saddr = self.daddr = b""
        self.mark = self.priority = self.hash = 0
        self.nfct: Any = None
        self.sk: Any = None
        self.cb: Any = None  # of the layer that has the packet, as in Linux
        self.tx_software: Callable[[int], None] | None = None
        self.tx_stamped: Callable[[int], None] | None = None
        self.xmit_done: Callable[[], None] | None = None  # TX completed: socket wmem uncharge
        kernel.skbs_alive += 1

    def __len__(self) -> int:
        return len(self.head) + self.end - self.off + self.data_len

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> list[bytes | memoryview]:
        """Where its bytes stand, in their order; none of them is empty."""
        pieces: list[bytes | memoryview] = [self.head] if self.head else []
        if self.end > self.off:
            pieces.append(self.buf[self.off : self.end])
        if self.frags is not None:
            pieces += [part.buf[part.off : part.end] for part in self.frags]
        return pieces

    @property
    def data(self) -> memoryview:
        """From the current header to the end; only for one without `head` and `frags`."""
        return self.buf[self.off : self.end]

    def views(self, start: int = 0) -> list[memoryview]:
        """The data of a received packet from byte `start` on, piece by piece."""
        views = []
        for part in self.parts():
            length = part.end - part.off
            if start < length:
                views.append(part.buf[part.off + start : part.end])
            start = max(start - length, 0)
        return views

    def parts(self) -> tuple[SkBuff, ...]:
        """The packets as they came: this one, and those GRO has merged into it."""
        return (self,) if self.frags is None else (self, *self.frags)

    def pull(self, nbytes: int) -> None:
        """Step over a parsed header, or over data; that may be into `frags`."""
        self.off += nbytes

    def trim(self, length: int) -> None:
        """Cut off what is behind `length` bytes from here on (`pskb_trim`)."""
        for part in self.parts():
            part.end = min(part.end, part.off + length)
            length -= part.end - part.off
        self.data_len = sum(part.end - part.off for part in self.parts()[1:])

    def clone(self) -> SkBuff:
        """A received packet once more with its parsed headers, in memory of its own."""
        data = memoryview(b"".join((self.buf[: self.off], *self.views())))
        other = SkBuff(self.kernel, data, packet_id=self.packet_id)
        for name in _COPIED:
            setattr(other, name, getattr(self, name))
        return other

    def push(self, header: bytes) -> None:
        """Prepend a header."""
        self.head = header + self.head

    def take_head(self, nbytes: int) -> bytes:
        """Remove and return the first bytes of a packet that is being sent; it has as many."""
        taken, self.head = self.head[:nbytes], self.head[nbytes:]
        missing = nbytes - len(taken)
        if missing:
            taken += bytes(self.buf[self.off : self.off + missing])
            self.off += missing
        return taken

    def copy(self, data: bytes | None = None) -> SkBuff:
        """Another packet with the same bytes, or with `data`, all in `buf`; of a sent one too."""
        other = SkBuff(
            self.kernel, memoryview(bytes(self) if data is None else data), packet_id=self.packet_id
        )
        for name in _SAME_BYTES:
            setattr(other, name, getattr(self, name))
        return other

    def free(self) -> None:
        """End of life (`consume_skb`); a second call is a bug and raises."""
        if self.off < 0:
            raise RuntimeError(f"skb {self.packet_id} freed twice")
        self.off = -1
        self.end = -1
        self.buf = EMPTY
        self.kernel.skbs_alive -= 1
        if self._release is not None:
            self._release()
        if self.frags is not None:
            for part in self.frags:
                part.free()
        if self.xmit_done is not None:
            self.xmit_done()


_SAME_BYTES = (
    *("csum_length", "csum_offset", "dev", "gso_size", "ip_summed", "mark", "priority"),
    *("protocol", "queue", "tstamp", "vlan_tci"),
)
_COPIED = (
    *("cb", "daddr", "dev", "dst", "headers", "hwtstamp", "ip_summed", "mac_header", "mark"),
    *("network_header", "off", "protocol", "queue", "saddr", "tos", "transport_header", "tstamp"),
    "vlan_tci",
)
