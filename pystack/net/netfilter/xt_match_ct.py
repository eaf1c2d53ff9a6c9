"""Matches on what connection tracking knows: conntrack and state (`xt_conntrack.c`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pystack.net.netfilter.conn import SECOND, Conn, CtInfo, Ref, Status
from pystack.net.netfilter.packet import Packet
from pystack.net.netfilter.xt import Given, Match, Option, Options, Rest, XtablesError
from pystack.net.netfilter.xt_values import Network, Ports, number, protocol

_STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")
_BY_INFO = {
    CtInfo.ESTABLISHED: "ESTABLISHED",
    CtInfo.ESTABLISHED_REPLY: "ESTABLISHED",
    CtInfo.RELATED: "RELATED",
    CtInfo.RELATED_REPLY: "RELATED",
    CtInfo.NEW: "NEW",
    CtInfo.UNTRACKED: "UNTRACKED",
}
_STATUS = {
    "EXPECTED": Status.EXPECTED,
    "SEEN_REPLY": Status.SEEN_REPLY,
    "ASSURED": Status.ASSURED,
    "CONFIRMED": Status.CONFIRMED,
}


def _names(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = text.upper().split(",")
    for name in names:
        if name not in known:
            raise XtablesError(f'Bad ctst{what} "{name}"')
    return tuple(name for name in known if name in names)


def state_of(ref: Ref | None) -> str:
    return "INVALID" if ref is None else _BY_INFO[ref.info]


Holds = Callable[[Ref | None], bool]


class StateMatch(Match):
    name = "state"
    options = (Option(("--state",), invert=True),)

    def __init__(self, given: Options, rest: Rest) -> None:
        if "--state" not in given:
            raise XtablesError('state: option "--state" must be specified')
        self.states = _names(given["--state"].value, _STATES[:5], "ate")
        self.inverted = given["--state"].inverted
        rest.family.need_conntrack()

    def matches(self, packet: Packet) -> bool:
        return (state_of(packet.skb.nfct) in self.states) is not self.inverted

    def save(self) -> str:
        return f"{' !' if self.inverted else ''} --state {','.join(self.states)}"

    def listing(self) -> str:
        return f"{' !' if self.inverted else ''} state {','.join(self.states)}"


class _Test(NamedTuple):
    """One condition: how it is written, and whether a connection fulfils it."""

    option: str
    value: str
    inverted: bool
    holds: Holds


# In the order iptables-save has them.
_ORDER = (
    "--ctstate --ctproto --ctorigsrc --ctorigdst --ctreplsrc --ctrepldst --ctorigsrcport "
    "--ctorigdstport --ctreplsrcport --ctrepldstport --ctstatus --ctexpire --ctdir"
).split()


class ConntrackMatch(Match):
    name = "conntrack"
    options = tuple(Option((name,), invert=name != "--ctdir") for name in _ORDER)

    def __init__(self, given: Options, rest: Rest) -> None:
        if not given:
            raise XtablesError("conntrack: At least one option is required")
        rest.family.need_conntrack()
        self.version = rest.family.version
        self.tests = [self._test(name, given[name]) for name in _ORDER if name in given]

    def _test(self, name: str, given: Given) -> _Test:
        text, holds = self._parse(name, given)
        return _Test(name, text, given.inverted, holds)

    def _parse(self, name: str, given: Given) -> tuple[str, Holds]:
        value = given.value
        if name == "--ctstate":
            states = _names(value, _STATES, "ate")
            return ",".join(states), lambda ref: _in_states(ref, states)
        if name == "--ctproto":
            wanted = protocol(value)
            return str(wanted), _of(lambda conn: conn.tuples[0].protocol == wanted)
        if name == "--ctstatus":
            return _status(value)
        if name == "--ctexpire":
            return _expire(value)
        if name == "--ctdir":
            return _direction(value)
        direction = int(name.startswith("--ctrepl"))
        if name.endswith("port"):
            ports = Ports.parse(Given((value,)))
            field = "sport" if name.endswith("srcport") else "dport"
            return str(ports), _of(lambda conn: getattr(conn.tuples[direction], field) in ports)
        network = Network.parse(value, self.version)
        end = "src" if name.endswith("src") else "dst"
        return network.listing(), _of(
            lambda conn: network.covers(getattr(conn.tuples[direction], end))
        )

    def matches(self, packet: Packet) -> bool:
        ref = packet.skb.nfct
        tests = self.tests
        if ref is None or ref.conn is None:
            # As in Linux, of a packet without a connection the state alone decides.
            tests = tests[:1] if tests[0].option == "--ctstate" else []
        return bool(tests) and all(test.holds(ref) is not test.inverted for test in tests)

    def save(self) -> str:
        return "".join(
            f"{' !' if test.inverted else ''} {test.option} {test.value}" for test in self.tests
        )

    def listing(self) -> str:
        return "".join(
            f"{' !' if test.inverted else ''} {test.option[2:]} {test.value}" for test in self.tests
        )


def _in_states(ref: Ref | None, states: tuple[str, ...]) -> bool:
    if state_of(ref) in states:
        return True
    if ref is None or ref.conn is None:
        return False
    status = ref.conn.status
    return bool(
        ("SNAT" in states and status & Status.SRC_NAT)
        or ("DNAT" in states and status & Status.DST_NAT)
    )


def _of(holds: Callable[[Conn], bool]) -> Holds:
    return lambda ref: ref is not None and ref.conn is not None and holds(ref.conn)


def _status(text: str) -> tuple[str, Holds]:
    if text.upper() == "NONE":
        return "NONE", lambda ref: False  # as in Linux: no bit of no bits is set
    names = _names(text, tuple(_STATUS), "atus")
    bits = Status(0)
    for name in names:
        bits |= _STATUS[name]
    return ",".join(names), _of(lambda conn: bool(conn.status & bits))


def _expire(text: str) -> tuple[str, Holds]:
    low, colon, high = text.partition(":")
    first = number(low, "--ctexpire")
    last = number(high, "--ctexpire") if colon else first
    return (f"{first}:{last}" if last != first else str(first)), _of(
        lambda conn: first <= _left(conn) <= last
    )


def _left(conn: Conn) -> int:
    """Seconds to live; of an unconfirmed connection `expires` is from now."""
    confirmed = conn.status & Status.CONFIRMED
    return (conn.expires - (conn.kernel.now if confirmed else 0)) // SECOND


def _direction(text: str) -> tuple[str, Holds]:
    wanted = {"ORIGINAL": 0, "REPLY": 1}.get(text.upper())
    if wanted is None:
        raise XtablesError(f'conntrack: bad value for option "--ctdir": "{text}"')
    return (
        text.upper(),
        lambda ref: ref is not None and ref.conn is not None and ref.info.direction == wanted,
    )
