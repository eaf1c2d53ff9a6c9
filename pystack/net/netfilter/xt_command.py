"""The command `iptables`: one change to a table, or its listing (`iptables/iptables.c`)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from pystack.net.netfilter import xt_list
from pystack.net.netfilter.xt import Option, XtablesError
from pystack.net.netfilter.xt_family import Family
from pystack.net.netfilter.xt_parse import TARGETS, RuleReader, Words, find
from pystack.net.netfilter.xt_rule import STANDARD, Chain, Rule, Table

_COMMANDS = (
    Option(("-A", "--append")),
    Option(("-D", "--delete")),
    Option(("-C", "--check")),
    Option(("-I", "--insert")),
    Option(("-R", "--replace"), 2),
    Option(("-L", "--list"), 0),
    Option(("-S", "--list-rules"), 0),
    Option(("-F", "--flush"), 0),
    Option(("-Z", "--zero"), 0),
    Option(("-N", "--new-chain")),
    Option(("-X", "--delete-chain"), 0),
    Option(("-P", "--policy"), 2),
    Option(("-E", "--rename-chain"), 2),
)
_MORE = {"-L": 2, "-S": 2, "-Z": 2, "-F": 1, "-X": 1}  # words that may follow
_NUMBERED = ("-D", "-I")  # a number may follow the chain
_RULES = ("-A", "-D", "-C", "-I", "-R")
_FLAGS = {
    "-v": "-v",
    "--verbose": "-v",
    "-n": "-n",
    "--numeric": "-n",
    "-x": "-x",
    "--exact": "-x",
    "--line-numbers": "--line-numbers",
    "--line": "--line-numbers",
    "-4": "-4",
    "-6": "-6",
    "-w": "-w",
    "--wait": "-w",
    "-t": "-t",
    "--table": "-t",
}
MAX_CHAIN = 28


@dataclass
class Command:
    """`name` is the short one, `arguments` the words that belong to it."""

    name: str = ""
    arguments: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)


def iptables(family: Family, command: str) -> str:
    """Run one command; what it prints.  XtablesError says what is wrong."""
    try:
        words = shlex.split(command)
        if words[:1] == [family.program]:
            del words[0]
        return run(family, family.table(_table_name(words)), words, sort=True)
    except (XtablesError, ValueError) as error:
        raise XtablesError(f"{family.program}: {error}") from None


def _table_name(words: list[str]) -> str:
    for i, word in enumerate(words):
        if word in ("-t", "--table") and i + 1 < len(words):
            return words[i + 1]
        if word.startswith("--table="):
            return word.partition("=")[2]
    return "filter"


def run(family: Family, table: Table, words: list[str], *, sort: bool) -> str:
    """`words` without the program's name; `sort` as of `Table.add_chain`.

    A change that fails leaves the table as it was.
    """
    command = _read(family, table, Words(words))
    if command.name == "-L":
        return xt_list.listing(table, _chosen(table, command), command.flags, _number(command, 1))
    if command.name == "-S":
        return xt_list.rules(table, _chosen(table, command), command.flags, _number(command, 1))
    before = {name: list(chain.rules) for name, chain in table.chains.items()}
    try:
        if command.name in _RULES:
            _change_rules(table, command)
            table.check()
        else:
            _change_chains(table, command, sort)
    except XtablesError:
        for name, rules in before.items():
            table.chains[name].rules = rules
        raise
    return ""


def _read(family: Family, table: Table, words: Words) -> Command:
    command = Command()
    reader = RuleReader(family, table)
    while words:
        word, inverted = words.option()
        option = None if command.name else find(word, _COMMANDS)
        if option is not None:
            _read_command(command, option, words)
        elif word in _FLAGS:
            command.flags.add(_FLAGS[word])
            if _FLAGS[word] == "-t" or (_FLAGS[word] == "-w" and words.peek().isdigit()):
                words.take(word)
        elif _takes_rule(command):
            reader.option(word, inverted, words)
        elif command.name:
            raise XtablesError(f"Bad argument `{word}'")
        else:
            raise XtablesError(f'unknown option "{word}"')
    if not command.name:
        raise XtablesError("no command specified")
    if _takes_rule(command):
        name = command.arguments[0]
        command.rules = reader.rules(table.chains.get(name) or Chain(name))
    return command


def _takes_rule(command: Command) -> bool:
    """-D does not if it has the rule's number."""
    return command.name in _RULES and (command.name != "-D" or _number(command, 1) is None)


def _read_command(command: Command, option: Option, words: Words) -> None:
    command.name = option.names[0]
    command.arguments = [words.take(command.name) for _ in range(option.values)]
    for _ in range(_MORE.get(command.name, 0)):
        if words and words.peek() != "!" and not words.peek().startswith("-"):
            command.arguments.append(words.take(command.name))
    if command.name in _NUMBERED and words.peek().isdigit():
        command.arguments.append(words.take(command.name))
    if len(command.arguments) > 1 and command.name not in ("-P", "-E"):
        text = command.arguments[1]
        if not text.isdigit() or int(text) == 0:
            raise XtablesError(f"Invalid rule number `{text}'")


