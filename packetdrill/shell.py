"""The little of the shell that scripts' backtick commands use, read and not executed.

Simple commands joined by `;`, `&&`, `||`, `|` and line ends; quotes, comments, redirections, and
arithmetic in `$((...))`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_ARITHMETIC = re.compile(r"\$\(\(([0-9+*/() \t-]*)\)\)")
_SEPARATORS = ("\n", ";", "&&", "||", "|", "&")
_REDIRECTIONS = (">", ">>", "<", "&>", ">&")


@dataclass(frozen=True)
class SimpleCommand:
    """`line` counts from 0 within the text; `output`: the file its output goes to."""

    words: tuple[str, ...]
    line: int
    output: str = ""


def split(text: str) -> list[SimpleCommand]:
    """The commands of a text in order; ValueError for what this is not a shell for."""
    text = _ARITHMETIC.sub(_calculate, text.replace("\\\n", "  "))
    commands: list[SimpleCommand] = []
    for number, line in enumerate(text.splitlines()):
        words: list[str] = []
        for token in [*_tokens(line), "\n"]:
            if token not in _SEPARATORS:
                words.append(token)
                continue
            if words:
                kept, output = _without_redirections(words)
                commands.append(SimpleCommand(tuple(kept), number, output))
            words = []
    return commands


def _tokens(line: str) -> list[str]:
    """Words and operators; `a="b c"` is the one word `a=b c`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found = []
    for token in lexer:
        if token.startswith("#"):
            break
        found.append(token)
    return found


def _without_redirections(words: list[str]) -> tuple[list[str], str]:
    """The words that are arguments, and the file the output goes to."""
    kept: list[str] = []
    output = ""
    operator = ""
    for word in words:
        if operator:
            output = word if ">" in operator else output
            operator = ""
        elif word in _REDIRECTIONS:
            if kept and kept[-1] in ("1", "2"):  # 2>file
                kept.pop()
            operator = word
        else:
            kept.append(word)
    return kept, output


def _calculate(match: re.Match[str]) -> str:
    """Products and sums of whole numbers."""
    tokens = re.findall(r"\d+|[-+*/()]", match[1])
    value, rest = _sum(tokens)
    if rest:
        raise ValueError(f"cannot calculate {match[0]}")
    return str(value)


def _sum(tokens: list[str]) -> tuple[int, list[str]]:
    value, tokens = _product(tokens)
    while tokens and tokens[0] in "+-":
        other, rest = _product(tokens[1:])
        value = value + other if tokens[0] == "+" else value - other
        tokens = rest
    return value, tokens


def _product(tokens: list[str]) -> tuple[int, list[str]]:
    value, tokens = _atom(tokens)
    while tokens and tokens[0] in "*/":
        other, rest = _atom(tokens[1:])
        value = value * other if tokens[0] == "*" else value // other
        tokens = rest
    return value, tokens


def _atom(tokens: list[str]) -> tuple[int, list[str]]:
    if not tokens:
        raise ValueError("arithmetic ends too early")
    if tokens[0] == "(":
        value, rest = _sum(tokens[1:])
        return value, rest[1:]
    return int(tokens[0]), tokens[1:]
