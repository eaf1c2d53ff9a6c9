"""L3: a server that forgets close(), and what each side sees of it."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass

from labs.bench import PORT, SERVER, LabBench, Modules
from labs.charts import Curves
from labs.lab import Lab, Result, param, require, sizes
from pystack.transport.tcp import data, timewait
from pystack.transport.tcp.lifecycle import set_state
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState
from pystack.uapi.files import FileTable

STANDARD = 3  # descriptors every process begins with


def server(py: Modules, leak: bool, errors: list[str]) -> None:
    """Accepts and greets; with `leak` it forgets to close.  Out of descriptors, it waits."""
    forgotten = []
    with py.socket.create_server(("", PORT), backlog=1024) as listener:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError as error:
                errors.append(errno.errorcode[error.errno or 0])
                py.time.sleep(1)
                continue
            conn.sendall(b"hello")
            if leak:
                forgotten.append(conn)
            else:
                conn.recv(1)
                conn.close()


def client(py: Modules, count: int) -> int:
    """Short connections; returns how many were greeted."""
    greeted = 0
    for _ in range(count):
        with py.socket.create_connection((SERVER, PORT), 1) as conn:
            conn.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                greeted += conn.recv(100) == b"hello"
    return greeted


def no_limit(bench: LabBench) -> None:
    """Descriptors never run out: `reserve` of FileTable (uapi/files.py) ignores the limit."""

    def reserve(table: FileTable, minimum: int = 0) -> int:
        fd = table._used.lowest_clear(minimum)
        table._used.set(fd)
        return fd

    bench.patch(FileTable, "reserve", reserve)


def fin_closes(bench: LabBench) -> None:
    """The peer's FIN ends the connection without the application: `rcv_fin` of tcp/data.py."""
    original = data.rcv_fin

    def rcv_fin(sk: TcpSock) -> None:
        original(sk)
        if sk.state is TcpState.CLOSE_WAIT:
            set_state(sk, TcpState.CLOSE)

    bench.patch(data, "rcv_fin", rcv_fin)


def fin_wait_for_ever(bench: LabBench) -> None:
    """An orphan stays in FIN_WAIT_2: its timer calls nothing (`kill` of tcp/timewait.py)."""
    bench.patch(timewait.TimeWaitSock, "kill", lambda tw: None)


@dataclass
class FdLeak(Lab):
    """Descriptor leak: CLOSE_WAIT here, FIN_WAIT_2 there, and EMFILE.

    A server accepts and never closes. Each client closes, so its FIN is acknowledged, and then
    nothing comes. What to look for: on the server CLOSE_WAIT piles up, one descriptor each; that is
    a bug of the local program. On the client there is FIN_WAIT_2, a bug of the peer, which the
    kernel ends after 60 s; nothing ever ends CLOSE_WAIT but the process. At the limit accept fails
    with EMFILE, too many open files.
    """

    name = "fd-leak"
    row = "L3"
    seconds = 10
    verilator = sizes(limit=256)
    icarus = sizes(limit=32)
    breaks = (no_limit, fin_closes, fin_wait_for_ever)

    limit: int = param(1024, "ulimit -n of the server", 16, 100_000)

    def run(self, bench: LabBench) -> Result:
        bench.wire.recording = False
        curve: dict[str, list[list[float]]] = {"CLOSE-WAIT, server": [], "FIN-WAIT-2, client": []}

        def sample() -> list[int]:
            here = bench.count(bench.server, TcpState.CLOSE_WAIT)
            there = bench.count(bench.client, TcpState.FIN_WAIT2)
            for line, value in zip(curve.values(), (here, there), strict=True):
                line.append([bench.seconds, value])
            return [here, there]

        errors: list[str] = []
        room = self.limit - STANDARD - 1  # one is the listener
        serving = bench.program(bench.server, server, True, errors, nofile=self.limit)
        bench.run_for(0.001)
        leaking = bench.program(bench.client, client, room + 3)
        while not bench.wait(leaking, limit=room * 50e-6 / 10 + 0.05):
            bench.progress("leak", sample()[0], room)
        bench.run_for(1)
        before, opened = sample(), len(serving.files)
        bench.say(f"{leaking.result} clients were greeted, and have closed.")
        bench.show(bench.server, f"lsof -nP -i :{PORT}", 6)
        bench.show(bench.server, f"ss -tan sport = :{PORT}", 6)
        bench.show(bench.client, f"ss -tan dport = :{PORT}", 5)
        for _ in range(33):
            bench.run_for(2)
            after = sample()
        bench.say("A minute later.")
        bench.show(bench.server, f"ss -tan state close-wait sport = :{PORT}", 4)
        bench.show(bench.client, f"ss -tan dport = :{PORT}", 5)
        serving.kill()
        bench.run(serving)
        bench.run_for(1)
        killed = sample()[0]
        return Result(
            greeted=leaking.result,
            error=errors[0] if errors else "",
            opened=opened,
            before=before,
            after=after,
            killed=killed,
            healthy=self._healthy(bench, room),
            curve=curve,
        )

    def _healthy(self, bench: LabBench, room: int) -> int:
        """How many clients a server that closes greets under the same limit."""
        errors: list[str] = []
        serving = bench.program(bench.server, server, False, errors, nofile=self.limit)
        bench.run_for(0.001)
        asking = bench.program(bench.client, client, room + 3)
        bench.run(asking)
        serving.kill()
        return int(asking.result)

    def check(self, result: Result) -> None:
        room = self.limit - STANDARD - 1
        require(result.error == "EMFILE", f"accept failed with {result.error or 'nothing'}.")
        require(result.greeted == room, f"{result.greeted} clients were greeted, not {room}.")
        require(
            result.opened == self.limit,
            f"{result.opened} descriptors, not {self.limit}, were open.",
        )
        here, there = result.before
        require(here >= room, f"{here} of {room} leaked connections are in CLOSE_WAIT.")
        require(there >= room, f"{there} of {room} connections are in FIN_WAIT_2 at the client.")
        require(not result.after[1], f"{result.after[1]} FIN_WAIT_2s were there after a minute.")
        require(result.after[0] >= room, f"{result.after[0]} CLOSE_WAITs were left after a minute.")
        require(not result.killed, f"{result.killed} CLOSE_WAITs survived their process.")
        require(result.healthy == room + 3, f"without the leak {result.healthy} were greeted.")

    def conclude(self, result: Result) -> str:
        here, there = result.before
        return (
            f"With ulimit -n {self.limit:,} the server accepted {result.greeted:,} connections; "
            f"the next accept failed with {result.error}. It had {here:,} sockets in CLOSE_WAIT, "
            f"the client {there:,} in FIN_WAIT_2. After a minute the client's kernel had given up "
            f"on all of them, and {result.after[0]:,} CLOSE_WAITs stayed until the process was "
            f"killed. A server that closes greeted all {result.healthy:,} under the same limit."
        )

    def chart(self, result: Result) -> Curves:
        levels = {f"ulimit -n {self.limit}": self.limit}
        return Curves("A server that never closes", "seconds", "sockets", result.curve, levels)
