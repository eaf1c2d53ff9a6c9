"""poll and epoll of scripts."""

from __future__ import annotations

from typing import Any

from packetdrill.errors import ScriptFailure
from packetdrill.prepared import Prepared, descriptor
from packetdrill.session import Session
from packetdrill.values import Value, symbol_of

_EPOLL_DATA = ("fd", "ptr", "u32", "u64")


def poll(session: Session, args: list[Value]) -> Prepared:
    fds, declared, timeout = args
    if len(fds) != declared:
        raise ValueError(f"nfds {declared} does not match {len(fds)}-element pollfd array")
    asked = [(descriptor(session, one["fd"]), one["events"]) for one in fds]

    def after(actual: Any) -> None:
        for index, (one, revents) in enumerate(zip(fds, actual, strict=True)):
            expected = one.get("revents", 0)
            if expected != revents:
                message = (
                    f"Expected revents of {_names(expected, 'POLL')} but got "
                    f"{_names(revents, 'POLL')} for pollfd {index}"
                )
                raise ScriptFailure(message, kind="poll events")

    return Prepared(
        lambda sys: sys.poll(asked, timeout),
        result=lambda value: sum(1 for revents in value if revents),
        after=after,
    )


def epoll_create(session: Session, args: list[Value]) -> Prepared:
    return Prepared(lambda sys: sys.epoll_create1(0), result=int, makes_fd=True)


def epoll_ctl(session: Session, args: list[Value]) -> Prepared:
    epfd, op, fd = descriptor(session, args[0]), args[1], descriptor(session, args[2])
    _, data = _data_of(args[3])
    event = args[3]["events"], data
    return Prepared(lambda sys: sys.epoll_ctl(epfd, op, fd, event))


def epoll_wait(session: Session, args: list[Value]) -> Prepared:
    epfd, expected, most, timeout = descriptor(session, args[0]), *args[1:]
    events = expected["events"]
    _, data = _data_of(expected)

    def after(actual: Any) -> None:
        found = actual[0] if actual else (0, data)
        if found[0] != events:
            message = (
                f"epoll_event->events does not match script: "
                f"expected: {_names(events, 'EPOLL')} actual: {_names(found[0], 'EPOLL')}"
            )
            raise ScriptFailure(message, kind="epoll events")
        if found[1] != data:
            message = (
                f"epoll_event->data does not match script: expected: {data} actual: {found[1]}"
            )
            raise ScriptFailure(message, kind="epoll data")

    return Prepared(lambda sys: sys.epoll_wait(epfd, most, timeout), result=len, after=after)


def _data_of(event: Value) -> tuple[str, int]:
    """The member of `epoll_data_t` a script uses, and its value."""
    for name in _EPOLL_DATA:
        if name in event:
            return name, event[name]
    raise KeyError("epoll_event needs one of fd, ptr, u32, u64")


def _names(events: int, prefix: str) -> str:
    bits = [1 << bit for bit in range(32) if events >> bit & 1]
    return "|".join(symbol_of(bit, prefix) for bit in bits) or "0"
