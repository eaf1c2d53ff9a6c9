"""Source filters of multicast groups: what the sockets of a host together want to hear on a link,
and the records that tell routers so (RFC 3376, RFC 3810; `ip_mc_add_src`, `add_grec` and
`igmp_marksources` of `net/ipv4/igmp.c`, `net/ipv6/mcast.c`).

`igmp` and `mld` keep their groups here, and put `Record`s into their messages; addresses are of
either length.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from pystack.core.timer import Timer

MCAST_EXCLUDE, MCAST_INCLUDE = 0, 1
MODE_IS_INCLUDE, MODE_IS_EXCLUDE = 1, 2
CHANGE_TO_INCLUDE, CHANGE_TO_EXCLUDE = 3, 4
ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES = 5, 6
_TRUNCATED = MODE_IS_EXCLUDE, CHANGE_TO_EXCLUDE


class Record(NamedTuple):
    kind: int
    group: bytes
    sources: Sequence[bytes] = ()


class Change(NamedTuple):
    """`users` join (1), leave (-1) or stay (0); `sources` enter their filter (`step` 1) or leave
    it (-1).  Their filter is of `mode`."""

    mode: int
    sources: Collection[bytes] = ()
    step: int = 1
    users: int = 0


class Group:
    """A group on a link.  `users` of it, by the mode of their filters; `sources`: in how many
    filters of each mode one is.

    Still to be told, so often: `changed`, the mode; `appeared` and `vanished`, sources of the
    merged list.  `queried`: the sources a router has asked for, none when for all.  `unsolicited`:
    IGMPv2's reports to come; `reporter`: the last report on the link was ours, so the leave has to
    be, too.
    """

    def __init__(self, mode: int, timer: Timer) -> None:
        self.mode = mode
        self.users = [0, 0]
        self.users[mode] = 1
        self.sources: dict[bytes, list[int]] = {}
        self.changed = 0
        self.appeared: dict[bytes, int] = {}
        self.vanished: dict[bytes, int] = {}
        self.queried: set[bytes] = set()
        self.unsolicited = 0
        self.reporter = False
        self.timer = timer

    def allows(self, source: bytes) -> bool:
        """Does anybody want what `source` sends (`ip_check_mc_rcu`)?"""
        if not self.sources:
            return self.users[MCAST_EXCLUDE] > 0
        excluded, included = self.sources.get(source, (0, 0))
        return included > 0 or excluded != self.users[MCAST_EXCLUDE]

    def active(self) -> list[bytes]:
        """The merged list: sources that everybody excludes, or else that anybody includes."""
        users = self.users[MCAST_EXCLUDE]
        if users:
            return [s for s, (ex, inc) in self.sources.items() if ex == users and not inc]
        return [source for source, (_, included) in self.sources.items() if included]

    def apply(self, change: Change, robustness: int) -> bool:
        """Whether there is something to tell."""
        before = self.active()
        self.users[change.mode] += change.users
        for source in change.sources:
            counts = self.sources.setdefault(source, [0, 0])
            counts[change.mode] += change.step
            if not any(counts):
                del self.sources[source]
        mode = self.mode
        if any(self.users):  # the last one leaves a group as it was
            mode = MCAST_EXCLUDE if self.users[MCAST_EXCLUDE] else MCAST_INCLUDE
        if mode != self.mode:
            self.mode, self.changed = mode, robustness
            self.appeared.clear()
            self.vanished.clear()
            return True
        after = self.active()
        new = [source for source in after if source not in before]
        gone = [source for source in before if source not in after]
        _move(new, self.vanished, self.appeared, robustness)
        _move(gone, self.appeared, self.vanished, robustness)
        return bool(new or gone)

    def announce(self, robustness: int) -> None:
        """All of it is news (`igmp_group_added`)."""
        if self.mode == MCAST_EXCLUDE:
            self.changed = robustness
        else:
            self.appeared = dict.fromkeys(self.active(), robustness)

    def asked(self, sources: Collection[bytes]) -> bool:
        """A router asks for the group, or only for some `sources` of it: is there an answer?
        (`igmp_marksources`)"""
        if not sources or (self.timer.pending and not self.queried):
            self.queried.clear()
            return True
        active = set(self.active())
        if self.mode == MCAST_EXCLUDE:
            self.queried.clear()
            return not active.issuperset(sources)
        found = active.intersection(sources)
        self.queried = self.queried | found if found else set()
        return bool(found)

    def state(self, group: bytes) -> Record:
        """The answer to a query, whose sources are forgotten."""
        sources = self.active()
        if self.queried:
            sources = [source for source in sources if source in self.queried]
            self.queried.clear()
        exclude = self.users[MCAST_EXCLUDE] > 0
        return Record(MODE_IS_EXCLUDE if exclude else MODE_IS_INCLUDE, group, sources)

    def changes(self, group: bytes) -> Iterator[Record]:
        """To be told this time; a change of the mode tells the sources, too (RFC 3376, 5.1)."""
        new, gone = _once(self.appeared), _once(self.vanished)
        exclude = self.mode == MCAST_EXCLUDE
        if self.changed:
            self.changed -= 1
            yield Record(CHANGE_TO_EXCLUDE if exclude else CHANGE_TO_INCLUDE, group, self.active())
            return
        kinds = ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES
        for kind, sources in zip(kinds[::-1] if exclude else kinds, (new, gone), strict=True):
            if sources:
                yield Record(kind, group, sources)

    @property
    def untold(self) -> bool:
        return bool(self.changed or self.appeared or self.vanished)


class Groups(dict[bytes, Group]):
    """The groups of a link; of those it was in, `left` is what is still to be told.  Records come
    newest first, as Linux's."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[bytes, Group] = {}

    def enter(self, name: bytes, mode: int, timer: Timer) -> Group:
        """What was still to be told of its sources, is (`igmpv3_del_delrec`)."""
        group = self[name] = Group(mode, timer)
        left = self.left.pop(name, None)
        if left is not None and mode == MCAST_INCLUDE and left.mode == MCAST_INCLUDE:
            group.vanished = left.vanished
        return group

    def depart(self, name: bytes, robustness: int) -> None:
        """Its last user has gone: to be told (`igmpv3_add_delrec`)."""
        group = self.left[name] = self.pop(name)
        group.timer.delete()
        group.changed = robustness if group.mode == MCAST_EXCLUDE else 0

    def changes(self) -> list[Record]:
        """What is to be told this time."""
        records: list[Record] = []
        for name, group in reversed(self.left.items()):
            records += _last(name, group)
        self.left = {
            name: group
            for name, group in self.left.items()
            if group.changed or (group.mode == MCAST_INCLUDE and group.vanished)
        }
        for name, group in reversed(self.items()):
            records += group.changes(name)
        return records

    def states(self) -> list[Record]:
        """The answer to a query for all groups."""
        return [group.state(name) for name, group in reversed(self.items())]

    @property
    def untold(self) -> bool:
        return bool(self.left) or any(group.untold for group in self.values())

    def forget_left(self) -> None:
        """An older router is about, who has no ear for this (`igmpv3_clear_delrec`)."""
        self.left.clear()
        for group in self.values():
            group.vanished.clear()


