"""The UDP socket (`struct udp_sock`)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from socket import AF_INET, IPPROTO_UDP, SOCK_DGRAM, SOL_SOCKET
from typing import TYPE_CHECKING

from pystack.core import bpf
from pystack.core.drop import Drop
from pystack.core.headers.udp import UDP_HLEN
from pystack.transport import sockopt
from pystack.transport.control import UDP_SEGMENT
from pystack.transport.inetaddr import to_user
from pystack.transport.inetdgram import InetDatagramSock
from pystack.transport.sock import Address, Cmsg, os_error
from pystack.transport.udp import output

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.transport.flow import Flow
    from pystack.transport.udp.output import Cork
    from pystack.transport.udp.protocol import Udp

UDP_CORK = 1
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
UDP_GRO = 104
UDP_NO_CHECK6_TX = 101
UDP_NO_CHECK6_RX = 102
_OPTIONS = {
    UDP_CORK: "corked",
    UDP_NO_CHECK6_TX: "no_check6_tx",
    UDP_NO_CHECK6_RX: "no_check6_rx",
    UDP_SEGMENT: "gso_size",
    UDP_GRO: "gro",
}


class UdpSock(InetDatagramSock):
    __slots__ = (
        "corked",
        "filter",
        "gro",
        "gso_size",
        "no_check6_rx",
        "no_check6_tx",
        "pending",
        "udp",
    )
    rcvbuf_full = Drop.UDP_RCVBUF_FULL

    def __init__(self, udp: Udp, family: int = AF_INET) -> None:
        super().__init__(udp.kernel, udp.inets, family, SOCK_DGRAM, IPPROTO_UDP)
        self.udp = udp
        self.corked = False  # UDP_CORK
        self.pending: Cork | None = None  # what MSG_MORE and UDP_CORK hold back
        self.no_check6_tx = self.no_check6_rx = False
        self.filter: bpf.Filter | None = None  # SO_ATTACH_FILTER
        self.gso_size = 0  # UDP_SEGMENT; 0: off
        self.gro = False  # UDP_GRO: what GRO has merged need not be cut again; nothing merges
        udp.sockets[self] = None

    # -- ports -----------------------------------------------------------------------------

    def check_port(self, port: int) -> None:
        self.udp.table.check_port(self, port)

    def get_port(self, port: int) -> None:
        self.udp.table.get_port(self, port)

    def put_port(self) -> None:
        self.udp.table.put_port(self)

    def rehash(self, address: bytes) -> None:
        self.udp.table.rehash(self, address)

    def autobind(self) -> None:
        """An ephemeral port, if it has none; EAGAIN when all are taken (`inet_autobind`)."""
        self.udp.table.autobind(self)

    def redirect(self, flow: Flow) -> None:
        """Of IPv4 alone: there the flow a socket remembers is the cork's."""
        cork = self.pending
        if cork is not None and cork.flow.inet is flow.inet and flow.inet.family == AF_INET:
            cork.flow = flow._replace(ttl=cork.flow.ttl, tos=cork.flow.tos)

    # -- data ------------------------------------------------------------------------------

    def sendmsg(
        self,
        data: memoryview,
        flags: int,
        address: Address | None = None,
        control: Sequence[Cmsg] = (),
    ) -> int:
        return output.sendmsg(self, data, flags, address, control)

    def source(self, skb: SkBuff) -> Address:
        return to_user(self.family, skb.saddr, skb.cb.sport, skb.dev.ifindex)

    def count_received(self, skb: SkBuff) -> None:
        self.kernel.mib[("Udp" if len(skb.daddr) == 4 else "Udp6") + "InDatagrams"] += 1

    def accepts(self, skb: SkBuff) -> bool:
        """Run the filter over a datagram that begins at its UDP header, and cut off what it does
        not keep, beyond the header; False for nothing (`sk_filter_trim_cap`)."""
        if self.filter is None:
            return True
        start = skb.off - skb.network_header
        data = memoryview(bytes(skb.buf[skb.network_header : skb.off]) + b"".join(skb.views()))
        ancillary = {
            bpf.AD_IFINDEX: skb.dev.ifindex,
            bpf.AD_MARK: skb.mark,
            bpf.AD_QUEUE: skb.queue,
            bpf.AD_RXHASH: skb.hash,
            bpf.AD_CPU: self.kernel.cpu.index,
        }
        keep = self.filter.run(data, 0, ancillary, start)
        if keep:
            skb.trim(max(min(keep, len(skb)), UDP_HLEN))
        return bool(keep)

    def close(self) -> None:
        with self.lock:
            self.pending = None  # never sent (`udp_flush_pending_frames`)
            self.udp.table.put_port(self)
            self.release()
            del self.udp.sockets[self]

    # -- options ---------------------------------------------------------------------------

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> bool:
        if level == SOL_SOCKET and name in (SO_ATTACH_FILTER, SO_DETACH_FILTER):
            self._set_filter(name, value)
            return True
        if level != IPPROTO_UDP:
            return False
        if name not in _OPTIONS:
            raise os_error(errno.ENOPROTOOPT)
        number = sockopt.int_value(value)
        if name == UDP_SEGMENT:
            if not 0 <= number <= 0xFFFF:
                raise os_error(errno.EINVAL)
            self.gso_size = number
        else:
            setattr(self, _OPTIONS[name], bool(number))
        if not self.corked:
            output.push(self)
        return True

    def _set_filter(self, name: int, value: int | bytes) -> None:
        """ENOENT to detach what is not there."""
        if name == SO_ATTACH_FILTER:
            if isinstance(value, int):
                raise os_error(errno.EINVAL)
            self.filter = bpf.Filter(value)
        elif self.filter is None:
            raise os_error(errno.ENOENT)
        else:
            self.filter = None

    def get_protocol_option(self, level: int, name: int) -> int | None:
        if level != IPPROTO_UDP:
            return None
        if name not in _OPTIONS:
            raise os_error(errno.ENOPROTOOPT)
        return int(getattr(self, _OPTIONS[name]))
