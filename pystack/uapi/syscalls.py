"""The system calls of one process: descriptors in, Linux's results and errnos out.

An errno is an `OSError`.  Buffers are `bytes`, socket addresses `Address`es, timeouts in the unit
the call has in Linux.  The work is in the files behind the descriptors.  Called by the module
facades (`sockmod`, `selectmod`, `timemod`).
"""

from __future__ import annotations

from pystack.uapi.calls.base import Buffer
from pystack.uapi.calls.descriptors import DescriptorCalls
from pystack.uapi.calls.disk import DiskCalls
from pystack.uapi.calls.files import FileCalls
from pystack.uapi.calls.process import ProcessCalls
from pystack.uapi.calls.signals import SignalCalls
from pystack.uapi.calls.sockets import SocketCalls
from pystack.uapi.calls.waiting import WaitCalls

__all__ = ["Buffer", "Syscalls"]


class Syscalls(
    FileCalls, DescriptorCalls, DiskCalls, SocketCalls, WaitCalls, ProcessCalls, SignalCalls
):
    """A method is a system call; `table.SYSCALLS` lists them."""
