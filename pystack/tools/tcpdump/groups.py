"""The group records of IGMPv3 (RFC 3376, 4.2) and MLDv2 (RFC 3810, 5.2) reports."""

from __future__ import annotations

from collections.abc import Callable

from pystack.tools.tcpdump.dissect import Dissector

_TYPES = {1: "is_in", 2: "is_ex", 3: "to_in", 4: "to_ex", 5: "allow", 6: "block"}


def group_records(
    d: Dissector, data: bytes, address: Callable[[bytes, int], str], size: int
) -> None:
    """Print the records of a report; an address has `size` bytes."""
    count = d.u16(data, 6)
    d.print(f", {count} group record(s)")
    if not d.options.verbose:
        return
    at = 8
    for _ in range(count):
        sources = d.u16(data, at + 2)
        d.print(f" [gaddr {address(data, at + 4)} {_TYPES.get(data[at], '')}")
        first = at + 4 + size
        if d.options.verbose == 1:
            d.print(f", {sources} source(s)]")
        else:
            listed = "".join(f" {address(data, first + size * n)}" for n in range(sources))
            d.print(f" {{{listed} }}]")
        at = first + size * sources
