"""docs/registers.md from the register map: one table a register block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wire2app.regs_rdl import Counter, Field, Map, Register

__all__ = ["registers_page"]


def registers_page(rdl: Map) -> Iterator[str]:
    """The lines of the page."""
    yield "# Registers and ring entries"
    yield ""
    yield "Generated from `hdl/nic.rdl` by `wire2app regs`: do not edit. [rings.md](rings.md) says"
    yield "how the rings are used. Registers are 32 bits wide, little endian, at byte offsets; an"
    yield "access to anything else is answered with DECERR. Reset `-`: no reset sets it, or it"
    yield "shows a state."
    yield from _registers("Device", rdl.device)
    yield from _counters("Device counters", rdl.device_counters)
    blocks = ", ".join(f"`{name}` at {at:#04x}" for name, at in rdl.rings.items())
    yield ""
    yield f"Queue pair *n* of at most {rdl.queue_count} has its block at"
    yield f"{rdl.queue_base:#06x} + *n* · {rdl.queue_stride:#x}, with the ring blocks {blocks}."
    yield from _registers("Ring block", rdl.ring)
    rings = tuple(f"{name.upper()}_" for name in rdl.rings)
    own = [register for register in rdl.queue if not register.name.startswith(rings)]
    yield from _registers("Queue block, behind the rings", own)
    yield from _counters("Queue counters", rdl.queue_counters)
    yield from _registers("Ring entries in host memory (16 bytes)", rdl.entries, offsets=False)
    for enum in rdl.enums:
        yield from (
            "",
            f"## `{enum.name}`",
            "",
            "| value | name | meaning |",
            "| ---: | --- | --- |",
        )
        yield from (f"| {value} | `{name}` | {desc} |" for name, value, desc in enum.members)


def _registers(title: str, registers: Iterable[Register], offsets: bool = True) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield "| offset | register | bits | field | access | reset | meaning |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for register in registers:
        offset = f"{register.offset:#05x}" if offsets else ""
        if register.count > 1:
            offset += f" + {register.stride} · *n*, *n* < {register.count}"
        yield f"| {offset} | **`{register.name.lower()}`** | | | | | {register.desc} |"
        for field in register.fields:
            yield f"| | | {_bits(field)} | `{field.name}` | {_rest(field)} |"


def _bits(field: Field) -> str:
    high = field.lsb + field.width - 1
    return f"{high}:{field.lsb}" if field.width > 1 else str(field.lsb)


def _rest(field: Field) -> str:
    access = "rw" if field.writable else "r"
    meaning = f"{field.desc} (`{field.encode}`)" if field.encode else field.desc
    reset = "-" if field.reset is None else f"{field.reset:#x}"
    return f"{access} | {reset} | {meaning}"


def _counters(title: str, counters: Iterable[Counter]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield "64 bits each: the low word here, the high word four above, latched by reading the low;"
    yield "all counters share one latch. Some need more words: [Counters](rings.md#counters)."
    yield from ("", "| offset | counter | counts |", "| --- | --- | --- |")
    yield from (f"| {c.offset:#05x} | `{c.name}` | {c.desc} |" for c in counters)
