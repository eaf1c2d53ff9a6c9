"""PACKET_FANOUT: several sockets share what one would get (`net/packet/af_packet.c`)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pystack.transport.packet.constants import (
    FANOUT_CPU,
    FANOUT_FLAG_ROLLOVER,
    FANOUT_HASH,
    FANOUT_LB,
    FANOUT_QM,
    FANOUT_RND,
    FANOUT_ROLLOVER,
)
from pystack.transport.packet.frame import Frame
from pystack.transport.sock import os_error

if TYPE_CHECKING:
    from pystack.transport.packet.sock import PacketSock

MAX_MEMBERS = 256
_KINDS = {FANOUT_HASH, FANOUT_LB, FANOUT_CPU, FANOUT_ROLLOVER, FANOUT_RND, FANOUT_QM}


class Fanout:
    """A group: its members are bound alike, and each frame goes to one of them."""

    def __init__(self, kind: int, flags: int, protocol: int, ifindex: int) -> None:
        if kind not in _KINDS or flags & ~FANOUT_FLAG_ROLLOVER:
            raise os_error(errno.EINVAL)
        self.kind = kind
        self.flags = flags
        self.protocol = protocol
        self.ifindex = ifindex
        self.members: list[PacketSock] = []
        self._turn = 0
        self._rolled = 0

    def add(self, sk: PacketSock, kind: int, flags: int) -> None:
        """EINVAL unless it is of the same kind and bound alike, ENOSPC when there are 256."""
        same = (kind, flags, sk.num, sk.ifindex)
        if same != (self.kind, self.flags, self.protocol, self.ifindex):
            raise os_error(errno.EINVAL)
        if len(self.members) >= MAX_MEMBERS:
            raise os_error(errno.ENOSPC)
        self.members.append(sk)

    def choose(self, frame: Frame) -> PacketSock:
        count = len(self.members)
        kernel = frame.skb.kernel
        if self.kind == FANOUT_ROLLOVER:
            return self._with_room(self._rolled)
        if self.kind == FANOUT_HASH:
            index = frame.hash * count >> 32
        elif self.kind == FANOUT_LB:
            self._turn += 1
            index = self._turn % count
        elif self.kind == FANOUT_CPU:
            index = kernel.cpu.index % count
        elif self.kind == FANOUT_RND:
            index = kernel.rng.randrange(count)
        else:
            index = frame.skb.queue % count
        if self.flags & FANOUT_FLAG_ROLLOVER:
            return self._with_room(index)
        return self.members[index]

    def _with_room(self, first: int) -> PacketSock:
        """The first member from `first` on with room; that itself when none has."""
        count = len(self.members)
        for step in range(count):
            index = (first + step) % count
            if self.members[index].has_room():
                self._rolled = index
                return self.members[index]
        return self.members[first % count]
