"""What the save file of GTKWave needs to know of the RTL: instances, enums, signals of enum type.

A waveform names instances, not modules, and Icarus keeps no enum names in it.  Both are in the
sources, in the plain style they are written in; what this reader does not recognise is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Enum", "Module", "Rtl", "read_rtl"]

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
MODULE = re.compile(r"\bmodule\s+(\w+)(.*?)\bendmodule\b", re.DOTALL)
ENUM = re.compile(r"\btypedef\s+enum\s+logic\s*(?:\[(\d+):0\])?\s*\{(.*?)\}\s*(\w+)\s*;", re.DOTALL)
WORD = re.compile(r"\w+")
LITERAL = re.compile(r"(?:\d*'([bdoh]))?([0-9a-fA-F_]+)$")
GROUP = r"\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"  # four deep
PARAMETERS = rf"(?:#\s*{GROUP}\s*)?"
BASES = {"b": 2, "o": 8, "d": 10, "h": 16, None: 10}


@dataclass(frozen=True)
class Enum:
    """Labels by value, of a type `width` bits wide."""

    name: str
    width: int
    labels: dict[int, str]


@dataclass
class Module:
    """instances: instance name to module name; signals: signal name to the enum it has.

    order: every name in the module, by where it first stands.
    """

    name: str
    order: dict[str, int] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    signals: dict[str, Enum] = field(default_factory=dict)


@dataclass(frozen=True)
class Rtl:
    """All modules by name, and the enums of the packages."""

    modules: dict[str, Module]
    enums: dict[str, Enum]


def read_rtl(sources: Iterable[Path]) -> Rtl:
    """Read SystemVerilog files; one that is gone meanwhile is left out."""
    texts = [COMMENT.sub("", path.read_text()) for path in sources if path.is_file()]
    bodies = {name: body for text in texts for name, body in MODULE.findall(text)}
    shared: dict[str, Enum] = {}
    for text in texts:
        shared |= _enums(MODULE.sub("", text))
    names = "|".join(map(re.escape, bodies)) or "$^"
    instance = re.compile(rf"\b({names})\s+{PARAMETERS}(\w+)\s*\(")
    modules = {}
    for name, body in bodies.items():
        enums = shared | _enums(body)
        instances = {inst: child for child, inst in instance.findall(body)}
        order = {word: place for place, word in enumerate(dict.fromkeys(WORD.findall(body)))}
        modules[name] = Module(name, order, instances, _signals(body, enums))
    return Rtl(modules, shared)


def _enums(text: str) -> dict[str, Enum]:
    found = {}
    for high, body, name in ENUM.findall(text):
        labels: dict[int, str] = {}
        value = 0
        for entry in filter(None, (part.strip() for part in body.split(","))):
            label, _, literal = (word.strip() for word in entry.partition("="))
            match = LITERAL.match(literal)
            if match:
                value = int(match[2].replace("_", ""), BASES[match[1]])
            labels[value] = label
            value += 1
        found[name] = Enum(name, int(high or 0) + 1, labels)
    return found


def _signals(body: str, enums: dict[str, Enum]) -> dict[str, Enum]:
    """Ports and variables declared with the name of an enum type."""
    names = "|".join(map(re.escape, enums)) or "$^"
    declared = re.findall(rf"\b(?:\w+::)?({names})\s+(\w+(?:\s*,\s*\w+)*)\s*[;,)=]", body)
    signals = {}
    for enum, listed in declared:
        for signal in re.split(r"\s*,\s*", listed):
            signals[signal] = enums[enum]
    return signals
