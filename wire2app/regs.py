"""Register map generator: `hdl/nic.rdl` in; SystemVerilog, Python constants and a page out.

The RDL is the only place where an address, a field position or a ring entry layout is typed.
The outputs are committed; `drift()` names those that no longer match and a test fails on it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from wire2app.regs_doc import registers_page
from wire2app.regs_rdl import Counter, Enum, Field, Map, Register, read

__all__ = ["drift", "generate", "write"]

ROOT = Path(__file__).resolve().parent.parent
RDL = ROOT / "hdl" / "nic.rdl"
SV_PACKAGE = ROOT / "hdl" / "nic" / "nic_regs_pkg.sv"
PAGE = ROOT / "docs" / "registers.md"
PY_MODULE = ROOT / "pystack" / "dev" / "drivers" / "w2a_regs.py"

WIDTH = 100
SV_MERGE = """
    // A register after a write: `mask` has a bit for each bit that is written.
    function automatic logic [31:0] reg_merge(input logic [31:0] old, input logic [31:0] data,
                                              input logic [31:0] mask);
        reg_merge = (old & ~mask) | (data & mask);
    endfunction"""
STRUCT_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


def generate() -> dict[Path, str]:
    """The files' paths and what should be in them, from `hdl/nic.rdl` as it is now."""
    rdl = read(RDL)
    return {
        SV_PACKAGE: "\n".join(_sv_package(rdl)) + "\n",
        PY_MODULE: "\n".join(_py_module(rdl)) + "\n",
        PAGE: "\n".join(registers_page(rdl)) + "\n",
    }


def drift() -> list[Path]:
    """The generated files that are missing or differ from what the RDL says."""
    return [p for p, text in generate().items() if not p.exists() or p.read_text() != text]


def write() -> None:
    """Bring both files up to date; an unchanged one is not touched."""
    for path, text in generate().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def _comment(text: str, mark: str, indent: str = "") -> list[str]:
    """`text` as comment lines no wider than a line of source; nothing for an empty text."""
    start = f"{indent}{mark} "
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start)


def _prefixed(prefix: str, registers: Iterable[Register]) -> Iterator[tuple[str, Register]]:
    for register in registers:
        yield prefix + register.name, register


# ---------------------------------------------------------------- SystemVerilog


def _sv_package(rdl: Map) -> Iterator[str]:
    yield "// Generated from hdl/nic.rdl by `wire2app regs`: do not edit."
    yield "// Register addresses and layouts, ring entries, status codes."
    yield "`default_nettype none"
    yield ""
    yield "// The map is whole, whether or not the RTL uses each part of it."
    yield "// verilator lint_off UNUSEDPARAM"
    yield "package nic_regs_pkg;"
    for enum in rdl.enums:
        yield from _sv_enum(enum)
    yield ""
    yield "    // Device registers: address, reset value, writable bits, layout."
    for name, register in _prefixed("", rdl.device):
        yield from _sv_register(name, register, 16)
    yield from _sv_counters("", rdl.device_counters, 16)
    yield ""
    yield "    // Queue blocks: one a queue pair; offsets within a block are 8 bits wide."
    yield f"    localparam logic [15:0] QUEUE_BASE = 16'h{rdl.queue_base:04x};"
    yield f"    localparam int QUEUE_STRIDE = {rdl.queue_stride};"
    yield f"    localparam int MAX_QUEUES = {rdl.queue_count};"
    for name, offset in rdl.rings.items():
        yield f"    localparam logic [7:0] Q_{name.upper()} = 8'h{offset:02x};"
    own = [r for r in rdl.queue if not r.name.startswith(tuple(f"{n.upper()}_" for n in rdl.rings))]
    for name, register in _prefixed("Q_", own):
        yield from _sv_register(name, register, 8)
    yield from _sv_counters("Q_", rdl.queue_counters, 8)
    yield ""
    yield "    // Ring blocks (Q_RX, Q_TX): offsets within a block are 6 bits wide."
    for name, register in _prefixed("RING_", rdl.ring):
        yield from _sv_register(name, register, 6)
    yield ""
    yield "    // Ring entries in host memory, little endian."
    for register in rdl.entries:
        yield from _sv_struct(f"{register.name.lower()}_t", register)
    yield SV_MERGE
    yield ""
    yield "endpackage"
    yield "// verilator lint_on UNUSEDPARAM"
    yield ""
    yield "`default_nettype wire"


