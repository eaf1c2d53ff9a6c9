"""The machine a script runs against: one host, its device on the script's wire, one process.

Everything costs nothing and wires have no delay, so times are exact.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from packetdrill.config import Config
from packetdrill.errors import ScriptFailure
from packetdrill.wire import HOST_MAC, LateEngine, ScriptWire
from pystack.core.costs import Costs
from pystack.core.engine import Engine, VirtualEngine
from pystack.core.wait import WaitQueue
from pystack.dev.netdev import NetDevice
from pystack.host import Host
from pystack.uapi.block import wait_on
from pystack.uapi.process import Process
from pystack.uapi.syscalls import Syscalls

DEVICE = "tun0"  # the name scripts use for it
LONGEST_CALL = 60_000_000_000  # ns: what does not return for so long never will


class RunningCall:
    """A system call under way in a thread of its own; `ended` in ns."""

    def __init__(self) -> None:
        self.done = False
        self.ended = 0
        self.value: Any = None
        self.errno = 0
        self.failure: Exception | None = None


class Machine:
    """`start` is the time of the script's zero."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._build()
        self.device.mtu = config.mtu
        task = self.host.start(self._configure, name="ip")
        task.on_exit.append(lambda task: None)
        self.settle()
        if task.exception is not None:
            raise task.exception
        self.process = Process(self.host.kernel, self.host.system, "script")
        self.process.signals.ignore(signal.SIGPIPE)
        self.process.start(self._idle)
        self.settle()
        self.start = self.engine.now

    def _build(self) -> None:
        """The engine, the wire, the host and its device."""
        self.engine: Engine = LateEngine()
        self.wire = ScriptWire(self.engine)
        self.host = Host(self.engine, "packetdrill", costs=Costs.zero())
        self.device: NetDevice = self.host.add_softnic(DEVICE, HOST_MAC, self.wire)

    def _configure(self) -> None:
        config, host = self.config, self.host
        host.core.open(self.device)
        interface = f"{config.local}/{config.prefix}"
        if config.version == 4:
            host.ipv4.add_address(self.device, interface)
            host.ipv4.add_route("default", config.gateway)
            return
        sysctl, name = host.kernel.sysctl, self.device.name
        sysctl[f"net.ipv6.conf.{name}.dad_transmits"] = 0
        sysctl[f"net.ipv6.conf.{name}.router_solicitations"] = 0
        host.ipv6.add_address(self.device, interface)
        host.ipv6.add_route("default", config.gateway)

    def _idle(self) -> None:
        """Keeps the process alive between its system calls."""
        wait_on(self.host.kernel, WaitQueue(), 0, lambda: False)

    # -- time ------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Script time in ns."""
        return self.engine.now - self.start

    def settle(self) -> None:
        """Let everything happen that is due now."""
        self._run(self.engine.now)

    def run_until(self, when: int, stop: Callable[[], bool] | None = None) -> None:
        """Run to script time `when`, or until `stop()`."""
        self._run(max(self.start + when, self.engine.now), stop)

    def _run(self, until: int, stop: Callable[[], bool] | None = None) -> None:
        assert isinstance(self.engine, VirtualEngine)
        self.engine.run(until=until, stop=stop)

    # -- system calls ----------------------------------------------------------------------

    def begin(self, call: Callable[[Syscalls], Any]) -> RunningCall:
        """Make a system call and run on until it has returned or sleeps."""
        running = RunningCall()

        def thread() -> None:
            try:
                running.value = call(self.process.sys)
            except OSError as exc:
                running.errno = exc.errno or 0
            except Exception as exc:
                running.failure = exc
            running.done = True
            running.ended = self.now

        self.process.thread(thread)
        self.settle()
        return running

    def call(self, call: Callable[[Syscalls], Any]) -> RunningCall:
        """Make a system call and wait for its end."""
        running = self.begin(call)
        if not running.done:
            self.run_until(self.now + LONGEST_CALL, lambda: running.done)
        if not running.done:
            seconds = LONGEST_CALL // 1_000_000_000
            raise ScriptFailure(f"call has not returned after {seconds} s", kind="call blocks")
        return running
