"""A packet socket: SOCK_RAW sees the link header, SOCK_DGRAM does not (packet(7)).

Received frames wait in a queue, copied, or go into a ring; sent ones go to a device's queue.
"""

from __future__ import annotations

import errno
import socket as so
from collections import deque
from collections.abc import Iterable, Sequence
from select import EPOLLERR, EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRBAND, EPOLLWRNORM
from typing import TYPE_CHECKING, NamedTuple

from pystack.core.bpf import Filter
from pystack.core.headers.ethernet import ETH_HLEN, VLAN_HLEN, pack_header
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.transport.packet import options
from pystack.transport.packet.blocks import BlockRing
from pystack.transport.packet.constants import PACKET_AUXDATA, SOL_PACKET
from pystack.transport.packet.fanout import Fanout
from pystack.transport.packet.frame import Frame, hatype
from pystack.transport.packet.ring import FrameRing
from pystack.transport.packet.txring import TxRing
from pystack.transport.sock import (
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    Address,
    Cmsg,
    Message,
    Sock,
    os_error,
    truesize,
)

if TYPE_CHECKING:
    from pystack.transport.packet.protocol import Packet

READABLE, WRITABLE = EPOLLIN | EPOLLRDNORM, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND


class Queued(NamedTuple):
    """A frame in the receive queue; `length` is that of all of it."""

    data: bytes
    length: int
    address: Address
    aux: bytes
    truesize: int


