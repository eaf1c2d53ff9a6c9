"""Options of packet sockets at SOL_PACKET, and filters (`packet_setsockopt`)."""

from __future__ import annotations

import errno
import socket as so
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.core.bpf import Filter
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.transport import sockopt
from pystack.transport.packet.blocks import HDRLEN3, BlockRing
from pystack.transport.packet.constants import (
    PACKET_ADD_MEMBERSHIP,
    PACKET_AUXDATA,
    PACKET_DROP_MEMBERSHIP,
    PACKET_FANOUT,
    PACKET_HDRLEN,
    PACKET_IGNORE_OUTGOING,
    PACKET_LOSS,
    PACKET_MR_ALLMULTI,
    PACKET_MR_MULTICAST,
    PACKET_MR_PROMISC,
    PACKET_MR_UNICAST,
    PACKET_RESERVE,
    PACKET_RX_RING,
    PACKET_STATISTICS,
    PACKET_TX_RING,
    PACKET_VERSION,
    SOL_PACKET,
    TP_STATUS_USER,
    TPACKET_V1,
    TPACKET_V2,
    TPACKET_V3,
)
from pystack.transport.packet.fanout import Fanout
from pystack.transport.packet.frame import Frame
from pystack.transport.packet.ring import HDRLEN2, FrameRing, Request
from pystack.transport.packet.txring import TxRing
from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.transport.packet.sock import PacketSock

SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER = 26, 27, 44
PACKET_RX_PAGES = 0x10000
"""An option of this kernel alone: the next RX ring's frames stay in the NIC's pages."""
_AUX = struct.Struct("=IIIHHHH")
_MREQ = struct.Struct("=iHH8s")
_INT_MAX = 0x7FFFFFFF
_MEMBERSHIPS = {PACKET_MR_MULTICAST, PACKET_MR_PROMISC, PACKET_MR_ALLMULTI, PACKET_MR_UNICAST}


def set_option(sk: PacketSock, level: int, name: int, value: int | bytes) -> None:
    if level == so.SOL_SOCKET:
        _set_socket_option(sk, name, value)
        return
    if level != SOL_PACKET:
        raise os_error(errno.ENOPROTOOPT)
    setter = _SETTERS.get(name)
    if setter is None:
        raise os_error(errno.ENOPROTOOPT)
    setter(sk, value)


def get_option(sk: PacketSock, level: int, name: int) -> int | bytes:
    if level == so.SOL_SOCKET:
        return sockopt.get_option(sk, name)
    getter = _GETTERS.get(name) if level == SOL_PACKET else None
    if getter is None:
        raise os_error(errno.ENOPROTOOPT)
    return getter(sk)


def _set_socket_option(sk: PacketSock, name: int, value: int | bytes) -> None:
    """SO_ATTACH_FILTER takes the instructions; ENOENT to detach what is not there."""
    if name == SO_ATTACH_FILTER:
        if isinstance(value, int):
            raise os_error(errno.EINVAL)
        sk.filter = Filter(value)
    elif name == SO_DETACH_FILTER:
        if sk.filter is None:
            raise os_error(errno.ENOENT)
        sk.filter = None
    else:
        sockopt.set_option(sk, name, value)


