"""AF_UNIX: sockets between the processes of one host (`net/unix/af_unix.c`)."""

from pystack.transport.unix.protocol import Unix, UnixHost

__all__ = ["Unix", "UnixHost"]
