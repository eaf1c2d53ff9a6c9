"""What a script says: the syntax tree.  Times are in ns, sequence numbers as they are written."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from packetdrill.tcpopts import Option


class TimeKind(enum.Enum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    ABSOLUTE_RANGE = "absolute range"
    RELATIVE_RANGE = "relative range"
    ANY = "any"

    @property
    def relative(self) -> bool:
        return self in (TimeKind.RELATIVE, TimeKind.RELATIVE_RANGE, TimeKind.ANY)

    @property
    def is_range(self) -> bool:
        return self in (TimeKind.ABSOLUTE_RANGE, TimeKind.RELATIVE_RANGE)


@dataclass(frozen=True)
class When:
    """`end` is that of a range."""

    kind: TimeKind
    start: int = 0
    end: int = 0


# -- expressions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Wild:
    """`...`: whatever fits."""


WILD = Wild()


@dataclass(frozen=True)
class Name:
    """A symbol: a constant of the system, or of `--define`."""

    name: str


@dataclass(frozen=True)
class Call:
    """`htons(8080)`; also the `msg_iov(4)` of a structure's field."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Either:
    """Flags joined by `|`."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True)
class Array:
    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Struct:
    """`{name=value, ...}` in `fields`, or `{value, value}` in `values`."""

    fields: dict[str, Expr] = field(default_factory=dict)
    values: tuple[Expr, ...] = ()


Expr = int | bytes | Wild | Name | Call | Either | Array | Struct


# -- packets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class IpInfo:
    """What the script says of the IP header; None: nothing.  `ecn` is a word of the language."""

    ecn: str | None = None
    tos: int | None = None
    flowlabel: int | None = None
    ttl: int | None = None


@dataclass(frozen=True)
class Tcp:
    """`options` None: `<...>`.  `window` None: not given."""

    flags: str
    seq: int
    length: int
    ack: int = 0
    window: int | None = None
    urgent: int = 0
    options: tuple[Option, ...] | None = ()


@dataclass(frozen=True)
class Udp:
    length: int


@dataclass(frozen=True)
class Echoed:
    """The start of our own packet that an ICMP error quotes."""

    protocol: str
    length: int
    seq: int = 0


@dataclass(frozen=True)
class Icmp:
    type: str
    code: str | None = None
    mtu: int | None = None
    id: int = 0
    echoed: Echoed | None = None


@dataclass(frozen=True)
class Packet:
    """`sport`, `dport` 0: those of the connection.  `encapsulation` names what is not built."""

    inbound: bool
    transport: Tcp | Udp | Icmp
    ip: IpInfo = IpInfo()
    sport: int = 0
    dport: int = 0
    encapsulation: str = ""


# -- the rest --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Syscall:
    """`until` (ns) is when a blocking call returns; None: it does not block."""

    name: str
    args: tuple[Expr, ...]
    result: Expr
    errno: str | None = None
    until: int | None = None


@dataclass(frozen=True)
class Command:
    """A shell command between backticks; `line` is where it begins."""

    text: str
    line: int


@dataclass(frozen=True)
class Code:
    text: str


Action = Packet | Syscall | Command | Code


@dataclass(frozen=True)
class Event:
    line: int
    when: When
    action: Action


@dataclass(frozen=True)
class Script:
    options: tuple[tuple[str, str | None], ...]
    init: Command | None
    events: tuple[Event, ...]
    cleanup: Command | None
