"""Unmodified Python programs as processes of a simulated host.

A process has its own table of modules.  The modules of the interpreter that reach a kernel
(`_socket`, `select`, `time`, `_thread`, `posix`, ...) are replaced by ones over the process's
system calls; everything written in Python, the standard library included, is loaded afresh from
its own source file by a second importlib and so finds the replaced ones; modules that can tell no
kernel from another (`re`, `json`, `struct`, ...) are shared.  `sharing` says which is which.
"""

from pystack.uapi.python.interpreter import Interpreter

__all__ = ["Interpreter"]
