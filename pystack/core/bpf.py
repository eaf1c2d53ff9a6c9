"""Classic BPF: the checker and the interpreter of socket filters (`net/core/filter.c`).

A program is a sequence of `struct sock_filter`; it is run over a packet and returns how many
bytes of it to keep, 0 for none.  `Documentation/networking/filter.rst` has the instruction set.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

BPF_MAXINSNS = 4096
BPF_MEMWORDS = 16
SKF_AD_OFF, SKF_NET_OFF, SKF_LL_OFF = -0x1000, -0x100000, -0x200000
_U32 = 0xFFFFFFFF
_SOCK_FILTER = struct.Struct("=HBBI")

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}  # W, H, B
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_K, _X, _A = 0x00, 0x08, 0x10
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = (n << 4 for n in range(11))
JA, JEQ, JGT, JGE, JSET = (n << 4 for n in range(5))
TAX, TXA = 0x00, 0x80
_LOADS = {
    LD: {size | mode for size in _SIZES for mode in (ABS, IND)} | {IMM, MEM, LEN},
    LDX: {IMM, MEM, LEN, 0x10 | MSH},
}

# Ancillary loads, by offset from SKF_AD_OFF
AD_PROTOCOL, AD_PKTTYPE, AD_IFINDEX, AD_MARK, AD_QUEUE = 0, 4, 8, 20, 24
AD_HATYPE, AD_RXHASH, AD_CPU, AD_ALU_XOR_X = 28, 32, 36, 40
AD_VLAN_TAG, AD_VLAN_TAG_PRESENT, AD_RANDOM = 44, 48, 56
_ANCILLARY = {
    *(AD_PROTOCOL, AD_PKTTYPE, AD_IFINDEX, AD_MARK, AD_QUEUE, AD_HATYPE, AD_RXHASH, AD_CPU),
    *(AD_ALU_XOR_X, AD_VLAN_TAG, AD_VLAN_TAG_PRESENT, AD_RANDOM),
}


class Insn(NamedTuple):
    code: int
    jt: int
    jf: int
    k: int


class Filter:
    """A checked program.  OSError EINVAL for one the kernel would not take."""

    def __init__(self, program: bytes) -> None:
        if len(program) % _SOCK_FILTER.size:
            raise _invalid()
        self.insns = [Insn(*fields) for fields in _SOCK_FILTER.iter_unpack(program)]
        check(self.insns)

    def run(
        self, data: memoryview, network: int, ancillary: Mapping[int, int], start: int = 0
    ) -> int:
        """Bytes to keep of the packet, which is `data` from `start` on; `network` is the offset of
        the network header in `data`.

        `ancillary` has values by their offset from SKF_AD_OFF; what is missing reads 0.
        """
        try:
            return _run(self.insns, data, network, ancillary, start)
        except _OutOfPacket:
            return 0


class _OutOfPacket(Exception):
    """A load beyond the packet's end, which ends the program with 0."""


def _invalid() -> OSError:
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))


# -- the checker ---------------------------------------------------------------------------


def check(insns: list[Insn]) -> None:
    """`bpf_check_classic`: known instructions, jumps that stay inside, a return at the end."""
    if not 0 < len(insns) <= BPF_MAXINSNS:
        raise _invalid()
    for pc, insn in enumerate(insns):
        if not _known(insn) or not _in_range(insn, pc, len(insns)):
            raise _invalid()
    if insns[-1].code & 0x07 != RET:
        raise _invalid()
    _check_memory(insns)


def _known(insn: Insn) -> bool:
    code, k = insn.code, insn.k
    kind, rest = code & 0x07, code & ~0x07
    match kind:
        case 0 | 1:
            if rest not in _LOADS[kind]:
                return False
            if rest == MEM:
                return k < BPF_MEMWORDS
            ancillary = rest & 0xE0 == ABS and k >= SKF_AD_OFF & _U32
            return not ancillary or k - (SKF_AD_OFF & _U32) in _ANCILLARY
        case 2 | 3:
            return rest == 0 and k < BPF_MEMWORDS
        case 4:
            op, constant = rest & 0xF0, rest & 0x08 == _K
            if op == NEG:
                return constant
            if op > XOR or (constant and op in (DIV, MOD) and k == 0):
                return False
            return not (constant and op in (LSH, RSH) and k >= 32)
        case 5:
            return rest == JA or rest & 0xF0 in (JEQ, JGT, JGE, JSET)
        case 6:
            return rest in (_K, _A)
        case _:
            return rest in (TAX, TXA)


