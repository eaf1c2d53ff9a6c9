"""The command: options, capture files, and the devices of a host."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket

from pystack.core.engine import VirtualEngine
from pystack.core.skb import SkBuff
from pystack.dev.netdev import NetDevice
from pystack.tools import tool
from pystack.tools.pcapng import LINKTYPE_ETHERNET, Capture
from pystack.tools.tcpdump.dissect import Dissector, Options
from pystack.tools.tcpdump.ether import frame_text
from pystack.tools.tcpdump.filters import Test, filter_of
from pystack.tools.tool import Net, ToolError

ANY = "any"
_IGNORED = "lpU"  # line buffered, not promiscuous, packet buffered: there is nothing to it here
_NS = 10**9
_DAY = 86_400


@dataclass(frozen=True)
class Command:
    """`count` 0: no limit; `read` and `write` are files."""

    dissect: Options
    device: str
    count: int
    read: str
    write: str
    test: Test


def parse(args: Sequence[str]) -> Command:
    """`tcpdump [-neStv] [-i DEV | -r FILE] [-w FILE] [-c N] [EXPRESSION]`; ToolError."""
    options = tool.Options("tcpdump", args, f"neSvtqs:i:r:w:c:{_IGNORED}", {})
    count = options.value("c", "0")
    if not count.isdigit() or ("c" in options and count == "0"):
        raise ToolError(f"tcpdump: invalid packet count {count}")
    return Command(
        Options(
            names="n" not in options,
            link="e" in options,
            absolute="S" in options,
            verbose=options.count("v"),
            time=options.count("t"),
        ),
        options.value("i"),
        int(count),
        options.value("r"),
        options.value("w"),
        filter_of(" ".join(options.args)),
    )


class Printer:
    """Lines of frames, each with its time in ns."""

    def __init__(self, options: Options) -> None:
        self._dissector = Dissector(options)
        self._time = options.time

    def line(self, time: int, frame: bytes, before: str = "") -> str:
        """`before` stands between the time and the text."""
        return f"{self._stamp(time)}{before}{frame_text(self._dissector, frame)}"

    def _stamp(self, time: int) -> str:
        seconds, micros = time // _NS, time % _NS // 1000
        if self._time == 1:
            return ""
        if self._time == 2:
            return f"{seconds}.{micros:06} "
        seconds %= _DAY
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return f"{clock}.{micros:06} "


# -- files ---------------------------------------------------------------------------------


def frames(path: str) -> Iterator[tuple[int, bytes]]:
    """(time in ns, frame) of a pcapng file; ToolError."""
    try:
        with Path(path).open("rb") as file:
            if file.read(4) != b"\x0a\x0d\x0d\x0a":
                raise ToolError(f"tcpdump: {path}: unknown file format")
            file.seek(0)
            for block in FileScanner(file):
                if isinstance(block, EnhancedPacket):
                    interface = block.interface
                    if interface.link_type != LINKTYPE_ETHERNET:
                        raise ToolError(f"tcpdump: {path}: unsupported data link type")
                    ticks = block.timestamp_high << 32 | block.timestamp_low
                    per_second = round(1 / interface.timestamp_resolution)
                    yield ticks * _NS // per_second, block.packet_data
    except OSError as exc:
        raise ToolError(f"tcpdump: {path}: {exc.strerror}") from None


def text_of_file(args: Sequence[str]) -> str:
    """`tcpdump -r FILE ...` without a host."""
    return _from_file(parse(args))


def _from_file(command: Command) -> str:
    printer, lines = Printer(command.dissect), []
    for time, frame in frames(command.read):
        if command.test(frame):
            lines.append(printer.line(time, frame) + "\n")
            if len(lines) == command.count:
                break
    return "".join(lines)


# -- devices -------------------------------------------------------------------------------


class Live:
    """A capture on a device, or all, of a namespace, from `start` to `stop`.

        with host.tcpdump("-ni eth0 tcp port 80") as text:
            ...
        print(text)

    `lines` grows as packets pass; `on_line` hears of each.
    """

    def __init__(
        self, net: Net, command: Command, on_line: Callable[[str], None] | None = None
    ) -> None:
        self._net = net
        self._command = command
        self._on_line = on_line
        self._printer = Printer(command.dissect)
        self._file: Capture | None = None
        self._running = False
        self.lines: list[str] = []
        self.device = command.device or _first(net)
        if self.device != ANY and self.device not in net.core.devices:
            raise ToolError(f"tcpdump: {self.device}: No such device exists")

    def __str__(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    @property
    def full(self) -> bool:
        """As many packets as were asked for."""
        return bool(self._command.count) and len(self.lines) >= self._command.count

    def start(self) -> None:
        if self._command.write:
            self._file = Capture(Path(self._command.write), self.device)
        self._net.core.taps.append(self._tap)
        self._running = True

    def stop(self) -> None:
        if self._running:
            self._running = False
            self._net.core.taps.remove(self._tap)
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Live:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _tap(self, dev: NetDevice, skb: SkBuff, outgoing: bool) -> None:
        """What leaves through `lo` is seen when it comes in, as libpcap has it."""
        if self.full or self.device not in (ANY, dev.name) or (dev.loopback and outgoing):
            return
        frame = bytes(skb)
        if not self._command.test(frame):
            return
        kernel = self._net.kernel
        time = kernel.now + (0 if kernel.this_cpu is None else kernel.this_cpu.debt)
        if self._file is not None:
            self._file.write(frame, time, outgoing)
        before = ""
        if self.device == ANY:
            before = f"{dev.name:<5} {'Out' if outgoing else 'In ':<3} "
        line = self._printer.line(time, frame, before)
        self.lines.append(line)
        if self._on_line is not None:
            self._on_line(line)


def _first(net: Net) -> str:
    """The first device that is up and not `lo`."""
    names = [dev.name for dev in net.core.devices.values() if dev.up and not dev.loopback]
    return names[0] if names else "lo"


def live(net: Net, arguments: str, on_line: Callable[[str], None] | None = None) -> Live:
    """`arguments` as of the command, e.g. `-ni eth0 tcp port 80`."""
    command = parse(shlex.split(arguments))
    if command.read:
        raise ToolError('tcpdump: a file is read by host.tool("tcpdump -r FILE")')
    return Live(net, command, on_line)


def tcpdump(net: Net, args: Sequence[str]) -> str:
    """The tool: a file, or `-c N` packets from now on, for which virtual time goes on."""
    command = parse(args)
    if command.read:
        return _from_file(command)
    engine = net.kernel.engine
    if not command.count:
        raise ToolError("tcpdump: say how many packets with -c, or capture with host.tcpdump()")
    if net.kernel.this_cpu is not None or not isinstance(engine, VirtualEngine):
        raise ToolError("tcpdump: in a running simulation capture with host.tcpdump()")
    with Live(net, command) as capture:
        engine.run(stop=lambda: capture.full)
    return str(capture)
