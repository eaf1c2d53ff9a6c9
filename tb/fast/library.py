"""The C side of BUS=fast as ctypes sees it: `hdl/sim/fast`, opened a second time.

The simulator has linked or loaded the same library, so its memory is shared: nothing is copied
between the two but frames.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import os

from tb.pins.xgmii_code import MIN_FRAME, Defect

LIBRARY = "W2A_LIBRARY"
"""The environment variable with the path of the library that the simulator uses."""

MAX_EVENTS = 4096
HEAP_BYTES = 1 << 20
FOREVER = (1 << 64) - 1
NEVER = -1
FCS_BYTES = 4


class Kind(enum.IntEnum):
    """Kinds of events, in the order of the enumeration in C."""

    IRQ = 0
    READ = 1
    WRITE = 2
    FRAME = 3
    SENT = 4
    DMA = 5
    FAULT = 6
    RULE = 7
    REPORT = 8
    VIOLATION = 9


REPORTS = ("axi", "axil", "xgmii", "fcs")
"""Kinds of reports, in the order of the enumeration in C."""


class Event(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint32),
        ("a", ctypes.c_uint32),
        ("b", ctypes.c_uint64),
        ("c", ctypes.c_uint64),
        ("d", ctypes.c_uint64),
        ("e", ctypes.c_uint64),
    ]


EVENT_FORMAT = "<IIQQQQ"


class Shared(ctypes.Structure):
    """`shared_t`: what happened, and the counters of the models."""

    _fields_ = [
        ("event_count", ctypes.c_uint32),
        ("heap_used", ctypes.c_uint32),
        ("dma_events", ctypes.c_uint32),
        ("profile", ctypes.c_uint32),
        *(
            (name, ctypes.c_uint64)
            for name in (
                "running",
                "ticks",
                "stops",
                "transactor_ns",
                "frames_sent",
                "frames_received",
                "ordered_sets",
                "reads",
                "writes",
                "read_bytes",
                "write_bytes",
            )
        ),
        ("events", Event * MAX_EVENTS),
        ("heap", ctypes.c_uint8 * HEAP_BYTES),
    ]


class Rule(ctypes.Structure):
    """`rule_t`: an error rule for [start, last]; kind 0 is a read, 1 a write."""

    _fields_ = [
        ("start", ctypes.c_uint64),
        ("last", ctypes.c_uint64),
        ("times", ctypes.c_uint64),
        ("skip", ctypes.c_uint64),
        ("probability", ctypes.c_uint64),
        ("min_length", ctypes.c_uint64),
        ("kind", ctypes.c_uint32),
        ("resp", ctypes.c_uint32),
    ]


class _Defect(ctypes.Structure):
    _fields_ = [
        ("fcs_xor", ctypes.c_uint32),
        ("error_at", ctypes.c_int32),
        ("cut_to", ctypes.c_int32),
        ("pad", ctypes.c_uint8),
        ("terminate", ctypes.c_uint8),
        ("preamble", ctypes.c_uint8 * 8),
    ]


def defect_struct(defect: Defect, length: int) -> ctypes.Structure:
    """`defect_t` of a Defect of a frame of `length` bytes; ValueError if it cannot be done."""
    if len(defect.preamble) != 8:
        raise ValueError(f"a preamble has 8 bytes, not {len(defect.preamble)}")
    if not 0 <= defect.fcs_xor < 1 << 32:
        raise ValueError(f"an FCS has 32 bits: fcs_xor cannot be {defect.fcs_xor:#x}")
    sent = (max(length, MIN_FRAME) if defect.pad else length) + FCS_BYTES
    if defect.cut_to is not None:
        if defect.cut_to < 0:
            raise ValueError(f"a frame cannot be cut to {defect.cut_to} bytes")
        sent = min(sent, defect.cut_to)
    if defect.error_at is not None and not 0 <= defect.error_at < sent:
        raise ValueError(f"no byte {defect.error_at} in the {sent} of frame and FCS that are sent")
    cut_to = None if defect.cut_to is None else sent
    return _Defect(
        defect.fcs_xor,
        NEVER if defect.error_at is None else defect.error_at,
        NEVER if cut_to is None else cut_to,
        defect.pad,
        defect.terminate,
        (ctypes.c_uint8 * 8)(*defect.preamble),
    )


@functools.cache
def load() -> ctypes.CDLL:
    """The library of this simulation.  RuntimeError if the simulation has none."""
    path = os.environ.get(LIBRARY)
    if path is None:
        raise RuntimeError("BUS=fast needs a design with the fast models: bench_design('fast')")
    library = ctypes.CDLL(path)
    integer, pointer, data = ctypes.c_uint32, ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        (
            "bus_open",
            ctypes.POINTER(Shared),
            [pointer, pointer, ctypes.c_uint64, pointer, pointer, ctypes.c_int, ctypes.c_int],
        ),
        ("bus_latency", None, [ctypes.c_int, pointer, integer]),
        ("bus_gap", None, [ctypes.c_int]),
        ("bus_rules", ctypes.c_int, [pointer, ctypes.c_int]),
        ("bus_request", ctypes.c_int, []),
        ("bus_reset", ctypes.c_int, [ctypes.c_int]),
        ("bus_read", ctypes.c_int, [integer]),
        ("bus_write", ctypes.c_int, [integer, integer, ctypes.c_int]),
        ("bus_send", ctypes.c_int, [data, integer, ctypes.c_int]),
        ("bus_send_defect", ctypes.c_int, [data, integer, ctypes.c_int, pointer]),
        ("bus_send_columns", ctypes.c_int, [data, integer, ctypes.c_int]),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