def _in_range(insn: Insn, pc: int, length: int) -> bool:
    if insn.code & 0x07 != JMP:
        return True
    if insn.code == JMP | JA:
        return insn.k < length - pc - 1
    return max(insn.jt, insn.jf) + pc + 1 < length


def _check_memory(insns: list[Insn]) -> None:
    """No load from a word that some path has not stored to (`check_load_and_stores`)."""
    known = [0xFFFF] * len(insns)
    valid = 0
    for pc, insn in enumerate(insns):
        valid &= known[pc]
        kind = insn.code & 0x07
        if kind in (ST, STX):
            valid |= 1 << insn.k
        elif insn.code in (LD | MEM, LDX | MEM):
            if not valid >> insn.k & 1:
                raise _invalid()
        elif kind == JMP:
            jumps = (insn.k,) if insn.code == JMP | JA else (insn.jt, insn.jf)
            for jump in jumps:
                known[pc + 1 + jump] &= valid
            valid = 0xFFFF


# -- the interpreter -----------------------------------------------------------------------

_OPS: dict[int, Callable[[int, int], int]] = {
    ADD: lambda a, b: a + b,
    SUB: lambda a, b: a - b,
    MUL: lambda a, b: a * b,
    DIV: lambda a, b: a // b,
    OR: lambda a, b: a | b,
    AND: lambda a, b: a & b,
    LSH: lambda a, b: a << (b & 31),
    RSH: lambda a, b: a >> (b & 31),
    MOD: lambda a, b: a % b,
    XOR: lambda a, b: a ^ b,
}
_TESTS: dict[int, Callable[[int, int], object]] = {
    JEQ: lambda a, b: a == b,
    JGT: lambda a, b: a > b,
    JGE: lambda a, b: a >= b,
    JSET: lambda a, b: a & b,
}


def _run(
    insns: list[Insn],
    data: memoryview,
    network: int,
    ancillary: Mapping[int, int],
    start: int,
) -> int:
    a = x = pc = 0
    memory = [0] * BPF_MEMWORDS
    while True:
        code, jt, jf, k = insns[pc]
        pc += 1
        kind, rest = code & 0x07, code & 0xF8
        if kind == JMP:
            if rest == JA:
                pc += k
            else:
                operand = x if rest & 0x08 else k
                pc += jt if _TESTS[rest & 0xF0](a, operand) else jf
        elif kind == LD:
            mode = rest & 0xE0
            if mode == MEM:
                a = memory[k]
            elif mode == LEN:
                a = len(data) - start
            elif mode == IMM:
                a = k
            elif mode == ABS and k == (SKF_AD_OFF + AD_ALU_XOR_X) & _U32:
                a ^= x
            else:
                offset = k if mode == ABS else k + x
                a = _load(data, offset & _U32, _SIZES[rest & 0x18], network, ancillary, start)
        elif kind == ALU:
            operand = x if rest & 0x08 else k
            op = rest & 0xF0
            if op == NEG:
                a = -a & _U32
            elif op in (DIV, MOD) and operand == 0:
                return 0
            else:
                a = _OPS[op](a, operand) & _U32
        elif kind == LDX:
            mode = rest & 0xE0
            if mode == MSH:
                x = (_load(data, k, 1, network, ancillary, start) & 0xF) << 2
            else:
                x = memory[k] if mode == MEM else len(data) - start if mode == LEN else k
        elif kind == RET:
            return a if rest == _A else k
        elif kind == ST:
            memory[k] = a
        elif kind == STX:
            memory[k] = x
        elif rest == TAX:
            x = a
        else:
            a = x


def _load(
    data: memoryview,
    offset: int,
    size: int,
    network: int,
    ancillary: Mapping[int, int],
    start: int,
) -> int:
    """Big-endian, from the packet, one of its headers, or what is known about it."""
    if offset >> 31:
        offset -= 1 << 32
        if offset >= SKF_AD_OFF:
            return ancillary.get(offset - SKF_AD_OFF, 0) & _U32
        if offset >= SKF_NET_OFF:
            offset += network - SKF_NET_OFF
        elif offset >= SKF_LL_OFF:
            offset -= SKF_LL_OFF
        else:
            raise _OutOfPacket
    else:
        offset += start
    if offset + size > len(data):
        raise _OutOfPacket
    return int.from_bytes(data[offset : offset + size], "big")
