"""The calls that UDP, raw and ping sockets share: addresses, options, one packet to IP.

`inet_dgram_connect`, `__ip4_datagram_connect`, `__inet_bind` and the ends of their `sendmsg`.  A
protocol with ports overrides `get_port` and its like.
"""

from __future__ import annotations

import errno
import socket as so
from typing import TYPE_CHECKING

from pystack.core.skb import SkBuff
from pystack.transport import errqueue, ip6opt, ipopt, sockopt, txstamp
from pystack.transport.control import NOTHING
from pystack.transport.datagram import DatagramSock
from pystack.transport.flow import bind_address, find
from pystack.transport.inetaddr import Endpoint, to_user
from pystack.transport.sock import Address, os_error

if TYPE_CHECKING:
    from pystack.transport.flow import Flow


class InetDatagramSock(DatagramSock):
    __slots__ = ()

    # -- ports, for those who have them ----------------------------------------------------

    def check_port(self, port: int) -> None:
        """May it be bound to `port`?  OSError if not."""

    def get_port(self, port: int) -> None:
        """Take a local port, any for 0."""

    def put_port(self) -> None:
        """Give it back."""

    def rehash(self, address: bytes) -> None:
        """Be bound to another address."""
        self.rcv_saddr = address

    def redirect(self, flow: Flow) -> None:
        """Connected: what a cork holds back goes there, too."""

    def autobind(self) -> None:
        """Before anything is sent: have a port."""

    # -- addresses -------------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        """EADDRINUSE, EADDRNOTAVAIL, EACCES; EINVAL if bound."""
        with self.lock:
            target = bind_address(self, address)
            self.check_port(target.port)
            if self.has_peer:
                raise os_error(errno.EINVAL)
            self.inet = target.inet
            self.rehash(target.ip)
            try:
                self.get_port(target.port)
            except OSError:
                self.unbind_address()
                raise
            unicast = target.inet.is_unicast(target.ip)
            self.laddr = target.ip if unicast else target.inet.any_address
            self.bound_to(target.ip, target.port)

    def connect(self, address: Address | None) -> None:
        """Fix the peer, or with None (AF_UNSPEC) be free of one."""
        with self.lock:
            if address is None:
                self._disconnect()
                return
            self.autobind()
            target = self.destination(address)
            flow = find(self, target, NOTHING)
            if len(self.rcv_saddr) != len(flow.saddr) or not any(self.rcv_saddr):
                self.rehash(flow.saddr)
            if len(self.laddr) != len(flow.saddr) or not any(self.laddr):
                self.laddr = flow.saddr
            self.inet = target.inet
            self.raddr, self.rport = flow.daddr, target.port
            self.inet_id = self.inet.first_identification()
            self.redirect(flow)
            if self.reuseport is not None:
                self.reuseport.connected = True

    def _disconnect(self) -> None:
        """What bind has fixed stays (`__udp_disconnect`)."""
        if not self.bound_address:
            self.rehash(self.inets[16 if self.family == so.AF_INET6 else 4].any_address)
            self.unbind_address()
        self.raddr, self.rport = self.inet.any_address, 0
        if not self.bound_port:
            self.put_port()

    def getsockname(self) -> Address:
        return to_user(self.family, self.laddr, self.lport, self.sk_bound_dev_if)

    def getpeername(self) -> Address:
        """ENOTCONN; also for a peer without a port, as Linux has it."""
        if not self.rport:
            raise os_error(errno.ENOTCONN)
        return to_user(self.family, self.raddr, self.rport, self.sk_bound_dev_if)

    # -- sending ---------------------------------------------------------------------------

    def target(self, address: Address | None) -> Endpoint:
        """Where a packet shall go; EDESTADDRREQ without an address or peer."""
        if address is not None:
            return self.destination(address)
        if not self.has_peer:
            raise os_error(errno.EDESTADDRREQ)
        return Endpoint(self.inet, self.raddr, self.rport, scope_id=self.sk_bound_dev_if)

    def packet(self, data: bytes) -> SkBuff:
        """A packet of the socket's, counted in its send buffer until it has left."""
        self.kernel.cpu.charge_copy(len(data))
        skb = SkBuff(self.kernel, memoryview(data))
        skb.xmit_done = self.charge(skb)
        skb.sk = self
        skb.mark, skb.priority = self.sk_mark, self.sk_priority
        return skb

    def transmit(self, flow: Flow, skb: SkBuff, protocol: int) -> bool:
        """Off to IP; `sent` of what becomes of it."""
        if flow.tsflags:
            txstamp.ask(self, skb, flow.tsflags)
        error = flow.inet.send(
            skb,
            flow.route,
            flow.saddr,
            flow.daddr,
            protocol,
            ttl=flow.ttl,
            tos=flow.tos,
            dont_fragment=flow.dont_fragment(len(skb)),
            identification=self.number_packets() if self.has_peer else None,
        )
        return self.sent(error)

    def sent(self, error: int) -> bool:
        """False if a queue was full, which is told only to who asks for errors: ENOBUFS.  Of the
        rest, EPERM of a firewall, the sender hears at once."""
        if error and (error != errno.ENOBUFS or errqueue.wants(self)):
            raise os_error(error)
        return not error

    # -- options ---------------------------------------------------------------------------

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        with self.lock:
            if self.set_protocol_option(level, name, value):
                return
            if level == so.SOL_SOCKET:
                sockopt.set_option(self, name, value)
            elif level == so.IPPROTO_IP:
                ipopt.set_option(self, name, value)
            elif level == so.IPPROTO_IPV6:
                ip6opt.set_option(self, name, value)
            else:
                raise os_error(errno.ENOPROTOOPT)

    def getsockopt(self, level: int, name: int) -> int | bytes:
        value = self.get_protocol_option(level, name)
        if value is not None:
            return value
        if level == so.SOL_SOCKET:
            return sockopt.get_option(self, name)
        if level == so.IPPROTO_IP:
            return ipopt.get_option(self, name)
        return ip6opt.get_option(self, level, name)

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> bool:
        """Set one of the protocol's own; False if it is none."""
        return False

    def get_protocol_option(self, level: int, name: int) -> int | bytes | None:
        """One of the protocol's own; None if it is none."""
        return None
