"""`ethtool`: what a device's driver can do and has counted, and its settings.

The text is that of ethtool 6.1; `tcp-data-split` is of 6.13.  What asks the hardware, and every
setting, has to run in a task of the host: `host.start(host.tool, "ethtool -S eth0")`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from pystack.dev.ethtool import Coalesce, EthtoolOps, PauseParam
from pystack.dev.netdev import NetDevice
from pystack.tools import ethtool_features as features
from pystack.tools.tool import Net, ToolError

_USAGE = "ethtool: bad command line argument(s)\nFor more information run ethtool -h"


def ethtool(net: Net, args: Sequence[str]) -> str:
    """`-i -k -K -S -g -G -l -L -x -X -c -C -a -A DEVICE`, or the long names; or a device alone."""
    if not args:
        raise ToolError(_USAGE)
    if not args[0].startswith("-"):
        return _settings(_device(net, args[0], "netlink"))
    command = _COMMANDS.get(args[0])
    if command is None or len(args) < 2:
        raise ToolError(_USAGE)
    complaint, run = command
    return run(_device(net, args[1], complaint), args[2:])


def _device(net: Net, name: str, complaint: str) -> NetDevice:
    dev = net.core.devices.get(name)
    if dev is None:
        nothing = "No such device"
        if complaint == "netlink":
            raise ToolError(
                f"netlink error: no device matches name (offset 24)\nnetlink error: {nothing}"
            )
        raise ToolError(f"{complaint}: {nothing}", _STATUS.get(complaint, 1))
    return dev


def _ops(dev: NetDevice, complaint: str = "netlink error", status: int = 1) -> EthtoolOps:
    if dev.ethtool is None:
        raise ToolError(f"{complaint}: Operation not supported", status)
    return dev.ethtool


def _settings(dev: NetDevice) -> str:
    return f"Settings for {dev.name}:\n\tLink detected: {'yes' if dev.carrier else 'no'}\n"


# -- what there is -------------------------------------------------------------------------


def _driver(dev: NetDevice, words: Sequence[str]) -> str:
    info = _ops(dev, _NO_DRIVER, _STATUS[_NO_DRIVER]).get_drvinfo()
    lines = [f"{name}: {info[name]}" for name in ("driver", "version", "firmware-version")]
    lines += ["expansion-rom-version: ", f"bus-info: {info['bus-info']}"]
    lines += ["supports-statistics: yes", "supports-test: no", "supports-eeprom-access: no"]
    return "\n".join([*lines, "supports-register-dump: no", "supports-priv-flags: no"]) + "\n"


def _statistics(dev: NetDevice, words: Sequence[str]) -> str:
    stats = dev.ops.get_stats()
    if not stats:
        raise ToolError("no stats available", 94)
    return "NIC statistics:\n" + "".join(f"     {name}: {n}\n" for name, n in stats.items())


def _features(dev: NetDevice, words: Sequence[str]) -> str:
    return features.show(dev)


def _rings(dev: NetDevice, words: Sequence[str]) -> str:
    param = _ops(dev).get_ringparam()

    def block(rx: int, tx: int) -> str:
        return f"RX:\t\t\t{rx}\nRX Mini:\t\tn/a\nRX Jumbo:\t\tn/a\nTX:\t\t\t{tx}\n"

    return (
        f"Ring parameters for {dev.name}:\nPre-set maximums:\n"
        + block(param.rx_max, param.tx_max)
        + "Current hardware settings:\n"
        + block(param.rx, param.tx)
        + "RX Buf Len:\t\tn/a\nCQE Size:\t\tn/a\nTX Push:\t\tn/a\n"
        + f"TCP data split:\t\t{_switch(param.tcp_data_split)}\n"
    )


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _pause(dev: NetDevice, words: Sequence[str]) -> str:
    now = _pause_of(dev, 1)
    return (
        f"Pause parameters for {dev.name}:\nAutonegotiate:\toff\n"
        f"RX:\t\t{_switch(now.rx)}\nTX:\t\t{_switch(now.tx)}\n\n"
    )


def _pause_of(dev: NetDevice, status: int) -> PauseParam:
    now = _ops(dev, status=status).get_pauseparam()
    if now is None:
        raise ToolError("netlink error: Operation not supported", status)
    return now


def _channels(dev: NetDevice, words: Sequence[str]) -> str:
    channels = _ops(dev).get_channels()

    def block(combined: int) -> str:
        return f"RX:\t\tn/a\nTX:\t\tn/a\nOther:\t\tn/a\nCombined:\t{combined}\n"

    return (
        f"Channel parameters for {dev.name}:\nPre-set maximums:\n"
        + block(channels.max_combined)
        + "Current hardware settings:\n"
        + block(channels.combined)
    )


def _coalesce(dev: NetDevice, words: Sequence[str]) -> str:
    now = _ops(dev).get_coalesce()
    lines = [f"Coalesce parameters for {dev.name}:"]
    lines.append(f"Adaptive RX: {_switch(now.adaptive_rx)}  TX: n/a")
    lines += [f"{name}: n/a" for name in _RATES]
    known = {"rx-usecs": now.rx_usecs, "rx-frames": now.rx_frames}
    for group in _COALESCE:
        lines += ["", *(f"{name}: {known.get(name, 'n/a')}" for name in group)]
    return "\n".join([*lines, "", "CQE mode RX: n/a  TX: n/a", "", ""])


_RATES = ("stats-block-usecs", "sample-interval", "pkt-rate-low", "pkt-rate-high")
_COALESCE = (
    ("rx-usecs", "rx-frames", "rx-usecs-irq", "rx-frames-irq"),
    ("tx-usecs", "tx-frames", "tx-usecs-irq", "tx-frames-irq"),
    ("rx-usecs-low", "rx-frame-low", "tx-usecs-low", "tx-frame-low"),
    ("rx-usecs-high", "rx-frame-high", "tx-usecs-high", "tx-frame-high"),
)


def _indirection(dev: NetDevice, words: Sequence[str]) -> str:
    rxfh = _ops(dev, _NO_RINGS).get_rxfh()
    lines = [f"RX flow hash indirection table for {dev.name} with {rxfh.queues} RX ring(s):"]
    for at in range(0, len(rxfh.table), 8):
        lines.append(f"{at:5}: " + "".join(f" {queue:5}" for queue in rxfh.table[at : at + 8]))
    lines += ["RSS hash key:", rxfh.key.hex(":"), "RSS hash function:"]
    return "\n".join([*lines, "    toeplitz: on", "    xor: off", "    crc32: off"]) + "\n"


# -- what is set ---------------------------------------------------------------------------


def _set_features(dev: NetDevice, words: Sequence[str]) -> str:
    return features.change(dev, words)


def _numbers(option: str, words: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    """`name value` pairs; a value is a number, or on or off."""
    found = {}
    for at in range(0, len(words), 2):
        name = words[at]
        if name not in known:
            raise ToolError(f"ethtool ({option}): unknown parameter '{name}'")
        if at + 1 == len(words):
            raise ToolError(f"ethtool ({option}): no value for parameter '{name}'")
        value = {"on": "1", "off": "0"}.get(words[at + 1], words[at + 1])
        if not (value.isascii() and value.isdigit()):
            raise ToolError(f"ethtool ({option}): invalid value '{value}' for parameter '{name}'")
        found[name] = int(value)
    return found


def _ask(call: Callable[..., None], *args: object, status: int = 1) -> str:
    try:
        call(*args)
    except OSError as exc:
        text = os.strerror(exc.errno or errno.EIO)
        raise ToolError(f"netlink error: {text}", status) from None
    return ""


def _set_rings(dev: NetDevice, words: Sequence[str]) -> str:
    ops = _ops(dev, status=81)
    given = _numbers("-G", words, ("rx", "tx", "tcp-data-split"))
    now = ops.get_ringparam()
    for name, most in (("rx", now.rx_max), ("tx", now.tx_max)):
        if given.get(name, 0) > most:
            raise ToolError(
                "netlink error: requested ring size exceeds maximum (offset 36)\n"
                "netlink error: Invalid argument"
            )
    split = bool(given.get("tcp-data-split", now.tcp_data_split))
    wanted = given.get("rx", now.rx), given.get("tx", now.tx), split
    same = wanted == (now.rx, now.tx, now.tcp_data_split)
    return "" if same else _ask(ops.set_ringparam, *wanted)


def _set_pause(dev: NetDevice, words: Sequence[str]) -> str:
    given = _numbers("-A", words, ("autoneg", "rx", "tx"))
    now = _pause_of(dev, _PAUSE_FAILED)
    if given.get("autoneg"):  # the PHY's, of which there is none
        raise ToolError("netlink error: Operation not supported", _PAUSE_FAILED)
    wanted = PauseParam(bool(given.get("rx", now.rx)), bool(given.get("tx", now.tx)))
    return "" if wanted == now else _ask(_ops(dev).set_pauseparam, wanted, status=_PAUSE_FAILED)


def _set_channels(dev: NetDevice, words: Sequence[str]) -> str:
    ops = _ops(dev)
    given = _numbers("-L", words, ("combined", "rx", "tx", "other"))
    now = ops.get_channels()
    combined = given.get("combined", now.combined)
    if combined > now.max_combined or any(given.get(name) for name in ("rx", "tx", "other")):
        raise ToolError(
            "netlink error: requested channel count exceeds maximum (offset 32)\n"
            "netlink error: Invalid argument"
        )
    return "" if combined == now.combined else _ask(ops.set_channels, combined)


def _set_coalesce(dev: NetDevice, words: Sequence[str]) -> str:
    ops = _ops(dev)
    names = [name for group in _COALESCE for name in group]
    given = _numbers("-C", words, (*names, *_RATES, "adaptive-rx", "adaptive-tx"))
    if given.keys() - {"rx-usecs", "rx-frames", "adaptive-rx"}:
        raise ToolError(
            "netlink error: cannot modify an unsupported parameter (offset 32)\n"
            "netlink error: Invalid argument"
        )
    now = ops.get_coalesce()
    wanted = Coalesce(
        given.get("rx-usecs", now.rx_usecs),
        given.get("rx-frames", now.rx_frames),
        bool(given.get("adaptive-rx", now.adaptive_rx)),
    )
    return "" if wanted == now else _ask(ops.set_coalesce, wanted)


def _set_indirection(dev: NetDevice, words: Sequence[str]) -> str:
    """`equal N`, `weight W...`, `default`, `hkey XX:...`."""
    if not words:
        raise ToolError(_USAGE)
    ops = _ops(dev, _NO_RINGS)
    size = len(ops.get_rxfh().table)
    table: tuple[int, ...] | None = None
    key: bytes | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "default":
            table = ()
        elif word == "equal" and rest and rest[0].isdecimal() and int(rest[0]):
            count = int(rest.pop(0))
            table = tuple(entry % count for entry in range(size))
        elif word == "weight" and rest:
            table, rest = _weighted(rest, size)
        elif word == "hkey" and rest:
            key = _key(rest.pop(0))
        else:
            raise ToolError(_USAGE)
    try:
        ops.set_rxfh(table, key)
    except OSError as exc:
        text = os.strerror(exc.errno or errno.EIO)
        raise ToolError(f"Cannot set RX flow hash configuration: {text}") from None
    return ""


def _weighted(words: list[str], size: int) -> tuple[tuple[int, ...], list[str]]:
    weights = []
    while words and words[0].isdecimal():
        weights.append(int(words.pop(0)))
    total = sum(weights)
    if not total:
        raise ToolError("At least one weight must be non-zero")
    if total > size:
        raise ToolError("Total weight exceeds the size of the indirection table")
    table, queue, filled = [], -1, 0
    for entry in range(size):
        while entry >= size * filled // total:
            queue += 1
            filled += weights[queue]
        table.append(queue)
    return tuple(table), words


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise ToolError("Invalid RSS hash key format") from None


_NO_DRIVER = "Cannot get driver information"
_NO_STATS = "Cannot get stats strings information"
_NO_RINGS = "Cannot get RX ring count"
_PAUSE_FAILED = 76
_STATUS = {_NO_DRIVER: 71, _NO_STATS: 96, _NO_RINGS: 1}
_Command = tuple[str, Callable[[NetDevice, Sequence[str]], str]]
_NAMED: tuple[tuple[str, str, _Command], ...] = (
    ("-i", "--driver", (_NO_DRIVER, _driver)),
    ("-S", "--statistics", (_NO_STATS, _statistics)),
    ("-k", "--show-features", ("netlink", _features)),
    ("-K", "--features", ("netlink", _set_features)),
    ("-g", "--show-ring", ("netlink", _rings)),
    ("-G", "--set-ring", ("netlink", _set_rings)),
    ("-l", "--show-channels", ("netlink", _channels)),
    ("-L", "--set-channels", ("netlink", _set_channels)),
    ("-c", "--show-coalesce", ("netlink", _coalesce)),
    ("-C", "--coalesce", ("netlink", _set_coalesce)),
    ("-a", "--show-pause", ("netlink", _pause)),
    ("-A", "--pause", ("netlink", _set_pause)),
    ("-x", "--show-rxfh", (_NO_RINGS, _indirection)),
    ("-X", "--rxfh", (_NO_RINGS, _set_indirection)),
)
_COMMANDS: dict[str, _Command] = {
    name: command for short, long, command in _NAMED for name in (short, long)
}
