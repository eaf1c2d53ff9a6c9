"""What is left of a host's kernel objects when everything that used them has ended.

`shut_down` does what the end of a machine does: it kills the processes, gives connections the time
they take to die, and takes the devices down.  Then `left_over` must be empty.  The stack tests do
so for every host they made (`tests/stack/conftest.py`).
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from pystack.core.engine import VirtualEngine
from pystack.host import Host, NetNamespace

SECOND = 10**9
DYING = 1000 * SECOND  # more than an orphan's last retransmission, and TIME_WAIT, take


def left_over(host: NetNamespace) -> dict[str, int]:
    """The kernel objects alive in a namespace by kind, without those of which there are none."""
    objects = {
        "processes": len(host.system.processes),
        "open files": host.system.open_files.count,
        "TCP sockets": host.tcp.alive(),
        "UDP sockets": host.udp.alive(),
        "raw sockets": host.raw.alive(),
        "ping sockets": host.ping.alive(),
        "AF_UNIX sockets": len(host.system.unix.inflight.socks),
        "files in flight": host.system.unix.inflight.by_user.total(),
        "packet sockets": host.packet.alive,
        "packets": host.kernel.skbs_alive,
        "timers": sum(base.active for base in host.kernel.timer_bases),
    }
    return {kind: count for kind, count in objects.items() if count}


def namespaces(hosts: Sequence[Host]) -> list[NetNamespace]:
    return [each for host in hosts for each in (host, *host.namespaces.values())]


def shut_down(engine: VirtualEngine, hosts: Sequence[Host]) -> dict[str, dict[str, int]]:
    """What is left, by host, where anything is."""
    every = namespaces(hosts)
    for host in hosts:
        for process in list(host.system.processes.values()):
            process.kill(signal.SIGKILL)
    quiet = lambda: not any(map(left_over, every))  # noqa: E731
    engine.run(until=engine.now + DYING, stop=quiet)
    for each in every:
        for dev in each.core.devices.values():
            if not dev.loopback:
                each.start(each.core.stop, dev)
    engine.run(until=engine.now + SECOND)
    left = {each.name: left_over(each) for each in every}
    for host in hosts:
        if host.kernel.memory.pages_in_use:
            left[host.name]["pages"] = host.kernel.memory.pages_in_use
    return {name: objects for name, objects in left.items() if objects}
