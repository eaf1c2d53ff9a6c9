"""How tables are printed: `iptables -L` (with -n: nothing is looked up) and `iptables -S`."""

from __future__ import annotations

from pystack.net.netfilter.xt_rule import Chain, Rule, Table
from pystack.net.netfilter.xt_values import Network, protocol_name


def rules(table: Table, chains: list[Chain], flags: set[str], number: int | None) -> str:
    """`iptables -S [CHAIN [NUMBER]]`"""
    lines = []
    verbose = "-v" in flags
    if number is None:
        for chain in chains:
            counters = f" -c {chain.packets} {chain.bytes}" if verbose and chain.policy else ""
            word = f"-P {chain.name} {chain.policy}" if chain.policy else f"-N {chain.name}"
            lines.append(word + counters)
    for chain in chains:
        for at, rule in enumerate(chain.rules, 1):
            if number in (None, at):
                lines.append(f"-A {chain.name}{rule.save(counters=verbose)}")
    return "".join(f"{line}\n" for line in lines)


def listing(table: Table, chains: list[Chain], flags: set[str], number: int | None) -> str:
    """`iptables -L [CHAIN [NUMBER]]`"""
    if number is not None:
        rule = chains[0].rules[number - 1 : number]
        return "".join(f"{_line(table, one, flags)}\n" for one in rule)
    return "\n".join(_chain(table, chain, flags) for chain in chains)


def _chain(table: Table, chain: Chain, flags: set[str]) -> str:
    if chain.policy:
        counted = ""
        if "-v" in flags:
            packets, size = _count(chain.packets, flags, 0), _count(chain.bytes, flags, 0)
            counted = f" {packets} packets, {size} bytes"
        text = f"Chain {chain.name} (policy {chain.policy}{counted})\n"
    else:
        text = f"Chain {chain.name} ({table.references(chain.name)} references)\n"
    text += "num  " if "--line-numbers" in flags else ""
    if "-v" in flags:
        text += "    pkts      bytes " if "-x" in flags else " pkts bytes "
    text += "target     prot opt "
    text += "in     out     " if "-v" in flags else ""
    text += "source               destination         \n"
    for at, rule in enumerate(chain.rules, 1):
        text += f"{at:<4} " if "--line-numbers" in flags else ""
        text += f"{_line(table, rule, flags)}\n"
    return text


def _line(table: Table, rule: Rule, flags: set[str]) -> str:
    basic, numeric = rule.basic, "-n" in flags
    version = "--" if basic.fragment is None else "-f" if basic.fragment else "!f"
    text = ""
    if "-v" in flags:
        width = 8 if "-x" in flags else 5
        text = f"{_count(rule.packets, flags, width)} {_count(rule.bytes, flags, width)} "
    target = rule.jump if rule.target is None else rule.target.name
    if target == "NOTRACK":
        target = "CT"  # what it is an old name of
    number, inverted = basic.protocol
    name = str(number) if numeric else protocol_name(number) if number else "all"
    text += f"{target:<9} {'!' if inverted else ' '}{name:<4} {version} "
    if "-v" in flags:
        text += f"{_device(basic.indev)}{_device(basic.outdev)} "
    text += _network(basic.src, numeric) + _network(basic.dst, numeric)
    text += "[goto] " if rule.goto else ""
    text += "".join(match.listing() for _, match in rule.matches)
    return text + (rule.target.listing() if rule.target is not None else "")


def _device(device: tuple[str, bool] | None) -> str:
    name, inverted = device or ("*", False)
    return f"{'!' if inverted else ' '}{name:<6}"


def _network(network: tuple[Network, bool] | None, numeric: bool) -> str:
    if network is None:
        return f" {'0.0.0.0/0' if numeric else 'anywhere':<19} "
    return f"{'!' if network[1] else ' '}{network[0].listing():<19} "


def _count(value: int, flags: set[str], width: int) -> str:
    """Five digits at most, unless -x asks for all."""
    unit = ""
    if "-x" not in flags:
        for unit in ("", "K", "M", "G", "T"):
            if value <= 99999 or (unit and value <= 9999) or unit == "T":
                break
            value = (value + 500) // 1000
    return f"{value:>{width - bool(unit) if width else 0}}{unit}"
