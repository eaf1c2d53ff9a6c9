"""One frame on its way to packet sockets, looked at once for all of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cached_property

from pystack.core import bpf
from pystack.core.flow import flow_hash
from pystack.core.headers.ethernet import ETH_HLEN, ETH_P_8021Q
from pystack.core.skb import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, SkBuff
from pystack.dev.netdev import NetDevice
from pystack.transport.packet.constants import (
    ARPHRD_ETHER,
    ARPHRD_LOOPBACK,
    PACKET_BROADCAST,
    PACKET_HOST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    PACKET_OUTGOING,
    TP_STATUS_CSUM_VALID,
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
)
from pystack.transport.sock import Address

BROADCAST = b"\xff" * 6
_SLL = struct.Struct("=HHiHBB8s")


class PageRef:
    """The memory behind a received frame, given back when the last who reads it has let go."""

    def __init__(self, release: Callable[[], None] | None) -> None:
        self._release = release
        self._refs = 1

    def get(self) -> None:
        self._refs += 1

    def put(self) -> None:
        self._refs -= 1
        if not self._refs and self._release is not None:
            self._release()


class Frame:
    """`data` is the whole frame: a received one's where the NIC wrote it, a sent one's a copy."""

    def __init__(self, dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        self.dev = dev
        self.skb = skb
        self.outgoing = outgoing
        self.received = not outgoing and skb.frags is None
        self.data = skb.data if self.received else memoryview(bytes(skb))
        self.ethertype = int.from_bytes(self.data[12:14], "big")
        self.source = bytes(self.data[6:12])

    @cached_property
    def pkttype(self) -> int:
        if self.outgoing:
            return PACKET_OUTGOING
        dst = bytes(self.data[:6])
        if dst[0] & 1:
            return PACKET_BROADCAST if dst == BROADCAST else PACKET_MULTICAST
        return PACKET_HOST if dst == self.dev.mac or dst in self.dev.unicast else PACKET_OTHERHOST

    @property
    def hatype(self) -> int:
        return hatype(self.dev)

    @property
    def address(self) -> Address:
        return self.dev.ifindex, self.ethertype, self.pkttype, self.hatype, self.source

    @property
    def sockaddr_ll(self) -> bytes:
        protocol = int.from_bytes(self.ethertype.to_bytes(2, "big"), "little")
        fields = self.dev.ifindex, self.hatype, self.pkttype, len(self.source), self.source
        return _SLL.pack(17, protocol, *fields)  # AF_PACKET

    @cached_property
    def hash(self) -> int:
        return self.skb.hash or flow_hash(self.skb)

    @property
    def status(self) -> int:
        """What the ring's header says of the checksum, and whether `vlan` holds a tag."""
        status = 0
        if self.skb.vlan_tci >= 0:
            status = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID
        if self.skb.ip_summed == CHECKSUM_PARTIAL:
            return status | TP_STATUS_CSUMNOTREADY
        valid = not self.outgoing and self.skb.ip_summed == CHECKSUM_UNNECESSARY
        return status | (TP_STATUS_CSUM_VALID if valid else 0)

    @property
    def vlan(self) -> tuple[int, int]:
        """TCI and TPID of the tag beside the frame; zeros if there is none."""
        tci = self.skb.vlan_tci
        return (tci, ETH_P_8021Q) if tci >= 0 else (0, 0)

    def hold(self) -> PageRef | None:
        """Keep the page while somebody reads `data`; None if it is nobody's page."""
        skb = self.skb
        if not self.received or skb._release is None:
            return None
        owner = getattr(skb._release, "__self__", None)
        if not isinstance(owner, PageRef):
            owner = PageRef(skb._release)
            skb._release = owner.put
        owner.get()
        return owner

    def filtered(self, program: bpf.Filter | None, cooked: bool) -> int:
        """How many bytes a filter keeps, of what the socket would see of the frame."""
        data = self.data[ETH_HLEN:] if cooked else self.data
        if program is None:
            return len(data)
        cpu = self.skb.kernel.this_cpu
        ancillary = {
            bpf.AD_PROTOCOL: self.ethertype,
            bpf.AD_PKTTYPE: self.pkttype,
            bpf.AD_IFINDEX: self.dev.ifindex,
            bpf.AD_MARK: self.skb.mark,
            bpf.AD_QUEUE: self.skb.queue,
            bpf.AD_HATYPE: self.hatype,
            bpf.AD_RXHASH: self.skb.hash,
            bpf.AD_CPU: 0 if cpu is None else cpu.index,
        }
        keep = program.run(data, 0 if cooked else ETH_HLEN, ancillary)
        return min(keep, len(data))


def hatype(dev: NetDevice) -> int:
    return ARPHRD_LOOPBACK if dev.loopback else ARPHRD_ETHER
