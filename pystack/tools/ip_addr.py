"""`ip link`, `ip address`, `ip maddress` (`ip/ipaddress.c`, `ip/iplink.c`)."""

from __future__ import annotations

import socket as so

from pystack.core.headers.ipv6 import is_linklocal
from pystack.dev.netdev import NetDevice
from pystack.link.bridge import Bridge
from pystack.link.vlan import Vlan
from pystack.net.addrconf import IfAddr as IfAddr6
from pystack.net.devinet import SCOPE_GLOBAL, SCOPE_HOST, SCOPE_LINK, IfAddr
from pystack.tools.devices import counters, flags
from pystack.tools.ip_words import (
    IpOptions,
    command,
    device,
    explained,
    find_device,
    link_address,
    number,
    pairs,
    prefix,
)
from pystack.tools.tool import Net, ToolError, in_task

_FLAGS = (
    (0x8, "LOOPBACK"),
    (0x2, "BROADCAST"),
    (0x1000, "MULTICAST"),
    (0x100, "PROMISC"),
    (0x1, "UP"),
    (0x10000, "LOWER_UP"),
)
_SCOPES = {SCOPE_GLOBAL: "global", SCOPE_LINK: "link", SCOPE_HOST: "host"}


def link(net: Net, options: IpOptions, words: list[str]) -> str:
    """`show [dev DEV]`, `set DEV {up|down|mtu N|promisc on|txqueuelen N|address MAC}`."""
    action = command(words, ("show", "list", "lst", "set"), "link")
    if action == "set":
        return _link_set(net, words)
    text = ""
    for dev in _devices(net, words):
        if options.brief:
            text += f"{_brief(dev)}{dev.mac.hex(':')} <{_flag_names(dev)}> \n"
        else:
            text += _link_lines(net, dev, True, options.statistics)
    return text


def address(net: Net, options: IpOptions, words: list[str]) -> str:
    """`show [dev DEV]`, `add PREFIX dev DEV`, `del PREFIX dev DEV`, `flush dev DEV`."""
    action = command(words, ("show", "list", "lst", "add", "del", "delete", "flush"), "address")
    if action == "show":
        return "".join(_address_lines(net, dev, options) for dev in _devices(net, words))
    if action == "flush":
        _flush(net, find_device(net, pairs(words, ("dev",)).get("dev", "")), options)
        return ""
    if not words:
        raise ToolError('Command line is not complete. Try option "help"', 255)
    interface = prefix(words[0])
    given = pairs(words[1:], ("dev", "brd", "broadcast", "scope"), ("nodad",))
    if "dev" not in given:
        raise ToolError('Not enough information: "dev" argument is required.', 255)
    dev = find_device(net, given["dev"])
    family = f"ipv{interface.version}"
    missing = "ipv4: Address not found" if interface.version == 4 else "ipv6: address not found"
    with explained(EEXIST=f"{family}: Address already assigned", EADDRNOTAVAIL=missing):
        if action == "add" and interface.version == 4:
            in_task(net, net.ipv4.add_address, dev, str(interface))
        elif action == "add":
            nodad = "nodad" in given
            in_task(net, net.ipv6.add_address, dev, str(interface), nodad=nodad)
        elif interface.version == 4:
            in_task(net, net.ipv4.del_address, dev, str(interface))
        else:
            in_task(net, net.ipv6.del_address, dev, str(interface.ip))
    return ""


def maddress(net: Net, options: IpOptions, words: list[str]) -> str:
    """`show [dev DEV]`: link-layer and network-layer groups."""
    command(words, ("show", "list", "lst"), "maddr")
    text = ""
    for dev in _devices(net, words):
        text += f"{dev.ifindex}:\t{dev.name}\n"
        for mac, users in dev.mc_list.items():
            text += f"\tlink  {mac.hex(':')}{_users(users)}\n"
        for group, users in net.ipv4.igmp.groups(dev).items():
            text += f"\tinet  {so.inet_ntoa(group)}{_users(users)}\n"
        for group, users in net.ipv6.mld.groups(dev).items():
            text += f"\tinet6 {so.inet_ntop(so.AF_INET6, group)}{_users(users)}\n"
    return text


def _users(count: int) -> str:
    return f" users {count}" if count > 1 else ""


def _devices(net: Net, words: list[str]) -> list[NetDevice]:
    """All, or the one that is named, with or without `dev`; `up` leaves out those that are down."""
    chosen = list(net.core.devices.values())
    for word in words:
        if word == "up":
            chosen = [dev for dev in chosen if dev.up]
        elif word != "dev":
            chosen = [device(net, word)]
    return sorted(chosen, key=lambda dev: dev.ifindex)


# -- showing -------------------------------------------------------------------------------


def _name(dev: NetDevice) -> str:
    """A VLAN says which device it stands on."""
    ops = dev.ops
    return f"{dev.name}@{ops.real.name}" if isinstance(ops, Vlan) else dev.name


def _flag_names(dev: NetDevice) -> str:
    value = flags(dev)
    return ",".join(name for bit, name in _FLAGS if value & bit)


def _state(dev: NetDevice) -> str:
    if not dev.up:
        return "DOWN"
    return "UNKNOWN" if dev.loopback else "UP"


def _brief(dev: NetDevice) -> str:
    return f"{_name(dev):<16} {_state(dev):<14} "


