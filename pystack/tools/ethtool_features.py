"""`ethtool -k` and `-K`: the features of a device by the kernel's names (`net/ethtool/features.c`).

A device here has fewer switches than Linux has bits; what it has not got is `off [fixed]`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pystack.dev.netdev import NetDevice
from pystack.tools.tool import ToolError

# The kernel's bits in their order, and which of a device's features they are.
BITS = {
    "tx-scatter-gather": "sg",
    "tx-checksum-ipv4": "",
    "tx-checksum-ip-generic": "tx",
    "tx-checksum-ipv6": "",
    "highdma": "",
    "tx-scatter-gather-fraglist": "",
    "tx-vlan-hw-insert": "txvlan",
    "rx-vlan-hw-parse": "rxvlan",
    "tx-generic-segmentation": "gso",
    "rx-gro": "gro",
    "rx-lro": "",
    "tx-tcp-segmentation": "tso",
    "tx-tcp-ecn-segmentation": "tso",
    "tx-tcp-mangleid-segmentation": "",
    "tx-tcp6-segmentation": "tso6",
    "tx-tcp-accecn-segmentation": "",
    "tx-checksum-fcoe-crc": "",
    "tx-checksum-sctp": "",
    "rx-ntuple-filter": "ntuple",
    "rx-hashing": "rxhash",
    "rx-checksum": "rx",
}
_OTHERS = (
    *("rx-vlan-filter", "vlan-challenged", "tx-gso-robust", "tx-fcoe-segmentation"),
    *("tx-gre-segmentation", "tx-gre-csum-segmentation", "tx-ipxip4-segmentation"),
    *("tx-ipxip6-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"),
    *("tx-gso-partial", "tx-tunnel-remcsum-segmentation", "tx-sctp-segmentation"),
    *("tx-esp-segmentation", "tx-udp-segmentation", "tx-gso-list", "tx-nocache-copy", "loopback"),
    *("rx-fcs", "rx-all", "tx-vlan-stag-hw-insert", "rx-vlan-stag-hw-parse"),
    *("rx-vlan-stag-filter", "l2-fwd-offload", "hw-tc-offload", "esp-hw-offload"),
    *("esp-tx-csum-hw-offload", "rx-udp_tunnel-port-offload", "tls-hw-tx-offload"),
    *("tls-hw-rx-offload", "rx-gro-hw", "tls-hw-record", "rx-gro-list", "macsec-hw-offload"),
    *("rx-udp-gro-forwarding", "hsr-tag-ins-offload", "hsr-tag-rm-offload", "hsr-fwd-offload"),
    "hsr-dup-offload",
)
# ethtool's old names: short, long, and the bits behind them.
_FLAGS = (
    ("rx", "rx-checksumming", ("rx-checksum",)),
    (
        "tx",
        "tx-checksumming",
        (
            *("tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6"),
            *("tx-checksum-fcoe-crc", "tx-checksum-sctp"),
        ),
    ),
    ("sg", "scatter-gather", ("tx-scatter-gather", "tx-scatter-gather-fraglist")),
    (
        "tso",
        "tcp-segmentation-offload",
        (
            *("tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation"),
            *("tx-tcp6-segmentation", "tx-tcp-accecn-segmentation"),
        ),
    ),
    ("gso", "generic-segmentation-offload", ("tx-generic-segmentation",)),
    ("gro", "generic-receive-offload", ("rx-gro",)),
    ("lro", "large-receive-offload", ("rx-lro",)),
    ("rxvlan", "rx-vlan-offload", ("rx-vlan-hw-parse",)),
    ("txvlan", "tx-vlan-offload", ("tx-vlan-hw-insert",)),
    ("ntuple", "ntuple-filters", ("rx-ntuple-filter",)),
    ("rxhash", "receive-hashing", ("rx-hashing",)),
)
_SWITCH = {"on": True, "off": False}


def show(dev: NetDevice) -> str:
    """`ethtool -k`"""
    lines = [f"Features for {dev.name}:"]
    for _, name, bits in _FLAGS:
        if len(bits) == 1:
            lines.append(name + _state(dev, bits[0]))
        else:
            on = any(_on(dev, bit) for bit in bits)
            free = any(_changeable(dev, bit) for bit in bits)
            lines.append(f"{name}: {'on' if on else 'off'}{'' if free else ' [fixed]'}")
            lines += [f"\t{bit}{_state(dev, bit)}" for bit in bits]
    lines.append("highdma: off [fixed]")
    lines += [f"{name}: off [fixed]" for name in _OTHERS]
    return "\n".join(lines) + "\n"


def _on(dev: NetDevice, bit: str) -> bool:
    return dev.features.get(BITS[bit], False)


def _changeable(dev: NetDevice, bit: str) -> bool:
    return BITS[bit] in dev.hw_features


def _state(dev: NetDevice, bit: str) -> str:
    text = ": on" if _on(dev, bit) else ": off"
    if not _changeable(dev, bit):
        return text + " [fixed]"
    return text + (" [requested on]" if dev.wanted_features.get(BITS[bit]) else "")


def change(dev: NetDevice, words: Sequence[str]) -> str:
    """`ethtool -K`; tells of changes that are not those asked for."""
    asked = _asked(words)
    before = {bit: _on(dev, bit) for bit in BITS}
    wanted = {BITS[bit]: on for bit, on in asked.items() if _changeable(dev, bit)}
    if wanted:
        dev.set_features(wanted)
    after = {bit: _on(dev, bit) for bit in BITS}
    changed = {bit for bit in BITS if before[bit] != after[bit]}
    refused = {bit for bit, on in asked.items() if after[bit] != on and not _forgiven(bit, on)}
    lines = []
    if changed - set(asked) or refused:
        lines.append("Actual changes:")
        for bit in BITS:
            if bit in changed | refused:
                note = " [not requested]" if bit not in asked else ""
                if bit in refused:
                    note = f" [requested {'on' if asked[bit] else 'off'}]"
                lines.append(f"{bit}: {'on' if after[bit] else 'off'}{note}")
    output = "\n".join(lines) + "\n" if lines else ""
    if not changed and (refused or not asked):
        raise ToolError("Could not change any device features", 1, output)
    return output


def _forgiven(bit: str, on: bool) -> bool:
    """A bit of a group that nobody has is not missed when the group is switched off."""
    return not on and not BITS[bit]


def _asked(words: Sequence[str]) -> dict[str, bool]:
    asked: dict[str, bool] = {}
    for at in range(0, len(words), 2):
        switch = words[at + 1] if at + 1 < len(words) else "(null)"
        if switch not in _SWITCH:
            raise ToolError(
                f"ethtool (-K): flag '{switch}' for parameter '(null)' is not followed by "
                "'on' or 'off'"
            )
        for bit in _bits(words[at]):
            asked[bit] = _SWITCH[switch]
    return asked


def _bits(name: str) -> Sequence[str]:
    for short, long, bits in _FLAGS:
        if name in (short, long):
            return bits
    if name in BITS:
        return (name,)
    raise ToolError("netlink error: bit name not found (offset 52)", 1)