class PacketSock(Sock):
    """`num` is the protocol it receives, an Ethernet type or ETH_P_ALL; 0: nothing."""

    def __init__(self, packet: Packet, type_: int, protocol: int) -> None:
        super().__init__(packet.kernel, so.AF_PACKET, type_, protocol)
        sysctl = packet.kernel.sysctl
        self.sk_rcvbuf = sysctl["net.core.rmem_default"]
        self.sk_sndbuf = sysctl["net.core.wmem_default"]
        self.packet = packet
        self.num = so.ntohs(protocol)
        self.ifindex = 0
        self.queue: deque[Queued] = deque()
        self.filter: Filter | None = None
        self.fanout: Fanout | None = None
        self.fanout_id = 0
        self.memberships: dict[tuple[int, int, bytes], int] = {}
        self.auxdata: bool = False
        self.ignore_outgoing: bool = False
        self.loss: bool = False  # skip frames of a bad format in the TX ring
        self.rx_pages: bool = False
        self.version: int = 0
        self.reserve: int = 0
        self.rx_ring: FrameRing | BlockRing | None = None
        self.tx_ring: TxRing | None = None
        self.tp_packets = self.tp_drops = 0
        self.copied = 0  # bytes copied out of pages into the queue
        self.running = False
        packet.alive += 1
        self._run(bool(self.num))

    @property
    def cooked(self) -> bool:
        return self.type == so.SOCK_DGRAM

    def _run(self, on: bool) -> None:
        if on != self.running:
            self.running = on
            (self.packet.hook if on else self.packet.unhook)(self)

    # -- received frames -------------------------------------------------------------------

    def has_room(self) -> bool:
        """For rollover: is there room for another frame?"""
        ring = self.rx_ring
        if isinstance(ring, FrameRing):
            return ring.has_room()
        return ring is not None or self.rmem_alloc < self.sk_rcvbuf

    def receive(self, frame: Frame) -> None:
        """From the tap (`packet_rcv`, `tpacket_rcv`)."""
        keep = frame.filtered(self.filter, self.cooked)
        if not keep:
            return
        if self.rx_ring is not None:
            taken = self.rx_ring.put(frame, keep, self.cooked, bool(self.tp_drops))
        else:
            taken = self._enqueue(frame, keep)
        if not taken:
            self.tp_drops += 1
            self.sk_drops += 1
            return
        self.tp_packets += 1
        if not isinstance(self.rx_ring, BlockRing):
            self.wake(READABLE)

    def _enqueue(self, frame: Frame, keep: int) -> bool:
        size = truesize(frame.skb)
        if self.rmem_alloc >= self.sk_rcvbuf:
            return False
        data = frame.data[ETH_HLEN:] if self.cooked else frame.data
        aux = options.auxdata(frame, len(data), keep, self.cooked) if self.auxdata else b""
        self.queue.append(Queued(bytes(data[:keep]), keep, frame.address, aux, size))
        self.copied += keep
        self.rmem_alloc += size
        return True

    def recvmsg(self, n: int, flags: int) -> Message:
        if flags & (MSG_OOB | MSG_ERRQUEUE):
            raise os_error(errno.EINVAL if flags & MSG_OOB else errno.EAGAIN)
        if self.sk_err:
            raise os_error(self.sock_error())
        if not self.queue:
            raise self.would_block()
        entry = self.queue[0]
        if not flags & MSG_PEEK:
            self.queue.popleft()
            self.rmem_alloc -= entry.truesize
        data = entry.data[:n]
        self.kernel.cpu.charge_copy(len(data))
        control: tuple[Cmsg, ...] = ()
        if self.auxdata:
            control = ((SOL_PACKET, PACKET_AUXDATA, entry.aux),)
        cut = MSG_TRUNC if entry.length > n else 0
        return Message(data, entry.address, control, cut, entry.length)

    # -- sent frames -----------------------------------------------------------------------

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        """One frame; or, with a ring, all that are asked for in it."""
        dev, protocol, target = self._route(address)
        if self.tx_ring is not None:
            return self._send_ring(self.tx_ring, dev, protocol, target)
        if self.sk_err:
            raise os_error(self.sock_error())
        self._check_length(len(data), dev, data)
        if self.wmem_queued >= self.sk_sndbuf:
            raise self.would_block()
        self.kernel.cpu.charge_copy(len(data))
        skb = SkBuff(self.kernel, memoryview(bytes(data)))
        self._transmit(skb, dev, protocol, target)
        return len(data)

    def _route(self, address: Address | None) -> tuple[NetDevice, int, bytes]:
        """(device, protocol, link address) by the address, or as bound: ENXIO, ENETDOWN."""
        ifindex, protocol, target = self.ifindex, self.num, b""
        if address is not None:
            ifindex, protocol, _, _, target = address
        dev = self.packet.device(ifindex)
        if dev is None:
            raise os_error(errno.ENXIO)
        if not dev.up:
            raise os_error(errno.ENETDOWN)
        if self.cooked and address is None and not dev.loopback:
            raise os_error(errno.EINVAL)
        return dev, protocol, target.ljust(len(dev.mac), b"\0")

    def _check_length(self, length: int, dev: NetDevice, data: memoryview) -> None:
        """EMSGSIZE above the MTU, a VLAN tag not counted; EINVAL without a whole header."""
        header = 0 if self.cooked else ETH_HLEN
        tagged = not self.cooked and bytes(data[12:14]) == b"\x81\x00"
        if length > dev.mtu + header + (VLAN_HLEN if tagged else 0):
            raise os_error(errno.EMSGSIZE)
        if length < header:
            raise os_error(errno.EINVAL)

    def _send_ring(self, ring: TxRing, dev: NetDevice, protocol: int, target: bytes) -> int:
        sent = 0
        longest = dev.mtu + (0 if self.cooked else ETH_HLEN)
        for request in ring.requests(longest):
            if request is None:
                if self.loss:
                    continue
                if not sent:
                    raise os_error(errno.EMSGSIZE)
                break
            data, done = request
            skb = SkBuff(self.kernel, data, done)
            sent += len(data)
            self._transmit(skb, dev, protocol, target)
        return sent

    def _transmit(self, skb: SkBuff, dev: NetDevice, protocol: int, target: bytes) -> None:
        """To the device's queue (`dev_queue_xmit`); ENOBUFS if that is full."""
        size = truesize(skb)
        self.wmem_queued += size
        skb.dev, skb.sk = dev, self

        def freed() -> None:
            self.wmem_queued -= size
            if not self.dead:
                self.wake(WRITABLE)

        skb.xmit_done = freed
        if self.cooked:
            skb.push(pack_header(target[:6], dev.mac, protocol))
            skb.protocol = protocol
        else:
            skb.protocol = int.from_bytes(skb.buf[12:14], "big")
        if not self.packet.core.queue_xmit(skb):
            raise os_error(errno.ENOBUFS)

    # -- addresses, state ------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        """To a device, 0 for all, and a protocol, 0 for the one it has: ENODEV, ENETDOWN."""
        ifindex, protocol = address[:2]
        dev = self.packet.device(ifindex)
        if ifindex and dev is None:
            raise os_error(errno.ENODEV)
        if self.fanout is not None:
            raise os_error(errno.EINVAL)
        self.ifindex, self.num = ifindex, protocol or self.num
        self._run(bool(self.num))
        if dev is not None and not dev.up:
            self.sk_err = errno.ENETDOWN

    def connect(self, address: Address) -> None:
        raise os_error(errno.EOPNOTSUPP)

    def getsockname(self) -> Address:
        dev = self.packet.device(self.ifindex)
        if dev is None:
            return self.ifindex, self.num, 0, 0, b""
        return self.ifindex, self.num, 0, hatype(dev), dev.mac

    def getpeername(self) -> Address:
        raise os_error(errno.EOPNOTSUPP)

    def shutdown(self, how: int) -> None:
        raise os_error(errno.EOPNOTSUPP)

    def close(self) -> None:
        self.dead = True
        self._run(False)
        options.leave_everything(self)
        if self.rx_ring is not None:
            self.rx_ring.close()
        self.queue.clear()
        self.rmem_alloc = 0
        self.packet.alive -= 1

    def poll(self) -> int:
        mask = EPOLLERR if self.sk_err else 0
        if self.queue or (self.rx_ring is not None and self.rx_ring.readable()):
            mask |= READABLE
        if self.wmem_queued << 1 <= self.sk_sndbuf:
            mask |= WRITABLE
        return mask

    def inq(self) -> int:
        return self.queue[0].length if self.queue else 0

    def outq(self) -> int:
        return self.wmem_queued

    def backlog_rcv(self, skb: SkBuff) -> None:
        raise AssertionError("packet sockets have no backlog")

    def devices(self) -> Iterable[NetDevice]:
        return self.packet.core.devices.values()

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        options.set_option(self, level, name, value)

    def getsockopt(self, level: int, name: int) -> int | bytes:
        return options.get_option(self, level, name)

    def mmap(self, length: int) -> memoryview:
        """The memory of its ring, of which there may be one; EINVAL for another `length`."""
        ring = self.rx_ring or self.tx_ring
        if ring is None or length != len(ring.memory):
            raise os_error(errno.EINVAL)
        return memoryview(ring.memory)
