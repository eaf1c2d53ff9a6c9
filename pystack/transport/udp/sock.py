"""The UDP socket and the calls of its user (`struct udp_sock`)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, SOCK_DGRAM, SOL_SOCKET
from typing import TYPE_CHECKING

from pystack.core.drop import Drop
from pystack.transport import ip6opt, ipopt, sockopt
from pystack.transport.control import NOTHING
from pystack.transport.datagram import DatagramSock
from pystack.transport.flow import bind_address, find
from pystack.transport.inetaddr import endpoint, to_user
from pystack.transport.sock import Address, Cmsg, os_error
from pystack.transport.udp import output

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.transport.udp.output import Cork
    from pystack.transport.udp.protocol import Udp

UDP_CORK = 1
UDP_NO_CHECK6_TX = 101
UDP_NO_CHECK6_RX = 102


class UdpSock(DatagramSock):
    __slots__ = ("corked", "no_check6_rx", "no_check6_tx", "pending", "udp")
    rcvbuf_full = Drop.UDP_RCVBUF_FULL

    def __init__(self, udp: Udp, family: int = AF_INET) -> None:
        super().__init__(udp.kernel, udp.inets, family, SOCK_DGRAM, IPPROTO_UDP)
        self.udp = udp
        self.corked = False  # UDP_CORK
        self.pending: Cork | None = None  # what MSG_MORE and UDP_CORK hold back
        self.no_check6_tx = self.no_check6_rx = False
        udp.sockets[self] = None

    # -- addresses -------------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        """EADDRINUSE, EADDRNOTAVAIL, EACCES; EINVAL if bound."""
        with self.lock:
            target = bind_address(self, address)
            self.inet, self.rcv_saddr = target.inet, target.ip
            try:
                self.udp.table.get_port(self, target.port)
            except OSError:
                self.unbind_address()
                raise
            self.laddr = target.ip if target.inet.is_unicast(target.ip) else target.inet.any_address
            self.bound_address = any(target.ip)
            self.bound_port = target.port != 0

    def connect(self, address: Address | None) -> None:
        """Fix the peer, or with None (AF_UNSPEC) be free of one (`__ip4_datagram_connect`)."""
        with self.lock:
            if address is None:
                self._disconnect()
                return
            self.autobind()
            target = endpoint(self.inets, self.family, address, self.v6only)
            flow = find(self, target, NOTHING)
            if len(self.rcv_saddr) != len(flow.saddr) or not any(self.rcv_saddr):
                self.udp.table.rehash(self, flow.saddr)
            if len(self.laddr) != len(flow.saddr) or not any(self.laddr):
                self.laddr = flow.saddr
            self.inet = target.inet
            self.raddr, self.rport = flow.daddr, target.port
            if self.reuseport is not None:
                self.reuseport.connected = True

    def autobind(self) -> None:
        """An ephemeral port, if it has none; EAGAIN when all are taken (`inet_autobind`)."""
        if not self.lport:
            try:
                self.udp.table.get_port(self, 0)
            except OSError:
                raise os_error(errno.EAGAIN) from None

    def _disconnect(self) -> None:
        """`__udp_disconnect`: what bind has fixed stays."""
        table = self.udp.table
        if not self.bound_address:
            table.rehash(self, self.inets[16 if self.family == AF_INET6 else 4].any_address)
            self.unbind_address()
        self.raddr, self.rport = self.inet.any_address, 0
        if not self.bound_port:
            table.put_port(self)

    def getsockname(self) -> Address:
        return to_user(self.family, self.laddr, self.lport)

    def getpeername(self) -> Address:
        """ENOTCONN unless connected."""
        if not self.has_peer:
            raise os_error(errno.ENOTCONN)
        return to_user(self.family, self.raddr, self.rport)

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

    def close(self) -> None:
        with self.lock:
            output.push(self)
            self.udp.table.put_port(self)
            self.release()
            del self.udp.sockets[self]

    # -- options ---------------------------------------------------------------------------

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        with self.lock:
            if level == SOL_SOCKET:
                sockopt.set_option(self, name, value)
            elif level == IPPROTO_IP:
                ipopt.set_option(self, name, value)
            elif level == IPPROTO_IPV6:
                ip6opt.set_option(self, name, value)
            elif level == IPPROTO_UDP:
                self._set_udp_option(name, value)
            else:
                raise os_error(errno.ENOPROTOOPT)

    def _set_udp_option(self, name: int, value: int | bytes) -> None:
        number = sockopt.int_value(value)
        if name == UDP_CORK:
            self.corked = bool(number)
            if not number:
                output.push(self)
        elif name == UDP_NO_CHECK6_TX:
            self.no_check6_tx = bool(number)
        elif name == UDP_NO_CHECK6_RX:
            self.no_check6_rx = bool(number)
        else:
            raise os_error(errno.ENOPROTOOPT)

    def getsockopt(self, level: int, name: int) -> int | bytes:
        if level == SOL_SOCKET:
            return sockopt.get_option(self, name)
        if level == IPPROTO_IP:
            return ipopt.get_option(self, name)
        if level == IPPROTO_IPV6:
            return ip6opt.get_option(self, name)
        values = {
            UDP_CORK: self.corked,
            UDP_NO_CHECK6_TX: self.no_check6_tx,
            UDP_NO_CHECK6_RX: self.no_check6_rx,
        }
        if level != IPPROTO_UDP or name not in values:
            raise os_error(errno.ENOPROTOOPT)
        return int(values[name])