def _number(command: Command, at: int) -> int | None:
    """The rule's number among the arguments, from 1."""
    if command.name in ("-P", "-E") or len(command.arguments) <= at:
        return None
    return int(command.arguments[at])


def _chain(table: Table, name: str) -> Chain:
    if name not in table.chains:
        raise XtablesError("No chain/target/match by that name.")
    return table.chains[name]


def _chosen(table: Table, command: Command) -> list[Chain]:
    if command.arguments:
        return [_chain(table, command.arguments[0])]
    return list(table.chains.values())


# -- changes ---------------------------------------------------------------------------------


def _change_rules(table: Table, command: Command) -> None:
    chain = _chain(table, command.arguments[0])
    number, rules = _number(command, 1), chain.rules
    if command.name == "-A":
        rules += command.rules
    elif command.name == "-I":
        at = (number or 1) - 1
        if at > len(rules):
            raise XtablesError("Index of insertion too big.")
        rules[at:at] = command.rules
    elif command.name == "-R":
        if number is None or number > len(rules):
            raise XtablesError("Index of replacement too big.")
        if len(command.rules) != 1:
            raise XtablesError("Replacement rule does not specify a unique address")
        rules[number - 1] = command.rules[0]
    elif number is not None:
        if number > len(rules):
            raise XtablesError("Index of deletion too big.")
        del rules[number - 1]
    else:
        _find_rules(rules, command)


def _find_rules(rules: list[Rule], command: Command) -> None:
    """-C, and -D by what the rule says."""
    for wanted in command.rules:
        text = wanted.save()
        found = next((i for i, rule in enumerate(rules) if rule.save() == text), None)
        if found is None:
            raise XtablesError("Bad rule (does a matching rule exist in that chain?).")
        if command.name == "-D":
            del rules[found]


def _change_chains(table: Table, command: Command, sort: bool) -> None:
    name, arguments = command.name, command.arguments
    if name == "-F":
        for chain in _chosen(table, command):
            chain.rules = []
    elif name == "-Z":
        _zero(table, command)
    elif name == "-N":
        _new_chain(table, arguments[0], sort)
    elif name == "-X":
        _delete_chains(table, arguments)
    elif name == "-P":
        set_policy(table, *arguments)
    else:
        _rename_chain(table, *arguments)


def _zero(table: Table, command: Command) -> None:
    number = _number(command, 1)
    for chain in _chosen(table, command):
        if number is None:
            chain.packets = chain.bytes = 0
        elif number > len(chain.rules):
            raise XtablesError("Index of zeroing too big.")
        for at, rule in enumerate(chain.rules, 1):
            if number in (None, at):
                rule.packets = rule.bytes = 0


def check_name(name: str) -> None:
    if name.startswith(("-", "!")):
        raise XtablesError(f"chain name not allowed to start with `{name[0]}'")
    if len(name) > MAX_CHAIN:
        raise XtablesError(f"chain name `{name}' too long (must be under {MAX_CHAIN + 1} chars)")
    if not name or any(char.isspace() for char in name):
        raise XtablesError(f"Invalid chain name `{name}'")
    if name in STANDARD or name in TARGETS:
        raise XtablesError("chain name may not clash with target name")


def _new_chain(table: Table, name: str, sort: bool) -> None:
    if name in table.chains:
        raise XtablesError("Chain already exists.")
    check_name(name)
    table.add_chain(Chain(name), sort=sort)


def _delete_chains(table: Table, arguments: list[str]) -> None:
    """All users' chains, or the one named."""
    chosen = [name for name, chain in table.chains.items() if not chain.policy]
    if arguments:
        if _chain(table, arguments[0]).policy:
            raise XtablesError("Invalid argument. Run `dmesg' for more information.")
        chosen = arguments[:1]
    for name in chosen:
        if table.chains[name].rules:
            raise XtablesError("Directory not empty.")
        if table.references(name):
            raise XtablesError("Too many links.")
    for name in chosen:
        del table.chains[name]


def set_policy(table: Table, name: str, policy: str) -> None:
    if not _chain(table, name).policy:
        raise XtablesError("Bad built-in chain name.")
    if policy not in ("ACCEPT", "DROP"):
        raise XtablesError("Bad policy name. Run `dmesg' for more information.")
    table.chains[name].policy = policy


def _rename_chain(table: Table, old: str, new: str) -> None:
    chain = _chain(table, old)
    if chain.policy:
        raise XtablesError("Invalid argument. Run `dmesg' for more information.")
    if new in table.chains:
        raise XtablesError("File exists.")
    check_name(new)
    del table.chains[old]
    chain.name = new
    table.add_chain(chain, sort=True)
    for other in table.chains.values():
        for rule in other.rules:
            if rule.jump == old:
                rule.jump = new
