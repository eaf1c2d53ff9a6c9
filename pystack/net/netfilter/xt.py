"""What matches and targets of rules are made of (`include/linux/netfilter/x_tables.h`).

An extension names its options; the parser (`xt_parse`) gives it what was written, and it says
whether a packet matches, or what becomes of it, and how it is written by iptables-save and
`iptables -L`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from pystack.net.hooks import Hook, Verdict
from pystack.net.netfilter.packet import Packet

if TYPE_CHECKING:
    from pystack.net.netfilter.xt_family import Family


class XtablesError(Exception):
    """What is wrong with a command or a rule, in iptables' words where it has some."""


class Option(NamedTuple):
    """`names` with their dashes, the one it is known by first.  `values` follow it."""

    names: tuple[str, ...]
    values: int = 1
    invert: bool = False


class Given(NamedTuple):
    values: tuple[str, ...]
    inverted: bool = False

    @property
    def value(self) -> str:
        return self.values[0]


Options: TypeAlias = Mapping[str, Given]
"""What was written, by the option's first name."""


class Rest(NamedTuple):
    """What an extension may know of the rule it is in.  `protocol` 0: any."""

    family: Family
    table: str
    protocol: int


class Extension:
    """`save()` and `listing()` begin with a blank if they say anything at all."""

    name: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()

    def save(self) -> str:
        return ""

    def listing(self) -> str:
        return ""


class Match(Extension, ABC):
    def __init__(self, given: Options, rest: Rest) -> None:
        """XtablesError if what is given makes no sense."""

    @abstractmethod
    def matches(self, packet: Packet) -> bool: ...


class Target(Extension, ABC):
    """`tables` and `hooks` are where it may stand; empty: anywhere."""

    tables: ClassVar[tuple[str, ...]] = ()
    hooks: ClassVar[tuple[Hook, ...]] = ()

    def __init__(self, given: Options, rest: Rest) -> None:
        """XtablesError if what is given makes no sense."""

    @abstractmethod
    def apply(self, packet: Packet) -> Verdict | None:
        """None: go on with the next rule."""


def require(rest: Rest, protocol: int, name: str, written: str) -> None:
    """XtablesError unless the rule is of the one protocol a match is for."""
    if rest.protocol != protocol:
        raise XtablesError(f"{name} match needs `-p {written}'")
