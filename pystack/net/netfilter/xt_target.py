"""Targets that judge, mark or log a packet."""

from __future__ import annotations

from pystack.core.headers.ipv4 import IPPROTO_TCP
from pystack.net.hooks import Hook, Verdict
from pystack.net.netfilter import reject
from pystack.net.netfilter.conntrack import untrack
from pystack.net.netfilter.packet import Packet
from pystack.net.netfilter.xt import Option, Options, Rest, Target, XtablesError
from pystack.net.netfilter.xt_log import log_packet
from pystack.net.netfilter.xt_values import Mark, number, quoted

_FULL = 0xFFFFFFFF


class RejectTarget(Target):
    name = "REJECT"
    options = (Option(("--reject-with",)),)
    tables = ("filter",)
    hooks = (Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT)

    def __init__(self, given: Options, rest: Rest) -> None:
        self.family = rest.family
        kinds = reject.KINDS[rest.family.version]
        written = given["--reject-with"].value if "--reject-with" in given else next(iter(kinds))
        self.kind = reject.ALIASES.get(written, written)
        if self.kind != reject.TCP_RESET and self.kind not in kinds:
            raise XtablesError(f'unknown reject type "{written}"')
        if self.kind == reject.TCP_RESET and rest.protocol != IPPROTO_TCP:
            raise XtablesError("REJECT --reject-with tcp-reset needs `-p tcp'")

    def apply(self, packet: Packet) -> Verdict:
        if self.kind == reject.TCP_RESET:
            reject.send_reset(self.family, packet)
        else:
            reject.send_error(self.family, packet, self.kind)
        return Verdict.DROP

    def save(self) -> str:
        return f" --reject-with {self.kind}"

    def listing(self) -> str:
        return f" reject-with {self.kind}"


_LEVELS = "emerg alert crit error warning notice info debug".split()
_LEVEL_ALIASES = {"panic": 0, "err": 3, "warn": 4}
_LOG_FLAGS = {
    "--log-tcp-sequence": 1,
    "--log-tcp-options": 2,
    "--log-ip-options": 4,
    "--log-uid": 8,
    "--log-macdecode": 32,
}


class LogTarget(Target):
    name = "LOG"
    options = (
        Option(("--log-level",)),
        Option(("--log-prefix",)),
        *(Option((name,), 0) for name in _LOG_FLAGS),
    )

    def __init__(self, given: Options, rest: Rest) -> None:
        self.family = rest.family
        self.prefix = given["--log-prefix"].value if "--log-prefix" in given else ""
        if len(self.prefix) > 29:
            raise XtablesError("LOG: Maximum prefix length 29 for --log-prefix")
        self.level = self._level(given["--log-level"].value) if "--log-level" in given else 4
        self.flags = sum(bit for name, bit in _LOG_FLAGS.items() if name in given)

    def _level(self, text: str) -> int:
        if text in _LEVELS:
            return _LEVELS.index(text)
        if text in _LEVEL_ALIASES:
            return _LEVEL_ALIASES[text]
        return number(text, "--log-level", 0, 7)

    def apply(self, packet: Packet) -> None:
        log_packet(self.family, packet, self.prefix, self.level, self.flags)

    def save(self) -> str:
        prefix = f" --log-prefix {quoted(self.prefix)}" if self.prefix else ""
        level = f" --log-level {self.level}" if self.level != 4 else ""
        flags = "".join(f" {name}" for name, bit in _LOG_FLAGS.items() if self.flags & bit)
        return prefix + level + flags

    def listing(self) -> str:
        prefix = f' prefix "{self.prefix}"' if self.prefix else ""
        return f" LOG flags {self.flags} level {self.level}{prefix}"


_SET_OPTIONS = (
    Option(("--set-xmark",)),
    Option(("--set-mark",)),
    Option(("--and-mark",)),
    Option(("--or-mark",)),
    Option(("--xor-mark",)),
)


def _set_mark(given: Options, name: str) -> Mark:
    """What bits are cleared (`mask`) and then flipped (`value`)."""
    chosen = [option for option in given if option.endswith("mark")]
    if len(chosen) != 1:
        raise XtablesError(f"{name}: one of --{{set-x,set-,and-,or-,xor-}}mark is required")

    (option,) = chosen
    text = given[option].value
    if option in ("--set-xmark", "--set-mark"):
        value, mask = Mark.parse(text, option)
        return Mark(value, mask if option == "--set-xmark" else mask | value)
    bits = number(text, option)
    if option == "--and-mark":
        return Mark(0, ~bits & _FULL)
    return Mark(bits, bits if option == "--or-mark" else 0)


