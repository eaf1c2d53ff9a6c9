"""How a script ends when it does not pass."""

from __future__ import annotations


class ScriptError(Exception):
    """`line` is in the script; `kind` names the cause in a word or two, for grouping."""

    status = "fail"

    def __init__(self, message: str, line: int = 0, kind: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.kind = kind or message.split(":")[0]


class ScriptSyntaxError(ScriptError):
    """The text is not packetdrill."""


class ScriptFailure(ScriptError):
    """The host did something else than the script says.

    `expected` and `actual` are the two packets, when it is about packets.
    """

    def __init__(
        self, message: str, line: int = 0, kind: str = "", expected: str = "", actual: str = ""
    ) -> None:
        super().__init__(message, line, kind)
        self.expected = expected
        self.actual = actual


class Unsupported(ScriptError):
    """The interpreter or the host does not have what the script asks for."""

    status = "unsupported"
