"""What can be changed in the RTL, one thing at a time.

Operators, negations, constants, conditions, and assignments that are dropped.

The sources are parsed by pyslang as if Icarus synthesized them, so that checks of parameters and
for simulation only do not count as the design.  Declarations (ports, widths, parameters) stay as
they are: changing them makes another design, or none that compiles.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyslang import Bag, SourceManager
from pyslang.parsing import PreprocessorOptions
from pyslang.syntax import SyntaxKind, SyntaxNode, SyntaxTree

from wire2app.errors import ToolError

__all__ = ["Mutant", "mutants_of"]

OPERATORS = {
    SyntaxKind.AddExpression: "-",
    SyntaxKind.SubtractExpression: "+",
    SyntaxKind.EqualityExpression: "!=",
    SyntaxKind.InequalityExpression: "==",
    SyntaxKind.LessThanExpression: "<=",
    SyntaxKind.LessThanEqualExpression: "<",
    SyntaxKind.GreaterThanExpression: ">=",
    SyntaxKind.GreaterThanEqualExpression: ">",
    SyntaxKind.LogicalAndExpression: "||",
    SyntaxKind.LogicalOrExpression: "&&",
    SyntaxKind.BinaryAndExpression: "|",
    SyntaxKind.BinaryOrExpression: "&",
    SyntaxKind.BinaryXorExpression: "|",
    SyntaxKind.LogicalShiftLeftExpression: ">>",
    SyntaxKind.LogicalShiftRightExpression: "<<",
}
NEGATIONS = (SyntaxKind.UnaryLogicalNotExpression, SyntaxKind.UnaryBitwiseNotExpression)
ASSIGNMENTS = (SyntaxKind.NonblockingAssignmentExpression, SyntaxKind.AssignmentExpression)
NUMBERS = (SyntaxKind.IntegerVectorExpression, SyntaxKind.UnbasedUnsizedLiteralExpression)
# Where a change would make another design: types, widths, parameters, what generates the hardware.
DECLARATIONS = (
    SyntaxKind.AnsiPortList,
    SyntaxKind.ParameterPortList,
    SyntaxKind.ParameterDeclarationStatement,
    SyntaxKind.TypedefDeclaration,
    SyntaxKind.RangeDimensionSpecifier,
    SyntaxKind.SimpleRangeSelect,
    SyntaxKind.ParameterValueAssignment,
    SyntaxKind.InitialBlock,
)
DIGITS = {"b": 2, "o": 8, "d": 10, "h": 16}


@dataclass(frozen=True)
class Mutant:
    """`old` at byte `start` of `path` (relative to the project) becomes `new`.

    kind: operator, negation, constant, condition or assignment.  `line` counts from 1.
    """

    path: str
    line: int
    start: int
    old: str
    new: str
    kind: str
    context: str  # the line it begins in, however its words are set apart
    occurrence: int  # how many just like it come before it in the file

    @property
    def key(self) -> str:
        """Names the change whatever is edited on other lines, or lined up anew on this one."""
        facts = (self.path, self.context, _plain(self.old), _plain(self.new), self.occurrence)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.start + len(self.old) :]

    def __str__(self) -> str:
        change = f"{_short(self.old)} -> {_short(self.new)}" if self.new != ";" else "dropped"
        return f"{self.path}:{self.line}: {self.kind}: {change} in `{_short(self.context, 70)}`"


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """All mutants of one source file, in the order of the text.

    Raises ToolError if it does not parse.
    """
    text = path.read_text()
    if not text.isascii():
        raise ToolError(f"{path} is not ASCII.")  # so that bytes are characters
    options = PreprocessorOptions()
    options.predefines = ["SYNTHESIS", "__ICARUS__"]
    bag = Bag()
    bag.preprocessorOptions = options
    tree = SyntaxTree.fromText(text, SourceManager(), str(path), str(path), bag)
    if any(diagnostic.isError() for diagnostic in tree.diagnostics):
        raise ToolError(f"{path} does not parse as SystemVerilog.")
    alike: Counter[tuple[str, str, str]] = Counter()
    found = []
    for start, old, new, kind in sorted(_changes(tree.root, text)):
        line_start = text.rfind("\n", 0, start) + 1
        context = _plain(text[line_start : text.find("\n", start)])
        line = text.count("\n", 0, start) + 1
        occurrence = alike[context, _plain(old), _plain(new)]
        alike[context, _plain(old), _plain(new)] += 1
        name = str(path.relative_to(root))
        found.append(Mutant(name, line, start, old, new, kind, context, occurrence))
    return found


def _changes(node: SyntaxNode, text: str) -> Iterator[tuple[int, str, str, str]]:
    """(start, old, new, kind) of all changes at and below `node`."""
    if node.kind in DECLARATIONS:
        return
    yield from _own_changes(node, text)
    for child in node:
        if isinstance(child, SyntaxNode):
            yield from _changes(child, text)


def _own_changes(node: Any, text: str) -> Iterator[tuple[int, str, str, str]]:
    kind = node.kind
    start, end = node.sourceRange.start.offset, node.sourceRange.end.offset
    own = text[start:end]
    if kind in OPERATORS:
        token = node.operatorToken
        yield token.location.offset, token.valueText, OPERATORS[kind], "operator"
    elif kind in NEGATIONS:
        yield start, own[0], "", "negation"
    elif kind in NUMBERS:
        new = _other_number(own)
        if new:
            yield start, own, new, "constant"
    elif kind == SyntaxKind.ConditionalPredicate and not _negated_below(node):
        yield start, own, f"!({own})", "condition"
    elif kind == SyntaxKind.ExpressionStatement and node.expr.kind in ASSIGNMENTS:
        yield start, own, ";", "assignment"


def _negated_below(predicate: Any) -> bool:
    """Whether its operator's mutant is its negation, too."""
    kind = predicate.conditions[0].expr.kind
    return kind in (*NEGATIONS, SyntaxKind.EqualityExpression, SyntaxKind.InequalityExpression)


def _other_number(literal: str) -> str:
    """One more, or the other of two; "" for one that is not plain."""
    if literal in ("'0", "'1"):
        return "'1" if literal == "'0" else "'0"
    match = re.fullmatch(r"(\d+)'([bodh])([0-9a-fA-F_]+)", literal)
    if match is None:
        return ""
    width, base, digits = match.groups()
    value = (int(digits.replace("_", ""), DIGITS[base]) + 1) % (1 << int(width))
    shown = {"b": "b", "o": "o", "d": "d", "h": "x"}[base]
    return f"{width}'{base}{value:{shown}}"


def _plain(text: str) -> str:
    """On one line, with single blanks."""
    return " ".join(text.split())


def _short(text: str, length: int = 32) -> str:
    line = _plain(text)
    return line if len(line) <= length else f"{line[: length - 1]}…"
