"""From the words of a rule to the rule, as iptables reads them (`iptables/xshared.c`).

Which options there are is said by the extensions; here is how they are written: `!` before, long
names cut short, `--name=value`, short options run together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from pystack.net.netfilter import (
    xt_match,
    xt_match_ct,
    xt_match_icmp,
    xt_match_transport,
    xt_target,
    xt_target_nat,
)
from pystack.net.netfilter.xt import Extension, Given, Match, Option, Rest, Target, XtablesError
from pystack.net.netfilter.xt_family import Family
from pystack.net.netfilter.xt_rule import STANDARD, Basic, Chain, Rule, Table
from pystack.net.netfilter.xt_values import Network, number, protocol, protocol_name

MATCHES: dict[str, type[Match]] = {
    match.name: match
    for match in (
        xt_match_transport.TcpMatch,
        xt_match_transport.UdpMatch,
        xt_match_icmp.IcmpMatch,
        xt_match_icmp.Icmp6Match,
        xt_match_transport.MultiportMatch,
        xt_match.CommentMatch,
        xt_match.MarkMatch,
        xt_match.ConnmarkMatch,
        xt_match.LimitMatch,
        xt_match.StatisticMatch,
        xt_match.AddrtypeMatch,
        xt_match_ct.StateMatch,
        xt_match_ct.ConntrackMatch,
    )
}
TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        xt_target.RejectTarget,
        xt_target.LogTarget,
        xt_target.MarkTarget,
        xt_target.ConnmarkTarget,
        xt_target.CtTarget,
        xt_target.NotrackTarget,
        xt_target_nat.DnatTarget,
        xt_target_nat.SnatTarget,
        xt_target_nat.MasqueradeTarget,
        xt_target_nat.RedirectTarget,
    )
}
_PROTOCOL_MATCHES = {"ipv6-icmp": "icmp6", "icmpv6": "icmp6"}
_BASIC = (
    Option(("-s", "--source", "--src"), invert=True),
    Option(("-d", "--destination", "--dst"), invert=True),
    Option(("-i", "--in-interface"), invert=True),
    Option(("-o", "--out-interface"), invert=True),
    Option(("-p", "--protocol", "--proto"), invert=True),
    Option(("-f", "--fragments"), 0, True),
    Option(("-m", "--match")),
    Option(("-j", "--jump")),
    Option(("-g", "--goto")),
    Option(("-c", "--set-counters"), 2),
)
_NOT_TWICE = ("-s", "-d", "-i", "-o", "-p", "-j", "-g")


class Words:
    """The words of a command, one option at a time."""

    def __init__(self, words: list[str]) -> None:
        self._words = list(reversed(words))

    def __bool__(self) -> bool:
        return bool(self._words)

    def take(self, what: str) -> str:
        """The next word, as the value of an option."""
        if not self._words:
            raise XtablesError(f'option "{what}" requires an argument')
        return self._words.pop()

    def peek(self) -> str:
        return self._words[-1] if self._words else ""

    def option(self) -> tuple[str, bool]:
        """The name of the next option as it was written, and whether `!` stands before it."""
        word = self._words.pop()
        inverted = word == "!"
        if inverted:
            word = self.take("!")
        if word.startswith("--") and "=" in word:
            word, _, value = word.partition("=")
            self._words.append(value)
        elif len(word) > 2 and word[0] == "-" and word[1] != "-":
            self._words.append(word[2:] if word[1] not in _FLAGS else "-" + word[2:])
            word = word[:2]
        return word, inverted


_FLAGS = "fvnx46"  # short options without a value, which others may follow in the same word


def find(word: str, options: Iterator[Option] | tuple[Option, ...]) -> Option | None:
    """The option `word` names, in full or by a beginning no other has."""
    cut: list[Option] = []
    for option in options:
        if word in option.names:
            return option
        if word.startswith("--") and any(name.startswith(word) for name in option.names):
            cut.append(option)
    return cut[0] if len(cut) == 1 else None


class _Loaded:
    """An extension of the rule that is being read, and its options so far."""

    def __init__(self, name: str, kind: type[Extension]) -> None:
        self.name = name
        self.kind = kind
        self.given: dict[str, Given] = {}


class RuleReader:
    """Reads one rule; several come of lists of addresses."""

    def __init__(self, family: Family, table: Table) -> None:
        self._family = family
        self._table = table
        self._given: dict[str, Given] = {}
        self._protocol = (0, False)
        self._matches: list[_Loaded] = []
        self._target: _Loaded | None = None
        self._jump = ""
        self._goto = False

    def option(self, word: str, inverted: bool, words: Words) -> None:
        """One option with its values, of the rule or of an extension loaded so far."""
        loaded = [*([self._target] if self._target else []), *reversed(self._matches)]
        for extension in loaded:
            option = find(word, extension.kind.options)
            if option is not None:
                self._extension_option(extension, option, inverted, words)
                return
        option = find(word, _BASIC)
        if option is not None:
            self._basic_option(option, inverted, words)
        elif self._load_protocol_match():
            self.option(word, inverted, words)
        elif word.startswith("-") and len(word) > 1:
            raise XtablesError(f'unknown option "{word}"')
        else:
            raise XtablesError(f"Bad argument `{word}'")

    def _extension_option(
        self, extension: _Loaded, option: Option, inverted: bool, words: Words
    ) -> None:
        name = option.names[0]
        if inverted and not option.invert:
            raise XtablesError(f'{extension.name}: option "{name}" cannot be inverted.')
        if name in extension.given:
            raise XtablesError(f'{extension.name}: option "{name}" can only be used once.')
        values = tuple(words.take(name) for _ in range(option.values))
        extension.given[name] = Given(values, inverted)

    def _basic_option(self, option: Option, inverted: bool, words: Words) -> None:
        name = option.names[0]
        if inverted and not option.invert:
            raise XtablesError(f"unexpected ! flag before {name}")
        if name in self._given and name in _NOT_TWICE:
            raise XtablesError(f"multiple {name} flags not allowed")
        values = tuple(words.take(name) for _ in range(option.values))
        if name == "-m":
            self._matches.append(self._match(values[0]))
            return
        self._given[name] = Given(values, inverted)
        if name == "-p":
            value = protocol(values[0])
            if value == 0 and inverted:
                raise XtablesError("rule would never match protocol")
            self._protocol = value, inverted
        elif name in ("-j", "-g"):
            self._jump_to(values[0], goto=name == "-g")

    def _match(self, name: str) -> _Loaded:
        kind = MATCHES.get(name)
        if kind is None:
            raise XtablesError(f"Couldn't load match `{name}':No such file or directory")
        return _Loaded(name, kind)

    def _load_protocol_match(self) -> bool:
        """`-p tcp` brings the options of `-m tcp` along, if they are used."""
        name = protocol_name(self._protocol[0])
        name = _PROTOCOL_MATCHES.get(name, name)
        if name not in MATCHES or any(loaded.name == name for loaded in self._matches):
            return False
        self._matches.append(_Loaded(name, MATCHES[name]))
        return True

    def _jump_to(self, name: str, goto: bool) -> None:
        self._goto = goto
        if name in TARGETS and not goto:
            self._target = _Loaded(name, TARGETS[name])
        elif name in self._table.chains:
            if self._table.chains[name].policy:
                raise XtablesError("Invalid argument. Built-in chains cannot be jumped to.")
            self._jump = name
        elif name in STANDARD and not goto:
            self._jump = name
        elif goto:
            raise XtablesError(f"goto '{name}' is not a chain")
        else:
            raise XtablesError(f"Couldn't load target `{name}':No such file or directory")

    # -- the end of the words --------------------------------------------------------------

    def rules(self, chain: Chain) -> list[Rule]:
        """One for each combination of the addresses listed."""
        if self._protocol[0] and not self._protocol[1]:
            rest = Rest(self._family, self._table.name, self._protocol[0])
        else:
            rest = Rest(self._family, self._table.name, 0)
        self._check_devices(chain)
        basic = Basic(
            indev=self._device("-i"),
            outdev=self._device("-o"),
            protocol=self._protocol,
            fragment=not self._given["-f"].inverted if "-f" in self._given else None,
        )
        if basic.fragment is not None and self._family.version == 6:
            raise XtablesError('unknown option "-f"')
        counters = self._given.get("-c")
        made = []
        for src, dst in product(self._networks("-s"), self._networks("-d")):
            rule = Rule(replace(basic, src=src, dst=dst), jump=self._jump, goto=self._goto)
            rule.matches = [(m.name, MATCHES[m.name](m.given, rest)) for m in self._matches]
            if self._target is not None:
                rule.target = self._make_target(self._target, rest)
            if counters is not None:
                rule.packets, rule.bytes = (number(v, "-c", high=1 << 64) for v in counters.values)
            made.append(rule)
        return made

    def _make_target(self, loaded: _Loaded, rest: Rest) -> Target:
        kind = TARGETS[loaded.name]
        if kind.tables and self._table.name not in kind.tables:
            raise XtablesError(
                f"Invalid argument. Target {kind.name} is only valid in the {kind.tables[0]} "
                f"table, not {self._table.name}."
            )
        return kind(loaded.given, rest)

    def _networks(self, name: str) -> list[tuple[Network, bool] | None]:
        given = self._given.get(name)
        if given is None:
            return [None]
        texts = given.value.split(",")
        if given.inverted and len(texts) > 1:
            raise XtablesError("! not allowed with multiple source or destination IP addresses")
        found: list[tuple[Network, bool] | None] = []
        for text in texts:
            network = Network.parse(text, self._family.version)
            anything = network.mask == 0 and not given.inverted
            found.append(None if anything else (network, given.inverted))
        return found

    def _device(self, name: str) -> tuple[str, bool] | None:
        given = self._given.get(name)
        if given is None:
            return None
        if not given.value:
            raise XtablesError("Empty interface is likely to be undesired")
        if len(given.value) > 15:
            raise XtablesError(f"interface name `{given.value}' must be shorter than 16 characters")
        return (given.value, given.inverted) if given.value != "+" else None

    def _check_devices(self, chain: Chain) -> None:
        if "-o" in self._given and chain.name in ("PREROUTING", "INPUT"):
            raise XtablesError(f"Can't use -o with {chain.name}")
        if "-i" in self._given and chain.name in ("POSTROUTING", "OUTPUT"):
            raise XtablesError(f"Can't use -i with {chain.name}")
