"""What a run of one script knows: its machine, descriptors and connections."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from packetdrill.config import Config
from packetdrill.errors import ScriptFailure
from packetdrill.flow import Endpoints, Flow, FlowState
from packetdrill.machine import Machine
from packetdrill.values import Evaluator

FIRST_REMOTE_PORT = 40001


@dataclass
class Session:
    """`flow` is the connection the packets of the script belong to at the moment."""

    config: Config
    machine: Machine
    evaluator: Evaluator
    fds: dict[int, int] = field(default_factory=dict)  # script's to live
    flows: list[Flow] = field(default_factory=list)  # newest last
    flow: Flow | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ports = itertools.count(FIRST_REMOTE_PORT)

    # -- descriptors -----------------------------------------------------------------------

    def live_fd(self, script_fd: int) -> int:
        try:
            return self.fds[script_fd]
        except KeyError:
            message = f"unable to find fd with script fd {script_fd}"
            raise ScriptFailure(message, kind="descriptor") from None

    def new_fd(self, script_fd: int, live_fd: int) -> None:
        if script_fd in self.fds:
            raise ScriptFailure(f"duplicate fd {script_fd} in script", kind="descriptor")
        self.fds[script_fd] = live_fd

    def script_fd(self, live_fd: int) -> int:
        """-1 if the script does not know it."""
        return next((s for s, live in self.fds.items() if live == live_fd), -1)

    # -- connections -----------------------------------------------------------------------

    def add_flow(self, flow: Flow) -> Flow:
        """A new connection; packets belong to it from now on."""
        self.flows.append(flow)
        self.flow = flow
        return flow

    def flow_of(self, live_fd: int) -> Flow | None:
        return next((flow for flow in reversed(self.flows) if flow.fd == live_fd), None)

    @property
    def listens(self) -> bool:
        return any(flow.state is FlowState.LISTENING for flow in self.flows)

    def flow_from(self, remote_port: int) -> Flow | None:
        """The newest connection with this remote port."""
        flows = reversed(self.flows)
        return next((flow for flow in flows if flow.live.remote_port == remote_port), None)

    def passive_flow(self, script_isn: int, remote_port: int) -> Flow:
        """The connection of a SYN that arrives."""
        config = self.config
        live = Endpoints(config.local_ip, config.bind_port, config.remote_ip, remote_port)
        flow = Flow(state=FlowState.SYN_RECEIVED, live=live, remote_isn=script_isn)
        return self.add_flow(flow)

    def connects(self, live_fd: int) -> None:
        """A call that opens the connection of `live_fd` actively, if there is none yet."""
        flow = self.flow_of(live_fd)
        if flow is None or flow.state is not FlowState.NEW:
            return
        flow.state = FlowState.CONNECTING
        flow.live.remote_ip = self.config.remote_ip
        flow.live.remote_port = self.config.connect_port

    def accepted(self, live_fd: int, remote_port: int) -> None:
        """accept() has given `live_fd` to the connection from `remote_port`."""
        flow = self.flow_from(remote_port)
        if flow is not None and flow.state in (FlowState.SYNACK_SENT, FlowState.ESTABLISHED):
            flow.fd = live_fd
            return
        raise ScriptFailure("unable to find socket matching accept() call", kind="accept")
