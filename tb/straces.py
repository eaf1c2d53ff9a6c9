"""strace for the programs of a run, as the command's options ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pystack.tools.strace import Options, Strace
from tb.programs import Program, Show


class Straces:
    """`options` None: no program is traced.  Lines are shown as standard error."""

    def __init__(self, options: Options | None, show: Show) -> None:
        self._options, self._show = options, show

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any] | None, show: Show) -> Straces:
        """`settings` are the fields of `Options`."""
        return cls(None if settings is None else Options(**settings), show)

    def attach(self, program: Program) -> None:
        if self._options is None:
            return
        assert program.process is not None, "it has been started"
        Strace(program.process, partial(self._line, f"{program.prefix} strace"), self._options)

    def _line(self, prefix: str, line: str) -> None:
        self._show(prefix, line, 2)
