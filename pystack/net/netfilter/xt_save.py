"""Files of rules as `iptables-save` writes and `iptables-restore` reads them."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

from pystack.net.netfilter.xt import XtablesError
from pystack.net.netfilter.xt_command import check_name, run, set_policy
from pystack.net.netfilter.xt_family import Family
from pystack.net.netfilter.xt_rule import Chain, Table

_CHAIN = re.compile(r":(\S+)\s+(\S+)(?:\s+\[(\d+):(\d+)\])?\s*$")
_COUNTERS = re.compile(r"\[(\d+):(\d+)\]\s*")


def save(family: Family, counters: bool = False) -> str:
    """Every table that is in use; with `counters` before each rule, as `iptables-save -c`."""
    return "".join(_save_table(table, counters) for table in family.tables.values())


def _save_table(table: Table, counters: bool) -> str:
    lines = [f"*{table.name}"]
    for chain in table.chains.values():
        lines.append(f":{chain.name} {chain.policy or '-'} [{chain.packets}:{chain.bytes}]")
    for chain in table.chains.values():
        for rule in chain.rules:
            count = f"[{rule.packets}:{rule.bytes}] " if counters else ""
            lines.append(f"{count}-A {chain.name}{rule.save()}")
    return "".join(f"{line}\n" for line in [*lines, "COMMIT"])


class _Restore:
    """The tables of a file as they come into being; each takes effect at its COMMIT."""

    def __init__(self, family: Family, counters: bool, noflush: bool) -> None:
        self._family = family
        self._counters = counters
        self._noflush = noflush
        self._table: Table | None = None

    def line(self, line: str) -> None:
        if self._table is None:
            if not line.startswith("*"):
                raise XtablesError(f"Line before a table: {line!r}")
            self._table = self._begin(line[1:].strip())
        elif line == "COMMIT":
            self._table.check()
            self._family.tables[self._table.name].chains = self._table.chains
            self._table = None
        elif line.startswith(":"):
            self._chain(self._table, line)
        else:
            self._rule(self._table, line)

    def _begin(self, name: str) -> Table:
        live = self._family.table(name)
        table = Table(name, live.hooks)
        if self._noflush:
            table.chains = {
                key: replace(chain, rules=list(chain.rules)) for key, chain in live.chains.items()
            }
        return table

    def _chain(self, table: Table, line: str) -> None:
        found = _CHAIN.match(line)
        if found is None:
            raise XtablesError("Bad chain line")
        name, policy, packets, size = found.groups()
        chain = table.chains.get(name)
        if chain is None:
            check_name(name)
            chain = Chain(name)
            table.add_chain(chain, sort=False)
        elif not chain.policy:
            chain.rules = []
        if policy != "-":
            set_policy(table, name, policy)
        if self._counters and packets is not None:
            chain.packets, chain.bytes = int(packets), int(size)

    def _rule(self, table: Table, line: str) -> None:
        counters = _COUNTERS.match(line)
        words = shlex.split(line[counters.end() :] if counters else line)
        if counters and self._counters and words[:1] == ["-A"]:
            words += ["-c", counters[1], counters[2]]
        run(self._family, table, words, sort=False)

    def end(self) -> None:
        if self._table is not None:
            raise XtablesError("COMMIT expected")


def restore(family: Family, text: str, *, counters: bool = False, noflush: bool = False) -> None:
    """`iptables-restore [-c] [-n]`; XtablesError names the line, and what was not committed by
    then stays as it was."""
    state = _Restore(family, counters, noflush)
    lines = text.splitlines()
    number = 0
    try:
        while number < len(lines):
            line = lines[number]
            number += 1
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                state.line(stripped)
        state.end()
    except (XtablesError, ValueError) as error:
        raise XtablesError(f"{family.program}-restore: line {number} failed: {error}") from None
