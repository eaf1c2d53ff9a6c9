"""Which modules all processes share with the interpreter itself, and which none gets.

What is in neither list and is written in Python is loaded afresh for each process.
"""

from __future__ import annotations

SHARED = frozenset(
    """
    __future__ _bootlocale _codecs _collections_abc _compat_pickle _compression _opcode
    _sysconfigdata__linux_x86_64-linux-gnu _weakrefset abc ast base64 bisect bz2 codecs collections
    colorsys copy copyreg csv ctypes decimal _pydecimal difflib dis encodings fnmatch fractions
    functools genericpath graphlib hashlib heapq hmac html ipaddress json keyword linecache locale
    lzma ntpath nturl2path numbers opcode operator posixpath quopri re reprlib sre_compile
    sre_constants sre_parse stat string stringprep struct textwrap token tokenize types weakref xml
    """.split()
)
"""Pure: no descriptor, clock, thread, random number, `sys.modules` or standard stream in them.

`_warnings`, `_datetime` and their like are not: their Python originals, loaded afresh, use the
process's clock and streams.
"""

REFUSED = frozenset(
    """
    _asyncio _ctypes_test _datetime _multiprocessing _pickle _posixshmem _queue _uuid _warnings
    _zoneinfo ossaudiodev readline
    """.split()
)
"""Accelerators written in C that know the real clock, threads or modules.

The standard library falls back on Python for all of them, as it does where they were not built.
"""
