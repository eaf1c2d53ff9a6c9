"""802.1Q VLAN devices (`net/8021q/`): `eth0.5` sends and receives the frames of `eth0` tagged 5.

Receive: `NetCore.deliver` of the real device -> tag off -> `receive_skb` of the VLAN device.
Send: `queue_xmit` of the VLAN device -> tag in -> `queue_xmit` of the real one.
"""

from __future__ import annotations

from pystack.core.drop import Drop
from pystack.core.headers.ethernet import ETH_P_8021Q, VLAN_HLEN
from pystack.core.skb import SkBuff
from pystack.dev.core import NetdevEvent
from pystack.dev.netdev import NetDevice
from pystack.dev.virtual import VirtualOps

VLAN_N_VID = 4096
VID_MASK = 0xFFF
PRIO_SHIFT = 13
_ADDRESSES = 12  # bytes of a frame before its tag
_OFFLOADS = ("tx", "sg", "tso", "tso6")
_TAG = ETH_P_8021Q.to_bytes(2, "big")


class VlanGroup:
    """The VLAN devices of one real device, by VLAN id."""

    def __init__(self, real: NetDevice) -> None:
        self.real = real
        self.devices: dict[int, NetDevice] = {}
        real.rx_handlers.insert(0, self.receive)  # before a bridge, as Linux has it
        real.core.notifiers.append(self._notified)

    def _notified(self, event: NetdevEvent, dev: NetDevice) -> None:
        if event is NetdevEvent.FEAT_CHANGE and dev is self.real:
            self.take_features()

    def take_features(self) -> None:
        """What the real device does for untagged frames it does for tagged ones, if it puts the
        tag in (`vlan_transfer_features`)."""
        features = self.real.features
        for dev in self.devices.values():
            for name in _OFFLOADS:
                dev.features[name] = features[name] and features["txvlan"]

    def receive(self, skb: SkBuff) -> bool:
        """Take a frame whose tag names one of ours; a tag with VLAN 0 has only a priority."""
        tci = skb.vlan_tci
        if tci < 0:  # the device has left it in the frame
            at = skb.off + _ADDRESSES
            if bytes(skb.buf[at : at + 2]) != _TAG or skb.end - at < VLAN_HLEN + 2:
                return False
            tci = int.from_bytes(skb.buf[at + 2 : at + 4], "big")
        vid = tci & VID_MASK
        dev = self.devices.get(vid)
        if dev is None and vid:
            return False
        if skb.vlan_tci < 0:
            _remove_tag(skb)
        skb.vlan_tci = -1
        skb.priority = tci >> PRIO_SHIFT
        if dev is None:
            self.real.core.deliver(skb)
        elif not dev.up:
            skb.kernel.drop(skb, Drop.DEV_DOWN)
        else:
            skb.dev = dev
            dev.core.receive_skb(skb)
        return True


class Vlan(VirtualOps):
    """`dev` is the VLAN device; its MAC address and MTU are at first those of the real one."""

    def __init__(self, group: VlanGroup, vid: int, name: str) -> None:
        real = group.real
        self.tag = vid
        self.real = real
        self.dev = NetDevice(name, real.mac, self, mtu=real.mtu)
        group.devices[vid] = self.dev
        real.core.register(self.dev)
        group.take_features()

    def open(self) -> None:
        self._wanted: set[bytes] = set()
        self._promiscuous = False
        self.set_rx_mode()

    def stop(self) -> None:
        for group in self._wanted:
            self.real.mc_del(group)
        if self._promiscuous:
            self.real.set_promiscuity(-1)

    def set_rx_mode(self) -> None:
        """What this device wants to receive, the real one must (`vlan_dev_set_rx_mode`)."""
        wanted = set(self.dev.mc_list)
        for group in sorted(wanted - self._wanted):
            self.real.mc_add(group)
        for group in sorted(self._wanted - wanted):
            self.real.mc_del(group)
        self._wanted = wanted
        promiscuous = bool(self.dev.promiscuity)
        if promiscuous != self._promiscuous:
            self.real.set_promiscuity(1 if promiscuous else -1)
        self._promiscuous = promiscuous

    def start_xmit(self, skb: SkBuff, queue: int, more: bool) -> bool:
        """The priority of the packet goes into the tag, where it has three bits."""
        skb.vlan_tci = min(skb.priority, 7) << PRIO_SHIFT | self.tag
        skb.dev = self.real
        self.real.core.queue_xmit(skb)
        return True


def add_vlan(real: NetDevice, vid: int, name: str = "") -> NetDevice:
    """`ip link add link eth0 name eth0.5 type vlan id 5`; it is down.

    ValueError for an id outside 1..4094 or one the device has already.
    """
    if not 0 < vid < VLAN_N_VID - 1:
        raise ValueError(f"VLAN id {vid} is not from 1 to 4094")
    group = next(
        (g for h in real.rx_handlers if isinstance(g := getattr(h, "__self__", None), VlanGroup)),
        None,
    )
    if group is None:
        group = VlanGroup(real)
    if vid in group.devices:
        raise ValueError(f"device {real.name} has VLAN {vid} already")
    return Vlan(group, vid, name or f"{real.name}.{vid}").dev


def _remove_tag(skb: SkBuff) -> None:
    """Move the addresses over the tag (`skb_vlan_untag`), in the page where that may be written."""
    addresses = bytes(skb.buf[skb.off : skb.off + _ADDRESSES])
    if skb.buf.readonly:
        skb.buf = memoryview(bytearray(skb.buf))
    skb.off += VLAN_HLEN
    skb.buf[skb.off : skb.off + _ADDRESSES] = addresses
    skb.headers = ()
