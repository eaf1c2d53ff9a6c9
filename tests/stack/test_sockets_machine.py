"""Random calls on the sockets of two hosts, against a model of Linux (hypothesis).

The same machine drives the simulated hosts and this machine's kernel, so that the model is right.
`W2A_SOCKET_EXAMPLES=2000` looks longer, and at other examples each time.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sockets_drivers import LinuxDriver, SimDriver, Waiting, outcome
from sockets_model import ModelHost, ModelSocket

EXAMPLES = int(os.environ.get("W2A_SOCKET_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 120,
    stateful_step_count=30,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PICK = st.integers(0, 11)
HOST = st.integers(0, 1)
PORT = st.integers(0, 1)
SOCKETS = 10


class Machine(RuleBasedStateMachine):
    """`sockets` are pairs: the model's and the one under test."""

    driver_class: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.driver = self.driver_class()
        self.models = ModelHost(), ModelHost()
        self.sockets: list[tuple[ModelSocket, Any]] = []
        self.waits: list[tuple[ModelSocket, Waiting]] = []
        self.sent = 0

    # -- helpers ---------------------------------------------------------------------------

    def call(self, sock: ModelSocket, method: Any, *args: Any) -> Any:
        """The result of a call, or its errno's name; "" for None."""
        got = self.driver.call(self.models.index(sock.host), outcome, method, *args)
        return "" if got is None else got

    def pick(self, number: int) -> tuple[ModelSocket, Any]:
        return self.sockets[number % len(self.sockets)]

    def some(self) -> bool:
        return bool(self.sockets)

    # -- rules -----------------------------------------------------------------------------

    @initialize(host=HOST)
    def connection(self, host: int) -> None:
        """Most rules are about one: each example begins with a server, its client, and another
        connection that waits to be accepted."""
        self.server(host, 0)
        for _ in range(2):
            self.socket(1 - host)
            self.connect(len(self.sockets) - 1, 0, True)
        self.accept(0)

    @rule(host=HOST)
    @precondition(lambda self: len(self.sockets) < SOCKETS)
    def socket(self, host: int) -> None:
        sock = self.driver.call(host, self.driver.socket, host)
        self.sockets.append((ModelSocket(self.models[host]), sock))

    @rule(number=PICK, port=PORT)
    @precondition(some)
    def bind(self, number: int, port: int) -> None:
        model, sock = self.pick(number)
        address = self.driver.address(self.models.index(model.host), port)
        assert self.call(model, sock.bind, address) == model.bind(port + 1)

    @rule(number=PICK, backlog=st.integers(0, 3))
    @precondition(some)
    def listen(self, number: int, backlog: int) -> None:
        model, sock = self.pick(number)
        assert self.call(model, sock.listen, backlog) == model.listen(backlog)

    @rule(number=PICK, port=PORT)
    @precondition(lambda self: len(self.sockets) < SOCKETS)
    def server(self, number: int, port: int) -> None:
        """The usual three calls, so that there are connections to try things on."""
        host = number % 2
        self.socket(host)
        self.bind(len(self.sockets) - 1, port)
        self.listen(len(self.sockets) - 1, 2)

    @rule(number=PICK, port=PORT, blocking=st.booleans())
    @precondition(some)
    def connect(self, number: int, port: int, blocking: bool) -> None:
        model, sock = self.pick(number)
        target = 1 - self.models.index(model.host)
        listener = self.models[target].listener(port + 1)
        if listener is not None and len(listener.queue) > listener.backlog:
            return  # the SYN would be dropped: that is about time, not about states
        if model.explicit and self._same_tuple(model, target, port):
            return
        address = self.driver.address(target, port)
        method = self.driver.connect_blocking if blocking else sock.connect
        args = (sock, address) if blocking else (address,)
        got = self.call(model, method, *args)
        assert got == model.connect(self.models[target], port + 1, blocking)

    def _same_tuple(self, model: ModelSocket, target: int, port: int) -> bool:
        """Would the connection have the addresses and ports of another, or of a TIME_WAIT?"""
        holders = self.models[target].holders.get(port + 1, [])
        rest = [s for s in self.models[1 - target].holders[model.port] if s is not model]
        return bool(rest) or any(s.tcp != "LISTEN" and s.dead for s in holders)

    @rule(number=PICK)
    @precondition(some)
    def accept(self, number: int) -> None:
        model, sock = self.pick(number)
        expected = model.accept()
        got = self.call(model, self.driver.accept, sock)
        if isinstance(expected, str):
            assert got == expected
            return
        child, name, address = got
        host = self.models.index(model.host)
        assert name[1] == self.driver.call_quick(host, sock.getsockname)[1]
        self.sockets.append((expected, child))
        for peer, other in self.sockets:
            if peer is expected.peer and peer.named_peer() is expected:
                assert address == self.driver.call_quick(
                    self.models.index(peer.host), other.getsockname
                )

    @rule(number=PICK, length=st.sampled_from((1, 10, 2000)))
    @precondition(some)
    def send(self, number: int, length: int) -> None:
        model, sock = self.pick(number)
        data = bytes((self.sent + i) % 251 for i in range(length))
        self.sent += length
        assert self.call(model, sock.send, data) == model.send(data)

    @rule(number=PICK, length=st.sampled_from((1, 7, 5000)))
    @precondition(some)
    def recv(self, number: int, length: int) -> None:
        model, sock = self.pick(number)
        assert self.call(model, sock.recv, length) == model.recv(length)

    @rule(number=PICK, how=st.integers(0, 2))
    @precondition(some)
    def shutdown(self, number: int, how: int) -> None:
        model, sock = self.pick(number)
        assert self.call(model, sock.shutdown, how) == model.shutdown(how)

    @rule(number=PICK)
    @precondition(some)
    def close(self, number: int) -> None:
        model, sock = pair = self.pick(number)
        if any(waiter is model for waiter, _ in self.waits):
            return  # that wakes nobody
        self.sockets.remove(pair)
        assert self.call(model, sock.close) == ""
        model.close()

    @rule(number=PICK, on=st.booleans())
    @precondition(some)
    def reuseaddr(self, number: int, on: bool) -> None:
        model, sock = self.pick(number)
        assert self.call(model, self.driver.set_reuseaddr, sock, on) == ""
        model.reuse = on

    @rule(number=PICK)
    @precondition(some)
    def linger_zero(self, number: int) -> None:
        model, sock = self.pick(number)
        assert self.call(model, self.driver.set_linger_zero, sock) == ""
        model.linger = True

    @rule(number=PICK)
    @precondition(some)
    def so_error(self, number: int) -> None:
        model, sock = self.pick(number)
        assert self.call(model, self.driver.so_error, sock) == model.take_so_error()

    @rule(number=PICK)
    @precondition(some)
    def wait_readable(self, number: int) -> None:
        """A thread that sleeps in `poll` until there is something."""
        model, sock = self.pick(number)
        if not self.driver.readable(model.poll()):
            host = self.models.index(model.host)
            self.waits.append((model, self.driver.wait_readable(host, sock)))

    @rule()
    @precondition(lambda self: self.driver.time_is_free)
    def minutes_pass(self) -> None:
        self.driver.settle(150)
        for model in self.models:
            model.forget_time_wait()

    # -- invariants ------------------------------------------------------------------------

    @invariant()
    def sockets_are_as_the_model_says(self) -> None:
        for model, sock in self.sockets:
            host = self.models.index(model.host)
            where = (model.tcp, model.file)
            assert self.driver.poll(host, sock) == model.poll(), where
            state = self.driver.state(host, sock)
            assert state in (None, model.tcp), where
            self._names(host, model, sock)

    def _names(self, host: int, model: ModelSocket, sock: Any) -> None:
        peer = model.named_peer()
        got = self.driver.call_quick(host, outcome, sock.getpeername)
        if peer is None:
            assert got == "ENOTCONN"
        else:
            for other, its in self.sockets:
                if other is peer:
                    assert got == self.driver.call_quick(1 - host, outcome, its.getsockname)
        if model.port > 0:
            name = self.driver.call_quick(host, outcome, sock.getsockname)
            assert name[1] == self.driver.address(host, model.port - 1)[1]

    @invariant()
    def who_waits_is_woken_and_nobody_else(self) -> None:
        left = []
        for model, waiting in self.waits:
            if self.driver.readable(model.poll()):
                assert self.driver.woken(waiting), f"nobody woke who waits for {model.tcp}"
            else:
                assert not waiting.done, f"woken for nothing: {model.tcp}"
                left.append((model, waiting))
        self.waits = left

    def teardown(self) -> None:
        self.driver.finish([sock for _, sock in self.sockets])


def run(driver: Any) -> None:
    machine = type(f"On{driver.__name__}", (Machine,), {"driver_class": driver})
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_simulated_sockets_answer_as_the_model_and_leave_nothing() -> None:
    run(SimDriver)


def test_linux_answers_as_the_model() -> None:
    run(LinuxDriver)
