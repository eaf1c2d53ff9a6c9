"""Files under /proc, and `cat`, which shows them.

`FILES` has those with a fixed name; the settings are under /proc/sys.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from pystack.core.cpu import Softirq
from pystack.core.irq import FIRST
from pystack.tools import proc_dev, proc_snmp, proc_socks
from pystack.tools.tool import Net, Options, ToolError

_SOFTIRQS = "HI TIMER NET_TX NET_RX BLOCK IRQ_POLL TASKLET SCHED HRTIMER RCU".split()
SYS = "/proc/sys/"


def interrupts(net: Net) -> str:
    """`show_interrupts`: a line an interrupt, a column a CPU."""
    kernel = net.kernel
    lines = ["           " + "".join(f"CPU{cpu.index:<8}" for cpu in kernel.cpus)]
    for label, counts, chip, name in kernel.irqs.lines():
        text = f"{label:>3}:" + "".join(f" {count:>10}" for count in counts)
        text += f" {chip:>8} {int(label) - FIRST:>3}-edge      {name}" if chip else f"   {name}"
        lines.append(text)
    return "\n".join(lines) + "\n"


def softirqs(net: Net) -> str:
    """`show_softirqs`; those this kernel has none of stay 0."""
    kernel = net.kernel
    lines = ["                    " + "".join(f"CPU{cpu.index:<8}" for cpu in kernel.cpus)]
    known = {softirq.name: softirq for softirq in Softirq}
    for name in _SOFTIRQS:
        counts = [cpu.softirqs[known[name]] if name in known else 0 for cpu in kernel.cpus]
        lines.append(f"{name:>12}:" + "".join(f" {count:>10}" for count in counts))
    return "\n".join(lines) + "\n"


def uptime(net: Net) -> str:
    """Seconds since the start, and what all CPUs together idled of them."""
    now = net.kernel.now
    idle = sum(now - cpu.busy_ns for cpu in net.kernel.cpus)
    return f"{now / 1e9:.2f} {idle / 1e9:.2f}\n"


FILES: dict[str, Callable[[Net], str]] = {
    "/proc/interrupts": interrupts,
    "/proc/softirqs": softirqs,
    "/proc/uptime": uptime,
    "/proc/net/softnet_stat": proc_dev.softnet_stat,
    "/proc/net/dev": proc_dev.dev,
    "/proc/net/arp": proc_dev.arp,
    "/proc/net/route": proc_dev.route,
    "/proc/net/if_inet6": proc_dev.if_inet6,
    "/proc/net/snmp": proc_snmp.snmp,
    "/proc/net/snmp6": proc_snmp.snmp6,
    "/proc/net/netstat": proc_snmp.netstat,
    "/proc/net/sockstat": proc_snmp.sockstat4,
    "/proc/net/sockstat6": proc_snmp.sockstat6,
    "/proc/net/tcp": proc_socks.tcp4,
    "/proc/net/tcp6": proc_socks.tcp6,
    "/proc/net/udp": proc_socks.udp4,
    "/proc/net/udp6": proc_socks.udp6,
    "/proc/net/raw": proc_socks.raw4,
    "/proc/net/raw6": proc_socks.raw6,
    "/proc/net/unix": proc_socks.unix,
}


def read(net: Net, path: str) -> str:
    """OSError(ENOENT) for a file there is not."""
    if path in FILES:
        return FILES[path](net)
    if path.startswith(SYS):
        return net.kernel.sysctl.read(path) + "\n"
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def paths(net: Net) -> list[str]:
    """Every file there is, for completion."""
    return [*FILES, *(SYS + name.replace(".", "/") for name in net.kernel.sysctl)]


def cat(net: Net, args: Sequence[str]) -> str:
    """`cat FILE...`"""
    options = Options("cat", args, "", {})
    text = ""
    for path in options.args:
        try:
            text += read(net, path)
        except OSError as exc:
            raise ToolError(f"cat: {path}: {exc.strerror}", 1, text) from None
    return text
