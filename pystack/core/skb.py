"""The packet as the kernel carries it (`struct sk_buff`).

Received: `buf` is a view of the very page the NIC wrote, `off` moves up as headers are parsed
(`pull`), `end` comes down as padding is cut (`trim`).  Sent: the payload is in `buf[off:end]` and
each layer prepends its header to `head` (`push`).  So no layer copies the payload.

Whoever ends a packet's life calls `free` (delivered) or `kernel.drop` (lost, by reason): the page
behind it goes back to the driver's pool at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel

EMPTY = memoryview(b"")


class SkBuff:
    """`bytes(skb)` is what stands on the wire from the current layer's header on.

    `network_header`/`transport_header` are offsets into `buf` of a received packet.
    `saddr`/`daddr` are network-order bytes, 4 (IPv4) or 16 (IPv6) long.
    `tstamp` is the time of reception in ns, `packet_id` a number that stays with the packet.
    """

    __slots__ = (
        "_release",
        "buf",
        "cb",
        "daddr",
        "dev",
        "end",
        "head",
        "kernel",
        "mac_header",
        "network_header",
        "off",
        "packet_id",
        "protocol",
        "queue",
        "saddr",
        "sk",
        "transport_header",
        "tstamp",
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
        self.packet_id = kernel.next_packet_id() if packet_id is None else packet_id
        self.dev: Any = None  # pystack.dev.netdev.NetDevice
        self.queue = 0
        self.protocol = 0
        self.tstamp = 0
        self.mac_header = self.network_header = self.transport_header = 0
        self.saddr = self.daddr = b""
        self.sk: Any = None
        self.cb: Any = None  # of the layer that has the packet, as in Linux
        self.xmit_done: Callable[[], None] | None = None  # TX completed: socket wmem uncharge
        kernel.skbs_alive += 1

    def __len__(self) -> int:
        return len(self.head) + self.end - self.off

    def __bytes__(self) -> bytes:
        return self.head + bytes(self.buf[self.off : self.end])

    @property
    def data(self) -> memoryview:
        """From the current header to the end; only for a packet without `head`."""
        return self.buf[self.off : self.end]

    def pull(self, nbytes: int) -> None:
        """Step over a parsed header."""
        self.off += nbytes

    def trim(self, nbytes: int) -> None:
        """Cut to `nbytes` counted from `off` (padding behind an IP packet)."""
        self.end = min(self.end, self.off + nbytes)

    def push(self, header: bytes) -> None:
        """Prepend a header."""
        self.head = header + self.head

    def free(self) -> None:
        """End of life (`consume_skb`); a second call is a bug and raises."""
        if self.off < 0:
            raise RuntimeError(f"skb {self.packet_id} freed twice")
        self.off = -1
        self.end = -1
        self.buf = EMPTY
        self.kernel.skbs_alive -= 1
        release, self._release = self._release, None
        if release is not None:
            release()
        done, self.xmit_done = self.xmit_done, None
        if done is not None:
            done()