def _list_mark(mark: Mark) -> str:
    value, mask = mark
    if value == 0:
        return f"and {~mask & _FULL:#x}"
    if value == mask:
        return f"or {value:#x}"
    if mask == 0:
        return f"xor {value:#x}"
    return f"set {value:#x}" if mask == _FULL else f"xset {value:#x}/{mask:#x}"


class MarkTarget(Target):
    name = "MARK"
    options = _SET_OPTIONS

    def __init__(self, given: Options, rest: Rest) -> None:
        self.mark = _set_mark(given, self.name)

    def apply(self, packet: Packet) -> None:
        packet.skb.mark = packet.skb.mark & ~self.mark.mask ^ self.mark.value

    def save(self) -> str:
        return f" --set-xmark {self.mark.value:#x}/{self.mark.mask:#x}"

    def listing(self) -> str:
        return f" MARK {_list_mark(self.mark)}"


class ConnmarkTarget(Target):
    """The mark of the connection: set, or copied from or to the packet's."""

    name = "CONNMARK"
    options = (
        *_SET_OPTIONS,
        Option(("--save-mark",), 0),
        Option(("--restore-mark",), 0),
        Option(("--nfmask",)),
        Option(("--ctmask",)),
        Option(("--mask",)),
    )

    def __init__(self, given: Options, rest: Rest) -> None:
        rest.family.need_conntrack()
        copies = [name for name in ("--save-mark", "--restore-mark") if name in given]
        self.mode = copies[0][2:-5] if len(copies) == 1 else "set"
        if self.mode == "set":
            self.mark = _set_mark(given, self.name)
            return
        self.nfmask = self.ctmask = _FULL
        if "--mask" in given:
            self.nfmask = self.ctmask = number(given["--mask"].value, "--mask")
        if "--nfmask" in given:
            self.nfmask = number(given["--nfmask"].value, "--nfmask")
        if "--ctmask" in given:
            self.ctmask = number(given["--ctmask"].value, "--ctmask")

    def apply(self, packet: Packet) -> None:
        skb = packet.skb
        if skb.nfct is None or skb.nfct.conn is None:
            return
        conn = skb.nfct.conn
        if self.mode == "set":
            conn.mark = conn.mark & ~self.mark.mask ^ self.mark.value
        elif self.mode == "save":
            conn.mark = conn.mark & ~self.ctmask ^ skb.mark & self.nfmask
        else:
            skb.mark = skb.mark & ~self.nfmask ^ conn.mark & self.ctmask

    def save(self) -> str:
        if self.mode == "set":
            return f" --set-xmark {self.mark.value:#x}/{self.mark.mask:#x}"
        return f" --{self.mode}-mark --nfmask {self.nfmask:#x} --ctmask {self.ctmask:#x}"

    def listing(self) -> str:
        if self.mode == "set":
            return f" CONNMARK {_list_mark(self.mark)}"
        text = f" CONNMARK {self.mode}"
        if self.nfmask == self.ctmask:
            return text if self.nfmask == _FULL else f"{text} mask {self.nfmask:#x}"
        if self.mode == "save":
            return f"{text} nfmask {self.nfmask:#x} ctmask ~{self.ctmask:#x}"
        return f"{text} ctmask {self.ctmask:#x} nfmask ~{self.nfmask:#x}"


class CtTarget(Target):
    name = "CT"
    options = (Option(("--notrack",), 0),)
    tables = ("raw",)

    def __init__(self, given: Options, rest: Rest) -> None:
        if "--notrack" not in given:
            raise XtablesError("CT: only --notrack is supported")

    def apply(self, packet: Packet) -> None:
        untrack(packet.skb)

    def save(self) -> str:
        return " --notrack"

    def listing(self) -> str:
        return " CT notrack"


class NotrackTarget(Target):
    name = "NOTRACK"
    tables = ("raw",)

    def apply(self, packet: Packet) -> None:
        untrack(packet.skb)

    def listing(self) -> str:
        return " NOTRACK"
