"""What both network layers, `Ipv4` and `Ipv6`, give a transport.

TCP, UDP and raw sockets are written over `Inet` and know addresses only as bytes, 4 or 16 long:
the length of an address names its layer (`Inets`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.net.route import Route
from pystack.net.source_filter import MCAST_EXCLUDE, Change

ErrorHandler = Callable[[int, int, int, SkBuff], None]
"""`handler(icmp_type, code, info, skb)`: `info` is the MTU of a packet too big; `skb.off` is at the
quoted transport header, of which at least eight bytes are there, `skb.saddr` is ours."""


class IcmpError(NamedTuple):
    """What an ICMP error means to a socket (`icmp_err_convert`, `icmpv6_err_convert`).

    `number` is the errno, EMSGSIZE for a packet too big and 0 for no error; `fatal` ones end even
    what does not ask for errors; `refuses` ones end a connection request.
    """

    number: int
    fatal: bool
    refuses: bool


class Inet(Protocol):
    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""

    @property
    def any_address(self) -> bytes: ...

    @property
    def loopback_address(self) -> bytes: ...

    @property
    def header_length(self) -> int:
        """Bytes of a header without options."""

    @property
    def devices(self) -> Mapping[str, NetDevice]:
        """Those of its network namespace, by name."""

    def route(self, daddr: bytes, saddr: bytes = b"", *, oif: int = 0, mark: int = 0) -> Route:
        """The way to `daddr`; OSError(ENETUNREACH), or EINVAL for a source that is not ours.

        `oif` is the ifindex of the only device allowed, `mark` what routing rules look at.
        """

    def send(
        self,
        skb: SkBuff,
        route: Route,
        saddr: bytes,
        daddr: bytes,
        protocol: int,
        *,
        ttl: int | None = None,
        tos: int = 0,
        dont_fragment: bool = True,
        identification: int | None = None,
    ) -> int:
        """Send a transport packet; takes ownership.  `tos` is IPv6's traffic class.
        `identification` is given by sockets that number their packets; IPv6 needs none.

        0, or the errno of what is known to have stopped it here: ENOBUFS if the device's queue was
        full, so that the sender may wait a little, EPERM if netfilter dropped it, EMSGSIZE.
        """

    def first_identification(self) -> int:
        """Where a socket begins to number its packets when it is connected."""

    def register(self, protocol: int, receive: Callable[[SkBuff], None]) -> None:
        """`receive(skb)` owns the packet; `skb.off` is at the transport header."""

    def register_error(self, protocol: int, handler: ErrorHandler) -> None: ...

    def is_local(self, addr: bytes) -> bool:
        """Is it one of the host's own unicast addresses?"""

    def is_unicast(self, addr: bytes) -> bool:
        """Neither multicast nor broadcast."""

    def device_of(self, addr: bytes) -> NetDevice | None:
        """The device that has the address."""

    def join(self, dev: NetDevice, group: bytes, mode: int = MCAST_EXCLUDE) -> None:
        """Be a member of a multicast group on `dev`, as often as asked, with an empty filter of
        `mode`: from everybody, or from nobody yet."""

    def leave(
        self,
        dev: NetDevice,
        group: bytes,
        mode: int = MCAST_EXCLUDE,
        sources: Collection[bytes] = (),
    ) -> None:
        """Once for every `join`, with what its filter has become."""

    def change_filter(self, dev: NetDevice, group: bytes, change: Change) -> None:
        """Of a member, who wants to hear others than before."""

    def port_unreachable(self, skb: SkBuff) -> None:
        """Tell its sender that nobody wants a received packet; does not free it."""

    def default_ttl(self, route: Route | None = None) -> int: ...

    def confirm_neigh(self, route: Route, daddr: bytes) -> None:
        """A transport made progress on the way to `daddr`: its next hop is reachable."""

    def update_pmtu(self, daddr: bytes, mtu: int) -> None:
        """A transport has reason to believe that `mtu` bytes are all that gets to `daddr`."""

    def pseudo_sum(self, saddr: bytes, daddr: bytes, protocol: int, length: int) -> int:
        """Start value of a transport's checksum, for `ones_sum` to fold."""

    def icmp_error(self, icmp_type: int, code: int) -> IcmpError: ...


Inets = Mapping[int, Inet]
"""The layers by the length of their addresses: 4 and 16."""
