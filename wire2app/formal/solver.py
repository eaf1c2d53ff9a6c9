"""Bitwuzla as yosys-smtbmc starts a solver: SMT-LIB commands come in, answers go out at once.

The package on PyPI is the library without its command; its parser prints the answers itself.
"""

from __future__ import annotations

import sys

import bitwuzla

SKIPPED = (";", "(set-info", "(set-option")


def main() -> None:
    """Read commands until (exit) or the end; `--help` says which interface this is."""
    if "--help" in sys.argv:
        print("--lang smt2")
        return
    options = bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    parser = bitwuzla.Parser(bitwuzla.TermManager(), options, "smt2")
    text, depth = "", 0
    for line in sys.stdin:
        if line.startswith(SKIPPED):
            continue
        text += line
        depth += line.count("(") - line.count(")")
        command = text.strip()
        if depth or not command:
            continue
        text = ""
        if command == "(exit)":
            return
        # The parser counts levels anew in each text it is given.
        if command == "(push 1)":
            parser.bitwuzla().push(1)
        elif command == "(pop 1)":
            parser.bitwuzla().pop(1)
        else:
            parser.parse(command, False, False)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