def _number(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    if len(value) < 4:
        raise os_error(errno.EINVAL)
    return int.from_bytes(value[:4], "little", signed=True)


def auxdata(frame: Frame, length: int, keep: int, cooked: bool) -> bytes:
    """`struct tpacket_auxdata`"""
    net = 0 if cooked else ETH_HLEN
    return _AUX.pack(TP_STATUS_USER | frame.status, length, keep, 0, net, *frame.vlan)


# -- membership ----------------------------------------------------------------------------


def _join(sk: PacketSock, value: int | bytes) -> None:
    key = _membership(value)
    dev = sk.packet.device(key[0])
    if dev is None:
        raise os_error(errno.ENODEV)
    if key[1] not in _MEMBERSHIPS:
        raise os_error(errno.EINVAL)
    sk.memberships[key] = sk.memberships.get(key, 0) + 1
    if sk.memberships[key] == 1:
        _apply(sk, key, +1)


def _leave(sk: PacketSock, value: int | bytes) -> None:
    """To leave what was not joined is no error (`packet_mc_drop`)."""
    key = _membership(value)
    if key not in sk.memberships:
        return
    sk.memberships[key] -= 1
    if not sk.memberships[key]:
        del sk.memberships[key]
        _apply(sk, key, -1)


def leave_everything(sk: PacketSock) -> None:
    """The socket is being closed."""
    for key in sk.memberships:
        _apply(sk, key, -1)
    sk.memberships.clear()
    if sk.fanout is not None:
        sk.fanout.members.remove(sk)
        if not sk.fanout.members:
            del sk.packet.groups[sk.fanout_id]
        sk.fanout = None


def _membership(value: int | bytes) -> tuple[int, int, bytes]:
    """`struct packet_mreq`: device, kind, address."""
    if isinstance(value, int) or len(value) < _MREQ.size:
        raise os_error(errno.EINVAL)
    ifindex, kind, length, address = _MREQ.unpack_from(value)
    return ifindex, kind, address[:length]


def _apply(sk: PacketSock, key: tuple[int, int, bytes], change: int) -> None:
    """Another unicast address, and all multicast, are had by promiscuity: there is one switch."""
    dev = sk.packet.device(key[0])
    if dev is None:
        return
    if key[1] == PACKET_MR_MULTICAST:
        (dev.mc_add if change > 0 else dev.mc_del)(key[2])
    else:
        dev.set_promiscuity(change)


# -- rings and groups ----------------------------------------------------------------------


def _set_version(sk: PacketSock, value: int | bytes) -> None:
    version = _number(value)
    if version not in (TPACKET_V1, TPACKET_V2, TPACKET_V3):
        raise os_error(errno.EINVAL)
    if sk.rx_ring is not None or sk.tx_ring is not None:
        raise os_error(errno.EBUSY)
    sk.version = version


def _set_reserve(sk: PacketSock, value: int | bytes) -> None:
    number = _number(value)
    if not 0 <= number <= _INT_MAX:
        raise os_error(errno.EINVAL)
    if sk.rx_ring is not None or sk.tx_ring is not None:
        raise os_error(errno.EBUSY)
    sk.reserve = number


def _set_rx_ring(sk: PacketSock, value: int | bytes) -> None:
    """Blocks of 0 take the ring down; EBUSY for a second one."""
    request = _request(sk, value)
    if request.block_nr == 0:
        if sk.rx_ring is not None:
            sk.rx_ring.close()
        sk.rx_ring = None
        return
    if sk.rx_ring is not None:
        raise os_error(errno.EBUSY)
    if sk.version == TPACKET_V3:
        sk.rx_ring = BlockRing(sk.kernel, request, sk.reserve, sk.wake)
    else:
        sk.rx_ring = FrameRing(request, sk.reserve, sk.rx_pages)


def _set_tx_ring(sk: PacketSock, value: int | bytes) -> None:
    request = _request(sk, value)
    if sk.version == TPACKET_V3:
        raise os_error(errno.EINVAL)
    if request.block_nr and sk.tx_ring is not None:
        raise os_error(errno.EBUSY)
    sk.tx_ring = TxRing(request) if request.block_nr else None


def _request(sk: PacketSock, value: int | bytes) -> Request:
    """Rings are of version 2 or 3."""
    if isinstance(value, int) or sk.version == TPACKET_V1:
        raise os_error(errno.EINVAL)
    return Request.parse(value, sk.version == TPACKET_V3)


def _set_fanout(sk: PacketSock, value: int | bytes) -> None:
    """The group's id in the low half, its kind and flags in the high one."""
    number = _number(value) & 0xFFFFFFFF
    group_id, kind, flags = number & 0xFFFF, number >> 16 & 0xFF, number >> 16 & 0xFF00
    if sk.fanout is not None:
        raise os_error(errno.EALREADY)
    if not sk.running:
        raise os_error(errno.EINVAL)
    group = sk.packet.groups.get(group_id)
    if group is None:
        group = Fanout(kind, flags, sk.num, sk.ifindex)
    group.add(sk, kind, flags)
    sk.packet.groups[group_id] = group
    sk.fanout, sk.fanout_id = group, group_id


def _fanout(sk: PacketSock) -> int:
    group = sk.fanout
    return 0 if group is None else sk.fanout_id | (group.kind | group.flags) << 16


def _statistics(sk: PacketSock) -> bytes:
    """Packets, those dropped included, and drops, since the last call."""
    packets, drops = sk.tp_packets + sk.tp_drops, sk.tp_drops
    sk.tp_packets = sk.tp_drops = 0
    if not isinstance(sk.rx_ring, BlockRing):
        return struct.pack("=II", packets, drops)
    freezes, sk.rx_ring.freezes = sk.rx_ring.freezes, 0
    return struct.pack("=III", packets, drops, freezes)


def _header_length(sk: PacketSock) -> int:
    return {TPACKET_V1: 32, TPACKET_V2: HDRLEN2 - 20, TPACKET_V3: HDRLEN3 - 20}[sk.version]


def _flag(name: str) -> Callable[[PacketSock, int | bytes], None]:
    return lambda sk, value: setattr(sk, name, bool(_number(value)))


_SETTERS: dict[int, Callable[[PacketSock, int | bytes], None]] = {
    PACKET_ADD_MEMBERSHIP: _join,
    PACKET_DROP_MEMBERSHIP: _leave,
    PACKET_AUXDATA: _flag("auxdata"),
    PACKET_IGNORE_OUTGOING: _flag("ignore_outgoing"),
    PACKET_LOSS: _flag("loss"),
    PACKET_VERSION: _set_version,
    PACKET_RESERVE: _set_reserve,
    PACKET_RX_RING: _set_rx_ring,
    PACKET_TX_RING: _set_tx_ring,
    PACKET_FANOUT: _set_fanout,
    PACKET_RX_PAGES: _flag("rx_pages"),
}

_GETTERS: dict[int, Callable[[PacketSock], int | bytes]] = {
    PACKET_STATISTICS: _statistics,
    PACKET_AUXDATA: lambda sk: int(sk.auxdata),
    PACKET_IGNORE_OUTGOING: lambda sk: int(sk.ignore_outgoing),
    PACKET_LOSS: lambda sk: int(sk.loss),
    PACKET_VERSION: lambda sk: sk.version,
    PACKET_RESERVE: lambda sk: sk.reserve,
    PACKET_HDRLEN: _header_length,
    PACKET_FANOUT: _fanout,
}
