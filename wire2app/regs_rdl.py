"""`hdl/nic.rdl` as plain data: what the writers in `regs.py` need and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systemrdl.compiler import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, Node, RegfileNode, RegNode

__all__ = ["Counter", "Enum", "Field", "Map", "Register", "read"]

COUNTER = "counter_rf"
RING = "ring_rf"


@dataclass(frozen=True)
class Field:
    """Bits [lsb+width-1:lsb] of a register or ring entry; reset is None if no reset sets them."""

    name: str
    lsb: int
    width: int
    writable: bool
    reset: int | None
    encode: str | None
    desc: str

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True)
class Register:
    """A register, or a ring entry (then `offset` means nothing).  `name` is upper case.

    An array has `count` of them, `stride` bytes apart.
    """

    name: str
    offset: int
    width: int
    fields: tuple[Field, ...]
    desc: str
    count: int = 1
    stride: int = 0

    @property
    def reset(self) -> int:
        return sum((f.reset or 0) << f.lsb for f in self.fields)

    @property
    def write_mask(self) -> int:
        return sum(f.mask for f in self.fields if f.writable)


@dataclass(frozen=True)
class Counter:
    name: str
    offset: int
    desc: str


@dataclass(frozen=True)
class Enum:
    """An RDL enum; `members` are (name, value, desc)."""

    name: str
    width: int
    members: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class Map:
    """All that the RDL says: device, queue and ring registers (offsets relative to their block)."""

    device: tuple[Register, ...]
    ring: tuple[Register, ...]
    queue: tuple[Register, ...]
    device_counters: tuple[Counter, ...]
    queue_counters: tuple[Counter, ...]
    rings: dict[str, int]
    queue_base: int
    queue_stride: int
    queue_count: int
    entries: tuple[Register, ...]
    enums: tuple[Enum, ...]


# ---------------------------------------------------------------- read the RDL


def _text(node: Node) -> str:
    return " ".join(str(node.get_property("desc") or "").split())


def _field(node: FieldNode) -> Field:
    encode: Any = node.get_property("encode")
    reset: Any = node.get_property("reset")
    return Field(
        node.inst_name,
        node.lsb,
        node.width,
        node.is_sw_writable,
        reset,
        encode.type_name if encode else None,
        _text(node),
    )


def _register(node: RegNode, name: str, offset: int) -> Register:
    fields = tuple(_field(f) for f in node.fields())
    count, stride = 1, 0
    if node.array_dimensions:
        count, stride = node.array_dimensions[0], node.array_stride or 0
    width = node.get_property("regwidth")
    return Register(name.upper(), offset, width, fields, _text(node), count, stride)


def _registers(block: Node, path: str = "", base: int = 0) -> Iterator[Register]:
    """The registers of `block` that are neither counters nor repeated, offsets relative to it."""
    for child in block.children(unroll=False):
        if isinstance(child, RegNode):
            yield _register(child, path + child.inst_name, base + child.raw_address_offset)
        elif (
            isinstance(child, RegfileNode)
            and child.orig_type_name != COUNTER
            and not child.is_array
        ):
            offset = base + child.raw_address_offset
            yield from _registers(child, f"{path}{child.inst_name}_", offset)


def _counters(block: Node) -> tuple[Counter, ...]:
    """The counters directly in `block`; they must be one gapless array of 64-bit words."""
    found = tuple(
        Counter(child.inst_name, child.raw_address_offset, _text(child))
        for child in block.children()
        if isinstance(child, RegfileNode) and child.orig_type_name == COUNTER
    )
    for index, counter in enumerate(found):
        if counter.offset != found[0].offset + 8 * index:
            raise ValueError(f"counter {counter.name} leaves a gap before it")
    return found


def _enums(registers: tuple[RegNode, ...]) -> tuple[Enum, ...]:
    found: dict[str, Enum] = {}
    for register in registers:
        for field in register.fields():
            encode: Any = field.get_property("encode")
            if encode:
                members = tuple((m.name, m.value, m.rdl_desc or "") for m in encode)
                found[encode.type_name] = Enum(encode.type_name, field.width, members)
    return tuple(found[name] for name in sorted(found))


def read(path: Path) -> Map:
    """Compile the RDL file at `path`; `systemrdl.RDLCompileError` when it is malformed."""
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    nic: AddrmapNode = compiler.elaborate("nic").top
    entries: AddrmapNode = compiler.elaborate("nic_rings").top
    queue = nic.get_child_by_name("queue")
    if not isinstance(queue, RegfileNode) or not queue.array_dimensions:
        raise ValueError("`queue` must be an array of register files")
    rings = {
        child.inst_name: child.raw_address_offset
        for child in queue.children()
        if isinstance(child, RegfileNode) and child.orig_type_name == RING
    }
    ring = queue.get_child_by_name(next(iter(rings)))
    assert ring is not None
    every = tuple(n for top in (nic, entries) for n in top.descendants() if isinstance(n, RegNode))
    return Map(
        device=tuple(_registers(nic)),
        ring=tuple(_registers(ring)),
        queue=tuple(_registers(queue)),
        device_counters=_counters(nic),
        queue_counters=_counters(queue),
        rings=rings,
        queue_base=queue.raw_address_offset,
        queue_stride=queue.array_stride or 0,
        queue_count=queue.array_dimensions[0],
        entries=tuple(_registers(entries)),
        enums=_enums(every),
    )