def reports(records: list[Record], room: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Messages as (number of records, body) of at most `room` bytes; addresses have `length`.

    Lists that do not fit are divided, but those of what is excluded begin a message of their own
    and are cut short (RFC 3376, 4.2.16; `add_grec`).
    """
    count, body = 0, b""
    for record in records:
        sources = list(record.sources)
        whole = 4 + length * (1 + len(sources))
        least = whole if record.kind in _TRUNCATED else 4 + length * (2 if sources else 1)
        if count and len(body) + least > room:
            yield count, body
            count, body = 0, b""
        while True:
            fits = (room - len(body) - 4 - length) // length
            part, sources = sources[:fits], sources[fits:]
            head = bytes((record.kind, 0)) + len(part).to_bytes(2, "big") + record.group
            count, body = count + 1, body + head + b"".join(part)
            if not sources or record.kind in _TRUNCATED:
                break
            yield count, body
            count, body = 0, b""
    if count:
        yield count, body


def parsed_sources(data: bytes, at: int, length: int) -> set[bytes]:
    """Of a query: their number is in the two bytes before `at`."""
    count = int.from_bytes(data[at - 2 : at], "big")
    return {data[at + i * length : at + (i + 1) * length] for i in range(count)}


def _last(name: bytes, group: Group) -> Iterator[Record]:
    """Of a group that was left."""
    if group.mode == MCAST_EXCLUDE:
        group.changed -= 1
        yield Record(CHANGE_TO_INCLUDE, name)
    elif group.vanished:
        yield Record(BLOCK_OLD_SOURCES, name, _once(group.vanished))


def _once(untold: dict[bytes, int]) -> list[bytes]:
    """Those still to be told, and once less from now on."""
    sources = list(untold)
    for source in sources:
        untold[source] -= 1
        if not untold[source]:
            del untold[source]
    return sources


def _move(
    sources: list[bytes], old: dict[bytes, int], new: dict[bytes, int], robustness: int
) -> None:
    for source in sources:
        old.pop(source, None)
        new[source] = robustness
