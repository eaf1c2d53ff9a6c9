"""The netpoll runtime of the labs as server and clients on two hosts, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from labs.goroutines import Scheduler
from labs.netpoll import Netpoll, echo_clients, echo_server
from pystack.host import Host
from pystack.uapi.process import Process
from pystack.uapi.selectmod import SelectModule
from pystack.uapi.sockmod import SocketModule
from pystack.uapi.timemod import TimeModule

PORT = 7000


class Echo:
    """A process of one thread on each host, started; the server is on the first, `address`."""

    def __init__(self, hosts: Sequence[Host], address: str, connections: int) -> None:
        self.connections = connections
        self.parks: list[int] = []
        self._processes = [
            Process(host.kernel, host.system, host.name, nofile=4096) for host in hosts
        ]
        server, client = self._processes
        server.start(self._run, server, lambda poll: echo_server(poll, "", PORT, connections))
        client.start(self._run, client, lambda poll: echo_clients(poll, address, PORT, connections))

    def _run(self, process: Process, main: Callable[[Netpoll], int]) -> int:
        scheduler = Scheduler(TimeModule(process).monotonic)
        poll = Netpoll(scheduler, SocketModule(process), SelectModule(process))
        results: list[int] = []
        scheduler.run(lambda: results.append(main(poll)))
        poll.epoll.close()
        assert len(process.threads) == 1
        self.parks.append(scheduler.parks)
        return results[0]

    def ended(self) -> bool:
        return not any(process.alive for process in self._processes)

    def check(self) -> None:
        """Every byte came back, and all connections parked."""
        for process in self._processes:
            assert not process.alive and not process.tracebacks, process.tracebacks
        results: list[Any] = [process.result for process in self._processes]
        sent = sum(len(b"%d" % number) * 100 for number in range(self.connections))
        assert results == [sent, self.connections]
        assert min(self.parks) > self.connections