def _link_lines(net: Net, dev: NetDevice, mode: bool, statistics: int) -> str:
    kind, broadcast = ("loopback", bytes(6)) if dev.loopback else ("ether", b"\xff" * 6)
    master = "".join(f" master {name}" for name in _masters(net, dev))
    text = (
        f"{dev.ifindex}: {_name(dev)}: <{_flag_names(dev)}> mtu {dev.mtu} "
        f"qdisc {dev.qdisc}{master} "
        f"state {_state(dev)} {'mode DEFAULT ' if mode else ''}group default "
        f"qlen {dev.tx_queue_len}\n"
        f"    link/{kind} {dev.mac.hex(':')} brd {broadcast.hex(':')}\n"
    )
    return text + (_statistics(net, dev, statistics) if statistics else "")


def _masters(net: Net, dev: NetDevice) -> list[str]:
    """The bridge it is a port of."""
    owners = (getattr(handler, "__self__", None) for handler in dev.rx_handlers)
    return [owner.dev.name for owner in owners if isinstance(owner, Bridge)]


def _statistics(net: Net, dev: NetDevice, detail: int) -> str:
    c = counters(net, dev)
    text = "    RX:  bytes packets errors dropped  missed   mcast           \n"
    text += _columns(c.rx_bytes, c.rx_packets, c.rx_errors, c.rx_dropped, c.rx_missed, c.multicast)
    if detail > 1:
        text += "    RX errors:  length    crc   frame    fifo overrun\n"
        text += _columns(None, c.rx_length, c.rx_crc, c.rx_frame, c.rx_fifo, c.rx_missed)
    text += "    TX:  bytes packets errors dropped carrier collsns           \n"
    text += _columns(c.tx_bytes, c.tx_packets, c.tx_errors, c.tx_dropped, 0, 0)
    if detail > 1:
        text += "    TX errors: aborted   fifo  window heartbt transns\n"
        text += _columns(None, 0, c.tx_fifo, 0, 0, 0)
    return text


def _columns(*values: int | None) -> str:
    """None: a place that stays empty."""
    widths = (10, 7, 6, 7, 7, 7)
    cells = zip(("" if value is None else value for value in values), widths, strict=True)
    return "    " + " ".join(f"{value:>{width}}" for value, width in cells) + " \n"


def _address_lines(net: Net, dev: NetDevice, options: IpOptions) -> str:
    four = net.ipv4.devinet.by_dev.get(dev, []) if options.family != 6 else []
    six = _addresses6(net, dev) if options.family != 4 else []
    if options.family and not four and not six:
        return ""
    if options.brief:
        listed = [str(a.interface) for a in four] + [_prefix6(a) for a in six]
        return _brief(dev) + "".join(f"{text} " for text in listed) + "\n"
    text = _link_lines(net, dev, False, options.statistics)
    if options.family:
        text = text.split("\n")[0] + "\n"
    text += "".join(_line4(address) for address in four)
    return text + "".join(_line6(address, net.kernel.now) for address in six)


def _addresses6(net: Net, dev: NetDevice) -> list[IfAddr6]:
    """Global ones first, as `ipv6_link_dev_addr` sorts them."""
    mine = (a for a in net.ipv6.addrconf.all() if a.dev is dev)
    return sorted(mine, key=lambda a: is_linklocal(a.ip))


def _line4(address: IfAddr) -> str:
    broadcast = ""
    if address.broadcast and address.scope != SCOPE_HOST:
        broadcast = f" brd {so.inet_ntoa(address.broadcast)}"
    secondary = " secondary" if address.secondary else ""
    return (
        f"    inet {address.interface}{broadcast} scope {_SCOPES[address.scope]}{secondary} "
        f"{address.dev.name}\n       valid_lft forever preferred_lft forever\n"
    )


def _prefix6(address: IfAddr6) -> str:
    return f"{so.inet_ntop(so.AF_INET6, address.ip)}/{address.prefix_length}"


def _line6(address: IfAddr6, now: int) -> str:
    scope = "host" if address.dev.loopback else "link" if is_linklocal(address.ip) else "global"
    words = " tentative" if address.tentative else ""
    words += " dadfailed" if address.failed else ""
    words += " dynamic" if address.valid_until is not None else ""
    valid, preferred = (
        "forever" if until is None else f"{max(until - now, 0) // 10**9}sec"
        for until in (address.valid_until, address.preferred_until)
    )
    return (
        f"    inet6 {_prefix6(address)} scope {scope}{words} \n"
        f"       valid_lft {valid} preferred_lft {preferred}\n"
    )


# -- changing ------------------------------------------------------------------------------


def _link_set(net: Net, words: list[str]) -> str:
    words = [word for word in words if word != "dev"]
    if not words:
        raise ToolError('Not enough information: "dev" argument is required.', 255)
    dev = find_device(net, words.pop(0))
    names = ("mtu", "promisc", "txqueuelen", "qlen", "address")
    for name, value in pairs(words, names, ("up", "down")).items():
        if name in ("up", "down"):
            change = net.core.open if name == "up" else net.core.stop
            in_task(net, change, dev)
        elif name == "mtu":
            dev.mtu = number(value, "mtu")
        elif name == "promisc":
            if value not in ("on", "off"):
                raise ToolError(
                    f'Error: argument of "promisc" must be "on" or "off", not "{value}"', 255
                )
            in_task(net, dev.set_promiscuity, 1 if value == "on" else -1)
        elif name == "address":
            dev.mac = link_address(value)
        else:
            dev.tx_queue_len = number(value, "txqueuelen")
    return ""


def _flush(net: Net, dev: NetDevice, options: IpOptions) -> None:
    def flush() -> None:
        if options.family != 6:
            for own in list(net.ipv4.devinet.by_dev.get(dev, ())):
                if not own.secondary:
                    net.ipv4.del_address(dev, str(own.interface))
        if options.family != 4:
            for six in [a for a in net.ipv6.addrconf.all() if a.dev is dev]:
                net.ipv6.addrconf.remove(six)

    in_task(net, flush)
