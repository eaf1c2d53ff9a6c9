"""Rules, chains and tables, and how a packet goes through them (`ip_tables.c`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pystack.net.hooks import Hook, HookState, Verdict
from pystack.net.netfilter.packet import Packet
from pystack.net.netfilter.xt import Match, Target, XtablesError
from pystack.net.netfilter.xt_values import Network, protocol_name

STANDARD = ("ACCEPT", "DROP", "RETURN")
_VERDICTS = {"ACCEPT": Verdict.ACCEPT, "DROP": Verdict.DROP}
CHAINS = {
    Hook.PRE_ROUTING: "PREROUTING",
    Hook.LOCAL_IN: "INPUT",
    Hook.FORWARD: "FORWARD",
    Hook.LOCAL_OUT: "OUTPUT",
    Hook.POST_ROUTING: "POSTROUTING",
}


@dataclass
class Basic:
    """What every rule may say of a packet; the second of each pair is `!`."""

    src: tuple[Network, bool] | None = None
    dst: tuple[Network, bool] | None = None
    indev: tuple[str, bool] | None = None
    outdev: tuple[str, bool] | None = None
    protocol: tuple[int, bool] = (0, False)
    fragment: bool | None = None  # -f; `! -f` is False

    def matches(self, packet: Packet) -> bool:
        if self.src is not None and self.src[0].covers(packet.src) is self.src[1]:
            return False
        if self.dst is not None and self.dst[0].covers(packet.dst) is self.dst[1]:
            return False
        number, inverted = self.protocol
        if number and (packet.protocol == number) is inverted:
            return False
        state = packet.state
        if self.indev is not None:
            name = state.indev.name if state.indev is not None else ""
            if _is_device(name, self.indev[0]) is self.indev[1]:
                return False
        if self.outdev is not None:
            name = state.outdev.name if state.outdev is not None else ""
            if _is_device(name, self.outdev[0]) is self.outdev[1]:
                return False
        return self.fragment is None or bool(packet.fragment_offset) is self.fragment

    def save(self) -> str:
        text = ""
        for option, network in (("-s", self.src), ("-d", self.dst)):
            if network is not None:
                text += f"{' !' if network[1] else ''} {option} {network[0].save()}"
        for option, device in (("-i", self.indev), ("-o", self.outdev)):
            if device is not None:
                text += f"{' !' if device[1] else ''} {option} {device[0]}"
        if self.protocol[0]:
            text += f"{' !' if self.protocol[1] else ''} -p {protocol_name(self.protocol[0])}"
        if self.fragment is not None:
            text += " -f" if self.fragment else " ! -f"
        return text


def _is_device(name: str, wanted: str) -> bool:
    """`eth+` is every device whose name begins so."""
    return name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted


@dataclass
class Rule:
    """`jump` names a chain or a verdict when there is no `target`; both empty: only count."""

    basic: Basic = field(default_factory=Basic)
    matches: list[tuple[str, Match]] = field(default_factory=list)  # by the name written
    target: Target | None = None
    jump: str = ""
    goto: bool = False
    packets: int = 0
    bytes: int = 0

    def fits(self, packet: Packet) -> bool:
        return self.basic.matches(packet) and all(m.matches(packet) for _, m in self.matches)

    def save(self, *, counters: bool = False) -> str:
        """As `iptables -S` has it, without -A and the chain; begins with a blank."""
        text = self.basic.save()
        for name, match in self.matches:
            text += f" -m {name}{match.save()}"
        if counters:
            text += f" -c {self.packets} {self.bytes}"
        if self.target is not None:
            text += f" -j {self.target.name}{self.target.save()}"
        elif self.jump:
            text += f" {'-g' if self.goto else '-j'} {self.jump}"
        return text


@dataclass
class Chain:
    """`policy` is empty but for the built-in chains; the counters are of the policy."""

    name: str
    policy: str = ""
    rules: list[Rule] = field(default_factory=list)
    packets: int = 0
    bytes: int = 0


class Table:
    """`chains` by name, the built-in ones first and in the order of hooks."""

    def __init__(self, name: str, hooks: tuple[Hook, ...]) -> None:
        self.name = name
        self.hooks = hooks
        self.chains = {CHAINS[hook]: Chain(CHAINS[hook], "ACCEPT") for hook in hooks}

    def builtin(self) -> list[Chain]:
        return [self.chains[CHAINS[hook]] for hook in self.hooks]

    def add_chain(self, chain: Chain, *, sort: bool) -> None:
        """A user's.  sort: before those of greater names, where iptables -N puts it."""
        later = [c for c in self.chains.values() if not c.policy and c.name > chain.name]
        self.chains[chain.name] = chain
        for other in later if sort else ():
            self.chains[other.name] = self.chains.pop(other.name)

    def references(self, name: str) -> int:
        return sum(rule.jump == name for chain in self.chains.values() for rule in chain.rules)

    # -- a packet --------------------------------------------------------------------------

    def traverse(self, packet: Packet, state: HookState) -> Verdict:
        """`ipt_do_table`"""
        chain = self.chains[CHAINS[state.hook]]
        length = packet.length + packet.skb.data_len
        back: list[tuple[Chain, Iterator[Rule]]] = []
        rules = iter(chain.rules)
        while True:
            rule = next(rules, None)
            if rule is None:
                if chain.policy:
                    chain.packets += 1
                    chain.bytes += length
                    return _VERDICTS[chain.policy]
                chain, rules = back.pop()
                continue
            if not rule.fits(packet):
                if packet.hotdrop:
                    return Verdict.DROP
                continue
            rule.packets += 1
            rule.bytes += length
            if rule.target is not None:
                verdict = rule.target.apply(packet)
                if verdict is not None:
                    return verdict
            elif rule.jump in _VERDICTS:
                return _VERDICTS[rule.jump]
            elif rule.jump == "RETURN":
                if chain.policy:
                    rules = iter(())
                else:
                    chain, rules = back.pop()
            elif rule.jump:
                if not rule.goto:
                    back.append((chain, rules))
                elif chain.policy:
                    back.append((chain, iter(())))
                chain = self.chains[rule.jump]
                rules = iter(chain.rules)

    # -- a change --------------------------------------------------------------------------

    def check(self) -> None:
        """XtablesError for a loop, or a target at a hook where it cannot be (`mark_source_chains`
        and the targets' `checkentry`)."""
        for hook in self.hooks:
            self._walk(self.chains[CHAINS[hook]], hook, [], set())

    def _walk(self, chain: Chain, hook: Hook, path: list[str], seen: set[str]) -> None:
        if chain.name in path:
            raise XtablesError("Too many levels of symbolic links.")
        if chain.name in seen:
            return
        seen.add(chain.name)
        for rule in chain.rules:
            target = rule.target
            if target is not None and target.hooks and hook not in target.hooks:
                raise XtablesError(
                    f"Invalid argument. Target {target.name} cannot be used from {CHAINS[hook]}."
                )
            if rule.jump in self.chains:
                self._walk(self.chains[rule.jump], hook, [*path, chain.name], seen)