def _sv_enum(enum: Enum) -> Iterator[str]:
    prefix = enum.name.removesuffix("_e").upper()
    yield ""
    yield f"    typedef enum logic [{enum.width - 1}:0] {{"
    for index, (name, value, desc) in enumerate(enum.members):
        yield from _comment(desc, "//", "        ")
        comma = "," if index < len(enum.members) - 1 else ""
        yield f"        {prefix}_{name} = {enum.width}'d{value}{comma}"
    yield f"    }} {enum.name};"


def _sv_register(name: str, register: Register, address_bits: int) -> Iterator[str]:
    digits = (address_bits + 3) // 4
    yield ""
    yield from _comment(register.desc, "//", "    ")
    yield (
        f"    localparam logic [{address_bits - 1}:0] {name} = "
        f"{address_bits}'h{register.offset:0{digits}x};"
    )
    if register.count > 1:
        yield f"    localparam int {name}_COUNT = {register.count};"
        yield f"    localparam int {name}_STRIDE = {register.stride};"
    if register.reset or register.write_mask:
        yield f"    localparam logic [31:0] {name}_RESET = 32'h{register.reset:08x};"
    if register.write_mask:
        yield f"    localparam logic [31:0] {name}_WMASK = 32'h{register.write_mask:08x};"
    yield from _sv_struct(f"{name.lower()}_reg_t", register)


def _sv_struct(name: str, register: Register) -> Iterator[str]:
    yield "    typedef struct packed {"
    top = register.width
    fields = sorted(register.fields, key=lambda f: f.lsb, reverse=True)
    for field in fields:
        yield from _sv_gap(field.lsb + field.width, top)
        yield f"        {_sv_kind(field, register)} {field.name};"
        top = field.lsb
    yield from _sv_gap(0, top)
    yield f"    }} {name};"


def _sv_kind(field: Field, register: Register) -> str:
    """Type of a struct member.  The bits of a register come from a bus, so they have no enum."""
    if field.encode and register.width > 32:
        return field.encode
    return "logic" if field.width == 1 else f"logic [{field.width - 1}:0]"


def _sv_gap(low: int, high: int) -> Iterator[str]:
    if low < high:
        yield f"        logic [{high - low - 1}:0] reserved_{high - 1}_{low};"


def _sv_counters(prefix: str, counters: tuple[Counter, ...], address_bits: int) -> Iterator[str]:
    digits = address_bits // 4
    kind = f"localparam logic [{address_bits - 1}:0]"
    yield ""
    yield "    // Counters, 64 bits each: index in their array."
    base = counters[0].offset
    yield f"    {kind} {prefix}COUNTER_BASE = {address_bits}'h{base:0{digits}x};"
    yield f"    localparam int {prefix}COUNTERS = {len(counters)};"
    for index, counter in enumerate(counters):
        yield from _comment(counter.desc, "//", "    ")
        yield f"    localparam int {prefix}CNT_{counter.name.upper()} = {index};"


# ---------------------------------------------------------------- Python


def _py_module(rdl: Map) -> Iterator[str]:
    yield '"""Generated from hdl/nic.rdl by `wire2app regs`: do not edit.'
    yield ""
    yield "Register offsets (bytes), field masks and shifts, counters, ring entry layouts."
    yield "`Q_...` is relative to `queue_block(n)`, `RING_...` to that plus `Q_RX` or `Q_TX`."
    yield '"""'
    yield ""
    yield "from __future__ import annotations"
    yield ""
    yield "import struct"
    yield "from enum import IntEnum"
    yield "from typing import Final, NamedTuple"
    for enum in rdl.enums:
        yield from _py_enum(enum)
    yield from ("", "", "class Counter(NamedTuple):")
    yield '    """A 64-bit counter: low word at `offset`, high word, latched by it, four above."""'
    yield from ("", "    name: str", "    offset: int", "    desc: str", "")
    yield from ("", "# Device registers.")
    for name, register in _prefixed("", rdl.device):
        yield from _py_register(name, register)
    yield from _py_counters("COUNTERS", rdl.device_counters)
    yield from _py_queue_blocks(rdl)
    yield from ("", "# Ring entries in host memory.")
    for register in rdl.entries:
        yield from _py_entry(register)


def _py_enum(enum: Enum) -> Iterator[str]:
    words = enum.name.removesuffix("_e").split("_")
    yield from ("", "", f"class {''.join(w.capitalize() for w in words)}(IntEnum):")
    for name, value, desc in enum.members:
        yield from _comment(desc, "#", "    ")
        yield f"    {name} = {value}"


