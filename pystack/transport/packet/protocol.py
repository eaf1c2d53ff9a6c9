"""The packet sockets of a network namespace, on one tap of the device layer.

The tap is there while a socket is: without one a packet pays nothing.
"""

from __future__ import annotations

from pystack.core.skb import SkBuff
from pystack.dev.core import NetCore
from pystack.dev.netdev import NetDevice
from pystack.transport.packet.constants import ETH_P_ALL
from pystack.transport.packet.fanout import Fanout
from pystack.transport.packet.frame import Frame
from pystack.transport.packet.sock import PacketSock


class Packet:
    def __init__(self, core: NetCore) -> None:
        self.core = core
        self.kernel = core.kernel
        self.groups: dict[int, Fanout] = {}
        self.alive = 0
        self._running: list[PacketSock] = []

    def socket(self, type_: int, protocol: int = 0) -> PacketSock:
        """`protocol` as the call has it, in network order."""
        return PacketSock(self, type_, protocol)

    @property
    def hooked(self) -> tuple[PacketSock, ...]:
        """The sockets that get frames."""
        return tuple(self._running)

    def device(self, ifindex: int) -> NetDevice | None:
        return next((d for d in self.core.devices.values() if d.ifindex == ifindex), None)

    def hook(self, sk: PacketSock) -> None:
        """`sk` gets frames from now on (`dev_add_pack`)."""
        self._running.append(sk)
        if len(self._running) == 1:
            self.core.taps.append(self._tap)

    def unhook(self, sk: PacketSock) -> None:
        self._running.remove(sk)
        if not self._running:
            self.core.taps.remove(self._tap)

    def _tap(self, dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        frame = Frame(dev, skb, outgoing)
        served: set[Fanout] = set()
        for sk in tuple(self._running):
            if not self._wants(sk, frame):
                continue
            group = sk.fanout
            if group is None:
                sk.receive(frame)
            elif group not in served:
                served.add(group)
                group.choose(frame).receive(frame)

    def _wants(self, sk: PacketSock, frame: Frame) -> bool:
        """What is sent is seen by sockets for all protocols only, and not by its sender."""
        if sk.ifindex not in (0, frame.dev.ifindex):
            return False
        if frame.outgoing:
            return sk.num == ETH_P_ALL and frame.skb.sk is not sk and not sk.ignore_outgoing
        return sk.num in (ETH_P_ALL, frame.ethertype)
