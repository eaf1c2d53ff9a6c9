"""A user and network namespace of our own with a TAP device in it, by the kernel's own calls.

Nothing outside the namespace changes: no device, route or address of the machine.  Sources:
unshare(2), user_namespaces(7), netdevice(7), Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from wire2app.errors import ToolError

__all__ = ["answers_ping", "enter_namespace", "make_tap"]

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
SIOCSIFHWADDR = 0x8924
IFF_UP = 0x1
IFF_RUNNING = 0x40
ARPHRD_ETHER = 1

ICMP_ECHO_REPLY = 0
ICMP_ECHO = 8
NO_TAP = "TAP devices are not available here ({}), so `live` cannot run."


def enter_namespace() -> bool:
    """Move this process into a new network namespace; True if that took a user namespace.

    The process must have one thread.  Raises ToolError if the kernel does not allow it.
    """
    if threading.active_count() > 1:
        raise RuntimeError("unshare needs a process with one thread")
    if not os.path.exists("/dev/net/tun"):
        raise ToolError(NO_TAP.format("there is no /dev/net/tun"))
    if os.geteuid() == 0 and _unshare(CLONE_NEWNET) == 0:
        return False
    uid, gid = os.geteuid(), os.getegid()
    code = _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if code != 0:
        raise ToolError(
            f"The kernel does not allow a network namespace ({os.strerror(code)}), so `live` "
            "cannot run: try it as root."
        )
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise ToolError(
            f"The kernel does not allow a user namespace ({error.strerror}), so `live` cannot "
            "run: try it as root."
        ) from error
    return True


def _unshare(flags: int) -> int:
    """unshare(2): 0 or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.unshare(flags) == 0 else ctypes.get_errno()


def make_tap(name: str, address: str, address6: str, mac: bytes) -> int:
    """Make a TAP device, bring it and `lo` up; returns its file descriptor, one frame a read.

    address: "10.77.0.1/24"; address6: "fd77::1/64", left out where the kernel has no IPv6.  Raises
    ToolError where TAP is not available.
    """
    interface = ipaddress.IPv4Interface(address)
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as error:
        raise ToolError(NO_TAP.format(error.strerror)) from error
    _set_ipv6(name, accept_dad=0, accept_ra=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        hardware = struct.pack("16sH6s16x", name.encode(), ARPHRD_ETHER, mac)
        fcntl.ioctl(control, SIOCSIFHWADDR, hardware)
        for request, value in (
            (SIOCSIFADDR, interface.ip.packed),
            (SIOCSIFNETMASK, interface.netmask.packed),
        ):
            fcntl.ioctl(control, request, _request_address(name, value))
        for device in (name, "lo"):
            flags = struct.pack("16sH22x", device.encode(), IFF_UP | IFF_RUNNING)
            fcntl.ioctl(control, SIOCSIFFLAGS, flags)
    with suppress(OSError):
        _add_ipv6(name, ipaddress.IPv6Interface(address6))
    return tap


def _add_ipv6(name: str, interface: ipaddress.IPv6Interface) -> None:
    """struct in6_ifreq: address, prefix length, ifindex."""
    index, length = socket.if_nametoindex(name), interface.network.prefixlen
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        request = struct.pack("=16sIi", interface.ip.packed, length, index)
        fcntl.ioctl(control, SIOCSIFADDR, request)


def _request_address(name: str, address: bytes) -> bytes:
    """struct ifreq with a sockaddr_in."""
    return struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, address)


def _set_ipv6(name: str, **settings: int) -> None:
    """Settings of the device, before it is up; where /proc is read-only, so be it."""
    for setting, value in settings.items():
        with suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/{setting}").write_text(str(value))


def answers_ping(address: str, timeout_seconds: float) -> bool:
    """Send one ICMP echo request (RFC 792) and wait for its reply."""
    header = struct.pack("!BBHHH", ICMP_ECHO, 0, 0, os.getpid() & 0xFFFF, 1)
    total = sum(struct.unpack("!4H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    request = header[:2] + struct.pack("!H", checksum) + header[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(timeout_seconds)
        try:
            raw.sendto(request, (address, 0))
            while True:
                packet, (source, _) = raw.recvfrom(2048)
                reply = packet[(packet[0] & 0xF) * 4 :]
                if source == address and reply[0] == ICMP_ECHO_REPLY and reply[4:8] == request[4:]:
                    return True
        except TimeoutError:
            return False
        except OSError as error:
            if error.errno in (errno.EHOSTUNREACH, errno.EHOSTDOWN):
                return False  # nobody answered ARP
            raise
