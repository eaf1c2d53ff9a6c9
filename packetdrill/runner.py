"""The timeline of a script: each event at its time, the host in between.

    for each event: make its time absolute → wait for it (all but outbound packets) → do it

Outbound packets are not waited for: they are looked at as soon as they are sent, so that one that
comes too early is seen as such.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packetdrill import matching
from packetdrill.calls import Calls, PendingCall
from packetdrill.commands import Commands
from packetdrill.config import Config, configure, default_config
from packetdrill.errors import ScriptError, ScriptFailure
from packetdrill.frames import to_text
from packetdrill.machine import Machine
from packetdrill.matching import SEC
from packetdrill.packets import Packets
from packetdrill.parser import parse
from packetdrill.script import Action, Code, Command, Event, Packet, Script, Syscall, TimeKind, When
from packetdrill.session import Session
from packetdrill.snippet import Snippets
from packetdrill.values import Evaluator

IDLE_WAIT = SEC  # how long a blocking call may still take when another is to be made


@dataclass
class Result:
    """`status` is "pass", "fail" or "unsupported"; `kind` groups like causes."""

    path: str
    status: str = "pass"
    line: int = 0
    kind: str = ""
    message: str = ""
    expected: str = ""
    actual: str = ""
    notes: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    output: str = ""

    def as_dict(self) -> dict[str, Any]:
        names = "path status line kind message expected actual notes output".split()
        return {name: getattr(self, name) for name in names}


def run_file(
    path: Path, ipv6: bool = False, machine: Callable[[Config], Machine] = Machine
) -> Result:
    """Run one script.  What the host cannot do ends it as "fail" or "unsupported"."""
    result = Result(str(path))
    runner: Runner | None = None
    config = default_config(ipv6)
    try:
        try:
            script = parse(path.read_text(), config.defines)
        except (OSError, UnicodeDecodeError) as exc:
            raise ScriptFailure(f"cannot read the script: {exc}", kind="file") from None
        runner = Runner(script, configure(config, script.options), path.parent, machine)
        runner.run()
    except ScriptError as exc:
        result.status, result.line, result.kind = exc.status, exc.line, exc.kind
        result.message = exc.message
        if isinstance(exc, ScriptFailure):
            result.expected, result.actual = exc.expected, exc.actual
    except Exception as exc:  # the host's own defect: this script's failure, not the run's end
        result.status = "fail"
        result.kind = f"host error: {type(exc).__name__}"
        result.message = f"the host broke down: {type(exc).__name__}: {exc}"
        result.line = runner.line if runner is not None else 0
    if runner is not None:
        result.notes, result.log = runner.session.notes, runner.log
        result.output = runner.snippets.output
    return result


class Runner:
    """One run; `log` tells what happened, a line an event."""

    def __init__(
        self,
        script: Script,
        config: Config,
        directory: Path,
        machine: Callable[[Config], Machine] = Machine,
    ) -> None:
        self.script = script
        self.config = config
        self.session = Session(config, machine(config), Evaluator(config.defines))
        self.packets = Packets(self.session)
        self.calls = Calls(self.session)
        self.commands = Commands(self.session, directory)
        self.snippets = Snippets(self.session)
        self.log: list[str] = []
        self.line = 0
        self._pending: tuple[PendingCall, Event, int] | None = None  # with its time of return
        self._last: Event | None = None

    def run(self) -> None:
        """ScriptError, with its line, as soon as something is not as the script says."""
        if self.script.init is not None:
            self.commands.run(self.script.init)
        first = self.script.events[0]
        if first.when.start:
            raise ScriptFailure("first event should be at time 0", first.line, "time")
        for event in self.script.events:
            self._at(event.line, self._event, event)
        self._at(self.line, self._await_idle)
        if self._pending is not None:
            message = "exiting while a blocking system call is in progress"
            raise ScriptFailure(message, self._pending[1].line, "call blocks")
        if self.script.cleanup is not None:
            self.commands.run(self.script.cleanup)

    def _at(self, line: int, step: Any, *args: Any) -> None:
        """Do `step(*args)`; what goes wrong there without a line of its own is this line's."""
        self.line = line
        try:
            step(*args)
        except ScriptError as exc:
            exc.line = exc.line or line
            if not isinstance(exc, ScriptFailure) or not self._forgiven(exc):
                raise

    def _forgiven(self, exc: ScriptFailure) -> bool:
        """`--non_fatal`: such failures are warnings."""
        kind = "packet" if exc.expected else "syscall"
        if kind in self.config.non_fatal:
            self.session.notes.append(f"line {exc.line}: {exc.message}")
            return True
        return False

    # -- events ----------------------------------------------------------------------------

    def _event(self, written: Event) -> None:
        event = replace(written, when=self._absolute(written))
        last = self._last
        if last is not None and event.when.kind is TimeKind.ABSOLUTE:
            backwards = last.when.kind is TimeKind.ABSOLUTE and event.when.start < last.when.start
            if backwards:
                raise ScriptFailure("time goes backward in script", kind="time")
        before = None if last is None else last.when.start
        self._last = event
        action = event.action
        if isinstance(action, Packet) and not action.inbound:
            expected = self.packets.build(action, self.line)
            self._log(f"> {expected}")
            self.packets.expect(expected, event.when, before)
        else:
            self._wait_for(event, before)
            self._do(action, event, event.when.start - written.when.start)
        self._check_pending()

    def _do(self, action: Action, event: Event, offset: int) -> None:
        """`offset` (ns) was added to the written time."""
        if isinstance(action, Packet):
            expected = self.packets.build(action, self.line)
            self._log(f"< {to_text(expected.frame)}")
            self.packets.inject(expected)
        elif isinstance(action, Syscall):
            self._await_idle()
            self._log(f"{action.name}()")
            if action.until is None:
                self.calls.run(action)
            elif self._pending is not None:
                message = "blocking system call while another one is already in progress"
                raise ScriptFailure(message, kind="call blocks")
            else:
                self._pending = self.calls.begin(action), event, action.until + offset
        elif isinstance(action, Command):
            self._log(f"`{action.text.strip()}`")
            self.commands.run(action)
        elif isinstance(action, Code):
            self._log(f"%{{ {action.text.strip()} }}%")
            self.snippets.run(action.text)

    def _absolute(self, event: Event) -> When:
        """Relative times count from now; between arriving packets, from the one before."""
        when = event.when
        if not when.kind.relative:
            return when
        offset = self.session.machine.now
        last = self._last
        if last is not None and _arrives(last) and _arrives(event):
            offset = last.when.start
        return replace(when, start=when.start + offset, end=when.end + offset)

    def _wait_for(self, event: Event, before: int | None) -> None:
        machine = self.session.machine
        machine.run_until(event.when.start)
        self._check_pending()
        if before is not None:
            what = "inbound packet" if _arrives(event) else type(event.action).__name__.lower()
            matching.verify_time(event.when, machine.now, before, self.config, what)

    # -- blocking calls --------------------------------------------------------------------

    def _await_idle(self) -> None:
        """Give a call that is under way a second to return."""
        pending = self._pending
        if pending is None:
            return
        machine, running = self.session.machine, pending[0].running
        if not running.done:
            machine.run_until(machine.now + IDLE_WAIT, lambda: running.done)
        self._check_pending()

    def _check_pending(self) -> None:
        """A blocking call that has returned: was it in time, and with the right outcome?"""
        if self._pending is None or not self._pending[0].running.done:
            return
        (call, event, until), self._pending = self._pending, None
        self._at(event.line, self._returned, call, event, until)

    def _returned(self, call: PendingCall, event: Event, until: int) -> None:
        self.calls.finish(call)
        when = When(TimeKind.ABSOLUTE, until)
        what = "system call return"
        matching.verify_time(when, call.running.ended, event.when.start, self.config, what)

    def _log(self, text: str) -> None:
        self.log.append(f"{self.session.machine.now / SEC:9.6f} line {self.line}: {text}")


def _arrives(event: Event) -> bool:
    return isinstance(event.action, Packet) and event.action.inbound