def _py_register(name: str, register: Register, masks: bool = True) -> Iterator[str]:
    yield from _comment(register.desc, "#")
    yield f"{name}: Final = 0x{register.offset:03X}"
    if register.count > 1:
        yield f"{name}_COUNT: Final = {register.count}"
        yield f"{name}_STRIDE: Final = {register.stride}"
    for field in register.fields if masks else ():
        yield from _py_field(name, field, register.width)


def _py_field(name: str, field: Field, width: int) -> Iterator[str]:
    """Mask, and shift unless the field is a single bit or the whole register."""
    if field.width == width:
        if field.reset:
            yield f"{name}_{field.name.upper()}_RESET: Final = 0x{field.reset:X}"
        return
    full = f"{name}_{field.name.upper()}"
    yield f"{full}: Final = 0x{field.mask:X}"
    if field.width > 1:
        yield f"{full}_SHIFT: Final = {field.lsb}"
    if field.reset:
        yield f"{full}_RESET: Final = 0x{field.reset:X}"


def _py_counters(name: str, counters: tuple[Counter, ...]) -> Iterator[str]:
    yield ""
    yield f"{name}: Final[tuple[Counter, ...]] = ("
    for counter in counters:
        yield "    Counter("
        yield f'        "{counter.name}",'
        yield f"        0x{counter.offset:03X},"
        *head, last = textwrap.wrap(counter.desc, WIDTH - 20, drop_whitespace=False)
        yield from (f'        "{part}"' for part in head)
        yield f'        "{last}",'
        yield "    ),"
    yield ")"


def _py_queue_blocks(rdl: Map) -> Iterator[str]:
    yield from ("", "# Queue blocks.")
    yield f"QUEUE_BASE: Final = 0x{rdl.queue_base:X}"
    yield f"QUEUE_STRIDE: Final = 0x{rdl.queue_stride:X}"
    yield f"MAX_QUEUES: Final = {rdl.queue_count}"
    for name, offset in rdl.rings.items():
        yield f"Q_{name.upper()}: Final = 0x{offset:02X}"
    rings = tuple(f"{name.upper()}_" for name in rdl.rings)
    for name, register in _prefixed("Q_", rdl.queue):
        ring = register.name.startswith(rings)
        yield from _py_register(name, register, masks=not ring)
    yield from _py_counters("QUEUE_COUNTERS", rdl.queue_counters)
    yield from ("", "# Ring blocks: the fields are the same in both.")
    for name, register in _prefixed("RING_", rdl.ring):
        yield from _py_register(name, register)
    yield from ("", "", "def queue_block(queue: int) -> int:")
    yield '    """Offset of the registers of queue pair `queue`; ValueError beyond the map."""'
    yield "    if not 0 <= queue < MAX_QUEUES:"
    yield '        raise ValueError(f"queue {queue} is not in 0..{MAX_QUEUES - 1}")'
    yield from ("    return QUEUE_BASE + queue * QUEUE_STRIDE", "")


def _py_entry(register: Register) -> Iterator[str]:
    """`struct.Struct` of a ring entry; fields that are no whole words share one, under masks."""
    code, position, names = "<", 0, []
    shared: list[tuple[Field, int]] = []
    for fields in _words(register):
        start = fields[0].lsb // 8
        width = _word_width(register, fields)
        code += "x" * (start - position) + STRUCT_CODES[width]
        position = start + width // 8
        names.append("|".join(field.name for field in fields))
        if len(fields) > 1 or fields[0].width != width:
            shared += [(field, 8 * start) for field in fields]
    code += "x" * (register.width // 8 - position)
    yield from _comment(register.desc, "#")
    yield from _comment(f"Values: {', '.join(names)}.", "#")
    yield f'{register.name}: Final = struct.Struct("{code}")'
    for field, start in shared:
        full = f"{register.name}_{field.name.upper()}"
        yield f"{full}: Final = 0x{field.mask >> start:02X}"
        if field.width > 1:
            yield f"{full}_SHIFT: Final = {field.lsb - start}"


def _words(register: Register) -> Iterator[list[Field]]:
    """The fields in order, those together that no byte boundary separates."""
    word: list[Field] = []
    for field in sorted(register.fields, key=lambda f: f.lsb):
        if word and field.lsb % 8 == 0:
            yield word
            word = []
        word.append(field)
    yield word


def _word_width(register: Register, fields: list[Field]) -> int:
    """Bits of the struct word that holds `fields`, which begin at a byte."""
    bits = fields[-1].lsb + fields[-1].width - fields[0].lsb
    width = next((w for w in STRUCT_CODES if w >= bits), 0)
    if fields[0].lsb % 8 or not width:
        raise ValueError(f"{register.name}.{fields[0].name} does not fit a struct format")
    return width
