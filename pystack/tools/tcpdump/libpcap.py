"""Filter expressions compiled by libpcap, where it is installed, and run by the kernel's BPF.

The compiler makes a program for classic BPF; `pystack.core.bpf` checks and interprets it, as it
does the filters of AF_PACKET sockets.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from pystack.core.bpf import Filter
from pystack.core.headers.ethernet import ETH_HLEN
from pystack.tools.tool import ToolError

_NAMES = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.dylib")
_EN10MB, _SNAPLEN, _NETMASK_UNKNOWN = 1, 262144, 0xFFFFFFFF
_INSTRUCTION = 8  # bytes


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


@cache
def library() -> ctypes.CDLL | None:
    """None where there is none."""
    for name in _NAMES:
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        lib.pcap_open_dead.restype = ctypes.c_void_p
        lib.pcap_geterr.restype = ctypes.c_char_p
        return lib
    return None


def compile_filter(lib: ctypes.CDLL, expression: str) -> Callable[[bytes], bool]:
    """ToolError with libpcap's complaint."""
    handle = ctypes.c_void_p(lib.pcap_open_dead(_EN10MB, _SNAPLEN))
    program = _Program()
    try:
        if lib.pcap_compile(
            handle,
            ctypes.byref(program),
            expression.encode(),
            1,
            ctypes.c_uint(_NETMASK_UNKNOWN),
        ):
            raise ToolError(f"tcpdump: {lib.pcap_geterr(handle).decode()}")
        code = ctypes.string_at(program.instructions, program.length * _INSTRUCTION)
        lib.pcap_freecode(ctypes.byref(program))
    finally:
        lib.pcap_close(handle)
    bpf = Filter(code)
    return lambda frame: bool(bpf.run(memoryview(frame), ETH_HLEN, {}))
